//! Wiring: one scraper, its page and its health, reloadable.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::config::yaml::Invalid;
use crate::exposition::{Format, registry_families, render_all};
use crate::metric::Families;
use crate::process;
use crate::scrape::{self, ScrapeMetrics, Scraper};
use crate::server::{self, Bound, ServerError, WebConfig};

/// Reads the configuration again, with the same file, environment and flags as at the start.
pub type Source = Box<dyn Fn() -> Result<Config, Invalid> + Send + Sync>;

/// Serves until `stop`; for a host program that has a configuration of its own.
pub async fn run(config: Config, bound: Bound, stop: CancellationToken) -> Result<(), ServerError> {
    server::serve(bound, App::new(&config, None).router(), stop).await
}

/// The exporter, built and not yet serving.
pub struct App {
    scraper: RwLock<Arc<Scraper>>,
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
    /// `source` is where [`App::reload`] reads; without it there is no reload.
    pub fn new(config: &Config, source: Option<Source>) -> Arc<App> {
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
        let reloading = Mutex::default();
        Arc::new(App { scraper, source, registry, scrapes, reloads, started, reloading })
    }

    /// `/`, `/metrics`, `/-/healthy`, `/-/ready`, and `POST /-/reload` where there is a source.
    pub fn router(self: Arc<App>) -> Router {
        let router = Router::new()
            .route("/", get(landing))
            .route("/metrics", get(metrics))
            .route("/-/healthy", get(|| async { "healthy\n" }))
            .route("/-/ready", get(|| async { "ready\n" }));
        let router = match self.source {
            Some(_) => router.route("/-/reload", post(reload)),
            None => router,
        };
        router.with_state(self)
    }

    /// The page: one run of every collector, and the exporter's own metrics.
    pub async fn page(&self, headers: &HeaderMap, format: Format) -> String {
        let scraper = Arc::clone(&self.scraper.read().unwrap_or_else(PoisonError::into_inner));
        let parts = scraper.scrape(scrape::limit(headers)).await;
        let mut own = registry_families(&self.registry);
        process::collect(&mut own);
        let parts: Vec<&Families> = parts.iter().map(AsRef::as_ref).chain([&own]).collect();
        render_all(&parts, format)
    }

    /// Takes the new configuration, or keeps the old one and says so in metric, log and result.
    ///
    /// Collectors follow at once; `listen` and `web` at the next start.
    pub fn reload(&self) -> Result<(), Invalid> {
        let Some(source) = &self.source else { return Ok(()) };
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let config = source().inspect_err(|error| {
            self.reloads.successful.set(0);
            let cause = std::error::Error::source(error).map(ToString::to_string);
            error!(%error, cause, "reload failed, the old configuration stays");
        })?;
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
}

impl Reloads {
    fn succeeded(&self) {
        self.successful.set(1);
        self.timestamp.set(crate::clock::unix_seconds());
    }
}

async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let format = Format::from_accept(&headers);
    let page = app.page(&headers, format).await;
    ([(CONTENT_TYPE, format.content_type())], page).into_response()
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
