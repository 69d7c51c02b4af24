//! Fuzz target: bodies of remote write requests.

#![no_main]

#[path = "../checks/remote_write.rs"]
mod remote_write;

libfuzzer_sys::fuzz_target!(|data: &[u8]| remote_write::check(data));
