//! What a look at a server gave, as metrics: names, meaning, and how many series there may be.

use std::collections::BTreeMap;

use super::config::Server;
use super::problem::STATES;
use super::snapshot::{Detail, Group, Seen, Snapshot, Stream};
use crate::metric::{Desc, Families};

const UP: Desc = Desc::gauge(
    "queue_server_up",
    "Whether the server told about its queues (1) for this page or not (0).",
)
.with_labels(&["server"]);
const STATE: Desc = Desc::gauge(
    "queue_server_state",
    "1 for the state in which the server was found, 0 for the others: ok, or why it told nothing.",
)
.with_labels(&["server", "state"]);
const INFO: Desc =
    Desc::gauge("queue_server_info", "Version, mode and role (primary or replica) of the server.")
        .with_labels(&["server", "version", "mode", "role"]);
const LINK_UP: Desc = Desc::gauge(
    "queue_server_replica_link_up",
    "Of a replica: whether it hears from its primary; what it tells may be old otherwise.",
)
.with_labels(&["server"]);
const SKEW: Desc = Desc::gauge(
    "queue_server_clock_skew_seconds",
    "The server's clock minus this host's; ids and ages are by the server's.",
)
.with_labels(&["server"]);
const COMMANDS: Desc =
    Desc::counter("queue_server_commands_total", "Commands that this exporter sent to the server.")
        .with_labels(&["server"]);

const DEPTH: Desc = Desc::gauge(
    "queue_depth",
    "Entries of a stream, done ones that are still kept included, or of a list; absent for a \
     stream that is missing.",
)
.with_labels(&["server", "queue"]);
const PRESENT: Desc = Desc::gauge(
    "queue_present",
    "Whether a stream that the configuration names is there (1, empty or not) or missing (0).",
)
.with_labels(&["server", "queue"]);
const UNREADABLE: Desc = Desc::gauge(
    "queue_unreadable",
    "1 for a key or pattern that could not be read: of another type, without permission, on \
     another node of a cluster, or for an error that the log has.",
)
.with_labels(&["server", "queue", "reason"]);
const MATCHES: Desc = Desc::gauge("queue_pattern_matches", "Keys that fit the pattern.")
    .with_labels(&["server", "pattern"]);
const DEAD_LETTERS: Desc = Desc::gauge(
    "queue_dead_letters",
    "Entries of a stream or list that holds what nobody could do; 0 for a missing one.",
)
.with_labels(&["server", "queue"]);
const OLDEST_ENTRY: Desc = Desc::gauge(
    "queue_oldest_entry_timestamp_seconds",
    "When the first entry of a stream without groups was added, in unixtime.",
)
.with_labels(&["server", "queue"]);
const GROUPS: Desc =
    Desc::gauge("queue_groups", "Consumer groups of the stream.").with_labels(&["server", "queue"]);
const GROUP_PRESENT: Desc = Desc::gauge(
    "queue_group_present",
    "Whether a group that the configuration names is there (1) or missing (0); absent when its \
     stream cannot be read.",
)
.with_labels(GROUP);
const LAG: Desc = Desc::gauge(
    "queue_group_lag",
    "Entries that nobody of the group got yet, as Redis counts; absent where Redis does not know.",
)
.with_labels(GROUP);
const ESTIMATE: Desc = Desc::gauge(
    "queue_group_lag_estimate",
    "Entries that nobody of the group got yet: Redis' lag, but never more than are there; where \
     Redis does not know, exact for none and all, else reckoned from the ids.",
)
.with_labels(GROUP);
const PENDING: Desc =
    Desc::gauge("queue_group_pending", "Entries that were delivered and not acknowledged.")
        .with_labels(GROUP);
