//! Killed with signal 9 in the storm, again and again.
#![expect(clippy::print_stdout, reason = "the number of kills is a figure to be read")]

use std::fs;
use std::time::Duration;

use pitcrew_tests::live::PATIENCE;
use pitcrew_tests::wait;
use rustix::process::Signal;
use serde_json::Value;

use super::Storm;

/// Kills in `make test`; `make sweep` asks for more.
const SHORT: usize = 6;
/// What is said of each notification that may come again, when it is counted.
const COUNTED: &str = "answer lost by a restart";

#[tokio::test]
async fn nothing_accepted_is_lost_and_what_repeats_is_counted() {
    let wanted = std::env::var("PITCREW_SWEEP").ok().and_then(|text| text.parse().ok());
    let wanted: usize = wanted.unwrap_or(SHORT);
    let mut storm = Storm::new().await;
    let (mut counted, mut unseen) = (0, 0);
    for kill in 0..wanted {
        let mut live = storm.start();
        let moment = Duration::from_micros(storm.random.u64(..600_000));
        // Some are killed while they start, most in the storm.
        if storm.random.u8(..5) == 0 && kill > 0 {
            tokio::time::sleep(moment).await;
            unseen += 1;
        } else {
            storm.is_up(&mut live).await;
            let storming = async {
                loop {
                    storm.blow(&live).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(moment, storming).await.ok();
        }
        live.end(Signal::KILL).await;
        storm.absorb();
        let log = fs::read_to_string(storm.folder.path().join("stderr")).unwrap();
        counted += log.lines().filter(|line| line.contains(COUNTED)).count();
    }

    let mut live = storm.start();
    storm.is_up(&mut live).await;
    storm.calm(&live).await;
    let log = live.log();
    counted += log.lines().filter(|line| line.contains(COUNTED)).count();
    let metric = live.sum("pitcrew_alertd_notification_possible_repeats_total").await;
    assert_eq!(metric as usize, log.matches(COUNTED).count(), "what is said is counted");

    let silences: Value = {
        let request = live.request(reqwest::Method::GET, "/api/v2/silences");
        storm.signed(request).send().await.unwrap().json().await.unwrap()
    };
    let silences = silences.as_array().unwrap().len();
    let made = storm.silences;
    assert!(silences >= made, "{silences} of {made} silences are known");

    // Nothing more comes of it.
    let rounds = "pitcrew_alertd_rule_evaluations_total";
    let rounds = async || live.sum(rounds).await;
    let before = rounds().await;
    wait::until(PATIENCE, "ten evaluations", async || rounds().await >= before + 10.0).await;
    storm.absorb();
    storm.check();
    let repeats = storm.repeats();
    assert!(repeats <= counted + unseen, "{repeats} repeats, {counted} counted");
    assert!(storm.arrivals.values().all(|count| *count <= wanted + 1));
    println!(
        "storm: {wanted} kills ({unseen} of them while it started), {} alerts, {} notifications, {made} silences: \
         none lost, {repeats} came again under the same id, {counted} counted as possible",
        storm.wanted.len(),
        storm.arrivals.len()
    );
    live.end(Signal::TERM).await;
}
