//! The same rules over the same samples, in the embedded store and in a Prometheus: every
//! evaluation tells, keeps and writes the same.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pitcrew_alertd::clock;
use pitcrew_alertd::model::alert::Alert;
use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::matcher::{MatchOp, Matcher};
use pitcrew_alertd::model::querier::Store;
use pitcrew_alertd::model::sample::{Sample, Timestamp};
use pitcrew_alertd::rules::config::RulesConfig;
use pitcrew_alertd::rules::file;
use pitcrew_alertd::rules::group::{Context, Group, Progress};
use pitcrew_alertd::rules::status::Health;
use pitcrew_alertd::tsdb::{Limits, Tsdb};
use pitcrew_tests::process::free_address;

use super::prometheus;

/// A second and what is put into the store before the evaluation at it: series and values.
type Step = (i64, &'static [(&'static str, &'static str, f64)]);

const HOUR: i64 = 3_600_000;

/// Keys of the group, its rules, and what happens.
const STORIES: &[(&str, &str, &[Step])] = &[
    (
        "",
        "  - {record: y, expr: x * 2, labels: {k: v}}\n  \
         - {alert: A, expr: y > 1, annotations: {a: '{{ $labels.i }} {{ $value }}'}}\n  \
         - {alert: B, expr: 'ALERTS{alertstate=\"firing\", alertname=\"A\"}'}\n",
        &[
            (0, &[("x", "1", 1.0), ("x", "2", 0.0)]),
            (30, &[("x", "1", 0.0), ("x", "2", 3.0)]),
            (60, &[("x", "2", 0.0)]),
        ],
    ),
    (
        "",
        "  - {alert: High, expr: x > 1, for: 1m, keep_firing_for: 30s}\n",
        &[
            (0, &[("x", "1", 5.0)]),
            (30, &[("x", "2", 5.0)]),
            (60, &[]),
            (90, &[("x", "1", 0.0)]),
            (120, &[]),
            (150, &[("x", "1", 9.0), ("x", "2", 0.0)]),
            (180, &[]),
            // Five minutes later nothing is left to look at.
            (520, &[]),
        ],
    ),
    (
        "  query_offset: 10s\n",
        "  - {record: y, expr: x > 0}\n  - {record: z, expr: 'sum by (i) (y) + 1'}\n",
        &[(10, &[("x", "1", 1.0), ("x", "2", 2.0)]), (40, &[("x", "2", 0.0)]), (70, &[])],
    ),
    (
        "  limit: 1\n",
        "  - {record: y, expr: x}\n  - {alert: Few, expr: x}\n",
        &[(0, &[("x", "1", 1.0)]), (30, &[("x", "2", 1.0)]), (60, &[])],
    ),
    (
        "",
        "  - {alert: Down, expr: x > 0, labels: {instance: '{{ $labels.i }}'}, annotations: {a: \
         '{{ range query \"x\" | sortByLabel \"i\" }}{{ .Labels.i }}={{ .Value }} {{ end }}'}}\n",
        &[
            (0, &[("x", "h", 1.0), ("x", "g", 1.0), ("up", "h", 1.0)]),
            (30, &[("x", "h", 0.0), ("up", "h", 0.0)]),
            (60, &[("x", "g", 0.0)]),
            (90, &[("up", "h", 1.0)]),
        ],
    ),
    (
        "",
        "  - {alert: Clash, expr: x * on () group_left () x}\n  - {alert: Always, expr: vector(1)}\n  \
         - {record: 'one', expr: '1'}\n  - {alert: Nothing, expr: 'absent(nothing{a=\"b\"})'}\n  \
         - {alert: Same, expr: x, labels: {i: same}}\n",
        &[(0, &[("x", "1", 1.0), ("x", "2", 1.0)]), (30, &[])],
    ),
];

fn series(name: &str, i: &str) -> Labels {
    let label = if name == "up" { "instance" } else { "i" };
    Labels::from_pairs([("__name__", name), (label, i)])
}

/// Everything that can be seen of a story, with times in seconds from its begin.
fn told(store: &Arc<dyn Store>, begin: i64, story: &(&str, &str, &[Step])) -> Vec<String> {
    let (keys, rules, steps) = story;
    let text = format!("groups:\n- name: g\n  interval: 30s\n{keys}  rules:\n{rules}");
    let spec = file::parse(Path::new("r.yaml"), &text).unwrap().remove(0);
    let mut group = Group::new(spec, Duration::from_secs(60), Duration::ZERO);
    let keep_unverified = Duration::from_secs(300);
    let context = Context {
        config: RulesConfig { keep_unverified, ..RulesConfig::default() },
        ..Context::new(Arc::clone(store))
    };
    let since = |at: Timestamp| (at.0 - begin) / 1000;
    let mut out = Vec::new();
    for (second, puts) in *steps {
        let at = Timestamp(begin + second * 1000);
        let offset = if keys.contains("query_offset") { 10_000 } else { 0 };
        let timestamp = Timestamp(at.0 - offset);
        let put = |(name, i, value): &(&str, &str, f64)| {
            (series(name, i), Sample { timestamp, value: *value })
        };
        store.append(&puts.iter().map(put).collect::<Vec<_>>()).unwrap();
        let mut alerts: Vec<Alert> = Vec::new();
        let mut send = |more: Vec<Alert>| {
            alerts.extend(more);
            true
        };
        let done = group.evaluate(at, &context, &Progress::default(), &mut send);
        let mut line = format!("at {second}: {} samples", done.samples);
        let mut sent: Vec<_> = alerts
            .iter()
            .map(|one| {
                let ends = since(one.ends_at);
                format!(
                    "\n told {} {:?} {}..{ends}",
                    one.labels,
                    one.annotations,
                    since(one.starts_at)
                )
            })
            .collect();
        sent.sort();
        line.push_str(&sent.concat());
        for rule in &group.status().rules {
            let health = matches!(rule.health, Health::Failing { .. });
            write!(line, "\n rule {} fails: {health}", rule.name).unwrap();
            for one in rule.alerting.iter().flat_map(|alerting| &alerting.instances) {
                let times = (since(one.active_at), one.fired_at.map(since));
                write!(line, "\n  {:?} {} {times:?}", one.state, one.labels).unwrap();
            }
        }
        let all = [Matcher::new(MatchOp::Regex, "__name__", ".+").unwrap()];
        let lookback = Duration::from_secs(300);
        for (labels, value) in store.latest(&all, timestamp, lookback).unwrap() {
            let value = match labels.get("__name__") {
                Some("ALERTS_FOR_STATE") => value - (begin / 1000) as f64,
                _ => value,
            };
            write!(line, "\n holds {labels} {value}").unwrap();
        }
        out.push(line);
    }
    out
}

#[tokio::test]
async fn rules_do_the_same_over_both() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let _theirs = prometheus(folder.path(), &address, "127.0.0.1:1").await;
    let remote: Arc<dyn Store> = super::remote(&address);
    let begin = clock::now().0 / HOUR * HOUR - 20 * HOUR;
    let compare = move || {
        for (at, story) in STORIES.iter().enumerate() {
            // An hour each, in order: a Prometheus takes nothing much older than its newest sample.
            let begin = begin + i64::try_from(at).unwrap() * HOUR;
            let embedded: Arc<dyn Store> = Arc::new(Tsdb::new(Limits::default()));
            let (ours, theirs) = (told(&embedded, begin, story), told(&remote, begin, story));
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert_eq!(ours, theirs, "\nembedded {ours}\nremote {theirs}\n{}", story.1);
            }
            assert!(ours.iter().any(|line| line.contains("holds ")), "{ours:?}");
        }
    };
    tokio::task::spawn_blocking(compare).await.unwrap();
}
