//! Debian's Prometheus with alertd as its Alertmanager: either is killed, and nothing is lost.

use pitcrew_tests::fake_target::{Answer, FakeTarget, TEXT};
use pitcrew_tests::peers;
use rustix::process::Signal;

use super::*;

const RULES: &str = "
groups:
- name: g
  interval: 1s
  rules:
  - { alert: Bad, expr: bad == 1, annotations: { summary: 'it is {{ $value }}' } }
";

async fn prometheus(folder: &Path, target: &str, alertd: &str) -> Live {
    fs::write(folder.join("rules.yml"), RULES).unwrap();
    let config = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}
rule_files: [rules.yml]
alerting: {{ alertmanagers: [ {{ static_configs: [ {{ targets: ['{alertd}'] }} ] }} ] }}
scrape_configs: [ {{ job_name: j, static_configs: [ {{ targets: ['{target}'] }} ] }} ]
"
    );
    fs::write(folder.join("prometheus.yml"), config).unwrap();
    let address = free_address();
    let arguments = [
        format!("--config.file={}", folder.join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", folder.join("tsdb").display()),
        format!("--web.listen-address={address}"),
        "--rules.alert.resend-delay=2s".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Live::ready(&peers::prometheus(), &arguments, &address, folder).await
}

#[tokio::test]
async fn its_alerts_are_told_and_survive_kills_on_both_sides() {
    let (folder, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (hook, target) = (FakeWebhook::start().await, FakeTarget::page("bad 1\n").await);
    let alertd = free_address();
    write(folder.path(), &hook.url, "");
    let live = run(folder.path(), &alertd).await;
    let peer = prometheus(own.path(), &target.address, &alertd).await;
    until_told(&hook, "Bad", &["firing"]).await;
    let shown = live.json("/api/v2/alerts").await;
    assert_eq!(shown[0]["annotations"], json!({ "summary": "it is 1" }));
    let generator = shown[0]["generatorURL"].as_str().unwrap();
    assert!(generator.contains("/graph?g0.expr=bad"), "{generator}");

    live.end(Signal::KILL).await;
    let live = run(folder.path(), &alertd).await;
    let began = live.json("/api/v2/alerts").await;
    assert_eq!(began[0]["startsAt"], shown[0]["startsAt"]);
    wait::until(PATIENCE, "it is reported again", async || {
        live.json("/api/v2/alerts").await[0]["updatedAt"] != began[0]["updatedAt"]
    })
    .await;
    peer.end(Signal::KILL).await;
    let peer = prometheus(own.path(), &target.address, &alertd).await;
    wait::until(PATIENCE, "Prometheus has it again", async || {
        peer.value("count(ALERTS{alertstate=\"firing\"})").await == Some(1.0)
    })
    .await;
    // Ends while alertd is away: the end is repeated until it is there.
    live.end(Signal::KILL).await;
    target.set(Answer::Page(TEXT, "bad 0\n".to_owned()));
    wait::until(PATIENCE, "it is over there", async || {
        peer.value("count(ALERTS)").await.is_none() && peer.value("bad").await == Some(0.0)
    })
    .await;
    let live = run(folder.path(), &alertd).await;
    until_told_over(2, &hook, "Bad", &["firing", "resolved"]).await;
    assert_eq!(live.json("/api/v2/alerts").await, json!([]));
}
