//! `pitcrew-alertd up` as its user sees it: nothing configured, real data at once.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use pitcrew_exporter::clock;
use pitcrew_tests::fake_github::secret_file;
use pitcrew_tests::fake_target::FakeTarget;
use pitcrew_tests::live::{Live, PATIENCE, finish};
use pitcrew_tests::process::free_address;
use pitcrew_tests::{programs, wait};
use reqwest::{Method, StatusCode};
use rustix::process::Signal;

/// How soon the page must show this host.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How soon a program must end.
const END: Duration = Duration::from_secs(5);

fn up(folder: &Path) -> Live {
    let (address, data) = (free_address(), folder.join("data"));
    let arguments = ["up", "--listen", &address, "--data-dir", data.to_str().unwrap()];
    Live::start(&programs::alertd(), &arguments, &address, folder)
}

/// Page, JSON and query API all know this host.
async fn answers(live: &Live) -> bool {
    let Some((200, status)) = live.try_get("/status.json").await else { return false };
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let hosts = status["hosts"].as_array().unwrap();
    let Some(host) = hosts.iter().find(|host| host["job"] == "pitcrew-exporter") else {
        return false;
    };
    ["load", "memory_used", "memory_total", "disk_used", "disk_total"]
        .iter()
        .all(|key| host[key].is_f64())
        && live.value("node_memory_MemTotal_bytes").await.is_some()
        && live.text("/").await.contains("GiB")
}

#[tokio::test]
async fn shows_this_host_within_a_second_of_its_start() {
    let mut best = Duration::MAX;
    for _ in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let start = clock::monotonic();
        let live = up(folder.path());
        wait::until(PATIENCE, "real data", async || answers(&live).await).await;
        best = best.min(start.elapsed());
        assert_eq!(live.end(Signal::TERM).await.0, Some(0));
        if best <= AT_ONCE {
            break;
        }
    }
    assert!(best <= AT_ONCE, "took {best:?} in the best of eight starts");
}

#[tokio::test]
async fn what_it_shows_is_true_and_rules_run() {
    let folder = tempfile::tempdir().unwrap();
    let live = up(folder.path());
    wait::until(PATIENCE, "real data", async || answers(&live).await).await;

    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    let total: f64 = total.trim().trim_end_matches(" kB").parse().unwrap();
    assert_eq!(live.value("node_memory_MemTotal_bytes").await, Some(total * 1024.0));
    let root = rustix::fs::statvfs("/").unwrap();
    let size = (root.f_blocks * root.f_frsize) as f64;
    assert_eq!(live.value("node_filesystem_size_bytes{mountpoint=\"/\"}").await, Some(size));
    let loadavg = std::fs::read_to_string("/proc/loadavg").unwrap();
    let load: f64 = loadavg.split(' ').next().unwrap().parse().unwrap();
    let shown = live.value("node_load1").await.unwrap();
    assert!((shown - load).abs() <= 1.0 + load / 2.0, "{shown} beside {load}");

    let watchdog = "ALERTS{alertname=\"Watchdog\",alertstate=\"firing\"}";
    wait::until(PATIENCE, "Watchdog", async || live.value(watchdog).await == Some(1.0)).await;
    let rules = live.text("/api/v1/rules").await;
    for name in ["Watchdog", "RunnerOffline", "RunnerHighCPU", "RunnerPerformanceDegradation"] {
        assert!(rules.contains(&format!("\"name\":\"{name}\"")), "{name}: {rules}");
    }
    // alertd watches itself too.
    let own = "up{job=\"pitcrew-alertd\"}";
    wait::until(PATIENCE, own, async || live.value(own).await == Some(1.0)).await;

    let printed = live.printed();
    assert!(printed.contains(&format!("{}/\n", live.url)), "{printed}");
    let (code, took) = live.end(Signal::TERM).await;
    assert_eq!(code, Some(0));
    assert!(took < END, "{took:?}");
}

