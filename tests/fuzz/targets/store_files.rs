//! Fuzz target: files of the store's checkpoints and blocks.

#![no_main]

#[path = "../checks/frames.rs"]
mod frames;
#[path = "../checks/store_files.rs"]
mod store_files;

libfuzzer_sys::fuzz_target!(|data: &[u8]| store_files::check(data));
