//! `ingest DIR FROM…`: appends to the store in a folder and says what was acknowledged, until killed.

use std::path::Path;

use pitcrew_tests::ingest;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, from) = arguments.split_first().expect("a folder, then numbers");
    let from: Vec<i64> = from.iter().map(|number| number.parse().expect("a number")).collect();
    ingest::run(Path::new(folder), &from);
}
