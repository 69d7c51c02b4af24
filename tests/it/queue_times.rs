//! How long jobs waited, as the exporter tells it, against the simulator's own ledger: every single
//! observation, over 10,000 jobs with all that GitHub gets wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pitcrew_exporter::metric::Families;
use pitcrew_exporter::workflows::event::Event;
use pitcrew_exporter::workflows::fleet::Fleet;
use pitcrew_exporter::workflows::payload::{Encoding, parse};
use pitcrew_exporter::workflows::state::{Settings as Metrics, State};
use pitcrew_tests::fake_github::deliveries::Delivery;
use pitcrew_tests::fake_github::settings::{Settings, Webhook};
use pitcrew_tests::fake_github::sim::Sim;
use pitcrew_tests::queue_times::{Observed, Series, differences, observed, oddities, waits};
use pitcrew_tests::traffic::{Plan, SERIAL, Traffic};

mod program;

const BASE: &str = "https://github.example/api/v3";
/// In `make test`; `make sweep` plays 10,000.
const JOBS: usize = 1500;
const START: f64 = 1_795_000_000.0;
/// How often somebody looks for deliveries that were lost.
const LOOK: f64 = 60.0;

/// The exporter's state, fed with what webhooks deliver.
struct Fed {
    state: State,
}

impl Fed {
    fn take(&mut self, deliveries: &[Delivery], now: f64) {
        for delivery in deliveries {
            let body = delivery.body.as_bytes();
            let events: Vec<Event> = parse(delivery.event, Encoding::Json, body, now).unwrap();
            for event in &events {
                self.state.apply(event);
            }
        }
    }

    fn page(&self, now: f64) -> String {
        let mut families = Families::default();
        self.state.families(now, &Fleet::default(), &mut families);
        let mut page = String::new();
        for family in families.iter() {
            for sample in &family.samples {
                let labels = match sample.labels.as_str() {
                    "" => String::new(),
                    labels => format!("{{{labels}}}"),
                };
                page.push_str(&format!(
                    "{}{}{labels} {}\n",
                    family.name, sample.suffix, sample.value
                ));
            }
        }
        page
    }
}

/// Plays the plan; the page at the end, and the simulator.
fn play(plan: Plan, trouble: f64) -> (String, Sim) {
    let hook = |id, scope: &str, trouble| Webhook {
        id,
        scope: scope.to_owned(),
        lost: trouble / 2.0,
        repeated: trouble,
        late: trouble,
        ..Webhook::default()
    };
    let mut webhooks = vec![hook(1, SERIAL, 0.0)];
    webhooks.push(hook(2, "acme", trouble));
    let mut sim = Sim::new(Settings { webhooks, ..Settings::default() });
    let mut traffic = Traffic::new(plan, &mut sim);
    let mut fed = Fed { state: State::default() };
    let mut again = BTreeSet::new();
    fed.state.configure(Arc::new(Metrics { max_series: 4_000_000, ..Metrics::default() }));
    let mut looked = START;
    let mut more = true;
    while more {
        more = traffic.step(&mut sim);
        let now = traffic.now;
        let deliveries = sim.take_deliveries(BASE, now);
        fed.take(&deliveries, now);
        if now - looked >= LOOK {
            looked = now;
            ask_again(&mut sim, &mut again, now);
        }
    }
    for _ in 0..3 {
        traffic.now += LOOK;
        ask_again(&mut sim, &mut again, traffic.now);
        let deliveries = sim.take_deliveries(BASE, traffic.now);
        fed.take(&deliveries, traffic.now);
    }
    fed.state.expire(traffic.now + LOOK);
    (fed.page(traffic.now + LOOK), sim)
}

/// How many jobs to play: `PITCREW_LEDGER` says otherwise.
pub(crate) fn jobs() -> usize {
    std::env::var("PITCREW_LEDGER").map_or(JOBS, |text| text.parse().unwrap())
}

