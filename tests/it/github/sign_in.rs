//! Tokens that rotate, Apps whose tokens end, clocks that disagree.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pitcrew_exporter::clock;
use pitcrew_exporter::github::error::GithubError;
use pitcrew_tests::fake_github::fault::{Fault, Kind};
use pitcrew_tests::fake_github::secret_file;
use pitcrew_tests::fake_github::settings::Settings;

use super::*;

const ACCESS_TOKENS: &str = "POST /app/installations/2/access_tokens";

fn count(github: &FakeGithub, call: &str, wanted: u16) -> usize {
    calls(github)
        .iter()
        .filter(|(made, status)| made.starts_with(call) && *status == wanted)
        .count()
}

#[tokio::test]
async fn a_rotated_token_is_used_at_once_and_old_validators_are_not() {
    let github = FakeGithub::start(Settings::default()).await;
    register(&github, "a", &[]);
    let (folder, config) = config(&github);
    let client = client(&config);
    for _ in 0..2 {
        client.runners(&scope()).await.unwrap();
    }
    assert_eq!(count(&github, "GET", 304), 1);
    github.with(|sim, _| {
        sim.settings.tokens = [("second".to_owned(), "pitcrew".to_owned())].into();
    });
    let error = client.runners(&scope()).await.unwrap_err();
    assert!(matches!(error, GithubError::Unauthorized { .. }), "{error}");

    // While the file cannot be read, the token that was read before stays.
    let path = secret_file(folder.path(), "github-token", "second\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    client.runners(&scope()).await.unwrap_err();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(client.runners(&scope()).await.unwrap().len(), 1);
    assert_eq!(count(&github, "GET", 304), 1);
    fs::remove_file(&path).unwrap();
    assert_eq!(client.runners(&scope()).await.unwrap().len(), 1);
    assert_eq!(count(&github, "GET", 304), 2);
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_is_found_at_start() {
    let github = FakeGithub::start(Settings::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let error =
        |config: &GithubConfig| told(&Github::new(config, GithubMetrics::default()).err().unwrap());
    let token = github.config(folder.path());
    fs::set_permissions(folder.path().join("github-token"), fs::Permissions::from_mode(0o640))
        .unwrap();
    assert!(error(&token).contains("expected mode 0600"), "{}", error(&token));
    fs::remove_file(folder.path().join("github-token")).unwrap();
    assert!(error(&token).contains("github-token"), "{}", error(&token));
    let app = github.app_config(folder.path());
    secret_file(folder.path(), "github-app-key.pem", "hunter2");
    assert!(error(&app).contains("PEM") && !error(&app).contains("hunter2"), "{}", error(&app));
}

#[tokio::test]
async fn an_apps_token_is_fetched_once_and_renewed_before_it_ends() {
    let settings = Settings { installation_token_life: 5.0, ..Settings::default() };
    let github = FakeGithub::start(settings).await;
    register(&github, "a", &[]);
    let folder = tempfile::tempdir().unwrap();
    let client = client(&github.app_config(folder.path()));
    let cold: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.runners(&scope()).await.unwrap().len() })
        })
        .collect();
    for call in cold {
        assert_eq!(call.await.unwrap(), 1);
    }
    assert_eq!(count(&github, ACCESS_TOKENS, 201), 1);
    let start = clock::monotonic();
    while count(&github, ACCESS_TOKENS, 201) < 2 {
        assert!(start.elapsed() < Duration::from_secs(20), "never renewed");
        client.runners(&scope()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(count(&github, "", 401), 0);
}

#[tokio::test]
async fn a_revoked_app_token_is_replaced_even_under_a_write() {
    let github = FakeGithub::start(Settings::default()).await;
    let id = register(&github, "a", &[]);
    let folder = tempfile::tempdir().unwrap();
    let client = client(&github.app_config(folder.path()));
    client.runners(&scope()).await.unwrap();
    github.with(|sim, _| sim.issued.clear());
    client.add_label(&scope(), id, "x").await.unwrap();
    assert_eq!((count(&github, ACCESS_TOKENS, 201), count(&github, "POST", 401)), (2, 1));
    // GitHub refuses every token: one new try a call, no more.
    github.with(|sim, _| sim.settings.installation_token_life = -10.0);
    github.with(|sim, _| sim.issued.clear());
    let before = calls(&github).len();
    let error = client.runners(&scope()).await.unwrap_err();
    assert!(matches!(error, GithubError::Unauthorized { .. }), "{error}");
    assert_eq!(calls(&github).len() - before, 3);
}

#[tokio::test]
async fn a_good_token_outlives_a_failing_renewal() {
    let settings = Settings { installation_token_life: 4.0, ..Settings::default() };
    let github = FakeGithub::start(settings).await;
    let folder = tempfile::tempdir().unwrap();
    let client = client(&github.app_config(folder.path()));
    client.runners(&scope()).await.unwrap();
    let kind = Kind::Html(500);
    let path = "access_tokens".to_owned();
    github.set_fault(Fault { method: None, path, times: None, effect: false, kind });
    let mut failed = false;
    while count(&github, ACCESS_TOKENS, 500) < 2 {
        failed = client.runners(&scope()).await.is_err();
        tokio::time::sleep(Duration::from_millis(20)).await;
        if failed {
            break;
        }
    }
    assert!(!failed, "the first failing renewal already was an error");
}

#[tokio::test]
async fn clocks_may_disagree_by_hours() {
    for clock_skew in [-50.0, -7200.0, 50.0, 7200.0] {
        let github = FakeGithub::start(Settings { clock_skew, ..Settings::default() }).await;
        let folder = tempfile::tempdir().unwrap();
        let client = client(&github.app_config(folder.path()));
        client.runners(&scope()).await.unwrap();
        let refused = if clock_skew.abs() > 100.0 { 1 } else { 0 };
        assert_eq!(count(&github, ACCESS_TOKENS, 401), refused, "{clock_skew}");
        assert_eq!(count(&github, ACCESS_TOKENS, 201), 1, "{clock_skew}");
    }
}

#[tokio::test]
async fn an_app_that_github_does_not_know() {
    let github = FakeGithub::start(Settings::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let config = github.app_config(folder.path());
    github.with(|sim, _| sim.settings.app_id = 99);
    let error = client(&config).runners(&scope()).await.unwrap_err();
    assert!(matches!(error, GithubError::Unauthorized { .. }), "{error}");
    github.with(|sim, _| {
        sim.settings.app_id = 1;
        sim.settings.installation_id = 99;
    });
    let error = client(&config).runners(&scope()).await.unwrap_err();
    assert!(matches!(error, GithubError::NotFound { .. }), "{error}");
}
