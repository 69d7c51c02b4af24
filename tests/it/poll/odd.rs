//! An API that stalls, lies and changes, tokens that are rotated, clocks that differ.

use super::*;
use pitcrew_tests::fake_github::settings::TOKEN;

fn fault(path: &str, kind: Kind) -> Fault {
    Fault { method: None, path: path.to_owned(), times: None, effect: false, kind }
}

#[tokio::test]
async fn whatever_the_answer_is_the_last_good_one_stays_and_the_rest_works() {
    for (kind, reason) in [
        (Kind::Truncate, "malformed"),
        (Kind::WrongType, "malformed"),
        (Kind::Html(200), "malformed"),
        (Kind::Redirect("https://example.org/".to_owned()), "moved"),
        (Kind::NextPage("https://example.org/".to_owned()), "moved"),
        (Kind::Html(502), "server"),
        (Kind::Close, "unreachable"),
        (Kind::Hang, "unreachable"),
    ] {
        let github = FakeGithub::start(Sim::default()).await;
        register(&github, REPOSITORY, "a");
        let polling = plain(&github);
        let runner = "github_runner_online{scope=\"owner/name\",runner=\"a\"}";
        polling.until(runner, |_| true).await;
        let time =
            "pitcrew_exporter_github_data_timestamp_seconds{scope=\"owner/name\",data=\"runners\"}";
        github.set_fault(fault("/actions/runners", kind.clone()));
        // A 304 would have no body to spoil.
        register(&github, REPOSITORY, "b");
        let failures = format!(
            "pitcrew_exporter_github_poll_failures_total{{data=\"runners\",reason=\"{reason}\"}}"
        );
        polling.until(&failures, |count| count >= 1.0).await;
        let read = polling.value(time).unwrap();
        queue(&github, json!({}));
        polling.until(NEWS, |count| count >= 2.0).await;
        assert_eq!(polling.value(time), Some(read), "{kind:?}");
        assert!(polling.value(runner).is_some(), "{kind:?}");
    }
}

#[tokio::test]
async fn another_token_asks_without_the_first_ones_validators() {
    const OTHER: &str = "github_pat_rotated";
    let mut sim = Sim::default();
    sim.tokens.insert(OTHER.to_owned(), "rotated".to_owned());
    let github = FakeGithub::start(sim).await;
    register(&github, REPOSITORY, "a");
    let polling = plain(&github);
    let free = "pitcrew_exporter_github_requests_total{method=\"GET\",\
        endpoint=\"{scope}/actions/runners\",status=\"304\"}";
    let paid = free.replace("304", "200");
    polling.until(free, |count| count >= 3.0).await;
    let before = polling.value(&paid).unwrap();
    github.with(|sim, _| sim.settings.tokens.remove(TOKEN));
    secret_file(polling.folder.path(), "github-token", OTHER);
    polling.until(&paid, |count| count > before).await;
    let then = polling.value(free).unwrap();
    polling.until(free, |count| count > then).await;
    polling
        .until("pitcrew_exporter_github_token_renewals_total{result=\"success\"}", |count| {
            count == 1.0
        })
        .await;
    // A busy bit that lies during a job is told as GitHub tells it; the host knows better.
    assert!(polling.value("github_runner_busy{scope=\"owner/name\",runner=\"a\"}").is_some());
}

#[tokio::test]
async fn the_clocks_difference_is_measured() {
    for skew in [-7200.0, 90.0] {
        let github = FakeGithub::start(Sim { clock_skew: skew, ..Sim::default() }).await;
        let polling = plain(&github);
        let near = |found: f64| (found - skew).abs() < 5.0;
        polling.until("pitcrew_exporter_github_clock_skew_seconds", near).await;
    }
}
