//! GitHub's webhooks at the real exporter: what is taken is kept, counted once, and told as metrics.

mod disk;
mod examples;
mod hostile;
mod kills;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use pitcrew_exporter::clock;
use pitcrew_tests::deliveries::{Hook, job};
use pitcrew_tests::live::{Live, PATIENCE, finish};
use pitcrew_tests::process::free_address;
use pitcrew_tests::{programs, wait};
use rustix::process::Signal;
use tempfile::TempDir;

const SECRET: &str = "a secret that nobody else knows";
/// Jobs that have ended, whatever became of them.
const ENDED: &str = "github_workflow_job_conclusion_total";
const REFUSED: &str = "pitcrew_exporter_webhook_refused_total";
const DUPLICATES: &str = "pitcrew_exporter_webhook_duplicates_total";

/// A folder with exporter.yaml and what it names.
struct Stage {
    folder: TempDir,
    address: String,
}

impl Stage {
    fn new() -> Stage {
        let stage = Stage { folder: tempfile::tempdir().unwrap(), address: free_address() };
        stage.write("secret", SECRET);
        stage.configure("webhook_secret_file: secret");
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn configure(&self, github: &str) {
        let address = &self.address;
        let text = format!("{{ listen: '{address}', data_dir: data, github: {{ {github} }} }}");
        self.write("exporter.yaml", &text);
    }

    fn arguments(&self) -> [String; 3] {
        ["run", "--config", self.path("exporter.yaml").to_str().unwrap()].map(str::to_owned)
    }

    async fn start(&self) -> Live {
        let arguments = self.arguments();
        let arguments = arguments.each_ref().map(String::as_str);
        Live::ready(&programs::exporter(), &arguments, &self.address, self.folder.path()).await
    }

    fn hook(&self) -> Hook {
        Hook::new(&format!("http://{}", self.address), SECRET)
    }
}

#[tokio::test]
async fn counters_go_on_where_they_stood_and_a_replay_changes_nothing() {
    let stage = Stage::new();
    let live = stage.start().await;
    let hook = stage.hook();
    let now = clock::unix_seconds();
    for id in 0..20 {
        let body = job(id, "completed", now);
        assert_eq!(hook.send("workflow_job", &format!("d-{id}"), &body).await, Some(202));
    }
    assert_eq!(live.sum(ENDED).await, 20.0);
    live.end(Signal::TERM).await;
    let live = stage.start().await;
    assert_eq!(live.sum(ENDED).await, 20.0, "{}", live.log());
    for id in 0..20 {
        let body = job(id, "completed", now);
        assert_eq!(hook.send("workflow_job", &format!("d-{id}"), &body).await, Some(200));
    }
    assert_eq!((live.sum(ENDED).await, live.sum(DUPLICATES).await), (20.0, 20.0));
}

#[tokio::test]
async fn a_reload_takes_a_new_secret_and_shuts_and_opens_the_door() {
    let stage = Stage::new();
    let live = stage.start().await;
    let (old, new) = (stage.hook(), Hook::new(&live.url, "another"));
    let body = job(1, "queued", clock::unix_seconds());
    let send = async |hook: &Hook, id| hook.send("workflow_job", id, &body).await;
    let reloads = "pitcrew_exporter_config_last_reload_success_timestamp_seconds";
    let reload = async || {
        let before = live.metric(reloads).await;
        live.signal(Signal::HUP);
        wait::until(PATIENCE, "a reload", async || live.metric(reloads).await != before).await;
    };
    assert_eq!((send(&old, "a").await, send(&new, "b").await), (Some(202), Some(401)));
    stage.write("secret", "another");
    reload().await;
    assert_eq!((send(&old, "c").await, send(&new, "d").await), (Some(401), Some(202)));

    fs::remove_file(stage.path("secret")).unwrap();
    live.signal(Signal::HUP);
    live.logs("reload failed, the old configuration stays").await;
    assert_eq!(send(&new, "e").await, Some(202));
    stage.configure("budget_share: 1");
    reload().await;
    assert_eq!(send(&new, "f").await, Some(404));
    stage.write("secret", "another");
    stage.configure("webhook_secret_file: secret");
    reload().await;
    assert_eq!(send(&new, "d").await, Some(200), "what was accepted before is known still");
}

#[tokio::test]
async fn one_file_is_enough_for_both_programs() {
    let stage = Stage::new();
    let text = "{ data_dir: data, github: { webhook_secret_file: secret, budget_share: 0.5 } }";
    stage.write("alertd.yaml", text);
    let file = stage.path("alertd.yaml");
    let arguments = ["up", "--config", file.to_str().unwrap(), "--listen", &stage.address];
    let alertd = programs::alertd();
    let live = Live::ready(&alertd, &arguments, &stage.address, stage.folder.path()).await;
    let printed = live.printed();
    let exporter = printed.lines().find_map(|line| line.trim().strip_prefix("exporter "));
    let url = exporter.and_then(|rest| rest.split("/metrics").next()).unwrap().trim();
    let hook = Hook::new(url, SECRET);
    let body = job(1, "completed", clock::unix_seconds());
    assert_eq!(hook.send("workflow_job", "a", &body).await, Some(202), "{printed}");
    let page = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
    assert!(page.lines().any(|line| line.starts_with(ENDED) && line.ends_with(" 1")), "{page}");
    assert!(stage.path("data/exporter/workflows.db").exists());
}

#[tokio::test]
async fn check_tells_what_keeps_webhooks_from_being_taken() {
    let stage = Stage::new();
    let check = async || {
        let file = stage.path("exporter.yaml");
        finish(&programs::exporter(), &["check", "--config", file.to_str().unwrap()]).await
    };
    let good = check().await;
    assert_eq!(good.code, Some(0), "{good:?}");
    assert!(good.out.contains("webhooks: /webhooks/github; scopes: 0"), "{good:?}");
    assert!(!stage.path("data").exists(), "it changes nothing");
    fs::set_permissions(stage.path("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    let open = check().await;
    assert_eq!(open.code, Some(2), "{open:?}");
    assert!(open.err.contains("github.webhook_secret_file: secret file"), "{open:?}");
    assert!(open.err.contains("expected mode 0600") && !open.err.contains(SECRET), "{open:?}");
    stage.configure("webhook_secret_fil: secret");
    let misspelt = check().await;
    assert!(misspelt.err.contains("did you mean `webhook_secret_file`"), "{misspelt:?}");
    stage.configure("scopes: [{ repository: a/b }]");
    let no_credential = check().await;
    assert!(no_credential.err.contains("github.auth: expected a credential"), "{no_credential:?}");
}
