//! A scrape target that answers as the test says, well or badly, and remembers what it was asked.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone)]
pub enum Answer {
    /// Content type and body.
    Page(&'static str, String),
    /// The same, compressed.
    Gzip(&'static str, Vec<u8>),
    /// A page of text for a request with this header, whose name is in lower case; 401 for others.
    Guarded(String, String),
    /// Status line and further headers.
    Status(String),
    /// Takes the request and says nothing.
    Hang,
    /// Sends a line every 50 ms for ever.
    Trickle,
    /// Sends this many bytes as fast as they are taken.
    Flood(usize),
}

/// Listens on loopback until it is dropped.
pub struct FakeTarget {
    /// `127.0.0.1:port`.
    pub address: String,
    answer: Arc<Mutex<Answer>>,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl FakeTarget {
    pub async fn start(answer: Answer) -> FakeTarget {
        FakeTarget::listen(answer, None).await
    }

    /// Speaks TLS.
    pub async fn start_tls(answer: Answer, tls: rustls::ServerConfig) -> FakeTarget {
        FakeTarget::listen(answer, Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    async fn listen(answer: Answer, tls: Option<TlsAcceptor>) -> FakeTarget {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (answer, seen) = (Arc::new(Mutex::new(answer)), Arc::default());
        let (shared, log) = (Arc::clone(&answer), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, log, tls) = (Arc::clone(&shared), Arc::clone(&log), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, shared, log).await,
                        Some(tls) => {
                            // A failed handshake is what some tests want.
                            let Ok(stream) = tls.accept(stream).await else { return };
                            serve(stream, shared, log).await;
                        }
                    }
                });
            }
        });
        FakeTarget { address, answer, seen, task }
    }

    pub async fn page(text: &str) -> FakeTarget {
        FakeTarget::start(Answer::Page(TEXT, text.to_owned())).await
    }

    pub fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// The heads of the requests so far, in lower case.
    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for FakeTarget {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Gzip of so many bytes of comments.
pub fn bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let line = [b'#'; 64 * 1024];
    for _ in 0..bytes / line.len() {
        encoder.write_all(&line).unwrap();
    }
    encoder.finish().unwrap()
}

pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Arc<Mutex<Answer>>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    seen.lock().unwrap().push(head.to_lowercase());
    let answer = answer.lock().unwrap().clone();
    // The other side may hang up at any time: that is what some tests want of it.
    reply(&mut stream, answer, &head).await.ok();
}

async fn reply(
    stream: &mut (impl AsyncWrite + Unpin),
    answer: Answer,
    request: &str,
) -> std::io::Result<()> {
    let head = |kind: &str, more: &str| {
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {kind}\r\n{more}\r\n")
    };
    match answer {
        Answer::Page(kind, body) => {
            stream.write_all((head(kind, "") + &body).as_bytes()).await?;
        }
        Answer::Gzip(kind, body) => {
            stream.write_all(head(kind, "content-encoding: gzip\r\n").as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Answer::Guarded(header, body) => {
            let has = request
                .lines()
                .filter_map(|line| line.split_once(": "))
                .any(|(name, value)| format!("{}: {value}", name.to_lowercase()) == header);
            let refused = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned();
            let text = if has { head(TEXT, "") + &body } else { refused };
            stream.write_all(text.as_bytes()).await?;
        }
        Answer::Status(line) => {
            let text = format!("HTTP/1.1 {line}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(text.as_bytes()).await?;
        }
        Answer::Hang => std::future::pending().await,
        Answer::Trickle => {
            stream.write_all(head(TEXT, "").as_bytes()).await?;
            loop {
                stream.write_all(b"# still here\n").await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Answer::Flood(bytes) => {
            stream.write_all(head(TEXT, "").as_bytes()).await?;
            let block = [b'#'; 64 * 1024];
            for _ in 0..bytes / block.len() {
                stream.write_all(&block).await?;
            }
        }
    }
    stream.shutdown().await
}
