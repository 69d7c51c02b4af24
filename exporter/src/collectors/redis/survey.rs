//! One look at a server: what is asked, in which round trips, and what is remembered for the next.
//!
//! First `HELLO`, `TIME`, and for each queue its length and groups: two commands a stream. Then,
//! for groups in which something has changed since they were last asked for, their consumers,
//! their oldest pending entries, and the first entry that nobody got; for all others that is kept
//! for as long as `refresh`. Bodies of entries stay at Redis but for that one entry: no command
//! gives an id alone.

use std::collections::HashMap;

use redis::{Pipeline, Value};

use super::config::Server;
use super::connect::Session;
use super::find::{Found, Kind, Queue};
use super::problem::{Problem, reason};
use super::reply::{self, Id, Row, list, number, text};
use super::snapshot::{Detail, Group, Seen, Snapshot, Stream};

/// How many of a group's oldest pending entries are looked at.
const OLDEST: usize = 32;

/// Seconds for which the ends of a stream are good enough for an estimate.
const ENDS_FOR: f64 = 60.0;

/// A stream and a group of it.
type Key = (String, String);

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(super) struct Memory {
    found: Found,
    groups: HashMap<Key, Kept>,
    firsts: HashMap<String, (u64, f64, Option<Id>)>,
}

#[derive(Debug, Clone)]
struct Kept {
    row: Row,
    depth: u64,
    /// When the detail was asked for, in unixtime.
    asked: f64,
    /// When the first consumer that was heard of then would count as idle or dead.
    crossing: f64,
    /// When `detail.next` and `detail.ends` were asked for.
    next_asked: f64,
    ends_asked: f64,
    /// Why some of it cannot be read.
    refused: Option<&'static str>,
    detail: Detail,
}

/// What a command of the second round trip is about: places in `streams` and their groups.
enum Ask {
    Consumers(usize, usize),
    Pending(usize, usize),
    Next(usize, usize),
    First(usize),
    Link,
}

/// Looks once; `now` is our time in unixtime.
pub(super) async fn look(
    server: &Server,
    session: &mut Session,
    memory: &mut Memory,
    now: f64,
) -> Result<Snapshot, Problem> {
    memory.found.walk(session, server.rescan, server.timeout / 4, now).await?;
    let (queues, more) = memory.found.queues();
    let mut shot = Snapshot { now, ..Snapshot::default() };
    shot.left_out.push(("queues", more));
    for (pattern, fitting) in memory.found.patterns() {
        match fitting {
            Ok(count) => shot.patterns.push((pattern.to_owned(), count)),
            Err(reason) => shot.unreadable.push((pattern.to_owned(), reason)),
        }
    }
    first_round(server, session, &queues, &mut shot).await?;
    let before = std::mem::take(&mut memory.groups);
    let mut kept = second_round(server, session, memory, before, &mut shot, now).await?;
    ends(session, &mut kept).await?;
    for stream in &mut shot.streams {
        for group in &mut stream.groups {
            if let Some(kept) = kept.get(&(stream.name.clone(), group.row.name.clone())) {
                group.detail = kept.detail.clone();
            }
        }
    }
    memory.groups = kept;
    Ok(shot)
}

