//! GitHub issues: opened, commented on, closed and opened again, once each, whatever gets lost.

use std::path::Path;
use std::time::Duration;

use pitcrew_alertd::notify::Settings;
use pitcrew_exporter::github::Github;
use pitcrew_exporter::github::config::GithubConfig;
use pitcrew_exporter::github::metrics::GithubMetrics;
use pitcrew_tests::fake_github::FakeGithub;
use pitcrew_tests::fake_github::fault::{Fault, Kind};
use pitcrew_tests::fake_github::issues::Issue;
use pitcrew_tests::fake_github::settings::Settings as GithubSettings;
use pitcrew_tests::wait::until;

use super::bench::{Bench, firing, hundredth, resolved};

const LIMIT: Duration = Duration::from_secs(30);
const FILE: &str = "
route: { receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 300ms }
receivers: [ { name: team } ]
";
const RECEIVERS: &str =
    "[{ name: team, github_issue: { repository: owner/name, labels: [incident, ci] } }]";

async fn bench(folder: &Path, github: &FakeGithub) -> Bench {
    let config = GithubConfig {
        timeout: Duration::from_secs(1),
        write_spacing: Duration::from_millis(1),
        ..github.config(folder)
    };
    let client = Github::new(&config, GithubMetrics::default()).unwrap();
    let attempt_timeout = Duration::from_secs(5);
    let settings = Settings { github: Some(client), attempt_timeout, ..hundredth() };
    Bench::start_with(folder, FILE, RECEIVERS, settings).await
}

fn issues(github: &FakeGithub) -> Vec<(u64, Issue)> {
    github.with(|sim, _| sim.issues.all.clone().into_iter().collect())
}

async fn settled(bench: &Bench, what: &str) {
    until(LIMIT, what, async || bench.outbox.depth().await.unwrap().0 == 0).await;
    assert_eq!(bench.outbox.failures(9).await.unwrap(), [], "{what}");
}

#[tokio::test]
async fn an_incident_is_one_issue_from_its_start_to_its_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let github = FakeGithub::start(GithubSettings::default()).await;
    let bench = bench(folder.path(), &github).await;
    let one = firing(&[("alertname", "A"), ("instance", "one"), ("x", "@octocat #1")]);
    bench.send(vec![one.clone()]).await;
    until(LIMIT, "it is opened", async || issues(&github).len() == 1).await;
    settled(&bench, "opened").await;
    let (number, issue) = issues(&github).remove(0);
    assert_eq!(issue.labels, ["incident", "ci"]);
    assert_eq!(issue.title, "A");
    assert!(issue.body.starts_with("<!-- pitcrew:group:"), "{}", issue.body);
    assert!(issue.body.contains("` it is gone `"), "{}", issue.body);

    let two = firing(&[("alertname", "A"), ("instance", "two")]);
    bench.send(vec![two.clone()]).await;
    until(LIMIT, "a comment", async || issues(&github)[0].1.comments.len() == 1).await;
    assert!(issues(&github)[0].1.comments[0].body.contains("**2 firing**"));
    // The program comes back and knows the issue.
    bench.stop().await;
    let bench = self::bench(folder.path(), &github).await;
    bench.send(vec![resolved(&one), resolved(&two)]).await;
    until(LIMIT, "it is closed", async || !issues(&github)[0].1.open).await;
    settled(&bench, "closed").await;
    let closed = &issues(&github)[0].1;
    assert_eq!(closed.comments.len(), 2);
    assert!(closed.comments[1].body.contains("**Resolved** (2)"), "{:?}", closed.comments);

    bench.send(vec![firing(&[("alertname", "A"), ("instance", "one")])]).await;
    until(LIMIT, "it is opened again", async || issues(&github)[0].1.open).await;
    settled(&bench, "opened again").await;
    assert_eq!((issues(&github).len(), issues(&github)[0].1.comments.len()), (1, 3));

    // One that somebody deleted is followed by a new one.
    github.with(|sim, _| {
        sim.issues.deleted.push(number);
        sim.issues.all.remove(&number);
    });
    bench.send(vec![firing(&[("alertname", "A"), ("instance", "three")])]).await;
    until(LIMIT, "a new one", async || issues(&github).len() == 1).await;
    settled(&bench, "anew").await;
    bench.stop().await;
}

#[tokio::test]
async fn lost_answers_and_refusals_leave_one_issue_and_one_comment() {
    let folder = tempfile::tempdir().unwrap();
    let github = FakeGithub::start(GithubSettings::default()).await;
    // It takes the issue, and later the comment, and the answers are lost.
    let lost = |path: &str, times: u32| Fault {
        method: Some("POST".to_owned()),
        path: path.to_owned(),
        times: Some(times),
        effect: true,
        kind: Kind::Close,
    };
    github.set_fault(lost("/repos/owner/name/issues", 1));
    let bench = bench(folder.path(), &github).await;
    let alert = firing(&[("alertname", "A")]);
    bench.send(vec![alert.clone()]).await;
    until(LIMIT, "it is opened", async || !issues(&github).is_empty()).await;
    settled(&bench, "opened").await;
    assert_eq!((issues(&github).len(), issues(&github)[0].1.comments.len()), (1, 0));
    github.clear_faults();
    github.set_fault(lost("comments", 1));
    bench.send(vec![resolved(&alert)]).await;
    until(LIMIT, "it is closed", async || !issues(&github)[0].1.open).await;
    settled(&bench, "closed").await;
    assert_eq!(issues(&github)[0].1.comments.len(), 1);
    github.clear_faults();
    // Busy is waited out; what GitHub refuses is recorded.
    let status = |status: u16, times: u32| Fault {
        method: None,
        path: String::new(),
        times: Some(times),
        effect: false,
        kind: Kind::Status { status, message: "no".into(), headers: Default::default() },
    };
    github.set_fault(status(503, 2));
    bench.send(vec![firing(&[("alertname", "B")])]).await;
    until(LIMIT, "after 503", async || issues(&github).len() == 2).await;
    settled(&bench, "B").await;
    github.set_fault(status(410, 1));
    bench.send(vec![firing(&[("alertname", "C")])]).await;
    until(LIMIT, "refused", async || bench.outbox.failures(1).await.unwrap().len() == 1).await;
    let failure = bench.outbox.failures(1).await.unwrap().remove(0);
    assert!(failure.error.contains("GitHub (owner/name) refused"), "{failure:?}");
    bench.stop().await;
}
