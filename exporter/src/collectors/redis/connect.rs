//! One connection to one Redis: TCP, TLS or a socket file, directly or by way of Sentinels.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, ProtocolVersion, RedisConnectionInfo, Value};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::config::{Place, Sentinel, Server, Tls, host_and_port, target};
use super::problem::{Problem, words};
use super::reply::text;
use crate::secret::Secret;

/// More bytes than this in the replies of one scrape are no longer read.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// An open connection; closed when it goes.
pub(super) struct Session {
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
    flow: Arc<Flow>,
    /// Commands sent since [`Session::count`].
    commands: u64,
}

/// What a connection's bytes tell, which the library does not: it calls each of its ends closed.
struct Flow {
    /// Bytes that may still be read.
    left: AtomicU64,
    /// Whether there were more.
    too_much: AtomicBool,
    /// Whether the other side, or the network, ended it.
    ended: AtomicBool,
}

impl Session {
    /// Opens a connection and signs in.
    ///
    /// `within` bounds the search among Sentinels; the caller bounds the whole.
    pub(super) async fn open(server: &Server, within: Duration) -> Result<Session, Problem> {
        let target = target(&server.url).expect("a checked configuration");
        let tls = target.tls.then(|| server.tls.clone().unwrap_or_default());
        let place = match &server.sentinel {
            Some(sentinel) => master(sentinel, tls.as_ref(), within).await?,
            None => target.place,
        };
        let credentials = (server.username.as_deref(), server.password_file.as_deref());
        Session::at(&place, tls.as_ref(), credentials, target.database).await
    }

