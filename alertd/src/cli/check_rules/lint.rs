//! What is odd in rules that can be loaded.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use pitcrew_exporter::config::duration;
use serde::Serialize;

use super::catalogue::{Catalogue, Unknown};
use super::references::references;
use super::source::Source;
use crate::promql::advice::About;
use crate::rules::file::{AlertingSpec, GroupSpec, RuleKind, RuleSpec};
use crate::rules::template::Template;
use crate::runbooks;

/// How the rules will be used.
pub(super) struct Settings {
    pub(super) scrape_interval: Duration,
    /// Of groups that give none.
    pub(super) evaluation_interval: Duration,
    /// Metrics that there are beside those that Pitcrew knows.
    pub(super) known: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) severity: Severity,
    pub(super) code: &'static str,
    pub(super) group: String,
    pub(super) rule: String,
    pub(super) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    Error,
    Warning,
    Info,
}

/// Every code, with what it means.
pub(super) const CODES: [(&str, Severity); 13] = [
    ("absent-labels", Severity::Info),
    ("always-true", Severity::Warning),
    ("duplicate-rule", Severity::Warning),
    ("lost-label", Severity::Warning),
    ("missing-for", Severity::Warning),
    ("never-true", Severity::Warning),
    ("no-runbook", Severity::Warning),
    ("no-such-runbook", Severity::Warning),
    ("no-summary", Severity::Warning),
    ("raw-counter", Severity::Warning),
    ("short-for", Severity::Warning),
    ("short-window", Severity::Warning),
    ("unknown-metric", Severity::Warning),
];

/// All findings that no comment silences, in the order of the files. `sources` are the texts of the
/// files by their names.
pub(super) fn lint(
    groups: &[GroupSpec],
    sources: &BTreeMap<String, String>,
    settings: &Settings,
) -> Vec<Finding> {
    let recorded = groups.iter().flat_map(|group| &group.rules);
    let recorded = recorded.filter(|rule| rule.alerting().is_none()).map(|rule| rule.name.clone());
    let catalogue = Catalogue::new(recorded.chain(settings.known.iter().cloned()));
    let mut begins: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for group in groups {
        begins.entry(&group.file).or_default().extend(group.rules.iter().map(begin));
    }
    let duplicates = duplicates(groups);
    let mut findings = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        let source = Source::new(sources.get(&group.file).map_or("", String::as_str));
        let lines = begins.get(group.file.as_str());
        for (nth, rule) in group.rules.iter().enumerate() {
            let next = lines.and_then(|lines| lines.range(begin(rule) + 1..).next().copied());
            let silenced = source.silenced(begin(rule), next);
            let mut one = Rule { group, rule, source: &source, found: Vec::new() };
            if let Some(first) = duplicates.get(&(at, nth)) {
                one.name("duplicate-rule", format!("the same as {first}"));
            }
            one.expression(&catalogue, settings);
            if let Some(alerting) = rule.alerting() {
                one.alert(alerting, settings);
            }
            findings.extend(one.found.into_iter().filter(|one| !silenced.contains(one.code)));
        }
    }
    findings
}

struct Rule<'a> {
    group: &'a GroupSpec,
    rule: &'a RuleSpec,
    source: &'a Source<'a>,
    found: Vec<Finding>,
}

