//! What the simulator can be told about itself; every key can change while it runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Times in seconds. The defaults are GitHub's own figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A runner is shown offline this long after its last contact.
    pub offline_after: f64,
    /// The job of a runner that fell silent fails after this.
    pub lost_after: f64,
    /// A job that nobody took is cancelled after this.
    pub queue_limit: f64,
    /// A job is offered to runners this long after it was queued.
    pub assign_delay: f64,
    /// `busy` shows the truth of this long ago.
    pub busy_lag: f64,
    /// `busy` is false even in the middle of a job, as GitHub's sometimes is.
    pub busy_hidden: bool,
    /// Calls per token in one window.
    pub rate_limit: u64,
    pub rate_window: f64,
    /// Points per token and minute: a read costs 1, a write 5.
    pub secondary_points: u64,
    /// Writes per token and minute.
    pub secondary_writes: u64,
    /// How a secondary limit answers: 403 or 429.
    pub secondary_status: u16,
    /// Added to every answer.
    pub latency: f64,
    /// GitHub's clock less the machine's.
    pub clock_skew: f64,
    /// The simulator's clock stands here, and moves by this key alone.
    pub time: Option<f64>,
    /// The repositories that exist; all do when empty.
    pub repositories: Vec<String>,
    /// Personal access tokens and the names of their holders.
    pub tokens: BTreeMap<String, String>,
    pub app_id: u64,
    pub installation_id: u64,
    /// Life of an installation token.
    pub installation_token_life: f64,
    /// Calls that every token is refused: a part of their path, and the permission they want.
    pub denied: BTreeMap<String, String>,
    pub webhooks: Vec<Webhook>,
    /// What the billing endpoint lists, each item with its `date`.
    pub usage: Vec<serde_json::Value>,
}

/// Where events go. The shares are of all deliveries, from 0 to 1, decided by a fixed seed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    pub id: u64,
    pub url: String,
    /// Signs the deliveries.
    pub secret: String,
    /// A repository, an organization or `app`; whatever happens anywhere when empty.
    pub scope: String,
    /// All when empty.
    pub events: Vec<String>,
    /// Form encoding rather than JSON.
    pub form: bool,
    /// Never arrives, and GitHub's list of deliveries says so.
    pub lost: f64,
    /// Arrives twice.
    pub repeated: f64,
    /// Arrives after some that happened later.
    pub late: f64,
}

/// A token that every simulator accepts unless told otherwise.
pub const TOKEN: &str = "github_pat_simulator";
/// The token of a person who changes things by hand, so that the ledger can tell.
pub const HAND_TOKEN: &str = "github_pat_by_hand";

impl Default for Settings {
    fn default() -> Settings {
        let tokens = [(TOKEN, "pitcrew"), (HAND_TOKEN, "hand")];
        let own = |(token, name): (&str, &str)| (token.to_owned(), name.to_owned());
        Settings {
            offline_after: 60.0,
            lost_after: 600.0,
            queue_limit: 86_400.0,
            assign_delay: 0.0,
            busy_lag: 30.0,
            busy_hidden: false,
            rate_limit: 5000,
            rate_window: 3600.0,
            secondary_points: 900,
            secondary_writes: 80,
            secondary_status: 403,
            latency: 0.0,
            clock_skew: 0.0,
            time: None,
            denied: BTreeMap::new(),
            usage: Vec::new(),
            repositories: Vec::new(),
            tokens: tokens.map(own).into(),
            app_id: 1,
            installation_id: 2,
            installation_token_life: 3600.0,
            webhooks: Vec::new(),
        }
    }
}

impl Settings {
    /// These settings with the keys of `change` in place of their own.
    pub fn with(&self, change: &serde_json::Value) -> Result<Settings, String> {
        let mut all = serde_json::to_value(self).map_err(|error| error.to_string())?;
        let change = change.as_object().ok_or("expected an object")?;
        for (key, value) in change {
            all[key] = value.clone();
        }
        serde_json::from_value(all).map_err(|error| error.to_string())
    }
}
