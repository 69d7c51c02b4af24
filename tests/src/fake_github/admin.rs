//! What tests, the demo and the fake runners ask of the simulator, under `/_sim/`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::fault::Fault;
use super::ledger::check;
use super::registry::NewRunner;
use super::sim::{Job, NewJobs, Refused, Sim};

/// Longest wait for a job, as GitHub's own.
const LONGEST_POLL: Duration = Duration::from_secs(50);
/// While it waits, a runner is in contact.
const CONTACT: Duration = Duration::from_millis(200);

type App = State<Arc<Shared>>;

pub(super) fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/_sim/jobs", post(queue))
        .route("/_sim/jobs/{job}/approve", post(approve))
        .route("/_sim/jobs/{job}/cancel", post(cancel))
        .route("/_sim/runs/{run}/rerun-failed", post(rerun_failed))
        .route("/_sim/hooks/{hook}/ping", post(ping))
        .route("/_sim/faults", post(fault).delete(clear_faults))
        .route("/_sim/settings", get(settings).post(change_settings))
        .route("/_sim/ledger", get(ledger))
        .route("/_sim/ledger/check", get(check_ledger))
        .route("/_sim/runners", post(register))
        .route("/_sim/runners/{runner}", axum::routing::delete(remove))
        .route("/_sim/runners/{runner}/poll", post(poll))
        .route("/_sim/runners/{runner}/jobs/{job}/heartbeat", post(heartbeat))
        .route("/_sim/runners/{runner}/jobs/{job}/complete", post(complete))
        .with_state(shared)
}

async fn queue(State(shared): App, Json(new): Json<NewJobs>) -> Json<Value> {
    let (run, jobs) = shared.with(|sim, now, _| sim.queue(&new, "push", now));
    shared.wake.notify_waiters();
    Json(json!({ "run_id": run, "jobs": jobs }))
}

async fn approve(State(shared): App, Path(job): Path<u64>) -> StatusCode {
    done(&shared, |sim, now| sim.approve(job, now))
}

async fn cancel(State(shared): App, Path(job): Path<u64>) -> StatusCode {
    done(&shared, |sim, now| sim.cancel(job, now))
}

async fn rerun_failed(State(shared): App, Path(run): Path<u64>) -> StatusCode {
    done(&shared, |sim, now| sim.rerun_failed(run, now).is_some())
}

async fn ping(State(shared): App, Path(hook): Path<u64>) -> StatusCode {
    done(&shared, |sim, _| {
        sim.ping(hook);
        true
    })
}

async fn fault(State(shared): App, Json(fault): Json<Fault>) -> StatusCode {
    shared.with(|_, _, faults| faults.set(fault));
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(shared): App) -> StatusCode {
    shared.with(|_, _, faults| faults.clear());
    StatusCode::NO_CONTENT
}

async fn settings(State(shared): App) -> Json<Value> {
    Json(json!(shared.with(|sim, _, _| sim.settings.clone())))
}

async fn change_settings(State(shared): App, Json(change): Json<Value>) -> Response {
    match shared.with(|sim, _, _| sim.settings.with(&change)) {
        Ok(settings) => {
            shared.with(|sim, _, _| sim.settings = settings);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(message) => (StatusCode::UNPROCESSABLE_ENTITY, message).into_response(),
    }
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn ledger(State(shared): App, Query(from): Query<After>) -> Json<Value> {
    Json(json!({ "entries": shared.with(|sim, _, _| sim.ledger.after(from.after)) }))
}

async fn check_ledger(State(shared): App) -> Response {
    match check(&shared.with(|sim, _, _| sim.ledger.after(0))) {
        Ok(tally) => Json(tally).into_response(),
        Err(breach) => (StatusCode::CONFLICT, breach).into_response(),
    }
}

async fn register(State(shared): App, Json(new): Json<NewRunner>) -> Json<Value> {
    let runner = shared.with(|sim, now, _| sim.register(&new, now));
    Json(json!({ "id": runner.id, "token": runner.token }))
}

#[derive(Deserialize)]
struct Signed {
    token: String,
    #[serde(default)]
    result: Option<String>,
}

async fn remove(
    State(shared): App,
    Path(runner): Path<u64>,
    Json(signed): Json<Signed>,
) -> Response {
    let token = shared.with(|sim, _, _| sim.runners.get(&runner).map(|known| known.token.clone()));
    match token {
        None => refused(Refused::Gone),
        Some(token) if token != signed.token => refused(Refused::WrongToken),
        Some(_) => {
            shared.with(|sim, now, _| sim.remove_runner(runner, None, now));
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

#[derive(Deserialize)]
struct Wait {
    #[serde(default)]
    wait_ms: u64,
}

/// Waits for a job; the answer without one is `{"job": null}`.
async fn poll(
    State(shared): App,
    Path(runner): Path<u64>,
    Query(wait): Query<Wait>,
    Json(signed): Json<Signed>,
) -> Response {
    let end = Instant::now() + Duration::from_millis(wait.wait_ms).min(LONGEST_POLL);
    loop {
        let wake = shared.wake.notified();
        match shared.with(|sim, now, _| sim.poll(runner, &signed.token, now)) {
            Err(why) => return refused(why),
            Ok(Some(job)) => return Json(json!({ "job": ticket(&job) })).into_response(),
            Ok(None) if Instant::now() >= end => {
                return Json(json!({ "job": null })).into_response();
            }
            Ok(None) => timeout_at(end.min(Instant::now() + CONTACT), wake).await.unwrap_or(()),
        }
    }
}

async fn heartbeat(
    State(shared): App,
    Path((runner, job)): Path<(u64, u64)>,
    Json(signed): Json<Signed>,
) -> Response {
    match shared.with(|sim, now, _| sim.heartbeat(runner, &signed.token, job, now)) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => refused(why),
    }
}

async fn complete(
    State(shared): App,
    Path((runner, job)): Path<(u64, u64)>,
    Json(signed): Json<Signed>,
) -> Response {
    // The agent and the REST API have different words.
    let conclusion = match signed.result.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("succeeded" | "success") => "success",
        Some("canceled" | "cancelled") => "cancelled",
        Some(_) => "failure",
    };
    match shared.with(|sim, now, _| sim.complete(runner, &signed.token, job, conclusion, now)) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => refused(why),
    }
}

/// What a runner is told of its job.
fn ticket(job: &Job) -> Value {
    json!({
        "id": job.id,
        "name": job.name,
        "run_id": job.run,
        "job_guid": format!("{:08x}-0000-4000-8000-{:012x}", job.run & 0xffff_ffff, job.id),
        "duration_ms": job.duration_ms,
        "result": job.result,
    })
}

/// What a change that may be out of place has come to.
fn done(shared: &Shared, change: impl FnOnce(&mut Sim, f64) -> bool) -> StatusCode {
    let done = shared.with(|sim, now, _| change(sim, now));
    shared.wake.notify_waiters();
    if done { StatusCode::NO_CONTENT } else { StatusCode::CONFLICT }
}

fn refused(why: Refused) -> Response {
    let (status, message) = match why {
        Refused::Gone => (StatusCode::NOT_FOUND, "this runner is not registered"),
        Refused::WrongToken => (StatusCode::UNAUTHORIZED, "this is not the runner's token"),
        Refused::NotItsJob => (StatusCode::GONE, "this job is over or another runner's"),
    };
    (status, Json(json!({ "message": message }))).into_response()
}
