//! What came of a request: the head of an answer in time, or words for why there is none.

use std::time::Duration;

use reqwest::Response;
use tokio::time;

use super::ClientError;
use crate::model::causes::causes;

/// As much of a refusal is shown.
const MOST_SHOWN: usize = 300;

/// Waits for an answer no longer than `limit`, credentials that are fetched for the request among
/// it. The error names no URL, which may hold a password.
pub async fn within(
    limit: Duration,
    send: impl Future<Output = Result<reqwest::Result<Response>, ClientError>>,
) -> Result<Response, String> {
    match time::timeout(limit, send).await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(error))) => Err(causes(&error.without_url())),
        Ok(Err(error)) => Err(causes(&error)),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// Status and beginning of an answer, on one line. The request's own time-out bounds it.
pub async fn refusal(answer: Response) -> String {
    let status = answer.status().as_u16();
    let text = beginning(answer, MOST_SHOWN).await;
    let line = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    format!("{status} {}", line.take(MOST_SHOWN).collect::<String>())
}

/// The body as text, read until `most` bytes are there; one that ends early is taken as far as it
/// goes.
pub async fn beginning(mut answer: Response, most: usize) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < most
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
