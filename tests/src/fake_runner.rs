//! Fake runners with real processes: what GitHub's agent looks like to the host it runs on.
//!
//! A fake runner has the agent's folder (`.runner`, `.service`, `_diag`, `_work`, `bin`), its
//! process names and executable paths (`bin/Runner.Listener`, and `bin/Runner.Worker` while a job
//! runs), and its log lines. It takes jobs from the GitHub simulator. Killing its processes is what
//! a dead runner looks like: the simulator hears nothing more of it.

pub mod install;
pub mod listener;
pub mod log;
pub mod protocol;
pub mod worker;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::wait;
use protocol::Registration;

/// What the runners of one fake host are.
#[derive(Debug, Clone)]
pub struct Options {
    /// The built `fake-runner` program: it is what runs under the agent's names.
    pub program: PathBuf,
    /// The GitHub simulator, such as `http://127.0.0.1:8080`.
    pub github: String,
    /// The only runner's name; with several, each is `NAME-1`, `NAME-2`, …
    pub name: String,
    pub count: usize,
    /// Besides `self-hosted`, `Linux` and `X64`, which the simulator gives every runner.
    pub labels: Vec<String>,
    /// `owner/name`, or an organisation.
    pub scope: String,
    pub group: String,
}

impl Options {
    /// The names of the runners, in order.
    pub fn names(&self) -> Vec<String> {
        match self.count {
            1 => vec![self.name.clone()],
            count => (1..=count).map(|at| format!("{}-{at}", self.name)).collect(),
        }
    }
}

/// One installed runner and, while it runs, its listener.
#[derive(Debug)]
pub struct FakeRunner {
    pub name: String,
    pub folder: PathBuf,
    listener: Option<Child>,
}

/// Runners in one folder: a host's worth of them. Dropping it kills their processes.
#[derive(Debug)]
pub struct FakeHost {
    root: PathBuf,
    /// Deletes a folder made for the occasion.
    _temporary: Option<tempfile::TempDir>,
    pub options: Options,
    pub runners: Vec<FakeRunner>,
}

impl FakeHost {
    /// Installs, registers and starts the runners in a new temporary folder.
    ///
    /// # Errors
    /// When the simulator refuses a registration, or a file or process cannot be made.
    pub async fn start(options: Options) -> anyhow::Result<FakeHost> {
        let temporary = tempfile::Builder::new().prefix("fake-runners-").tempdir()?;
        let mut host = FakeHost::install(options, temporary.path()).await?;
        host._temporary = Some(temporary);
        host.restart()?;
        Ok(host)
    }

    /// Installs and registers the runners under `root`, each in `actions-runner-NAME`, without
    /// starting them.
    ///
    /// # Errors
    /// As [`FakeHost::start`].
    pub async fn install(options: Options, root: &Path) -> anyhow::Result<FakeHost> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        let mut runners = Vec::new();
        for name in options.names() {
            let folder = root.join(format!("actions-runner-{name}"));
            install::folders(&folder, &options.program)?;
            runners.push(FakeRunner { name, folder, listener: None });
        }
        let mut host = FakeHost { root, _temporary: None, options, runners };
        for at in 0..host.runners.len() {
            host.register(at).await?;
        }
        Ok(host)
    }

    /// What to put into the exporter's `collectors.runner.roots`.
    pub fn roots(&self) -> PathBuf {
        self.root.join("actions-runner-*")
    }

    /// Registers a runner anew under its name, as running `config.sh --replace` does: it gets a new
    /// id and the labels it was made with. A running listener keeps its old registration, which the
    /// simulator no longer knows.
    ///
    /// # Errors
    /// When the simulator refuses, or a file cannot be written.
    pub async fn register(&mut self, at: usize) -> anyhow::Result<()> {
        let options = &self.options;
        let runner = &self.runners[at];
        let wanted = Registration {
            name: runner.name.clone(),
            labels: options.labels.clone(),
            scope: options.scope.clone(),
            os: "Linux".to_owned(),
            group: options.group.clone(),
        };
        let registered = protocol::register(&options.github, &wanted).await?;
        install::configure(&runner.folder, &options.github, &wanted, &registered)?;
        Ok(())
    }

    /// Starts the listener of every runner that has none.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn restart(&mut self) -> io::Result<()> {
        for runner in &mut self.runners {
            if runner.pid().is_none() {
                let program = runner.folder.join("bin/Runner.Listener");
                let mut command = Command::new(program);
                command.arg("run").current_dir(&runner.folder).kill_on_drop(true);
                runner.listener = Some(command.spawn()?);
            }
        }
        Ok(())
    }

    /// Kills every listener and worker, as a power cut would, and waits until they are gone.
    pub async fn kill_all(&mut self) {
        self.kill(0..self.runners.len()).await;
    }

    /// The same for some of the runners.
    pub async fn kill(&mut self, which: impl IntoIterator<Item = usize>) {
        for at in which {
            let runner = &mut self.runners[at];
            for pid in processes_below(&runner.folder) {
                // One that has ended meanwhile is what we want.
                kill_process(pid, Signal::KILL).ok();
            }
            if let Some(mut listener) = runner.listener.take() {
                listener.wait().await.ok();
            }
            let folder = runner.folder.clone();
            let gone = async || processes_below(&folder).is_empty();
            wait::until(Duration::from_secs(10), "killed runner is gone", gone).await;
        }
    }

    /// Stops every listener as its service would: each finishes its job and takes no other.
    pub async fn stop_all(&mut self) {
        for runner in &self.runners {
            if let Some(pid) = runner.pid() {
                kill_process(pid, Signal::TERM).ok();
            }
        }
        for runner in &mut self.runners {
            runner.ended().await.ok();
        }
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        for pid in self.runners.iter().flat_map(|runner| processes_below(&runner.folder)) {
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

impl FakeRunner {
    /// The listener's process, while it runs and was started by us.
    pub fn pid(&self) -> Option<Pid> {
        let id = self.listener.as_ref()?.id()?;
        Pid::from_raw(i32::try_from(id).ok()?)
    }

    /// How the listener ended, once it has: told once.
    pub fn just_ended(&mut self) -> Option<ExitStatus> {
        let status = self.listener.as_mut()?.try_wait().ok()??;
        self.listener = None;
        Some(status)
    }

    /// Waits for the listener's end; at once when none was started.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        match &mut self.listener {
            Some(listener) => listener.wait().await.map(Some),
            None => Ok(None),
        }
    }
}

/// Processes whose executable lies below a folder.
fn processes_below(folder: &Path) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let running = entries.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let executable = fs::read_link(entry.path().join("exe")).ok()?;
        executable.starts_with(folder).then(|| Pid::from_raw(pid))?
    });
    running.collect()
}
