//! Routing and delivery in this process, on a database that outlives them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pitcrew_alertd::api::slack;
use pitcrew_alertd::clock;
use pitcrew_alertd::db::Db;
use pitcrew_alertd::db::outbox::Outbox;
use pitcrew_alertd::model::alert::Alert;
use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::notify::metrics::NotifyMetrics;
use pitcrew_alertd::notify::noted::Noting;
use pitcrew_alertd::notify::slack_bot::clicks::{ClickMetrics, Clicks};
use pitcrew_alertd::notify::slack_bot::desk::RoutingDesk;
use pitcrew_alertd::notify::{self, Settings};
use pitcrew_alertd::route::acknowledge::Acknowledgement;
use pitcrew_alertd::route::board::Board;
use pitcrew_alertd::route::config::{self, Notifications};
use pitcrew_alertd::route::metrics::RouteMetrics;
use pitcrew_alertd::route::receiver::additions::ReceiverConfig;
use pitcrew_alertd::route::{Enrich, Routing};
use pitcrew_exporter::config::yaml;
use pitcrew_tests::alertmanager;
use pitcrew_tests::wait::until;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(super) struct Bench {
    pub(super) alerts: mpsc::Sender<Vec<Alert>>,
    pub(super) outbox: Outbox,
    pub(super) board: Board,
    noting: Noting,
    /// Where clicks are taken.
    pub(super) web: String,
    registry: Registry,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// A hundredth of the real pauses: 1 s to 120 s of back-off become 10 ms to 1.2 s. An attempt has all
/// of its time, so that a busy machine's answer does not come too late.
pub(super) fn hundredth() -> Settings {
    Settings {
        external_url: "http://pitcrew.test".into(),
        min_backoff: Duration::from_millis(10),
        max_backoff: Duration::from_millis(1200),
        ..Settings::default()
    }
}

impl Bench {
    pub(super) async fn start(folder: &Path, file: &str, settings: Settings) -> Bench {
        Bench::start_with(folder, file, "[]", settings).await
    }

    /// `receivers` as alertd.yaml has them.
    pub(super) async fn start_with(
        folder: &Path,
        file: &str,
        receivers: &str,
        settings: Settings,
    ) -> Bench {
        let path = folder.join("alertmanager.yaml");
        std::fs::write(&path, file).unwrap();
        alertmanager::check_config(&path);
        Bench::start_unchecked(folder, file, receivers, settings).await
    }

    /// With a file that Debian's amtool does not know all keys of.
    pub(super) async fn start_unchecked(
        folder: &Path,
        file: &str,
        receivers: &str,
        settings: Settings,
    ) -> Bench {
        let path = folder.join("alertmanager.yaml");
        std::fs::write(&path, file).unwrap();
        let config = Arc::new(configuration(folder, receivers));
        // The last holder may still be leaving.
        let mut db = None;
        until(Duration::from_secs(20), "the data folder is free", async || {
            db = Db::open(&folder.join("data")).ok();
            db.is_some()
        })
        .await;
        let db = db.unwrap();
        let outbox = Outbox::new(db.clone());
        let (mut registry, stop) = (Registry::default(), CancellationToken::new());
        let (alerts, inbox) = mpsc::channel(100);
        let mut tasks = JoinSet::new();
        let enrich: Enrich = Arc::new(|_| Vec::new());
        let board = Board::open(db, config.resolve_timeout, clock::now(), &mut registry).unwrap();
        let noting = Noting::new(&config, board.clone(), outbox.clone());
        let desk = RoutingDesk { board: board.clone(), noting: noting.clone() };
        let metrics = ClickMetrics::new(&mut registry);
        let clicks = Clicks::new(&config, &settings, outbox.clone(), Arc::new(desk), metrics);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let web = format!("http://{}", listener.local_addr().unwrap());
        let (router, stopped) = (slack::routes(clicks.clone()), stop.clone().cancelled_owned());
        let serve = axum::serve(listener, router).with_graceful_shutdown(stopped);
        tasks.spawn(async move { serve.await.unwrap() });
        tasks.spawn(clicks.run(stop.clone()));
        let metrics = RouteMetrics::new(&mut registry);
        let routing = Routing::new(config.clone(), outbox.clone(), board.clone(), enrich, metrics);
        tasks.spawn(routing.run(Vec::new(), inbox, stop.clone()));
        let metrics = NotifyMetrics::new(&mut registry);
        let delivery = notify::run(config, settings, outbox.clone(), metrics, stop.clone());
        tasks.spawn(async move { delivery.await.unwrap() });
        Bench { alerts, outbox, board, noting, web, registry, tasks, stop }
    }

    /// Ends as a kill does: whatever was going on is dropped.
    pub(super) async fn kill(mut self) {
        self.tasks.shutdown().await;
    }

    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    pub(super) async fn send(&self, alerts: Vec<Alert>) {
        self.alerts.send(alerts).await.unwrap();
    }

    /// As the API does it.
    pub(super) async fn acknowledge(&self, alert: &Alert) {
        let (hash, now) = (alert.fingerprint(), clock::now());
        let entry = Acknowledgement {
            fingerprint: hash.to_string(),
            labels: alert.labels.to_map(),
            owner: "ann".to_owned(),
            note: "on it".to_owned(),
            signed_in: None,
            at: now,
            starts_at: alert.starts_at,
        };
        let said = entry.text();
        self.board.acknowledge(vec![entry]).await.unwrap();
        self.noting.acknowledged([hash].into(), said, now).await;
    }

    /// Sum of a metric's samples whose line contains `part`.
    pub(super) fn metric(&self, name: &str, part: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(part))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

/// What is configured in the folder, with these `receivers` of alertd.yaml.
pub(super) fn configuration(folder: &Path, receivers: &str) -> Notifications {
    let path = folder.join("alertmanager.yaml");
    let receivers: Vec<ReceiverConfig> = yaml::parse(&path, receivers).unwrap();
    config::load(&path).unwrap().join(&path, &receivers).unwrap()
}

/// An alert that has just begun to fire.
pub(super) fn firing(pairs: &[(&str, &str)]) -> Alert {
    let now = clock::now();
    Alert {
        labels: Labels::from_pairs(pairs.iter().copied()),
        annotations: BTreeMap::from([("summary".into(), "it is gone".into())]).into(),
        starts_at: now,
        ends_at: now.plus(Duration::from_secs(240)),
        generator_url: "http://prometheus.test/graph?g0.expr=up".into(),
    }
}

pub(super) fn resolved(alert: &Alert) -> Alert {
    Alert { ends_at: clock::now(), ..alert.clone() }
}
