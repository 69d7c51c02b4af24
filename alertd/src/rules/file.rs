//! Prometheus rule files: YAML to checked groups. What Prometheus refuses is refused here.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pitcrew_exporter::config::yaml::{self, Invalid};
use pitcrew_exporter::config::{duration, glob};
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::template::Template;
use crate::model::causes::causes;
use crate::model::labels::METRIC_NAME;
use crate::promql::error::PromqlError;
use crate::promql::{self, syntax::Expr};

/// One group of one file. Its rules are evaluated in order, at one timestamp.
#[derive(Debug, Clone)]
pub struct GroupSpec {
    /// As it was given: part of the identity of the group's alerts.
    pub file: String,
    pub name: String,
    /// Absent: the program's evaluation interval.
    pub interval: Option<Duration>,
    /// How far before the evaluation's time the expressions look. Absent: the program's.
    pub query_offset: Option<Duration>,
    /// Most series or alerts that one rule may yield; 0 is no limit.
    pub limit: usize,
    pub rules: Vec<RuleSpec>,
}

#[derive(Debug, Clone)]
pub struct RuleSpec {
    /// The metric that is recorded, or the alert's name.
    pub name: String,
    /// The expression as it was written.
    pub query: String,
    pub expr: Expr,
    /// The group's and the rule's, which win.
    pub labels: BTreeMap<String, Template>,
    pub kind: RuleKind,
    pub place: RulePlace,
}

/// Where a rule stands in its file: lines and columns from 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct RulePlace {
    pub name: (u64, u64),
    pub expr: (u64, u64),
}

#[derive(Debug, Clone)]
pub enum RuleKind {
    Recording,
    Alerting(AlertingSpec),
}

#[derive(Debug, Clone)]
pub struct AlertingSpec {
    /// `for`: how long an element must be there before its alert fires.
    pub hold: Duration,
    pub keep_firing_for: Duration,
    pub annotations: BTreeMap<String, Template>,
    /// A firing alert goes on while this yields its element, though the rule's expression does not:
    /// from the annotation [`KEEP_FIRING_WHILE`].
    pub keep_firing_while: Option<Expr>,
}

/// The annotation whose text is an expression: what the alert must be below, say, to end, where the
/// rule's own says what it must be above to fire. To Prometheus it is an annotation like others.
pub const KEEP_FIRING_WHILE: &str = "pitcrew_keep_firing_while";

/// Everything that is wrong with a set of rule files.
#[derive(Debug)]
pub struct RuleErrors(pub Vec<RuleError>);

/// Line and column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    #[error(transparent)]
    File(#[from] Invalid),
    #[error("{file}: no file matches")]
    NoMatch { file: PathBuf },
    #[error("{file}:{at}: group {group:?}: {message}")]
    Group { file: PathBuf, at: Place, group: String, message: String },
    #[error("{file}:{at}: group {group:?}, rule {rule:?}: {message}")]
    Rule { file: PathBuf, at: Place, group: String, rule: String, message: String },
}

/// Reads every file that the paths name; each may hold wildcards.
pub fn load(paths: &[PathBuf]) -> Result<Vec<GroupSpec>, RuleErrors> {
    let (mut groups, mut errors) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for pattern in paths {
        let files = glob::expand(pattern);
        if files.is_empty() {
            errors.push(RuleError::NoMatch { file: pattern.clone() });
        }
        for file in files {
            if !seen.insert(file.clone()) {
                continue;
            }
            match yaml::load(&file) {
                Ok(raw) => check(&file, raw, &mut groups, &mut errors),
                Err(invalid) => errors.push(invalid.into()),
            }
        }
    }
    match errors.is_empty() {
        true => Ok(groups),
        false => Err(RuleErrors(errors)),
    }
}

/// Reads the text of one file; `file` names it in errors and in the groups.
pub fn parse(file: &Path, text: &str) -> Result<Vec<GroupSpec>, RuleErrors> {
    let (mut groups, mut errors) = (Vec::new(), Vec::new());
    match yaml::parse(file, text) {
        Ok(raw) => check(file, raw, &mut groups, &mut errors),
        Err(invalid) => errors.push(invalid.into()),
    }
    match errors.is_empty() {
        true => Ok(groups),
        false => Err(RuleErrors(errors)),
    }
}

