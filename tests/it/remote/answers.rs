//! The sender against a receiver that answers as it likes.

use std::path::Path;
use std::sync::Arc;

use pitcrew_alertd::clock;
use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::metadata::{About, Kind, Metadata};
use pitcrew_alertd::model::querier::{Appender, Querier};
use pitcrew_alertd::model::sample::{Sample, Timestamp};
use pitcrew_alertd::remote::config::RemoteWriteConfig;
use pitcrew_alertd::remote::forward::Forwarding;
use pitcrew_alertd::remote::metrics::SendMetrics;
use pitcrew_alertd::remote::{Protocol, receive, send};
use pitcrew_alertd::tsdb::{Limits, Tsdb};
use pitcrew_exporter::config::yaml;
use pitcrew_exporter::exposition::{Format, registry_families, render};
use pitcrew_tests::fake_source::{Asked, FakeSource, Reply};
use pitcrew_tests::live::PATIENCE;
use pitcrew_tests::process::tls;
use pitcrew_tests::wait;
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Sender {
    store: Forwarding,
    registry: Registry,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What two targets say.
fn scraped() -> Vec<Arc<Metadata>> {
    let page = |help: &str| {
        let m = ("m".into(), About::new(Kind::Gauge, help, ""));
        let h = ("h_seconds".into(), About::new(Kind::Histogram, "how long", "seconds"));
        Arc::new(Metadata::from([m, h]))
    };
    vec![page("one"), page("two")]
}

impl Sender {
    fn start(folder: &Path, url: &str, more: &str) -> Sender {
        tls();
        let text = format!(
            "{{ url: '{url}/api/v1/write', name: r, remote_timeout: 300ms,
                queue_config: {{ batch_send_deadline: 200ms, min_backoff: 5ms, max_backoff: 20ms }} {more} }}"
        );
        let config: RemoteWriteConfig = yaml::parse(Path::new("f"), &text).unwrap();
        let mut registry = Registry::default();
        let store = Arc::new(Tsdb::new(Limits::default()));
        let store = Forwarding::new(store, SendMetrics::new(&mut registry));
        store.configure(std::slice::from_ref(&config), folder).unwrap();
        let (outlet, stop) = (Arc::clone(&store.outlets()[0]), CancellationToken::new());
        let labels = Labels::from_pairs([("site", "lab")]);
        let task = tokio::spawn(send::run(outlet, config, labels, Arc::new(scraped), stop.clone()));
        Sender { store, registry, stop, task }
    }

    fn append(&self, name: &str, time: i64) {
        let labels = Labels::from_pairs([("__name__", name)]);
        let sample = Sample { timestamp: Timestamp(time), value: time as f64 };
        assert_eq!(self.store.append(&[(labels, sample)]).unwrap().accepted, 1);
    }

    fn metric(&self, name: &str) -> f64 {
        let page = render(&registry_families(&self.registry), Format::Text004);
        let name = format!("pitcrew_alertd_remote_write_{name} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Names and times of what a request holds.
fn read(asked: &Asked) -> Vec<(String, i64)> {
    let protocol = Protocol::of_content_type(&asked.headers["content-type"]).unwrap();
    let store = Tsdb::new(Limits::default());
    receive::write(protocol, &asked.body, &store, clock::now()).unwrap();
    let series = store.select(&[], Timestamp(i64::MIN), Timestamp(i64::MAX)).unwrap();
    let mut found = Vec::new();
    for series in series {
        assert_eq!(series.labels.get("site"), Some("lab"));
        let name = series.labels.metric_name().unwrap().to_owned();
        found.extend(series.samples.iter().map(|sample| (name.clone(), sample.timestamp.0)));
    }
    found.sort_by_key(|(_, time)| *time);
    found
}

fn nothing(status: &'static str) -> Reply {
    Reply::Header(status, "x: y".to_owned())
}

#[tokio::test]
async fn what_may_succeed_later_is_sent_until_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = FakeSource::start().await;
    receiver.always(nothing("204 No Content"));
    receiver.next([
        nothing("503 Busy"),
        Reply::Header("429 Too Many", "retry-after: 0".to_owned()),
        Reply::Close,
        Reply::Hang,
        nothing("500 Broken"),
    ]);
    let sender = Sender::start(folder.path(), &receiver.url, "");
    sender.append("m", 1);
    wait::until(PATIENCE, "it is sent", async || {
        sender.metric("sent_samples_total{remote=\"r\"}") == 1.0
    })
    .await;
    let asked = receiver.take();
    assert_eq!(asked.len(), 6);
    for one in &asked {
        assert_eq!(read(one), [("m".to_owned(), 1)]);
        let header = |name: &str| one.headers[name].as_str();
        assert_eq!((one.method.as_str(), one.path.as_str()), ("POST", "/api/v1/write"));
        assert_eq!(header("content-encoding"), "snappy");
        assert_eq!(header("x-prometheus-remote-write-version"), "0.1.0");
    }
    assert_eq!(sender.metric("retried_samples_total{remote=\"r\"}"), 5.0);
    wait::until(PATIENCE, "nothing waits", async || {
        sender.metric("pending_samples{remote=\"r\"}") == 0.0
    })
    .await;
    sender.end().await;
}

#[tokio::test]
async fn what_is_refused_is_counted_and_costs_no_other_sample() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = FakeSource::start().await;
    receiver.always(nothing("503 Away"));
    let sender = Sender::start(folder.path(), &receiver.url, "");
    for time in 1..=3 {
        sender.append("m", time);
    }
    wait::until(PATIENCE, "a try", async || !receiver.take().is_empty()).await;
    sender.end().await;

    // Three records in one request, which is refused; of its parts, the second one again.
    receiver.take();
    receiver.next(["400 Bad", "204 Good", "400 Bad", "204 Good"].map(nothing));
    let more = ", headers: { x-scope-orgid: ci }, authorization: { credentials: hunter2 }";
    let sender = Sender::start(folder.path(), &receiver.url, more);
    wait::until(PATIENCE, "all are settled", async || {
        sender.metric("pending_samples{remote=\"r\"}") == 0.0
            && sender.metric("sent_samples_total{remote=\"r\"}") == 2.0
    })
    .await;
    assert_eq!(sender.metric("dropped_samples_total{remote=\"r\",reason=\"refused\"}"), 1.0);
    let asked = receiver.take();
    let times = |one: &Asked| read(one).iter().map(|(_, time)| *time).collect::<Vec<_>>();
    let times: Vec<_> = asked.iter().map(times).collect();
    assert_eq!(times, [vec![1, 2, 3], vec![1], vec![2], vec![3]]);
    assert_eq!(asked[0].headers["x-scope-orgid"], "ci");
    assert_eq!(asked[0].headers["authorization"], "Bearer hunter2");
    sender.end().await;
}

