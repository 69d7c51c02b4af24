//! What Prometheus' compliance suite for alert generators looks for, on a clock that is played: the
//! same stories of samples, looked at from the outside every 30 seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;
use crate::model::querier::Appender;
use crate::model::sample::Sample;
use crate::promql::{self, Value};
use crate::rules::file;
use crate::rules::group::{Context, Group, Progress};
use crate::tsdb::{Limits, Tsdb};

mod stories;

/// When the story begins, in milliseconds.
const ZERO: i64 = 1_700_000_000_000;
/// Between two samples; times of the stories are counted in these.
const STEP: i64 = 15_000;
/// Between two evaluations; also how late a change may be seen.
const INTERVAL: i64 = 30_000;
/// From an evaluation to the arrival of what it sends.
const ON_THE_WAY: i64 = 20;

/// Names and values of labels or annotations.
type Pairs = &'static [(&'static str, &'static str)];

/// Samples, rules and the states that follow.
struct Story {
    rules: &'static str,
    /// Steps until the end.
    length: i64,
    /// Labels and values, one a step from the beginning.
    series: Vec<(Pairs, Vec<f64>)>,
    /// Every alert that ever is there, once for each time that it comes.
    lives: Vec<Life>,
}

/// One time that an alert comes and goes; times in steps.
struct Life {
    labels: Pairs,
    /// From which step on which annotations and value.
    texts: Vec<(i64, Pairs, f64)>,
    pending: i64,
    /// `None`: it never does.
    firing: Option<i64>,
    gone: i64,
    /// Until when its end may be told again because it comes back.
    again: Option<i64>,
}

/// `3x4` is four times 3.
fn values(text: &str) -> Vec<f64> {
    let of = |part: &str| {
        let (value, times) = part.split_once('x').unwrap_or((part, "1"));
        vec![value.parse().unwrap(); times.parse().unwrap()]
    };
    text.split(' ').flat_map(of).collect()
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What was sent, when it arrived.
type Arrival = (i64, crate::model::alert::Alert);

struct Played<'a> {
    story: &'a Story,
    store: Arc<Tsdb>,
    group: Group,
    view: View,
    arrivals: Vec<Arrival>,
}

/// Plays it with evaluations at this time after each half minute.
async fn play(story: &Story, phase: i64) {
    let spec = file::parse(Path::new("rules.yaml"), story.rules).unwrap().remove(0);
    let store = Arc::new(Tsdb::new(Limits::default()));
    let context = Context::new(store.clone());
    let group = Group::new(spec, Duration::from_secs(60), Duration::ZERO);
    let mut played = Played { story, store, group, view: View::default(), arrivals: Vec::new() };
    for second in 0..=story.length * STEP / 100 {
        let at = second * 100;
        if at % STEP == 0 {
            played.append(at);
        }
        if at % INTERVAL == phase {
            played.evaluate(at, &context);
        }
        // The suite waits for an evaluation before it looks.
        if at % INTERVAL == 7_500 && at > 2 * INTERVAL {
            played.look(at).await;
        }
    }
    played.check_arrivals();
}

