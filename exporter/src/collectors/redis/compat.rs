//! prometheus-redis-exporter's names for streams, for dashboards that exist, from the same look.
//!
//! Left out is what only `XINFO STREAM` tells: it brings the bodies of two entries along.

use super::config::{Server, target};
use super::snapshot::{Group, Seen, Snapshot};
use crate::metric::{Desc, Families};

const STREAM: &[&str] = &["db", "stream"];
const GROUP: &[&str] = &["db", "stream", "group"];
const CONSUMER: &[&str] = &["db", "stream", "group", "consumer"];

const LENGTH: Desc =
    Desc::gauge("redis_stream_length", "Entries of the stream.").with_labels(STREAM);
const GROUPS: Desc =
    Desc::gauge("redis_stream_groups", "Consumer groups of the stream.").with_labels(STREAM);
const CONSUMERS: Desc =
    Desc::gauge("redis_stream_group_consumers", "Consumers of the group.").with_labels(GROUP);
const PENDING: Desc = Desc::gauge(
    "redis_stream_group_messages_pending",
    "Entries that were delivered and not acknowledged.",
)
.with_labels(GROUP);
const DELIVERED: Desc = Desc::gauge(
    "redis_stream_group_last_delivered_id",
    "Milliseconds of the id that was delivered last.",
)
.with_labels(GROUP);
const READ: Desc = Desc::gauge(
    "redis_stream_group_entries_read",
    "Entries that the group has read; absent, and not 0, where Redis does not know.",
)
.with_labels(GROUP);
const LAG: Desc = Desc::gauge(
    "redis_stream_group_lag",
    "Entries that the group has not read; absent, and not 0, where Redis does not know.",
)
.with_labels(GROUP);
const CONSUMER_PENDING: Desc = Desc::gauge(
    "redis_stream_group_consumer_messages_pending",
    "Entries that the consumer has not acknowledged.",
)
.with_labels(CONSUMER);
const CONSUMER_IDLE: Desc = Desc::gauge(
    "redis_stream_group_consumer_idle_seconds",
    "Time since the consumer last asked for entries or claimed some.",
)
.with_labels(CONSUMER);

pub(super) const DESCS: [Desc; 9] =
    [LENGTH, GROUPS, CONSUMERS, PENDING, DELIVERED, READ, LAG, CONSUMER_PENDING, CONSUMER_IDLE];

pub(super) fn families(server: &Server, shot: &Snapshot, out: &mut Families) {
    let database = target(&server.url).map_or(0, |target| target.database);
    let db = format!("db{database}");
    for stream in &shot.streams {
        out.add(&LENGTH, &[&db, &stream.name], stream.depth as f64);
        out.add(&GROUPS, &[&db, &stream.name], stream.groups.len() as f64);
    }
    let groups = || {
        shot.streams
            .iter()
            .flat_map(|stream| stream.groups.iter().map(|group| (stream.name.as_str(), group)))
    };
    for (desc, value) in [
        (&CONSUMERS, (|group| Some(group.row.consumers as f64)) as fn(&Group) -> Option<f64>),
        (&PENDING, |group| Some(group.row.pending as f64)),
        (&DELIVERED, |group| Some(group.row.last_delivered.ms as f64)),
        (&READ, |group| group.row.entries_read.map(|count| count as f64)),
        (&LAG, |group| group.row.lag.map(|count| count as f64)),
    ] {
        for (stream, group) in groups() {
            if let Some(value) = value(group) {
                out.add(desc, &[&db, stream, &group.row.name], value);
            }
        }
    }
    let consumers = || {
        groups().flat_map(|(stream, group)| {
            let consumers = group.detail.consumers.iter().flatten();
            consumers.map(move |consumer| (stream, group.row.name.as_str(), consumer))
        })
    };
    for (stream, group, Seen { name, pending, .. }) in consumers().take(server.max_consumers) {
        out.add(&CONSUMER_PENDING, &[&db, stream, group, name], *pending as f64);
    }
    for (stream, group, Seen { name, last, .. }) in consumers().take(server.max_consumers) {
        let idle = (shot.now - last).max(0.0);
        out.add(&CONSUMER_IDLE, &[&db, stream, group, name], idle);
    }
}
