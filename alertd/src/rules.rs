//! Rule groups: load them, evaluate them when it is their time, keep their alerts.

pub mod alerting;
pub mod config;
mod doubt;
mod evaluation;
pub mod file;
pub mod flapping;
pub mod group;
pub mod metrics;
pub mod notifier;
pub mod own;
pub mod recording;
pub mod replay;
pub mod schedule;
pub mod status;
pub mod template;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use self::config::RulesConfig;
use self::file::{GroupSpec, RuleErrors};
use self::group::{Context, Group, Progress};
use self::metrics::RulesMetrics;
use self::notifier::Notifier;
use self::schedule::{Schedule, Slot};
use self::status::View;
use self::template::Surroundings;
use crate::clock;
use crate::db::alerts::{RuleKey, StoredAlert};
use crate::db::{Db, DbError};
use crate::model::alert::{ActiveAlerts, Alert, AlertInstance, AlertState};
use crate::model::labels::Labels;
use crate::model::querier::Store;
use crate::model::sample::Timestamp;
use crate::promql::Options;

/// The rules that come with the program, by the names of their files.
const BUNDLED: &[(&str, &str)] = &[
    ("rules/alertd.yaml", include_str!("../../rules/alertd.yaml")),
    ("rules/github.yaml", include_str!("../../rules/github.yaml")),
    ("rules/host.yaml", include_str!("../../rules/host.yaml")),
    ("rules/queue.yaml", include_str!("../../rules/queue.yaml")),
    ("rules/runner.yaml", include_str!("../../rules/runner.yaml")),
    ("rules/workflows.yaml", include_str!("../../rules/workflows.yaml")),
];

/// Groups that evaluate at once where an engine elsewhere does the work: what they wait for is its
/// answers, not a core.
const ELSEWHERE_AT_ONCE: usize = 32;

/// Time that a running evaluation gets to end by itself when the program stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// The groups that come with the program.
pub fn bundled() -> Result<Vec<GroupSpec>, RuleErrors> {
    let mut groups = Vec::new();
    for (file, text) in BUNDLED {
        groups.extend(file::parse(Path::new(file), text)?);
    }
    Ok(groups)
}

/// How groups are evaluated; [`Settings::default`] is what Prometheus does.
#[derive(Clone)]
pub struct Settings {
    /// Of groups that give none.
    pub evaluation_interval: Duration,
    pub config: RulesConfig,
    /// When the store holds again what rules look at, if it was empty at the start.
    pub store_filled_at: Timestamp,
    /// How long that takes after any other time without evaluation.
    pub refill: Duration,
    /// What cannot be delivered, for this program's own alerts.
    pub undelivered: Option<own::Undelivered>,
    /// The Alertmanagers that are told beside this program's own routing.
    pub notifier: Notifier,
    /// With a time, the first evaluation of every group comes within it; else at the group's phase.
    pub first_within: Option<Duration>,
    pub around: Surroundings,
    pub options: Options,
}

/// All groups of one configuration, with the alerts of the last run.
pub struct Engine {
    /// Each with what it is evaluated in; this program's own last.
    groups: Vec<(Group, Arc<Context>)>,
    shared: Arc<Shared>,
    /// Alerts of earlier runs that nobody evaluates any more; they end now.
    orphans: Vec<StoredAlert>,
}

struct Shared {
    settings: Settings,
    db: Db,
    view: View,
    alerts: mpsc::Sender<Vec<Alert>>,
    active: watch::Sender<Arc<ActiveAlerts>>,
    metrics: RulesMetrics,
    /// Groups that evaluate at once: more would only wait for each other's cores.
    permits: Semaphore,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            evaluation_interval: Duration::from_secs(60),
            config: RulesConfig::default(),
            store_filled_at: Timestamp::default(),
            refill: Duration::ZERO,
            undelivered: None,
            notifier: Notifier::default(),
            first_within: None,
            around: Surroundings::default(),
            options: Options::default(),
        }
    }
}

