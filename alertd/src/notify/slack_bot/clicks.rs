//! What comes of clicks: who may do it is asked, and routing is told.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pitcrew_exporter::secret::Secret;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::click::{self, Click, Order};
use super::signature::{self, Unsigned};
use super::web::Web;
use super::{Memory, button_key, socket};
use crate::clock;
use crate::db::DbError;
use crate::db::notification_log::LogEntry;
use crate::db::outbox::Outbox;
use crate::http_client::{HttpClient, HttpClientConfig};
use crate::notify::mrkdwn::line;
use crate::notify::{NotifyError, Settings};
use crate::route::config::Notifications;
use crate::route::notification::{self, common};
use crate::route::receiver::integration_key;
use crate::route::receiver::slack_bot::SlackBot;

/// Slack waits three seconds for an answer.
const PATIENCE: Duration = Duration::from_millis(2500);
/// Clicks that are worked on at a time; Slack shows further ones as failed.
const AT_ONCE: usize = 16;

/// Where an order takes effect: routing.
#[async_trait]
pub trait Desk: Send + Sync {
    /// Does what is wanted, so that it outlives a kill; the same order twice is done once.
    ///
    /// # Errors
    /// In words for the person who clicked.
    async fn carry_out(&self, order: Order) -> Result<(), String>;
}

/// Everything that takes clicks; clones share it.
#[derive(Clone)]
pub struct Clicks(Arc<Inner>);

struct Inner {
    doors: Vec<Door>,
    /// Each app once, with the doors that its clicks may be for.
    apps: Vec<(Web, Vec<usize>)>,
    outbox: Outbox,
    desk: Arc<dyn Desk>,
    metrics: ClickMetrics,
    busy: Arc<Semaphore>,
}

/// One receiver with buttons.
struct Door {
    integration: String,
    config: SlackBot,
    web: Web,
}

/// Why a signed request is not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Rejected {
    /// No receiver takes requests.
    Nobody,
    Unsigned(Unsigned),
    /// It was not done in time, or could not be.
    Failed,
}

#[derive(Clone, Default)]
pub struct ClickMetrics {
    clicks: Family<OutcomeLabels, Counter>,
    connected: Family<AppLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AppLabels {
    app: u64,
}

impl ClickMetrics {
    pub fn new(registry: &mut Registry) -> ClickMetrics {
        let metrics = ClickMetrics::default();
        registry.register(
            "pitcrew_alertd_slack_clicks",
            "Clicks on buttons in Slack, by what became of them",
            metrics.clicks.clone(),
        );
        registry.register(
            "pitcrew_alertd_slack_socket_connected",
            "Whether clicks can come over the socket of each app",
            metrics.connected.clone(),
        );
        metrics
    }

    pub(super) fn connected(&self, app: usize, yes: bool) {
        let labels = AppLabels { app: u64::try_from(app).unwrap_or_default() };
        self.connected.get_or_create(&labels).set(i64::from(yes));
    }

    fn count(&self, outcome: &'static str) {
        self.clicks.get_or_create(&OutcomeLabels { outcome }).inc();
    }
}

impl Clicks {
    pub fn new(
        config: &Notifications,
        settings: &Settings,
        outbox: Outbox,
        desk: Arc<dyn Desk>,
        metrics: ClickMetrics,
    ) -> Clicks {
        let (mut doors, mut apps) = (Vec::new(), Vec::<(Web, Vec<usize>)>::new());
        for receiver in &config.receivers {
            let bot = receiver.additions.slack_bot.as_ref();
            let Some(config) = bot.filter(|bot| bot.has_buttons()) else { continue };
            let web = Web::of(config, settings);
            if let Some(token) = &config.app_token {
                // A WebSocket begins as a request of HTTP/1.1.
                let http = HttpClientConfig { enable_http2: false, ..config.http.clone() };
                let client = HttpClient::new(http);
                let socket = Web { client, token: token.clone(), ..web.clone() };
                // A connection for each receiver would split one app's clicks among them.
                match apps.iter_mut().find(|(app, _)| app.token.is_same(token)) {
                    Some((_, mine)) => mine.push(doors.len()),
                    None => apps.push((socket, vec![doors.len()])),
                }
            }
            let integration = integration_key(&receiver.name, "slack_bot", 0);
            doors.push(Door { integration, config: config.clone(), web });
        }
        let busy = Arc::new(Semaphore::new(AT_ONCE));
        Clicks(Arc::new(Inner { doors, apps, outbox, desk, metrics, busy }))
    }

