//! What a fake runner and the GitHub simulator say to each other: JSON over HTTP.
//!
//! GitHub's real protocol between service and agent is not public; this one is between the two
//! fakes alone. Every poll and every job heartbeat is a sign of life.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Longest wait for an answer, besides the time that a poll is asked to wait.
const TIME_OUT: Duration = Duration::from_secs(10);

/// A runner to be registered; one of the same name is replaced and its id retired.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registration {
    pub name: String,
    pub labels: Vec<String>,
    /// `owner/name`, or an organisation.
    pub scope: String,
    pub os: String,
    pub group: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registered {
    pub id: u64,
    pub token: String,
}

/// A job that was assigned to the runner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assigned {
    pub id: u64,
    pub name: String,
    pub run_id: u64,
    pub job_guid: String,
    pub duration_ms: u64,
    /// `succeeded`, `failed` or `canceled`: how it will end if the worker lives.
    pub result: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The simulator does not know this runner or job any more.
    #[error("{url}: gone ({status})")]
    Gone { url: String, status: u16 },
    #[error("{url}: expected success, found {status}")]
    Refused { url: String, status: u16 },
    #[error("{url} did not answer")]
    Silent { url: String, source: reqwest::Error },
}

/// Registers a runner.
///
/// # Errors
/// When the simulator refuses or does not answer.
pub async fn register(github: &str, wanted: &Registration) -> Result<Registered, Failed> {
    post(&client(), format!("{github}/_sim/runners"), wanted, TIME_OUT).await
}

/// One registered runner's side of the conversation.
#[derive(Debug, Clone)]
pub struct Session {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Session {
    pub fn new(github: &str, id: u64, token: &str) -> Session {
        let base = format!("{github}/_sim/runners/{id}");
        Session { http: client(), base, token: token.to_owned() }
    }

    /// Waits up to `wait` for a job.
    ///
    /// # Errors
    /// [`Failed::Gone`] when the runner was removed or replaced.
    pub async fn poll(&self, wait: Duration) -> Result<Option<Assigned>, Failed> {
        #[derive(Deserialize)]
        struct Answer {
            job: Option<Assigned>,
        }
        let url = format!("{}/poll?wait_ms={}", self.base, wait.as_millis());
        let answer: Answer = post(&self.http, url, &self.body(), TIME_OUT + wait).await?;
        Ok(answer.job)
    }

    /// Says that the job still runs.
    ///
    /// # Errors
    /// [`Failed::Gone`] when the simulator has given the job up.
    pub async fn heartbeat(&self, job: u64) -> Result<(), Failed> {
        let url = format!("{}/jobs/{job}/heartbeat", self.base);
        post::<serde_json::Value>(&self.http, url, &self.body(), TIME_OUT).await.map(drop)
    }

    /// Reports how the job ended.
    ///
    /// # Errors
    /// [`Failed::Gone`] when the simulator has given the job up.
    pub async fn complete(&self, job: u64, result: &str) -> Result<(), Failed> {
        let url = format!("{}/jobs/{job}/complete", self.base);
        let body = json!({ "token": self.token, "result": result });
        post::<serde_json::Value>(&self.http, url, &body, TIME_OUT).await.map(drop)
    }

    /// Removes the runner.
    ///
    /// # Errors
    /// When the simulator refuses or does not answer.
    pub async fn unregister(&self) -> Result<(), Failed> {
        let request = self.http.delete(&self.base).json(&self.body()).timeout(TIME_OUT);
        answer(self.base.clone(), request).await.map(drop)
    }

    fn body(&self) -> serde_json::Value {
        json!({ "token": self.token })
    }
}

fn client() -> reqwest::Client {
    // The client wants a TLS provider even to speak plain HTTP; a second call changes nothing.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().no_proxy().build().expect("a plain client can be built")
}

async fn post<T: DeserializeOwned>(
    http: &reqwest::Client,
    url: String,
    body: &(impl Serialize + ?Sized),
    time_out: Duration,
) -> Result<T, Failed> {
    let text = answer(url.clone(), http.post(&url).json(body).timeout(time_out)).await?;
    // An empty answer to a sign of life is as good as `{}`.
    let text = if text.is_empty() { "{}".to_owned() } else { text };
    serde_json::from_str(&text).map_err(|_| Failed::Refused { url, status: 200 })
}

async fn answer(url: String, request: reqwest::RequestBuilder) -> Result<String, Failed> {
    let silent = |source| Failed::Silent { url: url.clone(), source };
    let response = request.send().await.map_err(silent)?;
    let status = response.status();
    match status.as_u16() {
        200..=299 => response.text().await.map_err(silent),
        401 | 403 | 404 | 410 => Err(Failed::Gone { url, status: status.as_u16() }),
        other => Err(Failed::Refused { url, status: other }),
    }
}
