//! Lives of build agents, from the events that they (or whoever starts them) add to a stream.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::reply::Id;
use crate::metric::{Desc, Families};

pub(super) mod follow;

/// `collectors.redis.agents`: the stream, and the words that its entries use.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentEvents {
    pub stream: String,
    #[serde(default)]
    pub fields: Fields,
    #[serde(default)]
    pub events: Words,
}

/// Names of an entry's fields.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fields {
    pub event: String,
    pub agent: String,
    /// Becomes the label `pool`.
    pub pool: String,
    /// Whether a start was a cold or a warm one; without it, an agent that was there before is warm.
    pub start: String,
    /// Seconds that a start took; without it, the time since the agent was asked for.
    pub seconds: String,
}

/// What stands in the field `event` for each thing that can happen, and in `start` for its kinds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Words {
    pub requested: Vec<String>,
    pub started: Vec<String>,
    pub idle: Vec<String>,
    pub running: Vec<String>,
    pub requeued: Vec<String>,
    pub timed_out: Vec<String>,
    pub stopped: Vec<String>,
    pub cold: Vec<String>,
    pub warm: Vec<String>,
}

impl Default for Fields {
    fn default() -> Fields {
        let [event, agent, pool, start, seconds] =
            ["event", "agent", "pool", "start", "seconds"].map(str::to_owned);
        Fields { event, agent, pool, start, seconds }
    }
}

impl Default for Words {
    fn default() -> Words {
        let one = |word: &str| vec![word.to_owned()];
        Words {
            requested: one("requested"),
            started: one("started"),
            idle: one("idle"),
            running: one("running"),
            requeued: one("requeued"),
            timed_out: one("timed_out"),
            stopped: one("stopped"),
            cold: one("cold"),
            warm: one("warm"),
        }
    }
}

impl AgentEvents {
    /// Key, expectation, and what was found.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str, String)> {
        if self.stream.is_empty() || super::pattern::is_pattern(&self.stream) {
            return Err(("stream", "the name of one stream", self.stream.clone()));
        }
        let Fields { event, agent, .. } = &self.fields;
        if event.is_empty() || agent.is_empty() {
            return Err(("fields", "names for event and agent", "an empty one".to_owned()));
        }
        let Words { requested, started, idle, running, requeued, timed_out, stopped, .. } =
            &self.events;
        let all = [requested, started, idle, running, requeued, timed_out, stopped];
        if all.iter().any(|words| words.is_empty()) {
            return Err(("events", "a word for each event", "none".to_owned()));
        }
        let mut words: Vec<&String> = all.into_iter().flatten().collect();
        words.sort_unstable();
        match words.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(("events", "another word for each event", twice[0].clone())),
            None => Ok(()),
        }
    }
}

const AGENTS: Desc = Desc::gauge("agent_count", "Agents by what they told last.")
    .with_labels(&["server", "pool", "state"]);
const OLDEST_IDLE: Desc = Desc::gauge(
    "agent_oldest_idle_timestamp_seconds",
    "Since when the agent is idle that is so longest, in unixtime; absent without an idle one.",
)
.with_labels(&["server", "pool"]);
const STARTS: Desc = Desc::histogram(
    "agent_start_duration_seconds",
    "From asking for an agent until it had started, cold (it was not there) or warm.",
)
.with_labels(&["server", "pool", "start"]);
const STARTED: Desc = Desc::counter(
    "agent_starts_total",
    "Agents that started, those whose duration nobody knows too, since this exporter's start.",
)
.with_labels(&["server", "pool", "start"]);
const IDLE_BEFORE_STOP: Desc = Desc::histogram(
    "agent_idle_before_stop_seconds",
    "How long agents had been idle when they stopped.",
)
.with_labels(&["server", "pool"]);
const REQUEUED: Desc = Desc::counter(
    "agent_jobs_requeued_total",
    "Jobs that went back into the queue, since this exporter's start.",
)
.with_labels(&["server", "pool"]);
const TIMED_OUT: Desc = Desc::counter(
    "agent_jobs_timed_out_total",
    "Jobs that were given up because they took too long, since this exporter's start.",
)
.with_labels(&["server", "pool"]);
const EVENTS: Desc = Desc::counter(
    "agent_events_total",
    "Entries of the stream of agents' events that were read, and those that could not be used by \
     reason.",
)
.with_labels(&["server", "result"]);
pub(super) const DESCS: [Desc; 8] =
    [AGENTS, OLDEST_IDLE, STARTED, STARTS, IDLE_BEFORE_STOP, REQUEUED, TIMED_OUT, EVENTS];

