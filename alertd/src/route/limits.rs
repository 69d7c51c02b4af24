//! `limits` of alertd.yaml: how much is taken from people and from other programs.

use std::path::Path;

use pitcrew_exporter::config::yaml::Invalid;
use serde::Deserialize;

use crate::scrape::config::size::Size;

/// Neither may be set higher: a silence takes about two kilobytes of memory.
const MOST: usize = 1_000_000;

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub silences: SilenceLimits,
    pub posted_alerts: PostedLimits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SilenceLimits {
    /// Held, those that ended in the last days among them.
    pub max: usize,
    /// Of these, those that take a compiled expression in memory as long as they have not ended.
    pub max_with_regex: usize,
    /// Of these, those that no label's value finds: each is tried on every alert.
    pub max_unindexed: usize,
    /// Of all texts of one.
    pub max_size: Size,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostedLimits {
    /// Held, those that ended in the last hour among them.
    pub max: usize,
    /// Of all texts held.
    pub max_size: Size,
    /// Taken for long; callers without credentials share one such measure, all others another.
    pub per_second: u32,
    /// Taken at once after a quiet time.
    pub burst: u32,
}

impl Default for SilenceLimits {
    fn default() -> SilenceLimits {
        SilenceLimits {
            max: 100_000,
            max_with_regex: 10_000,
            max_unindexed: 1000,
            max_size: Size(64 * 1024),
        }
    }
}

impl Default for PostedLimits {
    fn default() -> PostedLimits {
        PostedLimits {
            max: 100_000,
            max_size: Size(256 * 1024 * 1024),
            per_second: 5000,
            burst: 100_000,
        }
    }
}

impl Limits {
    /// Checks what types cannot say; `path` is only for messages.
    ///
    /// # Errors
    /// With the first value that makes no sense.
    pub fn check(&self, path: &Path) -> Result<(), Invalid> {
        let (silences, posted) = (&self.silences, &self.posted_alerts);
        for (key, value, most) in [
            ("silences.max", silences.max, MOST),
            ("silences.max_with_regex", silences.max_with_regex, silences.max),
            ("silences.max_unindexed", silences.max_unindexed, silences.max),
            ("posted_alerts.max", posted.max, MOST),
            ("posted_alerts.per_second", posted.per_second as usize, MOST),
            ("posted_alerts.burst", posted.burst as usize, MOST),
        ] {
            if !(1..=most).contains(&value) {
                let (key, expected) = (format!("limits.{key}"), format!("1 to {most}"));
                return Err(Invalid::value(path, key, expected, value.to_string()));
            }
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
            yaml::parse::<Limits>(path, text).and_then(|limits| limits.check(path))
        };
        check("{}").unwrap();
        check("{ silences: { max: 1000000, max_size: 1MB }, posted_alerts: { burst: 1 } }")
            .unwrap();
        for (text, want) in [
            ("silences: { max: 0 }", "limits.silences.max: expected 1 to 1000000, found 0"),
            ("silences: { max: 5 }", "limits.silences.max_with_regex: expected 1 to 5"),
            ("posted_alerts: { per_second: 0 }", "posted_alerts.per_second: expected 1 to"),
            ("posted_alerts: { rate: 1 }", "rate"),
        ] {
            let error = check(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
