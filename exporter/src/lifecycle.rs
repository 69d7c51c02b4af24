//! Signals and systemd: how both programs end, reload, and say that they live.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info};

/// Ends with SIGTERM, SIGINT or `stop`; each SIGHUP calls `reload`.
///
/// Its end, even by a panic, drops the guard and so stops the program.
pub async fn signals(
    mut reload: impl AsyncFnMut(),
    stop: CancellationToken,
    _stops_when_this_ends: DropGuard,
) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = stop.cancelled() => break,
            _ = hang_up.recv() => {
                let mut state = vec![NotifyState::Reloading];
                state.extend(NotifyState::monotonic_usec_now());
                notify(&state);
                reload().await;
                notify(&[NotifyState::Ready]);
            }
        }
    }
    info!("stopping");
    notify(&[NotifyState::Stopping]);
    Ok(())
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
