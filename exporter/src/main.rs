//! The exporter's program: flags, then the library.

fn main() {}