/// The differences, each with what was special about the jobs behind it.
fn explained(sim: &Sim, differences: BTreeMap<Series, (Observed, Observed)>) -> String {
    let mut text = String::new();
    for ((repository, labels), (want, told)) in differences {
        let behind = sim.jobs.values().filter(|job| sim.runs[&job.run].repository == repository);
        let behind: Vec<_> = behind
            .map(|job| {
                let (gated, held, attempt) =
                    (job.gate_changed.is_some(), job.ready - job.created, job.attempt);
                format!("{} {:?} gated={gated} held={held} attempt={attempt}", job.id, job.odd)
            })
            .collect();
        let sides =
            format!("{} in {} s, told {} in {} s", want.count, want.sum, told.count, told.sum);
        text.push_str(&format!("{repository} {labels}: {sides}: {behind:?}\n"));
    }
    text
}

#[test]
fn every_queue_time_is_what_the_ledger_says() {
    let plan = Plan {
        seed: 1,
        jobs: jobs(),
        repositories: None,
        groups: true,
        plain: false,
        start: START,
    };
    let (page, sim) = play(plan, 0.0);
    let truth = waits(&sim.ledger.after(0));
    let differences = differences(&truth, &observed(&page));
    let clamped: usize = truth.values().map(|waits| waits.clamped).sum();
    let count: usize = truth.values().map(|waits| waits.seconds.len()).sum();
    assert!(count > jobs() * 8 / 10, "{count} jobs began");
    assert!(clamped * 100 > jobs(), "{clamped} began before they were created");
    let (wrong, all) = (differences.len(), truth.len());
    assert!(wrong == 0, "{wrong} of {all} series:\n{}", explained(&sim, differences));
    assert_eq!(oddities(&page, "negative_queue_time"), clamped);
}

#[test]
fn lost_repeated_and_late_deliveries_change_no_queue_time() {
    let plan = Plan {
        seed: 2,
        jobs: jobs(),
        repositories: None,
        groups: true,
        plain: false,
        start: START,
    };
    let (page, sim) = play(plan, 0.05);
    compare(&page, &sim, jobs());
}

/// Has every delivery that was lost sent once more.
fn ask_again(sim: &mut Sim, again: &mut BTreeSet<u64>, now: f64) {
    let lost = sim.deliveries.all.iter().filter(|delivery| delivery.status == 502);
    let lost: Vec<_> = lost.map(|delivery| (delivery.hook, delivery.id)).collect();
    for (hook, id) in lost {
        if again.insert(id) {
            assert!(sim.redeliver(hook, id, now));
        }
    }
}

/// Queue times that the page says cannot be known.
fn unknown(page: &str) -> usize {
    // Those of runs are told under the same words.
    let kinds = ["gate_end_unknown", "created_unknown", "start_unknown"];
    kinds.iter().map(|kind| oddities(page, kind)).sum()
}

/// Asserts that no queue time is told wrong, and that those which are missing are told as unknown,
/// because the news that would have told them was lost until it was too late.
fn compare(page: &str, sim: &Sim, jobs: usize) {
    let truth = waits(&sim.ledger.after(0));
    let differences = differences(&truth, &observed(page));
    let (mut missing, mut wrong) = (0, Vec::new());
    for (series, (want, told)) in &differences {
        missing += want.count.saturating_sub(told.count);
        let fewer = |bound: &String| told.buckets.get(bound) <= want.buckets.get(bound);
        if told.count >= want.count || told.sum > want.sum || !want.buckets.keys().all(fewer) {
            wrong.push(series.clone());
        }
    }
    let (all, unknown) = (truth.len(), unknown(page));
    let explained = explained(sim, differences);
    assert!(
        wrong.is_empty() && missing <= unknown,
        "{wrong:?} are wrong, {missing} times missing, {unknown} unknown, {all} series:\n{explained}"
    );
    assert!(missing * 50 <= jobs, "{missing} queue times are missing");
}
