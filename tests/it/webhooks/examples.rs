//! The payloads that GitHub's own client library publishes, signed and delivered, each to an
//! exporter that knows nothing yet: what a person would expect of them is on its page.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use pitcrew_exporter::app;
use pitcrew_exporter::config::{Config, yaml};
use pitcrew_exporter::server;
use pitcrew_tests::fake_github::json::time;
use pitcrew_tests::peers;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::*;

/// Kind of event, the place of the payload among those of its kind, and what is on the page.
type Example = (&'static str, usize, &'static [&'static str]);

/// Jobs that began years ago and have not ended still run, as far as anybody was told; those that
/// wait since then are likely forgotten.
const EXAMPLES: &[Example] = &[
    // No time of creation, no workflow, three labels: it runs, and how long it waited is unknown.
    (
        "workflow_job",
        0,
        &[
            r#"github_workflow_job_oldest_in_progress_timestamp_seconds{repository="octo-org/example-workflow",workflow="unnamed"} 1623784947"#,
            r#"github_workflow_jobs_in_progress{repository="octo-org/example-workflow",labels="db-app,dc-03,gpu"} 1"#,
        ],
    ),
    // Created 10:33:58, begun 10:34:58, over at 10:38:16, on a runner of GitHub's.
    (
        "workflow_job",
        1,
        &[
            r#"github_workflow_job_conclusion_total{repository="Codertocat/Hello-World",workflow="CodeQL",conclusion="failure"} 1"#,
            r#"github_workflow_job_duration_seconds_sum{repository="Codertocat/Hello-World",workflow="CodeQL",conclusion="failure"} 198"#,
            r#"github_workflow_job_duration_seconds_count{repository="Codertocat/Hello-World",workflow="CodeQL",conclusion="failure"} 1"#,
            r#"github_workflow_job_queue_duration_seconds_sum{repository="Codertocat/Hello-World",labels="ubuntu-latest"} 60"#,
            r#"github_workflow_job_queue_duration_seconds_count{repository="Codertocat/Hello-World",labels="ubuntu-latest"} 1"#,
            r#"github_workflow_runner_seconds_total{repository="Codertocat/Hello-World",class="hosted",hosted="true"} 198"#,
        ],
    ),
    (
        "workflow_job",
        2,
        &[
            r#"github_workflow_job_conclusion_total{repository="Codertocat/Hello-World",workflow="CodeQL",conclusion="success"} 1"#,
            r#"github_workflow_job_duration_seconds_sum{repository="Codertocat/Hello-World",workflow="CodeQL",conclusion="success"} 198"#,
            r#"github_workflow_job_duration_seconds_count{repository="Codertocat/Hello-World",workflow="CodeQL",conclusion="success"} 1"#,
            r#"github_workflow_job_queue_duration_seconds_sum{repository="Codertocat/Hello-World",labels="ubuntu-latest"} 60"#,
            r#"github_workflow_job_queue_duration_seconds_count{repository="Codertocat/Hello-World",labels="ubuntu-latest"} 1"#,
            r#"github_workflow_runner_seconds_total{repository="Codertocat/Hello-World",class="hosted",hosted="true"} 198"#,
        ],
    ),
    // Begun in the second of its creation: it waited 0 s, which is an observation all the same.
    (
        "workflow_job",
        3,
        &[
            r#"github_workflow_job_oldest_in_progress_timestamp_seconds{repository="Codertocat/Hello-World",workflow="CodeQL"} 1631499673"#,
            r#"github_workflow_job_queue_duration_seconds_count{repository="Codertocat/Hello-World",labels="ubuntu-latest"} 1"#,
            r#"github_workflow_jobs_in_progress{repository="Codertocat/Hello-World",labels="ubuntu-latest"} 1"#,
        ],
    ),
    // Created 03:31:29, begun 03:31:36, with nine steps already.
    (
        "workflow_job",
        4,
        &[
            r#"github_workflow_job_oldest_in_progress_timestamp_seconds{repository="wolfy1339/github-events-schemas",workflow="Test"} 1687750296"#,
            r#"github_workflow_job_queue_duration_seconds_sum{repository="wolfy1339/github-events-schemas",labels="ubuntu-latest"} 7"#,
            r#"github_workflow_job_queue_duration_seconds_count{repository="wolfy1339/github-events-schemas",labels="ubuntu-latest"} 1"#,
            r#"github_workflow_jobs_in_progress{repository="wolfy1339/github-events-schemas",labels="ubuntu-latest"} 1"#,
        ],
    ),
    // Queued, and a runner named already.
    (
        "workflow_job",
        5,
        &[
            r#"github_workflow_job_oldest_queued_timestamp_seconds{repository="Codertocat/Hello-World",labels="ubuntu-latest",reason="suspected_zombie"} 1631499673"#,
            r#"github_workflow_jobs_queued{repository="Codertocat/Hello-World",labels="ubuntu-latest",reason="suspected_zombie"} 1"#,
        ],
    ),
    // Queued by its action, waiting by its status, and no runner.
    (
        "workflow_job",
        6,
        &[
            r#"github_workflow_job_oldest_queued_timestamp_seconds{repository="lineville/elastic-machines-testing",labels="k8s,self-hosted",reason="suspected_zombie"} 1681938732"#,
            r#"github_workflow_jobs_queued{repository="lineville/elastic-machines-testing",labels="k8s,self-hosted",reason="suspected_zombie"} 1"#,
        ],
    ),
    (
        "workflow_job",
        7,
        &[
            r#"github_workflow_job_oldest_queued_timestamp_seconds{repository="lineville/elastic-machines-testing",labels="k8s,self-hosted",reason="suspected_zombie"} 1681938732"#,
            r#"github_workflow_jobs_queued{repository="lineville/elastic-machines-testing",labels="k8s,self-hosted",reason="suspected_zombie"} 1"#,
        ],
    ),
    // Completed by its action, queued by its status, and no conclusion: nothing has ended.
    (
        "workflow_run",
        0,
        &[r#"github_workflow_runs{repository="Codertocat/Hello-World",status="queued"} 1"#],
    ),
    // Created 16:33:24, begun and over at 16:33:49; its own name is empty, its workflow's is not.
    (
        "workflow_run",
        1,
        &[
            r#"github_workflow_run_conclusion_total{repository="octo-org/octo-repo",workflow="test",conclusion="success"} 1"#,
            r#"github_workflow_run_duration_seconds_count{repository="octo-org/octo-repo",workflow="test"} 1"#,
            r#"github_workflow_run_queue_duration_seconds_sum{repository="octo-org/octo-repo"} 25"#,
            r#"github_workflow_run_queue_duration_seconds_count{repository="octo-org/octo-repo"} 1"#,
        ],
    ),
    (
        "workflow_run",
        2,
        &[
            r#"github_workflow_run_conclusion_total{repository="octo-org/octo-repo",workflow="test",conclusion="success"} 1"#,
            r#"github_workflow_run_duration_seconds_count{repository="octo-org/octo-repo",workflow="test"} 1"#,
            r#"github_workflow_run_queue_duration_seconds_sum{repository="octo-org/octo-repo"} 25"#,
            r#"github_workflow_run_queue_duration_seconds_count{repository="octo-org/octo-repo"} 1"#,
        ],
    ),
    (
        "workflow_run",
        3,
        &[r#"github_workflow_runs{repository="octo-org/octo-repo",status="queued"} 1"#],
    ),
    // Somebody has to approve it first: it ended, and never ran.
    (
        "workflow_run",
        4,
        &[
            r#"github_workflow_run_conclusion_total{repository="octo-org/octo-repo",workflow="test",conclusion="action_required"} 1"#,
        ],
    ),
];

/// The published payloads of this kind.
fn payloads(kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(peers::webhook_examples()).unwrap();
    let kinds: Vec<Value> = serde_json::from_str(&text).unwrap();
    let found = kinds.into_iter().find(|entry| entry["name"] == kind).unwrap();
    found["examples"].as_array().unwrap().clone()
}

/// What the page says of workflows: no buckets, nothing that is 0.
fn told(page: &str) -> BTreeSet<String> {
    let ours = |line: &&str| line.starts_with("github_") && !line.contains("_bucket{");
    page.lines().filter(ours).filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect()
}

/// The page of an exporter in this process, after these deliveries, once it is as `want` says.
async fn page_after(deliveries: &[(&str, String)], want: &BTreeSet<String>) -> BTreeSet<String> {
    let stage = Stage::new();
    let text = "{ listen: '127.0.0.1:0', data_dir: data, github: { webhook_secret_file: secret }, \
                collectors: { off: [runner] } }";
    let mut config: Config = yaml::parse(Path::new("exporter.yaml"), text).unwrap();
    config.start_paths_at(stage.folder.path());
    let bound = server::bind(&config.listen, &config.web, false).await.unwrap();
    let url = format!("http://{}", bound.local_addr());
    let stop = CancellationToken::new();
    let running = tokio::spawn(app::run(config, bound, stop.clone()));
    let hook = Hook::new(&url, SECRET);
    for (at, (kind, body)) in deliveries.iter().enumerate() {
        let status = hook.send(kind, &format!("d-{at}"), body).await;
        assert_eq!(status, Some(202), "{kind} {body}");
    }
    let page = async || {
        let page = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
        told(&page)
    };
    // What might still be put in order by later news is held back for ten seconds.
    let start = clock::monotonic();
    let mut found = page().await;
    while found != *want && start.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(500)).await;
        found = page().await;
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    found
}

#[tokio::test]
async fn each_published_payload_gives_the_metrics_that_a_person_would_expect() {
    pitcrew_tests::process::tls();
    for kind in ["workflow_job", "workflow_run"] {
        let known = EXAMPLES.iter().filter(|(of, ..)| *of == kind).count();
        assert_eq!(known, payloads(kind).len(), "{kind}");
    }
    let checks = EXAMPLES.iter().map(|(kind, at, want)| {
        let body = payloads(kind)[*at].to_string();
        let want: BTreeSet<String> = want.iter().map(|line| (*line).to_owned()).collect();
        async move {
            let found = page_after(&[(kind, body)], &want).await;
            (found != want).then(|| format!("{kind} {at}:\n{found:#?}\nexpected\n{want:#?}\n"))
        }
    });
    let wrong: Vec<_> = join(checks).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

/// The three that wait, as if they had just been created.
#[tokio::test]
async fn what_waits_tells_why() {
    pitcrew_tests::process::tls();
    let now = clock::unix_seconds().floor();
    for (at, repository, labels, reason) in [
        (5, "Codertocat/Hello-World", "ubuntu-latest", "hosted"),
        (6, "lineville/elastic-machines-testing", "k8s,self-hosted", "gate"),
        (7, "lineville/elastic-machines-testing", "k8s,self-hosted", "gate"),
    ] {
        let mut body = payloads("workflow_job")[at].clone();
        for key in ["created_at", "started_at"] {
            body["workflow_job"][key] = time(now).into();
        }
        let labels = format!("repository=\"{repository}\",labels=\"{labels}\",reason=\"{reason}\"");
        let name = "github_workflow_job_oldest_queued_timestamp_seconds";
        let want = BTreeSet::from([
            format!("github_workflow_jobs_queued{{{labels}}} 1"),
            format!("{name}{{{labels}}} {now}"),
        ]);
        assert_eq!(page_after(&[("workflow_job", body.to_string())], &want).await, want);
    }
}

#[tokio::test]
async fn every_other_published_payload_is_taken() {
    pitcrew_tests::process::tls();
    let stage = Stage::new();
    let live = stage.start().await;
    let hook = stage.hook();
    let text = fs::read_to_string(peers::webhook_examples()).unwrap();
    let kinds: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut sent = 0;
    for entry in &kinds {
        let kind = entry["name"].as_str().unwrap();
        for body in entry["examples"].as_array().unwrap() {
            sent += 1;
            let status = hook.send(kind, &format!("d-{sent}"), &body.to_string()).await;
            assert_eq!(status, Some(202), "{kind}: {}", live.log());
        }
    }
    assert!(sent > 300, "only {sent} payloads");
    let taken = "pitcrew_exporter_webhook_deliveries_total";
    assert_eq!(live.sum(taken).await, f64::from(sent));
    for (kind, want) in [("pull_request", 29.0), ("deployment_status", 4.0), ("ping", 4.0)] {
        assert_eq!(
            live.metric(&format!("{taken}{{event=\"{kind}\"}}")).await,
            Some(want),
            "{kind}"
        );
    }
}

/// Runs all of them at once.
async fn join<T: Send + 'static>(
    work: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = work.map(tokio::spawn).collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    all
}
