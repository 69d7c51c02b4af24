//! Fakes at Pitcrew's boundaries: what the integration tests and `make demo` put on the other side.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be made is a failed test")]

pub mod alertmanager;
pub mod certificates;
pub mod deliveries;
pub mod demo;
pub mod differential;
pub mod fake_github;
pub mod fake_runner;
pub mod fake_slack;
pub mod fake_smtp;
pub mod fake_source;
pub mod fake_target;
pub mod fake_webhook;
pub mod ingest;
pub mod live;
pub mod measure;
pub mod peers;
pub mod process;
pub mod programs;
pub mod prometheus;
pub mod queue_times;
pub mod redis;
pub mod services;
pub mod smtp_server;
pub mod traffic;
pub mod wait;
