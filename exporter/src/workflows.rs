//! What GitHub Actions does: jobs, runs and runners, as webhooks and polls tell it, as metrics.
//!
//! ```text
//! webhook ─► payload ─┐
//!                     ├─► event ─► log (durable) ─► state ─► families
//! poll ───────────────┘                              ▲
//!   └─ runners ─► fleet ─────────────────────────────┘
//! ```

pub mod event;
pub mod fleet;
pub mod heard;
pub mod intake;
pub mod log;
pub mod payload;
pub mod poll;
pub mod service;
pub mod state;
pub mod webhook;
