//! Pages, validators, jobs.

use pitcrew_exporter::exposition::{Format, render_registry};
use pitcrew_exporter::github::error::GithubError;
use pitcrew_exporter::github::model::JobStatus;
use pitcrew_tests::fake_github::settings::Settings;
use prometheus_client::registry::Registry;

use super::*;

fn metrics() -> (Registry, GithubMetrics) {
    let mut registry = Registry::default();
    let metrics = GithubMetrics::new(&mut registry, "pitcrew_alertd");
    (registry, metrics)
}

/// The value of this series on the registry's page.
fn value(registry: &Registry, series: &str) -> f64 {
    let text = render_registry(registry, Format::Text004);
    let found = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("{series} is missing from {text}"))
}

#[tokio::test]
async fn three_pages_of_runners_and_then_three_304s() {
    let github = FakeGithub::start(Settings::default()).await;
    for at in 0..250 {
        register(&github, &format!("r{at}"), &["ci"]);
    }
    for prefix in ["", "/api/v3"] {
        let (_folder, mut config) = config(&github);
        config.base_url.push_str(prefix);
        let (registry, metrics) = metrics();
        let client = Github::new(&config, metrics).unwrap();
        let before = calls(&github).len();
        let runners = client.runners(&scope()).await.unwrap();
        assert_eq!(runners.len(), 250);
        assert_eq!(calls(&github).len() - before, 3);
        let left = "pitcrew_alertd_github_rate_limit_remaining_requests{resource=\"core\"}";
        let remaining = value(&registry, left);
        assert_eq!(client.runners(&scope()).await.unwrap(), runners);
        let again = &calls(&github)[before + 3..];
        assert!(again.iter().all(|(_, status)| *status == 304) && again.len() == 3, "{again:?}");
        assert_eq!(value(&registry, "pitcrew_alertd_github_not_modified_total"), 3.0);
        assert_eq!(value(&registry, left), remaining);
        let series = "pitcrew_alertd_github_requests_total{method=\"GET\",\
            endpoint=\"{scope}/actions/runners\",status=\"304\"}";
        assert_eq!(value(&registry, series), 3.0);

        let new = register(&github, "late", &[]);
        assert!(client.runners(&scope()).await.unwrap().iter().any(|runner| runner.id == new));
        github.with(|sim, now| sim.remove_runner(new, None, now));
    }
}

fn queue(github: &FakeGithub, repository: &str, count: u32, waiting: bool) {
    let new = json!({
        "repository": repository, "count": count, "labels": ["ci"], "waiting": waiting,
    });
    let new = serde_json::from_value(new).unwrap();
    github.with(|sim, now| sim.queue(&new, "push", now));
}

#[tokio::test]
async fn jobs_of_all_runs_that_are_not_done() {
    let github = FakeGithub::start(Settings::default()).await;
    let id = register(&github, "a", &["ci"]);
    queue(&github, REPOSITORY, 130, false);
    queue(&github, REPOSITORY, 1, true);
    queue(&github, "owner/other", 2, false);
    for _ in 0..3 {
        queue(&github, REPOSITORY, 1, false);
    }
    let token = format!("runner-token-{id}");
    let poll = || github.with(|sim, now| sim.poll(id, &token, now)).unwrap().unwrap();
    let complete =
        |job| github.with(|sim, now| sim.complete(id, &token, job, "success", now)).unwrap();
    let done = poll().id;
    complete(done);
    let running = poll().id;
    let (_folder, config) = config(&github);
    let client = client(&config);
    let jobs = client.jobs(&scope()).await.unwrap();
    let count = |status| jobs.iter().filter(|job| job.status == status).count();
    assert_eq!(jobs.len(), 134);
    assert_eq!((count(JobStatus::Completed), count(JobStatus::InProgress)), (1, 1));
    assert_eq!((count(JobStatus::Queued), count(JobStatus::Waiting)), (131, 1));
    let job = jobs.iter().find(|job| job.id == running).unwrap();
    assert_eq!((job.runner_name.as_deref(), job.repository.as_str()), (Some("a"), REPOSITORY));
    assert_eq!((job.labels.clone(), job.conclusion.clone()), (vec!["ci".to_owned()], None));
    assert!(job.started_at >= job.created_at && job.completed_at.is_none());
    assert_eq!(
        jobs.iter().find(|job| job.id == done).unwrap().conclusion.as_deref(),
        Some("success")
    );

    let organization = |repositories: &[&str]| Scope::Organization {
        name: "owner".to_owned(),
        repositories: repositories.iter().map(|name| name.parse().unwrap()).collect(),
    };
    let both = organization(&[REPOSITORY, "owner/other"]);
    assert_eq!(client.jobs(&both).await.unwrap().len(), 136);
    let error = client.jobs(&organization(&[])).await.unwrap_err();
    assert!(matches!(error, GithubError::JobsUnknown { .. }), "{error}");
}

/// A filtered list ends after a thousand runs; the rest is asked for by the time of creation.
#[tokio::test]
async fn more_live_runs_than_github_lists_at_once() {
    for (seconds_between, count, truncated) in [(1.0, 1150, false), (0.0, 1000, true)] {
        let github = FakeGithub::start(Settings::default()).await;
        let new = json!({ "repository": REPOSITORY, "labels": ["ci"] });
        let new = serde_json::from_value(new).unwrap();
        github.with(|sim, now| {
            let begun = now - 1500.0;
            (0..1150).for_each(|at| {
                sim.queue(&new, "push", begun + seconds_between * f64::from(at));
            });
        });
        let (_folder, mut config) = config(&github);
        // The simulator looks at every run for every page.
        config.timeout = Duration::from_secs(60);
        let live = client(&config).live_runs(&REPOSITORY.parse().unwrap()).await.unwrap();
        assert_eq!((live.runs.len(), live.truncated), (count, truncated));
        let mut ids: Vec<_> = live.runs.iter().map(|run| run.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "each once");
        let narrowed = |(call, _): &(String, u16)| call.contains("created=%3C%3D");
        assert!(calls(&github).iter().any(narrowed));
    }
}

/// Without it GitHub answers in whatever version is its default by then.
#[tokio::test]
async fn every_call_names_the_version_of_the_api() {
    let github = FakeGithub::start(Settings::default()).await;
    let (_folder, mut config) = config(&github);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    config.base_url = format!("http://{}", listener.local_addr().unwrap());
    let answer = async |headers: axum::http::HeaderMap| match headers.get("x-github-api-version") {
        Some(version) if version == "2022-11-28" => Ok(r#"{"total_count": 0, "runners": []}"#),
        _ => Err(axum::http::StatusCode::BAD_REQUEST),
    };
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    assert_eq!(client(&config).runners(&scope()).await.unwrap(), []);
}
