//! Every webhook that the simulator sends is what GitHub's published schemas say, and what goes
//! wrong on the way goes wrong as it does at GitHub.

use std::collections::BTreeSet;
use std::fs;

use pitcrew_tests::fake_github::odd::Odd;
use pitcrew_tests::fake_github::settings::{Settings, TOKEN, Webhook};
use pitcrew_tests::fake_github::sim::{NewJobs, Sim};
use pitcrew_tests::fake_github::webhooks::{Deployment, Payload, PullRequest};
use pitcrew_tests::fake_webhook::FakeWebhook;
use pitcrew_tests::{peers, wait};
use serde_json::Value;

use super::*;

const BASE: &str = "https://github.example/api/v3";
const NOW: f64 = 1_795_000_000.0;

fn jobs(more: Value) -> NewJobs {
    let mut new = json!({ "repository": REPOSITORY, "labels": ["self-hosted", "x"] });
    for (key, value) in more.as_object().unwrap() {
        new[key] = value.clone();
    }
    serde_json::from_value(new).unwrap()
}

/// Drives one of everything through the simulator.
fn everything() -> Vec<Payload> {
    let hook = Webhook { id: 5, url: "https://hook.example/".to_owned(), ..Webhook::default() };
    let mut sim = Sim::new(Settings { webhooks: vec![hook], ..Settings::default() });
    let new = json!({ "name": "a", "scope": "owner", "labels": ["x"] });
    let runner = sim.register(&serde_json::from_value(new).unwrap(), NOW);
    let take = |sim: &mut Sim, now| sim.poll(runner.id, &runner.token, now).unwrap();
    let give = |sim: &mut Sim, job, how: &str, now| {
        sim.complete(runner.id, &runner.token, job, how, now).unwrap();
    };
    let (_, gated) = sim.queue(&jobs(json!({ "waiting": true })), "push", NOW);
    assert!(sim.approve(gated[0], NOW + 5.0) && !sim.approve(gated[0], NOW + 5.0));
    let (run, _) = sim.queue(&jobs(json!({ "count": 2 })), "pull_request", NOW + 6.0);
    for (at, how) in ["success", "failure", "success"].into_iter().enumerate() {
        let job = take(&mut sim, NOW + 10.0 + at as f64).unwrap();
        give(&mut sim, job.id, how, NOW + 20.0 + at as f64);
    }
    assert_eq!(sim.rerun_failed(run, NOW + 30.0).unwrap().len(), 1);
    let job = take(&mut sim, NOW + 31.0).unwrap();
    give(&mut sim, job.id, "success", NOW + 32.0);
    sim.queue(&jobs(json!({ "skipped": true })), "push", NOW + 40.0);
    for at in 0..3 {
        sim.queue(&jobs(json!({ "concurrency": "deploy" })), "push", NOW + 41.0 + f64::from(at));
    }
    while let Some(job) = take(&mut sim, NOW + 50.0) {
        give(&mut sim, job.id, "success", NOW + 51.0);
    }
    sim.deploy(Deployment {
        id: 8,
        repository: REPOSITORY.to_owned(),
        environment: "production".to_owned(),
        state: "success".to_owned(),
        time: NOW,
    });
    for closed in [None, Some(NOW + 9.0)] {
        sim.pull_request(PullRequest {
            repository: REPOSITORY.to_owned(),
            number: 9,
            action: if closed.is_some() { "closed" } else { "opened" }.to_owned(),
            merged: closed.is_some(),
            changed_files: 3,
            bot: false,
            created: NOW,
            closed,
        });
    }
    sim.ping(5);
    sim.take_payloads(BASE)
}