impl Played<'_> {
    fn append(&self, at: i64) {
        let step = usize::try_from(at / STEP).unwrap();
        for (pairs, values) in &self.story.series {
            let Some(value) = values.get(step) else { continue };
            let labels = Labels::from_pairs(pairs.iter().copied());
            let sample = Sample { timestamp: Timestamp(ZERO + at), value: *value };
            assert_eq!(self.store.append(&[(labels, sample)]).unwrap().accepted, 1);
        }
    }

    fn evaluate(&mut self, at: i64, context: &Context) {
        let arrivals = &mut self.arrivals;
        let mut send = |alerts: Vec<crate::model::alert::Alert>| {
            arrivals.extend(alerts.into_iter().map(|alert| (at + ON_THE_WAY, alert)));
            true
        };
        let now = Timestamp(ZERO + at);
        let done = self.group.evaluate(now, context, &Progress::default(), &mut send);
        assert_eq!((done.failed, done.refused), (0, 0), "{:?}", self.group.status());
        self.view.fill(vec![Arc::new(self.group.status())]);
    }

    /// One look through both APIs and at the series, which must agree.
    async fn look(&self, at: i64) {
        let params = Params(Vec::new());
        let Json(answer) = rules(State(self.view.clone()), params).await.unwrap();
        let answer = serde_json::to_value(answer).unwrap();
        let group = &answer["data"]["groups"][0];
        let recent = |text: &Json| {
            let last = Timestamp::parse_rfc3339(text.as_str().unwrap()).unwrap();
            let age = ZERO + at - last.0;
            assert!((0..=35_000).contains(&age), "{at}: evaluated {age} ms ago");
        };
        recent(&group["lastEvaluation"]);
        assert_eq!(group["interval"], 30.0);
        let mut shown = Vec::new();
        for rule in group["rules"].as_array().unwrap() {
            recent(&rule["lastEvaluation"]);
            assert_eq!((&rule["health"], &rule["type"]), (&json!("ok"), &json!("alerting")));
            assert!(rule["lastError"].is_null(), "{rule}");
            let alerts = rule["alerts"].as_array().unwrap();
            let has = |state: &str| alerts.iter().any(|alert| alert["state"] == state);
            let worst = match (has("firing"), has("pending")) {
                (true, _) => "firing",
                (false, true) => "pending",
                (false, false) => "inactive",
            };
            assert_eq!(rule["state"], worst, "{at}");
            shown.extend(alerts.iter().cloned());
        }
        let Json(answer) = alerts(State(self.view.clone())).await;
        let all = serde_json::to_value(answer).unwrap()["data"]["alerts"].take();
        assert_eq!(all, json!(shown), "{at}");
        self.check_shown(at, &shown);
        self.check_series(at, &shown);
    }

    /// Each alert is in a state in which it may be, and each that must be there is.
    fn check_shown(&self, at: i64, shown: &[Json]) {
        let mut found = BTreeSet::new();
        for alert in shown {
            let fits = |life: &Life| {
                let state = life.may_be(at, alert["state"].as_str().unwrap());
                let begun = ZERO + life.pending * STEP;
                let active = alert["activeAt"].as_str().unwrap();
                let active = Timestamp::parse_rfc3339(active).unwrap().0;
                let texts = life.texts_at(at).any(|(texts, value)| {
                    alert["annotations"] == json!(labels(texts))
                        && alert["value"].as_str().unwrap().parse() == Ok(value)
                });
                alert["labels"] == json!(labels(life.labels))
                    && state
                    && texts
                    && (begun..=begun + 40_000).contains(&active)
            };
            let life = self.story.lives.iter().position(fits);
            let life = life.unwrap_or_else(|| panic!("at {} s: {alert}", at / 1000));
            assert!(found.insert(life), "twice: {alert}");
        }
        for (number, life) in self.story.lives.iter().enumerate() {
            let must = life.pending * STEP + INTERVAL < at && at < life.gone * STEP;
            assert!(!must || found.contains(&number), "at {} s: life {number}", at / 1000);
        }
    }

    /// `ALERTS` has one series for each alert, and no other.
    fn check_series(&self, at: i64, shown: &[Json]) {
        let expr = promql::parse("ALERTS").unwrap();
        let now = Timestamp(ZERO + at);
        let answer = promql::instant(&expr, &*self.store, now, &Default::default()).unwrap();
        let Value::Vector(found) = answer.value else { panic!("{answer:?}") };
        let found: Vec<_> = found
            .into_iter()
            .map(|(labels, sample)| {
                assert_eq!((sample.timestamp, sample.value), (now, 1.0));
                labels.to_map()
            })
            .collect();
        let mut want: Vec<_> = shown
            .iter()
            .map(|alert| {
                let own = alert["labels"].as_object().unwrap().iter();
                let own =
                    own.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
                let mut labels: BTreeMap<String, String> = own.collect();
                let state = alert["state"].as_str().unwrap().to_owned();
                labels.insert("alertstate".to_owned(), state);
                labels.insert("__name__".to_owned(), "ALERTS".to_owned());
                labels
            })
            .collect();
        want.sort_by_key(|labels| Labels::from_pairs(labels.clone()));
        assert_eq!(found, want, "at {} s", at / 1000);
    }

    /// Nothing is sent that no life explains, and everything that each demands.
    fn check_arrivals(&self) {
        let mut left = self.arrivals.clone();
        for life in &self.story.lives {
            life.check_arrivals(&mut left, self.story.length * STEP);
        }
        assert!(left.is_empty(), "sent for no reason: {left:?}");
    }
}