/// The server itself, and each queue's length and groups.
async fn first_round(
    server: &Server,
    session: &mut Session,
    queues: &[Queue],
    shot: &mut Snapshot,
) -> Result<(), Problem> {
    let mut pipe = redis::pipe();
    pipe.cmd("HELLO").cmd("TIME");
    for Queue { name, kind, .. } in queues {
        match kind {
            Kind::Stream => {
                pipe.cmd("XLEN").arg(name).cmd("XINFO").arg("GROUPS").arg(name);
            }
            Kind::List => {
                pipe.cmd("LLEN").arg(name);
            }
        }
    }
    let replies = session.ask(&pipe).await?;
    let mut replies = replies.iter();
    if let Some(hello) = replies.next().and_then(list) {
        let word = |name| reply::field(hello, name).and_then(text).map(str::to_owned);
        (shot.version, shot.mode, shot.role) = (word("version"), word("mode"), word("role"));
    }
    if let Some(time) = replies.next().and_then(reply::time) {
        shot.skew = Some(time - shot.now);
        shot.now = time;
    }
    let (mut refused, mut left_out, mut room) = (None, 0, server.max_groups);
    for Queue { name, kind, named } in queues {
        let mut next = || replies.next().unwrap_or(&Value::Nil);
        let replies = match kind {
            Kind::Stream => (next(), Some(next())),
            Kind::List => (next(), None),
        };
        let errors = [Some(replies.0), replies.1].into_iter().flatten();
        let mut errors = errors.filter_map(|reply| match reply {
            Value::ServerError(error) => Some(error),
            _ => None,
        });
        let odd = || Problem::Protocol(format!("the length or groups of {name} are none"));
        match (errors.next(), replies) {
            (None, (depth, None)) => {
                shot.lists.push((name.clone(), number(depth).ok_or_else(odd)?));
            }
            (None, (depth, Some(groups))) => {
                let depth = number(depth).ok_or_else(odd)?;
                let (mut rows, unusable) = reply::rows(groups).ok_or_else(odd)?;
                wanted(name, &rows, server, shot);
                left_out += unusable + rows.len().saturating_sub(room) as u64;
                rows.truncate(room);
                room -= rows.len();
                let groups = rows.into_iter().map(|row| Group { row, detail: Detail::default() });
                let (name, groups) = (name.clone(), groups.collect());
                shot.streams.push(Stream { name, named: *named, depth, groups, first: None });
            }
            (Some(error), _) if error.details().is_some_and(|text| text == "no such key") => {
                if *named {
                    shot.missing.push(name.clone());
                    wanted(name, &[], server, shot);
                }
            }
            (Some(error), _) => {
                shot.unreadable.push((name.clone(), reason(error)));
                refused = Some(super::problem::words(error));
            }
        }
    }
    shot.left_out.push(("groups", left_out));
    let nothing = shot.streams.is_empty() && shot.lists.is_empty() && shot.missing.is_empty();
    match refused {
        Some(text) if nothing && shot.unreadable.iter().all(|(_, why)| *why == "no_permission") => {
            Err(Problem::Permission(text))
        }
        _ => Ok(()),
    }
}

/// Looks for the groups that have to be there, before any is left out.
fn wanted(stream: &str, rows: &[Row], server: &Server, shot: &mut Snapshot) {
    for group in server.groups.get(stream).into_iter().flatten() {
        let there = rows.iter().any(|row| row.name == *group);
        shot.wanted.push((stream.to_owned(), group.clone(), there));
    }
}

/// What is due of the groups' details; returns what is known of them now.
async fn second_round(
    server: &Server,
    session: &mut Session,
    memory: &mut Memory,
    before: HashMap<Key, Kept>,
    shot: &mut Snapshot,
    now: f64,
) -> Result<HashMap<Key, Kept>, Problem> {
    let (pipe, asks, mut known) = due(server, memory, &before, shot, now);
    let replies = session.ask(&pipe).await?;
    for (ask, reply) in asks.iter().zip(&replies) {
        let (at, nth) = match ask {
            Ask::Link => {
                let state = list(reply).and_then(|role| text(role.get(3)?));
                shot.link_up = state.map(|state| state == "connected");
                continue;
            }
            Ask::First(at) => (*at, None),
            Ask::Consumers(at, nth) | Ask::Pending(at, nth) | Ask::Next(at, nth) => {
                (*at, Some(*nth))
            }
        };
        let stream = &mut shot.streams[at];
        let refused = match reply {
            // The group went since the first round trip: the next look tells.
            Value::ServerError(error) if error.code() == "NOGROUP" => continue,
            Value::ServerError(error) => Some(reason(error)),
            _ => None,
        };
        let odd = || Problem::Protocol(format!("details of {} are none", stream.name));
        let Some(nth) = nth else {
            match refused {
                Some(reason) => shot.unreadable.push((stream.name.clone(), reason)),
                None => {
                    stream.first = reply::only_id(reply).ok_or_else(odd)?;
                    let first = (stream.depth, now, stream.first);
                    memory.firsts.insert(stream.name.clone(), first);
                }
            }
            continue;
        };
        let key = (stream.name.clone(), stream.groups[nth].row.name.clone());
        let Some(kept) = known.get_mut(&key) else { continue };
        match ask {
            _ if refused.is_some() => kept.refused = refused,
            Ask::Consumers(..) => {
                let consumers = reply::consumers(reply).ok_or_else(odd)?;
                kept.heard(&consumers, server, shot.now);
            }
            Ask::Pending(..) => kept.waiting(&reply::pending(reply).ok_or_else(odd)?, shot.now),
            _ => kept.detail.next = Some(reply::only_id(reply).ok_or_else(odd)?),
        }
    }
    for ((stream, _), kept) in &known {
        let problem = kept.refused.map(|reason| (stream.clone(), reason));
        shot.unreadable.extend(problem.filter(|problem| !shot.unreadable.contains(problem)));
    }
    let there: Vec<&str> = shot.streams.iter().map(|stream| stream.name.as_str()).collect();
    memory.firsts.retain(|name, _| there.contains(&name.as_str()));
    Ok(known)
}