impl GroupSpec {
    /// Rules that agree with an earlier one of this group in kind, name and labels: the later one is
    /// surely a slip, though Prometheus loads it.
    pub fn repeated(&self) -> impl Iterator<Item = &RuleSpec> {
        self.rules.iter().enumerate().filter_map(|(at, rule)| {
            let same = |other: &RuleSpec| {
                std::mem::discriminant(&other.kind) == std::mem::discriminant(&rule.kind)
                    && other.name == rule.name
                    && other.labels == rule.labels
            };
            self.rules.iter().take(at).any(same).then_some(rule)
        })
    }
}

impl RuleSpec {
    pub fn alerting(&self) -> Option<&AlertingSpec> {
        match &self.kind {
            RuleKind::Alerting(spec) => Some(spec),
            RuleKind::Recording => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl fmt::Display for RuleErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let line = if at == 0 { "" } else { "\n" };
            write!(f, "{line}{}", causes(error))?;
        }
        Ok(())
    }
}

impl std::error::Error for RuleErrors {}

type Texts = Option<BTreeMap<String, Spanned<String>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    groups: Option<Vec<RawGroup>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    name: Spanned<String>,
    #[serde(default, with = "duration::optional")]
    interval: Option<Duration>,
    #[serde(default, with = "duration::optional")]
    query_offset: Option<Duration>,
    #[serde(default)]
    limit: usize,
    labels: Texts,
    rules: Option<Vec<RawRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    record: Option<Spanned<String>>,
    alert: Option<Spanned<String>>,
    expr: Spanned<String>,
    #[serde(default, rename = "for", with = "duration::optional")]
    hold: Option<Duration>,
    #[serde(default, with = "duration::optional")]
    keep_firing_for: Option<Duration>,
    labels: Texts,
    annotations: Texts,
}

/// Which rule of which file a check is about, for its errors.
struct About<'a> {
    file: &'a Path,
    group: &'a str,
    rule: String,
    errors: &'a mut Vec<RuleError>,
}

impl About<'_> {
    fn refuse(&mut self, at: Place, message: impl Into<String>) {
        self.errors.push(RuleError::Rule {
            file: self.file.into(),
            at,
            group: self.group.to_owned(),
            rule: self.rule.clone(),
            message: message.into(),
        });
    }
}

fn check(file: &Path, raw: RawFile, groups: &mut Vec<GroupSpec>, errors: &mut Vec<RuleError>) {
    let mut names = HashSet::new();
    for group in raw.groups.unwrap_or_default() {
        let (name, at) = (group.name.value.clone(), place(&group.name));
        let mut refuse = |message: &str| {
            let (file, group, message) = (file.into(), name.clone(), message.to_owned());
            errors.push(RuleError::Group { file, at, group, message });
        };
        if name.is_empty() {
            refuse("expected a name, found none");
        }
        if !names.insert(name.clone()) {
            refuse("expected a name that is unique in its file, found it twice");
        }
        if group.interval.is_some_and(|interval| interval.is_zero()) {
            refuse("interval: expected more than 0s, found 0s");
        }
        let mut rules = Vec::new();
        for rule in group.rules.unwrap_or_default() {
            let rule_name = rule.record.as_ref().or(rule.alert.as_ref());
            let rule_name = rule_name.map(|name| name.value.clone()).unwrap_or_default();
            let about = About { file, group: &name, rule: rule_name, errors: &mut *errors };
            rules.extend(check_rule(rule, group.labels.as_ref(), about));
        }
        groups.push(GroupSpec {
            file: file.display().to_string(),
            name,
            interval: group.interval,
            query_offset: group.query_offset,
            limit: group.limit,
            rules,
        });
    }
}

