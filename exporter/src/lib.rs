//! Pitcrew's exporter: what a CI runner host knows about itself, for Prometheus.

pub mod app;
pub mod clock;
pub mod collectors;
pub mod command;
pub mod config;
pub mod exposition;
pub mod github;
pub mod lifecycle;
pub mod metric;
pub mod metrics_md;
pub mod process;
pub mod scrape;
pub mod secret;
pub mod server;
pub mod workflows;
