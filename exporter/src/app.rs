//! Wiring: one scraper, what GitHub tells, their page and its health, reloadable.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get, post};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock;
use crate::config::Config;
use crate::config::yaml::Invalid;
use crate::exposition::{Format, registry_families, render_all};
use crate::metric::Families;
use crate::process;
use crate::scrape::{self, ScrapeMetrics, Scraper};
use crate::server::{self, Bound, ServerError, WebConfig};
use crate::workflows::service::{Service, ServiceError};
use crate::workflows::webhook;

/// Reads the configuration again, with the same file, environment and flags as at the start.
pub type Source = Box<dyn Fn() -> Result<Config, Invalid> + Send + Sync>;

/// Serves until `stop`; for a host program that has a configuration of its own.
pub async fn run(config: Config, bound: Bound, stop: CancellationToken) -> Result<(), AppError> {
    let app = App::open(&config, None, &stop)?;
    Ok(app.serve(bound, stop).await?)
}

/// What keeps the exporter from starting, or from taking a new configuration.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Config(#[from] Invalid),
    #[error(transparent)]
    Workflows(#[from] ServiceError),
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// The exporter, built and not yet serving.
pub struct App {
    scraper: RwLock<Arc<Scraper>>,
    workflows: RwLock<Option<Arc<Service>>>,
    stop: CancellationToken,
    source: Option<Source>,
    registry: Registry,
    scrapes: ScrapeMetrics,
    reloads: Reloads,
    /// `listen` and `web` as they were at the start.
    started: (String, WebConfig),
    /// One reload at a time.
    reloading: Mutex<()>,
}

struct Reloads {
    successful: Gauge,
    timestamp: Gauge<f64, std::sync::atomic::AtomicU64>,
}

impl App {
    /// With what `github` in the configuration asks for; see [`App::new`]. Must run within a tokio
    /// runtime. `stop` is cancelled when a part breaks down without which it cannot go on.
    pub fn open(
        config: &Config,
        source: Option<Source>,
        stop: &CancellationToken,
    ) -> Result<Arc<App>, ServiceError> {
        let workflows = Service::open(config, stop)?.map(Arc::new);
        Ok(Arc::new(App::with(config, source, workflows, stop.clone())))
    }

    /// The collectors alone. `source` is where [`App::reload`] reads; without it there is no reload.
    pub fn new(config: &Config, source: Option<Source>) -> Arc<App> {
        Arc::new(App::with(config, source, None, CancellationToken::new()))
    }

    fn with(
        config: &Config,
        source: Option<Source>,
        workflows: Option<Arc<Service>>,
        stop: CancellationToken,
    ) -> App {
        let mut registry = Registry::default();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("pitcrew_exporter_build", "The running version", Info::new(version));
        let reloads = Reloads { successful: Gauge::default(), timestamp: Gauge::default() };
        reloads.succeeded();
        if source.is_some() {
            registry.register(
                "pitcrew_exporter_config_last_reload_successful",
                "Whether the last attempt to load the configuration succeeded",
                reloads.successful.clone(),
            );
            registry.register(
                "pitcrew_exporter_config_last_reload_success_timestamp_seconds",
                "When the configuration in use was loaded, in unixtime",
                reloads.timestamp.clone(),
            );
        }
        let scrapes = ScrapeMetrics::new(&mut registry);
        let scraper = Arc::new(Scraper::new(config, scrapes.clone(), None));
        let scraper = RwLock::new(scraper);
        let started = (config.listen.clone(), config.web.clone());
        let (workflows, reloading) = (RwLock::new(workflows), Mutex::default());
        App { scraper, workflows, stop, source, registry, scrapes, reloads, started, reloading }
    }

    /// Serves until `stop`.
    pub async fn serve(
        self: Arc<App>,
        bound: Bound,
        stop: CancellationToken,
    ) -> Result<(), ServerError> {
        server::serve(bound.with_signed_path(webhook::PATH), self.router(), stop).await
    }

    /// `/`, `/metrics`, `/webhooks/github`, `/-/healthy`, `/-/ready`, and `POST /-/reload` where there is a source.
    pub fn router(self: Arc<App>) -> Router {
        let router = Router::new()
            .route("/", get(landing))
            .route("/metrics", get(metrics))
            .route(webhook::PATH, any(deliver))
            .route("/-/healthy", get(|| async { "healthy\n" }))
            .route("/-/ready", get(|| async { "ready\n" }));
        let router = match self.source {
            Some(_) => router.route("/-/reload", post(reload)),
            None => router,
        };
        router.with_state(self)
    }

    /// The page: one run of every collector, what GitHub told, and the exporter's own metrics.
    pub async fn page(&self, headers: &HeaderMap, format: Format) -> String {
        let scraper = Arc::clone(&self.scraper.read().unwrap_or_else(PoisonError::into_inner));
        let parts = scraper.scrape(scrape::limit(headers)).await;
        let mut own = registry_families(&self.registry);
        process::collect(&mut own);
        let workflows = self.workflows().map(|service| service.families(clock::unix_seconds()));
        let parts = parts.iter().map(AsRef::as_ref).chain(&workflows).chain([&own]);
        let parts: Vec<&Families> = parts.collect();
        render_all(&parts, format)
    }

    /// Takes the new configuration, or keeps the old one and says so in metric, log and result.
    ///
    /// Collectors and `github` follow at once; `listen`, `web` and `data_dir` at the next start.
    pub fn reload(&self) -> Result<(), AppError> {
        let Some(source) = &self.source else { return Ok(()) };
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let new = source().map_err(AppError::from);
        let new = new.and_then(|config| Ok((self.renewed(&config)?, config)));
        let (workflows, config) = new.inspect_err(|error| {
            self.reloads.successful.set(0);
            let cause = std::error::Error::source(error).map(ToString::to_string);
            error!(%error, cause, "reload failed, the old configuration stays");
        })?;
        *self.workflows.write().unwrap_or_else(PoisonError::into_inner) = workflows;
        let mut scraper = self.scraper.write().unwrap_or_else(PoisonError::into_inner);
        *scraper = Arc::new(Scraper::new(&config, self.scrapes.clone(), Some(&scraper)));
        self.reloads.succeeded();
        info!("configuration reloaded");
        let (listen, web) = &self.started;
        if (&config.listen, &config.web) != (listen, web) {
            warn!("listen or web changed, which takes effect at the next start");
        }
        Ok(())
    }

    fn workflows(&self) -> Option<Arc<Service>> {
        self.workflows.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What does the workflows under the new configuration.
    fn renewed(&self, config: &Config) -> Result<Option<Arc<Service>>, ServiceError> {
        match (self.workflows(), &config.github) {
            (Some(service), Some(_)) => service.reload(config).map(|()| Some(service)),
            (None, Some(_)) => Ok(Service::open(config, &self.stop)?.map(Arc::new)),
            (_, None) => Ok(None),
        }
    }
}

impl Reloads {
    fn succeeded(&self) {
        self.successful.set(1);
        self.timestamp.set(clock::unix_seconds());
    }
}

async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let format = Format::from_accept(&headers);
    let page = app.page(&headers, format).await;
    ([(CONTENT_TYPE, format.content_type())], page).into_response()
}

async fn deliver(State(app): State<Arc<App>>, request: Request) -> Response {
    match app.workflows() {
        Some(service) => service.receive(request).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn reload(State(app): State<Arc<App>>) -> (StatusCode, String) {
    match app.reload() {
        Ok(()) => (StatusCode::OK, "reloaded\n".to_owned()),
        Err(error) => {
            let mut text = error.to_string();
            if let Some(cause) = std::error::Error::source(&error) {
                write!(text, ": {cause}").expect("a String takes every write");
            }
            (StatusCode::INTERNAL_SERVER_ERROR, text + "\n")
        }
    }
}

async fn landing() -> Html<&'static str> {
    Html(
        "<!doctype html>\n<html lang=\"en\"><title>pitcrew-exporter</title>\n\
         <h1>pitcrew-exporter</h1>\n<p>What this host knows about itself and its CI runners.</p>\n\
         <p><a href=\"/metrics\">Metrics</a></p>\n</html>\n",
    )
}