impl Life {
    fn may_be(&self, at: i64, state: &str) -> bool {
        let within = |from: i64, to: i64| (from * STEP..=to * STEP + INTERVAL).contains(&at);
        match (state, self.firing) {
            ("pending", firing) => within(self.pending, firing.unwrap_or(self.gone)),
            ("firing", Some(firing)) => within(firing, self.gone),
            _ => false,
        }
    }

    /// What it may say: the change is seen at the next evaluation.
    fn texts_at(&self, at: i64) -> impl Iterator<Item = (Pairs, f64)> {
        self.texts.iter().enumerate().filter_map(move |(number, (from, texts, value))| {
            let until = self.texts.get(number + 1).map_or(i64::MAX, |next| next.0 * STEP);
            let fits = from * STEP <= at && at <= until.saturating_add(INTERVAL);
            fits.then_some((*texts, *value))
        })
    }

    fn check_arrivals(&self, left: &mut Vec<Arrival>, end: i64) {
        let Some(firing) = self.firing.map(|step| step * STEP) else { return };
        let gone = self.gone * STEP;
        let quiet = self.again.map_or(end, |step| step * STEP + INTERVAL);
        let next = self.again.map_or(i64::MAX, |step| step * STEP);
        let own = |(_, alert): &Arrival| {
            let starts = alert.starts_at.0 - ZERO;
            alert.labels.to_map() == labels(self.labels) && (firing..next).contains(&starts)
        };
        let mine: Vec<Arrival> = left.iter().filter(|arrival| own(arrival)).cloned().collect();
        left.retain(|arrival| !own(arrival));
        let (mut before, mut over) = (None, None);
        for (at, alert) in &mine {
            assert!(*at < quiet, "at {at}: it has come back");
            let starts = alert.starts_at.0 - ZERO;
            assert!(firing < starts && starts < firing + INTERVAL, "starts at {starts}");
            let texts = self.texts_at(*at).any(|(texts, _)| *alert.annotations == labels(texts));
            assert!(texts, "at {at}: {:?}", alert.annotations);
            let resolved = alert.is_resolved(Timestamp(ZERO + at));
            let ends = alert.ends_at.0 - ZERO;
            // Each after the one before it, but for the first of its kind.
            let rhythm = |from: i64| (55_000..=95_000).contains(&(at - from));
            let first =
                |since: i64, tolerance: i64| since < *at && *at < since + tolerance + 10_000;
            match (resolved, before, over) {
                (false, None, None) => assert!(first(firing, INTERVAL), "fires at {at}"),
                (false, Some(from), None) => assert!(rhythm(from), "again at {at}"),
                (true, Some(_), None) => {
                    assert!(first(gone, 2 * INTERVAL), "ends at {at}");
                    over = Some(ends);
                }
                (true, Some(from), Some(_)) => assert!(rhythm(from), "its end again at {at}"),
                other => panic!("at {at}: {other:?}"),
            }
            match over {
                None => assert!((230_000..=270_000).contains(&(ends - at)), "{}", ends - at),
                Some(ended) => {
                    assert!(ends == ended && gone < ended && ended < gone + INTERVAL, "{ended}");
                    assert!(*at <= ended + 15 * 60_000 + ON_THE_WAY, "its end told at {at}");
                }
            }
            before = Some(*at);
        }
        // It does not fall silent before its time.
        let told_until = quiet.min(gone + 15 * 60_000);
        let last = before.unwrap_or_else(|| panic!("never told: {:?}", self.labels));
        assert!(over.is_some() && last + 95_000 >= told_until, "last told at {last}");
    }
}

#[tokio::test]
async fn every_story_at_every_phase() {
    for story in stories::all() {
        for phase in [100, 7_400, 14_900, 15_100, 22_000, 29_900] {
            play(&story, phase).await;
        }
    }
}
