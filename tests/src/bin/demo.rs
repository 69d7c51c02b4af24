//! `make demo`: the whole story on a simulated fleet, in the terminal.

use std::io::Write;
use std::process::ExitCode;

use pitcrew_tests::demo::{Pace, play};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn main() -> ExitCode {
    println!("A simulated GitHub, two runner hosts, one Pitcrew. Every interval is shortened.");
    let mut tell = |line: &str| {
        println!("{line}");
        // A pipe would hold lines back until the end of the story.
        std::io::stdout().flush().ok();
    };
    let figures = match play(Pace::default(), &mut tell).await {
        Ok(figures) => figures,
        Err(error) => {
            println!("the demo failed: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    println!("\nSeconds after the kill:");
    for (what, seconds) in [
        ("exporter says so", figures.noticed),
        ("alert fires", figures.firing),
        ("label on the backup", figures.first_label),
        ("label on all of it", figures.all_labels),
        ("first waiting job runs", figures.first_job),
        ("Slack told", figures.told),
        ("failed back", figures.failed_back),
    ] {
        println!("  {what:<24} {seconds:6.2}");
    }
    let promised = figures.promised;
    println!("The label was promised within {promised:.2} s: scrape + evaluation + for + 1 s.");
    println!(
        "{} jobs: {} completed, {} lost with the primary ({} named), {} of {} waiting ones done, \
         {} cancelled.",
        figures.jobs,
        figures.completed,
        figures.lost,
        figures.named.len(),
        figures.waiting_then_done,
        figures.waiting_at_kill,
        figures.cancelled,
    );
    let queue = &figures.queue;
    println!(
        "Queue: {} of {} times told, {} series unlike the ledger; median {:.1} s, p95 {:.1} s; jobs \
         waited for: {}.",
        queue.told,
        queue.known,
        queue.wrong.len(),
        queue.median,
        queue.p95,
        queue.reasons.join(", ").replace('_', " "),
    );
    match figures.check() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("not as promised: {error:#}");
            ExitCode::FAILURE
        }
    }
}
