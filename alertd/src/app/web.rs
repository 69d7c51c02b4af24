//! The HTTP surface: what is always there, and what a reload exchanges.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use pitcrew_exporter::config::duration;
use pitcrew_exporter::exposition::{Format, render};
use tokio::sync::{mpsc, oneshot, watch};
use tower::ServiceExt;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use super::Reload;
use super::core::Core;
use crate::actions::Command;
use crate::actions::view::PoolsView;
use crate::api;
use crate::api::about::{About, query_flags};
use crate::api::alertmanager::Alertmanager;
use crate::api::evaluate::Turn;
use crate::clock;
use crate::config::Loaded;
use crate::model::alert::{ActiveAlerts, AlertInstance};
use crate::model::labels::Labels;
use crate::remote::source::RemoteSource;
use crate::rules::status::View;

/// No method changes anything there: a POST asks a question or is, as any other, answered with 405.
/// Writes are let through here too: who may write is looked at where they go (`api/write.rs`).
pub(super) const READ_ONLY: [&str; 21] = [
    "/api/v1/alertmanagers",
    "/api/v1/alerts",
    "/api/v1/label",
    "/api/v1/metadata",
    "/api/v1/notifications",
    "/api/v1/parse_query",
    "/api/v1/rules",
    "/api/v1/scrape_pools",
    "/api/v1/status",
    "/api/v1/targets",
    "/metrics",
    "/status.json",
    "/-/healthy",
    "/-/ready",
    "/api/v1/query",
    "/api/v1/query_range",
    "/api/v1/query_exemplars",
    "/api/v1/format_query",
    "/api/v1/labels",
    "/api/v1/series",
    "/api/v1/write",
];

/// Where handlers decide who may change something: alerts are posted, and silences set on loopback,
/// by who has no credentials.
pub(super) const JUDGED: [&str; 2] = ["/api/v2", "/api/acknowledgements"];

/// Answers from this size on are compressed for who takes that; below it costs more than it saves.
const COMPRESS_FROM: u16 = 4096;

/// Nothing but the page's own style; no script, no frame, no form target elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// The page does not wait longer for hosts and runners: it is looked at when something hangs.
const PAGE_PATIENCE: Duration = Duration::from_secs(3);

/// The routes of the generation that runs now; none at the very start.
#[derive(Clone, Default)]
pub(super) struct Front(Arc<RwLock<Option<Router>>>);

impl Front {
    pub(super) fn show(&self, router: Router) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(router);
    }

    fn current(&self) -> Option<Router> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Health, metrics and reload; everything else goes to the generation.
    pub(super) fn router(&self, core: Core, reloads: mpsc::Sender<Reload>) -> Router {
        let (front, starting) = (self.clone(), (StatusCode::SERVICE_UNAVAILABLE, "starting\n"));
        let source = core.source.clone();
        let ready = move || async move {
            // Ready also while the source is away: that is when the page is looked at.
            match front.current() {
                None => starting.into_response(),
                Some(_) => ["ready\n".to_owned(), source.map(said).unwrap_or_default()]
                    .concat()
                    .into_response(),
            }
        };
        let front = self.clone();
        let pass_on = move |request: Request| async move {
            match front.current() {
                Some(router) => router.oneshot(request).await,
                None => Ok(starting.into_response()),
            }
        };
        Router::new()
            .route("/metrics", get(metrics))
            .with_state(core)
            .route("/-/healthy", get(|| async { "healthy\n" }))
            .route("/-/ready", get(ready))
            .route("/-/reload", post(reload))
            .with_state(reloads)
            .fallback(pass_on)
            .layer(
                CompressionLayer::new()
                    .quality(CompressionLevel::Fastest)
                    .compress_when(SizeAbove::new(COMPRESS_FROM)),
            )
    }
}