    async fn at(
        place: &Place,
        tls: Option<&Tls>,
        (username, password_file): (Option<&str>, Option<&std::path::Path>),
        database: i64,
    ) -> Result<Session, Problem> {
        let mut info = RedisConnectionInfo::default()
            .set_db(database)
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        if let Some(file) = password_file {
            info = info.set_password(Secret::read(file)?.reveal());
            if let Some(username) = username {
                info = info.set_username(username);
            }
        }
        let flow = Arc::new(Flow {
            left: AtomicU64::new(MAX_BYTES),
            too_much: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let stream = Bounded { stream: dial(place, tls).await?, flow: Arc::clone(&flow) };
        // Our own deadline counts, over all that a scrape asks.
        let settings =
            AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let opened = MultiplexedConnection::new_with_config(&info, stream, settings).await;
        let (connection, driver) = opened.map_err(|error| flow.problem(&error))?;
        let driver = tokio::spawn(driver);
        let mut session = Session { connection, driver, flow, commands: 0 };
        // Alone, since a server that refuses a client says so once and closes: among several
        // commands the library would tell of the end only.
        let mut first = redis::pipe();
        first.cmd("HELLO");
        session.ask(&first).await?;
        Ok(session)
    }

    /// Sends all commands at once and returns as many replies, errors of single commands among
    /// them; an error that is about the whole server is one of the whole.
    pub(super) async fn ask(&mut self, commands: &Pipeline) -> Result<Vec<Value>, Problem> {
        let count = commands.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        self.commands += count as u64;
        let sent = self.connection.send_packed_commands(commands, 0, count).await;
        let replies = sent.map_err(|error| self.flow.problem(&error))?;
        if replies.len() != count {
            let text = format!("{} replies to {count} commands", replies.len());
            return Err(Problem::Protocol(text));
        }
        let errors = replies.iter().filter_map(|reply| match reply {
            Value::ServerError(error) => Problem::of_reply(error),
            _ => None,
        });
        errors.into_iter().next().map_or(Ok(replies), Err)
    }

    /// How many commands were sent since it was asked last; the next scrape may read anew.
    pub(super) fn count(&mut self) -> u64 {
        self.flow.left.store(MAX_BYTES, Ordering::Relaxed);
        std::mem::take(&mut self.commands)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Asks one Sentinel after the other where the master is.
async fn master(
    sentinel: &Sentinel,
    tls: Option<&Tls>,
    within: Duration,
) -> Result<Place, Problem> {
    let Sentinel { master, addresses, username, password_file } = sentinel;
    // Each gets its share, so that one that hangs leaves time for the others and for the master.
    let share = within / (u32::try_from(addresses.len()).unwrap_or(u32::MAX).saturating_add(1));
    let mut last = "none was asked".to_owned();
    for address in addresses {
        let asked = tokio::time::timeout(share, async {
            let place = host_and_port(address).expect("a checked configuration");
            let credentials = (username.as_deref(), password_file.as_deref());
            let mut session = Session::at(&place, tls, credentials, 0).await?;
            let mut ask = redis::pipe();
            ask.cmd("SENTINEL").arg("get-master-addr-by-name").arg(master);
            session.ask(&ask).await
        });
        last = match asked.await {
            Ok(Ok(replies)) => match replies.first() {
                Some(Value::Array(parts)) => match parts.as_slice() {
                    [host, port] => {
                        let place = text(host).zip(text(port).and_then(|port| port.parse().ok()));
                        match place {
                            Some((host, port)) => {
                                return Ok(Place::Tcp { host: host.to_owned(), port });
                            }
                            None => format!("{address} gives no address"),
                        }
                    }
                    _ => format!("{address} gives no address"),
                },
                Some(Value::ServerError(error)) => format!("{address}: {}", words(error)),
                _ => format!("{address} does not know it"),
            },
            Ok(Err(problem)) => format!("{address}: {problem}"),
            Err(_) => format!("{address} does not answer within {share:?}"),
        };
    }
    Err(Problem::Sentinel { master: master.clone(), text: last })
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

async fn dial(place: &Place, tls: Option<&Tls>) -> Result<Box<dyn Wire>, Problem> {
    let unreachable = |source| Problem::Unreachable { place: place.to_string(), source };
    let (host, port) = match place {
        Place::Unix(path) => {
            return Ok(Box::new(UnixStream::connect(path).await.map_err(unreachable)?));
        }
        Place::Tcp { host, port } => (host, *port),
    };
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let failed = |text: String| Problem::Tls { place: place.to_string(), text };
    let config = client_config(tls).map_err(failed)?;
    let name = tls.server_name.as_ref().unwrap_or(host).clone();
    let name = ServerName::try_from(name).map_err(|error| failed(error.to_string()))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    Ok(Box::new(connected.map_err(|error| failed(error.to_string()))?))
}

/// The error is a text with the file's name.
fn client_config(tls: &Tls) -> Result<ClientConfig, String> {
    let read = |path: &std::path::Path| {
        let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        certificates.map_err(|error| format!("{}: {error}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    let trusted: Vec<CertificateDer<'static>> = match &tls.ca_file {
        Some(file) => read(file)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(trusted);
    if roots.is_empty() {
        return Err(match &tls.ca_file {
            Some(file) => format!("{}: no certificate in it", file.display()),
            None => "this system has no authorities: `ca_file` names one".to_owned(),
        });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match (&tls.cert_file, &tls.key_file) {
        (Some(cert_file), Some(key_file)) => {
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|error| format!("{}: {error}", key_file.display()))?;
            let own = builder.with_client_auth_cert(read(cert_file)?, key);
            own.map_err(|error| format!("{}: {error}", cert_file.display()))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

impl Flow {
    fn problem(&self, error: &redis::RedisError) -> Problem {
        match Problem::of(error) {
            Problem::Closed(_) if self.too_much.load(Ordering::Relaxed) => {
                Problem::Protocol(format!("more than {MAX_BYTES} bytes in one scrape"))
            }
            Problem::Closed(_) if !self.ended.load(Ordering::Relaxed) => {
                Problem::Protocol("a reply cannot be read".to_owned())
            }
            other => other,
        }
    }

    /// Takes notice of what an operation on the stream gave.
    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = polled {
            self.ended.store(true, Ordering::Relaxed);
        }
        polled
    }
}

/// A stream that ends when too much has come: a server that never stops must not fill the memory.
struct Bounded {
    stream: Box<dyn Wire>,
    flow: Arc<Flow>,
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = (buffer.filled().len() - before) as u64;
        let left = self.flow.left.load(Ordering::Relaxed);
        if read > left {
            self.flow.too_much.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::Error::other("too much to read")));
        }
        self.flow.left.store(left - read, Ordering::Relaxed);
        if read == 0 && matches!(polled, Poll::Ready(Ok(()))) {
            self.flow.ended.store(true, Ordering::Relaxed);
        }
        self.flow.note(polled)
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.flow.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.flow.note(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
