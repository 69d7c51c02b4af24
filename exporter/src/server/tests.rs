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
        assert!(matches!(refused, Err(ServerError::Address { .. })), "{listen}: {refused:?}");
    }
    let bound = bind("127.0.0.1:0", &web, false).await.unwrap();
    let taken = bound.local_addr().to_string();
    let refused = bind(&taken, &web, false).await;
    assert!(matches!(refused, Err(ServerError::Bind { .. })), "{refused:?}");
    // `check` says the same about all but the socket.
    check(&taken, &web, false).await.unwrap();
    assert!(matches!(check("0.0.0.0:0", &web, false).await, Err(ServerError::Exposed { .. })));
    check("0.0.0.0:0", &web, true).await.unwrap();
    assert!(matches!(check("9610", &web, true).await, Err(ServerError::Address { .. })));
    let tls = Tls { cert_file: "/no/cert".into(), key_file: "/no/key".into() };
    let web = WebConfig { tls: Some(tls), ..WebConfig::default() };
    let refused = bind("127.0.0.1:0", &web, false).await;
    assert!(matches!(refused, Err(ServerError::Pem { .. })), "{refused:?}");
    assert!(matches!(check("127.0.0.1:0", &web, false).await, Err(ServerError::Pem { .. })));
}

/// Users that were named are asked for wherever they were meant, TLS or not.
#[tokio::test]
async fn users_are_asked_for_without_tls_too() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "t0ken\n").unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let user = User { password_file: None, token_file: Some(token), role: Role::Viewer };
    let users = BTreeMap::from([("prometheus".to_owned(), user)]);
    for (listen, users, protect_loopback, want) in [
        ("127.0.0.1:0", &users, false, "HTTP/1.1 200"),
        ("127.0.0.1:0", &users, true, "HTTP/1.1 401"),
        ("0.0.0.0:0", &users, false, "HTTP/1.1 401"),
        ("0.0.0.0:0", &BTreeMap::new(), false, "HTTP/1.1 200"),
        ("0.0.0.0:0", &BTreeMap::new(), true, "HTTP/1.1 401"),
    ] {
        let web = WebConfig { users: users.clone(), protect_loopback, ..WebConfig::default() };
        let bound = bind(listen, &web, true).await.unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], bound.local_addr().port()));
        let stop = CancellationToken::new();
        let router = Router::new().route("/", get(|| async { "hello" }));
        let server = tokio::spawn(serve(bound, router, stop.clone()));
        let request = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let answer = ask(address, request).await;
        assert!(answer.starts_with(want), "{listen} {web:?}: {answer}");
        stop.cancel();
        server.await.unwrap().unwrap();
    }
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

/// The answer comes when the whole body has been sent, however early it was clear.
#[tokio::test]
async fn who_sends_too_much_is_told_so() {
    let bound =
        bind("127.0.0.1:0", &WebConfig::default(), false).await.unwrap().with_read_only("/");
    let address = bound.local_addr();
    let stop = CancellationToken::new();
    let router = Router::new().route("/", axum::routing::post(|_: String| async { "taken" }));
    let server = tokio::spawn(serve(bound, router, stop.clone()));
    // axum's own limit is 2 MiB.
    let (body, chunk) = ("x".repeat(16 << 20), "10000\r\n".to_owned() + &"x".repeat(0x10000));
    let chunks = format!("{}0\r\n\r\n", format!("{chunk}\r\n").repeat(256));
    let sized = format!("content-length: {}\r\n\r\n{body}", body.len());
    for (rest, want) in [
        (sized, "HTTP/1.1 413"),
        (format!("transfer-encoding: chunked\r\n\r\n{chunks}"), "HTTP/1.1 413"),
        ("content-length: 2\r\n\r\nok".to_owned(), "HTTP/1.1 200"),
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{rest}");
        let answer = ask(address, &request).await;
        assert!(answer.starts_with(want), "{answer}");
    }
    stop.cancel();
    server.await.unwrap().unwrap();
}

/// A self-signed certificate for localhost, made for this test alone.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[tokio::test]
async fn speaks_tls_and_asks_for_credentials_beyond_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "t0ken\n").unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let tls = Tls { cert_file: fixture("localhost.pem"), key_file: fixture("localhost.key") };
    let user = User { password_file: None, token_file: Some(token), role: Role::Viewer };
    let users = BTreeMap::from([("prometheus".to_owned(), user)]);
    let web = WebConfig { tls: Some(tls), users, ..WebConfig::default() };
    let bound = bind("0.0.0.0:0", &web, false).await.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], bound.local_addr().port()));
    let stop = CancellationToken::new();
    let router = Router::new().route("/", get(|| async { "hello" }));
    let server = tokio::spawn(serve(bound, router, stop.clone()));
    // One that never says its part of the handshake, and one that speaks plain HTTP.
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    for (header, want) in [
        ("", "HTTP/1.1 401"),
        ("authorization: Bearer wrong\r\n", "HTTP/1.1 401"),
        ("authorization: Bearer t0ken\r\nhost: any.example\r\n", "HTTP/1.1 200"),
    ] {
        let mut stream = connect(address).await;
        let request = format!("GET / HTTP/1.1\r\n{header}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(want), "{header}: {answer}");
    }
    stop.cancel();
    server.await.unwrap().unwrap();
}

async fn connect(address: SocketAddr) -> tokio_rustls::client::TlsStream<TcpStream> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture("localhost.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}
