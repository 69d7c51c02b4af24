//! Scraping from real sockets into the store, seen through the query API.

mod api;
mod hostile;
mod peer;
mod relabel;
mod secured;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pitcrew_alertd::api::evaluate::{Queries, QueryConfig};
use pitcrew_alertd::api::{query, series, targets as targets_api};
use pitcrew_alertd::model::querier::Store;
use pitcrew_alertd::scrape::config::{GlobalConfig, ScrapeConfig, Settings};
use pitcrew_alertd::scrape::metrics::ScrapeMetrics;
use pitcrew_alertd::scrape::targets::{Health, TargetStatus, Targets};
use pitcrew_alertd::tsdb::{Limits, Tsdb};
use pitcrew_exporter::config::yaml;
use pitcrew_tests::fake_target::{Answer, FakeTarget, TEXT};
use pitcrew_tests::process::tls;
use pitcrew_tests::wait;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) const SOON: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    global: GlobalConfig,
    scrape_configs: Vec<ScrapeConfig>,
}

pub(crate) fn settings(file: &Path, text: &str) -> Arc<Settings> {
    let File { global, scrape_configs } = yaml::parse(file, text).unwrap();
    Arc::new(Settings::new(global, scrape_configs, file).unwrap())
}

/// Scraping and the query API in this process, over an empty store.
pub(crate) struct Scraper {
    pub(crate) url: String,
    pub(crate) targets: Targets,
    pub(crate) metrics: Registry,
    change: watch::Sender<Arc<Settings>>,
    stop: CancellationToken,
}

