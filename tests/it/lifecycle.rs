//! alertd from start to end as a service manager sees it: reload, stop, kill, start again.

mod disk;

use std::fs;
use std::time::Duration;

use pitcrew_tests::fake_target::{Answer as Scraped, FakeTarget};
use pitcrew_tests::fake_webhook::{Answer, FakeWebhook};
use pitcrew_tests::live::{Live, PATIENCE};
use pitcrew_tests::process::free_address;
use pitcrew_tests::{programs, wait};
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// How soon a program must end.
const END: Duration = Duration::from_secs(5);
const RELOADED: &str = "pitcrew_alertd_config_last_reload_successful";

/// A folder with alertd.yaml and what it names.
struct Stage {
    folder: TempDir,
    address: String,
    target: FakeTarget,
    webhook: FakeWebhook,
}

impl Stage {
    async fn new() -> Stage {
        let stage = Stage {
            folder: tempfile::tempdir().unwrap(),
            address: free_address(),
            target: FakeTarget::page("broken 1\n").await,
            webhook: FakeWebhook::start().await,
        };
        stage.write(
            "alertmanager.yaml",
            &format!(
                "{{ route: {{ receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 1s }},
                   receivers: [{{ name: team, webhook_configs: [{{ url: '{}' }}] }}] }}",
                stage.webhook.url
            ),
        );
        stage.write(
            "rules.yaml",
            "{ groups: [{ name: g, rules: [
               { alert: Firing, expr: broken == 1 },
               { alert: Pending, expr: broken == 1, for: 1h },
               { alert: Marker, expr: marker == 1 } ] }] }",
        );
        stage.configure("x", "rules.yaml", "");
        stage
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn configure(&self, job: &str, rules: &str, more: &str) {
        self.write(
            "alertd.yaml",
            &format!(
                "{{ listen: '{}', data_dir: data, rule_files: ['{rules}'],\n\
                 notifications: alertmanager.yaml,\n\
                 global: {{ scrape_interval: 100ms, scrape_timeout: 100ms, evaluation_interval: 100ms }},\n\
                 scrape_configs: [{{ job_name: {job}, static_configs: [{{ targets: ['{}'] }}] }}],\n\
                 {more} }}",
                self.address, self.target.address
            ),
        );
    }

    fn config(&self) -> String {
        self.folder.path().join("alertd.yaml").to_str().unwrap().to_owned()
    }

    async fn start(&self) -> Live {
        let arguments = ["run", "--config", &self.config()];
        Live::ready(&programs::alertd(), &arguments, &self.address, self.folder.path()).await
    }

    /// What the receiver took about this alert: its states, in order.
    fn told(&self, alert: &str) -> Vec<String> {
        let requests = self.webhook.requests();
        let bodies = requests.iter().filter(|request| request.status == Some(200));
        let alerts = bodies.flat_map(|request| request.body["alerts"].as_array().unwrap());
        let of_it = alerts.filter(|each| each["labels"]["alertname"] == alert);
        of_it.map(|each| each["status"].as_str().unwrap().to_owned()).collect()
    }
}

/// State and beginning of an alert, once it is there.
async fn alert(live: &Live, name: &str) -> Option<(String, String)> {
    let (_, text) = live.try_get("/api/v1/alerts").await?;
    let answer: Value = serde_json::from_str(&text).ok()?;
    let alerts = answer["data"]["alerts"].as_array()?;
    let found = alerts.iter().find(|alert| alert["labels"]["alertname"] == name)?;
    let text = |key: &str| found[key].as_str().map(str::to_owned);
    Some((text("state")?, text("activeAt")?))
}

async fn state(live: &Live, name: &str) -> Option<String> {
    alert(live, name).await.map(|(state, _)| state)
}

