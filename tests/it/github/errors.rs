//! Every bad answer is its own error, and none shows or loses the token.

use std::collections::BTreeMap;

use pitcrew_exporter::github::error::GithubError;
use pitcrew_tests::fake_github::fault::{Fault, Kind};
use pitcrew_tests::fake_github::settings::{Settings, TOKEN};

use super::*;

fn fault(kind: Kind) -> Fault {
    Fault { method: None, path: String::new(), times: None, effect: false, kind }
}

fn status(status: u16, message: &str, headers: &[(&str, &str)]) -> Kind {
    let headers: BTreeMap<_, _> =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Kind::Status { status, message: message.to_owned(), headers }
}

/// The error's variant and what a caller would act on, in short.
fn short(error: &GithubError) -> String {
    match error {
        GithubError::Unauthorized { .. } => "unauthorized".to_owned(),
        GithubError::Forbidden { permission, .. } => format!("forbidden {permission:?}"),
        GithubError::RateLimited { retry_at, .. } => {
            let wait = retry_at - pitcrew_exporter::clock::unix_seconds();
            format!("rate limited {:.0}", wait / 10.0)
        }
        GithubError::NotFound { .. } => "not found".to_owned(),
        GithubError::Rejected { status, message, .. } => format!("rejected {status} {message}"),
        GithubError::Server { status, .. } => format!("server {status}"),
        GithubError::Malformed { .. } => "malformed".to_owned(),
        GithubError::Unreachable { .. } => "unreachable".to_owned(),
        GithubError::Moved { .. } => "moved".to_owned(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn each_bad_answer_is_its_own_error() {
    let github = FakeGithub::start(Settings::default()).await;
    let id = register(&github, "a", &[]);
    let (_folder, mut config) = config(&github);
    let patience = config.timeout;
    let permission = [("x-accepted-github-permissions", "administration=write")];
    let limited = [("x-ratelimit-remaining", "0")];
    for (kind, want) in [
        (status(401, "Bad credentials", &[]), "unauthorized"),
        (
            status(403, "Resource not accessible", &permission),
            r#"forbidden Some("administration=write")"#,
        ),
        (status(403, "Resource not accessible", &[]), "forbidden None"),
        (status(403, "API rate limit exceeded", &limited), "rate limited 6"),
        (status(403, "You have exceeded a secondary rate limit", &[]), "rate limited 6"),
        (status(403, "", &[("retry-after", "120")]), "rate limited 12"),
        (status(429, "", &[("retry-after", "30")]), "rate limited 3"),
        (status(404, "Not Found", &[]), "not found"),
        (status(422, "Validation Failed", &[]), "rejected 422 Validation Failed"),
        (status(418, "", &[]), "rejected 418 "),
        (status(500, "", &[]), "server 500"),
        (status(503, &format!("you sent {TOKEN}"), &[]), "server 503"),
        (status(422, &format!("you sent {TOKEN}"), &[]), "rejected 422 you sent <secret>"),
        (status(301, "", &[]), "moved"),
        (status(204, "", &[]), "malformed"),
        (Kind::Html(200), "malformed"),
        (Kind::Html(502), "server 502"),
        (Kind::Html(403), "forbidden None"),
        (Kind::WrongType, "malformed"),
        (Kind::Truncate, "malformed"),
        (Kind::Huge(17 * 1024 * 1024), "malformed"),
        (Kind::Hang, "unreachable"),
        (Kind::Close, "unreachable"),
        (Kind::Latency(2000), "unreachable"),
        (Kind::Redirect("https://example.org/".to_owned()), "moved"),
        (Kind::Redirect("nonsense".to_owned()), "moved"),
    ] {
        github.clear_faults();
        github.set_fault(fault(kind.clone()));
        // Only where the time is to run out: a busy machine may be slow to answer.
        let late = matches!(kind, Kind::Hang | Kind::Latency(_));
        config.timeout = if late { Duration::from_millis(500) } else { patience };
        for write in [false, true] {
            let client = client(&config);
            let error = match write {
                true => client.add_label(&scope(), id, "x").await.unwrap_err(),
                false => client.runners(&scope()).await.unwrap_err(),
            };
            assert_eq!(short(&error), want, "{kind:?}, write: {write}: {error}");
            assert!(!told(&error).contains(TOKEN), "{}", told(&error));
        }
    }
    github.clear_faults();
    github.set_fault(fault(Kind::WrongType));
    let error = client(&config).runners(&scope()).await.unwrap_err();
    assert!(
        error.to_string().contains("total_count") || error.to_string().contains("id"),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_listens() {
    let github = FakeGithub::start(Settings::default()).await;
    let (_folder, config) = config(&github);
    drop(github);
    let error = client(&config).runners(&scope()).await.unwrap_err();
    assert_eq!(short(&error), "unreachable");
}

#[tokio::test]
async fn the_token_never_goes_to_another_server() {
    let github = FakeGithub::start(Settings::default()).await;
    let other = FakeGithub::start(Settings::default()).await;
    register(&github, "a", &[]);
    let (_folder, config) = config(&github);
    let elsewhere = format!("{}/repos/owner/name/actions/runners", other.url);
    let port = other.url.rsplit_once(':').unwrap().1;
    let disguised = format!("{}@127.0.0.1:{port}/repos/owner/name/actions/runners", github.url);
    for to in [elsewhere, disguised] {
        for kind in [Kind::Redirect(to.clone()), Kind::NextPage(to)] {
            github.clear_faults();
            github.set_fault(fault(kind));
            let error = client(&config).runners(&scope()).await.unwrap_err();
            assert_eq!(short(&error), "moved", "{error}");
        }
    }
    assert_eq!(calls(&other), []);
}

#[tokio::test]
async fn a_redirect_on_the_same_server_is_followed_a_few_times() {
    let github = FakeGithub::start(Settings::default()).await;
    register(&github, "a", &[]);
    let (_folder, config) = config(&github);
    let client = client(&config);
    let to = Kind::Redirect("/repos/owner/name/actions/runners".to_owned());
    github.set_fault(Fault { times: Some(2), ..fault(to.clone()) });
    assert_eq!(client.runners(&scope()).await.unwrap().len(), 1);
    github.set_fault(fault(to));
    assert_eq!(short(&client.runners(&scope()).await.unwrap_err()), "moved");
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_not_repeated() {
    let github = FakeGithub::start(Settings::default()).await;
    let id = register(&github, "a", &[]);
    let (_folder, config) = config(&github);
    let client = client(&config);
    for kind in [Kind::Close, status(502, "", &[])] {
        github.set_fault(Fault { times: Some(1), effect: true, ..fault(kind) });
        let before = calls(&github).len();
        client.add_label(&scope(), id, "x").await.unwrap_err();
        assert_eq!(calls(&github).len() - before, 1);
        let labels = client.runner_labels(&scope(), id).await.unwrap();
        assert!(labels.iter().any(|label| label.name == "x"), "{labels:?}");
        client.remove_label(&scope(), id, "x").await.unwrap();
    }
}

#[tokio::test]
async fn a_used_up_limit_stops_all_calls() {
    let settings = Settings { rate_limit: 3, rate_window: 500.0, ..Settings::default() };
    let github = FakeGithub::start(settings).await;
    let id = register(&github, "a", &[]);
    let (_folder, config) = config(&github);
    let client = client(&config);
    for label in ["a", "b", "c"] {
        client.add_label(&scope(), id, label).await.unwrap();
    }
    let before = calls(&github).len();
    for _ in 0..3 {
        let error = client.runner_labels(&scope(), id).await.unwrap_err();
        assert_eq!(short(&error), "rate limited 50", "{error}");
    }
    assert_eq!(calls(&github).len(), before, "GitHub was asked although it had said no");
}

#[tokio::test]
async fn a_secondary_limit_waits_a_minute() {
    for secondary_status in [403, 429] {
        let settings = Settings { secondary_writes: 2, secondary_status, ..Settings::default() };
        let github = FakeGithub::start(settings).await;
        let id = register(&github, "a", &[]);
        let (_folder, config) = config(&github);
        let client = client(&config);
        for label in ["a", "b"] {
            client.add_label(&scope(), id, label).await.unwrap();
        }
        for _ in 0..2 {
            let error = client.add_label(&scope(), id, "c").await.unwrap_err();
            assert_eq!(short(&error), "rate limited 6", "{error}");
        }
        assert_eq!(calls(&github).len(), 3);
    }
}
