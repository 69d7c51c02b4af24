//! Deliveries of GitHub's webhook as GitHub signs and sends them, to an exporter under test.

use reqwest::{Client, RequestBuilder};
use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::json;

use crate::fake_github::json::time;

/// A webhook of somebody who knows the secret.
#[derive(Clone)]
pub struct Hook {
    client: Client,
    url: String,
    secret: String,
}

impl Hook {
    /// To the exporter at `url`, which has no path.
    pub fn new(url: &str, secret: &str) -> Hook {
        let client = Client::builder().timeout(std::time::Duration::from_secs(20)).build().unwrap();
        Hook { client, url: format!("{url}/webhooks/github"), secret: secret.to_owned() }
    }

    /// One delivery with everything that GitHub puts on it.
    pub fn request(&self, event: &str, id: &str, body: &str) -> RequestBuilder {
        self.unsigned(event, id, body)
            .header("x-hub-signature-256", signature(&self.secret, body.as_bytes()))
    }

    pub fn unsigned(&self, event: &str, id: &str, body: &str) -> RequestBuilder {
        self.client
            .post(&self.url)
            .header("content-type", "application/json")
            .header("user-agent", "GitHub-Hookshot/0000000")
            .header("x-github-event", event)
            .header("x-github-delivery", id)
            .body(body.to_owned())
    }

    /// The status; `None` without an answer, as when the exporter was killed.
    pub async fn send(&self, event: &str, id: &str, body: &str) -> Option<u16> {
        let answer = self.request(event, id, body).send().await.ok()?;
        Some(answer.status().as_u16())
    }
}

/// The value of `X-Hub-Signature-256`.
pub fn signature(secret: &str, body: &[u8]) -> String {
    let tag = sign(&Key::new(HMAC_SHA256, secret.as_bytes()), body);
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

/// A `workflow_job` event about the job of this number, which waited 30 s and took 60, and ended
/// at `now` if it did; `action` is `queued`, `in_progress` or `completed`.
pub fn job(id: u64, action: &str, now: f64) -> String {
    let (created, started) = (now - 90.0, now - 60.0);
    let begun = action != "queued";
    let done = action == "completed";
    json!({
        "action": action,
        "repository": { "full_name": format!("acme/app-{}", id % 10), "default_branch": "main" },
        "workflow_job": {
            "id": id,
            "run_id": id / 4 + 1,
            "run_attempt": 1,
            "workflow_name": "CI",
            "name": format!("test ({id})"),
            "head_branch": "main",
            "labels": ["self-hosted", format!("pool-{}", id % 5)],
            "status": action,
            "conclusion": done.then_some("success"),
            "created_at": time(created),
            "started_at": time(if begun { started } else { created }),
            "completed_at": done.then(|| time(now)),
            "runner_name": begun.then_some("runner-1"),
            "runner_group_name": begun.then_some("Default"),
            "steps": [],
        },
    })
    .to_string()
}
