//! Deliveries and polls against a real log: what counts, what does not, and what is there again.

use super::*;
use crate::workflows::event::{Job, Source, Status, What};

fn open(folder: &Path) -> Intake {
    Intake::open(folder, Arc::default()).unwrap()
}

fn job(id: u64, status: Status) -> Event {
    let labels = vec!["self-hosted".to_owned()];
    let repository = "octo/shop".to_owned();
    let created_at = Some(clock::unix_seconds() - 60.0);
    let started_at = created_at;
    let job = Job { id, status, labels, repository, created_at, started_at, ..Job::default() };
    Event { source: Source::Webhook, received: clock::unix_seconds(), what: What::Job(job) }
}

fn state(intake: &Intake) -> serde_json::Value {
    intake.with_state(|state, _| serde_json::to_value(state).unwrap())
}

fn number(intake: &Intake, name: &str) -> f64 {
    let mut out = crate::metric::Families::default();
    intake.families(&mut out);
    let family = out.iter().find(|family| family.name == name).unwrap();
    family.samples[0].value
}

#[tokio::test]
async fn a_delivery_counts_once_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let intake = open(folder.path());
    for (id, want) in
        [("a", Outcome::Accepted), ("b", Outcome::Accepted), ("a", Outcome::Duplicate)]
    {
        assert_eq!(intake.deliver(id, vec![job(1, Status::Queued)]).await, Ok(want));
    }
    let known = intake.knows(vec!["b".to_owned(), "c".to_owned()]).await;
    assert_eq!(known, Ok(vec![true, false]));
    let before = state(&intake);
    drop(intake);
    let intake = open(folder.path());
    assert_eq!(state(&intake), before);
    let again = intake.deliver("b", vec![job(1, Status::Queued)]).await;
    assert_eq!(again, Ok(Outcome::Duplicate));
}

#[tokio::test]
async fn many_at_once_share_commits() {
    let folder = tempfile::tempdir().unwrap();
    let intake = open(folder.path());
    let deliveries = (0..200).map(|id| {
        let intake = intake.clone();
        let deliver =
            async move { intake.deliver(&id.to_string(), vec![job(id, Status::Queued)]).await };
        tokio::spawn(deliver)
    });
    for delivery in deliveries.collect::<Vec<_>>() {
        assert_eq!(delivery.await.unwrap(), Ok(Outcome::Accepted));
    }
    assert_eq!(number(&intake, "pitcrew_exporter_workflow_log_events"), 200.0);
    assert!(number(&intake, "pitcrew_exporter_workflow_log_commits_total") < 100.0);
}

#[tokio::test]
async fn polls_store_only_news() {
    let folder = tempfile::tempdir().unwrap();
    let intake = open(folder.path());
    let seen = vec![job(1, Status::Queued), job(2, Status::Queued)];
    assert_eq!(intake.observe(seen.clone()).await, Ok(2));
    let repeated =
        intake.with_state(|state, _| seen.iter().filter(|event| state.tells_news(event)).count());
    assert_eq!(intake.observe(seen).await, Ok(repeated));
    assert_eq!(intake.observe(Vec::new()).await, Ok(0));
}

#[tokio::test]
async fn runners_are_shown_beside_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let intake = open(folder.path());
    intake.set_fleet("octo", Registered { runners: Vec::new(), read_at: 5.0 });
    assert_eq!(intake.with_state(|_, fleet| fleet.scopes["octo"].read_at), 5.0);
    intake.change_fleet(|fleet| fleet.scopes.clear());
    assert!(intake.with_state(|_, fleet| fleet.scopes.is_empty()));
}