/// The commands of the second round trip, what each is about, and what needs none of them.
fn due(
    server: &Server,
    memory: &Memory,
    before: &HashMap<Key, Kept>,
    shot: &mut Snapshot,
    now: f64,
) -> (Pipeline, Vec<Ask>, HashMap<Key, Kept>) {
    let refresh = server.refresh.as_secs_f64();
    let (mut pipe, mut asks, mut crowds) = (redis::pipe(), Vec::new(), 0);
    let mut known = HashMap::with_capacity(before.len());
    for (at, Stream { name, depth, groups, first, .. }) in shot.streams.iter_mut().enumerate() {
        if groups.is_empty() && *depth > 0 {
            match memory.firsts.get(name) {
                Some((then, asked, id)) if then == depth && now - asked < refresh => *first = *id,
                _ => {
                    pipe.cmd("XRANGE").arg(&*name).arg("-").arg("+").arg("COUNT").arg(1);
                    asks.push(Ask::First(at));
                }
            }
        }
        for (nth, Group { row, .. }) in groups.iter().enumerate() {
            let key = (name.clone(), row.name.clone());
            let kept = before.get(&key);
            let crowd = row.consumers > server.max_consumers as u64;
            crowds += if crowd { row.consumers } else { 0 };
            if let Some(kept) = kept.filter(|kept| !kept.is_due(row, *depth, refresh, now)) {
                known.insert(key, kept.clone());
                continue;
            }
            let mut new = Kept::new(row, *depth, now);
            if let Some(kept) =
                kept.filter(|kept| (0.0..ENDS_FOR).contains(&(now - kept.ends_asked)))
            {
                (new.detail.ends, new.ends_asked) = (kept.detail.ends, kept.ends_asked);
            }
            if row.consumers == 0 {
                new.detail.consumers = Some(Vec::new());
            } else if !crowd {
                pipe.cmd("XINFO").arg("CONSUMERS").arg(&*name).arg(&row.name);
                asks.push(Ask::Consumers(at, nth));
            }
            if row.pending > 0 {
                pipe.cmd("XPENDING").arg(&*name).arg(&row.name).arg("-").arg("+").arg(OLDEST);
                asks.push(Ask::Pending(at, nth));
            }
            match kept.and_then(|kept| kept.next_of(row, refresh, now)) {
                _ if *depth == 0 || row.lag == Some(0) => new.detail.next = Some(None),
                Some((id, asked)) => {
                    (new.detail.next, new.next_asked) = (Some(Some(id)), asked);
                }
                None => {
                    let after = row.last_delivered.next().to_string();
                    pipe.cmd("XRANGE").arg(&*name).arg(after).arg("+").arg("COUNT").arg(1);
                    asks.push(Ask::Next(at, nth));
                }
            }
            known.insert(key, new);
        }
    }
    shot.left_out.push(("consumers", crowds));
    if shot.role.as_deref() == Some("replica") {
        pipe.cmd("ROLE");
        asks.push(Ask::Link);
    }
    (pipe, asks, known)
}

