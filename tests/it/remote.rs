//! Remote write against Debian's Prometheus, both ways, and against receivers that misbehave.

mod answers;
mod receive;
mod send;

use std::path::Path;

use pitcrew_tests::live::Live;
use pitcrew_tests::{peers, programs};
use serde_json::Value;

/// Debian's Prometheus with this configuration, which takes remote writes too.
async fn prometheus(folder: &Path, address: &str, config: &str) -> Live {
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", folder.join("prometheus").display()),
        format!("--web.listen-address={address}"),
        "--web.enable-remote-write-receiver".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Live::ready(&peers::prometheus(), &arguments, address, folder).await
}

async fn alertd(folder: &Path, address: &str, config: &str) -> Live {
    let file = folder.join("alertd.yaml");
    std::fs::write(&file, format!("listen: {address}\ndata_dir: data\n{config}")).unwrap();
    let arguments = ["run", "--config", file.to_str().unwrap()];
    Live::ready(&programs::alertd(), &arguments, address, folder).await
}

/// The samples of the last hour that an expression selects, as of `at`, in a comparable order.
async fn samples(live: &Live, selector: &str, at: f64) -> Vec<Value> {
    let query = format!("/api/v1/query?query={selector}[1h]&time={at}");
    let answer = live.try_get(&query).await.map(|(_, text)| text).unwrap_or_default();
    let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
    let mut series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    series.sort_by_key(|series| series["metric"].to_string());
    series
}

fn count(series: &[Value]) -> usize {
    series.iter().map(|series| series["values"].as_array().map_or(0, Vec::len)).sum()
}
