//! Writes through the route: what is stored, what is refused, and who may send.

use axum::body::{Body, to_bytes};
use prometheus_client::registry::Registry;
use tower::ServiceExt;

use super::*;
use crate::model::labels::Labels;
use crate::model::querier::{Appended, Querier};
use crate::model::sample::{Sample, Timestamp, stale_marker};
use crate::remote::encode::{self, Body as Encoded};
use crate::tsdb::{Limits, Tsdb};

struct Full;

impl Appender for Full {
    fn append(&self, _: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        Err(StoreError::Unavailable("no space left on /dev/secret".to_owned()))
    }
}

fn receiver(store: Arc<dyn Appender>) -> Receiver {
    Receiver::new(store, ReceiveMetrics::new(&mut Registry::default()), Received::default())
}

fn request(kind: &str, body: Vec<u8>) -> Request {
    let request = Request::post("/api/v1/write").header(CONTENT_TYPE, kind);
    let request = request.header(CONTENT_ENCODING, "snappy").header(CONTENT_LENGTH, body.len());
    request.body(Body::from(body)).unwrap()
}

async fn send(
    receiver: &Receiver,
    anonymous: Anonymous,
    request: Request,
) -> (StatusCode, String, HeaderMap) {
    let answer = routes(receiver.clone(), anonymous).oneshot(request).await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = to_bytes(answer.into_body(), 10_000).await.unwrap();
    (status, String::from_utf8(text.to_vec()).unwrap(), headers)
}

fn at(time: Timestamp, value: f64) -> Sample {
    Sample { timestamp: time, value }
}

fn written(headers: &HeaderMap) -> Vec<&str> {
    WRITTEN.iter().filter_map(|name| headers.get(name)?.to_str().ok()).collect()
}

#[tokio::test]
async fn what_was_written_is_there_to_the_bit() {
    let store = Arc::new(Tsdb::new(Limits::default()));
    let receiver = receiver(store.clone());
    let now = clock::now();
    for (protocol, name, counts) in
        [(Protocol::V1, "one", vec![]), (Protocol::V2, "two", vec!["3", "0", "0"])]
    {
        let labels = Labels::from_pairs([("__name__", name), ("a", "b")]);
        let times = [3, 2, 1].map(|back| Timestamp(now.0 - back));
        let values = [f64::NAN, -0.0, stale_marker()];
        let samples: Vec<_> = times.into_iter().zip(values).map(|(t, v)| at(t, v)).collect();
        let mut body = Encoded::new(protocol);
        body.series(labels.iter(), &samples);
        let request = request(protocol.content_type(), body.finish());
        let (status, text, headers) = send(&receiver, Anonymous::Taken, request).await;
        assert_eq!((status, text.as_str()), (StatusCode::NO_CONTENT, ""));
        assert_eq!(written(&headers), counts);
        let found = store.select(&[], Timestamp(0), now).unwrap();
        let found = found.into_iter().find(|series| series.labels == labels).unwrap();
        let bits = |samples: &[Sample]| {
            samples.iter().map(|one| (one.timestamp, one.value.to_bits())).collect::<Vec<_>>()
        };
        assert_eq!(bits(&found.samples), bits(&samples));
    }
}

#[tokio::test]
async fn good_samples_are_stored_beside_refused_ones() {
    let store = Arc::new(Tsdb::new(Limits::default()));
    let receiver = receiver(store.clone());
    let now = clock::now();
    let before = |millis| Timestamp(now.0 - millis);
    let mut body = Encoded::new(Protocol::V2);
    let late = Timestamp(now.0 + 3_600_000);
    let times =
        [at(before(10), 1.0), at(before(20), 1.0), at(before(10), 2.0), at(before(10), 1.0)];
    body.series([("__name__", "m")], &times);
    body.series([("__name__", "m")], &[at(late, 1.0)]);
    body.series([("a", "b")], &[at(now, 1.0)]);
    body.series([("__name__", "n")], &[at(now, 1.0)]);
    let request = request(Protocol::V2.content_type(), body.finish());
    let (status, text, headers) = send(&receiver, Anonymous::Taken, request).await;
    let want = "4 of 7 samples refused: 1 duplicate, 1 out_of_order, 1 too_new, 1 bad_labels; \
                there is no __name__ in {a=\"b\"}\n";
    assert_eq!((status, text.as_str()), (StatusCode::BAD_REQUEST, want));
    assert_eq!(written(&headers), ["3", "0", "0"]);
    let names = store.label_values("__name__", &[], Timestamp(0), now).unwrap();
    assert_eq!(names, ["m", "n"]);
}