#[test]
fn every_webhook_fits_githubs_schema() {
    let text = fs::read_to_string(peers::webhook_schemas()).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let mut seen = BTreeSet::new();
    for payload in everything() {
        let name = format!("{}${}", payload.event, payload.action.as_deref().unwrap_or("event"));
        let mut body = payload.body;
        // The schema is older than concurrency groups: it has no word for a run behind another.
        if body["workflow_run"]["status"] == "pending" {
            body["workflow_run"]["status"] = json!("queued");
        }
        let validator = jsonschema::draft7::options()
            .should_validate_formats(true)
            .build(&json!({ "definitions": document["definitions"],
                "allOf": [{ "$ref": format!("#/definitions/{name}") }] }))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let errors: Vec<_> = validator
            .iter_errors(&body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}\n{body:#}");
        seen.insert(name);
    }
    let wanted = [
        "deployment_status$created",
        "ping$event",
        "pull_request$closed",
        "pull_request$opened",
        "workflow_job$completed",
        "workflow_job$in_progress",
        "workflow_job$queued",
        "workflow_job$waiting",
        "workflow_run$completed",
        "workflow_run$in_progress",
        "workflow_run$requested",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
}

#[test]
fn what_is_odd_about_a_job_is_odd_where_it_is_told() {
    for odd in Odd::ALL {
        let mut sim = Sim::new(Settings::default());
        let new = json!({ "name": "a", "scope": "owner", "labels": ["x"] });
        let runner = sim.register(&serde_json::from_value(new).unwrap(), NOW);
        let gated = odd == Odd::QueuedAtGate;
        let (_, ids) = sim.queue(&jobs(json!({ "odd": odd, "waiting": gated })), "push", NOW);
        sim.approve(ids[0], NOW + 5.0);
        sim.poll(runner.id, &runner.token, NOW + 10.0).unwrap().unwrap();
        sim.complete(runner.id, &runner.token, ids[0], "success", NOW + 20.0).unwrap();
        let told: Vec<_> = sim
            .take_payloads(BASE)
            .into_iter()
            .filter(|payload| payload.event == "workflow_job")
            .map(|payload| (payload.action.unwrap(), payload.body["workflow_job"].clone()))
            .collect();
        let [(_, queued), .., (_, running), (_, done)] = &told[..] else { panic!("{told:?}") };
        let zero = "0001-01-01T00:00:00Z";
        match odd {
            Odd::No => assert_eq!(queued["started_at"], queued["created_at"]),
            Odd::StartedBeforeCreated => {
                assert!(running["started_at"].as_str() < running["created_at"].as_str());
            }
            Odd::NoCreated => assert!(queued["created_at"].is_null()),
            Odd::ZeroStarted => assert_eq!(running["started_at"], zero),
            Odd::NullStarted => assert!(running["started_at"].is_null()),
            Odd::ZeroCompleted => assert_eq!(running["completed_at"], zero),
            Odd::RunnerZero => assert_eq!(queued["runner_id"], 0),
            Odd::QueuedAtGate => {
                let gate = (told[0].0.as_str(), &queued["status"]);
                assert_eq!(gate, ("queued", &json!("waiting")));
            }
        }
        assert!(done["started_at"].is_string() && done["completed_at"].is_string(), "{odd:?}");
        let truth = if odd == Odd::StartedBeforeCreated { -3.0 } else { 10.0 };
        let truth = if gated { 5.0 } else { truth };
        assert_eq!(sim.jobs[&ids[0]].queue_seconds(), Some(truth), "{odd:?}");
    }
}

#[tokio::test]
async fn what_was_lost_is_listed_and_sent_again_when_asked_for() {
    let receiver = FakeWebhook::start().await;
    let hook = Webhook {
        id: 4,
        url: receiver.url.clone(),
        secret: "s3cret".to_owned(),
        scope: REPOSITORY.to_owned(),
        events: vec!["workflow_job".to_owned()],
        lost: 1.0,
        ..Webhook::default()
    };
    let github = FakeGithub::start(Settings { webhooks: vec![hook], ..Settings::default() }).await;
    for _ in 0..3 {
        github.with(|sim, now| sim.queue(&jobs(json!({})), "push", now));
    }
    let listed = async |query: &str| -> Vec<Value> {
        let url = format!("{}/repos/{REPOSITORY}/hooks/4/deliveries{query}", github.url);
        let request = reqwest::Client::new().get(url).bearer_auth(TOKEN);
        request.send().await.unwrap().json().await.unwrap()
    };
    let all = async || listed("").await.len() == 3;
    wait::until(Duration::from_secs(20), "three deliveries", all).await;
    assert_eq!(listed("?per_page=2").await.len(), 2);
    let lost = listed("?status=failure").await;
    assert_eq!((lost.len(), receiver.requests().len()), (3, 0));
    let oldest = &lost[2];
    let url =
        format!("{}/repos/{REPOSITORY}/hooks/4/deliveries/{}/attempts", github.url, oldest["id"]);
    let asked = reqwest::Client::new().post(url).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(asked.status(), 202);
    let arrived = async || receiver.requests().len() == 1;
    wait::until(Duration::from_secs(20), "one delivery", arrived).await;
    assert_eq!(receiver.requests()[0].headers["x-github-delivery"], oldest["guid"]);
    let listed_again = async || listed("?status=success").await.len() == 1;
    wait::until(Duration::from_secs(20), "it is listed as delivered", listed_again).await;
    assert_eq!(listed("?status=success").await[0]["redelivery"], true);
}

#[test]
fn deliveries_are_lost_repeated_and_late() {
    let hook = Webhook { id: 1, lost: 0.1, repeated: 0.1, late: 0.1, ..Webhook::default() };
    let mut sim = Sim::new(Settings { webhooks: vec![hook], ..Settings::default() });
    let mut sent = Vec::new();
    for at in 0..1000 {
        sim.queue(&jobs(json!({})), "push", NOW + f64::from(at));
        sent.extend(sim.take_deliveries(BASE, NOW + f64::from(at)));
    }
    sent.extend(sim.take_deliveries(BASE, NOW + 2000.0));
    let guids: BTreeSet<_> = sent.iter().map(|delivery| &delivery.guid).collect();
    let made: BTreeSet<_> = sim.deliveries.all.iter().map(|delivery| &delivery.guid).collect();
    let lost = made.difference(&guids).count();
    let repeated = sent.len() - guids.len();
    let late = sent.windows(2).filter(|pair| pair[1].id < pair[0].id).count();
    assert_eq!(made.len(), 2000);
    for (what, count) in [("lost", lost), ("repeated", repeated), ("late", late)] {
        assert!((100..300).contains(&count), "{count} {what}");
    }
}
