//! `github.metrics` of exporter.yaml: what the metrics of workflows are counted by.

use std::path::Path;

use serde::Deserialize;

use crate::config::yaml::Invalid;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Series of all families of workflows together, each bucket of a histogram counted; what
    /// goes beyond a family's share of them is counted under `other`.
    pub max_series: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { max_series: 2000 }
    }
}

impl Settings {
    /// Checks what types cannot; `file` is only for the message.
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        if !(500..=100_000).contains(&self.max_series) {
            let found = self.max_series.to_string();
            return Err(Invalid::value(file, "github.metrics.max_series", "500 to 100000", found));
        }
        Ok(())
    }
}
