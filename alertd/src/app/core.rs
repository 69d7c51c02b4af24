//! What outlives a reload: data, store, targets, counters, and the tasks that keep them.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pitcrew_exporter::exposition::registry_families;
use pitcrew_exporter::github::metrics::GithubMetrics;
use pitcrew_exporter::metric::Families;
use pitcrew_exporter::{clock as exporter_clock, process};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::{self, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use crate::actions::metrics::ActionMetrics;
use crate::api::about::Reloaded;
use crate::api::evaluate::Queries;
use crate::api::write::Receiver;
use crate::backup::snapshot::Snapshots;
use crate::backup::{self, restore};
use crate::clock;
use crate::config::Loaded;
use crate::db::outbox::Outbox;
use crate::db::{self, Db};
use crate::model::querier::Store;
use crate::model::sample::Timestamp;
use crate::notify::digest::DigestMetrics;
use crate::notify::heartbeat::HeartbeatMetrics;
use crate::notify::metrics::NotifyMetrics;
use crate::notify::slack_bot::clicks::ClickMetrics;
use crate::remote::config::RemoteWriteConfig;
use crate::remote::forward::{Forwarding, Outlet};
use crate::remote::metadata::Received;
use crate::remote::metrics::{ReceiveMetrics, SendMetrics};
use crate::remote::queue::QueueError;
use crate::remote::source::RemoteSource;
use crate::route::board::Board;
use crate::route::history;
use crate::route::metrics::RouteMetrics;
use crate::rules::metrics::RulesMetrics;
use crate::rules::notifier::metrics::NotifierMetrics;
use crate::scrape;
use crate::scrape::config::{GlobalConfig, Settings};
use crate::scrape::metrics::ScrapeMetrics;
use crate::scrape::targets::Targets;
use crate::tsdb::block::metrics::BlockMetrics;
use crate::tsdb::metrics::StoreMetrics;
use crate::tsdb::report::Report;
use crate::tsdb::{Limits, Tsdb};

/// How often the store is asked to look after itself.
const MAINTAIN_EVERY: Duration = Duration::from_secs(10);

/// Cheap to clone; clones share everything.
#[derive(Clone)]
pub(super) struct Core {
    pub(super) db: Db,
    pub(super) outbox: Outbox,
    pub(super) board: Board,
    pub(super) tsdb: Arc<Tsdb>,
    /// What stands in the embedded store's place, if so configured.
    pub(super) source: Option<RemoteSource>,
    /// The one store that everything reads and writes.
    forward: Arc<Forwarding>,
    data_dir: PathBuf,
    pub(super) targets: Targets,
    pub(super) queries: Queries,
    pub(super) receiver: Receiver,
    /// What write requests said about metrics.
    pub(super) received: Received,
    pub(super) rules: RulesMetrics,
    pub(super) notifier: NotifierMetrics,
    pub(super) route: RouteMetrics,
    pub(super) notify: NotifyMetrics,
    pub(super) heartbeat: HeartbeatMetrics,
    pub(super) clicks: ClickMetrics,
    pub(super) actions: ActionMetrics,
    pub(super) github: GithubMetrics,
    pub(super) digest: DigestMetrics,
    /// Reports of alerts that the history for digests did not take.
    pub(super) history_lost: Counter,
    pub(super) snapshots: Snapshots,
    /// Cancelled when the program is to end and begin anew.
    pub(super) restart: CancellationToken,
    /// Whether other hosts can connect.
    pub(super) exposed: bool,
    scrape: ScrapeMetrics,
    settings: watch::Sender<Arc<Settings>>,
    began: Timestamp,
    /// Damaged places that the store found when it opened.
    pub(super) corruptions: u64,
    own: Arc<Own>,
}

struct Own {
    registry: Mutex<Registry>,
    reload_successful: Gauge,
    reload_timestamp: Gauge<f64, AtomicU64>,
    store: StoreMetrics,
}

impl Core {
    /// Opens the data directory, which no other alertd may use.
    pub(super) fn open(loaded: &Loaded) -> anyhow::Result<Core> {
        // Its lock stands for the whole directory, so it comes first.
        let data_dir = &loaded.config.data_dir;
        let lock = db::lock(data_dir)?;
        if let Some(replaced) = restore::apply(data_dir)? {
            info!(replaced = %replaced.display(), "a backup has taken the place of what was there");
        }
        let db = Db::open_locked(data_dir, lock)?;
        let mut registry = Registry::default();
        let embedded = &loaded.config.metrics.embedded;
        let limits = Limits {
            max_series: embedded.max_series,
            retention: embedded.retention,
            retention_bytes: embedded.retention_size.map(|size| size.0),
            out_of_order_window: embedded.out_of_order_window,
            ..Limits::default()
        };
        let folder = data_dir.join(backup::SAMPLES);
        let (tsdb, report) =
            Tsdb::open(&folder, limits, clock::now(), BlockMetrics::new(&mut registry))?;
        tell(&report);
        let tsdb = Arc::new(tsdb);
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("pitcrew_alertd_build", "The running version", Info::new(version));
        let own = Own::register(&mut registry);
        own.store.opened(&report);
        let remote = loaded.config.metrics.prometheus.as_ref();
        let source = remote.map(|config| RemoteSource::new(config, &mut registry));
        let store: Arc<dyn Store> = match &source {
            Some(source) => Arc::new(source.clone()),
            None => tsdb.clone(),
        };
        let forward = Arc::new(Forwarding::new(store, SendMetrics::new(&mut registry)));
        let store: Arc<dyn Store> = forward.clone();
        let received = Received::default();
        let resolve_timeout = loaded.notifications.resolve_timeout;
        let core = Core {
            outbox: Outbox::new(db.clone()),
            board: Board::open(db.clone(), resolve_timeout, clock::now(), &mut registry)?,
            queries: Queries::new(store.clone(), loaded.config.query.clone(), &mut registry),
            receiver: Receiver::new(store, ReceiveMetrics::new(&mut registry), received.clone()),
            received,
            rules: RulesMetrics::new(&mut registry),
            notifier: NotifierMetrics::new(&mut registry),
            route: RouteMetrics::new(&mut registry),
            notify: NotifyMetrics::new(&mut registry),
            heartbeat: HeartbeatMetrics::new(&mut registry),
            clicks: ClickMetrics::new(&mut registry),
            actions: ActionMetrics::new(&mut registry),
            github: GithubMetrics::new(&mut registry, "pitcrew_alertd"),
            digest: DigestMetrics::new(&mut registry),
            history_lost: history::lost(&mut registry),
            scrape: ScrapeMetrics::new(&mut registry),
            targets: Targets::default(),
            snapshots: Snapshots::new(data_dir, db.clone(), tsdb.clone()),
            restart: CancellationToken::new(),
            exposed: false,
            settings: watch::Sender::new(Arc::new(loaded.scrape.clone())),
            began: clock::now(),
            corruptions: report.repaired.values().sum(),
            own: Arc::new(Own { registry: Mutex::new(registry), ..own }),
            db,
            tsdb,
            source,
            forward,
            data_dir: loaded.config.data_dir.clone(),
        };
        core.forward_to(&loaded.config.remote_write)?;
        core.reloaded(true);
        Ok(core)
    }

    /// When every target has been scraped twice since the program began, after which a rate that is
    /// missing is missing: what was stored before may be too old to be seen by then.
    pub(super) fn store_filled_at(&self, settings: &Settings) -> Timestamp {
        self.began.plus(scraped_twice(settings))
    }

    /// The same after any other time in which nothing came in. Who scrapes for a remote source is
    /// not known, so it is taken for as quick as we would be.
    pub(super) fn refill(&self, settings: &Settings) -> Duration {
        let own = scraped_twice(settings);
        match &self.source {
            None => own,
            Some(_) => {
                let GlobalConfig { scrape_interval, .. } = settings.global;
                own.max(scrape_interval.saturating_mul(2) + settings.global.timeout())
            }
        }
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        self.forward.clone()
    }

    /// From now on what is stored is queued for these receivers too.
    pub(super) fn forward_to(&self, remotes: &[RemoteWriteConfig]) -> Result<(), QueueError> {
        self.forward.configure(remotes, &self.data_dir)
    }

    pub(super) fn outlets(&self) -> Arc<[Arc<Outlet>]> {
        self.forward.outlets()
    }

    /// Scraping follows at once.
    pub(super) fn scrape_settings(&self, settings: Settings) {
        self.settings.send_replace(Arc::new(settings));
    }

    pub(super) fn reloaded(&self, well: bool) {
        self.own.reload_successful.set(i64::from(well));
        if well {
            self.own.reload_timestamp.set(exporter_clock::unix_seconds());
        }
    }

    pub(super) fn reload_state(&self) -> Reloaded {
        Reloaded {
            well: self.own.reload_successful.get() == 1,
            at: Timestamp::from_seconds(self.own.reload_timestamp.get()),
        }
    }

    pub(super) fn began(&self) -> Timestamp {
        self.began
    }

    /// alertd's own metrics, as of now.
    pub(super) fn families(&self) -> Families {
        self.own.store.update(&self.tsdb);
        let registry = self.own.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut families = registry_families(&registry);
        process::collect(&mut families);
        families
    }

    /// Scrapes, and keeps the store in order, until `stop`.
    pub(super) async fn look_after(
        self,
        settings: Settings,
        eager: bool,
        stop: CancellationToken,
        _guard: DropGuard,
    ) {
        self.scrape_settings(settings);
        let scraping = scrape::run(
            self.settings.subscribe(),
            self.store(),
            self.targets.clone(),
            self.scrape.clone(),
            eager,
            stop.clone(),
        );
        let watching = async {
            if let Some(source) = self.source {
                source.watch(stop.clone()).await;
            }
        };
        tokio::join!(scraping, watching, maintain(self.tsdb, stop.clone()));
    }
}

fn scraped_twice(settings: &Settings) -> Duration {
    let timing = settings.jobs.iter().map(|job| job.timing(&settings.global));
    let twice = timing.map(|(interval, timeout)| interval.saturating_mul(2) + timeout);
    twice.max().unwrap_or_default()
}

fn tell(report: &Report) {
    for repair in &report.repairs {
        warn!("{repair}");
    }
    if report.orphans > 0 {
        warn!(samples = report.orphans, "series of some samples were lost with a damaged record");
    }
    info!(series = report.series, samples = report.samples, "store opened");
}

async fn maintain(tsdb: Arc<Tsdb>, stop: CancellationToken) {
    let mut ticks = time::interval(MAINTAIN_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let store = tsdb.clone();
        let work = tokio::task::spawn_blocking(move || store.maintain(clock::now()));
        // A panic in it is in the log already; the next round comes.
        stop.run_until_cancelled(work).await;
    }
    tsdb.stop();
}

impl Own {
    fn register(registry: &mut Registry) -> Own {
        let own = Own {
            registry: Mutex::default(),
            reload_successful: Gauge::default(),
            reload_timestamp: Gauge::default(),
            store: StoreMetrics::new(registry),
        };
        let name = |rest: &str| format!("pitcrew_alertd_{rest}");
        registry.register(
            name("config_last_reload_successful"),
            "Whether the last attempt to load the configuration succeeded",
            own.reload_successful.clone(),
        );
        registry.register(
            name("config_last_reload_success_timestamp_seconds"),
            "When the configuration in use was loaded, in unixtime",
            own.reload_timestamp.clone(),
        );
        own
    }
}