/// Asks for the first and last entry of streams with a group that waits and whose lag Redis does
/// not know.
async fn ends(session: &mut Session, known: &mut HashMap<Key, Kept>) -> Result<(), Problem> {
    let mut pipe = redis::pipe();
    let mut asked: Vec<&str> = Vec::new();
    for ((stream, _), Kept { row, detail, .. }) in known.iter() {
        let waits = matches!(detail.next, Some(Some(_)));
        let new = row.lag.is_none() && waits && detail.ends.is_none();
        if new && !asked.contains(&stream.as_str()) {
            pipe.cmd("XRANGE").arg(stream).arg("-").arg("+").arg("COUNT").arg(1);
            pipe.cmd("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
            asked.push(stream);
        }
    }
    let replies = session.ask(&pipe).await?;
    let both = replies.chunks_exact(2).map(|pair| {
        let id = |reply| reply::only_id(reply).flatten();
        id(&pair[0]).zip(id(&pair[1]))
    });
    let found: HashMap<String, (Id, Id)> = asked
        .into_iter()
        .zip(both)
        .filter_map(|(name, ends)| Some((name.to_owned(), ends?)))
        .collect();
    for ((stream, _), kept) in known.iter_mut() {
        if kept.row.lag.is_none() && kept.detail.ends.is_none() {
            kept.detail.ends = found.get(stream).copied();
        }
    }
    Ok(())
}

impl Memory {
    pub(super) fn new(server: &Server) -> Memory {
        Memory { found: Found::new(server), ..Memory::default() }
    }
}

impl Kept {
    fn new(row: &Row, depth: u64, now: f64) -> Kept {
        let (row, detail) = (row.clone(), Detail::default());
        let crossing = f64::INFINITY;
        Kept {
            row,
            depth,
            asked: now,
            crossing,
            next_asked: now,
            ends_asked: now,
            refused: None,
            detail,
        }
    }

    /// Whether something may have changed: the row (the length tells of new entries where the lag
    /// does not), or a consumer's state by the passing of time; or it was long ago.
    fn is_due(&self, row: &Row, depth: u64, refresh: f64, now: f64) -> bool {
        self.row != *row
            || (row.lag.is_none() && self.depth != depth)
            || !(0.0..refresh).contains(&(now - self.asked))
            || self.crossing <= now
    }

    /// The first entry that nobody got, where it is still the same: nothing was delivered since.
    fn next_of(&self, row: &Row, refresh: f64, now: f64) -> Option<(Id, f64)> {
        let same = self.row.last_delivered == row.last_delivered;
        let fresh = (0.0..refresh).contains(&(now - self.next_asked));
        self.detail.next.flatten().filter(|_| same && fresh).map(|id| (id, self.next_asked))
    }

    fn heard(&mut self, consumers: &[reply::Consumer], server: &Server, now: f64) {
        let seen = consumers.iter().map(|consumer| {
            let limit = match consumer.pending {
                0 => server.idle_after,
                _ => server.dead_after,
            };
            if consumer.idle < limit {
                let left = (limit - consumer.idle).as_secs_f64();
                self.crossing = self.crossing.min(self.asked + left);
            }
            let last = now - consumer.idle.as_secs_f64();
            Seen { name: consumer.name.clone(), pending: consumer.pending, last }
        });
        self.detail.consumers = Some(seen.collect());
    }

    fn waiting(&mut self, pending: &[reply::Pending], now: f64) {
        self.detail.oldest_pending = pending.first().map(|first| first.id);
        let longest = pending.iter().map(|entry| entry.idle).max();
        self.detail.oldest_delivery = longest.map(|idle| now - idle.as_secs_f64());
        self.detail.deliveries = pending.iter().map(|entry| entry.deliveries).max();
    }
}

#[cfg(test)]
mod tests;
