//! Which keys are queues: those named, and those that fit a pattern, found by `SCAN … TYPE`.

use std::collections::BTreeSet;
use std::time::Duration;

use redis::{Pipeline, Value};

use super::config::Server;
use super::connect::Session;
use super::pattern::{fits, is_pattern};
use super::problem::{Problem, reason};
use super::reply::{list, number, text, usable};
use crate::clock;

/// Keys that Redis looks at for one `SCAN`: about half a millisecond of its time.
const AT_ONCE: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Stream,
    List,
}

/// A key that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Whether the configuration names it, so that it is missed when it is not there.
    pub(super) named: bool,
}

/// What is known of the keys between scrapes.
#[derive(Debug, Default)]
pub(super) struct Found {
    named: Vec<Queue>,
    walks: Vec<Walk>,
    /// When the last walk over all keys began, in unixtime.
    walked: Option<f64>,
    max: usize,
}

/// A walk over all keys for one pattern.
#[derive(Debug)]
struct Walk {
    pattern: String,
    kind: Kind,
    /// Where it goes on; `None` when it is done.
    cursor: Option<u64>,
    finding: BTreeSet<String>,
    found: BTreeSet<String>,
    /// Keys that fit and are not taken.
    left_out: u64,
    /// Why Redis refuses to look.
    refused: Option<&'static str>,
}

impl Found {
    pub(super) fn new(server: &Server) -> Found {
        let listed = |name: &str| {
            server.lists.iter().any(|list| list == name || is_pattern(list) && fits(list, name))
        };
        let streams = server.streams.iter().map(|name| (name, Kind::Stream));
        let lists = server.lists.iter().map(|name| (name, Kind::List));
        let dead = server.dead_letters.iter().filter(|name| !listed(name));
        let dead = dead.map(|name| (name, Kind::Stream));
        let mut found = Found { max: server.max_queues, ..Found::default() };
        for (name, kind) in streams.chain(lists).chain(dead) {
            if is_pattern(name) {
                if !found.walks.iter().any(|walk| walk.pattern == *name && walk.kind == kind) {
                    found.walks.push(Walk::new(name, kind));
                }
            } else if !found.named.iter().any(|queue| queue.name == *name) {
                found.named.push(Queue { name: name.clone(), kind, named: true });
            }
        }
        found
    }

    /// Goes over the keys again if that is due, for `within` at most; what is left of the way is
    /// gone the next time.
    pub(super) async fn walk(
        &mut self,
        session: &mut Session,
        every: Duration,
        within: Duration,
        now: f64,
    ) -> Result<(), Problem> {
        let resting = self.walks.iter().all(|walk| walk.cursor.is_none());
        // A clock that was set back must not stop the walks.
        let due = self.walked.is_none_or(|at| !(0.0..every.as_secs_f64()).contains(&(now - at)));
        if resting && due {
            self.walked = Some(now);
            self.walks.iter_mut().for_each(Walk::begin);
        }
        let started = clock::monotonic();
        while started.elapsed() < within {
            let mut pipe = redis::pipe();
            for walk in &self.walks {
                walk.ask(&mut pipe);
            }
            if pipe.is_empty() {
                break;
            }
            let replies = session.ask(&pipe).await?;
            let under_way = self.walks.iter_mut().filter(|walk| walk.cursor.is_some());
            for (walk, reply) in under_way.zip(&replies) {
                walk.take(reply, self.max)?;
            }
        }
        Ok(())
    }

    /// The queues, at most as many as are wanted, and how many more there are.
    pub(super) fn queues(&self) -> (Vec<Queue>, u64) {
        let mut queues = self.named.clone();
        let mut names: BTreeSet<&str> =
            self.named.iter().map(|queue| queue.name.as_str()).collect();
        for walk in &self.walks {
            for name in walk.names().filter(|name| names.insert(name)) {
                queues.push(Queue { name: name.clone(), kind: walk.kind, named: false });
            }
        }
        let more = queues.len().saturating_sub(self.max);
        queues.truncate(self.max);
        (queues, more as u64 + self.walks.iter().map(|walk| walk.left_out).sum::<u64>())
    }

    /// Each pattern with how many keys fit it, or why this cannot be told.
    pub(super) fn patterns(&self) -> impl Iterator<Item = (&str, Result<usize, &'static str>)> {
        self.walks.iter().map(|walk| {
            let fitting = walk.refused.map_or_else(|| Ok(walk.names().count()), Err);
            (walk.pattern.as_str(), fitting)
        })
    }
}