impl Scraper {
    pub(crate) async fn start(settings: Arc<Settings>) -> Scraper {
        tls();
        let store: Arc<dyn Store> = Arc::new(Tsdb::new(Limits::default()));
        let mut metrics = Registry::default();
        let scrape_metrics = ScrapeMetrics::new(&mut metrics);
        let queries = Queries::new(Arc::clone(&store) as _, QueryConfig::default(), &mut metrics);
        let targets = Targets::default();
        let router = query::routes(queries.clone())
            .merge(series::routes(queries))
            .merge(targets_api::routes(targets.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let (change, receive) = watch::channel(settings);
        let stop = CancellationToken::new();
        let run = pitcrew_alertd::scrape::run(
            receive,
            store,
            targets.clone(),
            scrape_metrics,
            true,
            stop.clone(),
        );
        tokio::spawn(run);
        Scraper { url, targets, metrics, change, stop }
    }

    /// The scraper of one job with these addresses, and more keys of the job in flow style.
    pub(crate) async fn of(addresses: &[&str], more: &str) -> Scraper {
        let text = format!(
            "{{global: {{scrape_interval: 1s, scrape_timeout: 500ms}}, scrape_configs: [{{job_name: j, \
             static_configs: [{{targets: {addresses:?}}}], {more}}}]}}"
        );
        Scraper::start(settings(Path::new("test.yaml"), &text)).await
    }

    pub(crate) async fn values(&self, query: &str) -> Vec<(String, String)> {
        values(&self.url, query).await
    }

    pub(crate) fn target(&self, address: &str) -> Option<TargetStatus> {
        self.targets.snapshot().into_iter().find(|target| target.instance == address)
    }

    /// Waits until the target is down and gives the error.
    pub(crate) async fn error_of(&self, address: &str) -> String {
        let down = || self.target(address).filter(|target| target.last.health == Health::Down);
        wait::until(SOON, "the target is down", async || down().is_some()).await;
        down().unwrap().last.error.unwrap()
    }

    /// One line of our own metrics.
    pub(crate) fn metric(&self, line: &str) -> Option<f64> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.metrics).unwrap();
        let found = text.lines().find_map(|have| have.strip_prefix(line)?.strip_prefix(' '));
        found.map(|value| value.parse().unwrap())
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) async fn get(base: &str, path: &str, params: &[(&str, &str)]) -> (u16, Value) {
    tls();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("{base}{path}")).query(params).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Labels and value of each element of an instant vector, sorted.
pub(crate) async fn values(base: &str, query: &str) -> Vec<(String, String)> {
    let (status, answer) = get(base, "/api/v1/query", &[("query", query)]).await;
    assert_eq!(status, 200, "{query}: {answer}");
    let elements = answer["data"]["result"].as_array().unwrap();
    let one = |element: &Value| {
        (element["metric"].to_string(), element["value"][1].as_str().unwrap().to_owned())
    };
    let mut values: Vec<_> = elements.iter().map(one).collect();
    values.sort();
    values
}

#[tokio::test]
async fn a_target_that_goes_away_is_down_and_its_series_end_at_once() {
    let target = FakeTarget::page("here{a=\"b\"} 7\nother 1\n").await;
    let scraper = Scraper::of(&[&target.address], "").await;
    let here = async || scraper.values("here").await.len();
    wait::until(SOON, "the first scrape", async || here().await == 1).await;
    assert_eq!(scraper.values("up").await[0].1, "1");
    assert_eq!(scraper.values("scrape_samples_scraped").await[0].1, "2");

    target.set(Answer::Page(TEXT, "other 2\n".to_owned()));
    wait::until(SOON, "a series that left its page ends", async || here().await == 0).await;
    assert_eq!(scraper.values("up").await[0].1, "1");

    let address = target.address.clone();
    drop(target);
    let error = scraper.error_of(&address).await;
    assert!(error.starts_with("cannot connect"), "{error}");
    assert_eq!(scraper.values("up").await[0].1, "0");
    assert_eq!(scraper.values("other").await, []);
    assert_eq!(scraper.values("count_over_time(other[1m])").await.len(), 1, "the past stays");
    assert!(scraper.metric("pitcrew_alertd_scrapes_total{outcome=\"connect\"}") >= Some(1.0));
}

#[tokio::test]
async fn target_files_are_followed_and_a_broken_one_keeps_its_targets() {
    let (one, two) = (FakeTarget::page("a 1\n").await, FakeTarget::page("a 2\n").await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.json");
    let write = |text: String| std::fs::write(&file, text).unwrap();
    write(format!(r#"[{{"targets": ["{}", "{}"]}}]"#, one.address, one.address));
    let config = "{global: {scrape_interval: 1s}, scrape_configs: [{job_name: j, \
                  file_sd_configs: [{files: ['*.json']}]}]}";
    let scraper = Scraper::start(settings(&folder.path().join("p.yaml"), config)).await;
    let sees = async |want: &[&str]| {
        let found = scraper.values("a").await;
        found.iter().map(|(_, value)| value.as_str()).eq(want.iter().copied())
    };
    wait::until(SOON, "the target is scraped, once", async || sees(&["1"]).await).await;
    assert_eq!(scraper.targets.snapshot().len(), 1);

    write(format!(
        r#"[{{"targets": ["{}"]}}, {{"targets": ["{}"], "labels": {{"z": "y"}}}}]"#,
        one.address, two.address
    ));
    wait::until(SOON, "a target is added", async || scraper.values("a").await.len() == 2).await;
    assert_eq!(scraper.values("a{z=\"y\"}").await[0].1, "2");

    write("[{".to_owned());
    let broken = async || scraper.metric("pitcrew_alertd_file_sd_broken_files") == Some(1.0);
    wait::until(SOON, "the broken file is told", broken).await;
    assert_eq!(scraper.targets.snapshot().len(), 2);

    write(format!(r#"[{{"targets": ["{}"]}}]"#, two.address));
    wait::until(SOON, "removed and relabelled targets end", async || sees(&["2"]).await).await;
    assert_eq!(scraper.values("up").await.len(), 1);
    std::fs::remove_file(&file).unwrap();
    wait::until(SOON, "the file is gone", async || scraper.values("up").await.is_empty()).await;
    assert_eq!(scraper.metric("pitcrew_alertd_scrape_targets"), Some(0.0));
}

#[tokio::test]
async fn a_changed_configuration_is_followed() {
    let (one, two) = (FakeTarget::page("a 1\n").await, FakeTarget::page("a 2\n").await);
    let scraper = Scraper::of(&[&one.address], "").await;
    wait::until(SOON, "the first", async || scraper.values("a").await.len() == 1).await;
    let text = format!(
        "scrape_configs: [{{job_name: k, honor_labels: true, static_configs: [{{targets: ['{}']}}]}}]",
        two.address
    );
    scraper.change.send(settings(Path::new("b.yaml"), &text)).unwrap();
    let moved = async || {
        let found = scraper.values("a").await;
        found.len() == 1 && found[0].1 == "2" && found[0].0.contains("\"k\"")
    };
    wait::until(SOON, "the second instead of the first", moved).await;
}