#[tokio::test]
async fn version_two_counts_what_the_receiver_says_that_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = FakeSource::start().await;
    let written = |count| {
        let header = format!("x-prometheus-remote-write-samples-written: {count}");
        Reply::Header("204 No Content", header)
    };
    receiver.always(written(1));
    // The second one understands nothing of version 2.0.
    receiver.next([written(1), nothing("204 No Content")]);
    let protocol = ", protobuf_message: io.prometheus.write.v2.Request";
    let sender = Sender::start(folder.path(), &receiver.url, protocol);
    for time in 1..=3 {
        sender.append("m", time);
        wait::until(PATIENCE, "it is settled", async || {
            sender.metric("pending_samples{remote=\"r\"}") == 0.0
        })
        .await;
    }
    let asked = receiver.take();
    assert_eq!(asked.iter().map(read).collect::<Vec<_>>().concat().len(), 3);
    assert_eq!(asked[0].headers["x-prometheus-remote-write-version"], "2.0.0");
    assert_eq!(sender.metric("sent_samples_total{remote=\"r\"}"), 2.0);
    assert_eq!(sender.metric("dropped_samples_total{remote=\"r\",reason=\"not_written\"}"), 1.0);
    sender.end().await;
}

#[tokio::test]
async fn what_waits_at_the_end_is_sent_by_the_next_run_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = FakeSource::start().await;
    receiver.always(nothing("503 Away"));
    let sender = Sender::start(folder.path(), &receiver.url, "");
    for time in 1..=50 {
        sender.append("m", time);
    }
    wait::until(PATIENCE, "a try", async || !receiver.take().is_empty()).await;
    sender.end().await;

    receiver.always(nothing("204 No Content"));
    receiver.take();
    let sender = Sender::start(folder.path(), &receiver.url, "");
    sender.append("m", 51);
    wait::until(PATIENCE, "all are sent", async || {
        sender.metric("sent_samples_total{remote=\"r\"}") == 51.0
    })
    .await;
    let times: Vec<_> = receiver.take().iter().flat_map(read).map(|(_, time)| time).collect();
    assert_eq!(times, (1..=51).collect::<Vec<_>>());
    sender.end().await;
}

