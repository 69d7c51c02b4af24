//! A scrape target that answers as the test says, well or badly, and remembers what it was asked.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone)]
pub enum Answer {
    /// Content type and body.
    Page(&'static str, String),
    /// The same, compressed.
    Gzip(&'static str, Vec<u8>),
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
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (answer, seen) = (Arc::new(Mutex::new(answer)), Arc::default());
        let (shared, log) = (Arc::clone(&answer), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Arc::clone(&shared), Arc::clone(&log)));
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

async fn serve(mut stream: TcpStream, answer: Arc<Mutex<Answer>>, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    seen.lock().unwrap().push(String::from_utf8_lossy(&head).to_lowercase());
    let answer = answer.lock().unwrap().clone();
    // The other side may hang up at any time: that is what some tests want of it.
    reply(&mut stream, answer).await.ok();
}

async fn reply(stream: &mut TcpStream, answer: Answer) -> std::io::Result<()> {
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