impl Engine {
    /// Loads the alerts of the last run into the groups and publishes them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn new(
        groups: Vec<GroupSpec>,
        store: Arc<dyn Store>,
        db: Db,
        settings: Settings,
        alerts: mpsc::Sender<Vec<Alert>>,
        active: watch::Sender<Arc<ActiveAlerts>>,
        metrics: RulesMetrics,
    ) -> Result<Engine, DbError> {
        let now = clock::now();
        let view = View::default();
        let context = Arc::new(Context {
            options: settings.options.clone(),
            around: settings.around.clone(),
            config: settings.config.clone(),
            store_filled_at: settings.store_filled_at,
            refill: settings.refill,
            ..Context::new(store)
        });
        let config = &settings.config;
        let mut specs: Vec<_> =
            groups.into_iter().map(|spec| (spec, Arc::clone(&context))).collect();
        if config.own_alerts {
            let interval = |(spec, _): &(GroupSpec, _)| spec.interval;
            let shortest = specs.iter().filter_map(interval).min();
            let shortest = shortest.unwrap_or(settings.evaluation_interval);
            let own = own::group(config, shortest).expect("made of checked parts");
            let store = Arc::new(own::Watched {
                view: view.clone(),
                store: Arc::clone(&context.store),
                undelivered: settings.undelivered.clone(),
            });
            let around = settings.around.clone();
            let context = Context { around, own: true, ..Context::new(store) };
            specs.push((own, Arc::new(context)));
        }
        let groups = specs.into_iter().map(|(spec, context)| {
            let group = Group::new(spec, settings.evaluation_interval, config.query_offset);
            metrics.loaded(&group);
            (group, context)
        });
        let mut groups: Vec<(Group, Arc<Context>)> = groups.collect();
        let mut orphans = Vec::new();
        for stored in db.load_alerts()? {
            let believed = stored.instance.state != AlertState::Pending
                || now.since(stored.evaluated_at) <= config.outage_tolerance;
            if !believed || !groups.iter_mut().any(|(group, _)| group.restore(&stored, now)) {
                orphans.push(stored);
            }
        }
        metrics.restored(clock::now().since(now));
        view.fill(groups.iter().map(|(group, _)| Arc::new(group.status())).collect());
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let at_once = context.store.engine().map_or(cores * 2, |_| ELSEWHERE_AT_ONCE);
        let permits = Semaphore::new(at_once);
        let shared = Shared { settings, db, view, alerts, active, metrics, permits };
        shared.publish(
            now,
            shared.view.groups().iter().flat_map(|group| group.instances()).collect(),
        );
        Ok(Engine { groups, shared: Arc::new(shared), orphans })
    }

    /// The live state of the rules, for the API and the page.
    pub fn view(&self) -> View {
        self.shared.view.clone()
    }

    /// Evaluates until `stop`, then lets evaluations that are running end.
    pub async fn run(self, stop: CancellationToken) {
        let Engine { groups, shared, orphans } = self;
        let (none, end) = (groups.is_empty(), stop.clone());
        let mut tasks = JoinSet::new();
        // One moment for the schedule and its first slot: a first evaluation that is due at once would
        // else be a little in the past, and its turn an interval away.
        let now = clock::now();
        for (at, (group, context)) in groups.into_iter().enumerate() {
            let (file, name) = (&group.spec().file, &group.spec().name);
            let soon = shared.settings.first_within;
            let schedule = Schedule::new(file, name, group.interval(), soon, now);
            let task = Arc::clone(&shared).keep_evaluating(
                at,
                (group, context),
                schedule,
                schedule.first(now),
                stop.clone(),
            );
            tasks.spawn(task);
        }
        tasks.spawn(Arc::clone(&shared).end_orphans(orphans, stop));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                error!(%error, "rule group ended");
            }
        }
        if none {
            // Nothing to evaluate is no reason to end.
            end.cancelled().await;
        }
    }
}

