//! The runners that GitHub knows, as they were last read, and how old that is.

use std::collections::BTreeMap;

use crate::github::model::Runner;

/// By the scope's name: `owner/name`, an organization, or `enterprises/name`.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    pub scopes: BTreeMap<String, Registered>,
}

/// The runners of one scope.
#[derive(Debug, Clone, Default)]
pub struct Registered {
    /// All of them: an empty list is an empty fleet, not a failed call.
    pub runners: Vec<Runner>,
    /// When they were read, by our own clock, in seconds since the Unix epoch.
    pub read_at: f64,
}
