//! The poller against the simulator: what it reads, what it does not, and what it says about that.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use pitcrew_exporter::clock;
use pitcrew_exporter::exposition::{Format, render_all, render_registry};
use pitcrew_exporter::github::Github;
use pitcrew_exporter::github::config::GithubConfig;
use pitcrew_exporter::github::metrics::GithubMetrics;
use pitcrew_exporter::metric::Families;
use pitcrew_exporter::workflows::intake::Intake;
use pitcrew_exporter::workflows::poll::{Poll, Settings};
use pitcrew_exporter::workflows::runners;
use pitcrew_tests::fake_github::fault::{Fault, Kind};
use pitcrew_tests::fake_github::ledger::Event;
use pitcrew_tests::fake_github::registry::NewRunner;
use pitcrew_tests::fake_github::settings::{Settings as Sim, Webhook};
use pitcrew_tests::fake_github::{FakeGithub, secret_file};
use pitcrew_tests::wait;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

mod denied;
mod lost;
mod odd;

const PATIENCE: Duration = Duration::from_secs(60);
/// Of jobs and runs.
const NEWS: &str = "pitcrew_exporter_github_poll_news_total";
const REPOSITORY: &str = "owner/name";

/// A poller at work; dropping it ends that.
struct Polling {
    poll: Poll,
    intake: Intake,
    registry: Registry,
    folder: TempDir,
    _running: DropGuard,
}

impl Polling {
    /// Two hundred times as fast as it would be.
    fn start(
        github: &FakeGithub,
        scopes: Value,
        change: impl FnOnce(&Path, &mut GithubConfig),
    ) -> Polling {
        let folder = tempfile::tempdir().unwrap();
        let mut config = github.config(folder.path());
        config.timeout = Duration::from_secs(2);
        change(folder.path(), &mut config);
        let mut registry = Registry::default();
        let metrics = GithubMetrics::new(&mut registry, "pitcrew_exporter");
        let client = Github::new(&config, metrics).unwrap();
        let intake = Intake::open(&folder.path().join("data"), Arc::default()).unwrap();
        let (webhooks, billing) = github
            .with(|sim, _| (!sim.settings.webhooks.is_empty(), !sim.settings.usage.is_empty()));
        let scopes = serde_json::from_value(scopes).unwrap();
        let settings = Settings { scopes, webhooks, billing, speed: 200.0 };
        let poll = Poll::new(&client, settings, intake.clone());
        let stop = CancellationToken::new();
        tokio::spawn(poll.clone().run(stop.clone()));
        Polling { poll, intake, registry, folder, _running: stop.drop_guard() }
    }

    /// All that it shows.
    fn page(&self) -> String {
        let mut out = Families::default();
        self.poll.families(&mut out);
        self.intake.with_state(|_, fleet| runners::families(fleet, &mut out));
        render_all(&[&out], Format::Text004) + &render_registry(&self.registry, Format::Text004)
    }

