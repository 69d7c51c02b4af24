//! A real Prometheus that holds a history of our choice.

use std::fs;
use std::path::Path;
use std::time::Duration;

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
