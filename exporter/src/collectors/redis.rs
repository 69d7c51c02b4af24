//! Queues in Redis: streams with their consumer groups, lists, and the agents that work on them.
//!
//! Each server is asked by itself, under a deadline of its own: what one of them cannot tell costs
//! nothing of the others or of the rest of the page.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::clock;
use crate::collectors::{CollectError, Collector};
use crate::config::Config;
use crate::metric::{Desc, Families};

mod agents;
mod compat;
mod config;
mod connect;
mod families;
mod find;
mod pattern;
mod problem;
mod reply;
mod snapshot;
mod survey;

pub use agents::{AgentEvents, Fields, Words};
pub use config::{Sentinel, Server, Settings, Tls};

use connect::Session;
use families::Counters;
use problem::Problem;
use snapshot::Snapshot;
use survey::Memory;

/// Everything that a server may tell.
pub(super) const DESCS: &[Desc] = &joined();

const fn joined() -> [Desc; families::DESCS.len() + agents::DESCS.len() + compat::DESCS.len()] {
    let (queues, agents) = (families::DESCS.len(), agents::DESCS.len());
    let mut all =
        [families::DESCS[0]; families::DESCS.len() + agents::DESCS.len() + compat::DESCS.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = match at {
            at if at < queues => families::DESCS[at],
            at if at < queues + agents => agents::DESCS[at - queues],
            at => compat::DESCS[at - queues - agents],
        };
        at += 1;
    }
    all
}

pub(super) fn configured(config: &Config) -> bool {
    !config.collectors.redis.0.is_empty()
}

pub(super) fn build(config: &Config) -> Box<dyn Collector> {
    // A server that hangs must not use up the time in which the others are told.
    let most = config.collectors.timeout.mul_f64(0.8);
    let servers = config.collectors.redis.0.iter().map(|server| {
        let server = Server { timeout: server.timeout.min(most), ..server.clone() };
        let state = State { memory: Memory::new(&server), ..State::default() };
        Watched { label: server.label(), server, state: Mutex::new(state) }
    });
    Box::new(Redis(servers.map(Arc::new).collect()))
}

struct Redis(Vec<Arc<Watched>>);

/// One server and what is known of it.
struct Watched {
    label: String,
    server: Server,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<Session>,
    memory: Memory,
    counters: Counters,
    life: agents::Life,
    /// What the log says of it now.
    told: Option<&'static str>,
}

#[async_trait]
impl Collector for Redis {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        if self.0.is_empty() {
            return Err(CollectError::Absent("no server is configured"));
        }
        let mut tasks = JoinSet::new();
        for watched in &self.0 {
            let watched = Arc::clone(watched);
            tasks.spawn(async move { watched.collect().await });
        }
        while let Some(families) = tasks.join_next().await {
            match families {
                Ok(families) => out.merge(families),
                Err(error) => warn!(%error, "a server's queues were not looked at"),
            }
        }
        Ok(())
    }
}

impl Watched {
    async fn collect(&self) -> Families {
        let mut out = Families::default();
        let mut state = self.state.lock().await;
        let state = &mut *state;
        let limit = self.server.timeout;
        let looked = tokio::time::timeout(limit, state.look(&self.server)).await;
        let looked = looked.unwrap_or(Err(Problem::TimedOut(limit)));
        if let Some(session) = &mut state.session {
            state.counters.commands += session.count();
        }
        let found = match &looked {
            Ok(_) => "ok",
            Err(problem) => problem.state(),
        };
        self.tell(&mut state.told, looked.as_ref().err(), found);
        if looked.is_err() {
            // Replies that nobody waits for any more may still come over it.
            state.session = None;
        }
        if let Ok(shot) = &looked {
            families::queues(&self.label, &self.server, shot, &mut state.counters, &mut out);
            if self.server.agents.is_some() {
                state.life.families(&self.label, &mut out);
            }
        }
        families::server(&self.label, found, &state.counters, &mut out);
        out
    }

    /// Logs what has changed since the last time.
    fn tell(
        &self,
        told: &mut Option<&'static str>,
        problem: Option<&Problem>,
        found: &'static str,
    ) {
        let before = told.replace(found);
        let server = &self.label;
        match problem {
            _ if before == Some(found) => {}
            Some(problem) => warn!(server, state = found, %problem, "Redis tells no queues"),
            None if before.is_some() => info!(server, "Redis tells its queues again"),
            None => {}
        }
    }
}

impl State {
    async fn look(&mut self, server: &Server) -> Result<Snapshot, Problem> {
        if self.session.is_some() {
            match self.look_once(server).await {
                // A connection that was idle since the last scrape may have been closed; and the
                // Sentinels may have made another one the primary.
                Err(Problem::Closed(_)) => self.session = None,
                Ok(shot)
                    if server.sentinel.is_some() && shot.role.as_deref() == Some("replica") =>
                {
                    self.session = None;
                }
                other => return other,
            }
        }
        self.session = Some(Session::open(server, server.timeout).await?);
        self.look_once(server).await
    }

    async fn look_once(&mut self, server: &Server) -> Result<Snapshot, Problem> {
        let session = self.session.as_mut().expect("just opened, or there already");
        let now = clock::unix_seconds();
        let mut shot = survey::look(server, session, &mut self.memory, now).await?;
        if let Some(events) = &server.agents {
            let read = agents::follow::follow(events, session, &mut self.life, shot.now).await?;
            if let Err(reason) = read {
                shot.unreadable.push((events.stream.clone(), reason));
            }
        }
        Ok(shot)
    }
}
