//! What one configuration runs: rules, routing, delivery, pools. A reload ends it and starts anew.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use pitcrew_exporter::github::Github;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::core::Core;
use super::web;
use crate::actions::view::PoolsView;
use crate::actions::{self, Actions};
use crate::api::alertmanager::{Alertmanager, Doors};
use crate::api::slack;
use crate::api::write::Anonymous;
use crate::clock;
use crate::config::Loaded;
use crate::db::history::History;
use crate::model::alert::{ActiveAlerts, AlertState};
use crate::model::labels::Labels;
use crate::notify::heartbeat::{self, Proofs};
use crate::notify::noted::Noting;
use crate::notify::slack_bot::clicks::Clicks;
use crate::notify::slack_bot::desk::RoutingDesk;
use crate::notify::{self, digest};
use crate::promql::Options;
use crate::remote::send;
use crate::route::silence::State;
use crate::route::{Enrich, Routing, history};
use crate::rules::notifier::Notifier;
use crate::rules::template::Surroundings;
use crate::rules::{self, Engine, alerting};

/// Longest wait for the tasks of a generation, or of the program, to end. Delivery takes up to
/// three seconds of it.
pub(super) const DRAIN: Duration = Duration::from_millis(4300);
/// Of this, for rules and pools.
const DRAIN_SOURCES: Duration = Duration::from_secs(1);
/// Batches of alerts on their way from rules to routing.
const INBOX: usize = 256;
/// Orders from people on their way to the pools.
const COMMANDS: usize = 16;
/// With an eager start, every group is evaluated within this time.
const FIRST_EVALUATION: Duration = Duration::from_secs(1);

/// The client of the pools' GitHub; reads the credential's file.
///
/// # Errors
/// When that cannot be used.
pub(super) fn github(core: &Core, loaded: &Loaded) -> anyhow::Result<Option<Github>> {
    let needed = !loaded.config.pools.is_empty() || has_issues(loaded);
    let config = loaded.config.github.as_ref().filter(|_| needed);
    config.map(|github| Github::new(github, core.github.clone())).transpose().context("github")
}

fn has_issues(loaded: &Loaded) -> bool {
    let mut receivers = loaded.notifications.receivers.iter();
    receivers.any(|receiver| receiver.additions.github_issue.is_some())
}

pub(super) struct Generation {
    /// Ends the sources: rules and pools.
    stop: CancellationToken,
    /// Ends delivery, after routing has put the last row in the outbox.
    drained: CancellationToken,
    /// Cancelled when a task ends that should not.
    failed: CancellationToken,
    sources: TaskTracker,
    delivery: TaskTracker,
    router: Router,
}

