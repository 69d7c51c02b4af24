//! `rules` of alertd.yaml: how rules are evaluated and what becomes of their alerts.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use serde::Deserialize;

use super::file;

/// Changes of one alert that are remembered at most.
const MOST_CHANGES: usize = 100;

/// The default is what Prometheus does, and that nothing false is told.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RulesConfig {
    /// How long a firing alert rests before routing and Alertmanagers are told of it again.
    #[serde(with = "duration")]
    pub resend_delay: Duration,
    /// How far back expressions look, in groups that say nothing else.
    #[serde(with = "duration")]
    pub query_offset: Duration,
    /// Most time that one rule may take.
    #[serde(with = "duration")]
    pub rule_timeout: Duration,
    /// The longest time without evaluation after which the time that an alert was pending in an
    /// earlier run still counts. A firing one is judged by the first evaluation, however late.
    #[serde(with = "duration")]
    pub outage_tolerance: Duration,
    /// How long a firing alert is kept alive while its rule cannot be evaluated, or while the scrape
    /// of its target fails.
    #[serde(with = "duration")]
    pub keep_unverified: Duration,
    /// Evaluation has to fail for so long before `DatasourceDown` fires.
    #[serde(with = "duration")]
    pub source_down_after: Duration,
    /// Whether this program has alerts of its own: `DatasourceDown`, `TargetDown`, `RulesFailing`.
    pub own_alerts: bool,
    /// What these are labelled with.
    pub own_labels: BTreeMap<String, String>,
    pub flapping: Flapping,
}

/// When an alert counts as flapping.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flapping {
    /// So many times that it began to fire or ended; 0: never.
    pub changes: usize,
    /// In so many evaluations.
    pub evaluations: u32,
}

impl Default for Flapping {
    fn default() -> Flapping {
        Flapping { changes: 6, evaluations: 20 }
    }
}

impl Default for RulesConfig {
    fn default() -> RulesConfig {
        RulesConfig {
            resend_delay: Duration::from_secs(60),
            query_offset: Duration::ZERO,
            rule_timeout: Duration::from_secs(120),
            outage_tolerance: Duration::from_secs(3600),
            keep_unverified: Duration::from_secs(3600),
            source_down_after: Duration::from_secs(60),
            own_alerts: true,
            own_labels: BTreeMap::from([("severity".to_owned(), "critical".to_owned())]),
            flapping: Flapping::default(),
        }
    }
}

impl RulesConfig {
    /// Exactly what Prometheus does, as unit tests of rules want it.
    pub fn plain() -> RulesConfig {
        RulesConfig {
            keep_unverified: Duration::ZERO,
            flapping: Flapping { changes: 0, ..Flapping::default() },
            ..RulesConfig::default()
        }
    }

    /// Checks what types cannot say; `path` is only for messages.
    pub fn check(&self, path: &Path) -> Result<(), Invalid> {
        for (key, time) in
            [("rules.resend_delay", self.resend_delay), ("rules.rule_timeout", self.rule_timeout)]
        {
            if time.is_zero() {
                return Err(Invalid::value(path, key, "more than 0s", "0s"));
            }
        }
        let Flapping { changes, evaluations } = self.flapping;
        let most = usize::try_from(evaluations).unwrap_or(usize::MAX).min(MOST_CHANGES);
        if changes != 0 && !(2..=most).contains(&changes) {
            let expected = format!("0, or 2 to {most} (evaluations, and at most {MOST_CHANGES})");
            let found = changes.to_string();
            return Err(Invalid::value(path, "rules.flapping.changes", expected, found));
        }
        if let Some(name) = self.own_labels.keys().find(|name| !file::is_name(name, "")) {
            let expected = "names of labels";
            return Err(Invalid::value(path, "rules.own_labels", expected, format!("{name:?}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use pitcrew_exporter::config::yaml;

    use super::*;

    #[test]
    fn what_cannot_be() {
        let check = |text: &str| {
            let path = Path::new("alertd.yaml");
            yaml::parse::<RulesConfig>(path, text).and_then(|rules| rules.check(path))
        };
        for text in ["{}", "flapping: { changes: 0 }", "flapping: { changes: 4, evaluations: 8 }"] {
            check(text).unwrap();
        }
        for (text, want) in [
            ("resend_delay: 0s", "rules.resend_delay: expected more than 0s"),
            ("rule_timeout: 0s", "rules.rule_timeout: expected more than 0s"),
            ("keep_unverifed: 1h", "did you mean `keep_unverified`?"),
            ("flapping: { changes: 1 }", "rules.flapping.changes: expected 0, or 2 to 20"),
            ("flapping: { changes: 9, evaluations: 8 }", "expected 0, or 2 to 8"),
            ("own_labels: { a-b: c }", "rules.own_labels: expected names of labels"),
        ] {
            let error = check(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
