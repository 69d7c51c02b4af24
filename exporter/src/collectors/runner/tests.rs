//! From a snapshot to samples: what is 1, what is 0, what is absent.

use super::host::{Finished, Refused};
use super::jobs::Durations;
use super::*;

fn runner() -> Runner {
    let durations = std::array::from_fn(|_| Durations::default());
    Runner {
        name: "one".to_owned(),
        version: "2.326.0".to_owned(),
        group: "Default".to_owned(),
        scope: "owner/name".to_owned(),
        ephemeral: false,
        unit: Some("u".to_owned()),
        listener_up: Some(true),
        busy: Some(false),
        jobs: Some(Finished { counts: [3, 1, 0, 0, 0, 0], durations }),
        clock_went_back: 0,
        skipped_bytes: 0,
        space: Vec::new(),
    }
}

fn samples(runner: Runner, services: Result<&States, &NoAnswer>) -> Vec<String> {
    let (runners, refused) = (vec![runner], Refused::default());
    let snapshot = Snapshot { runners, refused, workers: Some(0), elsewhere: 0 };
    let mut out = Families::default();
    fill(&mut out, &snapshot, services);
    let line = |family: &crate::metric::Family, sample: &crate::metric::Sample| {
        format!("{}{}{{{}}} {}", family.name, sample.suffix, sample.labels, sample.value)
    };
    out.iter().flat_map(|it| it.samples.iter().map(move |sample| line(it, sample))).collect()
}

#[test]
fn health_is_one_zero_or_absent() {
    let states = |state| Some(HashMap::from([("u".to_owned(), state)]));
    let (active, failed, gone) = (states("active"), states("failed"), Some(HashMap::new()));
    for (listener, services, want) in [
        (Some(true), Ok(&active), Some(1)),
        (Some(true), Ok(&failed), Some(0)),
        (Some(true), Ok(&gone), Some(1)),
        (Some(true), Ok(&None), Some(1)),
        (Some(true), Err(&NoAnswer), None),
        (Some(false), Ok(&active), Some(0)),
        (Some(false), Err(&NoAnswer), Some(0)),
        (None, Ok(&active), None),
        (None, Ok(&failed), Some(0)),
    ] {
        let lines = samples(Runner { listener_up: listener, ..runner() }, services);
        let found =
            lines.iter().find_map(|line| line.strip_prefix("runner_health{runner=\"one\"} "));
        assert_eq!(
            found,
            want.map(|it: u8| it.to_string()).as_deref(),
            "{listener:?} {services:?}"
        );
    }
}

#[test]
fn counts_are_there_before_the_first_job_and_absent_while_unknown() {
    let lines = samples(runner(), Ok(&None));
    for want in [
        "runner_info{runner=\"one\",version=\"2.326.0\",group=\"Default\",scope=\"owner/name\",ephemeral=\"false\"} 1",
        "runner_jobs_total{runner=\"one\",result=\"succeeded\"} 3",
        "runner_jobs_total{runner=\"one\",result=\"abandoned\"} 0",
        "runner_job_duration_seconds_bucket{runner=\"one\",result=\"failed\",le=\"3600\"} 0",
        "runner_job_duration_seconds_count{runner=\"one\",result=\"canceled\"} 0",
        "runner_concurrent_jobs{} 0",
        "runner_installations_refused{reason=\"duplicate_name\"} 0",
    ] {
        assert!(lines.iter().any(|line| line == want), "{want} in {lines:#?}");
    }
    assert!(!lines.iter().any(|line| line.contains("runner_service")), "no systemd, no service");
    let lines = samples(Runner { jobs: None, busy: None, ..runner() }, Ok(&None));
    let unknown = |line: &String| line.starts_with("runner_job") || line.starts_with("runner_busy");
    assert!(!lines.iter().any(unknown), "{lines:#?}");
}

#[test]
fn a_service_has_one_state() {
    let states = Some(HashMap::from([("u".to_owned(), "failed")]));
    let lines = samples(runner(), Ok(&states));
    let ones: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("runner_service_state") && line.ends_with(" 1"))
        .collect();
    assert_eq!(ones, ["runner_service_state{runner=\"one\",state=\"failed\"} 1"]);
    assert!(lines.contains(&"runner_service_active{runner=\"one\"} 0".to_owned()));
}

/// Every family that is filled is described, so that METRICS.md lists it.
#[test]
fn every_family_is_listed() {
    let states = Some(HashMap::from([("u".to_owned(), "active")]));
    let space = host::Space { avail_bytes: 1.0, size_bytes: 2.0, files_free: 3.0 };
    let full = Runner { space: vec![("_work", space)], ..runner() };
    let lines = samples(full, Ok(&states));
    for desc in DESCS {
        assert!(lines.iter().any(|line| line.starts_with(desc.name)), "{} is not set", desc.name);
    }
}

#[tokio::test]
async fn systemctl_is_believed_only_when_it_answers() {
    let folder = tempfile::tempdir().unwrap();
    let program = |name: &str, script: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, executable).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let units = ["actions.runner.o-r.a.service".to_owned()];
    // It gets the unit as one word, after the end of the options.
    let good =
        program("good", "shift 3; echo \"Id=$2\"; echo LoadState=loaded; echo ActiveState=failed");
    let states = ask(&good, &units).await.unwrap().unwrap();
    assert_eq!(states[&units[0]], "failed");
    let no_bus = program("no-bus", "echo 'Failed to connect to bus' >&2; exit 1");
    assert!(ask(&no_bus, &units).await.unwrap().is_none());
    assert!(ask("/no/such/systemctl", &units).await.unwrap().is_none());
    let floods = program("floods", "yes");
    assert!(ask(&floods, &units).await.is_err());
}
