//! A receiver of webhooks that notes when it was first told of each alert, and of its end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use pitcrew_exporter::clock;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(super) struct Hook {
    pub(super) url: String,
    told: Arc<Mutex<Told>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) requests: usize,
    pub(super) bytes: usize,
    /// First told as firing, by alert name and instance.
    pub(super) firing: HashMap<(String, String), Instant>,
    pub(super) resolved: HashMap<(String, String), Instant>,
    /// Alerts that were counted and not spelt out.
    pub(super) truncated: usize,
    pub(super) last: Option<Instant>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    #[serde(default)]
    truncated_alerts: usize,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    status: String,
    labels: HashMap<String, String>,
}

impl Hook {
    pub(super) async fn start() -> Result<Hook> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let told: Arc<Mutex<Told>> = Arc::default();
        let router = Router::new()
            .route("/", post(take))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&told));
        let task = tokio::spawn(async move {
            // It ends with the task.
            axum::serve(listener, router).await.ok();
        });
        Ok(Hook { url, told, task })
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&Told) -> T) -> T {
        look(&self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(told): State<Arc<Mutex<Told>>>, body: Bytes) -> StatusCode {
    let at = clock::monotonic();
    let Ok(message) = serde_json::from_slice::<Message>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    told.requests += 1;
    told.bytes += body.len();
    told.truncated += message.truncated_alerts;
    told.last = Some(at);
    for mut alert in message.alerts {
        let mut label = |name| alert.labels.remove(name).unwrap_or_default();
        let key = (label("alertname"), label("instance"));
        match alert.status == "firing" {
            true => told.firing.entry(key).or_insert(at),
            false => told.resolved.entry(key).or_insert(at),
        };
    }
    StatusCode::OK
}
