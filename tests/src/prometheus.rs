//! A real Prometheus that holds a history of our choice.

use std::fs;
use std::path::Path;
use std::time::Duration;

use pitcrew_alertd::model::sample::{Sample, Series};
use pitcrew_alertd::remote::Protocol;
use pitcrew_alertd::remote::encode::Body;

use crate::process::{Process, free_address};
use crate::{peers, wait};

/// Starts Debian's Prometheus with the samples of an OpenMetrics page; the second value is its URL.
pub async fn with_history(folder: &Path, page: &str) -> (Process, String) {
    let history = folder.join("history.txt");
    fs::write(&history, page).unwrap();
    let data = folder.join("data");
    let made = tokio::process::Command::new(peers::promtool())
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&history, &data])
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    started(folder, &data).await
}

/// Starts Debian's Prometheus and writes these series to it, stale markers too; the second value is
/// its URL.
pub async fn with_series(folder: &Path, series: &[Series]) -> (Process, String) {
    /// Newer samples close the door to those that are older by an hour.
    const SLICE: i64 = 600_000;
    let (process, url) = started(folder, &folder.join("data")).await;
    let times = || series.iter().flat_map(|one| &one.samples).map(|sample| sample.timestamp.0);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return (process, url) };
    let client = reqwest::Client::new();
    for from in (first..=last).step_by(SLICE as usize) {
        let inside = |sample: &&Sample| (from..from + SLICE).contains(&sample.timestamp.0);
        let mut body = Body::new(Protocol::V1);
        for Series { labels, samples } in series {
            let samples: Vec<Sample> = samples.iter().filter(inside).copied().collect();
            if !samples.is_empty() {
                body.series(labels.iter(), &samples);
            }
        }
        let asked = client.post(format!("{url}/api/v1/write")).body(body.finish());
        let answer = asked.header("content-encoding", "snappy").send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }
    (process, url)
}

async fn started(folder: &Path, data: &Path) -> (Process, String) {
    let config = folder.join("prometheus.yml");
    fs::write(&config, "global: {}\n").unwrap();
    let address = free_address();
    let prometheus = Process::start(
        &peers::prometheus(),
        &[
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", data.display()),
            // The samples may be old; they must not be taken for expired.
            "--storage.tsdb.retention.time=100y".to_owned(),
            format!("--web.listen-address={address}"),
            "--web.enable-remote-write-receiver".to_owned(),
            "--log.level=warn".to_owned(),
        ],
    );
    let url = format!("http://{address}");
    let ready = format!("{url}/-/ready");
    wait::until(Duration::from_secs(30), "Prometheus ready", async || {
        reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
    (prometheus, url)
}
