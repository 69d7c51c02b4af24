//! `collectors.redis`: which servers are asked, how to sign in, and what counts as a queue.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::agents::AgentEvents;
use crate::config::duration;
use crate::config::yaml::Invalid;

/// The servers; in YAML one mapping, or a list of them.
#[derive(Debug, Clone, Default)]
pub struct Settings(pub Vec<Server>);

/// One Redis and the queues on it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// The metrics' label `server`; default: host and port, or the Sentinels' name for it.
    pub name: Option<String>,
    /// `redis://HOST:PORT/DATABASE`, `rediss://…` for TLS, or `unix:///path/to/socket`; behind
    /// Sentinels only its scheme and database count.
    pub url: String,
    pub username: Option<String>,
    /// Read at each connection, so that a new password needs no restart.
    pub password_file: Option<PathBuf>,
    pub tls: Option<Tls>,
    pub sentinel: Option<Sentinel>,
    /// Streams by name, or as Redis' own patterns (`jobs:*`).
    pub streams: Vec<String>,
    /// Lists that are queues, in the same way.
    pub lists: Vec<String>,
    /// Those of the streams and lists, and further streams, that hold what nobody could do.
    pub dead_letters: Vec<String>,
    /// By the name of a stream: the consumer groups that have to be there.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Longest time for one scrape of this server, from connecting to the last reply.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Longest time until a new key that fits a pattern is found.
    #[serde(with = "duration")]
    pub rescan: Duration,
    /// Longest time until consumers and deliveries are asked for again in a group where nothing
    /// else has changed.
    #[serde(with = "duration")]
    pub refresh: Duration,
    /// A consumer without jobs that has not been heard of for this long is idle.
    #[serde(with = "duration")]
    pub idle_after: Duration,
    /// A consumer with jobs that has not been heard of for this long is dead; longer than the
    /// longest job, unless workers claim their own entries while they work.
    #[serde(with = "duration")]
    pub dead_after: Duration,
    /// Whether each consumer gets series of its own.
    pub per_consumer: bool,
    /// Whether prometheus-redis-exporter's `redis_stream_*` are exposed too.
    pub redis_exporter_names: bool,
    pub max_queues: usize,
    pub max_groups: usize,
    pub max_consumers: usize,
    /// Where agents, or whoever starts them, tell of their lives.
    pub agents: Option<AgentEvents>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// The name in the server's certificate, where it is not the host of the address.
    pub server_name: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sentinel {
    /// The name under which the Sentinels know the server.
    pub master: String,
    /// `HOST:PORT` of each.
    pub addresses: Vec<String>,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// What stands in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) tls: bool,
    pub(super) database: i64,
}

/// Upper bounds of the keys that bound others.
const MOST: usize = 10_000;
const LONGEST: Duration = Duration::from_secs(86_400);
/// Names and patterns together; each pattern is a walk over the whole key space.
const MAX_NAMED: usize = 1_000;
const MAX_PATTERNS: usize = 50;

impl Default for Server {
    fn default() -> Server {
        Server {
            name: None,
            url: "redis://127.0.0.1:6379".to_owned(),
            username: None,
            password_file: None,
            tls: None,
            sentinel: None,
            streams: Vec::new(),
            lists: Vec::new(),
            dead_letters: Vec::new(),
            groups: BTreeMap::new(),
            timeout: Duration::from_secs(2),
            rescan: Duration::from_secs(60),
            refresh: Duration::from_secs(300),
            idle_after: Duration::from_secs(300),
            dead_after: Duration::from_secs(1800),
            per_consumer: false,
            redis_exporter_names: false,
            max_queues: 500,
            max_groups: 1000,
            max_consumers: 1000,
            agents: None,
        }
    }
}

impl Settings {
    /// Makes relative paths begin at `folder`.
    pub fn start_paths_at(&mut self, folder: &Path) {
        for server in &mut self.0 {
            let tls = server.tls.iter_mut();
            let tls = tls.flat_map(|tls| [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file]);
            let sentinel = server.sentinel.iter_mut().map(|sentinel| &mut sentinel.password_file);
            let paths = tls.chain(sentinel).chain([&mut server.password_file]);
            for path in paths.flatten() {
                *path = folder.join(&path);
            }
        }
    }

    /// Checks what types cannot; `file` is only for the message.
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        let mut names = BTreeSet::new();
        for server in &self.0 {
            server.check().map_err(|(key, expected, found)| {
                Invalid::value(file, format!("collectors.redis.{key}"), expected, found)
            })?;
            if !names.insert(server.label()) {
                let expected = "a name of its own for each server";
                return Err(Invalid::value(
                    file,
                    "collectors.redis.name",
                    expected,
                    server.label(),
                ));
            }
        }
        if self.0.iter().filter(|server| server.redis_exporter_names).count() > 1 {
            let expected = "true for one server at most, as these series have no label for it";
            let key = "collectors.redis.redis_exporter_names";
            return Err(Invalid::value(file, key, expected, "several"));
        }
        Ok(())
    }
}

/// Key, expectation, and what was found.
type Wrong = (String, String, String);

impl Server {
    /// The label `server`.
    pub(super) fn label(&self) -> String {
        match (&self.name, &self.sentinel, target(&self.url)) {
            (Some(name), _, _) => name.clone(),
            (None, Some(sentinel), _) => sentinel.master.clone(),
            (None, None, Ok(target)) => target.place.to_string(),
            (None, None, Err(_)) => String::new(),
        }
    }

    /// Whether one of these patterns fits the key.
    pub(super) fn is_dead_letter(&self, key: &str) -> bool {
        self.dead_letters.iter().any(|pattern| super::pattern::fits(pattern, key))
    }

