//! Binding rules, slow clients and the stop, over real sockets.

use super::*;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn refuses_to_be_exposed() {
    let web = WebConfig::default();
    let refused = bind("0.0.0.0:0", &web, false).await;
    assert!(matches!(refused, Err(ServerError::Exposed { .. })), "{refused:?}");
    bind("0.0.0.0:0", &web, true).await.unwrap();
    bind("localhost:0", &web, false).await.unwrap();
    for listen in ["", "9610", "127.0.0.1:99999", "no such host:1"] {
        let refused = bind(listen, &web, false).await;
        assert!(matches!(refused, Err(ServerError::Bind { .. })), "{listen}: {refused:?}");
    }
    let tls = Tls { cert_file: "/no/cert".into(), key_file: "/no/key".into() };
    let web = WebConfig { tls: Some(tls), ..WebConfig::default() };
    let refused = bind("127.0.0.1:0", &web, false).await;
    assert!(matches!(refused, Err(ServerError::Pem { .. })), "{refused:?}");
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn serves_beside_half_open_connections_and_stops() {
    let bound = bind("127.0.0.1:0", &WebConfig::default(), false).await.unwrap();
    let address = bound.local_addr();
    let stop = CancellationToken::new();
    let router = Router::new().route("/", get(|| async { "hello" }));
    let server = tokio::spawn(serve(bound, router, stop.clone()));
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: 127").await.unwrap();
    let close = "GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    let answer = ask(address, close).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(200_000));
    let mut flood = TcpStream::connect(address).await.unwrap();
    // The server may close before it has taken everything.
    flood.write_all(long.as_bytes()).await.ok();
    let bad = ask(address, "NOT HTTP\r\n\r\n").await;
    assert!(bad.starts_with("HTTP/1.1 400"), "{bad}");
    stop.cancel();
    let end = tokio::time::timeout(Duration::from_secs(5), server).await;
    end.expect("stops within five seconds").unwrap().unwrap();
}
