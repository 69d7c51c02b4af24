//! `replay` over a data directory and over a running alertd that has the same samples.

use std::fs;
use std::path::Path;

use pitcrew_alertd::clock;
use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::querier::Appender;
use pitcrew_alertd::model::sample::{Sample, Timestamp, stale_marker};
use pitcrew_alertd::tsdb::block::metrics::BlockMetrics;
use pitcrew_alertd::tsdb::{Limits, Tsdb};
use pitcrew_tests::live::{Live, finish};
use pitcrew_tests::process::free_address;
use pitcrew_tests::programs::{alertd, workspace};
use serde_json::Value;

const MINUTE: i64 = 60_000;

/// An hour of samples, one a minute: runner `a` is dead from minute 10 to 19, `b` ends at minute 30.
fn fill(data_dir: &Path, begin: i64) {
    let folder = data_dir.join("metrics");
    fs::create_dir_all(&folder).unwrap();
    let (store, _) =
        Tsdb::open(&folder, Limits::default(), clock::now(), BlockMetrics::default()).unwrap();
    for minute in 0..60 {
        let timestamp = Timestamp(begin + minute * MINUTE);
        let series = |runner: &str, value| {
            let labels = [("__name__", "runner_health"), ("instance", "i"), ("runner", runner)];
            (Labels::from_pairs(labels), Sample { timestamp, value })
        };
        let mut batch = vec![series("a", if (10..20).contains(&minute) { 0.0 } else { 1.0 })];
        match minute {
            0..30 => batch.push(series("b", 1.0)),
            30 => batch.push(series("b", stale_marker())),
            _ => {}
        }
        assert_eq!(store.append(&batch).unwrap().accepted, batch.len());
    }
    store.flush().unwrap();
}

/// Files of a folder with their sizes and times.
fn state(folder: &Path) -> Vec<(String, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let meta = entry.metadata().unwrap();
        match meta.is_dir() {
            true => found.extend(state(&entry.path())),
            false => {
                let path = entry.path().display().to_string();
                found.push((path, meta.len(), meta.modified().unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn the_same_from_files_and_from_a_running_alertd() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let begin = (clock::now().0 - 2 * 60 * MINUTE) / 1000 * 1000;
    fill(&data_dir, begin);
    let before = state(&data_dir);
    let quick = folder.path().join("quick.yaml");
    let rules = fs::read_to_string(workspace().join("rules/runner.yaml")).unwrap();
    fs::write(&quick, rules.replace("for: 2m", "for: 5m")).unwrap();
    let ours = workspace().join("rules/runner.yaml").display().to_string();
    let (from, to) = ((begin / 1000).to_string(), (begin / 1000 + 59 * 60).to_string());
    let data = data_dir.display().to_string();
    let common = ["replay", "--from", &from, "--to", &to, "-o", "json"];
    let quick = quick.display().to_string();
    let against = [&common[..], &["--data-dir", &data, "--against", &quick, &ours]].concat();
    let done = finish(&alertd(), &against).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    let played: Value = serde_json::from_str(&done.out).unwrap();
    let minute = |at: i64| Value::from(Timestamp(begin + at * MINUTE).rfc3339());
    let firings = played["a"]["firings"].as_array().unwrap();
    assert_eq!(firings.len(), 1, "{played}");
    assert_eq!(firings[0]["labels"]["runner"], "a");
    assert_eq!(firings[0]["active_at"], minute(10));
    assert_eq!(firings[0]["fired_at"], minute(12));
    assert_eq!(firings[0]["resolved_at"], minute(20));
    let pair = &played["comparison"]["both"][0];
    assert_eq!(
        (&pair["fired_later_seconds"], &pair["resolved_later_seconds"]),
        (&180.0.into(), &0.0.into())
    );
    assert_eq!(state(&data_dir), before, "nothing of the data directory changes");
    let names: Vec<_> = fs::read_dir(&data_dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["metrics"], "and the copy is gone");

    let address = free_address();
    let config = folder.path().join("alertd.yaml");
    fs::write(&config, format!("{{ listen: '{address}', data_dir: data }}")).unwrap();
    let arguments = ["run", "--config", config.to_str().unwrap()];
    let live = Live::ready(&alertd(), &arguments, &address, folder.path()).await;
    let done = finish(&alertd(), &[&common[..], &["--url", &live.url, &ours]].concat()).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    let asked: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(asked["a"]["firings"], played["a"]["firings"]);
    let done =
        finish(&alertd(), &["replay", "--from", &from, "--to", &to, "--url", &live.url, &ours])
            .await;
    assert!(done.out.contains("RunnerOffline{instance=\"i\", runner=\"a\""), "{}", done.out);
}

#[tokio::test]
async fn what_cannot_be_replayed_is_told() {
    let ours = workspace().join("rules/runner.yaml").display().to_string();
    for (arguments, want) in [
        (vec!["--from", "1h", "--data-dir", "/nowhere"], "expected a data directory or a backup"),
        (vec!["--from", "yesterday"], "--from: expected RFC 3339"),
        (vec!["--from", "1h", "--to", "2h"], "expected --from before --to"),
        (vec!["--from", "1h", "--url", "nonsense"], "--url"),
        (vec!["--from", "1h", "--url", "http://127.0.0.1:9"], "cannot read the history"),
    ] {
        let done = finish(&alertd(), &[&["replay"], &arguments[..], &[&ours]].concat()).await;
        assert_eq!(done.code, Some(2), "{arguments:?}: {}", done.err);
        assert!(done.err.contains(want), "{want}: {}", done.err);
    }
}

/// One that asks for credentials gets those of the file.
#[tokio::test]
async fn query_and_replay_say_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&path, mode).unwrap();
        path.to_str().unwrap().to_owned()
    };
    write("password", "hunter2\n");
    let config = "data_dir: data
web: { protect_loopback: true, users: { ann: { password_file: PASSWORD } } }
";
    let password = folder.path().join("password");
    let config = write("alertd.yaml", &config.replace("PASSWORD", password.to_str().unwrap()));
    let http = write("http.yaml", "basic_auth: { username: ann, password_file: password }\n");
    let rules =
        write("rules.yaml", "groups: [{ name: g, rules: [{ record: a, expr: vector(1) }] }]");
    let address = free_address();
    let arguments = ["run", "--config", &config, "--listen", &address];
    let live = Live::ready(&alertd(), &arguments, &address, folder.path()).await;
    for (ask, whole) in [
        (vec!["query", "--url", &live.url, "1 + 1"], "2"),
        (vec!["replay", "--url", &live.url, "--from", "5m", &rules], "fires: 0"),
    ] {
        let without = finish(&alertd(), &ask).await;
        assert_eq!(without.code, Some(2), "{without:?}");
        let with: Vec<&str> = [&ask[..], &["--http.config.file", &http]].concat();
        let end = finish(&alertd(), &with).await;
        assert_eq!(end.code, Some(0), "{end:?}");
        assert!(end.out.contains(whole) && !end.out.contains("hunter2"), "{end:?}");
    }
}
