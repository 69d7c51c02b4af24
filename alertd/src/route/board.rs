//! The board: silences, acknowledgements and posted alerts, on disk and at hand.
//!
//! A change is on disk before it is in memory, and in memory before whoever asked for it hears so.
//! It outlives a reload; the routing that runs at a time registers its view here.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use prometheus_client::registry::Registry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, MutexGuard};
use tracing::{info, warn};

use super::acknowledge::{self, Acknowledgement, Acknowledgements};
use super::dispatch::Said;
use super::intake::rate::Rate;
use super::intake::{Intake, Plan, Posted, Received};
use super::limits::{Limits, PostedLimits};
use super::metrics::BoardMetrics;
use super::silence::{self, Refused, Silence, Silences};
use super::view::View;
use crate::clock;
use crate::db::board::{Changes, Entry, Kind};
use crate::db::{Db, DbError};
use crate::model::alert::Alert;
use crate::model::labels::Fingerprint;
use crate::model::sample::Timestamp;

/// Age from which an acknowledgement of an alert that does not fire goes.
const LOST_AFTER: Duration = Duration::from_secs(3600);

/// Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    db: Db,
    silences: RwLock<Silences>,
    acknowledged: RwLock<Acknowledgements>,
    received: RwLock<Intake>,
    limits: RwLock<PostedLimits>,
    /// Of callers without credentials, and of all others.
    rates: std::sync::Mutex<[Rate; 2]>,
    /// Held from the decision about a change until it is in memory.
    change: Mutex<()>,
    view: RwLock<Option<View>>,
    metrics: BoardMetrics,
}

