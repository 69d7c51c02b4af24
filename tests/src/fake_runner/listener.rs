//! The process that takes jobs: polls the simulator, runs a worker per job, writes the agent's log.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::install::{self, VERSION};
use super::log::AgentLog;
use super::protocol::{Assigned, Failed, Session};
use super::worker;

const POLL: Duration = Duration::from_millis(500);
const HEARTBEAT: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);
const RETRY: Duration = Duration::from_millis(200);
/// The agent's own words for its results.
const SAID: [(&str, &str); 3] =
    [("succeeded", "Succeeded"), ("failed", "Failed"), ("canceled", "Canceled")];

struct Listener {
    folder: PathBuf,
    session: Session,
    log: AgentLog,
}

/// Takes jobs until SIGTERM or SIGINT; a job that runs then is finished first.
///
/// # Errors
/// When the folder is not a configured runner's.
pub async fn run(folder: &Path) -> anyhow::Result<ExitCode> {
    // Whoever started us may be killed: no fake runner outlives its test.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut signal, stop) = (signal(kind)?, stop.clone());
        tokio::spawn(async move {
            signal.recv().await;
            stop.cancel();
        });
    }
    let own = install::read(folder)?;
    let mut log = AgentLog::create(folder, "Runner")?;
    introduce(&mut log, folder, &own);
    let session = Session::new(&own.github, own.id, &own.token);
    Listener { folder: folder.to_owned(), session, log }.listen(&stop).await
}

fn introduce(log: &mut AgentLog, folder: &Path, own: &install::Configured) {
    log.info("Listener", "Runner is built for Linux (X64) - linux-x64.");
    log.info("Listener", &format!("Version: {VERSION}"));
    log.info("Listener", "Arguments parsed");
    let root = folder.display();
    log.info("HostContext", &format!("Well known directory 'Root': '{root}'"));
    log.info("RunnerServer", &format!("Connecting to {}", own.scope_url));
    log.info("BrokerMessageListener", "Session created.");
    log.terminal(&format!("Current runner version: '{VERSION}'"));
    log.terminal("Listening for Jobs");
    log.info("JobDispatcher", "Set runner/worker IPC timeout to 30 seconds.");
}

impl Listener {
    async fn listen(mut self, stop: &CancellationToken) -> anyhow::Result<ExitCode> {
        let mut reached = true;
        loop {
            let polled = match stop.run_until_cancelled(self.session.poll(POLL)).await {
                None => break,
                Some(polled) => polled,
            };
            match polled {
                Ok(None) => {
                    reached = true;
                    // A simulator that does not wait must not make us spin.
                    stop.run_until_cancelled(time::sleep(PAUSE)).await;
                }
                Ok(Some(job)) => {
                    reached = true;
                    self.run_job(&job).await?;
                }
                Err(error @ Failed::Gone { .. }) => {
                    self.log.error("BrokerMessageListener", &error.to_string());
                    self.log.terminal(
                        "The runner registration has been deleted from the server, please re-configure.",
                    );
                    return Ok(ExitCode::from(1));
                }
                Err(error) => {
                    // Once an outage, not once a try.
                    if std::mem::replace(&mut reached, false) {
                        self.log.error(
                            "BrokerMessageListener",
                            "Catch exception during get next message.",
                        );
                        self.log.error("BrokerMessageListener", &error.to_string());
                    }
                    stop.run_until_cancelled(time::sleep(RETRY)).await;
                }
            }
            if stop.is_cancelled() {
                break;
            }
        }
        self.log.terminal("Exiting...");
        self.log.info("Listener", "Runner execution has finished with return code 0");
        Ok(ExitCode::SUCCESS)
    }

    async fn run_job(&mut self, job: &Assigned) -> anyhow::Result<()> {
        let guid = &job.job_guid;
        self.say(&format!("Job request {} for plan {guid} job {guid} received.", job.run_id));
        self.log.terminal(&format!("Running job: {}", job.name));
        self.say(&format!("Start renew job request {} for job {guid}.", job.run_id));
        let mut worker = self.start_worker().await?;
        self.say(&format!("Send job request message to worker for job {guid}."));
        let mut pipe = worker.stdin.take().expect("its standard input was asked for");
        // A worker that died before it read the job shows by its exit code.
        pipe.write_all(&serde_json::to_vec(job)?).await.ok();
        drop(pipe);

        let (result, said) = match self.attend(&mut worker, job).await? {
            Some(code) => {
                self.say(&format!("Worker finished for job {guid}. Code: {code}"));
                let by_code = worker::RESULTS.iter().find(|(_, known)| i32::from(*known) == code);
                let result = by_code.map_or("failed", |(name, _)| name);
                let said = SAID.iter().find(|(name, _)| *name == result);
                (result, said.map_or("Failed", |(_, said)| said))
            }
            None => ("failed", "Abandoned"),
        };
        self.say(&format!("finish job request for job {guid} with result: {said}"));
        self.log.terminal(&format!("Job {} completed with result: {said}", job.name));
        self.say(&format!("Stop renew job request for job {guid}."));
        // The result must arrive, or the simulator takes the job for lost: as often as it takes,
        // within a time in which a test has long failed.
        for _ in 0..50 {
            match self.session.complete(job.id, result).await {
                Ok(()) | Err(Failed::Gone { .. }) => break,
                Err(_) => time::sleep(RETRY).await,
            }
        }
        Ok(())
    }

    /// Says that the job runs until its worker ends, and returns the worker's exit code; `None` when
    /// the simulator has given the job up, whereupon the worker is killed.
    async fn attend(&mut self, worker: &mut Child, job: &Assigned) -> anyhow::Result<Option<i32>> {
        let mut beats = time::interval(HEARTBEAT);
        loop {
            tokio::select! {
                status = worker.wait() => return Ok(Some(status?.code().unwrap_or(-1))),
                _ = beats.tick() => {}
            }
            if let Err(Failed::Gone { .. }) = self.session.heartbeat(job.id).await {
                worker.kill().await?;
                return Ok(None);
            }
        }
    }

    async fn start_worker(&mut self) -> anyhow::Result<Child> {
        let program = self.folder.join("bin/Runner.Worker");
        self.log.info("ProcessInvokerWrapper", "Starting process:");
        self.log.info("ProcessInvokerWrapper", &format!("  File name: '{}'", program.display()));
        self.log.info("ProcessInvokerWrapper", "  Arguments: 'spawnclient 155 158'");
        let mut command = Command::new(program);
        command.args(["spawnclient", "155", "158"]).stdin(Stdio::piped());
        Ok(command.current_dir(self.folder.join("bin")).spawn()?)
    }

    fn say(&mut self, text: &str) {
        self.log.info("JobDispatcher", text);
    }
}
