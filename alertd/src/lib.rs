//! Pitcrew's alert daemon: rules, notifications, failover, and the page that shows them.

pub mod actions;
pub mod api;
pub mod app;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod http_client;
pub mod model;
pub mod notify;
pub mod promql;
pub mod relabel;
pub mod remote;
pub mod route;
pub mod rules;
pub mod runbooks;
pub mod scrape;
pub mod tsdb;