/// Scale-up is promised within 10 to 30 s, a warm start within 2 to 5 s.
const START_BOUNDS: [f64; 12] = [0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 300.0];
const IDLE_BOUNDS: [f64; 8] = [30.0, 60.0, 120.0, 240.0, 300.0, 360.0, 600.0, 1800.0];

const MAX_AGENTS: usize = 2000;
const MAX_POOLS: usize = 50;
const LONGEST_NAME: usize = 128;
/// An agent that told nothing for so long is forgotten: it died without a word.
const FORGOTTEN: f64 = 86_400.0;

/// What is known of all agents; a function of the events alone.
#[derive(Debug, Default)]
pub(super) struct Life {
    agents: HashMap<String, Agent>,
    pools: BTreeMap<String, Pool>,
    results: BTreeMap<&'static str, u64>,
    /// The last event that was read; `None` before the first look.
    pub(super) read: Option<Id>,
}

#[derive(Debug)]
struct Agent {
    pool: String,
    state: State,
    /// When that state began, and when it told something last.
    since: f64,
    heard: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Starting,
    Idle,
    Running,
}

const STATES: [(State, &str); 3] =
    [(State::Starting, "starting"), (State::Idle, "idle"), (State::Running, "running")];

#[derive(Debug, Default)]
struct Pool {
    cold: Starts,
    warm: Starts,
    idle: Histogram,
    requeued: u64,
    timed_out: u64,
}

#[derive(Debug, Default)]
struct Starts {
    count: u64,
    durations: Histogram,
}

#[derive(Debug, Default)]
struct Histogram {
    counts: [u64; 12],
    sum: f64,
    count: u64,
}

impl Life {
    /// Takes one entry of the stream.
    ///
    /// `counted` is false for those of before this program's start: they tell who is there, and
    /// were counted by whoever ran then.
    pub(super) fn take(
        &mut self,
        words: &AgentEvents,
        id: Id,
        entry: &[(String, String)],
        counted: bool,
    ) {
        self.read = Some(id);
        let result = self.apply(words, id, entry, counted);
        if counted {
            *self.results.entry(result).or_default() += 1;
        }
    }

    /// Forgets who has been silent for a day; `now` in unixtime.
    pub(super) fn expire(&mut self, now: f64) {
        self.agents.retain(|_, agent| now - agent.heard < FORGOTTEN);
    }

