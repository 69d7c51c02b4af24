//! `rules` of alertd.yaml: how rules are evaluated and what becomes of their alerts.

use std::path::Path;
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use serde::Deserialize;

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
}

impl Default for RulesConfig {
    fn default() -> RulesConfig {
        RulesConfig {
            resend_delay: Duration::from_secs(60),
            query_offset: Duration::ZERO,
            rule_timeout: Duration::from_secs(120),
            outage_tolerance: Duration::from_secs(3600),
            keep_unverified: Duration::from_secs(3600),
        }
    }
}

impl RulesConfig {
    /// Exactly what Prometheus does, as unit tests of rules want it.
    pub fn plain() -> RulesConfig {
        RulesConfig { keep_unverified: Duration::ZERO, ..RulesConfig::default() }
    }

    /// Checks what types cannot say; `file` is only for messages.
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        for (key, time) in
            [("rules.resend_delay", self.resend_delay), ("rules.rule_timeout", self.rule_timeout)]
        {
            if time.is_zero() {
                return Err(Invalid::value(file, key, "more than 0s", "0s"));
            }
        }
        Ok(())
    }
}
