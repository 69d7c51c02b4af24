//! Forged, replayed, oversized, truncated and wrongly typed deliveries, over a real socket.

use std::time::Duration;

use pitcrew_tests::deliveries::signature;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn refused(live: &Live, reason: &str) -> f64 {
    live.metric(&format!("{REFUSED}{{reason=\"{reason}\"}}")).await.unwrap()
}

/// What comes back for these bytes; the connection is then shut as far as we send.
async fn raw(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A server that has said no may close without reading on.
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn nothing_but_whole_signed_events_is_taken() {
    let stage = Stage::new();
    let live = stage.start().await;
    let hook = stage.hook();
    let body = job(1, "completed", clock::unix_seconds());
    let send = async |request: reqwest::RequestBuilder| {
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    // Forged.
    let forger = Hook::new(&live.url, "a guess");
    assert_eq!(send(forger.request("workflow_job", "a", &body)).await.0, 401);
    assert_eq!(send(hook.unsigned("workflow_job", "a", &body)).await.0, 401);
    let of_another = signature(SECRET, b"{}");
    let stolen =
        hook.unsigned("workflow_job", "a", &body).header("x-hub-signature-256", &of_another);
    assert_eq!(send(stolen).await.0, 401);
    assert_eq!((refused(&live, "signature").await, refused(&live, "unsigned").await), (2.0, 1.0));
    // Truncated, and signed so.
    let (cut, _) = body.split_at(body.len() / 2);
    let (status, text) = send(hook.request("workflow_job", "a", cut)).await;
    assert!(status == 422 && text.contains("expected JSON: EOF"), "{status} {text}");
    // Wrongly typed.
    for (from, to, want) in [
        ("\"id\":1,", "\"id\":\"one\",", "workflow_job.id: invalid type: string"),
        ("\"labels\":[", "\"labels\":[7,", "workflow_job.labels[0]: invalid type: integer `7`"),
        ("\"full_name\":", "\"full_nam\":", "repository: missing field `full_name`"),
    ] {
        let odd = body.replace(from, to);
        assert_ne!(odd, body, "{from}");
        let (status, text) = send(hook.request("workflow_job", "a", &odd)).await;
        assert!(status == 422 && text.contains(want), "{status} {text}");
    }
    assert_eq!(refused(&live, "payload").await, 4.0);
    // Oversized: refused by its head, before it has come.
    let tag = signature(SECRET, body.as_bytes());
    let head = |length: usize| {
        format!(
            "POST /webhooks/github HTTP/1.1\r\nhost: hooks.example.org\r\ncontent-type: \
             application/json\r\nx-github-event: workflow_job\r\nx-github-delivery: a\r\n\
             x-hub-signature-256: {tag}\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let answer = raw(&stage.address, head(3 << 20).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let large = format!("{}{}", " ".repeat(2 << 20), body);
    let answer = hook.request("workflow_job", "a", &large).send().await;
    assert!(answer.is_err() || answer.unwrap().status() == 413);
    assert_eq!(refused(&live, "too_large").await, 2.0);
    // A sender that goes away in the middle.
    raw(&stage.address, (head(body.len()) + cut).as_bytes()).await;
    let counted = async || refused(&live, "incomplete").await == 1.0;
    wait::until(PATIENCE, "an incomplete delivery", counted).await;

    assert_eq!(live.sum(ENDED).await, 0.0, "nothing of all this was counted");
    // And the same delivery as it should be, twice; as a form, a third time.
    assert_eq!(send(hook.request("workflow_job", "a", &body)).await.0, 202);
    assert_eq!(send(hook.request("workflow_job", "a", &body)).await.0, 200);
    let form: String =
        "payload=".to_owned() + &percent(&job(2, "completed", clock::unix_seconds()));
    let encoding = "application/x-www-form-urlencoded";
    let request = hook.request("workflow_job", "b", &form).build().unwrap();
    let mut request = request;
    request.headers_mut().insert("content-type", encoding.parse().unwrap());
    let answer = reqwest::Client::new().execute(request).await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!((live.sum(ENDED).await, live.sum(DUPLICATES).await), (2.0, 1.0));

    let page = live.text("/metrics").await;
    let log = live.log();
    for secret in [SECRET, &tag, &of_another, tag.trim_start_matches("sha256=")] {
        assert!(!page.contains(secret) && !log.contains(secret), "{secret} is told");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_in_time_and_scrapes_go_on() {
    let stage = Stage::new();
    let live = stage.start().await;
    let body = job(1, "completed", clock::unix_seconds());
    let tag = signature(SECRET, body.as_bytes());
    let head = format!(
        "POST /webhooks/github HTTP/1.1\r\nhost: a\r\nx-hub-signature-256: {tag}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let mut open = Vec::new();
    for _ in 0..70 {
        let mut stream = TcpStream::connect(&stage.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        open.push(stream);
    }
    // More than so many at a time are told to come again.
    let busy = async || refused(&live, "busy").await == 6.0;
    wait::until(PATIENCE, "refusals", busy).await;
    let answer = stage.hook().request("workflow_job", "a", &body).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers().contains_key("retry-after")),
        (503, true)
    );
    let slow = async || refused(&live, "slow").await == 64.0;
    wait::until(PATIENCE + Duration::from_secs(10), "an end of them", slow).await;
    assert_eq!(stage.hook().send("workflow_job", "a", &body).await, Some(202));
}

/// The signature is all that it takes: no user, no name, and nothing else is opened.
#[tokio::test]
async fn beyond_loopback_the_signature_is_enough_for_webhooks_alone() {
    let stage = Stage::new();
    stage.write("token", "scrape-token");
    let address = &stage.address;
    let text = format!(
        "{{ listen: '{address}', data_dir: data, github: {{ webhook_secret_file: secret }}, web: {{ \
         protect_loopback: true, users: {{ prometheus: {{ token_file: token }} }} }} }}"
    );
    stage.write("exporter.yaml", &text);
    let live = stage.start().await;
    let body = job(1, "completed", clock::unix_seconds());
    let status = async |path: &str| live.try_get(path).await.unwrap().0;
    assert_eq!((status("/metrics").await, status("/").await), (401, 401));
    let named =
        stage.hook().request("workflow_job", "a", &body).header("host", "hooks.example.org");
    assert_eq!(named.send().await.unwrap().status(), 202);
    let forger = Hook::new(&live.url, "a guess");
    assert_eq!(forger.send("workflow_job", "b", &body).await, Some(401));
    assert_eq!(status("/webhooks/github").await, 405);
    assert_eq!(status("/webhooks/github/more").await, 401);
}

/// As browsers and GitHub write a form.
fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
