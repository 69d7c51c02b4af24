//! Bodies as GitHub sends them, with their gaps, and bodies that it does not send.

use super::*;

const JOB: &str = r#"{"action": "in_progress", "repository": {"full_name": "octo/shop"},
    "workflow_job": {"id": 7, "run_id": 3, "run_attempt": 2, "workflow_name": "CI",
    "name": "test (1, ubuntu)", "head_branch": "main", "labels": ["self-hosted", "GPU"],
    "status": "in_progress", "conclusion": null, "created_at": "2026-11-21T06:00:00Z",
    "started_at": "2026-11-21T06:00:30Z", "completed_at": null, "runner_id": 4,
    "runner_name": "r-1", "runner_group_name": "Default", "steps": [{"name": "a"}]}}"#;

fn what(kind: &str, body: &str) -> Result<What, String> {
    let events = parse(kind, Encoding::Json, body.as_bytes(), 5.0).map_err(|e| e.to_string())?;
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.source, event.received), (Source::Webhook, 5.0));
    Ok(event.what.clone())
}

fn job(body: &str) -> Result<Job, String> {
    what("workflow_job", body).map(|what| match what {
        What::Job(job) => job,
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_job_is_read_whole() {
    let want = Job {
        id: 7,
        run_id: 3,
        run_attempt: 2,
        repository: "octo/shop".to_owned(),
        workflow: "CI".to_owned(),
        name: "test (1, ubuntu)".to_owned(),
        branch: Some("main".to_owned()),
        labels: vec!["self-hosted".to_owned(), "GPU".to_owned()],
        status: Status::InProgress,
        conclusion: None,
        created_at: Some(1_795_240_800.0),
        started_at: Some(1_795_240_830.0),
        completed_at: None,
        runner: Some("r-1".to_owned()),
        runner_group: Some("Default".to_owned()),
        gate_changed_at: None,
    };
    assert_eq!(job(JOB).unwrap(), want);
    let form: String =
        form_urlencoded::Serializer::new(String::new()).append_pair("payload", JOB).finish();
    let events = parse("workflow_job", Encoding::Form, form.as_bytes(), 5.0).unwrap();
    assert_eq!(events[0].what, What::Job(want));
}

#[test]
fn a_job_behind_a_gate_tells_when_that_changed() {
    let gate = "{\"deployment\": {\"id\": 5, \"updated_at\": \"2026-11-21T06:00:30Z\"}, ";
    let found = job(&JOB.replacen('{', gate, 1)).unwrap();
    assert_eq!(found.gate_changed_at, Some(1_795_240_830.0));
}

#[test]
fn gaps_nulls_and_zeros_are_alike() {
    for (from, to) in [
        ("\"created_at\": \"2026-11-21T06:00:00Z\",", ""),
        ("\"2026-11-21T06:00:00Z\"", "null"),
        ("\"2026-11-21T06:00:00Z\"", "\"\""),
        ("\"2026-11-21T06:00:00Z\"", "\"0001-01-01T00:00:00Z\""),
        ("\"2026-11-21T06:00:00Z\"", "\"1970-01-01T00:00:00Z\""),
    ] {
        let found = job(&JOB.replace(from, to)).unwrap();
        assert_eq!((found.created_at, found.started_at), (None, Some(1_795_240_830.0)), "{to}");
    }
    for to in ["null", "\"\""] {
        assert_eq!(job(&JOB.replace("\"r-1\"", to)).unwrap().runner, None);
    }
    assert_eq!(job(&JOB.replace("\"run_attempt\": 2,", "")).unwrap().run_attempt, 1);
    let odd = JOB.replace("\"status\": \"in_progress\"", "\"status\": \"dreaming\"");
    assert_eq!(job(&odd).unwrap().status, Status::Other);
}

#[test]
fn wrong_bodies_name_the_field() {
    for (from, to, want) in [
        ("\"id\": 7", "\"id\": \"7\"", "workflow_job.id: invalid type: string \"7\", expected u64"),
        ("\"id\": 7", "\"id\": -7", "workflow_job.id: invalid value: integer `-7`"),
        ("\"id\": 7", "\"id\": 1e300", "workflow_job.id: invalid"),
        ("\"GPU\"", "5", "workflow_job.labels[1]: invalid type: integer `5`"),
        ("[\"self-hosted\", \"GPU\"]", "{}", "workflow_job.labels: invalid type: map"),
        ("\"2026-11-21T06:00:30Z\"", "\"soon\"", "workflow_job.started_at: invalid value"),
        ("\"2026-11-21T06:00:30Z\"", "1795240830", "workflow_job.started_at: invalid type"),
        ("\"octo/shop\"", "null", "repository.full_name: invalid type: null"),
        ("\"workflow_job\"", "\"workflow_jab\"", "missing field `workflow_job`"),
        ("\"steps\": [{\"name\": \"a\"}]}}", "", "expected JSON: EOF while parsing"),
        ("\"steps\": [{\"name\": \"a\"}]}}", "\"steps\": []}} x", "expected JSON: trailing"),
        ("\"r-1\"", "\"\u{0}\"", "expected JSON: control character"),
    ] {
        let error = job(&JOB.replace(from, to)).unwrap_err();
        assert!(error.contains(want), "{to}: {error}");
    }
    let deep = "[".repeat(100_000);
    for place in ["{\"name\": \"a\"}", "\"GPU\"", "\"octo/shop\""] {
        assert!(job(&JOB.replace(place, &deep)).is_err(), "{place}");
    }
    let form = |body: &str| parse("workflow_job", Encoding::Form, body.as_bytes(), 0.0);
    assert_eq!(form("a=b"), Err(PayloadError::NoPayload));
    assert!(matches!(form("payload=%7B"), Err(PayloadError::Syntax { .. })));
}

#[test]
fn texts_are_bounded_and_messages_too() {
    let long = "ü".repeat(10_000);
    let found = job(&JOB.replace("r-1", &long)).unwrap();
    assert_eq!(found.runner.unwrap().len(), MAX_TEXT);
    let many = format!("[{}\"x\"]", "\"x\",".repeat(1000));
    let found = job(&JOB.replace("[\"self-hosted\", \"GPU\"]", &many)).unwrap();
    assert_eq!(found.labels.len(), MAX_LABELS);
    let error = job(&JOB.replace("\"id\": 7", &format!("\"id\": \"{long}\n\""))).unwrap_err();
    assert!(error.chars().count() <= 2 * MAX_MESSAGE + 20 && !error.contains('\n'), "{error}");
}

#[test]
fn runs_pull_requests_and_deployments() {
    let run = r#"{"action": "completed", "repository": {"full_name": "octo/shop"},
        "workflow": {"name": "CI"}, "workflow_run": {"id": 3, "run_attempt": 1, "name": "",
        "event": "push", "head_branch": "main", "status": "completed", "conclusion": "success",
        "created_at": "2026-11-21T06:00:00Z", "run_started_at": "2026-11-21T06:00:01Z",
        "updated_at": "2026-11-21T06:10:00Z"}}"#;
    let What::Run(found) = what("workflow_run", run).unwrap() else { panic!() };
    assert_eq!((found.id, &*found.workflow, found.status), (3, "CI", Status::Completed));
    assert_eq!(found.started_at, Some(1_795_240_801.0));
    let nameless = run.replace("\"workflow\": {\"name\": \"CI\"},", "\"workflow\": null,");
    let named = nameless.replace("\"name\": \"\"", "\"name\": \"Nightly\"");
    for (body, want) in [(&nameless, ""), (&named, "Nightly")] {
        let What::Run(found) = what("workflow_run", body).unwrap() else { panic!() };
        assert_eq!(found.workflow, want);
    }

    let pull = r#"{"action": "closed", "number": 2, "repository": {"full_name": "octo/shop"},
        "pull_request": {"number": 2, "merged": true, "changed_files": 4,
        "user": {"type": "Bot"}, "created_at": "2026-11-21T06:00:00Z", "closed_at": null}}"#;
    let What::PullRequest(found) = what("pull_request", pull).unwrap() else { panic!() };
    assert_eq!((found.number, found.merged, found.bot), (2, true, true));
    assert_eq!((found.changed_files, found.closed_at), (Some(4), None));
    let ghost = pull.replace("{\"type\": \"Bot\"}", "null").replace("\"merged\": true,", "");
    let What::PullRequest(found) = what("pull_request", &ghost).unwrap() else { panic!() };
    assert_eq!((found.merged, found.bot), (false, false));

    let deployment = r#"{"action": "created", "repository": {"full_name": "octo/shop"},
        "deployment": {"environment": "production"},
        "deployment_status": {"id": 9, "state": "success", "environment": ""}}"#;
    let want = Deployment {
        id: 9,
        repository: "octo/shop".to_owned(),
        environment: "production".to_owned(),
        state: "success".to_owned(),
    };
    assert_eq!(what("deployment_status", deployment).unwrap(), What::Deployment(want));
}

#[test]
fn pings_and_strangers_tell_nothing() {
    for (kind, body) in [("ping", "{\"zen\": \"a\"}"), ("fork", "{}"), ("fork", "no JSON")] {
        assert_eq!(parse(kind, Encoding::Json, body.as_bytes(), 0.0), Ok(Vec::new()), "{kind}");
    }
    assert!(parse("ping", Encoding::Json, b"[]", 0.0).is_err());
}

#[test]
fn content_types() {
    for (text, want) in [
        ("application/json", Some(Encoding::Json)),
        ("Application/JSON; charset=utf-8", Some(Encoding::Json)),
        ("application/x-www-form-urlencoded", Some(Encoding::Form)),
        ("text/plain", None),
        ("", None),
    ] {
        assert_eq!(Encoding::of(text), want, "{text}");
    }
}
