//! Inhibition: which firing alerts another firing alert silences (pure).

use std::collections::HashMap;

use crate::model::alert::Alert;
use crate::model::labels::{Fingerprint, Labels};
use crate::model::matcher::Matcher;
use crate::model::sample::Timestamp;

/// While an alert that `source` matches fires, those that `target` matches are not told, if both
/// have the same values of the `equal` labels (one that neither has counts as equal).
#[derive(Debug, Clone)]
pub struct InhibitRule {
    pub source: Vec<Matcher>,
    pub target: Vec<Matcher>,
    pub equal: Vec<String>,
}

impl InhibitRule {
    /// One of `alerts` that silences an alert with these labels at `now`.
    ///
    /// An alert that both sides match is not silenced by another such alert, nor by itself.
    pub fn muted_by(
        &self,
        labels: &Labels,
        alerts: &HashMap<Fingerprint, Alert>,
        now: Timestamp,
    ) -> Option<Fingerprint> {
        let all = |side: &[Matcher], labels: &Labels| side.iter().all(|m| m.matches_labels(labels));
        if !all(&self.target, labels) {
            return None;
        }
        let is_source = all(&self.source, labels);
        let mutes = |source: &Alert| {
            !source.is_resolved(now)
                && all(&self.source, &source.labels)
                && self.equal.iter().all(|name| source.labels.get(name) == labels.get(name))
                && !(is_source && all(&self.target, &source.labels))
        };
        alerts.iter().find(|(_, source)| mutes(source)).map(|(fingerprint, _)| *fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::matchers::parse;
    use std::collections::BTreeMap;

    #[test]
    fn a_source_mutes_its_targets_and_not_its_like() {
        let rule = InhibitRule {
            source: parse("severity=critical").unwrap(),
            target: parse("severity=~warning|critical").unwrap(),
            equal: vec!["instance".into()],
        };
        let labels = |severity, instance| {
            Labels::from_pairs([("severity", severity), ("instance", instance)])
        };
        let source = Alert {
            labels: labels("critical", "a"),
            annotations: BTreeMap::new(),
            starts_at: Timestamp(0),
            ends_at: Timestamp(100),
            generator_url: String::new(),
        };
        let alerts = HashMap::from([(source.fingerprint(), source)]);
        for (severity, instance, now, want) in [
            ("warning", "a", 50, true),
            ("warning", "b", 50, false),
            ("warning", "a", 100, false),
            ("critical", "a", 50, false),
            ("info", "a", 50, false),
        ] {
            let found = rule.muted_by(&labels(severity, instance), &alerts, Timestamp(now));
            assert_eq!(found.is_some(), want, "{severity} {instance} at {now}");
        }
    }
}
