//! Signals and systemd: how both programs end, reload, and say that they live.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info};

/// SIGTERM, SIGINT and SIGHUP, caught from [`Signals::catch`] on; what comes early waits.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From here on these signals no longer kill the program. Must run within a tokio runtime.
    pub fn catch() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Ends with SIGTERM, SIGINT or `stop`, in the middle of a reload too; each SIGHUP calls
    /// `reload`.
    ///
    /// Its end, even by a panic, drops the guard and so stops the program.
    pub async fn obey(
        mut self,
        mut reload: impl AsyncFnMut(),
        stop: CancellationToken,
        _stops_when_this_ends: DropGuard,
    ) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                () = stop.cancelled() => break,
                _ = self.hang_up.recv() => {}
            }
            let mut state = vec![NotifyState::Reloading];
            state.extend(NotifyState::monotonic_usec_now());
            notify(&state);
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                () = reload() => {}
            }
            notify(&[NotifyState::Ready]);
        }
        info!("stopping");
        notify(&[NotifyState::Stopping]);
    }
}

/// Tells systemd that the program is ready to serve.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Tells systemd that the program lives, at twice the pace it asks for.
pub async fn watchdog(stop: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "cannot notify systemd");
    }
}
