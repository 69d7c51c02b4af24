//! Matchers in all the forms that Alertmanager's file may give them, and the rules of inhibition.

use std::collections::BTreeMap;
use std::path::Path;

use pitcrew_exporter::config::yaml::Invalid;
use serde::Deserialize;

use super::nullable;
use crate::model::matcher::{MatchOp, Matcher};
use crate::route::inhibit::InhibitRule;
use crate::route::matchers;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct InhibitFile {
    /// Says what it is for; nothing depends on it.
    #[serde(rename = "name")]
    _name: Option<String>,
    #[serde(deserialize_with = "nullable")]
    source_matchers: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    source_match: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    source_match_re: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    target_matchers: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    target_match: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    target_match_re: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    equal: Vec<String>,
}

impl InhibitFile {
    pub(super) fn resolve(self, file: &Path, key: &str) -> Result<InhibitRule, Invalid> {
        let side = |name: &str, list, equal, regex| {
            conditions(file, key, &format!("{name}_matchers"), list, equal, regex)
        };
        if let Some(name) = self.equal.iter().find(|name| !matchers::is_name(name)) {
            let key = format!("{key}.equal");
            return Err(Invalid::value(file, key, "names of labels", format!("{name:?}")));
        }
        Ok(InhibitRule {
            source: side(
                "source",
                &self.source_matchers,
                &self.source_match,
                &self.source_match_re,
            )?,
            target: side(
                "target",
                &self.target_matchers,
                &self.target_match,
                &self.target_match_re,
            )?,
            equal: self.equal,
        })
    }
}

/// The new and the legacy forms of matchers, all of which must match.
pub(super) fn conditions(
    file: &Path,
    key: &str,
    name: &str,
    list: &[String],
    equal: &BTreeMap<String, String>,
    regex: &BTreeMap<String, String>,
) -> Result<Vec<Matcher>, Invalid> {
    let bad = |error: matchers::BadMatcher| {
        Invalid::value(file, format!("{key}.{name}"), error.expected, format!("{:?}", error.found))
    };
    let mut found = Vec::new();
    for text in list {
        found.extend(matchers::parse(text).map_err(bad)?);
    }
    for (label, value) in equal {
        found.push(matchers::legacy(MatchOp::Equal, label, value).map_err(bad)?);
    }
    for (label, value) in regex {
        found.push(matchers::legacy(MatchOp::Regex, label, value).map_err(bad)?);
    }
    Ok(found)
}