#[tokio::test]
async fn version_one_tells_about_metrics_in_requests_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = FakeSource::start().await;
    receiver.always(nothing("204 No Content"));
    let more = ", metadata_config: { send_interval: 50ms, max_samples_per_send: 2 }";
    let sender = Sender::start(folder.path(), &receiver.url, more);
    wait::until(PATIENCE, "a second round", async || {
        sender.metric("sent_metadata_total{remote=\"r\"}") >= 6.0
    })
    .await;
    receiver.always(nothing("503 Away"));
    wait::until(PATIENCE, "a round that fails", async || {
        sender.metric("failed_metadata_total{remote=\"r\"}") >= 2.0
    })
    .await;
    sender.end().await;
    let said: Vec<_> = receiver.take().iter().take(3).map(about).collect();
    let page = scraped()[0].clone();
    let h = ("h_seconds".into(), page["h_seconds"].clone());
    let m = |help| ("m".into(), About::new(Kind::Gauge, help, ""));
    let rounds = [vec![h.clone(), m("one")], vec![m("two")], vec![h, m("one")]];
    assert_eq!(said, rounds.map(Metadata::from_iter));

    let sender = Sender::start(folder.path(), &receiver.url, ", metadata_config: { send: false }");
    receiver.take();
    receiver.always(nothing("204 No Content"));
    sender.append("m", 1);
    wait::until(PATIENCE, "it is sent", async || {
        sender.metric("sent_samples_total{remote=\"r\"}") == 1.0
    })
    .await;
    sender.end().await;
    assert_eq!(receiver.take().iter().map(about).collect::<Vec<_>>(), [Metadata::default()]);
}

#[tokio::test]
async fn version_two_tells_about_metrics_in_each_series() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = FakeSource::start().await;
    let written = "x-prometheus-remote-write-samples-written: 1";
    receiver.always(Reply::Header("204 No Content", written.to_owned()));
    let more = ", protobuf_message: io.prometheus.write.v2.Request";
    let sender = Sender::start(folder.path(), &receiver.url, more);
    for (name, want) in [("m", Some("m")), ("h_seconds_bucket", Some("h_seconds")), ("x", None)] {
        // The first one may come before what is known has been gathered.
        let mut time = 0;
        let want = Metadata::from_iter(want.map(|name| (name.into(), scraped()[0][name].clone())));
        wait::until(PATIENCE, name, async || {
            time += 1;
            sender.append(name, time);
            let sent = async || sender.metric("pending_samples{remote=\"r\"}") == 0.0;
            wait::until(PATIENCE, "it is sent", sent).await;
            receiver.take().iter().map(about).any(|said| said == want)
        })
        .await;
    }
    sender.end().await;
}

/// What a request says about metrics.
fn about(asked: &Asked) -> Metadata {
    let protocol = Protocol::of_content_type(&asked.headers["content-type"]).unwrap();
    let store = Tsdb::new(Limits::default());
    receive::write(protocol, &asked.body, &store, clock::now()).unwrap().metadata
}
