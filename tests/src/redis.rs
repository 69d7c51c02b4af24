//! Debian's real Redis: started on loopback, killed, started again on the same port and data.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue};
use tempfile::TempDir;

use crate::peers;
use crate::process::{Process, free_address};
use crate::wait;

const LONG: Duration = Duration::from_secs(30);

/// A server, or a Sentinel, with its folder.
pub struct Redis {
    pub port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Redis {
    /// A server with these further settings (`--name value …`), ready to answer.
    pub async fn start(settings: &[&str]) -> Redis {
        let redis = Redis::starting(settings);
        redis.ready().await;
        redis
    }

    /// The same, not waited for.
    pub fn starting(settings: &[&str]) -> Redis {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let [number, path] = [port.to_string(), folder.path().display().to_string()];
        let fixed = ["--port", &number, "--bind", "127.0.0.1", "--dir", &path, "--loglevel"];
        let fixed = fixed.iter().chain(&["warning", "--save", "", "--appendonly", "yes"]);
        let arguments = fixed.chain(settings).map(|text| (*text).to_owned()).collect();
        let mut redis = Redis { port, folder, arguments, process: None };
        redis.run();
        redis
    }

    /// A Sentinel of one master on loopback.
    pub fn sentinel(master: &str, of: u16) -> Redis {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {master} 127.0.0.1 {of} 1\n\
             sentinel down-after-milliseconds {master} 500\nsentinel failover-timeout {master} 2000\n",
            folder.path().display()
        );
        std::fs::write(&file, text).unwrap();
        let arguments = vec![file.display().to_string(), "--sentinel".to_owned()];
        let mut redis = Redis { port, folder, arguments, process: None };
        redis.run();
        redis
    }

    fn run(&mut self) {
        let (program, libraries) = peers::redis("redis-server");
        self.process = Some(start(&program, &libraries, &self.arguments));
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        self.process.take().expect("it runs").kill().await;
    }

    /// After a kill: on the same port and data, with further settings.
    pub fn again(&mut self, settings: &[&str]) {
        self.arguments.extend(settings.iter().map(|text| (*text).to_owned()));
        self.run();
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").pid()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// A connection of the tests' own.
    pub async fn client(&self) -> MultiplexedConnection {
        self.try_client().await.unwrap()
    }

    async fn try_client(&self) -> redis::RedisResult<MultiplexedConnection> {
        let settings = AsyncConnectionConfig::new().set_response_timeout(Some(LONG));
        let client = Client::open(self.url())?;
        client.get_multiplexed_async_connection_with_config(&settings).await
    }

    /// Waits until it answers, with data.
    pub async fn ready(&self) {
        wait::until(LONG, "redis-server answers", async || match self.try_client().await {
            Ok(mut client) => {
                let answer: redis::RedisResult<String> =
                    redis::cmd("PING").query_async(&mut client).await;
                answer.is_ok()
            }
            Err(_) => false,
        })
        .await;
    }

    /// What a section of `INFO` says of a name.
    pub async fn info(&self, section: &str, name: &str) -> Option<String> {
        let text: String = ask(&mut self.client().await, &format!("INFO {section}")).await;
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned())
    }
}

/// prometheus-redis-exporter with these arguments.
pub fn redis_exporter(program: Option<PathBuf>, arguments: &[String]) -> Process {
    let (peer, libraries) = peers::redis("prometheus-redis-exporter");
    start(&program.unwrap_or(peer), &libraries, arguments)
}

/// One command, written as a person would; words are separated by spaces.
pub async fn ask<T: FromRedisValue>(client: &mut MultiplexedConnection, words: &str) -> T {
    try_ask(client, words).await.unwrap_or_else(|error| panic!("{words}: {error}"))
}

pub async fn try_ask<T: FromRedisValue>(
    client: &mut MultiplexedConnection,
    words: &str,
) -> redis::RedisResult<T> {
    let mut command = Cmd::new();
    for word in words.split_whitespace() {
        command.arg(word);
    }
    command.query_async(client).await
}

fn start(program: &Path, libraries: &Path, arguments: &[String]) -> Process {
    let first = [format!("LD_LIBRARY_PATH={}", libraries.display()), program.display().to_string()];
    // env becomes the program, so its process is the program's.
    let all: Vec<&String> = first.iter().chain(arguments).collect();
    Process::start(Path::new("/usr/bin/env"), &all)
}

fn free_port() -> u16 {
    let address = free_address();
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap()
}