#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    #[error(transparent)]
    Silence(#[from] Refused),
    #[error("too many acknowledgements: {0}")]
    TooMany(usize),
    #[error("it cannot be written down")]
    Db(#[from] DbError),
}

impl Board {
    /// Reads what was written down. What cannot be read any longer is left out, with a warning.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn open(
        db: Db,
        resolve_timeout: Duration,
        now: Timestamp,
        registry: &mut Registry,
    ) -> Result<Board, DbError> {
        let silences = Silences::restore(load(&db, Kind::Silence)?, now);
        let acknowledged = Acknowledgements::restore(load(&db, Kind::Acknowledgement)?);
        let received = Intake::restore(load(&db, Kind::Received)?, resolve_timeout, now);
        let inner = Inner {
            db,
            silences: RwLock::new(silences),
            acknowledged: RwLock::new(acknowledged),
            received: RwLock::new(received),
            limits: RwLock::default(),
            rates: std::sync::Mutex::default(),
            change: Mutex::new(()),
            view: RwLock::new(None),
            metrics: BoardMetrics::new(registry),
        };
        let board = Board(Arc::new(inner));
        board.count(now);
        Ok(board)
    }

    /// How much is taken from now on; what is held already stays.
    pub fn limit(&self, limits: &Limits) {
        write(&self.0.silences).limit(limits.silences);
        *write(&self.0.limits) = limits.posted_alerts;
    }

    pub(super) fn limits(&self) -> PostedLimits {
        *read(&self.0.limits)
    }

    /// Whether so many more alerts may be posted now.
    ///
    /// # Errors
    /// With the time after which some may.
    pub fn admit(&self, alerts: usize, anonymous: bool) -> Result<(), Duration> {
        let (limits, now) = (self.limits(), clock::now());
        let mut rates = self.0.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let [nobody, somebody] = &mut *rates;
        let admitted = if anonymous { nobody } else { somebody }.take(alerts, &limits, now);
        if admitted.is_err() {
            self.0.metrics.too_fast(alerts);
        }
        admitted
    }

    /// From now on posted alerts go to this routing, those of before among them.
    pub(super) fn serve(&self, view: &View, now: Timestamp) {
        *write(&self.0.view) = Some(view.clone());
        let received = read(&self.0.received);
        self.0.metrics.dropped(view.take_posted(received.reports(), now));
    }

    /// The routing that runs, once one does.
    pub fn view(&self) -> Option<View> {
        read(&self.0.view).clone()
    }

    pub fn silences(&self) -> RwLockReadGuard<'_, Silences> {
        read(&self.0.silences)
    }

    pub fn acknowledged(&self) -> RwLockReadGuard<'_, Acknowledgements> {
        read(&self.0.acknowledged)
    }

    /// Asks something of what people said, as it stands now.
    pub(super) fn with_said<T>(&self, ask: impl FnOnce(Said<'_>) -> T) -> T {
        let (silences, acknowledged) = (self.silences(), self.acknowledged());
        ask(Said { silences: &silences, acknowledged: &acknowledged })
    }

    /// Makes a silence, or changes the one whose id it has; returns the id that it has then.
    ///
    /// # Errors
    /// When it is not taken, or cannot be written down.
    pub async fn silence(&self, wanted: Silence) -> Result<String, BoardError> {
        let _changing = self.changing().await;
        let now = clock::now();
        let change = self.silences().set(wanted, new_id(), now)?;
        let Some(last) = change.last().cloned() else { return Ok(String::new()) };
        self.save_silences(change, now).await?;
        info!(id = last.id, by = last.created_by, signed_in = last.signed_in, "silence set");
        Ok(last.id)
    }

    /// Ends a silence.
    ///
    /// # Errors
    /// When there is none of this id, or it cannot be written down.
    pub async fn expire(&self, id: &str, who: &str) -> Result<(), BoardError> {
        let _changing = self.changing().await;
        let now = clock::now();
        let change = self.silences().expire(id, now)?;
        self.save_silences(change, now).await?;
        info!(id, who, "silence ended");
        Ok(())
    }

    async fn save_silences(&self, change: silence::Change, now: Timestamp) -> Result<(), DbError> {
        if change.is_empty() {
            return Ok(());
        }
        let entry = |one: &Silence| entry(one.id.clone(), one, one.ends_at);
        let written = change.iter().map(entry).collect();
        let changes = Changes { written, gone: Vec::new() };
        self.0.db.change_board(Kind::Silence, changes).await?;
        write(&self.0.silences).apply(change, now);
        self.count(now);
        Ok(())
    }

    /// Says that somebody looks after these alerts, in place of whoever did.
    ///
    /// # Errors
    /// When too many are held, or they cannot be written down.
    pub async fn acknowledge(&self, entries: Vec<Acknowledgement>) -> Result<(), BoardError> {
        let _changing = self.changing().await;
        let held = self.acknowledged().len();
        if held + entries.len() > acknowledge::MAX_HELD {
            return Err(BoardError::TooMany(held));
        }
        let written = |one: &Acknowledgement| entry(one.fingerprint.clone(), one, Timestamp(0));
        let changes = Changes { written: entries.iter().map(written).collect(), gone: Vec::new() };
        self.0.db.change_board(Kind::Acknowledgement, changes).await?;
        let mut acknowledged = write(&self.0.acknowledged);
        for one in entries {
            let (fingerprint, owner) = (&one.fingerprint, &one.owner);
            info!(fingerprint, owner, signed_in = one.signed_in, "alert acknowledged");
            acknowledged.insert(one);
        }
        drop(acknowledged);
        self.count(clock::now());
        Ok(())
    }

    /// Takes an acknowledgement back; returns how many there were.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub async fn release(&self, fingerprint: Fingerprint) -> Result<usize, BoardError> {
        let _changing = self.changing().await;
        let held = self.acknowledged().contains(fingerprint);
        Ok(self.forget_all(held.then_some(fingerprint).into_iter().collect()).await?)
    }

    async fn forget<'a>(&self, alerts: impl Iterator<Item = &'a Alert>) -> Result<usize, DbError> {
        // What was said of a later life of the alert stays.
        let ends = |alert: &Alert| self.acknowledged().ends_with(alert);
        let known: Vec<_> = alerts.filter(|alert| ends(alert)).map(Alert::fingerprint).collect();
        self.forget_all(known).await
    }

    async fn forget_all(&self, known: Vec<Fingerprint>) -> Result<usize, DbError> {
        if known.is_empty() {
            return Ok(0);
        }
        let gone = known.iter().map(ToString::to_string).collect();
        let changes = Changes { written: Vec::new(), gone };
        self.0.db.change_board(Kind::Acknowledgement, changes).await?;
        let mut acknowledged = write(&self.0.acknowledged);
        known.iter().for_each(|hash| acknowledged.remove(*hash));
        drop(acknowledged);
        self.count(clock::now());
        Ok(known.len())
    }

    /// Takes posted alerts: on disk, then to routing. What is wrong with some is in the plan.
    ///
    /// # Errors
    /// When they cannot be written down; then none was taken.
    pub async fn receive(
        &self,
        posted: Vec<Posted>,
        resolve_timeout: Duration,
    ) -> Result<Plan, BoardError> {
        let _changing = self.changing().await;
        let now = clock::now();
        let plan = read(&self.0.received).plan(posted, &self.limits(), resolve_timeout, now);
        self.save_received(&plan.taken).await?;
        write(&self.0.received).apply(&plan.taken);
        self.0.metrics.received(&plan);
        if let Some(view) = self.view() {
            self.0.metrics.dropped(view.take_posted(&plan.taken, now));
        }
        Ok(plan)
    }

    async fn save_received(&self, taken: &[Arc<Received>]) -> Result<(), DbError> {
        if taken.is_empty() {
            return Ok(());
        }
        let one = |received: &Arc<Received>| {
            let key = received.alert().fingerprint().to_string();
            entry(key, &**received, received.ends_at)
        };
        let changes = Changes { written: taken.iter().map(one).collect(), gone: Vec::new() };
        self.0.db.change_board(Kind::Received, changes).await
    }

    /// What follows from the end of alerts, and from time: acknowledgements and silences that end
    /// with them, leases that ran out, and what is too old to be kept.
    pub(super) async fn look_after(&self, ended: Vec<Arc<Alert>>, view: &View) {
        let _changing = self.changing().await;
        let now = clock::now();
        let mut change = Vec::new();
        for alert in &ended {
            let fires = |matchers: &[_]| view.lock().fires(matchers, now);
            change.extend(self.silences().ending_with(&alert.labels, fires, now));
        }
        change.sort_by(|a: &Silence, b| a.id.cmp(&b.id));
        change.dedup_by(|a, b| a.id == b.id);
        let over = ended.iter().map(|alert| &**alert);
        let silences = self.save_silences(change, now).await;
        let acknowledged = self.forget(over).await;
        let leases = write(&self.0.received).ended(now);
        let received = self.save_received(&leases).await;
        for result in [silences, acknowledged.map(drop), received] {
            self.tell(result);
        }
    }

    /// After the clock was set forward by so much.
    pub(super) fn after_step(&self, by: Duration, now: Timestamp) {
        write(&self.0.received).after_step(by, now);
    }

    /// Drops what ended too long ago.
    pub(super) async fn prune(&self, view: &View) {
        let _changing = self.changing().await;
        let now = clock::now();
        // An alert may have ended while nobody looked.
        let lost = self.acknowledged().older_than(now.minus(LOST_AFTER));
        let lost = lost.into_iter().filter(|hash| view.alert(*hash, now).is_none()).collect();
        self.tell(self.forget_all(lost).await.map(drop));
        write(&self.0.silences).prune(now);
        write(&self.0.received).prune(now);
        let bounds =
            [(Kind::Silence, silence::RETENTION), (Kind::Received, super::intake::RETENTION * 2)];
        for (kind, kept) in bounds {
            self.tell(self.0.db.prune_board(kind, now.minus(kept)).await.map(drop));
        }
        self.count(now);
    }

    fn tell(&self, result: Result<(), DbError>) {
        if let Err(error) = result {
            self.0.metrics.save_failed();
            warn!(error = &error as &dyn std::error::Error, "state of routing not saved");
        }
    }

    fn count(&self, now: Timestamp) {
        let (silences, acknowledged) = (self.silences(), self.acknowledged());
        self.0.metrics.held(silences.count(now), acknowledged.len());
    }

    async fn changing(&self) -> MutexGuard<'_, ()> {
        self.0.change.lock().await
    }
}

fn load<T: DeserializeOwned>(db: &Db, kind: Kind) -> Result<Vec<T>, DbError> {
    let entries = db.load_board(kind)?;
    let read = |entry: Entry| {
        let read = serde_json::from_str(&entry.body);
        read.inspect_err(|error| warn!(%error, ?kind, key = entry.key, "entry not restored")).ok()
    };
    Ok(entries.into_iter().filter_map(read).collect())
}

fn entry(key: String, body: &impl Serialize, ends_at: Timestamp) -> Entry {
    let body = serde_json::to_string(body).expect("maps with text as keys always serialize");
    Entry { key, body, ends_at }
}

/// A random UUID, version 4.
fn new_id() -> String {
    let (high, low) = (fastrand::u64(..), fastrand::u64(..));
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xfff);
    let (d, e) = (low >> 48 & 0x3fff | 0x8000, low & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{e:012x}")
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