#[tokio::test]
async fn takes_another_port_when_the_exporter_s_is_taken_and_prints_it() {
    // When this fails somebody else holds the port, which is as good.
    let _ours = TcpListener::bind("127.0.0.1:9610");
    let folder = tempfile::tempdir().unwrap();
    let live = up(folder.path());
    wait::until(PATIENCE, "real data", async || answers(&live).await).await;
    let printed = live.printed();
    let url = printed.lines().find_map(|line| line.trim().strip_prefix("exporter ")).unwrap();
    let url = url.split_ascii_whitespace().next().unwrap();
    assert!(!url.contains(":9610/"), "{printed}");
    assert!(printed.contains("9610 is taken"), "{printed}");
    let page = reqwest::get(url).await.unwrap().text().await.unwrap();
    assert!(page.contains("\nnode_load1 "), "{page}");
}

#[tokio::test]
async fn the_page_is_whole_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let live = up(folder.path());
    wait::until(PATIENCE, "real data", async || answers(&live).await).await;
    let answer = live.request(Method::GET, "/").send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let page = answer.text().await.unwrap();
    for foreign in ["<script", "<link", "<iframe", "<img", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}: {page}");
    }
    for part in page.split("href=\"").skip(1) {
        let path = part.split('"').next().unwrap();
        // A runbook may lie elsewhere.
        if !path.starts_with("https://") {
            assert!(path.starts_with('/'), "{path}");
            live.text(path).await;
        }
    }
}

#[tokio::test]
async fn what_targets_say_stays_text() {
    let evil = "<script>alert(1)</script><img src=x onerror=y>\\\"' {{ printf }}";
    let target = FakeTarget::page(&format!(
        "runner_info{{runner=\"{evil}\",version=\"{evil}\"}} 1\n\
         runner_health{{runner=\"{evil}\"}} 0\nnode_load1 1\nbroken{{x=\"{evil}\"}} 1\n"
    ))
    .await;
    let folder = tempfile::tempdir().unwrap();
    let (address, config) = (free_address(), folder.path().join("alertd.yaml"));
    std::fs::write(
        folder.path().join("rules.yaml"),
        "groups: [{ name: g, rules: [{ alert: Broken, expr: broken, labels: { severity: critical }, \
         annotations: { summary: '{{ $labels.x }}', runbook_url: 'javascript:{{ $labels.x }}' } }] }]",
    )
    .unwrap();
    let text = format!(
        "{{ listen: '{address}', data_dir: data, global: {{ scrape_interval: 100ms, \
         scrape_timeout: 100ms, evaluation_interval: 100ms }}, rule_files: [rules.yaml], \
         scrape_configs: [{{ job_name: x, static_configs: [{{ targets: ['{}'] }}] }}] }}",
        target.address
    );
    std::fs::write(&config, text).unwrap();
    let arguments = ["run", "--config", config.to_str().unwrap()];
    let live = Live::ready(&programs::alertd(), &arguments, &address, folder.path()).await;
    let shown = async || live.text("/").await.matches("&lt;script&gt;").count() >= 3;
    wait::until(PATIENCE, "runner and alert on the page", shown).await;
    let page = live.text("/").await;
    for tag in ["<script", "<img", "javascript:"] {
        assert!(!page.contains(tag), "{tag}: {page}");
    }
}