impl Generation {
    pub(super) fn start(
        core: &Core,
        loaded: &Loaded,
        github: Option<Github>,
        eager: bool,
        stop: &CancellationToken,
    ) -> anyhow::Result<Generation> {
        let config = &loaded.config;
        let external_url =
            config.external_url.clone().unwrap_or_else(|| format!("http://{}", config.listen));
        let (stop, drained, failed) =
            (stop.child_token(), CancellationToken::new(), CancellationToken::new());
        let guard = || failed.clone().drop_guard();
        let (sources, delivery) = (TaskTracker::new(), TaskTracker::new());
        let (alerts, inbox) = mpsc::channel(INBOX);
        let (active, watching) = watch::channel(Arc::new(ActiveAlerts::default()));

        let anonymous = match (core.exposed, config.pools.is_empty()) {
            (true, _) => Anonymous::RefusedFromOutside,
            (false, false) => Anonymous::RefusedForPools,
            (false, true) => Anonymous::Taken,
        };
        let roster = actions::roster(config.pools.clone(), &core.db)?;
        let known = roster.clone();
        let enrich: Enrich = Arc::new(move |labels: &Labels| known.enrich(labels));
        // On a runner's host every job reaches loopback: where there are pools, or users who can
        // sign in, whoever keeps others from being told of something says who it is.
        let trusted = config.pools.is_empty() && config.web.users.is_empty();
        let doors = Doors {
            write: anonymous,
            post_alerts: !core.exposed,
            change_silences: !core.exposed && trusted,
        };
        core.board.limit(&config.limits);
        let routing = Routing::new(
            Arc::clone(&loaded.notifications),
            core.outbox.clone(),
            core.board.clone(),
            enrich,
            core.route.clone(),
        );
        let (notes, changes) = history::queue(core.history_lost.clone());
        let routing = routing.noticed_by(notes.clone());
        let history = History::new(core.db.clone());
        let record = history::record(
            history.clone(),
            notes,
            loaded.notifications.resolve_timeout,
            changes,
            drained.clone(),
        );
        delivery.spawn(until_end(record, guard()));
        let settings = notify::Settings {
            external_url: external_url.clone(),
            // Beside the pools' client: a flood of issues must not hold up a failover.
            github: match config.github.as_ref().filter(|_| has_issues(loaded)) {
                Some(github) => Some(Github::new(github, core.github.clone()).context("github")?),
                None => None,
            },
            ..config.delivery.clone()
        };
        let board = core.board.clone();
        let silenced = move |now| {
            let silences = board.silences();
            let active = silences.iter().filter(|silence| silence.state(now) == State::Active);
            active.cloned().collect()
        };
        let digests = digest::run(
            Arc::clone(&loaded.notifications),
            settings.clone(),
            history,
            Arc::new(silenced),
            core.digest.clone(),
            drained.clone(),
        );
        delivery.spawn(until_end(digests, guard()));
        let receivers = loaded.notifications.receivers.iter();
        let noting = Noting::new(&loaded.notifications, core.board.clone(), core.outbox.clone());
        let alertmanager = Alertmanager {
            board: core.board.clone(),
            noting: noting.clone(),
            view: routing.view(),
            resolve_timeout: loaded.notifications.resolve_timeout,
            started: core.began(),
            shown: Arc::clone(&loaded.shown_notifications),
            receivers: receivers.map(|receiver| receiver.name.clone()).collect(),
            doors,
        };
        let desk = RoutingDesk { board: core.board.clone(), noting: noting.clone() };
        let clicks = Clicks::new(
            &loaded.notifications,
            &settings,
            core.outbox.clone(),
            Arc::new(desk),
            core.clicks.clone(),
        );
        sources.spawn(until_end(clicks.clone().run(stop.clone()), guard()));
        let deliver = notify::run(
            Arc::clone(&loaded.notifications),
            settings,
            core.outbox.clone(),
            core.notify.clone(),
            drained.clone(),
        );
        let deliver = async move {
            if let Err(error) = deliver.await {
                error!(error = format!("{:#}", anyhow::Error::from(error)), "delivery ended");
            }
        };
        delivery.spawn(until_end(deliver, guard()));

        let (command, commands) = mpsc::channel(COMMANDS);
        let (show, pools) = watch::channel(Arc::new(PoolsView::default()));
        if let Some(github) = github.filter(|_| !config.pools.is_empty()) {
            let work = actions::run(Actions {
                config: config.actions.clone(),
                roster,
                github,
                store: core.store(),
                active: watching.clone(),
                alerts: alerts.clone(),
                db: core.db.clone(),
                commands,
                view: show,
                metrics: core.actions.clone(),
                stop: stop.clone(),
            });
            sources.spawn(until_end(work, guard()));
        }

        let external_labels = config.global.external_labels.iter();
        let external_labels = Labels::from_pairs(
            external_labels.map(|(name, value)| (name.as_str(), value.as_str())),
        );
        for outlet in core.outlets().iter() {
            // The two were made from one configuration.
            let remotes = config.remote_write.iter();
            for remote in remotes.filter(|remote| remote.name == outlet.name) {
                let labels = external_labels.clone();
                let targets = core.targets.clone();
                let scraped: send::Scraped = Arc::new(move || {
                    targets.metadata().into_iter().map(|(_, metadata)| metadata).collect()
                });
                let outlet = Arc::clone(outlet);
                let sender = send::run(outlet, remote.clone(), labels, scraped, stop.clone());
                sources.spawn(until_end(sender, guard()));
            }
        }
        let notifier = Notifier::new(&config.alerting, &core.notifier);
        sources.spawn(until_end(notifier.clone().run(stop.clone()), guard()));
        let alertmanagers = notifier.urls();
        let longest = loaded.groups.iter().filter_map(|group| group.interval).max();
        let longest = longest.unwrap_or_default().max(config.global.evaluation_interval);
        let undelivered = notify::undelivered::undelivered(
            &loaded.notifications,
            &config.delivery,
            core.outbox.clone(),
            core.notify.clone(),
        );
        let settings = rules::Settings {
            undelivered: Some(Arc::clone(&undelivered)),
            notifier,
            config: config.rules.clone(),
            evaluation_interval: config.global.evaluation_interval,
            store_filled_at: core.store_filled_at(&loaded.scrape),
            refill: core.refill(&loaded.scrape),
            first_within: eager.then_some(FIRST_EVALUATION),
            around: Surroundings { external_labels: external_labels.clone(), external_url },
            options: Options {
                subquery_step: config.global.evaluation_interval,
                ..Options::default()
            },
        };
        let resend_delay = config.rules.resend_delay;
        let engine = Engine::new(
            loaded.groups.clone(),
            core.store(),
            core.db.clone(),
            settings,
            alerts,
            active,
            core.rules.clone(),
        )?;
        let now = clock::now();
        let lease = now.plus(alerting::lease(longest, resend_delay));
        let fired = watching.borrow().clone();
        let fired = fired.instances.iter().filter(|one| one.state == AlertState::Firing);
        let told = |instance: &Arc<_>| alerting::told(instance, lease, &external_labels, "");
        // Routing ends when rules and pools have closed its inbox.
        let routing = routing.run(fired.map(told).collect(), inbox, drained.clone());
        sources.spawn(until_end(routing, guard()));
        if let Some(heartbeat) = &config.heartbeat {
            let metrics = (core.route.clone(), core.notify.clone());
            let loops = move || {
                let (route, notify) = &metrics;
                vec![("routing", route.last_look()), ("delivery", notify.last_look())]
            };
            let proofs = Proofs {
                view: engine.view(),
                began: clock::now(),
                loops: Arc::new(loops),
                undelivered,
                failure_receiver: config.delivery.failure_receiver.clone(),
            };
            let metrics = core.heartbeat.clone();
            let beats = heartbeat::run(heartbeat.clone(), proofs, metrics, stop.clone());
            sources.spawn(until_end(beats, guard()));
        }
        core.queries.set_subquery_step(config.global.evaluation_interval);
        let router = web::router(
            core,
            loaded,
            &engine.view(),
            alertmanagers,
            watching,
            (pools, command),
            alertmanager,
        )
        .merge(slack::routes(clicks));
        sources.spawn(until_end(engine.run(stop.clone()), guard()));
        Ok(Generation { stop, drained, failed, sources, delivery, router })
    }

    pub(super) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Returns when a task has ended although nothing asked it to.
    pub(super) async fn failed(&self) {
        self.failed.cancelled().await;
        if self.stop.is_cancelled() {
            // The program is stopping; the caller sees that too.
            std::future::pending::<()>().await;
        }
    }

    /// Sources first, then routing when its inbox has closed, then delivery; all by `deadline`.
    pub(super) async fn end(&self, deadline: Instant) {
        self.stop.cancel();
        self.sources.close();
        let sources = deadline.min(Instant::now() + DRAIN_SOURCES);
        if timeout_at(sources, self.sources.wait()).await.is_err() {
            warn!(left = self.sources.len(), "parts did not end in time");
        }
        self.drained.cancel();
        self.delivery.close();
        if timeout_at(deadline, self.delivery.wait()).await.is_err() {
            warn!("delivery did not end in time; what is in the outbox is sent at the next start");
        }
    }
}

async fn until_end(work: impl Future<Output = ()>, _guard: DropGuard) {
    work.await;
}
