//! Whether a flush has something to tell that the last notification did not (pure).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::db::notification_log::{Hashes, LogEntry};
use crate::model::sample::Timestamp;

/// Why a notification is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The receiver knows of nothing firing in this group.
    First,
    /// An alert fires that was not told.
    NewAlerts,
    /// Some of the told alerts ended.
    SomeResolved,
    /// The last of the told alerts ended.
    AllResolved,
    /// Nothing changed for the repeat interval.
    Repeat,
    /// Somebody did something about the alerts: for messages that are changed in place.
    Noted,
}

/// A group's alerts at a flush, by hash.
#[derive(Debug, Clone, Default)]
pub struct Current {
    pub firing: Hashes,
    /// Firing, but inhibited, silenced or out of its time: not told, and not over either.
    pub muted: Hashes,
    /// Firing, and somebody looks after it, or it is held because it flaps: not told again when
    /// nothing has changed.
    pub quiet: Hashes,
    pub resolved: Hashes,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// `None`: the log is brought up to date and nothing is sent.
    pub reason: Option<Reason>,
    /// What the receiver takes to be firing after this.
    pub firing: Hashes,
    /// What it is told has ended: only what it was told of.
    pub resolved: Hashes,
}

/// Compares a group with what its receiver was told last; `None` when there is nothing to do.
///
/// An alert that resolved is told only to who was told that it fired. One that is muted after it was
/// told counts as firing until it ends, and its end is told.
pub fn decide(
    entry: Option<&LogEntry>,
    current: &Current,
    send_resolved: bool,
    repeat_interval: Duration,
    now: Timestamp,
) -> Option<Decision> {
    let none = Hashes::new();
    let told = entry.map_or(&none, |entry| &entry.firing);
    let resolved: Hashes = current.resolved.intersection(told).cloned().collect();
    let kept = current.muted.intersection(told);
    let firing: Hashes = current.firing.iter().chain(kept).cloned().collect();
    let due = entry.is_some_and(|entry| entry.notified_at.plus(repeat_interval) <= now);
    let reason = match () {
        () if told.is_empty() && !current.firing.is_empty() => Some(Reason::First),
        () if !current.firing.is_subset(told) => Some(Reason::NewAlerts),
        () if !resolved.is_empty() && !send_resolved => None,
        () if !resolved.is_empty() && firing.is_empty() => Some(Reason::AllResolved),
        () if !resolved.is_empty() => Some(Reason::SomeResolved),
        () if !current.firing.is_subset(&current.quiet) && due => Some(Reason::Repeat),
        () => return None,
    };
    Some(Decision { reason, firing, resolved })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::notification_log::Lane;

    fn hashes(text: &str) -> Hashes {
        let letters = text.chars().filter(|c| *c != ' ');
        letters.map(|c| c.to_string().parse().unwrap()).collect()
    }

    #[test]
    fn tells_changes_once_and_repeats() {
        use Reason::*;
        // told | firing (capital: quiet) | muted | resolved | seconds since | send_resolved | want
        for (told, firing, muted, resolved, since, all, want) in [
            ("", "a", "", "", 0, true, Some((Some(First), "a", ""))),
            ("", "", "", "a", 0, true, None),
            ("a", "a", "", "", 99, true, None),
            ("a", "a", "", "", 100, true, Some((Some(Repeat), "a", ""))),
            ("a", "ab", "", "", 1, true, Some((Some(NewAlerts), "ab", ""))),
            ("ab", "a", "", "b", 1, true, Some((Some(SomeResolved), "a", "b"))),
            ("ab", "a", "", "b", 1, false, Some((None, "a", "b"))),
            ("ab", "a", "", "b", 500, false, Some((None, "a", "b"))),
            ("a", "", "", "a", 1, true, Some((Some(AllResolved), "", "a"))),
            ("a", "", "", "a", 1, false, Some((None, "", "a"))),
            // One came and went between two flushes: nobody was told, nobody is.
            ("a", "a", "", "b", 1, true, None),
            ("a", "c", "", "ab", 1, true, Some((Some(NewAlerts), "c", "a"))),
            // Inhibited before it was told: silent. Inhibited after: its end is told.
            ("", "", "a", "", 1, true, None),
            ("a", "", "a", "", 500, true, None),
            ("ab", "", "a", "b", 1, true, Some((Some(SomeResolved), "a", "b"))),
            ("a", "", "", "a", 500, true, Some((Some(AllResolved), "", "a"))),
            ("a", "b", "a", "", 1, true, Some((Some(NewAlerts), "ab", ""))),
            // Quiet: no repeats, while new ones and ends are told.
            ("a", "A", "", "", 500, true, None),
            ("ab", "Ab", "", "", 500, true, Some((Some(Repeat), "ab", ""))),
            ("a", "Ab", "", "", 1, true, Some((Some(NewAlerts), "ab", ""))),
            ("", "A", "", "", 0, true, Some((Some(First), "a", ""))),
            ("ab", "A", "", "b", 1, true, Some((Some(SomeResolved), "a", "b"))),
        ] {
            let entry = LogEntry {
                lane: Lane { group_key: "g".into(), integration: "i".into() },
                firing: hashes(told),
                resolved: Hashes::new(),
                told: hashes(told),
                memory: String::new(),
                sequence: 1,
                notified_at: Timestamp(0),
            };
            let current = Current {
                firing: hashes(&firing.to_lowercase()),
                quiet: hashes(&firing.replace(char::is_lowercase, "").to_lowercase()),
                muted: hashes(muted),
                resolved: hashes(resolved),
            };
            let now = Timestamp(since * 1000);
            let found = decide(Some(&entry), &current, all, Duration::from_secs(100), now);
            let found = found.map(|d| (d.reason, d.firing, d.resolved));
            let want = want.map(|(reason, firing, gone)| (reason, hashes(firing), hashes(gone)));
            assert_eq!(
                found, want,
                "told {told}, firing {firing}, muted {muted}, resolved {resolved}"
            );
        }
    }
}
