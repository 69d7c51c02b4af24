//! The YAML of promtool's rule unit tests, and the keys that Pitcrew adds to it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use pitcrew_exporter::config::duration;
use serde::de::value::SeqAccessDeserializer;
use serde::{Deserialize, Deserializer, de};

use crate::api::params::parse_time;
use crate::model::sample::Timestamp;
use crate::route::dedup::Reason;
use crate::rules::file::GroupSpec;

pub(super) type Pairs = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    #[serde(default)]
    pub(super) rule_files: Vec<String>,
    #[serde(default, with = "duration::optional")]
    evaluation_interval: Option<Duration>,
    /// Names of groups, in the order in which they are evaluated.
    #[serde(default)]
    pub(super) group_eval_order: Vec<String>,
    /// Values may differ in the last bit.
    #[serde(default)]
    pub(super) fuzzy_compare: bool,
    #[serde(default)]
    pub(super) tests: Vec<Test>,
    /// Alertmanager's file, for the tests that name none. Pitcrew's own.
    pub(super) notifications: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Test {
    #[serde(default)]
    pub(super) name: String,
    /// Between two samples of the input series. Absent: the evaluation interval.
    #[serde(default, with = "duration::optional")]
    pub(super) interval: Option<Duration>,
    /// When the test begins; every other time counts from it.
    #[serde(default, deserialize_with = "moment")]
    pub(super) start_timestamp: Timestamp,
    #[serde(default)]
    pub(super) input_series: Vec<InputSeries>,
    #[serde(default)]
    pub(super) alert_rule_test: Vec<AlertCase>,
    #[serde(default)]
    pub(super) promql_expr_test: Vec<ExprCase>,
    #[serde(default)]
    pub(super) external_labels: Pairs,
    #[serde(default)]
    pub(super) external_url: String,
    /// Alertmanager's file through which alerts go, for `exp_notifications`. Pitcrew's own.
    pub(super) notifications: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputSeries {
    pub(super) series: String,
    pub(super) values: String,
}

/// What holds at a time of the alerts of one name. The last three keys are Pitcrew's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertCase {
    #[serde(default, with = "duration")]
    pub(super) eval_time: Duration,
    #[serde(default)]
    pub(super) alertname: String,
    /// Those that fire. Absent: none does; beside one of the keys below, nothing is said of them.
    pub(super) exp_alerts: Option<Vec<ExpectedAlert>>,
    pub(super) exp_pending: Option<Vec<ExpectedAlert>>,
    pub(super) exp_resolved_at: Option<ExpectedEnds>,
    /// What receivers were told since the last case of this name that has the key.
    pub(super) exp_notifications: Option<Vec<ExpectedNotification>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedAlert {
    #[serde(default)]
    pub(super) exp_labels: Option<Pairs>,
    #[serde(default)]
    pub(super) exp_annotations: Option<Pairs>,
}

/// When the alerts that fired and do no more ended.
#[derive(Debug)]
pub(super) enum ExpectedEnds {
    /// There is at least one, and all of them ended then.
    All(Duration),
    Each(Vec<ExpectedEnd>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedEnd {
    #[serde(with = "duration")]
    pub(super) at: Duration,
    #[serde(default)]
    pub(super) exp_labels: Pairs,
}

/// One notification; what is absent is not compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedNotification {
    pub(super) receiver: String,
    #[serde(default, with = "duration::optional")]
    pub(super) at: Option<Duration>,
    pub(super) status: Option<Status>,
    pub(super) reason: Option<Reason>,
    pub(super) exp_alerts: Option<Vec<ExpectedTold>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedTold {
    pub(super) status: Option<Status>,
    /// All of the alert's labels; `alertname` may be left out when it is the case's.
    #[serde(default)]
    pub(super) exp_labels: Pairs,
    pub(super) exp_annotations: Option<Pairs>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Firing,
    Resolved,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExprCase {
    pub(super) expr: String,
    #[serde(default, with = "duration")]
    pub(super) eval_time: Duration,
    pub(super) exp_samples: Option<Vec<ExpectedSample>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedSample {
    #[serde(default)]
    pub(super) labels: String,
    #[serde(default)]
    pub(super) value: f64,
    /// Native histograms are not kept: a case that expects one fails.
    pub(super) histogram: Option<String>,
}

impl TestFile {
    pub(super) fn evaluation_interval(&self) -> Duration {
        let given = self.evaluation_interval.filter(|interval| !interval.is_zero());
        given.unwrap_or(Duration::from_secs(60))
    }

    /// Groups in the order that the file asks for; those it does not name come first.
    ///
    /// # Errors
    /// When a group has two places.
    pub(super) fn ordered(&self, mut groups: Vec<GroupSpec>) -> Result<Vec<GroupSpec>, String> {
        let order = &self.group_eval_order;
        if let Some((_, twice)) =
            order.iter().enumerate().find(|(at, name)| order.iter().take(*at).any(|n| n == *name))
        {
            return Err(format!(
                "group_eval_order: expected each name once, found {twice:?} twice"
            ));
        }
        let place =
            |group: &GroupSpec| order.iter().position(|name| *name == group.name).map(|at| at + 1);
        groups.sort_by_key(place);
        Ok(groups)
    }
}

impl Test {
    /// When the last case wants to know something.
    pub(super) fn ends(&self) -> Duration {
        let alerts = self.alert_rule_test.iter().map(|case| case.eval_time);
        let exprs = self.promql_expr_test.iter().map(|case| case.eval_time);
        alerts.chain(exprs).max().unwrap_or_default()
    }
}

impl AlertCase {
    pub(super) fn asks_more_than_promtool(&self) -> bool {
        self.exp_pending.is_some()
            || self.exp_resolved_at.is_some()
            || self.exp_notifications.is_some()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Status::Firing { "firing" } else { "resolved" })
    }
}

impl<'de> Deserialize<'de> for ExpectedEnds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Ends;
        impl<'de> de::Visitor<'de> for Ends {
            type Value = ExpectedEnds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as 5m, or a list of exp_labels and at")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ExpectedEnds, E> {
                duration::parse(text).map(ExpectedEnds::All).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<ExpectedEnds, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ExpectedEnds, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<ExpectedEnds, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(ExpectedEnds::Each)
            }
        }
        from.deserialize_any(Ends)
    }
}

/// Unix seconds or RFC 3339.
fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(from)?;
    parse_time(&text).ok_or_else(|| {
        de::Error::custom(format!("expected Unix seconds or RFC 3339, found {text:?}"))
    })
}
