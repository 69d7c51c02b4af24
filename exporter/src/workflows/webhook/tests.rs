//! Requests that are taken, and every reason for which one is not.

use axum::http::request::Builder;

use super::*;

const SECRET: &str = "It's a Secret to Everybody";
const BODY: &str = r#"{"action": "queued", "repository": {"full_name": "octo/shop"},
    "workflow_job": {"id": 7, "run_id": 3, "name": "test", "labels": [], "status": "queued"}}"#;

struct Door {
    webhook: Webhook,
    intake: Intake,
    _folder: tempfile::TempDir,
}

impl Door {
    fn new() -> Door {
        let folder = tempfile::tempdir().unwrap();
        let intake = Intake::open(folder.path(), std::sync::Arc::default()).unwrap();
        let webhook = Webhook::new(Some(&Secret::new(SECRET)));
        Door { webhook, intake, _folder: folder }
    }

    async fn ask(&self, request: Builder, body: impl Into<Body>) -> Response {
        self.webhook.receive(&self.intake, request.body(body.into()).unwrap()).await
    }

    fn count(&self, name: &str, label: &str) -> f64 {
        let mut out = Families::default();
        self.webhook.families(&mut out);
        let family = out.iter().find(|family| family.name == name).unwrap();
        let found = family.samples.iter().find(|sample| sample.labels.contains(label));
        found.unwrap_or_else(|| panic!("{name} has no {label}")).value
    }
}

fn sign(body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body);
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

fn signed(body: &[u8], delivery: &str) -> Builder {
    Request::post(PATH)
        .header("content-type", "application/json")
        .header("x-github-event", "workflow_job")
        .header("x-github-delivery", delivery)
        .header("x-hub-signature-256", sign(body))
}

/// GitHub's documentation gives this secret, body and signature.
#[test]
fn the_published_signature_fits() {
    let published = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(sign(b"Hello, World!"), published);
    assert_eq!(tag(published).map(|tag| tag[..2].to_vec()), Some(vec![0x75, 0x71]));
    assert_eq!(tag(&published.to_uppercase().replace("SHA256", "sha256")), tag(published));
    for wrong in [
        "",
        "sha256=",
        "sha1=757107ea",
        published.strip_suffix('7').unwrap(),
        &published.replace('7', "x"),
    ] {
        assert_eq!(tag(wrong), None, "{wrong}");
    }
}

#[tokio::test]
async fn what_is_signed_is_taken_once() {
    let door = Door::new();
    for (delivery, want) in [("a", 202), ("a", 200), ("b", 202)] {
        let answer = door.ask(signed(BODY.as_bytes(), delivery), BODY).await;
        assert_eq!(answer.status(), want, "{delivery}");
    }
    for (kind, body) in [("ping", "{}"), ("fork", "{}"), ("new_one", "no JSON at all")] {
        let mut request = signed(body.as_bytes(), "c");
        request.headers_mut().unwrap().insert("x-github-event", kind.parse().unwrap());
        assert_eq!(door.ask(request, body).await.status(), 202, "{kind}");
    }
    let name = "pitcrew_exporter_webhook_deliveries_total";
    for (kind, want) in
        [("workflow_job", 2.0), ("ping", 1.0), ("other", 2.0), ("workflow_run", 0.0)]
    {
        assert_eq!(door.count(name, &format!("\"{kind}\"")), want, "{kind}");
    }
    assert_eq!(door.count("pitcrew_exporter_webhook_duplicates_total", ""), 1.0);
    let answers = "pitcrew_exporter_webhook_answer_duration_seconds";
    assert_eq!(door.count(answers, "+Inf"), 6.0);
}

#[tokio::test]
async fn what_is_refused_is_counted_by_reason() {
    let body = BODY.as_bytes();
    let with = |name: &'static str, value: &str| {
        let mut request = signed(body, "d");
        request.headers_mut().unwrap().insert(name, value.parse().unwrap());
        request
    };
    let without = |name: &'static str| {
        let mut request = signed(body, "d");
        request.headers_mut().unwrap().remove(name);
        request
    };
    let forged = sign(b"another body");
    let large = (MAX_BODY + 1).to_string();
    let odd = BODY.replace("\"id\": 7", "\"id\": \"7\"");
    let chunks = futures_of(MAX_BODY + 1);
    let door = Door::new();
    for (request, body, status, reason) in [
        (without("x-hub-signature-256"), Body::from(BODY), 401, "unsigned"),
        (with("x-hub-signature-256", &forged), BODY.into(), 401, "signature"),
        (with("x-hub-signature-256", "sha256=00"), BODY.into(), 401, "signature"),
        (signed(body, "d"), Body::from(BODY.strip_suffix('}').unwrap()), 401, "signature"),
        (with("content-length", &large), Body::empty(), 413, "too_large"),
        (signed(body, "d"), chunks, 413, "too_large"),
        (signed(body, "d"), broken(), 400, "incomplete"),
        (with("content-type", "text/plain"), BODY.into(), 415, "content_type"),
        (without("x-github-delivery"), BODY.into(), 400, "header"),
        (without("x-github-event"), BODY.into(), 400, "header"),
        (signed(odd.as_bytes(), "d"), odd.clone().into(), 422, "payload"),
    ] {
        let name = "pitcrew_exporter_webhook_refused_total";
        let before = door.count(name, &format!("\"{reason}\""));
        let answer = door.ask(request, body).await;
        assert_eq!(answer.status(), status, "{reason}");
        assert_eq!(door.count(name, &format!("\"{reason}\"")), before + 1.0, "{reason}");
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains(&sign(BODY.as_bytes())) && !text.contains(&forged), "{text}");
        assert!(reason != "payload" || text.starts_with("workflow_job.id: "), "{text}");
    }
    let answer = door.ask(signed(body, "d"), BODY).await;
    assert_eq!(answer.status(), 202, "none of these was taken for the delivery");
}

#[tokio::test]
async fn a_crowd_is_told_to_come_again() {
    let door = Door::new();
    let _all = door.webhook.places.acquire_many(UNDER_WAY as u32).await.unwrap();
    let answer = door.ask(signed(BODY.as_bytes(), "a"), BODY).await;
    assert_eq!(
        (answer.status(), answer.headers().get(RETRY_AFTER)),
        (StatusCode::SERVICE_UNAVAILABLE, Some(&AGAIN))
    );
}

#[tokio::test]
async fn without_a_secret_there_is_no_door() {
    let door = Door::new();
    let get = || Request::get(PATH);
    assert_eq!(door.ask(get(), Body::empty()).await.status(), 405);
    door.webhook.set_secret(None);
    for request in [get(), signed(BODY.as_bytes(), "a")] {
        assert_eq!(door.ask(request, BODY).await.status(), 404);
    }
    let mut out = Families::default();
    door.webhook.families(&mut out);
    assert_eq!(out.iter().count(), 0);
    door.webhook.set_secret(Some(&Secret::new("another")));
    assert_eq!(door.ask(signed(BODY.as_bytes(), "a"), BODY).await.status(), 401);
}

/// A body that does not say its length.
fn futures_of(bytes: usize) -> Body {
    Body::new(
        http_body_util::Full::new(axum::body::Bytes::from(vec![b' '; bytes]))
            .map_err(|never: std::convert::Infallible| -> std::io::Error { match never {} }),
    )
}

/// A body whose sender goes away.
fn broken() -> Body {
    struct Broken;
    impl axum::body::HttpBody for Broken {
        type Data = axum::body::Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
            std::task::Poll::Ready(Some(Err(std::io::ErrorKind::UnexpectedEof.into())))
        }
    }
    Body::new(Broken)
}
