//! The alerts that this program has about its own sight: a group of rules like any other, over
//! series that exist only here and say how all the other rules fare.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pitcrew_exporter::config::duration;
use serde_json::json;

use super::config::RulesConfig;
use super::file::{self, GroupSpec, RuleErrors};
use super::flapping;
use super::status::{Health, View};
use crate::model::labels::{ALERT_NAME, Labels, METRIC_NAME};
use crate::model::matcher::Matcher;
use crate::model::querier::{Appended, Appender, Querier, Store, StoreError};
use crate::model::sample::{Sample, Timestamp};

/// Stands where other groups have their file.
pub const FILE: &str = "alertd";

/// The alert about notifications that cannot be delivered.
pub const NOT_DELIVERED: &str = "NotificationsFailing";

const INTERVAL: Duration = Duration::from_secs(15);
const SOURCE: &str = "pitcrew_source_failing";
const RULES: &str = "pitcrew_rules_failing";
const TARGET: &str = "pitcrew_target_silent";
const FLAPPING: &str = "pitcrew_alert_flapping";
const DELIVERY: &str = "pitcrew_delivery_failing";
/// As much of an error is told.
const MOST_SHOWN: usize = 300;
/// Targets, and flapping alerts, beyond which further ones are not named one by one.
const MOST_TARGETS: usize = 1000;

/// What else is told of: notifications that cannot be delivered, each with `receiver`,
/// `integration` and `error`, and for how many seconds that has been so.
pub type Undelivered = Arc<dyn Fn(Timestamp) -> Vec<(Labels, f64)> + Send + Sync>;

/// The rules; `shortest` is the shortest interval of the groups that they watch.
///
/// # Errors
/// Never, with a configuration that was checked.
pub fn group(config: &RulesConfig, shortest: Duration) -> Result<GroupSpec, RuleErrors> {
    let interval = shortest.clamp(Duration::from_secs(1), INTERVAL);
    let kept = duration::format(config.keep_unverified);
    let error = |of: &str| {
        format!("{{{{ range query \"{of}_error\" }}}}{{{{ .Labels.error }}}}{{{{ end }}}}")
    };
    let runbook = |name: &str| format!("{{{{ $externalURL }}}}/runbooks/{name}.md");
    let rule = |name: &str, expr: String, hold: Duration, summary: &str, description: String| {
        json!({
            "alert": name, "expr": expr, "for": duration::format(hold),
            "labels": config.own_labels,
            "annotations": {
                "summary": summary, "description": description, "runbook_url": runbook(name),
            },
        })
    };
    // What is told of an alert is told to whoever hears of the alert: by its own labels.
    let flapping = json!({
        "alert": "AlertFlapping", "expr": format!("{FLAPPING} > 0"),
        "annotations": {
            "summary": "{{ $labels.alert }} begins and ends all the time",
            "description": "It is held in the state firing, nothing more is told of it and nothing \
                            acts on it until it is calm.",
            "runbook_url": runbook("AlertFlapping"),
            // Once, like everything about that alert.
            flapping::FLAPPING: "{{ $labels.alert }} is held",
        },
    });
    let rules = [
        flapping,
        rule(
            "DatasourceDown",
            format!("{SOURCE} > 0"),
            config.source_down_after,
            "The source of metrics does not answer",
            format!(
                "{{{{ $value }}}} rules cannot be evaluated. Alerts that fired are kept for {kept}, \
                 marked as not verified; new ones are not seen. {}",
                error(SOURCE)
            ),
        ),
        rule(
            "RulesFailing",
            format!("{RULES} > 0"),
            config.source_down_after,
            "{{ $value }} {{ if eq $value 1.0 }}rule fails{{ else }}rules fail{{ end }}",
            format!(
                "Their alerts that fired are kept for {kept}, marked as not verified. {}",
                error(RULES)
            ),
        ),
        rule(
            "TargetDown",
            format!("{TARGET} > 0"),
            Duration::ZERO,
            "{{ or $labels.instance $labels.job }} does not answer, and had alerts",
            format!(
                "Whether its {{{{ $value }}}} alerts still hold is not known: they are kept for {kept}, \
                 marked as not verified."
            ),
        ),
        rule(
            NOT_DELIVERED,
            format!("max without (error) ({DELIVERY}) > 0"),
            Duration::ZERO,
            "{{ $labels.receiver }} is not reached by {{ $labels.integration }}",
            "Notifications to it have failed for {{ $value | humanizeDuration }}. \
             {{ with query (printf \"pitcrew_delivery_failing{integration=%q}\" $labels.integration) }}\
             {{ . | first | label \"error\" }}{{ end }}"
                .to_owned(),
        ),
    ];
    let group = json!({
        "name": "alertd", "interval": duration::format(interval), "rules": rules,
    });
    let text = json!({ "groups": [group] }).to_string();
    let mut groups = file::parse(Path::new(FILE), &text)?;
    Ok(groups.swap_remove(0))
}

