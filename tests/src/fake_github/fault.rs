//! Faults that tests put between the simulator and its callers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One fault; the first that fits a call is used.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Any method when absent.
    #[serde(default)]
    pub method: Option<String>,
    /// Part of the call's path; empty fits all.
    #[serde(default)]
    pub path: String,
    /// How many calls it spoils; all until it is cleared when absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// Whether the call has its effect all the same, as when only the answer is lost.
    #[serde(default)]
    pub effect: bool,
    pub kind: Kind,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    Status {
        status: u16,
        #[serde(default)]
        message: String,
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// The right answer, late by so many milliseconds.
    Latency(u64),
    /// No answer at all.
    Hang,
    /// A connection that ends in the middle of the answer.
    Close,
    /// Half of the right answer's JSON.
    Truncate,
    /// A proxy's page, with this status.
    Html(u16),
    /// Every number a text, every text a number.
    WrongType,
    /// A redirect to this address.
    Redirect(String),
    /// A `Link` header with this next page.
    NextPage(String),
    /// An answer of so many bytes.
    Huge(usize),
}

/// The faults that are set, in order.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub fn set(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault for this call, counted down.
    pub fn take(&mut self, method: &str, path: &str) -> Option<Fault> {
        let fits = |fault: &Fault| {
            fault.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
                && path.contains(&fault.path)
        };
        let at = self.0.iter().position(fits)?;
        let fault = self.0[at].clone();
        if let Some(times) = &mut self.0[at].times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.0.remove(at);
            }
        }
        Some(fault)
    }
}
