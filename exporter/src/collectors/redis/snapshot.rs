//! What one look at a server gave (pure).

use super::reply::{Id, Row};

/// What one look gave.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) version: Option<String>,
    pub(super) mode: Option<String>,
    pub(super) role: Option<String>,
    /// Of a replica: whether it hears from its primary.
    pub(super) link_up: Option<bool>,
    /// Its clock minus ours, in seconds.
    pub(super) skew: Option<f64>,
    /// Its own time, in unixtime; ours, if it does not tell.
    pub(super) now: f64,
    pub(super) streams: Vec<Stream>,
    /// Lists with their lengths.
    pub(super) lists: Vec<(String, u64)>,
    /// Streams that the configuration names and that are not there.
    pub(super) missing: Vec<String>,
    /// Stream and name of each group that the configuration names, and whether it is there.
    pub(super) wanted: Vec<(String, String, bool)>,
    /// Keys and patterns that cannot be read, and why.
    pub(super) unreadable: Vec<(String, &'static str)>,
    pub(super) patterns: Vec<(String, usize)>,
    /// What was left out because there is too much of it, or its name cannot be a label.
    pub(super) left_out: Vec<(&'static str, u64)>,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) named: bool,
    pub(super) depth: u64,
    pub(super) groups: Vec<Group>,
    /// The first entry, of a stream without groups.
    pub(super) first: Option<Id>,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) row: Row,
    pub(super) detail: Detail,
}

/// What is not in a group's row. `None` is unknown throughout.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Detail {
    pub(super) consumers: Option<Vec<Seen>>,
    /// Of the oldest pending entries: the first one's id, …
    pub(super) oldest_pending: Option<Id>,
    /// … when the one was delivered that waits longest since, in the server's time, …
    pub(super) oldest_delivery: Option<f64>,
    /// … and the most deliveries of one.
    pub(super) deliveries: Option<u64>,
    /// The first entry that nobody got; the inner `None`: there is none.
    pub(super) next: Option<Option<Id>>,
    /// The first and last entry of the stream, where Redis does not know the lag.
    pub(super) ends: Option<(Id, Id)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) pending: u64,
    /// When it last asked for entries or claimed some, in the server's time.
    pub(super) last: f64,
}

impl Group {
    /// Entries that nobody got yet: Redis' own lag, never more than are there; where Redis does
    /// not know it, exact if it is nothing or everything, else reckoned from the ids as if entries
    /// had come evenly.
    pub(super) fn estimate(&self, depth: u64) -> Option<f64> {
        let depth = depth as f64;
        let Detail { next, ends, .. } = &self.detail;
        match (self.row.lag, next, ends) {
            (Some(lag), _, _) => Some((lag as f64).min(depth)),
            (None, Some(None), _) => Some(0.0),
            (None, Some(Some(_)), Some((first, last))) => {
                let delivered = self.row.last_delivered;
                if delivered < *first {
                    return Some(depth);
                }
                let span = last.ms.saturating_sub(first.ms) as f64;
                let left = last.ms.saturating_sub(delivered.ms) as f64;
                let share = if span > 0.0 { left / span } else { 0.5 };
                Some((depth * share).round().min(depth - 1.0).max(1.0))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> Id {
        Id { ms, sequence: 0 }
    }

    fn row(lag: Option<u64>) -> Row {
        Row {
            name: "g".to_owned(),
            consumers: 1,
            pending: 1,
            last_delivered: id(2_000),
            entries_read: None,
            lag,
        }
    }

    #[test]
    fn the_lag_that_redis_does_not_know_is_reckoned_and_bounded() {
        let ends = Some((id(1_000), id(5_000)));
        for (lag, next, ends, depth, want) in [
            (Some(7), None, None, 10, Some(7.0)),
            // Trimmed away before anybody got it: Redis counts on.
            (Some(7), None, None, 3, Some(3.0)),
            (None, Some(None), None, 10, Some(0.0)),
            (None, Some(Some(id(2_001))), ends, 100, Some(75.0)),
            (None, Some(Some(id(3_000))), Some((id(3_000), id(5_000))), 100, Some(100.0)),
            (None, Some(Some(id(2_000))), Some((id(2_000), id(2_000))), 100, Some(50.0)),
            (None, Some(Some(id(4_999))), Some((id(0), id(2_000))), 100, Some(1.0)),
            (None, None, None, 10, None),
        ] {
            let detail = Detail { next, ends, ..Detail::default() };
            let group = Group { row: row(lag), detail };
            assert_eq!(group.estimate(depth), want, "{lag:?} {next:?} {ends:?}");
        }
    }
}