#[tokio::test]
async fn sighup_takes_a_good_file_and_leaves_all_as_it_was_with_a_bad_one() {
    let stage = Stage::new().await;
    let live = stage.start().await;
    wait::until(PATIENCE, "firing", async || stage.told("Firing") == ["firing"]).await;

    stage.write(
        "more.yaml",
        "{ groups: [{ name: g2, rules: [{ alert: Second, expr: broken == 1 }] }] }",
    );
    stage.configure("y", "mor?.yaml", "");
    live.signal(Signal::HUP);
    live.logs("configuration reloaded").await;
    wait::until(PATIENCE, "new target, new rule", async || {
        live.value("up{job=\"y\"}").await == Some(1.0)
            && live.value("up{job=\"x\"}").await.is_none()
            && state(&live, "Second").await.as_deref() == Some("firing")
    })
    .await;
    assert_eq!(live.metric(RELOADED).await, Some(1.0));

    for (job, rules, want) in [
        ("y, typo: 1", "rules.yaml", "unknown field `typo`"),
        ("y", "nothing*.yaml", "rule_files: expected at least one file"),
        ("y", "nothing.yaml", "No such file"),
        ("y", "alertd.yaml", "groups"),
    ] {
        stage.configure(job, rules, "");
        live.signal(Signal::HUP);
        let refused =
            async || live.log().lines().any(|l| l.contains("reload failed") && l.contains(want));
        wait::until(PATIENCE, want, refused).await;
        wait::until(PATIENCE, "0", async || live.metric(RELOADED).await == Some(0.0)).await;
        assert_eq!(state(&live, "Second").await.as_deref(), Some("firing"), "{want}");
    }

    stage.configure("y", "rules.yaml", "");
    live.signal(Signal::HUP);
    wait::until(PATIENCE, "1", async || live.metric(RELOADED).await == Some(1.0)).await;
    wait::until(PATIENCE, "second rule gone", async || state(&live, "Second").await.is_none())
        .await;
    assert_eq!(live.end(Signal::TERM).await.0, Some(0));
}

#[tokio::test]
async fn a_reload_moves_no_alert_and_tells_nobody_again() {
    let stage = Stage::new().await;
    let live = stage.start().await;
    wait::until(PATIENCE, "firing", async || stage.told("Firing") == ["firing"]).await;
    // An alert is told while its group is evaluated, and shown when all of it has been.
    let both = async || (alert(&live, "Firing").await, alert(&live, "Pending").await);
    wait::until(PATIENCE, "both shown", async || matches!(both().await, (Some(_), Some(_)))).await;
    let before = both().await;
    live.signal(Signal::HUP);
    live.logs("configuration reloaded").await;
    stage.target.set(page("broken 1\nmarker 1\n"));
    wait::until(PATIENCE, "marker", async || stage.told("Marker") == ["firing"]).await;
    assert_eq!(both().await, before);
    assert_eq!(stage.told("Firing"), ["firing"]);
}

fn page(text: &str) -> Scraped {
    Scraped::Page(pitcrew_tests::fake_target::TEXT, text.to_owned())
}

#[tokio::test]
async fn a_secret_that_went_away_leaves_the_old_configuration() {
    let stage = Stage::new().await;
    let live = stage.start().await;
    let pools = "github: { base_url: 'http://127.0.0.1:9', auth: { token_file: gone } }, \
                 pools: [{ name: ci, label: ci-active, scope: { repository: a/b }, members: [\
                 { name: one, runners: [one-*], capacity: 1 }, \
                 { name: two, runners: [two-*], capacity: 1 }] }]";
    stage.configure("x", "rules.yaml", pools);
    live.signal(Signal::HUP);
    live.logs("reload failed").await;
    let line = live.log().lines().find(|line| line.contains("reload failed")).unwrap().to_owned();
    assert!(line.contains("github") && line.contains("gone"), "{line}");
    wait::until(PATIENCE, "0", async || live.metric(RELOADED).await == Some(0.0)).await;
    wait::until(PATIENCE, "firing", async || stage.told("Firing") == ["firing"]).await;
    assert_eq!(live.end(Signal::TERM).await.0, Some(0));
}

#[tokio::test]
async fn reload_over_http_needs_the_operator_token() {
    let stage = Stage::new().await;
    let write = |name: &str, text: &str| {
        stage.write(name, text);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(stage.folder.path().join(name), mode).unwrap();
    };
    write("viewer", "viewer-token");
    stage.configure("x", "rules.yaml", "web: { users: { eve: { token_file: viewer } } }");
    let live = stage.start().await;
    let token = fs::read_to_string(stage.folder.path().join("data/operator-token")).unwrap();
    for (credentials, want) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some("guessed"), StatusCode::UNAUTHORIZED),
        (Some("viewer-token"), StatusCode::FORBIDDEN),
        (Some(token.trim()), StatusCode::OK),
    ] {
        let mut request = live.request(Method::POST, "/-/reload");
        if let Some(token) = credentials {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), want, "{credentials:?}");
        let done = live.log().contains("configuration reloaded");
        assert_eq!(done, want == StatusCode::OK, "{}", live.log());
    }
    stage.write("alertd.yaml", "listne: 1");
    let request = live.request(Method::POST, "/-/reload").bearer_auth(token.trim());
    let answer = request.send().await.unwrap();
    assert!(!answer.status().is_success());
    let text = answer.text().await.unwrap();
    assert!(text.contains("alertd.yaml") && text.contains("did you mean `listen`"), "{text}");
    assert!(!live.log().contains(token.trim()), "the token stays out of the log");
}

