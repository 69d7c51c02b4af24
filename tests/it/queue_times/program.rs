//! The same through the real program: signed webhooks to its door, some lost and asked for again.

use std::fs;
use std::time::Duration;

use pitcrew_exporter::clock;
use pitcrew_tests::fake_github::{FakeGithub, secret_file};
use pitcrew_tests::process::{Process, free_address, tls};
use pitcrew_tests::{programs, wait};

use super::*;

const SECRET: &str = "only these two know it";
const DAY: f64 = 86_400.0;
/// Changes that wait to be sent at most.
const BACKLOG: usize = 300;
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_tells_what_webhooks_told_it() {
    tls();
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    secret_file(folder.path(), "secret", SECRET);
    let config = folder.path().join("exporter.yaml");
    let text = format!(
        "listen: {address}\ndata_dir: state\ngithub:\n  webhook_secret_file: secret\n  \
         metrics: {{ max_series: 100000 }}\n"
    );
    fs::write(&config, text).unwrap();
    let arguments = ["run", "--log", "warn", "--config", config.to_str().unwrap()];
    let _exporter = Process::start(&programs::exporter(), &arguments);
    let client = reqwest::Client::new();
    let page = async || -> Option<String> {
        let answer = client.get(format!("http://{address}/metrics")).send().await.ok()?;
        answer.text().await.ok()
    };
    wait::until(PATIENCE, "the exporter", async || page().await.is_some()).await;

    let hook = Webhook {
        id: 1,
        url: format!("http://{address}/webhooks/github"),
        secret: SECRET.to_owned(),
        form: true,
        lost: 0.02,
        repeated: 0.05,
        late: 0.05,
        ..Webhook::default()
    };
    let github = FakeGithub::start(Settings { webhooks: vec![hook], ..Settings::default() }).await;
    let start = (clock::unix_seconds() - 2.0 * DAY).floor();
    // What a group held back is known only by when the news came, and that is another clock's time.
    let plan = Plan { seed: 3, jobs: jobs() / 6, repositories: Some(20), groups: false, start };
    let mut traffic = github.with(|sim, _| Traffic::new(plan, sim));
    let mut again = BTreeSet::new();
    let mut more = true;
    while more || github.with(|sim, _| !sim.changes.is_empty()) {
        github.with(|sim, now| {
            while more && sim.changes.len() < BACKLOG {
                more = traffic.step(sim);
            }
            ask_again(sim, &mut again, now);
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let truth = waits(&github.ledger());
    let known: usize = truth.values().map(|waits| waits.seconds.len()).sum();
    let mut last = String::new();
    wait::until(PATIENCE, "every queue time is told", async || {
        github.with(|sim, now| ask_again(sim, &mut again, now));
        last = page().await.unwrap();
        let told: usize = observed(&last).values().map(|times| times.count).sum();
        told + unknown(&last) >= known
    })
    .await;
    github.with(|sim, _| compare(&last, sim));
}
