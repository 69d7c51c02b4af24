//! What GitHub Actions does: jobs, runs and runners, as webhooks and polls tell it, as metrics.
//!
//! ```text
//! webhook ─► payload ─┐
//!                     ├─► event ─► log (durable) ─► state ─► families
//! poll ───────────────┘                              ▲
//!   └─ runners ─► fleet ─────────────────────────────┘
//! ```

pub(crate) mod compat;
pub mod event;
pub(crate) mod families;
pub mod fleet;
pub mod heard;
pub mod intake;
mod jobs;
pub mod log;
pub mod normalise;
pub mod payload;
pub mod poll;
mod present;
pub mod runners;
mod runs;
pub mod service;
pub mod state;
mod tally;
mod waiting;
pub mod webhook;
