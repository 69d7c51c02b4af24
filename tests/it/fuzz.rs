//! The fuzz targets' checks on their seeds, and on changed copies of each.

use std::fs;

use pitcrew_tests::programs::workspace;

#[path = "../fuzz/checks/chunk.rs"]
mod chunk;
#[path = "../fuzz/checks/exposition.rs"]
mod exposition;
#[path = "../fuzz/checks/frames.rs"]
mod frames;
#[path = "../fuzz/checks/log_replay.rs"]
mod log_replay;
#[path = "../fuzz/checks/query.rs"]
mod query;
#[path = "../fuzz/checks/remote_write.rs"]
mod remote_write;
#[path = "../fuzz/checks/store_files.rs"]
mod store_files;
#[path = "../fuzz/checks/webhook.rs"]
mod webhook;

type Check = fn(&[u8]);

/// Each has its seeds in `tests/fuzz/seeds/NAME`, and so many changed copies of each seed.
const CHECKS: &[(&str, usize, Check)] = &[
    ("chunk", 1000, chunk::check),
    ("exposition", 1000, exposition::check),
    // These and `store_files` write files, or parse slowly without optimisation.
    ("log_replay", 50, log_replay::check),
    ("query", 100, query::check),
    ("remote_write", 1000, remote_write::check),
    ("store_files", 10, store_files::check),
    ("webhook", 1000, webhook::check),
];

#[test]
fn seeds_and_their_mutations_pass() {
    for (name, copies, check) in CHECKS {
        let folder = workspace().join("tests/fuzz/seeds").join(name);
        let mut seeds = 0;
        for file in fs::read_dir(folder).unwrap() {
            let seed = fs::read(file.unwrap().path()).unwrap();
            check(&seed);
            let mut random = fastrand::Rng::with_seed(7);
            (0..*copies).for_each(|_| check(&mutated(&seed, &mut random)));
            seeds += 1;
        }
        assert!(seeds > 0, "{name} has no seeds");
    }
}

/// Some pieces cut, doubled or overwritten.
fn mutated(seed: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.usize(1..6) {
        if bytes.is_empty() {
            break;
        }
        let from = random.usize(..bytes.len());
        let to = random.usize(from..bytes.len()).min(from + 16);
        match random.u8(..4) {
            0 => drop(bytes.drain(from..to)),
            1 => bytes.extend_from_within(from..to),
            2 => bytes[from] = *random.choice(b"{}\"\\ #=,\n\t\0\xff1aE").unwrap(),
            _ => bytes[from] ^= 1 << random.u8(..8),
        }
    }
    bytes
}