/// Everything that one generation answers.
pub(super) fn router(
    core: &Core,
    loaded: &Loaded,
    rules: &View,
    alertmanagers: Vec<String>,
    active: watch::Receiver<Arc<ActiveAlerts>>,
    (pools, commands): (watch::Receiver<Arc<PoolsView>>, mpsc::Sender<Command>),
    alertmanager: Alertmanager,
) -> Router {
    let external_labels = Labels::from_pairs(loaded.config.global.external_labels.clone());
    let page = Arc::new(Page {
        core: core.clone(),
        rules: rules.clone(),
        active,
        pools: pools.clone(),
        external_labels,
    });
    let router = Router::new()
        .route("/", get(html))
        .route("/status.json", get(json))
        .with_state(page)
        .merge(api::query::routes(core.queries.clone()))
        .merge(api::series::routes(core.queries.clone()))
        .merge(api::targets::routes(core.targets.clone()))
        .merge(api::metadata::routes(core.targets.clone(), core.received.clone()))
        .merge(api::cardinality::routes(core.queries.clone(), core.tsdb.clone()))
        .merge(api::format::routes())
        .merge(api::about::routes(about(core, loaded, alertmanagers)))
        .merge(api::rules::routes(rules.clone()))
        .merge(api::runbooks::routes())
        .merge(api::write::routes(core.receiver.clone(), alertmanager.doors.write))
        .merge(api::acknowledgements::routes(alertmanager.clone()))
        .merge(api::alertmanager::routes(alertmanager))
        .merge(api::pools::routes(pools, core.db.clone(), commands))
        .merge(api::backup::routes(core.snapshots.clone(), core.restart.clone()));
    api::with_fallbacks(router)
}

fn about(core: &Core, loaded: &Loaded, alertmanagers: Vec<String>) -> About {
    let config = &loaded.config;
    let retention = duration::format(config.metrics.embedded.retention);
    let external = || format!("http://{}", config.listen);
    let reloaded = core.clone();
    About {
        started: core.began(),
        yaml: loaded.shown.clone(),
        flags: [
            ("config.file", loaded.file.to_string_lossy().into_owned()),
            ("storage.tsdb.path", config.data_dir.to_string_lossy().into_owned()),
            ("storage.tsdb.retention.time", retention.clone()),
            ("web.external-url", config.external_url.clone().unwrap_or_else(external)),
            ("web.listen-address", config.listen.clone()),
        ]
        .into_iter()
        .chain(query_flags(&config.query))
        .collect(),
        retention,
        corruptions: core.corruptions,
        alertmanagers,
        reloaded: Arc::new(move || reloaded.reload_state()),
    }
}

struct Page {
    core: Core,
    rules: View,
    active: watch::Receiver<Arc<ActiveAlerts>>,
    pools: watch::Receiver<Arc<PoolsView>>,
    /// By which routing's labels of an alert differ from the rule's.
    external_labels: Labels,
}

impl Page {
    async fn status(&self) -> api::status::Status {
        let (targets, now) = (self.core.targets.snapshot(), clock::now());
        let rows = move |turn: &Turn<'_>| Ok(api::fleet::rows(&targets, turn.store, now)?);
        let rows = self.core.queries.run(Some(PAGE_PATIENCE), rows).await;
        // After the store was asked: what it said then is part of it.
        let source = self.core.source.as_ref().map(|source| source.condition().into());
        let (active, pools) = (self.active.borrow().clone(), self.pools.borrow().clone());
        let acknowledged = self.core.board.acknowledged();
        let owner = |alert: &AlertInstance| {
            let labels = self.external_labels.overlaid(&alert.labels);
            let entry = acknowledged.of(labels.fingerprint(), alert.fired_at?)?;
            Some(entry.text())
        };
        api::gather::status((&active, &self.rules.groups()), &pools, rows, source, &owner, now)
    }
}

async fn html(State(page): State<Arc<Page>>) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, api::page::render(&page.status().await).into_string()).into_response()
}

async fn json(State(page): State<Arc<Page>>) -> Response {
    ([(CACHE_CONTROL, "no-store")], axum::Json(page.status().await)).into_response()
}

async fn metrics(State(core): State<Core>, headers: HeaderMap) -> Response {
    let format = Format::from_accept(&headers);
    ([(CONTENT_TYPE, format.content_type())], render(&core.families(), format)).into_response()
}

async fn reload(State(reloads): State<mpsc::Sender<Reload>>) -> (StatusCode, String) {
    let (reply, answer) = oneshot::channel();
    let stopping = || (StatusCode::SERVICE_UNAVAILABLE, "alertd is stopping\n".to_owned());
    if reloads.send(reply).await.is_err() {
        return stopping();
    }
    match answer.await {
        Ok(Ok(())) => (StatusCode::OK, "reloaded\n".to_owned()),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        Err(_) => stopping(),
    }
}

/// One line on the source for `/-/ready`.
fn said(source: RemoteSource) -> String {
    let condition = source.condition();
    match condition.trouble {
        None => format!("source {}\n", condition.url),
        Some(why) => format!("source {} is away: {why}\n", condition.url),
    }
}

/// The host name of a URL.
pub(super) fn host(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    uri.host().map(str::to_owned)
}
