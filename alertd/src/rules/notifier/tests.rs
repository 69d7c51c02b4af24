//! The sender against a server that refuses, breaks and takes.

use std::collections::{BTreeMap, VecDeque};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use pitcrew_exporter::config::yaml;
use prometheus_client::registry::Registry;
use serde_json::Value;

use super::*;
use crate::model::labels::Labels;

/// Answers in this order, then 200; what was taken.
#[derive(Clone, Default)]
struct Peer {
    answers: Arc<Mutex<VecDeque<u16>>>,
    requests: Arc<Mutex<Vec<(u16, Value)>>>,
}

async fn take(State(peer): State<Peer>, body: String) -> StatusCode {
    let status = peer.answers.lock().unwrap().pop_front().unwrap_or(200);
    peer.requests.lock().unwrap().push((status, serde_json::from_str(&body).unwrap()));
    StatusCode::from_u16(status).unwrap()
}

impl Peer {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new().route("/x/api/v2/alerts", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// Alerts of taken requests.
    fn taken(&self) -> Vec<Value> {
        let requests = self.requests.lock().unwrap();
        let taken = requests.iter().filter(|(status, _)| *status == 200);
        taken.flat_map(|(_, body)| body.as_array().unwrap().clone()).collect()
    }

    async fn until(&self, done: impl Fn(&Peer) -> bool) {
        let deadline = time::Instant::now() + Duration::from_secs(20);
        while !done(self) {
            assert!(time::Instant::now() < deadline, "{:?}", self.requests.lock().unwrap());
            time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn notifier(addresses: &[&str], rules: &str) -> Notifier {
    let text = format!(
        "alert_relabel_configs: {rules}\nalertmanagers: [ {{ path_prefix: x, static_configs: [ {{ targets: {addresses:?} }} ] }} ]"
    );
    let config: AlertingConfig = yaml::parse(std::path::Path::new("f"), &text).unwrap();
    Notifier::new(&config, &NotifierMetrics::new(&mut Registry::default()))
}

fn alert(name: &str) -> Alert {
    let now = clock::now();
    Alert {
        labels: Labels::from_pairs([("alertname", name), ("replica", "one")]),
        annotations: BTreeMap::from([("summary".to_owned(), "a \"b\"\n".to_owned())]).into(),
        starts_at: now,
        ends_at: now.plus(Duration::from_secs(240)),
        generator_url: "http://x/graph".into(),
    }
}

#[tokio::test]
async fn alerts_arrive_at_all_of_them_as_prometheus_writes_them() {
    let (one, two) = (Peer::default(), Peer::default());
    let (first, second) = (one.start().await, two.start().await);
    let rules = "[ { action: labeldrop, regex: replica }, { source_labels: [alertname], regex: Secret, action: drop } ]";
    let notifier = notifier(&[&first, &second], rules);
    let stop = CancellationToken::new();
    let task = tokio::spawn(notifier.clone().run(stop.clone()));
    let told = alert("A");
    notifier.send(&[told.clone(), alert("Secret")]);
    let many: Vec<Alert> = (0..600).map(|number| alert(&number.to_string())).collect();
    notifier.send(&many);
    for peer in [&one, &two] {
        peer.until(|peer| peer.taken().len() == 601).await;
        let largest = peer
            .requests
            .lock()
            .unwrap()
            .iter()
            .map(|(_, body)| body.as_array().unwrap().len())
            .max();
        assert!(largest <= Some(MOST_PER_REQUEST), "{largest:?}");
        let want = serde_json::json!({
            "labels": { "alertname": "A" },
            "annotations": { "summary": "a \"b\"\n" },
            "startsAt": told.starts_at.rfc3339(),
            "endsAt": told.ends_at.rfc3339(),
            "generatorURL": "http://x/graph",
        });
        assert_eq!(peer.taken()[0], want);
    }
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again_and_what_is_refused_is_not() {
    let peer = Peer::default();
    peer.answers.lock().unwrap().extend([503, 429]);
    let address = peer.start().await;
    let notifier = notifier(&[&address], "[]");
    let stop = CancellationToken::new();
    let task = tokio::spawn(notifier.clone().run(stop.clone()));
    notifier.send(&[alert("A")]);
    peer.until(|peer| peer.taken().len() == 1).await;
    assert_eq!(peer.requests.lock().unwrap().len(), 3);
    peer.answers.lock().unwrap().push_back(400);
    notifier.send(&[alert("B")]);
    peer.until(|peer| peer.requests.lock().unwrap().len() == 4).await;
    notifier.send(&[alert("C")]);
    peer.until(|peer| peer.taken().len() == 2).await;
    assert_eq!(peer.taken()[1]["labels"]["alertname"], "C");
    // What is queued at the stop still goes out.
    notifier.send(&[alert("D")]);
    stop.cancel();
    task.await.unwrap();
    assert_eq!(peer.taken().len(), 3);
}
