//! Queues of Debian's real Redis as the exporter tells them, in good times and bad.

use std::path::Path;
use std::sync::Arc;

use pitcrew_exporter::app::App;
use pitcrew_exporter::config::{Config, yaml};
use pitcrew_exporter::exposition::Format;

mod agents;
mod bad;
mod groups;
mod load;
mod secured;

/// The exporter in this process, with this `collectors.redis`.
struct Exporter(Arc<App>);

/// One page.
struct Page(String);

impl Exporter {
    fn new(redis: &str) -> Exporter {
        pitcrew_tests::process::tls();
        let file = Path::new("exporter.yaml");
        let text = format!("collectors: {{ timeout: 20s, redis: {redis} }}");
        let config: Config = yaml::parse(file, &text).unwrap_or_else(|e| panic!("{redis}: {e}"));
        config.check(file).unwrap();
        Exporter(App::new(&config, None))
    }

    async fn page(&self) -> Page {
        Page(self.0.page(&axum::http::HeaderMap::new(), Format::Text004).await)
    }

    /// The page of the first scrape on which this series has this value.
    async fn page_with(&self, series: &str, value: f64) -> Page {
        let mut page = self.page().await;
        pitcrew_tests::wait::until(LONG, &format!("{series} {value}"), async || {
            page = self.page().await;
            page.get(series) == Some(value)
        })
        .await;
        page
    }
}

const LONG: std::time::Duration = std::time::Duration::from_secs(30);

impl Page {
    /// The value of a series, written as on the page.
    fn get(&self, series: &str) -> Option<f64> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(value.parse().unwrap())
    }

    #[track_caller]
    fn has(&self, series: &[(&str, f64)]) {
        for (series, value) in series {
            let found = self.get(series);
            assert_eq!(found, Some(*value), "{series} in\n{}", self.queues());
        }
    }

    #[track_caller]
    fn lacks(&self, series: &[&str]) {
        for series in series {
            assert!(!self.0.contains(series), "{series} in\n{}", self.queues());
        }
    }

    /// What is about queues, for messages.
    fn queues(&self) -> String {
        let ours = |line: &&str| line.starts_with("queue_") || line.starts_with("agent_");
        self.0.lines().filter(ours).map(|line| format!("{line}\n")).collect()
    }

    /// That the server is in this state, and that the rest of the page is there all the same.
    #[track_caller]
    fn is(&self, state: &str) {
        let series = format!("queue_server_state{{server=\"r\",state=\"{state}\"}}");
        self.has(&[(&series, 1.0)]);
        let up = f64::from(u8::from(state == "ok"));
        self.has(&[
            (r#"queue_server_up{server="r"}"#, up),
            (r#"pitcrew_exporter_collector_success{collector="redis"}"#, 1.0),
        ]);
        assert!(self.get("node_load1").is_some(), "the host's metrics are there");
    }
}
