//! One request to an Alertmanager, and what its answer means.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode};
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;

use super::config::AlertmanagerConfig;
use crate::http_client::{ClientError, HttpClient, refusal, retry_after, within};
use crate::model::alert::Alert;
use crate::model::labels::Labels;

/// Longest wait that an Alertmanager may ask for.
const LONGEST: Duration = Duration::from_secs(300);

/// Sends alerts to one Alertmanager.
pub(super) struct Poster {
    client: HttpClient,
    url: String,
    timeout: Duration,
}

/// What came of one request.
#[derive(Debug)]
pub(super) enum Answer {
    Taken,
    /// The same request may succeed later.
    Later {
        why: String,
        after: Option<Duration>,
    },
    /// It never will.
    Refused {
        why: String,
    },
}

/// An alert as version 2 of the API has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    labels: &'a Labels,
    annotations: &'a BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
}

impl Poster {
    pub(super) fn new(url: String, config: &AlertmanagerConfig) -> Poster {
        Poster { client: HttpClient::new(config.http.clone()), url, timeout: config.timeout }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Ends within the time-out.
    pub(super) async fn post(&self, alerts: impl Iterator<Item = &Alert>) -> Answer {
        let body: Vec<Posted<'_>> = alerts.map(posted).collect();
        let body = serde_json::to_string(&body).expect("maps with text as keys always serialize");
        let answer = match within(self.timeout, self.send(body)).await {
            Ok(answer) => answer,
            Err(why) => return Answer::Later { why, after: None },
        };
        let (status, after) = (answer.status(), retry_after(answer.headers()));
        if status.is_success() {
            return Answer::Taken;
        }
        let why = refusal(answer).await;
        match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            true => Answer::Later { why, after: after.map(|time| time.min(LONGEST)) },
            false => Answer::Refused { why },
        }
    }

    async fn send(&self, body: String) -> Result<reqwest::Result<Response>, ClientError> {
        let request = self.client.request(Method::POST, &self.url).await?;
        let request = request.header(CONTENT_TYPE, "application/json").timeout(self.timeout);
        Ok(request.body(body).send().await)
    }
}

fn posted(alert: &Alert) -> Posted<'_> {
    Posted {
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: alert.starts_at.rfc3339(),
        ends_at: alert.ends_at.rfc3339(),
        generator_url: &alert.generator_url,
    }
}