const OLDEST_UNDELIVERED: Desc = Desc::gauge(
    "queue_group_oldest_undelivered_timestamp_seconds",
    "When the first entry was added that nobody of the group got, in unixtime; absent when there \
     is none.",
)
.with_labels(GROUP);
const OLDEST_PENDING: Desc = Desc::gauge(
    "queue_group_oldest_pending_timestamp_seconds",
    "When the oldest entry was added that is not acknowledged, in unixtime.",
)
.with_labels(GROUP);
const OLDEST_DELIVERY: Desc = Desc::gauge(
    "queue_group_oldest_delivery_timestamp_seconds",
    "When that one of the 32 oldest pending entries was delivered that waits longest since, in \
     unixtime.",
)
.with_labels(GROUP);
const DELIVERIES: Desc = Desc::gauge(
    "queue_group_deliveries_max",
    "Most deliveries of one of the 32 oldest pending entries; where nothing else changes in the \
     group, asked for again after `refresh`.",
)
.with_labels(GROUP);
const CONSUMERS: Desc = Desc::gauge(
    "queue_group_consumers",
    "Consumers by state: busy (has entries), dead (has entries and was not heard of for \
     `dead_after`), waiting (has none), idle (has none and was not heard of for `idle_after`).",
)
.with_labels(&["server", "queue", "group", "state"]);
const CONSUMER_PENDING: Desc =
    Desc::gauge("queue_consumer_pending", "Entries that the consumer has not acknowledged.")
        .with_labels(CONSUMER);
const CONSUMER_SEEN: Desc = Desc::gauge(
    "queue_consumer_last_seen_timestamp_seconds",
    "When the consumer last asked for entries or claimed some, in unixtime; where nothing else \
     changes in the group, asked for again after `refresh`.",
)
.with_labels(CONSUMER);
const LEFT_OUT: Desc = Desc::counter(
    "queue_left_out_total",
    "Queues, groups, consumers and series of consumers that were left out of a page because there \
     were too many, or because a name cannot be a label.",
)
.with_labels(&["server", "what"]);

const GROUP: &[&str] = &["server", "queue", "group"];
const CONSUMER: &[&str] = &["server", "queue", "group", "consumer"];

pub(super) const DESCS: [Desc; 25] = [
    UP,
    STATE,
    INFO,
    LINK_UP,
    SKEW,
    COMMANDS,
    DEPTH,
    PRESENT,
    UNREADABLE,
    MATCHES,
    DEAD_LETTERS,
    OLDEST_ENTRY,
    GROUPS,
    GROUP_PRESENT,
    LAG,
    ESTIMATE,
    PENDING,
    OLDEST_UNDELIVERED,
    OLDEST_PENDING,
    OLDEST_DELIVERY,
    DELIVERIES,
    CONSUMERS,
    CONSUMER_PENDING,
    CONSUMER_SEEN,
    LEFT_OUT,
];

type Figure = fn(&Stream, &Group) -> Option<f64>;

/// What a group has one number of, if it is known.
const FIGURES: [(&Desc, Figure); 7] = [
    (&LAG, |_, group| group.row.lag.map(|lag| lag as f64)),
    (&ESTIMATE, |stream, group| group.estimate(stream.depth)),
    (&PENDING, |_, group| Some(group.row.pending as f64)),
    (&OLDEST_UNDELIVERED, |_, group| group.detail.next.flatten()?.seconds()),
    (&OLDEST_PENDING, |_, group| group.detail.oldest_pending?.seconds()),
    (&OLDEST_DELIVERY, |_, group| group.detail.oldest_delivery),
    (&DELIVERIES, |_, group| group.detail.deliveries.map(|count| count as f64)),
];

/// What counts on from page to page.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commands: u64,
    left_out: BTreeMap<&'static str, u64>,
}

/// The server itself; `state` is one of [`STATES`].
pub(super) fn server(label: &str, state: &str, counters: &Counters, out: &mut Families) {
    let up = state == "ok";
    out.add(&UP, &[label], f64::from(u8::from(up)));
    for one in STATES {
        out.add(&STATE, &[label, one], f64::from(u8::from(one == state)));
    }
    out.add(&COMMANDS, &[label], counters.commands as f64);
    for what in ["queues", "groups", "consumers", "consumer_series"] {
        let count = counters.left_out.get(what).copied().unwrap_or(0);
        out.add(&LEFT_OUT, &[label, what], count as f64);
    }
}

