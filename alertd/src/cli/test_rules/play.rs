//! Plays one test: samples and evaluations from its start on, then what the cases expect.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pitcrew_exporter::config::duration;

use super::cases::{AlertCase, Test, TestFile};
use super::difference::Outcome;
use super::expect::{self, Seen};
use super::told::Told;
use crate::cli::test_promql::notation;
use crate::model::alert::AlertState;
use crate::model::labels::Labels;
use crate::model::querier::Store;
use crate::model::sample::{Sample, Timestamp};
use crate::promql::Options;
use crate::rules::config::RulesConfig;
use crate::rules::file::GroupSpec;
use crate::rules::group::{Context, Group, Progress};
use crate::rules::status::Health;
use crate::rules::template::Surroundings;
use crate::tsdb::{Limits, Tsdb};

/// Evaluations of one test: more would not end today.
const MAX_EVALUATIONS: u128 = 10_000_000;

/// One answer a case; only the fault when the test cannot be played. Files that the test names lie
/// in `folder`.
pub(super) fn play(
    file: &TestFile,
    test: &Test,
    groups: &[GroupSpec],
    folder: &Path,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    match Player::new(file, test, groups, folder)
        .and_then(|mut player| player.run(file, test, &mut outcomes))
    {
        Ok(()) => {}
        Err(fault) => outcomes.push(Err(fault.into())),
    }
    outcomes
}

struct Player {
    groups: Vec<Group>,
    context: Context,
    input: Input,
    start: Timestamp,
    interval: Duration,
    told: Option<Told>,
    firing: BTreeSet<Labels>,
    /// When each alert that fired and does no more ended.
    ended: BTreeMap<Labels, Timestamp>,
}

impl Player {
    fn new(
        file: &TestFile,
        test: &Test,
        groups: &[GroupSpec],
        folder: &Path,
    ) -> Result<Player, String> {
        let interval = file.evaluation_interval();
        if test.ends().as_nanos() / interval.as_nanos() > MAX_EVALUATIONS {
            return Err(format!("expected at most {MAX_EVALUATIONS} evaluations, found more"));
        }
        if let Some(case) = test.alert_rule_test.iter().find(|case| case.alertname.is_empty()) {
            let at = duration::format(case.eval_time);
            return Err(format!("alert_rule_test at {at}: alertname: expected a name, found none"));
        }
        let routing = test.notifications.as_ref().or(file.notifications.as_ref());
        let told = routing.map(|path| Told::load(&folder.join(path))).transpose()?;
        let asks = |case: &AlertCase| case.exp_notifications.is_some();
        if told.is_none() && test.alert_rule_test.iter().any(asks) {
            return Err("exp_notifications: expected `notifications` with the name of \
                Alertmanager's file or alertd.yaml beside it, found none"
                .to_owned());
        }
        let limits = Limits { max_series: 5_000_000, ..Limits::default() };
        let context = Context {
            options: Options { subquery_step: interval, ..Options::default() },
            around: Surroundings {
                external_labels: Labels::from_pairs(test.external_labels.clone()),
                external_url: test.external_url.clone(),
            },
            config: RulesConfig::plain(),
            ..Context::new(Arc::new(Tsdb::new(limits)))
        };
        let groups = groups.iter();
        Ok(Player {
            groups: groups.map(|spec| Group::new(spec.clone(), interval, Duration::ZERO)).collect(),
            context,
            input: Input::read(test, interval)?,
            start: test.start_timestamp,
            interval,
            told,
            firing: BTreeSet::new(),
            ended: BTreeMap::new(),
        })
    }