/// What these rules look at; what they write goes to the real store as long as that answers.
pub(super) struct Watched {
    pub(super) view: View,
    pub(super) store: Arc<dyn Store>,
    pub(super) undelivered: Option<Undelivered>,
}

impl Watched {
    fn series(&self, at: Timestamp) -> Vec<(Labels, f64)> {
        let mut failing = BTreeMap::from([(SOURCE, (0, None)), (RULES, (0, None))]);
        let mut targets: BTreeMap<Labels, f64> = BTreeMap::new();
        for group in self.view.all().iter().filter(|group| group.file != FILE) {
            for rule in &group.rules {
                if let Health::Failing { error, source, .. } = &rule.health {
                    let (count, first) =
                        failing.entry(if *source { SOURCE } else { RULES }).or_default();
                    *count += 1;
                    first.get_or_insert_with(|| format!("{}: {error}", rule.name));
                }
                for target in &rule.silent {
                    if targets.len() < MOST_TARGETS || targets.contains_key(target) {
                        *targets.entry(target.clone()).or_default() += 1.0;
                    }
                }
            }
        }
        let mut all = self.flapping();
        for (name, (count, error)) in failing {
            all.push((Labels::from_pairs([(METRIC_NAME, name)]), f64::from(count)));
            if let Some(error) = error {
                let error: String = error.chars().take(MOST_SHOWN).collect();
                let pairs = [(METRIC_NAME, format!("{name}_error")), ("error", error)];
                all.push((Labels::from_pairs(pairs), 1.0));
            }
        }
        all.extend(targets.into_iter().map(|(target, alerts)| (named(&target, TARGET), alerts)));
        let undelivered = self.undelivered.iter().flat_map(|undelivered| undelivered(at));
        all.extend(undelivered.map(|(labels, seconds)| (named(&labels, DELIVERY), seconds)));
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    fn flapping(&self) -> Vec<(Labels, f64)> {
        let groups = self.view.all();
        let alerts =
            groups.iter().filter(|group| group.file != FILE).flat_map(|one| one.instances());
        let flapping = alerts.filter(|alert| alert.flapping_since.is_some()).take(MOST_TARGETS);
        let of = |labels: &Labels| {
            let name = labels.get(ALERT_NAME).unwrap_or("");
            named(&labels.without_one(ALERT_NAME).with("alert", name), FLAPPING)
        };
        flapping.map(|alert| (of(&alert.labels), 1.0)).collect()
    }

    fn source_fails(&self) -> bool {
        let fails = |health: &Health| matches!(health, Health::Failing { source: true, .. });
        self.view.all().iter().any(|group| group.rules.iter().any(|rule| fails(&rule.health)))
    }
}

fn named(labels: &Labels, name: &str) -> Labels {
    labels.with(METRIC_NAME, name)
}

impl Querier for Watched {
    fn visit(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        each: &mut dyn FnMut(&Labels, &[Sample]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let fits = |labels: &Labels| matchers.iter().all(|one| one.matches_labels(labels));
        for (labels, value) in self.series(to).into_iter().filter(|(labels, _)| fits(labels)) {
            let now = Sample { timestamp: to, value };
            if from <= to && each(&labels, &[now]).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Appender for Watched {
    /// These alerts must not wait for a store that is away, nor fail with it.
    fn append(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        match self.source_fails() {
            true => Ok(Appended::default()),
            false => Ok(self.store.append(samples).unwrap_or_default()),
        }
    }
}