    /// The value of this series.
    fn value(&self, series: &str) -> Option<f64> {
        self.page().lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    async fn until(&self, series: &str, holds: impl Fn(f64) -> bool) {
        wait::until(PATIENCE, series, async || self.value(series).is_some_and(&holds)).await;
    }
}

fn plain(github: &FakeGithub) -> Polling {
    Polling::start(github, json!([{ "repository": REPOSITORY }]), |_, _| {})
}

fn register(github: &FakeGithub, scope: &str, name: &str) -> u64 {
    let new = json!({ "name": name, "scope": scope, "labels": ["ci"] });
    let new: NewRunner = serde_json::from_value(new).unwrap();
    github.with(|sim, now| sim.register(&new, now).id)
}

fn queue(github: &FakeGithub, new: Value) -> (u64, Vec<u64>) {
    let mut all = json!({ "repository": REPOSITORY, "labels": ["ci"] });
    for (key, value) in new.as_object().unwrap() {
        all[key] = value.clone();
    }
    let new = serde_json::from_value(all).unwrap();
    github.with(|sim, now| sim.queue(&new, "push", now))
}

/// The paths that were asked for so far.
fn calls(github: &FakeGithub) -> Vec<String> {
    github
        .ledger()
        .into_iter()
        .filter(|entry| entry.event == Event::Call)
        .filter_map(|entry| entry.what.call)
        .collect()
}

#[tokio::test]
async fn polling_alone_follows_jobs_runs_and_runners() {
    let github = FakeGithub::start(Sim::default()).await;
    let id = register(&github, REPOSITORY, "a");
    let (run, jobs) = queue(&github, json!({ "count": 130 }));
    let polling = plain(&github);
    let open = || polling.intake.with_state(|state, _| state.open_jobs().len());
    wait::until(PATIENCE, "130 open jobs", async || open() == 130).await;
    polling
        .until("github_runner_online{scope=\"owner/name\",runner=\"a\"}", |online| online == 0.0)
        .await;

    let token = format!("runner-token-{id}");
    for _ in &jobs {
        github.with(|sim, now| {
            let job = sim.poll(id, &token, now).unwrap().unwrap().id;
            sim.complete(id, &token, job, "success", now).unwrap();
        });
    }
    wait::until(PATIENCE, "no open job", async || open() == 0).await;
    let open = || polling.intake.with_state(|state, _| state.open_runs().len());
    wait::until(PATIENCE, "no open run", async || open() == 0).await;
    polling
        .until("github_runner_online{scope=\"owner/name\",runner=\"a\"}", |online| online == 1.0)
        .await;
    // What is done is not asked for any more.
    let about = format!("/actions/runs/{run}/jobs");
    let asked = || calls(&github).iter().filter(|call| call.contains(&about)).count();
    polling
        .until("pitcrew_exporter_github_poll_targets{data=\"jobs\",state=\"read\"}", |left| {
            left == 0.0
        })
        .await;
    let before = asked();
    let lists = || calls(&github).iter().filter(|call| call.contains("/actions/runs?")).count();
    let more = lists() + 5;
    wait::until(PATIENCE, "five more lists", async || lists() >= more).await;
    assert_eq!(asked(), before);

    // A fleet that goes is gone: an empty list is an empty fleet.
    github.with(|sim, now| sim.remove_runner(id, None, now));
    let idle = "github_runners{scope=\"owner/name\",labels=\"none\",status=\"idle\"}";
    polling.until(idle, |count| count == 0.0).await;
    assert_eq!(polling.value("github_runner_online{"), None);
}

#[tokio::test]
async fn a_thousand_runners_of_an_enterprise_over_ten_pages() {
    let github = FakeGithub::start(Sim::default()).await;
    for at in 0..1000 {
        register(&github, "enterprises/acme", &format!("r{at}"));
    }
    register(&github, "owner", "of-the-organization");
    let scopes = json!([{ "enterprise": "acme" }, { "organization": "owner", "repositories": ["owner/name"] }]);
    let polling = Polling::start(&github, scopes, |_, config| config.base_url.push_str("/api/v3"));
    let offline = |scope: &str| {
        format!(
            "github_runners{{scope=\"{scope}\",labels=\"ci,linux,self-hosted,x64\",status=\"offline\"}}"
        )
    };
    polling.until(&offline("enterprises/acme"), |count| count == 1000.0).await;
    polling.until(&offline("owner"), |count| count == 1.0).await;
    let pages = calls(&github);
    let page =
        |at: usize| format!("GET /api/v3/enterprises/acme/actions/runners?per_page=100&page={at}");
    assert!((2..=10).all(|at| pages.contains(&page(at))), "{pages:?}");
    assert_eq!(
        polling.value("github_runners_without_series{scope=\"enterprises/acme\"}"),
        Some(750.0)
    );
    let page = polling.page();
    let own = page.lines().filter(|line| !line.starts_with('#')).count();
    assert!(own < 800, "{own} series");
}

#[tokio::test]
async fn an_organizations_repositories_are_found() {
    let github = FakeGithub::start(Sim::default()).await;
    queue(&github, json!({}));
    let polling = Polling::start(&github, json!([{ "organization": "owner" }]), |_, _| {});
    polling.until(NEWS, |count| count >= 2.0).await;
}

#[tokio::test]
async fn the_last_whole_day_is_billed() {
    const DAY: f64 = 86_400.0;
    let today = (clock::unix_seconds() / DAY).floor() * DAY;
    let item = |day: f64, quantity: u32| {
        let date = pitcrew_tests::fake_github::json::time(day);
        json!({
            "date": date, "product": "Actions", "sku": "Actions Linux", "unitType": "Minutes",
            "quantity": quantity, "netAmount": f64::from(quantity) / 100.0,
            "organizationName": "owner", "repositoryName": "name",
        })
    };
    let usage = vec![item(today, 5), item(today - DAY, 100), item(today - 2.0 * DAY, 7)];
    let github = FakeGithub::start(Sim { usage, ..Sim::default() }).await;
    let scopes = json!([{ "organization": "owner", "repositories": [REPOSITORY] }]);
    let polling = Polling::start(&github, scopes, |_, _| {});
    let line = "{organization=\"owner\",sku=\"Actions Linux\"";
    polling
        .until(&format!("github_billing_day_net_amount_dollars{line}}}"), |sum| sum == 1.0)
        .await;
    let minutes = format!("github_billing_day_quantity{line},unit=\"Minutes\"}}");
    assert_eq!(polling.value(&minutes), Some(100.0));
    let day = polling.value("github_billing_day_timestamp_seconds{organization=\"owner\"}");
    assert_eq!(day, Some(today - DAY));
}
