//! Pitcrew's exporter: what a CI runner host knows about itself, for Prometheus.

pub mod clock;
pub mod collectors;
pub mod config;
pub mod metric;
pub mod secret;