/// The rule, unless something is wrong with it; then every fault has been told to `about`.
fn check_rule(
    raw: RawRule,
    group_labels: Option<&BTreeMap<String, Spanned<String>>>,
    mut about: About<'_>,
) -> Option<RuleSpec> {
    let before = about.errors.len();
    let at = place(&raw.expr);
    match (&raw.record, &raw.alert) {
        (Some(_), Some(_)) => about.refuse(at, "expected one of record and alert, found both"),
        (None, None) => about.refuse(at, "expected one of record and alert, found neither"),
        (Some(name), None) => {
            if !is_name(&name.value, ":") {
                about.refuse(place(name), "record: expected a metric name, such as job:up:sum");
            }
            for (given, key) in [
                (raw.hold.is_some(), "for"),
                (raw.keep_firing_for.is_some(), "keep_firing_for"),
                (raw.annotations.as_ref().is_some_and(|texts| !texts.is_empty()), "annotations"),
            ] {
                if given {
                    about.refuse(at, format!("{key}: only an alerting rule may have it"));
                }
            }
        }
        (None, Some(name)) if name.value.is_empty() => {
            about.refuse(place(name), "alert: expected a name, found none");
        }
        (None, Some(_)) => {}
    }
    let query = raw.expr.value.trim().to_owned();
    let expr = match query.is_empty() {
        true => Err("expected an expression, found none".to_owned()),
        false => promql::parse(&query).map_err(|error| error.to_string()),
    };
    let expr = expr.map_err(|message| about.refuse(at, format!("expr: {message}"))).ok();
    let mut texts = group_labels.cloned().unwrap_or_default();
    texts.extend(raw.labels.unwrap_or_default());
    let alerting = raw.alert.is_some();
    let labels = templates("labels", texts, alerting, &mut about);
    let raw_annotations = raw.annotations.unwrap_or_default();
    let keep_firing_while = raw_annotations.get(KEEP_FIRING_WHILE).and_then(|text| {
        let refuse = |error: PromqlError| {
            about.refuse(place(text), format!("annotations.{KEEP_FIRING_WHILE}: {error}"));
        };
        promql::parse(&text.value).map_err(refuse).ok()
    });
    let annotations = templates("annotations", raw_annotations, true, &mut about);
    if about.errors.len() > before {
        return None;
    }
    let kind = match alerting {
        false => RuleKind::Recording,
        true => RuleKind::Alerting(AlertingSpec {
            hold: raw.hold.unwrap_or_default(),
            keep_firing_for: raw.keep_firing_for.unwrap_or_default(),
            annotations,
            keep_firing_while,
        }),
    };
    let spot = |text: &Spanned<String>| (place(text).line, place(text).column);
    let name = raw.record.as_ref().or(raw.alert.as_ref());
    let at = RulePlace { name: name.map(spot).unwrap_or_default(), expr: spot(&raw.expr) };
    Some(RuleSpec { name: about.rule, query, expr: expr?, labels, kind, place: at })
}

/// Parsed values of labels or annotations. Only an alerting rule's are templates.
fn templates(
    key: &str,
    texts: BTreeMap<String, Spanned<String>>,
    expand: bool,
    about: &mut About<'_>,
) -> BTreeMap<String, Template> {
    let mut parsed = BTreeMap::new();
    for (name, text) in texts {
        if !is_name(&name, "") || name == METRIC_NAME {
            about.refuse(place(&text), format!("{key}: {name:?} cannot be a name here"));
            continue;
        }
        let template = match expand {
            true => Template::parse(&text.value),
            false => Ok(Template::plain(&text.value)),
        };
        match template {
            Ok(template) => drop(parsed.insert(name, template)),
            Err(error) => about.refuse(place(&text), format!("{key}.{name}: template: {error}")),
        }
    }
    parsed
}

fn place<T>(spanned: &Spanned<T>) -> Place {
    Place { line: spanned.referenced.line(), column: spanned.referenced.column() }
}

/// Letters, digits, `_` and what else is allowed; no digit first.
pub(super) fn is_name(text: &str, also: &str) -> bool {
    let allowed = |char: char| char.is_ascii_alphanumeric() || char == '_' || also.contains(char);
    text.chars().all(allowed) && text.chars().next().is_some_and(|char| !char.is_ascii_digit())
}

#[cfg(test)]
mod tests;