/// What a file leaves out is as without a file, after a reload too.
#[tokio::test]
async fn a_file_that_names_a_secret_alone_changes_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (address, config) = (free_address(), folder.path().join("alertd.yaml"));
    secret_file(folder.path(), "secret", "from the webhook's settings");
    let text = format!(
        "{{ listen: '{address}', data_dir: data, github: {{ webhook_secret_file: '{}/secret' }} }}",
        folder.path().display()
    );
    std::fs::write(&config, text).unwrap();
    let arguments = ["up", "--config", config.to_str().unwrap()];
    let live = Live::start(&programs::alertd(), &arguments, &address, folder.path());
    wait::until(PATIENCE, "host, node metrics and query", async || answers(&live).await).await;
    let groups = async || live.text("/api/v1/rules").await.matches("\"evaluationTime\"").count();
    let before = groups().await;
    assert!(before > 10, "{before} rules and groups");
    const LOADED: &str = "pitcrew_alertd_config_last_reload_success_timestamp_seconds";
    let loaded = live.metric(LOADED).await.unwrap();
    live.signal(Signal::HUP);
    let reloaded = async || live.metric(LOADED).await > Some(loaded);
    wait::until(PATIENCE, "a reload", reloaded).await;
    let as_before = async || groups().await == before && answers(&live).await;
    wait::until(PATIENCE, "the same rules and targets", as_before).await;
    assert_eq!(live.end(Signal::TERM).await.0, Some(0));
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = folder.path().to_str().unwrap();
    let end = finish(&programs::alertd(), &["up", "--listen", &address, "--data-dir", data]).await;
    assert_eq!(end.code, Some(2), "{end:?}");
    assert!(end.err.contains(&format!("cannot listen on {address}")), "{end:?}");
    assert!(end.err.contains("in use"), "{end:?}");
    assert_eq!(end.out, "", "nothing is promised before it can be kept");
    let end = finish(&programs::exporter(), &["run", "--listen", &address]).await;
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.err.contains(&format!("cannot listen on {address}")), "{end:?}");
}

#[tokio::test]
async fn beyond_loopback_only_when_meant() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let open = ["up", "--listen", "0.0.0.0:0", "--data-dir", data];
    for (program, arguments) in [
        (programs::alertd(), open.as_slice()),
        (programs::exporter(), &["run", "--listen", "0.0.0.0:0"]),
    ] {
        let end = finish(&program, arguments).await;
        assert_eq!(end.code, Some(2), "{end:?}");
        for part in ["refusing to listen on 0.0.0.0:0", "web.tls", "--insecure-listen"] {
            assert!(end.err.contains(part), "{part}: {end:?}");
        }
    }
    let address = free_address();
    let listen = format!("0.0.0.0:{}", address.rsplit(':').next().unwrap());
    let arguments = ["up", "--listen", &listen, "--data-dir", data, "--insecure-listen"];
    let live = Live::ready(&programs::alertd(), &arguments, &address, folder.path()).await;
    wait::until(PATIENCE, "real data", async || answers(&live).await).await;
    assert_eq!(live.end(Signal::TERM).await.0, Some(0));
}

#[tokio::test]
async fn a_foreign_name_in_host_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let live = up(folder.path());
    wait::until(PATIENCE, "real data", async || answers(&live).await).await;
    for path in ["/", "/status.json", "/api/v1/query?query=up", "/metrics", "/-/healthy"] {
        let asked = live.request(Method::GET, path).header("host", "evil.example");
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(answer.text().await.unwrap().contains("Host"), "{path}");
        let asked = live.request(Method::GET, path).header("origin", "http://evil.example");
        assert_eq!(asked.send().await.unwrap().status(), StatusCode::FORBIDDEN, "{path}");
    }
    let localhost = live.request(Method::GET, "/").header("host", "localhost:9611");
    assert_eq!(localhost.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn help_teaches() {
    for (program, arguments, wants) in [
        (
            programs::alertd(),
            &["--help"] as &[_],
            &["pitcrew-alertd up", "check config", "run --config", "pool", "PITCREW_LOG"] as &[_],
        ),
        (
            programs::alertd(),
            &["up", "--help"],
            &["127.0.0.1:9611", "PITCREW_LISTEN", "--data-dir"],
        ),
        (
            programs::alertd(),
            &["run", "--help"],
            &["scrape_configs", "rule_files", "notifications", "pools", "SIGHUP", "PITCREW_CONFIG"],
        ),
        (programs::alertd(), &["check", "config", "--help"], &["alertd.yaml", "<FILE>"]),
        (programs::exporter(), &["--help"], &["pitcrew-exporter once", "collectors", "SIGHUP"]),
    ] {
        let end = finish(&program, arguments).await;
        assert_eq!(end.code, Some(0), "{end:?}");
        for want in wants {
            assert!(end.out.contains(want), "{arguments:?} does not say {want}: {}", end.out);
        }
    }
    let end = finish(&programs::alertd(), &["upp"]).await;
    assert_eq!(end.code, Some(2));
    assert!(end.err.contains("'up'"), "{end:?}");
}
