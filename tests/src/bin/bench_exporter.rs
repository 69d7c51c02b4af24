//! CPU time and memory per scrape: pitcrew-exporter beside node_exporter, in one run.
//!
//! `cargo run -p pitcrew-tests --bin bench-exporter [PITCREW_EXPORTER [NODE_EXPORTER]]`, after a
//! release build. The rounds of both alternate, so that whatever else the machine does hurts both.

#![expect(clippy::print_stdout, reason = "its output is the point")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use pitcrew_tests::measure::{median, processor_seconds, resident_megabytes};
use pitcrew_tests::process::{Process, free_address, tls};
use pitcrew_tests::{peers, programs, wait};

const ROUNDS: usize = 7;
const SCRAPES: usize = 800;

struct Exporter {
    name: &'static str,
    url: String,
    process: Process,
    /// Milliseconds of processor time per scrape, one for each round.
    rounds: Vec<f64>,
}

/// What the client says of compression: Prometheus takes gzip, curl does not ask for it.
const ENCODINGS: [(&str, &str); 2] = [("as Prometheus asks (gzip)", "gzip"), ("plain", "identity")];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    tls();
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let release = programs::workspace().join("target/release/pitcrew-exporter");
    let ours = paths.next().unwrap_or(release);
    let theirs = paths.next().unwrap_or_else(peers::node_exporter);
    println!("{ROUNDS} rounds of {SCRAPES} scrapes each, in turns; medians of the rounds\n");
    println!(
        "| scrape | CPU of pitcrew-exporter | of node_exporter | ratio | memory | of node_exporter | ratio |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (title, encoding) in ENCODINGS {
        let mut pair = [
            start("pitcrew-exporter", &ours, our_arguments()).await?,
            start("node_exporter", &theirs, their_arguments()).await?,
        ];
        for round in 0..=ROUNDS {
            for exporter in &mut pair {
                let spent = measure(exporter, encoding).await?;
                // The first round warms up.
                if round > 0 {
                    exporter.rounds.push(spent);
                }
            }
        }
        let [ours, theirs] = pair.map(|exporter| {
            let memory = resident_megabytes(exporter.process.pid()).context(exporter.name);
            (median(exporter.rounds), memory)
        });
        let (our_memory, their_memory) = (ours.1?, theirs.1?);
        println!(
            "| {title} | {:.3} ms | {:.3} ms | {:.2} | {our_memory:.1} MB | {their_memory:.1} MB | {:.2} |",
            ours.0,
            theirs.0,
            ours.0 / theirs.0,
            our_memory / their_memory
        );
    }
    Ok(())
}

/// Our collectors without a peer are off.
fn our_arguments() -> fn(&str) -> Vec<String> {
    |address| {
        let config =
            std::env::temp_dir().join(format!("bench-exporter-{}.yaml", std::process::id()));
        let off = "collectors: { off: [runner] }\n";
        fs::write(&config, off).expect("the temporary folder can be written to");
        ["run", "--listen", address, "--log", "warn", "--config", &config.to_string_lossy()]
            .map(str::to_owned)
            .to_vec()
    }
}

fn their_arguments() -> fn(&str) -> Vec<String> {
    |address| {
        let mut arguments = peers::node_exporter_arguments(address);
        arguments.push("--web.disable-exporter-metrics".to_owned());
        arguments
    }
}

async fn start(
    name: &'static str,
    program: &Path,
    arguments: fn(&str) -> Vec<String>,
) -> Result<Exporter> {
    let address = free_address();
    let process = Process::start(program, &arguments(&address));
    let url = format!("http://{address}/metrics");
    wait::until(Duration::from_secs(20), name, async || reqwest::get(&url).await.is_ok()).await;
    Ok(Exporter { name, url, process, rounds: Vec::new() })
}

/// Milliseconds per scrape over one round.
async fn measure(exporter: &Exporter, encoding: &str) -> Result<f64> {
    let client = reqwest::Client::builder().no_gzip().build()?;
    let before = processor_seconds(exporter.process.pid())?;
    for _ in 0..SCRAPES {
        let request = client
            .get(&exporter.url)
            .header("accept-encoding", encoding)
            .header("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
        request.send().await?.error_for_status()?.bytes().await?;
    }
    Ok((processor_seconds(exporter.process.pid())? - before) * 1000.0 / SCRAPES as f64)
}
