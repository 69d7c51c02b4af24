//! A Prometheus-compatible API that answers as the test says, and remembers what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::process::tls;
use crate::programs::workspace;

#[derive(Debug, Clone)]
pub enum Reply {
    /// Status line such as `200 OK`, content type and body.
    Body(&'static str, &'static str, String),
    /// Status line and one header.
    Header(&'static str, String),
    /// Says that the body is longer than it is, and closes.
    Cut(String),
    /// This many bytes.
    Flood(usize),
    /// Takes the request and says nothing.
    Hang,
    /// Takes the request and closes.
    Close,
}

#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// Listens on loopback until it is dropped.
pub struct FakeSource {
    pub url: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

struct State {
    asked: Vec<Asked>,
    next: VecDeque<Reply>,
    always: Reply,
}

impl Reply {
    pub fn json(status: &'static str, body: &str) -> Reply {
        Reply::Body(status, "application/json", body.to_owned())
    }

    /// A vector of one element without labels.
    pub fn one(value: &str) -> Reply {
        let result = format!(r#"[{{"metric":{{}},"value":[1,"{value}"]}}]"#);
        let data = format!(r#"{{"resultType":"vector","result":{result}}}"#);
        Reply::json("200 OK", &format!(r#"{{"status":"success","data":{data}}}"#))
    }

    /// An error in Prometheus' form.
    pub fn error(status: &'static str, kind: &str) -> Reply {
        let body = format!(r#"{{"status":"error","errorType":"{kind}","error":"no"}}"#);
        Reply::json(status, &body)
    }
}

impl FakeSource {
    pub async fn start() -> FakeSource {
        FakeSource::listen(None).await
    }

    /// With the certificate [`certificate`], for `localhost`.
    pub async fn with_tls() -> FakeSource {
        tls();
        let certificate = CertificateDer::from_pem_file(certificate()).unwrap();
        let key = PrivateKeyDer::from_pem_file(certificate_key()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate], key).unwrap();
        FakeSource::listen(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn listen(acceptor: Option<TlsAcceptor>) -> FakeSource {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = match acceptor {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let always = Reply::one("1");
        let state = State { asked: Vec::new(), next: VecDeque::new(), always };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (state, acceptor) = (Arc::clone(&shared), acceptor.clone());
                connections.spawn(async move {
                    // The other side may hang up at any time: some tests want it to.
                    match acceptor {
                        None => serve(stream, &state).await.ok(),
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => serve(stream, &state).await.ok(),
                            Err(_) => None,
                        },
                    };
                });
            }
        });
        FakeSource { url, state, task }
    }

    /// Answers the next requests like this, one each, before what `always` says.
    pub fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.lock().unwrap().next.extend(replies);
    }

    pub fn always(&self, reply: Reply) {
        self.state.lock().unwrap().always = reply;
    }

    /// What it was asked since the last call.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

impl Drop for FakeSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a client has to trust to reach [`FakeSource::with_tls`].
pub fn certificate() -> std::path::PathBuf {
    fixtures().join("localhost.pem")
}

fn certificate_key() -> std::path::PathBuf {
    fixtures().join("localhost.key")
}

fn fixtures() -> std::path::PathBuf {
    workspace().join(Path::new("exporter/tests/fixtures"))
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or("").split(' ').map(str::to_owned);
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let reply = {
        let mut state = state.lock().unwrap();
        state.asked.push(Asked { method, path, headers, body });
        let always = state.always.clone();
        state.next.pop_front().unwrap_or(always)
    };
    let head = |status: &str, more: &str, length: usize| {
        format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\n{more}\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    match reply {
        Reply::Body(status, kind, body) => {
            let head = head(status, &format!("content-type: {kind}"), body.len());
            stream.write_all((head + &body).as_bytes()).await?;
        }
        Reply::Header(status, header) => {
            stream.write_all(head(status, &header, 0).as_bytes()).await?;
        }
        Reply::Cut(body) => {
            let head = head("200 OK", "content-type: application/json", body.len() + 1);
            stream.write_all((head + &body).as_bytes()).await?;
        }
        Reply::Flood(bytes) => {
            stream.write_all(head("200 OK", "a: b", bytes).as_bytes()).await?;
            let block = [b' '; 64 * 1024];
            for _ in 0..bytes / block.len() {
                stream.write_all(&block).await?;
            }
        }
        Reply::Hang => std::future::pending().await,
        Reply::Close => {}
    }
    stream.shutdown().await
}