#[tokio::test]
async fn sigterm_ends_it_while_targets_and_receivers_hang() {
    for reload_first in [false, true] {
        let stage = Stage::new().await;
        stage.webhook.always(Answer::Hang);
        let live = stage.start().await;
        wait::until(PATIENCE, "asked", async || !stage.webhook.requests().is_empty()).await;
        stage.target.set(Scraped::Hang);
        let failed = "pitcrew_alertd_scrapes_total{outcome=\"timeout\"}";
        wait::until(PATIENCE, "hanging", async || {
            live.metric(failed).await.is_some() || live.value("up").await == Some(0.0)
        })
        .await;
        if reload_first {
            live.signal(Signal::HUP);
        }
        let (code, took) = live.end(Signal::TERM).await;
        assert_eq!(code, Some(0));
        assert!(took < END, "{took:?} (reloading: {reload_first})");
    }
}

#[tokio::test]
async fn signals_as_early_as_can_be_are_neither_lost_nor_deadly() {
    let stage = Stage::new().await;
    let live = stage.start().await;
    live.signal(Signal::HUP);
    live.logs("configuration reloaded").await;
    assert_eq!(live.end(Signal::TERM).await.0, Some(0));
    let live = stage.start().await;
    live.signal(Signal::HUP);
    let (code, took) = live.end(Signal::TERM).await;
    assert_eq!(code, Some(0));
    assert!(took < END, "{took:?}");
    // The exporter too.
    let (address, folder) = (free_address(), tempfile::tempdir().unwrap());
    let arguments = ["run", "--listen", &address];
    let live = Live::ready(&programs::exporter(), &arguments, &address, folder.path()).await;
    live.signal(Signal::HUP);
    let (code, took) = live.end(Signal::TERM).await;
    assert_eq!(code, Some(0));
    assert!(took < END, "{took:?}");
}

#[tokio::test]
async fn alerts_live_through_kill_9_and_nobody_is_told_twice() {
    let stage = Stage::new().await;
    let live = stage.start().await;
    wait::until(PATIENCE, "firing", async || stage.told("Firing") == ["firing"]).await;
    wait::until(PATIENCE, "pending", async || alert(&live, "Pending").await.is_some()).await;
    let before = (alert(&live, "Firing").await, alert(&live, "Pending").await);
    assert_eq!(before.0.as_ref().unwrap().0, "firing");
    assert_eq!(before.1.as_ref().unwrap().0, "pending");
    // The receiver's answer is written down before the kill.
    let outbox = "pitcrew_alertd_outbox_notifications";
    wait::until(PATIENCE, "recorded", async || live.metric(outbox).await == Some(0.0)).await;
    live.end(Signal::KILL).await;

    let live = stage.start().await;
    assert_eq!((alert(&live, "Firing").await, alert(&live, "Pending").await), before);
    stage.target.set(page("broken 1\nmarker 1\n"));
    wait::until(PATIENCE, "marker", async || stage.told("Marker") == ["firing"]).await;
    assert_eq!((alert(&live, "Firing").await, alert(&live, "Pending").await), before);
    assert_eq!(stage.told("Firing"), ["firing"], "told once, before the kill");

    // What ends while it is dead is told afterwards.
    live.end(Signal::KILL).await;
    stage.target.set(page("broken 0\nmarker 1\n"));
    let live = stage.start().await;
    let both = ["firing", "resolved"];
    wait::until(PATIENCE, "resolved", async || stage.told("Firing") == both).await;
    assert_eq!(stage.told("Marker"), ["firing"]);
    assert_eq!(live.end(Signal::TERM).await.0, Some(0));
}

#[tokio::test]
async fn an_empty_configuration_runs() {
    let stage = Stage::new().await;
    stage.write("alertd.yaml", &format!("{{ listen: '{}', data_dir: data }}", stage.address));
    let live = stage.start().await;
    live.signal(Signal::HUP);
    live.logs("configuration reloaded").await;
    assert_eq!(live.value("vector(1)").await, Some(1.0));
    assert_eq!(live.end(Signal::TERM).await.0, Some(0));
}
