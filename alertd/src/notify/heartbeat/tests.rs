//! Which proof is missing when, and what is sent.

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::any;
use pitcrew_exporter::config::yaml;

use super::*;
use crate::model::alert::AlertInstance;
use crate::model::labels::Labels;
use crate::rules::status::{AlertingStatus, Health, RuleStatus};

fn group(name: &str, evaluated_at: Option<Timestamp>, fires: bool) -> Arc<GroupStatus> {
    let instance = AlertInstance {
        labels: Labels::from_pairs([("alertname", "Watchdog")]),
        annotations: Arc::default(),
        state: AlertState::Firing,
        value: 1.0,
        active_at: Timestamp(0),
        fired_at: Some(Timestamp(0)),
        resolved_at: None,
        keep_firing_since: None,
        last_sent_at: None,
        unverified_since: None,
        changes: Vec::new(),
        flapping_since: None,
    };
    let rule = RuleStatus {
        name: "Watchdog".to_owned(),
        query: "vector(1)".to_owned(),
        labels: BTreeMap::new(),
        health: Health::Ok,
        unmatched: Vec::new(),
        silent: Vec::new(),
        evaluated_at,
        took: Duration::ZERO,
        alerting: Some(AlertingStatus {
            hold: Duration::ZERO,
            keep_firing_for: Duration::ZERO,
            annotations: BTreeMap::new(),
            instances: fires.then(|| Arc::new(instance)).into_iter().collect(),
        }),
    };
    Arc::new(GroupStatus {
        file: "f".to_owned(),
        name: name.to_owned(),
        interval: Duration::from_secs(60),
        query_offset: Duration::ZERO,
        limit: 0,
        evaluated_at,
        took: Duration::ZERO,
        rules: vec![rule],
    })
}

#[test]
fn proofs_of_life() {
    let at = |second: i64| Timestamp(second * 1000);
    let (began, now) = (at(0), at(1000));
    let watchdog = |second| group("dog", Some(at(second)), true);
    let fresh = [("routing", at(990)), ("delivery", at(990))];
    for (groups, loops, want) in [
        (vec![watchdog(960)], fresh, None),
        (vec![watchdog(960), group("other", Some(at(720)), false)], fresh, None),
        (
            vec![watchdog(960), group("other", Some(at(600)), false)],
            fresh,
            Some("group other has not been evaluated since 1970-01-01T00:10:00.000Z"),
        ),
        (vec![group("never", None, true)], fresh, Some("group never has not")),
        (vec![group("dog", Some(at(960)), false)], fresh, Some("alert Watchdog does not fire")),
        (vec![], fresh, Some("alert Watchdog does not fire")),
        (
            vec![watchdog(960)],
            [("routing", at(990)), ("delivery", at(800))],
            Some("delivery stands still since 1970-01-01T00:13:20.000Z"),
        ),
    ] {
        let found = missing(&groups, &loops, "Watchdog", began, now);
        assert!(
            found.as_deref().is_some() == want.is_some()
                && found.as_deref().unwrap_or("").starts_with(want.unwrap_or("")),
            "{want:?}: {found:?}"
        );
    }
    // A program that has just begun is given time.
    let groups = [group("dog", None, true)];
    assert_eq!(missing(&groups, &[("routing", at(0))], "Watchdog", at(950), now), None);
}

#[test]
fn what_cannot_be() {
    let check = |text: &str| {
        let file = Path::new("alertd.yaml");
        yaml::parse::<HeartbeatConfig>(file, text).and_then(|config| config.check(file))
    };
    check("{ url: 'https://hc.example/ping/1', interval: 30s, method: GET }").unwrap();
    check("{ url_file: heartbeat-url, basic_auth: { username: a } }").unwrap();
    for (text, want) in [
        ("{}", "heartbeat.url_file: expected url or url_file"),
        ("{ url: hc.example }", "heartbeat.url: expected a URL"),
        ("{ url: 'http://a', url_file: b }", "heartbeat.url: expected one of"),
        ("{ url: 'http://a', interval: 0s }", "heartbeat.interval: expected 1s to 1d"),
        ("{ url: 'http://a', interval: 5s }", "heartbeat.timeout: expected more than 0s, at most"),
        ("{ url: 'http://a', intervall: 5s }", "did you mean `interval`?"),
    ] {
        let error = check(text).unwrap_err().to_string();
        assert!(error.contains(want), "{text}: {error}");
        assert!(!error.contains("hc.example"), "{error}");
    }
}

#[tokio::test]
async fn it_beats_while_there_is_proof_and_stops_without() {
    let beats: Arc<Mutex<Vec<String>>> = Arc::default();
    async fn take(State(beats): State<Arc<Mutex<Vec<String>>>>, method: Method) -> StatusCode {
        let mut beats = beats.lock().unwrap();
        beats.push(method.to_string());
        // The first is lost.
        if beats.len() == 1 { StatusCode::BAD_GATEWAY } else { StatusCode::OK }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/x", any(take)).with_state(Arc::clone(&beats));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    std::fs::write(&file, format!("http://{address}/x\n")).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let text = format!("{{ url_file: {}, interval: 1s, timeout: 1s }}", file.display());
    let config: HeartbeatConfig = yaml::parse(Path::new("f"), &text).unwrap();
    let view = View::default();
    view.fill(vec![group("dog", Some(clock::now()), true)]);
    let broken = Arc::new(Mutex::new(Vec::new()));
    let undelivered = Arc::clone(&broken);
    let proofs = Proofs {
        view: view.clone(),
        began: clock::now(),
        loops: Arc::new(Vec::new),
        undelivered: Arc::new(move |_| undelivered.lock().unwrap().clone()),
        failure_receiver: Some("mail".to_owned()),
    };
    let (metrics, stop) = (HeartbeatMetrics::default(), CancellationToken::new());
    let task = tokio::spawn(run(config, proofs, metrics.clone(), stop.clone()));
    let until = async |done: &dyn Fn() -> bool| {
        let deadline = time::Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(time::Instant::now() < deadline, "{:?}", beats.lock().unwrap());
            time::sleep(Duration::from_millis(10)).await;
        }
    };
    until(&|| metrics.sent.get() >= 1).await;
    assert_eq!(beats.lock().unwrap()[..2], ["POST", "POST"]);
    // Another receiver is told of a broken one; nobody is when that is broken too.
    let failing = |receiver: &str| (Labels::from_pairs([("receiver", receiver)]), 700.0);
    broken.lock().unwrap().push(failing("slack"));
    let sent = metrics.sent.get();
    until(&|| metrics.sent.get() > sent).await;
    assert_eq!(metrics.withheld.get(), 0);
    broken.lock().unwrap().push(failing("mail"));
    until(&|| metrics.withheld.get() > 0).await;
    broken.lock().unwrap().clear();
    let sent = metrics.sent.get();
    until(&|| metrics.sent.get() > sent).await;
    view.fill(Vec::new());
    let withheld = metrics.withheld.get();
    until(&|| metrics.withheld.get() > withheld).await;
    stop.cancel();
    task.await.unwrap();
}
