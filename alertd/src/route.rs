//! Which alerts are told to whom and when: routing, grouping, inhibition, deduplication.

pub mod config;
pub mod dedup;
pub mod group;
pub mod inhibit;
pub mod matchers;
pub mod notification;
pub mod receiver;
pub mod tree;
