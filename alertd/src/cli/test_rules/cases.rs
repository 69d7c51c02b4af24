//! The YAML of promtool's rule unit tests.

use std::collections::BTreeMap;
use std::time::Duration;

use pitcrew_exporter::config::duration;
use serde::Deserialize;

use crate::rules::file::GroupSpec;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    #[serde(default)]
    pub(super) rule_files: Vec<String>,
    #[serde(default, with = "duration::optional")]
    evaluation_interval: Option<Duration>,
    /// Names of groups, in the order in which they are evaluated.
    #[serde(default)]
    group_eval_order: Vec<String>,
    /// Values may differ in the last bit.
    #[serde(default)]
    pub(super) fuzzy_compare: bool,
    #[serde(default)]
    pub(super) tests: Vec<Test>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Test {
    #[serde(default)]
    pub(super) name: String,
    /// Between two samples of the input series. Absent: the evaluation interval.
    #[serde(default, with = "duration::optional")]
    pub(super) interval: Option<Duration>,
    #[serde(default)]
    pub(super) input_series: Vec<InputSeries>,
    #[serde(default)]
    pub(super) alert_rule_test: Vec<AlertCase>,
    #[serde(default)]
    pub(super) promql_expr_test: Vec<ExprCase>,
    #[serde(default)]
    pub(super) external_labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) external_url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputSeries {
    pub(super) series: String,
    pub(super) values: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertCase {
    #[serde(with = "duration")]
    pub(super) eval_time: Duration,
    pub(super) alertname: String,
    pub(super) exp_alerts: Option<Vec<ExpectedAlert>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedAlert {
    #[serde(default)]
    pub(super) exp_labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) exp_annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExprCase {
    pub(super) expr: String,
    #[serde(with = "duration")]
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
    pub(super) fn ordered(&self, mut groups: Vec<GroupSpec>) -> Vec<GroupSpec> {
        let place = |group: &GroupSpec| {
            self.group_eval_order.iter().position(|name| *name == group.name).map(|at| at + 1)
        };
        groups.sort_by_key(place);
        groups
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
