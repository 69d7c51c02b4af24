//! alertd's program: flags, then the library.

fn main() {}