impl Walk {
    fn new(pattern: &str, kind: Kind) -> Walk {
        Walk {
            pattern: pattern.to_owned(),
            kind,
            cursor: None,
            finding: BTreeSet::new(),
            found: BTreeSet::new(),
            left_out: 0,
            refused: None,
        }
    }

    fn begin(&mut self) {
        self.cursor = Some(0);
        self.finding.clear();
        self.left_out = 0;
    }

    /// What the last whole walk found, and what this one has found beside it.
    fn names(&self) -> impl Iterator<Item = &String> {
        let under_way = self.cursor.is_some();
        let new = self.finding.iter().filter(move |name| under_way && !self.found.contains(*name));
        self.found.iter().chain(new)
    }

    fn ask(&self, pipe: &mut Pipeline) {
        let Some(cursor) = self.cursor else { return };
        let kind = match self.kind {
            Kind::Stream => "stream",
            Kind::List => "list",
        };
        pipe.cmd("SCAN").arg(cursor).arg("MATCH").arg(&self.pattern);
        pipe.arg("COUNT").arg(AT_ONCE).arg("TYPE").arg(kind);
    }

    fn take(&mut self, reply: &Value, max: usize) -> Result<(), Problem> {
        let odd = || Problem::Protocol("the reply to SCAN is none".to_owned());
        if let Value::ServerError(error) = reply {
            self.refused = Some(reason(error));
            self.cursor = None;
            return Ok(());
        }
        let Some([cursor, keys]) = list(reply) else { return Err(odd()) };
        for key in list(keys).ok_or_else(odd)? {
            match text(key).filter(|name| usable(name)) {
                Some(name) if self.finding.contains(name) => {}
                Some(name) if self.finding.len() < max => {
                    self.finding.insert(name.to_owned());
                }
                _ => self.left_out += 1,
            }
        }
        self.refused = None;
        self.cursor = Some(number(cursor).ok_or_else(odd)?).filter(|cursor| *cursor != 0);
        if self.cursor.is_none() {
            self.found = std::mem::take(&mut self.finding);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(cursor: u64, keys: &[&str]) -> Value {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let keys = keys.iter().map(|key| bulk(key)).collect();
        Value::Array(vec![bulk(&cursor.to_string()), Value::Array(keys)])
    }

    fn names(found: &Found) -> Vec<String> {
        found.queues().0.into_iter().map(|queue| queue.name).collect()
    }

    #[test]
    fn names_need_no_walk_and_dead_letters_are_streams_unless_they_are_lists() {
        let server = Server {
            streams: vec!["a".to_owned(), "jobs:*".to_owned(), "a".to_owned()],
            lists: vec!["l*".to_owned(), "b".to_owned()],
            dead_letters: ["jobs:*", "b", "l1", "dead"].map(str::to_owned).to_vec(),
            ..Server::default()
        };
        let found = Found::new(&server);
        let kinds: Vec<_> = found.named.iter().map(|q| (q.name.as_str(), q.kind)).collect();
        assert_eq!(kinds, [("a", Kind::Stream), ("b", Kind::List), ("dead", Kind::Stream)]);
        let walks: Vec<_> = found.walks.iter().map(|w| (w.pattern.as_str(), w.kind)).collect();
        assert_eq!(walks, [("jobs:*", Kind::Stream), ("l*", Kind::List)]);
    }

    #[test]
    fn a_walk_shows_the_last_one_until_it_is_done_and_is_bounded() {
        let server = Server { streams: vec!["s*".to_owned()], max_queues: 2, ..Server::default() };
        let mut found = Found::new(&server);
        let max = found.max;
        found.walks[0].begin();
        found.walks[0].take(&page(7, &["s1", "s1"]), max).unwrap();
        assert_eq!(names(&found), ["s1"], "found so far");
        found.walks[0].take(&page(0, &["s2", "s3"]), max).unwrap();
        assert_eq!((names(&found), found.queues().1), (vec!["s1".into(), "s2".into()], 1));
        found.walks[0].begin();
        found.walks[0].take(&page(7, &[]), max).unwrap();
        assert_eq!(names(&found), ["s1", "s2"], "still what the last walk found");
        found.walks[0].take(&page(0, &["s2"]), max).unwrap();
        assert_eq!((names(&found), found.queues().1), (vec!["s2".into()], 0));
        assert!(found.walks[0].take(&Value::Int(1), max).is_err());
    }
}
