//! The integration tests, one journey a module, in one binary.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be made is a failed test")]

mod alerting;
mod alertmanager_api;
mod alertmanager_file;
mod backup;
mod bad_input;
mod crash;
mod dashboards;
mod demo;
mod deploy;
mod differential;
mod failover;
mod fuzz;
mod github;
mod grafana;
mod host;
mod kills;
mod licences;
mod lifecycle;
mod notify;
mod peers;
mod poll;
mod pools;
mod promql;
mod queue_times;
mod redis;
mod remote;
mod replay;
mod restart;
mod rules;
mod runner;
mod scrape;
mod source;
mod storm;
mod tidy;
mod up;
mod webhooks;
