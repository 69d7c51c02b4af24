//! The payloads that GitHub's own client library publishes, signed and delivered, each to an
//! exporter that knows nothing yet: what a person would expect of them is on its page.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use pitcrew_exporter::app;
use pitcrew_exporter::config::{Config, yaml};
use pitcrew_exporter::server;
use pitcrew_tests::peers;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::*;

/// Kind of event, the place of the payload among those of its kind, and what is on the page.
type Example = (&'static str, usize, &'static [&'static str]);

const EXAMPLES: &[Example] = &[];

/// The published payloads of this kind.
fn payloads(kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(peers::webhook_examples()).unwrap();
    let kinds: Vec<Value> = serde_json::from_str(&text).unwrap();
    let found = kinds.into_iter().find(|entry| entry["name"] == kind).unwrap();
    found["examples"].as_array().unwrap().clone()
}

/// What the page says of workflows: no buckets, nothing that is 0.
fn told(page: &str) -> BTreeSet<String> {
    let ours = |line: &&str| {
        (line.starts_with("github_") || line.starts_with("pitcrew_exporter_github_oddities"))
            && !line.contains("_bucket{")
    };
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