impl Rule<'_> {
    fn add(&mut self, (line, column): (u64, u64), code: &'static str, message: String) {
        let severity = CODES.iter().find(|(known, _)| *known == code);
        self.found.push(Finding {
            file: self.group.file.clone(),
            line,
            column,
            severity: severity.map_or(Severity::Warning, |(_, severity)| *severity),
            code,
            group: self.group.name.clone(),
            rule: self.rule.name.clone(),
            message,
        });
    }

    fn name(&mut self, code: &'static str, message: String) {
        self.add(self.rule.place.name, code, message);
    }

    fn expression(&mut self, catalogue: &Catalogue, settings: &Settings) {
        for (at, name) in self.rule.expr.metrics() {
            let place = self.source.place(self.rule, at);
            match catalogue.find(name) {
                Some(Unknown::Metric(message)) => self.add(place, "unknown-metric", message),
                Some(Unknown::Recording) => {
                    self.add(place, "unknown-metric", format!("no rule given here records {name}"));
                    // It may be recorded in another file.
                    if let Some(last) = self.found.last_mut() {
                        last.severity = Severity::Info;
                    }
                }
                None => {}
            }
        }
        for advice in self.rule.expr.advice(settings.scrape_interval) {
            let code = match advice.about {
                About::NeverTrue => "never-true",
                About::AlwaysTrue => "always-true",
                About::RawCounter => "raw-counter",
                About::ShortWindow => "short-window",
                About::AbsentLabels => "absent-labels",
            };
            self.add(self.source.place(self.rule, advice.at), code, advice.message);
        }
    }

    fn alert(&mut self, alerting: &AlertingSpec, settings: &Settings) {
        let interval = self.group.interval.unwrap_or(settings.evaluation_interval);
        let hold = alerting.hold;
        if hold.is_zero() && self.rule.expr.hangs_on_one_sample() {
            let message = "no `for`: one sample is enough to fire, and one to end it".to_owned();
            self.name("missing-for", message);
        }
        if !hold.is_zero() && hold < interval {
            let (hold, interval) = (duration::format(hold), duration::format(interval));
            let message = format!(
                "for: {hold} is shorter than the interval of {interval}, so it fires at the second evaluation"
            );
            self.name("short-for", message);
        }
        let texts = &alerting.annotations;
        if !["summary", "description", "message"].iter().any(|name| texts.contains_key(*name)) {
            self.name("no-summary", "no summary: who is told reads only labels".to_owned());
        }
        match texts.iter().find(|(name, _)| name.starts_with("runbook")) {
            None => {
                let message = "no runbook_url: who is woken finds no help".to_owned();
                self.name("no-runbook", message);
            }
            Some((_, url)) => self.runbook(url.text()),
        }
        let carried = self.rule.expr.carried();
        let named = self.rule.labels.iter().chain(texts);
        let mut lost = BTreeSet::new();
        for (name, template) in named {
            let used = references(template.text()).into_iter();
            lost.extend(used.filter(|label| !carried.may_have(label)).map(|label| (name, label)));
        }
        let lost: Vec<_> = lost.into_iter().map(|(name, label)| (name.clone(), label)).collect();
        for (name, label) in lost {
            let why = match self.rule.labels.contains_key(&label) || label == "alertname" {
                true => "it is the rule's own, and templates see only the expression's",
                false => "the expression has no such label",
            };
            self.name("lost-label", format!("{name}: $labels.{label} is always empty: {why}"));
        }
    }

    /// A page that comes with the program must be one that does.
    fn runbook(&mut self, url: &str) {
        let compact: String = url.split_whitespace().collect();
        let own = ["{{$externalURL}}", "{{.ExternalURL}}", "{{externalURL}}"]
            .iter()
            .find_map(|url| compact.strip_prefix(url)?.strip_prefix("/runbooks/"));
        if let Some(page) = own.filter(|page| !page.contains("{{"))
            && runbooks::page(page).is_none()
        {
            self.name("no-such-runbook", format!("no page {page} comes with Pitcrew"));
        }
    }
}

fn begin(rule: &RuleSpec) -> u64 {
    rule.place.name.0.min(rule.place.expr.0)
}

/// Rules that repeat an earlier one, by their places, with what they repeat: the same name and
/// labels in one file, the same recording in any, or the same in all.
fn duplicates(groups: &[GroupSpec]) -> HashMap<(usize, usize), String> {
    type Seen<'a> = Vec<(&'a GroupSpec, &'a RuleSpec)>;
    let mut seen: HashMap<&str, Seen<'_>> = HashMap::new();
    let mut found = HashMap::new();
    for (at, group) in groups.iter().enumerate() {
        for (nth, rule) in group.rules.iter().enumerate() {
            let earlier = seen.entry(&rule.name).or_default();
            let first = earlier.iter().find(|(other_group, other)| {
                let recording = matches!(rule.kind, RuleKind::Recording);
                let kind = std::mem::discriminant(&other.kind);
                kind == std::mem::discriminant(&rule.kind)
                    && labels(&other.labels).eq(labels(&rule.labels))
                    && (recording
                        || other_group.file == group.file
                        || other.expr.to_string() == rule.expr.to_string())
            });
            if let Some((other, first)) = first {
                let place =
                    format!("{}:{}, group {:?}", other.file, first.place.name.0, other.name);
                found.insert((at, nth), place);
            }
            earlier.push((group, rule));
        }
    }
    found
}

fn labels(labels: &BTreeMap<String, Template>) -> impl Iterator<Item = (&str, &str)> {
    labels.iter().map(|(name, template)| (name.as_str(), template.text()))
}
