//! As many silences as may be held: each alert finds its own, one more is refused in clear words.
#![expect(clippy::print_stdout, reason = "time and memory are figures to be read")]

use std::collections::BTreeMap;

use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::sample::Timestamp;
use pitcrew_alertd::route::limits::SilenceLimits;
use pitcrew_alertd::route::silence::{Condition, Silence, Silences};
use pitcrew_exporter::clock;
use pitcrew_tests::measure::resident_megabytes;

/// Alerts that are looked up.
const ALERTS: usize = 1000;

fn equal(name: &str, value: String) -> Condition {
    Condition { name: name.to_owned(), value, is_regex: false, is_equal: true }
}

/// One of a host and its alert, as a person sets it.
fn silence(number: usize) -> Silence {
    Silence {
        id: String::new(),
        matchers: vec![
            equal("alertname", "RunnerOffline".to_owned()),
            equal("instance", format!("runner-{number}.example.org:9610")),
        ],
        starts_at: Timestamp(0),
        ends_at: Timestamp(1_000_000),
        updated_at: Timestamp(0),
        created_by: "ann@example.org".to_owned(),
        signed_in: None,
        comment: "moving to the new rack".to_owned(),
        annotations: BTreeMap::new(),
        ends_with_alert: false,
    }
}

/// A few thousand; as many as `PITCREW_SWEEP` says, up to the million that may be configured.
#[test]
fn each_alert_finds_its_own_among_all_that_may_be_held() {
    let wanted = std::env::var("PITCREW_SWEEP").ok().and_then(|text| text.parse().ok());
    let count: usize = wanted.unwrap_or(5000);
    let mut silences = Silences::default();
    silences.limit(SilenceLimits { max: count, ..SilenceLimits::default() });
    let now = Timestamp(1);
    let resident = || resident_megabytes(std::process::id()).unwrap();
    let (before, began) = (resident(), clock::monotonic());
    for number in 0..count {
        let change = silences.set(silence(number), format!("id-{number}"), now).unwrap();
        silences.apply(change, now);
    }
    let (took, megabytes) = (began.elapsed(), resident() - before);
    let refused = silences.set(silence(count), "one-more".to_owned(), now).unwrap_err();
    let want = format!("exceeded maximum number of silences: {count} (limit: {count})");
    assert_eq!(refused.to_string(), want);
    let began = clock::monotonic();
    for number in (0..count).step_by(count.div_ceil(ALERTS)) {
        let host = format!("runner-{number}.example.org:9610");
        let name = ("alertname", "RunnerOffline");
        let labels = Labels::from_pairs([name, ("instance", &host), ("severity", "critical")]);
        assert_eq!(silences.muting(&labels, now), [format!("id-{number}")]);
        let other = Labels::from_pairs([name, ("instance", "elsewhere")]);
        assert!(!silences.mutes(&other, now));
    }
    let looked = began.elapsed();
    println!(
        "{count} silences: set in {took:?}, {megabytes:.0} MB; {ALERTS} alerts that one silences and \
         as many that none does: {looked:?}"
    );
}
