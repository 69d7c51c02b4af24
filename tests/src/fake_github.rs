//! A stateful GitHub: the part of its REST API that concerns runners and jobs, on a free port.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use pitcrew_exporter::clock;
use pitcrew_exporter::github::config::{Auth, GithubConfig};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use fault::{Fault, Faults};
use ledger::Entry;
use settings::{Settings, TOKEN};
use sim::Sim;

mod admin;
pub mod auth;
pub mod budget;
pub mod deliveries;
pub mod fault;
mod flow;
pub mod hooks;
mod http;
pub mod issues;
pub mod json;
pub mod ledger;
mod lists;
pub mod odd;
pub mod registry;
pub mod rest;
pub mod settings;
pub mod sim;
pub mod webhooks;

/// A running simulator; dropping it closes its port.
pub struct FakeGithub {
    /// Without a slash at the end; the API is here and beneath `/api/v3`.
    pub url: String,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<(Sim, Faults)>,
    /// Wakes the runners that wait for a job.
    wake: Notify,
    url: String,
}

impl FakeGithub {
    /// Starts on a free port of the loopback address.
    pub async fn start(settings: Settings) -> FakeGithub {
        FakeGithub::start_at("127.0.0.1:0", settings).await.expect("a free port")
    }

    pub async fn start_at(listen: &str, settings: Settings) -> io::Result<FakeGithub> {
        // The webhooks' client wants a TLS provider even to speak plain HTTP.
        rustls::crypto::ring::default_provider().install_default().ok();
        let listener = TcpListener::bind(listen).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Mutex::new((Sim::new(settings), Faults::default()));
        let shared = Arc::new(Shared { state, wake: Notify::new(), url: url.clone() });
        let api = Router::new().fallback(http::handle).with_state(Arc::clone(&shared));
        let router = admin::routes(Arc::clone(&shared)).merge(api);
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("axum serves until it is dropped");
        });
        let tasks = vec![server, tokio::spawn(deliveries::run(Arc::clone(&shared)))];
        Ok(FakeGithub { url, shared, tasks })
    }

    /// Reads or changes the state directly, at the simulator's own time.
    pub fn with<T>(&self, change: impl FnOnce(&mut Sim, f64) -> T) -> T {
        let answer = self.shared.with(|sim, now, _| change(sim, now));
        self.shared.wake.notify_waiters();
        answer
    }

    pub fn set_fault(&self, fault: Fault) {
        self.shared.with(|_, _, faults| faults.set(fault));
    }

    /// Faults that are still to be used up; one that hangs is used up once its call has arrived.
    pub fn faults_left(&self) -> usize {
        self.shared.with(|_, _, faults| faults.count())
    }

    pub fn clear_faults(&self) {
        self.shared.with(|_, _, faults| faults.clear());
    }

    pub fn ledger(&self) -> Vec<Entry> {
        self.shared.with(|sim, _, _| sim.ledger.after(0))
    }

    /// A client's configuration with the token that is always known, in a file in this folder.
    pub fn config(&self, folder: &Path) -> GithubConfig {
        let token_file = secret_file(folder, "github-token", TOKEN);
        GithubConfig::new(&self.url, Auth::Token { token_file })
    }

    /// The same, signed in as the App.
    pub fn app_config(&self, folder: &Path) -> GithubConfig {
        let (app_id, installation_id) =
            self.with(|sim, _| (sim.settings.app_id, sim.settings.installation_id));
        let private_key_file = secret_file(folder, "github-app-key.pem", auth::APP_KEY);
        GithubConfig::new(&self.url, Auth::App { app_id, installation_id, private_key_file })
    }
}

impl Drop for FakeGithub {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    fn with<T>(&self, change: impl FnOnce(&mut Sim, f64, &mut Faults) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (sim, faults) = &mut *state;
        let clock = || clock::unix_seconds() + sim.settings.clock_skew;
        let now = sim.settings.time.unwrap_or_else(clock);
        change(sim, now, faults)
    }
}

/// Writes a file that only its owner can read.
pub fn secret_file(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    let part = folder.join(format!("{name}.new"));
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&part)
        .expect("the folder can be written to");
    file.write_all(content.as_bytes()).expect("the folder can be written to");
    fs::rename(&part, &path).expect("within one folder");
    path
}
