//! A program that runs as a user runs it: flags, configuration file, signals, exit code, HTTP.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use pitcrew_exporter::clock;
use reqwest::{Client, Url};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::process::tls;
use crate::wait;

/// Much longer than anything here should take, on a machine with other things to do.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a program that ended left.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs a program to its end, which must come by itself.
pub async fn finish(program: &Path, arguments: &[&str]) -> Finished {
    let work =
        Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, work).await;
    let output = output.unwrap_or_else(|_| panic!("{program:?} {arguments:?} does not end"));
    let output = output.unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Finished { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// A program that serves; killed when its handle goes.
pub struct Live {
    pub url: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
    client: Client,
}

impl Live {
    /// Starts it and does not wait. `address` is where it will listen; what it prints goes to files
    /// in `folder`.
    #[track_caller]
    pub fn start(program: &Path, arguments: &[&str], address: &str, folder: &Path) -> Live {
        tls();
        let (out, err) = (folder.join("stdout"), folder.join("stderr"));
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let client = Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
        Live { url: format!("http://{address}"), child, out, err, client }
    }

    /// Starts it and waits until it says that it is ready.
    pub async fn ready(program: &Path, arguments: &[&str], address: &str, folder: &Path) -> Live {
        let mut live = Live::start(program, arguments, address, folder);
        let start = clock::monotonic();
        while live.try_get("/-/ready").await.is_none_or(|(status, _)| status != 200) {
            let ended = live.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", live.log());
            assert!(start.elapsed() < PATIENCE, "not ready: {}", live.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        live
    }

    pub async fn try_get(&self, path: &str) -> Option<(u16, String)> {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    #[track_caller]
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// A page that must be there.
    pub async fn text(&self, path: &str) -> String {
        let (status, text) = self.try_get(path).await.expect("the program answers");
        assert_eq!(status, 200, "{path}: {text}");
        text
    }

    pub async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    /// The value of the only series that the expression gives now.
    pub async fn value(&self, expression: &str) -> Option<f64> {
        let query = [("query", expression)];
        let url = Url::parse_with_params(&format!("{}/api/v1/query", self.url), &query).unwrap();
        let answer = self.client.get(url).send().await.ok()?;
        let answer: Value = answer.json().await.ok()?;
        match answer["data"]["result"].as_array()?.as_slice() {
            [one] => one["value"][1].as_str()?.parse().ok(),
            _ => None,
        }
    }

    /// The sample of this name, with its labels if it has some, on the program's own page.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let (_, page) = self.try_get("/metrics").await?;
        let mut lines = page.lines();
        let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    /// The sum of the samples whose line begins so, on the program's own page.
    pub async fn sum(&self, name: &str) -> f64 {
        let page = self.text("/metrics").await;
        let lines = page.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// What it has printed on standard output so far.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    pub async fn logs(&self, text: &str) {
        wait::until(PATIENCE, text, async || self.log().contains(text)).await;
    }

    /// The exit code, if it has ended by itself; -1 for a signal.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1))
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().expect("still running").cast_signed()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Sends the signal; the exit code and how long it took to end.
    pub async fn end(mut self, signal: Signal) -> (Option<i32>, Duration) {
        self.signal(signal);
        let start = clock::monotonic();
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("does not end: {}", self.log())).unwrap();
        assert!(!self.log().contains("panicked"), "{}", self.log());
        (status.code(), start.elapsed())
    }
}
