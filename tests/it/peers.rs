//! The project's own metrics and rules as Debian's Prometheus and promtool see them.

use std::path::Path;
use std::process::Stdio;

use pitcrew_tests::live::{Live, PATIENCE, finish};
use pitcrew_tests::process::free_address;
use pitcrew_tests::{peers, programs, wait};
use reqwest::Method;
use reqwest::header::ACCEPT;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";

/// What `promtool check metrics` says about a page: one line a complaint.
async fn complaints(page: &str) -> String {
    let mut tool = Command::new(peers::promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = tool.stdin.take().unwrap();
    input.write_all(page.as_bytes()).await.unwrap();
    drop(input);
    let output = tool.wait_with_output().await.unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// alertd with everything that has metrics: targets of which one is dead, rules, a pool without a
/// GitHub to talk to, a receiver that does not answer.
async fn alertd(folder: &Path, exporter: &str) -> Live {
    let address = free_address();
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    write("token", "ghp_none".to_owned());
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.join("token"), mode).unwrap();
    write(
        "alertmanager.yaml",
        "{ route: { receiver: r, group_wait: 0s }, receivers: [{ name: r, \
         webhook_configs: [{ url: 'http://127.0.0.1:9/' }] }] }"
            .to_owned(),
    );
    let rules = programs::workspace().join("rules").join("*.yaml");
    write(
        "alertd.yaml",
        format!(
            "{{ listen: '{address}', data_dir: data, rule_files: ['{}'],
               notifications: alertmanager.yaml,
               global: {{ scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms }},
               scrape_configs: [{{ job_name: x, static_configs: [{{ targets: ['{exporter}', '127.0.0.1:9'] }}] }}],
               github: {{ base_url: 'http://127.0.0.1:9', auth: {{ token_file: token }} }},
               pools: [{{ name: ci, label: ci-active, scope: {{ repository: a/b }}, members: [
                 {{ name: one, runners: [one-*], instances: ['{exporter}'], capacity: 1 }},
                 {{ name: two, runners: [two-*], instances: ['127.0.0.1:9'], capacity: 1 }} ] }}] }}",
            rules.display()
        ),
    );
    let config = folder.join("alertd.yaml");
    let arguments = ["run", "--config", config.to_str().unwrap()];
    Live::ready(&programs::alertd(), &arguments, &address, folder).await
}

async fn exporter(folder: &Path) -> (Live, String) {
    let address = free_address();
    let arguments = ["run", "--listen", &address];
    (Live::ready(&programs::exporter(), &arguments, &address, folder).await, address)
}

#[tokio::test]
async fn promtool_is_silent_on_both_programs() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (exporter, address) = exporter(one.path()).await;
    let alertd = alertd(two.path(), &address).await;
    for want in [
        "pitcrew_alertd_scrapes_total{outcome=\"success\"}",
        "pitcrew_alertd_notifications_total",
        "pitcrew_alertd_pool_",
    ] {
        let there = async || alertd.text("/metrics").await.contains(want);
        wait::until(PATIENCE, want, there).await;
    }

    let page = alertd.text("/metrics").await;
    assert_eq!(complaints(&page).await, "", "{page}");

    // The kernel's names, which node_exporter takes over as they are.
    let page = exporter.text("/metrics").await;
    let said = complaints(&page).await;
    for line in said.lines() {
        let (name, complaint) = line.split_once(' ').unwrap();
        assert!(name.starts_with("node_memory_"), "{line}");
        assert_eq!(complaint, "metric names should be written in 'snake_case' not 'camelCase'");
    }
}

#[tokio::test]
async fn the_page_of_alertd_is_regular() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_exporter, address) = exporter(one.path()).await;
    let alertd = alertd(two.path(), &address).await;
    let plain = alertd.text("/metrics").await;
    let asked = alertd.request(Method::GET, "/metrics").header(ACCEPT, OPEN_METRICS);
    let answer = asked.send().await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let open = answer.text().await.unwrap();
    assert!(open.ends_with("\n# EOF\n") && !plain.contains("# EOF"), "{open}");

    let mut family = "";
    for line in plain.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.len() > 5 && !help.contains(".."), "{line}");
            assert!(name.starts_with("pitcrew_alertd_") || name.starts_with("process_"), "{line}");
            family = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family, "{line}: HELP and TYPE stand together");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
        } else {
            assert!(line.starts_with(family), "{line} below {family}");
            assert!(!line.contains("\"1.0\""), "{line}");
        }
    }
}

#[tokio::test]
async fn prometheus_scrapes_both_and_loads_the_rules() {
    let (one, two, own) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_exporter, address) = exporter(one.path()).await;
    let alertd = alertd(two.path(), &address).await;
    let other = alertd.url.trim_start_matches("http://").to_owned();
    let rules = programs::workspace().join("rules").join("*.yaml");
    let config = own.path().join("prometheus.yml");
    let text = format!(
        "{{ global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }},
           rule_files: ['{}'],
           scrape_configs: [{{ job_name: pitcrew, static_configs: [{{ targets: ['{address}', '{other}'] }}] }}] }}",
        rules.display()
    );
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let check = finish(&peers::promtool(), &["check", "config", config]).await;
    assert_eq!(check.code, Some(0), "{check:?}");

    let listen = free_address();
    let (config, data) = (
        format!("--config.file={config}"),
        format!("--storage.tsdb.path={}", own.path().join("data").display()),
    );
    let web = format!("--web.listen-address={listen}");
    let arguments = [config.as_str(), &data, &web];
    let prometheus = Live::ready(&peers::prometheus(), &arguments, &listen, own.path()).await;
    wait::until(PATIENCE, "both targets up", async || {
        let targets = prometheus.json("/api/v1/targets").await;
        let targets = targets["data"]["activeTargets"].as_array().unwrap();
        for target in targets {
            assert_eq!(target["lastError"], "", "{target}");
        }
        targets.len() == 2 && targets.iter().all(|target| target["health"] == "up")
    })
    .await;
    wait::until(PATIENCE, "samples of both", async || {
        prometheus.value("count(node_load1)").await == Some(1.0)
            && prometheus.value("count(pitcrew_alertd_tsdb_series)").await == Some(1.0)
    })
    .await;
    let rules = prometheus.text("/api/v1/rules").await;
    for name in ["Watchdog", "RunnerOffline", "RunnerHighCPU", "RunnerPerformanceDegradation"] {
        assert!(rules.contains(&format!("\"name\":\"{name}\"")), "{name}: {rules}");
    }
    let watchdog = "ALERTS{alertname=\"Watchdog\",alertstate=\"firing\"}";
    wait::until(PATIENCE, watchdog, async || prometheus.value(watchdog).await == Some(1.0)).await;
    assert!(!prometheus.log().contains("level=error"), "{}", prometheus.log());
    assert!(!prometheus.log().contains("level=warn"), "{}", prometheus.log());
}