    /// Keeps the sockets open until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let sockets = self.0.apps.iter().enumerate().map(|(app, (web, _))| {
            tokio::spawn(socket::run(web.clone(), app, self.clone(), stop.clone()))
        });
        for socket in sockets.collect::<Vec<_>>() {
            if let Err(error) = socket.await {
                error!(%error, "a socket to Slack ended");
            }
        }
        stop.cancelled().await;
    }

    pub(super) fn metrics(&self) -> &ClickMetrics {
        &self.0.metrics
    }

    /// Whether signed requests are taken at all.
    pub fn takes_requests(&self) -> bool {
        self.0.doors.iter().any(|door| door.config.signing_secret.is_some())
    }

    /// Whose request it is, by its signature; for [`Clicks::take_request`].
    pub fn verify(
        &self,
        timestamp: &str,
        signature: &str,
        body: &[u8],
    ) -> Result<Trusted, Rejected> {
        let (mut trusted, mut why) = (Vec::new(), None);
        for (at, door) in self.0.doors.iter().enumerate() {
            let Some(source) = &door.config.signing_secret else { continue };
            let secret = source.read().unwrap_or_else(|error| {
                error!(%error, integration = door.integration, "signing secret cannot be read");
                Secret::new("")
            });
            // With an empty key anybody could sign.
            let found = match secret.reveal() {
                "" => Err(Unsigned::Wrong),
                _ => signature::verify(&secret, timestamp, signature, body, clock::now()),
            };
            match found {
                Ok(()) => trusted.push(at),
                Err(error) => why = Some(error),
            }
        }
        match (trusted.is_empty(), why) {
            (false, _) => Ok(Trusted(trusted)),
            (true, Some(why)) => {
                self.0.metrics.count("unsigned");
                Err(Rejected::Unsigned(why))
            }
            (true, None) => Err(Rejected::Nobody),
        }
    }

    /// A payload whose sender [`Clicks::verify`] found.
    pub async fn take_request(
        &self,
        Trusted(doors): Trusted,
        payload: &str,
    ) -> Result<(), Rejected> {
        match self.take(&doors, payload).await {
            true => Ok(()),
            false => Err(Rejected::Failed),
        }
    }

    /// Whether Slack may be told that it is done.
    pub(super) async fn take_envelope(&self, app: usize, payload: &str) -> bool {
        let doors = self.0.apps.get(app).map(|(_, doors)| doors.clone()).unwrap_or_default();
        self.take(&doors, payload).await
    }

    async fn take(&self, doors: &[usize], payload: &str) -> bool {
        let click = match click::read(payload, clock::now()) {
            Ok(Some(click)) => click,
            Ok(None) => return true,
            Err(error) => {
                warn!(%error, "Slack told of a click that cannot be read");
                self.0.metrics.count("malformed");
                return true;
            }
        };
        let Ok(turn) = Arc::clone(&self.0.busy).try_acquire_owned() else {
            self.0.metrics.count("busy");
            return false;
        };
        // It goes on when Slack's patience has ended.
        let (clicks, doors) = (self.clone(), doors.to_vec());
        let work = tokio::spawn(async move {
            let _turn = turn;
            clicks.carry_out(&doors, click).await
        });
        match time::timeout(PATIENCE, work).await {
            Ok(done) => done.unwrap_or(false),
            Err(_) => {
                self.0.metrics.count("late");
                false
            }
        }
    }

    async fn carry_out(&self, doors: &[usize], click: Click) -> bool {
        let by = click.by.clone();
        let doors: Vec<&Door> = doors.iter().filter_map(|at| self.0.doors.get(*at)).collect();
        let Some(any) = doors.first().copied() else { return true };
        if !doors.iter().any(|door| door.config.users.contains(&click.user)) {
            warn!(by, "click of somebody who may not use the buttons");
            self.0.metrics.count("not_allowed");
            self.whisper(any, &click, "You are not allowed to use these buttons.");
            return true;
        }
        let found = match self.find(&doors, &click.key).await {
            Ok(found) => found,
            Err(error) => {
                error!(%error, by, "click not carried out");
                self.0.metrics.count("failed");
                return false;
            }
        };
        let Some((door, entry)) = found else {
            self.0.metrics.count("over");
            self.whisper(any, &click, "This is over, or a newer message has taken its place.");
            return true;
        };
        if !door.config.users.contains(&click.user) {
            warn!(by, integration = door.integration, "click of somebody who may not do that");
            self.0.metrics.count("not_allowed");
            self.whisper(door, &click, "You are not allowed to use these buttons.");
            return true;
        }
        let order = order(&click, entry);
        let group = order.lane.group_key.clone();
        match self.0.desk.carry_out(order).await {
            Ok(()) => {
                info!(by, group, what = ?click.what, "order from Slack");
                self.0.metrics.count("done");
            }
            Err(why) => {
                warn!(by, group, why, "order from Slack refused");
                self.0.metrics.count("refused");
                self.whisper(door, &click, &line(&why, 300));
            }
        }
        true
    }

    /// The group that a button stands for, as it was told last.
    async fn find(&self, doors: &[&Door], key: &str) -> Result<Option<(&Door, LogEntry)>, DbError> {
        for door in doors {
            for (entry, memory) in self.0.outbox.remembered(door.integration.clone()).await? {
                let same = serde_json::from_str::<Memory>(&memory)
                    .is_ok_and(|memory| button_key(&entry.lane.group_key, memory.incident) == key);
                if same {
                    // The same receiver, borrowed from us rather than from the caller's list.
                    let door = self.0.doors.iter().find(|own| own.integration == door.integration);
                    return Ok(door.map(|door| (door, entry)));
                }
            }
        }
        Ok(None)
    }

    /// Tells the one who clicked, and nobody else; `text` is escaped.
    fn whisper(&self, door: &Door, click: &Click, text: &str) {
        let web = door.web.clone();
        let mut body = json!({ "channel": click.channel, "user": click.user, "text": text });
        if let (Some(thread), Some(body)) = (&click.thread, body.as_object_mut()) {
            body.insert("thread_ts".to_owned(), thread.as_str().into());
        }
        tokio::spawn(async move {
            if let Err(failure) = web.call("chat.postEphemeral", &body).await {
                warn!(error = %NotifyError::from(failure), "who clicked was not answered");
            }
        });
    }
}

/// The receivers that a signed request may be for.
#[derive(Debug, PartialEq, Eq)]
pub struct Trusted(Vec<usize>);

fn order(click: &Click, entry: LogEntry) -> Order {
    let memory = serde_json::from_str::<notification::Memory>(&entry.memory).ok();
    let alerts = memory.map(|memory| memory.alerts).unwrap_or_default();
    Order {
        labels: common(alerts.iter().map(|alert| alert.labels())),
        lane: entry.lane,
        what: click.what,
        alerts: entry.firing,
        by: click.by.clone(),
        at: click.at,
    }
}