#[tokio::test]
async fn bad_requests() {
    let receiver = receiver(Arc::new(Full));
    let sample = (Labels::from_pairs([("__name__", "m")]), at(Timestamp(0), 1.0));
    let good = encode::samples(Protocol::V1, &[sample]);
    let v1 = Protocol::V1.content_type();
    let too_large = vec![0; MAX_BODY + 1];
    // It would be 4 GiB after decompression.
    let bomb = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let (unsupported, bad) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, StatusCode::BAD_REQUEST);
    for (request, status, text) in [
        (request("text/plain", good.clone()), unsupported, "expected application/x-protobuf"),
        (request("application/x-protobuf;proto=x", good.clone()), unsupported, "proto=io."),
        (
            Request::post("/api/v1/write")
                .header(CONTENT_ENCODING, "gzip")
                .body(Body::from(good.clone()))
                .unwrap(),
            unsupported,
            "expected snappy, found \"gzip\"",
        ),
        (request(v1, b"hello".to_vec()), bad, "not compressed with snappy"),
        (request(v1, vec![]), bad, "not compressed with snappy"),
        (
            request(v1, snap::raw::Encoder::new().compress_vec(b"hello").unwrap()),
            bad,
            "not a protobuf message",
        ),
        (request(v1, bomb), StatusCode::PAYLOAD_TOO_LARGE, "4294967295 bytes"),
        (request(v1, too_large), StatusCode::PAYLOAD_TOO_LARGE, "at most 16777216 bytes"),
        // Only this one reaches the store; what it says of itself stays in the log.
        (request(v1, good), StatusCode::SERVICE_UNAVAILABLE, "store is not available\n"),
    ] {
        let (got, body, headers) = send(&receiver, Anonymous::Taken, request).await;
        assert_eq!(got, status, "{body}");
        assert!(body.contains(text), "{body}");
        assert_eq!(headers.contains_key(RETRY_AFTER), got == StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn who_may_write() {
    use pitcrew_exporter::server::gate::Role;
    let receiver = receiver(Arc::new(Tsdb::new(Limits::default())));
    let user = |name: &str| Some(Caller { name: name.into(), role: Role::Viewer });
    for (anonymous, caller, want) in [
        (Anonymous::Taken, None, StatusCode::NO_CONTENT),
        (Anonymous::Taken, user("anonymous"), StatusCode::NO_CONTENT),
        (Anonymous::RefusedForPools, None, StatusCode::UNAUTHORIZED),
        (Anonymous::RefusedForPools, user("anonymous"), StatusCode::UNAUTHORIZED),
        (Anonymous::RefusedForPools, user("prometheus"), StatusCode::NO_CONTENT),
        (Anonymous::RefusedFromOutside, user("anonymous"), StatusCode::UNAUTHORIZED),
        (Anonymous::RefusedFromOutside, user("prometheus"), StatusCode::NO_CONTENT),
    ] {
        let sample = (Labels::from_pairs([("__name__", "m")]), at(clock::now(), 1.0));
        let body = encode::samples(Protocol::V1, &[sample]);
        let mut request = request(Protocol::V1.content_type(), body);
        if let Some(caller) = caller.clone() {
            request.extensions_mut().insert(caller);
        }
        let (status, text, _) = send(&receiver, anonymous, request).await;
        assert_eq!(status, want, "{anonymous:?} {caller:?}: {text}");
    }
}

#[tokio::test]
async fn more_bodies_than_there_is_memory_for_come_back_later() {
    let receiver = receiver(Arc::new(Tsdb::new(Limits::default())));
    let all = u32::try_from(BODIES).unwrap();
    let held = Arc::clone(&receiver.bodies).try_acquire_many_owned(all).unwrap();
    let body = || request(Protocol::V1.content_type(), encode::samples(Protocol::V1, &[]));
    let (status, _, headers) = send(&receiver, Anonymous::Taken, body()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers[RETRY_AFTER], "1");
    drop(held);
    assert_eq!(send(&receiver, Anonymous::Taken, body()).await.0, StatusCode::NO_CONTENT);
    assert_eq!(receiver.bodies.available_permits(), BODIES);
}