    fn check(&self) -> Result<(), Wrong> {
        let wrong = |key: &str, expected: &str, found: String| {
            Err((key.to_owned(), expected.to_owned(), found))
        };
        let target = match target(&self.url) {
            Ok(target) => target,
            // The URL itself may hold a password.
            Err(expected) => return wrong("url", expected, "something else".to_owned()),
        };
        if self.tls.is_some() && !target.tls {
            return wrong("url", "rediss://…, as there is `tls`", "a URL without TLS".to_owned());
        }
        if let Some(Tls { cert_file, key_file, .. }) = &self.tls
            && cert_file.is_some() != key_file.is_some()
        {
            return wrong("tls", "cert_file and key_file, or neither", "one of them".to_owned());
        }
        if self.username.is_some() && self.password_file.is_none() {
            return wrong("username", "password_file beside it", "none".to_owned());
        }
        if let Some(sentinel) = &self.sentinel {
            if sentinel.addresses.is_empty() || sentinel.master.is_empty() {
                let expected = "a master's name and the address of a Sentinel";
                return wrong("sentinel", expected, "none".to_owned());
            }
            let bad = sentinel.addresses.iter().find(|address| host_and_port(address).is_none());
            if let Some(bad) = bad {
                return wrong("sentinel.addresses", "HOST:PORT", bad.clone());
            }
        }
        let named = [&self.streams, &self.lists, &self.dead_letters];
        if named.iter().all(|names| names.is_empty()) && self.agents.is_none() {
            return wrong("streams", "streams, lists, dead_letters or agents", "none".to_owned());
        }
        if named.iter().any(|names| names.iter().any(String::is_empty)) {
            return wrong("streams", "names and patterns", "an empty one".to_owned());
        }
        let all = || named.iter().flat_map(|names| names.iter());
        if all().count() > MAX_NAMED {
            let expected = format!("at most {MAX_NAMED} names and patterns");
            return wrong("streams", &expected, all().count().to_string());
        }
        let patterns = all().filter(|name| super::pattern::is_pattern(name)).count();
        if patterns > MAX_PATTERNS {
            let expected = format!("at most {MAX_PATTERNS} patterns");
            return wrong("streams", &expected, patterns.to_string());
        }
        if let Some((stream, _)) = self.groups.iter().find(|(_, groups)| groups.is_empty()) {
            return wrong("groups", "a list of groups", format!("none for {stream}"));
        }
        if let Some(stream) = self.groups.keys().find(|stream| !self.streams.contains(stream)) {
            return wrong("groups", "names that stand in `streams`", stream.clone());
        }
        for (key, time, least) in [
            ("timeout", self.timeout, 0.01),
            ("rescan", self.rescan, 1.0),
            ("refresh", self.refresh, 0.0),
            ("idle_after", self.idle_after, 1.0),
            ("dead_after", self.dead_after, 1.0),
        ] {
            if time < Duration::from_secs_f64(least) || time > LONGEST {
                let least = duration::format(Duration::from_secs_f64(least));
                return wrong(key, &format!("{least} to 1d"), duration::format(time));
            }
        }
        for (key, count) in [
            ("max_queues", self.max_queues),
            ("max_groups", self.max_groups),
            ("max_consumers", self.max_consumers),
        ] {
            if !(1..=MOST).contains(&count) {
                return wrong(key, &format!("1 to {MOST}"), count.to_string());
            }
        }
        match self.agents.as_ref().map(AgentEvents::check) {
            Some(Err((key, expected, found))) => {
                Err((format!("agents.{key}"), expected.to_owned(), found))
            }
            _ => Ok(()),
        }
    }
}

/// Takes a URL apart; the error is what was expected.
pub(super) fn target(url: &str) -> Result<Target, &'static str> {
    let expected = "redis://HOST:PORT/DATABASE, rediss://… or unix:///path";
    let url = redis::parse_redis_url(url).ok_or(expected)?;
    if url.password().is_some() || !url.username().is_empty() {
        return Err("a URL without user and password: `username` and `password_file` hold them");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a URL without query and fragment");
    }
    if matches!(url.scheme(), "unix" | "redis+unix" | "valkey+unix") {
        let path = PathBuf::from(url.path());
        return match path.is_absolute() && url.path() != "/" {
            true => Ok(Target { place: Place::Unix(path), tls: false, database: 0 }),
            false => Err(expected),
        };
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(expected)?;
    let database = match url.path().trim_matches('/') {
        "" => 0,
        number => number.parse().ok().filter(|number| *number >= 0).ok_or(expected)?,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let place = Place::Tcp { host, port: url.port().unwrap_or(6379) };
    Ok(Target { place, tls: matches!(url.scheme(), "rediss" | "valkeys"), database })
}

/// `HOST:PORT`, the host of an IPv6 address in brackets.
pub(super) fn host_and_port(address: &str) -> Option<Place> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().ok()?;
    (!host.is_empty()).then(|| Place::Tcp { host: host.to_owned(), port })
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Tcp { host, port } => write!(f, "{host}:{port}"),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Settings, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Settings;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a server with its queues, or a list of servers")
            }
            fn visit_str<E: Error>(self, _: &str) -> Result<Settings, E> {
                // The text itself may be a URL with a password.
                Err(E::invalid_type(Unexpected::Other("a text"), &self))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Settings, A::Error> {
                let server = Server::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Settings(vec![server]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Settings, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Settings)
            }
        }
        from.deserialize_any(OneOrMore)
    }
}

#[cfg(test)]
mod tests;