/// Its queues.
pub(super) fn queues(
    label: &str,
    server: &Server,
    shot: &Snapshot,
    counters: &mut Counters,
    out: &mut Families,
) {
    for (what, count) in &shot.left_out {
        *counters.left_out.entry(what).or_default() += count;
    }
    if let Some(version) = &shot.version {
        let mode = shot.mode.as_deref().unwrap_or("");
        let role = match shot.role.as_deref() {
            Some("master") => "primary",
            other => other.unwrap_or(""),
        };
        out.add(&INFO, &[label, version, mode, role], 1.0);
    }
    if let Some(up) = shot.link_up {
        out.add(&LINK_UP, &[label], f64::from(u8::from(up)));
    }
    if let Some(skew) = shot.skew {
        out.add(&SKEW, &[label], (skew * 1000.0).round() / 1000.0);
    }
    for (pattern, count) in &shot.patterns {
        out.add(&MATCHES, &[label, pattern], *count as f64);
    }
    for (queue, reason) in &shot.unreadable {
        out.add(&UNREADABLE, &[label, queue, reason], 1.0);
    }
    lengths(label, server, shot, out);
    for Stream { name, groups, first, .. } in &shot.streams {
        out.add(&GROUPS, &[label, name], groups.len() as f64);
        if let Some(at) = first.and_then(|id| id.seconds()) {
            out.add(&OLDEST_ENTRY, &[label, name], at);
        }
    }
    for (queue, group, there) in &shot.wanted {
        out.add(&GROUP_PRESENT, &[label, queue, group], f64::from(u8::from(*there)));
    }
    for (desc, figure) in FIGURES {
        for stream in &shot.streams {
            for group in &stream.groups {
                if let Some(value) = figure(stream, group) {
                    out.add(desc, &[label, &stream.name, &group.row.name], value);
                }
            }
        }
    }
    consumers(label, server, shot, counters, out);
    if server.redis_exporter_names {
        super::compat::families(server, shot, out);
    }
}

/// Depths, whether streams are there, and dead letters.
fn lengths(label: &str, server: &Server, shot: &Snapshot, out: &mut Families) {
    let streams = shot.streams.iter().map(|stream| (&stream.name, stream.depth));
    let lists = shot.lists.iter().map(|(name, depth)| (name, *depth));
    for (queue, depth) in streams.chain(lists) {
        out.add(&DEPTH, &[label, queue], depth as f64);
        if server.is_dead_letter(queue) {
            out.add(&DEAD_LETTERS, &[label, queue], depth as f64);
        }
    }
    for stream in shot.streams.iter().filter(|stream| stream.named) {
        out.add(&PRESENT, &[label, &stream.name], 1.0);
    }
    for queue in &shot.missing {
        // A stream of dead letters begins with the first of them.
        match server.is_dead_letter(queue) {
            true => out.add(&DEAD_LETTERS, &[label, queue], 0.0),
            false => out.add(&PRESENT, &[label, queue], 0.0),
        }
    }
}

fn consumers(
    label: &str,
    server: &Server,
    shot: &Snapshot,
    counters: &mut Counters,
    out: &mut Families,
) {
    let all = || {
        let groups = shot
            .streams
            .iter()
            .flat_map(|stream| stream.groups.iter().map(|group| (stream.name.as_str(), group)));
        groups.filter_map(|(stream, Group { row, detail: Detail { consumers, .. } })| {
            Some((stream, row.name.as_str(), consumers.as_ref()?))
        })
    };
    for (stream, group, consumers) in all() {
        let mut counts = [("busy", 0), ("dead", 0), ("waiting", 0), ("idle", 0)];
        for consumer in consumers {
            let state = state(consumer, server, shot.now);
            counts.iter_mut().filter(|(word, _)| *word == state).for_each(|(_, n)| *n += 1);
        }
        for (word, count) in counts {
            out.add(&CONSUMERS, &[label, stream, group, word], f64::from(count));
        }
    }
    if !server.per_consumer {
        return;
    }
    let series = || {
        all().flat_map(|(stream, group, consumers)| {
            consumers.iter().map(move |consumer| (stream, group, consumer))
        })
    };
    let more = series().count().saturating_sub(server.max_consumers) as u64;
    *counters.left_out.entry("consumer_series").or_default() += more;
    for (desc, value) in [
        (&CONSUMER_PENDING, (|consumer| consumer.pending as f64) as fn(&Seen) -> f64),
        (&CONSUMER_SEEN, |consumer| consumer.last),
    ] {
        for (stream, group, consumer) in series().take(server.max_consumers) {
            out.add(desc, &[label, stream, group, &consumer.name], value(consumer));
        }
    }
}

fn state(consumer: &Seen, server: &Server, now: f64) -> &'static str {
    let silent = now - consumer.last;
    match consumer.pending {
        0 if silent >= server.idle_after.as_secs_f64() => "idle",
        0 => "waiting",
        _ if silent >= server.dead_after.as_secs_f64() => "dead",
        _ => "busy",
    }
}
