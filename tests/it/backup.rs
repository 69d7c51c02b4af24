//! Samples and state leave a running alertd by `backup` and come back by `restore`.

use std::fs;
use std::path::Path;

use pitcrew_tests::fake_target::{Answer, FakeTarget, TEXT};
use pitcrew_tests::live::{Finished, Live, PATIENCE, finish};
use pitcrew_tests::process::free_address;
use pitcrew_tests::{programs, wait};
use reqwest::Method;
use serde_json::Value;

const RULES: &str = "
groups:
- name: g
  interval: 200ms
  rules:
  - { alert: Later, expr: c_total > 0, for: 1h }
";

/// State belongs to a rule by the file that it is in.
fn write(folder: &Path, target: &str, rules: &Path) {
    fs::write(rules, RULES).unwrap();
    let alertd = format!(
        "data_dir: data
global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}
scrape_configs: [ {{ job_name: j, static_configs: [ {{ targets: ['{target}'] }} ] }} ]
rule_files: ['{}']
",
        rules.display()
    );
    fs::write(folder.join("alertd.yaml"), alertd).unwrap();
}

async fn run(folder: &Path) -> (Live, String) {
    let (address, file) = (free_address(), folder.join("alertd.yaml"));
    let arguments = ["run", "--config", file.to_str().unwrap(), "--listen", &address];
    let live = Live::ready(&programs::alertd(), &arguments, &address, folder).await;
    (live, format!("http://{address}"))
}

/// `backup --to` or `restore --from` a folder.
async fn order(what: [&str; 2], at: &Path, data: &Path, url: &str) -> Finished {
    let (at, data) = (at.to_str().unwrap(), data.to_str().unwrap());
    finish(&programs::alertd(), &[what[0], what[1], at, "--data-dir", data, "--url", url]).await
}

#[track_caller]
fn good(finished: &Finished) -> &str {
    assert_eq!(finished.code, Some(0), "{}", finished.err);
    &finished.out
}

/// Every sample of the counter in the minute before `time`, as stored.
async fn samples(live: &Live, time: f64) -> Value {
    let answer = live.json(&format!("/api/v1/query?query=c_total[1m]&time={time:.3}")).await;
    answer["data"]["result"].clone()
}

/// When the alert's condition began, once an evaluation has looked.
async fn pending_since(live: &Live) -> Value {
    let look = async || live.json("/api/v1/alerts").await["data"]["alerts"][0]["activeAt"].clone();
    wait::until(PATIENCE, "an alert", async || look().await.is_string()).await;
    look().await
}

#[tokio::test]
async fn what_is_backed_up_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let target = FakeTarget::page("c_total 1\n").await;
    let rules = folder.path().join("rules.yaml");
    write(folder.path(), &target.address, &rules);
    let (live, url) = run(folder.path()).await;
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let enough = async || live.value("count_over_time(c_total[1m])").await >= Some(5.0);
    wait::until(PATIENCE, "five samples", enough).await;
    let stranger = live.request(Method::POST, "/api/admin/snapshot").send().await.unwrap();
    assert_eq!(stranger.status(), 401);

    // What is asked of this time later is in the backup.
    let time = live.value("vector(time())").await.unwrap();
    let (want, since) = (samples(&live, time).await, pending_since(&live).await);
    let said = order(["backup", "--to"], &backup, &data, &url).await;
    assert!(good(&said).starts_with(backup.to_str().unwrap()), "{}", said.out);
    assert_eq!(fs::read_dir(data.join("snapshots")).unwrap().count(), 0, "it was taken away");
    assert!(!backup.join("operator-token").exists());
    let again = order(["backup", "--to"], &backup, &data, &url).await;
    assert!(again.code != Some(0) && again.err.contains("is there already"), "{}", again.err);
    let elsewhere = order(["backup", "--to"], &folder.path().join("x"), folder.path(), &url).await;
    assert!(elsewhere.err.contains("no operator token"), "{}", elsewhere.err);

    // Into an empty folder, for another alertd that scrapes nothing.
    let other = tempfile::tempdir().unwrap();
    let nowhere = free_address();
    write(other.path(), &nowhere, &rules);
    let said = order(["restore", "--from"], &backup, &other.path().join("data"), &url).await;
    assert!(good(&said).contains("start alertd"), "{}", said.out);
    let (restored, _) = run(other.path()).await;
    assert_eq!(samples(&restored, time).await, want);
    assert_eq!(pending_since(&restored).await, since);
    drop(restored);

    // What is damaged is refused, and the running one goes on.
    target.set(Answer::Page(TEXT, "c_total 7\n".to_owned()));
    wait::until(PATIENCE, "7", async || live.value("c_total").await == Some(7.0)).await;
    let database = backup.join("pitcrew.db");
    let whole = fs::read(&database).unwrap();
    fs::write(&database, &whole[..whole.len() - 1]).unwrap();
    let said = order(["restore", "--from"], &backup, &data, &url).await;
    assert!(said.code != Some(0) && said.err.contains("pitcrew.db: expected"), "{}", said.err);
    fs::write(&database, whole).unwrap();
    let away = format!("http://{nowhere}");
    let said = order(["restore", "--from"], &backup, &data, &away).await;
    assert!(said.code != Some(0) && said.err.contains("nothing was changed"), "{}", said.err);
    assert_eq!(live.value("c_total").await, Some(7.0));

    // Into the running one: the same process answers with what was there then.
    let (pid, seven) = (live.pid(), live.value("vector(time())").await.unwrap());
    target.set(Answer::Page(TEXT, "c_total 1\n".to_owned()));
    let said = order(["restore", "--from"], &backup, &data, &url).await;
    assert!(good(&said).contains("alertd runs with it"), "{}", said.out);
    assert_eq!(live.pid(), pid);
    assert_eq!(samples(&live, time).await, want);
    assert_eq!(pending_since(&live).await, since);
    let gone = samples(&live, seven).await.to_string();
    assert!(!gone.contains("\"7\""), "{gone}");
    assert!(data.join("before-restore/pitcrew.db").exists() && !data.join("restore").exists());
    let scraped = async || live.value("count_over_time(c_total[5s])").await >= Some(3.0);
    wait::until(PATIENCE, "scraping goes on", scraped).await;
}
