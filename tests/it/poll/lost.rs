//! Deliveries that did not arrive are found and asked for again, within bounds.

use std::sync::Mutex;

use super::*;

const PATH: &str = "/webhooks/github";

/// The ids of what arrived at a receiver on this port.
async fn receive(listener: tokio::net::TcpListener) -> Arc<Mutex<Vec<String>>> {
    let arrived: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&arrived);
    let take = move |headers: HeaderMap| async move {
        let id = headers["x-github-delivery"].to_str().unwrap().to_owned();
        kept.lock().unwrap().push(id);
    };
    let router = Router::new().route(PATH, post(take));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    arrived
}

#[tokio::test]
async fn what_nobody_received_is_delivered_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{PATH}", listener.local_addr().unwrap());
    let arrived = receive(listener).await;
    let hook =
        Webhook { id: 7, url, scope: REPOSITORY.to_owned(), lost: 1.0, ..Webhook::default() };
    // GitHub's clock is a minute slow: what happens now counts as settled.
    let sim = Sim { webhooks: vec![hook.clone()], clock_skew: -60.0, ..Sim::default() };
    let github = FakeGithub::start(sim).await;
    for at in 0..30 {
        queue(&github, json!({ "workflow": format!("w{at}") }));
    }
    let polling = plain(&github);
    let missed = |outcome: &str| {
        format!("pitcrew_exporter_github_missed_deliveries_total{{outcome=\"{outcome}\"}}")
    };
    polling.until(&missed("missed"), |count| count >= 60.0).await;
    github.with(|sim, _| sim.settings.webhooks[0].lost = 0.0);
    let accepted = "pitcrew_exporter_github_redeliveries_total{result=\"accepted\"}";
    polling.until(accepted, |count| count >= 20.0).await;
    wait::until(PATIENCE, "twenty deliveries", async || arrived.lock().unwrap().len() >= 20).await;
    polling.until(&missed("recovered"), |count| count >= 20.0).await;
    let tries = calls(&github).iter().filter(|call| call.contains("/attempts")).count();
    let events = polling.value(&missed("missed")).unwrap();
    assert!(tries as f64 <= 3.0 * events, "{tries} attempts for {events} events");
}

#[tokio::test]
async fn the_apps_own_hook_is_looked_into() {
    let hook = Webhook {
        id: 7,
        url: format!("http://127.0.0.1:9{PATH}"),
        scope: "app".to_owned(),
        ..Webhook::default()
    };
    let sim = Sim { webhooks: vec![hook], clock_skew: -60.0, ..Sim::default() };
    let github = FakeGithub::start(sim).await;
    queue(&github, json!({}));
    let scopes = json!([{ "repository": REPOSITORY }]);
    let auth =
        |folder: &Path, config: &mut GithubConfig| config.auth = github.app_config(folder).auth;
    let polling = Polling::start(&github, scopes, auth);
    polling
        .until("pitcrew_exporter_github_redeliveries_total{result=\"accepted\"}", |count| {
            count >= 1.0
        })
        .await;
    let calls = calls(&github);
    assert!(calls.iter().any(|call| call.starts_with("POST /app/hook/deliveries/")), "{calls:?}");
}
