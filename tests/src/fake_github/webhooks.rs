//! `workflow_job` events, signed, to the configured URLs. As at GitHub, none is sent twice.

use std::sync::Arc;
use std::time::Duration;

use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::{Value, json};
use tracing::debug;

use super::Shared;
use super::json;
use super::settings::Webhook;
use super::sim::Sim;

const EVERY: Duration = Duration::from_millis(50);
/// GitHub waits this long for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Lets time pass in the simulator and sends what happened, until it is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().expect("no options can clash");
    loop {
        tokio::time::sleep(EVERY).await;
        let (hooks, events) = shared.with(|sim, now, _| {
            sim.tick(now);
            (sim.settings.webhooks.clone(), events(sim, &shared.url))
        });
        for event in events {
            for hook in &hooks {
                let body = event.to_string();
                let request = client
                    .post(&hook.url)
                    .header("content-type", "application/json")
                    .header("x-github-event", "workflow_job")
                    .header("x-github-delivery", delivery(&event))
                    .header("x-hub-signature-256", signature(hook, &body))
                    .body(body);
                tokio::spawn(async move {
                    if let Err(error) = request.send().await {
                        debug!(%error, "webhook not delivered");
                    }
                });
            }
        }
    }
}

/// What has happened since the last call, oldest first.
fn events(sim: &mut Sim, base: &str) -> Vec<Value> {
    let changes = std::mem::take(&mut sim.changes);
    let event = |(action, id): &(&str, u64)| {
        let job = sim.jobs.get(id)?;
        let repository = &sim.runs.get(&job.run)?.repository;
        let owner = repository.split_once('/').map_or("", |(owner, _)| owner);
        Some(json!({
            "action": action,
            "workflow_job": json::job(sim, job, base),
            "repository": json::repository(repository, base),
            "sender": json::user(owner, base),
        }))
    };
    changes.iter().filter_map(event).collect()
}

fn signature(hook: &Webhook, body: &str) -> String {
    let tag = sign(&Key::new(HMAC_SHA256, hook.secret.as_bytes()), body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// The same for the same event, as GitHub's is when it delivers again.
fn delivery(event: &Value) -> String {
    let id = event["workflow_job"]["id"].as_u64().unwrap_or(0);
    let action = event["action"].as_str().unwrap_or("").len();
    format!("{id:08x}-0000-4000-8000-{action:012x}")
}
