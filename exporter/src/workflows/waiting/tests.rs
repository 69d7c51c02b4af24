//! Who waits for what, with the runners that there are.

use super::*;
use crate::github::model::{LabelKind, Runner, RunnerLabel};
use crate::workflows::event::Source;
use crate::workflows::fleet::Registered;
use crate::workflows::state::Settings;

const NOW: f64 = 1_700_000_000.0;

fn runner(name: &str, labels: &[&str], status: RunnerStatus, busy: bool) -> Runner {
    let label = |name: &&str| RunnerLabel { name: (*name).to_owned(), kind: LabelKind::Custom };
    Runner {
        id: 1,
        name: name.to_owned(),
        os: "linux".to_owned(),
        status,
        busy,
        labels: labels.iter().map(label).collect(),
        ephemeral: None,
        runner_group_id: None,
        version: None,
    }
}

fn fleet(scopes: &[(&str, &[Runner], f64)]) -> Fleet {
    let scope = |(name, runners, read_at): &(&str, &[Runner], f64)| {
        ((*name).to_owned(), Registered { runners: runners.to_vec(), read_at: *read_at })
    };
    Fleet { scopes: scopes.iter().map(scope).collect() }
}

fn waits(labels: &[&str], status: Status, since: f64) -> JobLife {
    let job = Job {
        id: 1,
        run_id: 1,
        repository: "octo/app".to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        status,
        created_at: Some(NOW - since),
        ..Job::default()
    };
    let life = JobLife::new(&job);
    life.with(&job, Source::Webhook, NOW - since, &Settings::default()).unwrap()
}

fn why(labels: &[&str], fleet: &Fleet) -> &'static str {
    let life = waits(labels, Status::Queued, 60.0);
    reason(&life, None, &Runners::new(fleet, NOW), NOW).unwrap().word()
}

#[test]
fn labels_that_no_runner_has_are_told_by_set_inclusion_whatever_their_case() {
    use RunnerStatus::{Offline, Online};
    let busy = runner("a", &["self-hosted", "Linux", "gpu"], Online, true);
    let idle = runner("b", &["self-hosted", "Linux"], Online, false);
    let off = runner("c", &["self-hosted", "arm64"], Offline, false);
    let fleet = fleet(&[("octo", &[busy, idle, off], NOW)]);
    for (labels, want) in [
        (&["SELF-HOSTED", "linux", "GPU"][..], "all_busy"),
        (&["self-hosted", "linux"], "not_assigned"),
        (&["self-hosted", "ARM64"], "offline"),
        (&["self-hosted", "arm64", "gpu"], "no_runner"),
        (&["windows-box"], "no_runner"),
        (&["ubuntu-latest"], "hosted"),
        (&["macos-14-xlarge"], "hosted"),
        (&["ubuntu-box"], "no_runner"),
        (&[], "unknown"),
    ] {
        assert_eq!(why(labels, &fleet), want, "{labels:?}");
    }
}

#[test]
fn an_empty_fleet_is_no_runner_and_an_unread_or_old_one_is_unknown() {
    let linux = ["self-hosted", "linux"];
    let one = [runner("a", &linux, RunnerStatus::Online, true)];
    for (scopes, want) in [
        (&[][..], "unknown"),
        (&[("octo/app", &[][..], NOW)], "no_runner"),
        (&[("octo/app", &one[..], NOW - 3600.0)], "unknown"),
        (&[("octo/app", &[][..], NOW), ("octo", &one, NOW - 3600.0)], "unknown"),
        (&[("octo/app", &one[..], NOW), ("octo", &[], NOW - 3600.0)], "unknown"),
        (&[("octo/other", &one[..], NOW)], "unknown"),
        (&[("other", &one[..], NOW), ("OCTO", &[], NOW)], "no_runner"),
        (&[("enterprises/big", &one[..], NOW)], "all_busy"),
    ] {
        assert_eq!(why(&linux, &fleet(scopes)), want, "{scopes:?}");
    }
}

#[test]
fn a_runner_that_the_api_calls_idle_in_the_middle_of_a_job_is_busy() {
    let linux = ["self-hosted", "linux"];
    let idle = [runner("same", &linux, RunnerStatus::Online, false)];
    let fleet = fleet(&[("octo/app", &idle, NOW), ("octo/two", &idle, NOW)]);
    let life = waits(&linux, Status::Queued, 60.0);
    let mut runners = Runners::new(&fleet, NOW);
    let works = |repository: &str| Job {
        repository: repository.to_owned(),
        runner: Some("same".to_owned()),
        ..Job::default()
    };
    runners.works(&works("octo/two"));
    let now = |runners: &Runners<'_>| reason(&life, None, runners, NOW).unwrap();
    assert_eq!(now(&runners), Reason::NotAssigned, "another repository's runner of that name");
    runners.works(&works("octo/app"));
    assert_eq!(now(&runners), Reason::AllBusy);
}

#[test]
fn gates_concurrency_and_forgotten_jobs_are_no_lack_of_runners() {
    let fleet = fleet(&[("octo", &[], NOW)]);
    let day = 86_400.0;
    for (status, since, want) in [
        (Status::Waiting, 60.0, Some(Reason::Gate)),
        (Status::Waiting, 20.0 * day, Some(Reason::Gate)),
        (Status::Waiting, 40.0 * day, Some(Reason::SuspectedZombie)),
        (Status::Pending, 60.0, Some(Reason::Concurrency)),
        (Status::Queued, 60.0, Some(Reason::NoRunner)),
        (Status::Queued, 3.0 * day, Some(Reason::SuspectedZombie)),
        (Status::Requested, 60.0, Some(Reason::NoRunner)),
        (Status::InProgress, 60.0, None),
        (Status::Completed, 60.0, None),
    ] {
        let life = waits(&["self-hosted"], status, since);
        let found = reason(&life, None, &Runners::new(&fleet, NOW), NOW);
        assert_eq!(found, want, "{status:?} for {since} s");
    }
}