    fn apply(
        &mut self,
        words: &AgentEvents,
        id: Id,
        entry: &[(String, String)],
        counted: bool,
    ) -> &'static str {
        let field = |name: &str| {
            let found = entry.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
            found.filter(|value| !value.is_empty() && value.len() <= LONGEST_NAME)
        };
        let Some(at) = id.seconds() else { return "id_is_no_time" };
        let AgentEvents { fields, events, .. } = words;
        let Some(event) = field(&fields.event) else { return "no_event" };
        let name = field(&fields.agent);
        let before = name.and_then(|name| self.agents.get(name));
        let (was, since) = before.map_or((None, at), |agent| (Some(agent.state), agent.since));
        let pool = match (field(&fields.pool), before) {
            (Some(pool), _) => pool.to_owned(),
            (None, Some(agent)) => agent.pool.clone(),
            (None, None) => String::new(),
        };
        let pool = match self.pools.contains_key(&pool) || self.pools.len() < MAX_POOLS {
            true => pool,
            false => "other".to_owned(),
        };
        let figures = self.pools.entry(pool.clone()).or_default();
        let is = |words: &[String]| words.iter().any(|word| word == event);
        if is(&events.requeued) || is(&events.timed_out) {
            if counted && is(&events.requeued) {
                figures.requeued += 1;
            } else if counted {
                figures.timed_out += 1;
            }
            return "ok";
        }
        let state = if is(&events.requested) {
            Some(State::Starting)
        } else if is(&events.started) || is(&events.idle) {
            Some(State::Idle)
        } else if is(&events.running) {
            Some(State::Running)
        } else if is(&events.stopped) {
            None
        } else {
            return "unknown_event";
        };
        let Some(name) = name else { return "no_agent" };
        if counted && is(&events.started) {
            let said = |words: &[String]| {
                field(&fields.start).is_some_and(|kind| words.iter().any(|word| word == kind))
            };
            let warm = match (said(&events.cold), said(&events.warm)) {
                (false, false) => matches!(was, Some(State::Idle | State::Running)),
                (_, warm) => warm,
            };
            let starts = if warm { &mut figures.warm } else { &mut figures.cold };
            starts.count += 1;
            let told = field(&fields.seconds).and_then(|seconds| seconds.parse::<f64>().ok());
            let told = told.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
            let asked = (was == Some(State::Starting)).then(|| (at - since).max(0.0));
            if let Some(seconds) = told.or(asked) {
                starts.durations.observe(&START_BOUNDS, seconds);
            }
        }
        match state {
            None => {
                if counted && was == Some(State::Idle) {
                    figures.idle.observe(&IDLE_BOUNDS, (at - since).max(0.0));
                }
                self.agents.remove(name);
            }
            Some(state) => {
                if was.is_none() && self.agents.len() >= MAX_AGENTS {
                    return "too_many_agents";
                }
                let since = if was == Some(state) { since } else { at };
                let agent = Agent { pool, state, since, heard: at };
                self.agents.insert(name.to_owned(), agent);
            }
        }
        "ok"
    }

    pub(super) fn families(&self, server: &str, out: &mut Families) {
        for (pool, figures) in &self.pools {
            let members = || self.agents.values().filter(|agent| agent.pool == *pool);
            for (state, word) in STATES {
                let count = members().filter(|agent| agent.state == state).count();
                out.add(&AGENTS, &[server, pool, word], count as f64);
            }
            let idle = members().filter(|agent| agent.state == State::Idle);
            if let Some(since) = idle.map(|agent| agent.since).min_by(f64::total_cmp) {
                out.add(&OLDEST_IDLE, &[server, pool], since);
            }
            for (kind, starts) in [("cold", &figures.cold), ("warm", &figures.warm)] {
                out.add(&STARTED, &[server, pool, kind], starts.count as f64);
                starts.durations.add(out, &STARTS, &[server, pool, kind], &START_BOUNDS);
            }
            figures.idle.add(out, &IDLE_BEFORE_STOP, &[server, pool], &IDLE_BOUNDS);
            out.add(&REQUEUED, &[server, pool], figures.requeued as f64);
            out.add(&TIMED_OUT, &[server, pool], figures.timed_out as f64);
        }
        for (result, count) in &self.results {
            out.add(&EVENTS, &[server, result], *count as f64);
        }
    }
}

impl Histogram {
    fn observe(&mut self, bounds: &[f64], value: f64) {
        if let Some(at) = bounds.iter().position(|bound| value <= *bound)
            && let Some(count) = self.counts.get_mut(at)
        {
            *count += 1;
        }
        self.sum += value;
        self.count += 1;
    }

    fn add(&self, out: &mut Families, desc: &Desc, labels: &[&str], bounds: &[f64]) {
        let buckets: Vec<_> = bounds.iter().copied().zip(self.counts).collect();
        out.add_histogram(desc, labels, &buckets, self.sum, self.count);
    }
}

#[cfg(test)]
mod tests;