    fn run(
        &mut self,
        file: &TestFile,
        test: &Test,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), String> {
        let mut cases: Vec<&AlertCase> = test.alert_rule_test.iter().collect();
        cases.sort_by_key(|case| case.eval_time);
        let mut left = cases.iter().peekable();
        let (mut loaded, mut at, ends) = (None, Duration::ZERO, test.ends());
        while at <= ends {
            self.input.load(&*self.context.store, loaded, at, self.start)?;
            loaded = Some(at);
            self.evaluate(at)?;
            // A case between two evaluations sees the earlier one.
            while let Some(case) = left.next_if(|case| case.eval_time < at + self.interval) {
                let seen = Seen { groups: &self.groups, ended: &self.ended, start: self.start };
                outcomes.extend(seen.check(case));
            }
            let now = self.start.plus(at);
            at += self.interval;
            // What is due at the next evaluation is told after it.
            let until = self.start.plus(at.min(ends + Duration::from_millis(1)));
            if let Some(told) = &mut self.told {
                told.flush(now, Timestamp(until.0 - 1))?;
            }
        }
        if let Some(told) = &self.told {
            outcomes.extend(expect::notifications(&cases, &told.notifications, self.start));
        }
        for case in &test.promql_expr_test {
            outcomes.push(expect::expression(case, &self.context, self.start, file.fuzzy_compare));
        }
        Ok(())
    }

    fn evaluate(&mut self, at: Duration) -> Result<(), String> {
        let now = self.start.plus(at);
        let mut firing = BTreeSet::new();
        for group in &mut self.groups {
            let told = &mut self.told;
            let mut send = |alerts| {
                if let Some(told) = told {
                    told.take(alerts, now);
                }
                true
            };
            group.evaluate(now, &self.context, &Progress::default(), &mut send);
            let status = group.status();
            if let Some((rule, error)) = status.rules.iter().find_map(|rule| match &rule.health {
                Health::Failing { error, .. } => Some((&rule.name, error)),
                Health::Unknown | Health::Ok => None,
            }) {
                return Err(format!("at {}: rule {rule:?}: {error}", duration::format(at)));
            }
            let alive = status.instances().filter(|one| one.state == AlertState::Firing);
            firing.extend(alive.map(|instance| instance.labels.clone()));
        }
        let over = self.firing.difference(&firing).cloned();
        self.ended.extend(over.map(|labels| (labels, now)));
        self.ended.retain(|labels, _| !firing.contains(labels));
        self.firing = firing;
        Ok(())
    }
}

/// The input series, with their interval.
struct Input {
    series: Vec<(Labels, Vec<Option<f64>>)>,
    interval: i64,
}

impl Input {
    fn read(test: &Test, evaluation_interval: Duration) -> Result<Input, String> {
        let interval = test.interval.filter(|interval| !interval.is_zero());
        let interval = interval.unwrap_or(evaluation_interval);
        // Of two lines for one series the later one counts, as in promtool.
        let mut series = BTreeMap::new();
        for input in &test.input_series {
            let wrong = |message: String| format!("input series {}: {message}", input.series);
            let line = notation::line(&format!("{} {}", input.series, input.values));
            let line = line.map_err(wrong)?;
            if !line.natives.is_empty() {
                return Err(wrong("native histograms are not supported".to_owned()));
            }
            series.insert(line.labels, line.values);
        }
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        Ok(Input { series: series.into_iter().collect(), interval })
    }

    /// Appends what lies after `from` (from the beginning without it) and not after `to`.
    fn load(
        &self,
        store: &dyn Store,
        from: Option<Duration>,
        to: Duration,
        start: Timestamp,
    ) -> Result<(), String> {
        let place = |time: Duration| {
            i64::try_from(time.as_millis()).unwrap_or(i64::MAX) / self.interval.max(1)
        };
        let first = from.map_or(0, |from| place(from) + 1);
        let mut samples = Vec::new();
        for (labels, values) in &self.series {
            for index in first..=place(to) {
                let value = usize::try_from(index).ok().and_then(|index| values.get(index));
                let Some(Some(value)) = value else { continue };
                let timestamp = Timestamp(start.0 + index * self.interval);
                samples.push((labels.clone(), Sample { timestamp, value: *value }));
            }
        }
        let appended = store.append(&samples).map_err(|error| error.to_string())?;
        match appended.accepted == samples.len() {
            true => Ok(()),
            false => Err(format!("input series were not all taken: {appended:?}")),
        }
    }
}
