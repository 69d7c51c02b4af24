//! Fuzz target: files of the store's log.

#![no_main]

#[path = "../checks/frames.rs"]
mod frames;
#[path = "../checks/log_replay.rs"]
mod log_replay;

libfuzzer_sys::fuzz_target!(|data: &[u8]| log_replay::check(data));
