//! Alerts as they travel from rules to routing, actions and the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::labels::{Fingerprint, Labels};
use super::sample::Timestamp;

/// Texts by name. Shared, since an alert is in many hands.
pub type Annotations = Arc<BTreeMap<String, String>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    Inactive,
    Pending,
    Firing,
}

/// One label set of one alerting rule, as of the rule's last evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertInstance {
    /// With `alertname` and the rule's labels; without `__name__`.
    pub labels: Labels,
    pub annotations: Annotations,
    pub state: AlertState,
    pub value: f64,
    /// When the expression first held (start of pending).
    pub active_at: Timestamp,
    /// When it went from pending to firing.
    pub fired_at: Option<Timestamp>,
    /// When a firing one ended; such an instance is kept for a while to be told again.
    pub resolved_at: Option<Timestamp>,
    /// First evaluation without the element, while `keep_firing_for` holds it.
    pub keep_firing_since: Option<Timestamp>,
    pub last_sent_at: Option<Timestamp>,
    /// Since when it is kept alive although nothing shows that it still holds.
    pub unverified_since: Option<Timestamp>,
    /// When it lately began to fire or ended, oldest first.
    pub changes: Vec<Timestamp>,
    /// Since when it is held in the state firing because it changes too often. What acts on alerts
    /// leaves such a one alone.
    pub flapping_since: Option<Timestamp>,
}

/// Every pending and firing instance of every rule, replaced as a whole after each evaluation of a
/// group. The page and the pools read it.
#[derive(Debug, Clone, Default)]
pub struct ActiveAlerts {
    pub at: Timestamp,
    pub instances: Vec<Arc<AlertInstance>>,
}

/// What a rule hands to routing: a firing alert, or the end of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    pub labels: Labels,
    pub annotations: Annotations,
    pub starts_at: Timestamp,
    /// In the future while firing (a lease that each re-send renews), else when it was resolved.
    pub ends_at: Timestamp,
    pub generator_url: Arc<str>,
}

impl Alert {
    pub fn is_resolved(&self, now: Timestamp) -> bool {
        self.ends_at <= now
    }

    pub fn name(&self) -> &str {
        self.labels.get(super::labels::ALERT_NAME).unwrap_or("")
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.labels.fingerprint()
    }
}