impl Shared {
    async fn keep_evaluating(
        self: Arc<Self>,
        at: usize,
        (group, context): (Group, Arc<Context>),
        schedule: Schedule,
        mut slot: Slot,
        stop: CancellationToken,
    ) {
        let group = Arc::new(Mutex::new(group));
        loop {
            while let Some(wait) = schedule.wait(slot, clock::now()) {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = time::sleep(wait) => {}
                }
                if clock::now().plus(group_interval(&group)) < slot.at {
                    slot = schedule.first(clock::now());
                }
            }
            Arc::clone(&self).evaluate(at, &group, &context, slot, &stop).await;
            if stop.is_cancelled() {
                return;
            }
            slot = schedule.after(slot.at, clock::now());
        }
    }

    /// One evaluation off the runtime's threads. A rule that takes too long is cancelled; at `stop`
    /// the running one has a moment to end and no further one begins.
    async fn evaluate(
        self: Arc<Self>,
        at: usize,
        group: &Arc<Mutex<Group>>,
        context: &Arc<Context>,
        slot: Slot,
        stop: &CancellationToken,
    ) {
        let Ok(_permit) = self.permits.acquire().await else { return };
        let progress = Arc::new(Progress::default());
        let work = {
            let (shared, group) = (Arc::clone(&self), Arc::clone(group));
            let (context, progress) = (Arc::clone(context), Arc::clone(&progress));
            move || {
                let mut group = group.lock().unwrap_or_else(PoisonError::into_inner);
                shared.evaluate_now(at, &mut group, &context, slot, &progress);
            }
        };
        let mut running = tokio::task::spawn_blocking(work);
        let mut limit = self.settings.config.rule_timeout;
        let (mut rule, mut stopping) = (usize::MAX, false);
        loop {
            tokio::select! {
                ended = &mut running => {
                    if let Err(error) = ended {
                        error!(%error, "rule evaluation broke off");
                    }
                    return;
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    limit = STOP_GRACE;
                    progress.stop.store(true, Ordering::Relaxed);
                }
                () = time::sleep(limit) => {
                    // Cancelled when the same rule was running a whole time-out ago already.
                    let now = progress.started.load(Ordering::Relaxed);
                    if now == rule || stopping {
                        progress.cancel.store(true, Ordering::Relaxed);
                    }
                    rule = now;
                }
            }
        }
    }

    fn evaluate_now(
        &self,
        at: usize,
        group: &mut Group,
        context: &Context,
        slot: Slot,
        progress: &Progress,
    ) {
        let mut send = |alerts: Vec<Alert>| {
            let Ok(room) = self.alerts.try_reserve() else { return false };
            self.settings.notifier.send(&alerts);
            room.send(alerts);
            true
        };
        let outcome = group.evaluate(slot.at, context, progress, &mut send);
        let status = group.status();
        self.metrics.evaluated(group, &status, outcome, slot.missed);
        if slot.missed > 0 {
            let (group, missed) = (&group.spec().name, slot.missed);
            warn!(group, missed, "rule group evaluations were missed");
        }
        self.save(group);
        let instances = self.view.replace(at, status);
        self.publish(slot.at, instances);
    }

    fn save(&self, group: &mut Group) {
        let heartbeat = self.settings.config.outage_tolerance / 20;
        let Some(changes) = group.changes(heartbeat.min(Duration::from_secs(60))) else { return };
        let (file, name) = (group.spec().file.clone(), group.spec().name.clone());
        let at = group.evaluated_at().unwrap_or_default();
        match self.db.save_alerts(&file, &name, at, &changes) {
            Ok(()) => group.mark_saved(changes),
            Err(error) => {
                // Kept in memory; the next evaluation tries again.
                self.metrics.save_failed();
                error!(
                    error = &error as &dyn std::error::Error,
                    file,
                    group = name,
                    "alert state not saved"
                );
            }
        }
    }

    fn publish(&self, at: Timestamp, instances: Vec<Arc<AlertInstance>>) {
        self.active.send_replace(Arc::new(ActiveAlerts { at, instances }));
    }

    /// Tells the end of firing alerts whose rules are gone, then forgets them.
    async fn end_orphans(self: Arc<Self>, orphans: Vec<StoredAlert>, stop: CancellationToken) {
        if orphans.is_empty() {
            return;
        }
        let now = clock::now();
        let external = &self.settings.around.external_labels;
        let ended: Vec<Alert> = orphans
            .iter()
            .filter(|stored| stored.instance.state == AlertState::Firing)
            .map(|stored| alerting::resolved(&stored.instance, now))
            .map(|instance| alerting::told(&instance, now, external, ""))
            .collect();
        if !ended.is_empty() {
            self.settings.notifier.send(&ended);
            tokio::select! {
                () = stop.cancelled() => return,
                sent = self.alerts.send(ended) => if sent.is_err() { return },
            }
        }
        let keys: Vec<(RuleKey, Labels)> =
            orphans.into_iter().map(|stored| (stored.rule, stored.instance.labels)).collect();
        let db = self.db.clone();
        let dropped = tokio::task::spawn_blocking(move || db.drop_alerts(&keys)).await;
        if let Ok(Err(error)) = dropped {
            self.metrics.save_failed();
            error!(error = &error as &dyn std::error::Error, "alerts without a rule not forgotten");
        }
    }
}

fn group_interval(group: &Mutex<Group>) -> Duration {
    group.lock().unwrap_or_else(PoisonError::into_inner).interval()
}

#[cfg(test)]
mod tests;
