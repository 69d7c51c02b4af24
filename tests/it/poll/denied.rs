//! What the credential may not do is named once, and the rest works.

use super::*;

#[tokio::test]
async fn a_missing_permission_has_a_name() {
    let denied = [("/actions/runners".to_owned(), "administration=read".to_owned())];
    let github = FakeGithub::start(Sim { denied: denied.into(), ..Sim::default() }).await;
    queue(&github, json!({}));
    let polling = plain(&github);
    let missing = "pitcrew_exporter_github_permission_missing{scope=\"owner/name\",data=\"runners\",\
        permission=\"administration=read\"}";
    polling.until(missing, |one| one == 1.0).await;
    polling.until(NEWS, |count| count >= 2.0).await;
    assert_eq!(
        polling.value("pitcrew_exporter_github_poll_targets{data=\"runners\",state=\"denied\"}"),
        Some(1.0)
    );
    // It is not asked again and again.
    let lists = |part: &str| calls(&github).iter().filter(|call| call.contains(part)).count();
    wait::until(PATIENCE, "lists of runs", async || lists("/actions/runs?") > 5).await;
    assert_eq!(lists("/actions/runners"), 1);
    assert_eq!(polling.value("github_runners{"), None, "unknown is not empty");
}

#[tokio::test]
async fn what_is_not_found_is_named_by_what_it_needs() {
    let sim = Sim { repositories: vec![REPOSITORY.to_owned()], ..Sim::default() };
    let github = FakeGithub::start(sim).await;
    register(&github, REPOSITORY, "a");
    let scopes = json!([{ "repository": REPOSITORY }, { "repository": "owner/hidden" }]);
    let polling = Polling::start(&github, scopes, |_, _| {});
    for (data, permission) in [("runners", "administration=read"), ("runs", "actions=read")] {
        let missing = format!(
            "pitcrew_exporter_github_permission_missing{{scope=\"owner/hidden\",data=\"{data}\",\
             permission=\"{permission}\"}}"
        );
        polling.until(&missing, |one| one == 1.0).await;
    }
    polling.until("github_runner_online{scope=\"owner/name\",runner=\"a\"}", |_| true).await;
}

#[tokio::test]
async fn a_secondary_limit_silences_the_poller_and_is_counted() {
    let github = FakeGithub::start(Sim::default()).await;
    register(&github, REPOSITORY, "a");
    let polling = plain(&github);
    polling.until("github_runner_online{scope=\"owner/name\",runner=\"a\"}", |_| true).await;
    let status = Kind::Status {
        status: 429,
        message: "You have exceeded a secondary rate limit".to_owned(),
        headers: [("retry-after".to_owned(), "3600".to_owned())].into(),
    };
    github.set_fault(Fault {
        method: None,
        path: String::new(),
        times: None,
        effect: false,
        kind: status,
    });
    polling
        .until("pitcrew_exporter_github_limit_hits_total{limit=\"secondary\"}", |hits| hits == 1.0)
        .await;
    let before = calls(&github).len();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(calls(&github).len(), before, "GitHub was asked although it had said no");
    // The last good data stays, with its time.
    assert!(polling.value("github_runner_online{scope=\"owner/name\",runner=\"a\"}").is_some());
    let read = polling.value(
        "pitcrew_exporter_github_data_timestamp_seconds{scope=\"owner/name\",data=\"runners\"}",
    );
    assert!(read.is_some_and(|at| at < clock::unix_seconds()));
}

#[tokio::test]
async fn polling_leaves_a_fifth_of_the_budget() {
    let github = FakeGithub::start(Sim { rate_limit: 50, ..Sim::default() }).await;
    for at in 0..60 {
        queue(&github, json!({ "workflow": format!("w{at}") }));
    }
    let polling = plain(&github);
    let series = |what: &str| {
        format!("pitcrew_exporter_github_rate_limit_{what}requests{{resource=\"core\"}}")
    };
    polling.until(&series("remaining_"), |left| left <= 10.0).await;
    let before = calls(&github).len();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(calls(&github).len(), before);
    assert_eq!(polling.value(&series("remaining_")), Some(10.0));
    assert_eq!(polling.value(&series("used_")), Some(40.0));
    assert_eq!(polling.value(&series("")), Some(50.0));
}
