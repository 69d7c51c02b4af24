//! A pool of two members and what can be seen of it, for the tests of the pure parts.

use std::path::Path;

use pitcrew_exporter::config::yaml;

use super::config::PoolConfig;
use super::health::{Health, OnGithub, Verdict, Word};
use super::sight::{Job, MemberSight, RunnerSight, Sight, Stage};
use crate::model::sample::Timestamp;

/// `primary` on `a:9610` with eight runners `a-1` …, `backup` on `b:9610` with four, on automatic.
pub(super) fn pool() -> PoolConfig {
    let text = "
        name: ci
        label: ci-active
        scope: { repository: octo/work }
        members:
          - { name: primary, instances: ['a:9610'], runners: ['a-*'], capacity: 8 }
          - { name: backup, instances: ['b:9610'], runners: ['b-*'], capacity: 4 }
        standby: overflow
        fail_over_on: [{ alert: RunnerOffline, do: move }, { alert: RunnerHighCPU, after: 5m, do: add }]
        failback: { healthy_for: 1m, over: 8m }
        cooldown: 10m
        trust: auto";
    let pool: PoolConfig = yaml::parse(Path::new("test"), text).unwrap();
    pool.check(Path::new("test")).unwrap();
    pool
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp(1_000_000_000_000 + seconds * 1000)
}

/// All healthy, the primary labelled, nothing to do.
pub(super) fn calm() -> Sight {
    Sight {
        members: vec![member("primary", "a", 8, true), member("backup", "b", 4, false)],
        fresh: true,
        jobs: Some(Vec::new()),
        jobs_at: at(1_000_000),
        hold: None,
    }
}

pub(super) fn member(name: &str, prefix: &str, runners: u64, labelled: bool) -> MemberSight {
    let runner = |n| RunnerSight {
        name: format!("{prefix}-{n}"),
        id: Some(n + if prefix == "a" { 100 } else { 200 }),
        word: Word::Up,
        github: OnGithub::Online,
        health: Health::Healthy,
        labelled,
        ephemeral: false,
        labels: vec!["self-hosted".to_owned()],
    };
    MemberSight {
        name: name.to_owned(),
        verdict: Verdict::Healthy,
        why: "fine".to_owned(),
        move_alert: None,
        add_alert: None,
        due_at: None,
        unheard: false,
        runners: (1..=runners).map(runner).collect(),
        blocked: None,
        refused: Vec::new(),
    }
}

pub(super) fn job(name: &str, stage: Stage) -> Job {
    Job {
        id: 1,
        name: name.to_owned(),
        repository: "octo/work".to_owned(),
        run_id: 7,
        url: "https://github.test/octo/work/actions/runs/7/job/1".to_owned(),
        labels: vec!["ci-active".to_owned()],
        stage,
    }
}

/// Edits of a sight, as the tests write them.
impl Sight {
    pub(super) fn kill(&mut self, at: usize) {
        let member = &mut self.members[at];
        member.verdict = Verdict::Down;
        member.why = "all down".to_owned();
        member.move_alert = Some("RunnerOffline".to_owned());
        for runner in &mut member.runners {
            (runner.word, runner.health) = (Word::Down, Health::Down);
        }
    }

    pub(super) fn heal(&mut self, at: usize) {
        let member = &mut self.members[at];
        (member.verdict, member.move_alert) = (Verdict::Healthy, None);
        for runner in &mut member.runners {
            (runner.word, runner.health) = (Word::Up, Health::Healthy);
            runner.github = OnGithub::Online;
        }
    }

    /// Gives the label to the first `count` runners of the member and takes it from the rest.
    pub(super) fn label(&mut self, at: usize, count: usize) {
        for (n, runner) in self.members[at].runners.iter_mut().enumerate() {
            runner.labelled = n < count;
        }
    }

    pub(super) fn all_busy(&mut self, at: usize, busy: bool) {
        for runner in &mut self.members[at].runners {
            runner.github = if busy { OnGithub::Busy } else { OnGithub::Online };
        }
    }
}
