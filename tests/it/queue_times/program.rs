//! The same through the real program: signed webhooks to its door, some of them lost and asked for
//! again; and polls alone.

use std::fs;
use std::path::Path;
use std::time::Duration;

use pitcrew_exporter::clock;
use pitcrew_tests::fake_github::settings::TOKEN;
use pitcrew_tests::fake_github::{FakeGithub, secret_file};
use pitcrew_tests::process::{Process, free_address, tls};
use pitcrew_tests::{programs, wait};

use super::*;

const SECRET: &str = "only these two know it";
const DAY: f64 = 86_400.0;
/// Seconds of history that polls find; they look back an hour.
const HISTORY: f64 = 2400.0;
/// Changes that wait to be sent at most.
const BACKLOG: usize = 300;
const PATIENCE: Duration = Duration::from_secs(120);

/// The exporter as it runs with this section `github`, and where its page is.
async fn exporter(folder: &Path, section: &str) -> (Process, String) {
    tls();
    let address = free_address();
    let config = folder.join("exporter.yaml");
    let text = format!(
        "listen: {address}\ndata_dir: state\ngithub:\n  metrics: {{ max_series: 100000 }}\n{section}"
    );
    fs::write(&config, text).unwrap();
    let arguments = ["run", "--log", "warn", "--config", config.to_str().unwrap()];
    let exporter = Process::start(&programs::exporter(), &arguments);
    let url = format!("http://{address}");
    wait::until(PATIENCE, "the exporter", async || page(&url).await.is_some()).await;
    (exporter, url)
}

async fn page(url: &str) -> Option<String> {
    reqwest::get(format!("{url}/metrics")).await.ok()?.text().await.ok()
}

/// Waits until every queue time that the ledger knows is told or told as unknown, and compares.
async fn told(github: &FakeGithub, url: &str, jobs: usize, mut meanwhile: impl FnMut()) {
    let truth = waits(&github.ledger());
    let known: usize = truth.values().map(|waits| waits.seconds.len()).sum();
    let mut last = String::new();
    wait::until(PATIENCE, "every queue time is told", async || {
        meanwhile();
        last = page(url).await.unwrap();
        let told: usize = observed(&last).values().map(|times| times.count).sum();
        told + unknown(&last) >= known
    })
    .await;
    github.with(|sim, _| compare(&last, sim, jobs));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_tells_what_webhooks_told_it() {
    let folder = tempfile::tempdir().unwrap();
    secret_file(folder.path(), "secret", SECRET);
    let (_exporter, url) = exporter(folder.path(), "  webhook_secret_file: secret\n").await;
    let hook = Webhook {
        id: 1,
        url: format!("{url}/webhooks/github"),
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
    let jobs = jobs() / 6;
    let plan = Plan { seed: 3, jobs, repositories: Some(20), groups: false, plain: false, start };
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

    told(&github, &url, jobs, || github.with(|sim, now| ask_again(sim, &mut again, now))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_tells_what_polls_found_after_the_fact() {
    let settings =
        Settings { rate_limit: 1_000_000, secondary_points: 1_000_000, ..Settings::default() };
    let github = FakeGithub::start(settings).await;
    let now = clock::unix_seconds().floor();
    let (start, jobs) = (now - HISTORY, 60);
    let plan = Plan { seed: 4, jobs, repositories: Some(1), groups: false, plain: true, start };
    let mut traffic = github.with(|sim, _| Traffic::new(plan, sim));
    github.with(|sim, _| {
        while traffic.now < now - 60.0 {
            traffic.step(sim);
        }
        sim.settings.time = None;
    });
    let folder = tempfile::tempdir().unwrap();
    secret_file(folder.path(), "token", TOKEN);
    let section = format!(
        "  base_url: {}\n  auth: {{ token_file: token }}\n  scopes: [{{ repository: acme/repo-0 }}]\n",
        github.url
    );
    let (_exporter, url) = exporter(folder.path(), &section).await;
    // Of one in thirty the creation is missing, which only webhooks make good.
    told(&github, &url, 4 * jobs, || ()).await;
}
