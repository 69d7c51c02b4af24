//! What `deploy/` ships is right: real peers accept the files, and so do our own programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pitcrew_exporter::config::yaml;
use pitcrew_tests::fake_github::secret_file;
use pitcrew_tests::{alertmanager, peers, programs};
use regex::Regex;
use serde_json::Value;

const UNITS: &[&str] = &["pitcrew-exporter.service", "pitcrew-alertd.service"];
/// Where the shipped notifications look for Slack's URL.
const SLACK_URL: &str = "/etc/pitcrew/slack-url";
/// The most that `systemd-analyze security` may say, in tenths of its scale of 0 to 10.
///
/// What is left to the exporter is its work: two capabilities and the whole `/proc`, for runner
/// folders and processes of other users, read-only homes, and the sockets it serves and asks on.
const MOST_EXPOSED: &[u32] = &[17, 11];

fn deploy(name: &str) -> PathBuf {
    programs::workspace().join("deploy").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(deploy(name)).unwrap()
}

/// A file of ours as YAML, whoever else is to read it.
fn tree(name: &str) -> Value {
    yaml::parse(Path::new(name), &text(name)).unwrap()
}

/// The file with its commented-out keys and list items taken in; sentences stay comments.
fn uncommented(name: &str) -> String {
    let (before, key) = (text(name), Regex::new(r"(?m)^# ( *(?:- |\w+:))").unwrap());
    let after = key.replace_all(&before, "$1").into_owned();
    assert_ne!(before, after, "{name} has nothing to take in");
    after
}

/// Runs a program to its end and gives what it says on standard error; panics when it fails.
#[track_caller]
fn complaints(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let errors = said(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}{errors}", said(&output.stdout));
    errors
}

fn copy_rules(to: &Path) {
    fs::create_dir(to).unwrap();
    for rules in fs::read_dir(programs::workspace().join("rules")).unwrap() {
        let rules = rules.unwrap();
        fs::copy(rules.path(), to.join(rules.file_name())).unwrap();
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a short run of a program, in a test")]
fn prometheus_takes_its_file_with_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    copy_rules(&folder.path().join("rules"));
    // The files that the configuration names, as a monitoring host has them.
    for name in ["exporters.crt", "scrape-token"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let here = folder.path().to_str().unwrap();
    let moved = text("prometheus/prometheus.yml").replace("/etc/prometheus/", &format!("{here}/"));
    assert!(!moved.contains("/etc/"), "{moved}");
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, moved).unwrap();
    let mut promtool = Command::new(peers::promtool());
    let errors = complaints(promtool.args(["check", "config"]).arg(file));
    assert_eq!(errors, "");
}

fn jobs(config: &Value) -> BTreeSet<String> {
    let configs = config["scrape_configs"].as_array().unwrap();
    configs.iter().map(|job| job["job_name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn jobs_have_the_names_that_rules_and_dashboards_ask_for() {
    let jobs = jobs(&tree("prometheus/prometheus.yml"));
    assert_eq!(jobs, self::jobs(&tree("config/alertd.yaml")));
    // In JSON the quote is escaped.
    let matcher = Regex::new(r#"\bjob(=~|=)\\?"([^"\\]*)\\?""#).unwrap();
    let mut asked = 0;
    for folder in ["rules", "dashboards"] {
        for file in fs::read_dir(programs::workspace().join(folder)).unwrap() {
            let file = file.unwrap().path();
            for found in matcher.captures_iter(&fs::read_to_string(&file).unwrap()) {
                let value = match &found[1] {
                    "=" => regex::escape(&found[2]),
                    _ => found[2].to_owned(),
                };
                let value = Regex::new(&format!("^(?:{value})$")).unwrap();
                let fits = jobs.iter().any(|job| value.is_match(job));
                assert!(fits, "{}: no job fits {}: {jobs:?}", file.display(), &found[0]);
                asked += 1;
            }
        }
    }
    assert!(asked > 0, "no rule asks for a job");
}

#[test]
fn amtool_and_alertd_take_the_notifications() {
    let file = deploy("config/alertmanager.yaml");
    alertmanager::check_config(&file);
    pitcrew_alertd::route::config::load(&file).unwrap();
}

#[test]
fn exporter_takes_its_file_as_it_is_and_uncommented() {
    let file = Path::new("exporter.yaml");
    let config = |text: &str| {
        let config: pitcrew_exporter::config::Config = yaml::parse(file, text).unwrap();
        config.check(file).unwrap();
        config
    };
    let shipped = config(&text("config/exporter.yaml"));
    assert!(shipped.listen.starts_with("127.0.0.1:"), "{}", shipped.listen);
    let full = config(&uncommented("config/exporter.yaml"));
    assert!(!full.listen.starts_with("127."), "{}", full.listen);
    assert!(full.web.tls.is_some() && !full.web.users.is_empty(), "{:?}", full.web);
    assert_ne!(full.collectors.runner.roots, shipped.collectors.runner.roots);
}

#[test]
fn alertd_takes_its_file_as_it_is_and_uncommented() {
    let folder = tempfile::tempdir().unwrap();
    copy_rules(&folder.path().join("rules"));
    // The secret that it names is read when it is loaded.
    let secret = secret_file(folder.path(), "slack-url", "https://hooks.slack.test/services/a");
    let notifications = text("config/alertmanager.yaml");
    assert!(notifications.contains(SLACK_URL), "{notifications}");
    let notifications = notifications.replace(SLACK_URL, &secret.to_string_lossy());
    fs::write(folder.path().join("alertmanager.yaml"), notifications).unwrap();
    let file = folder.path().join("alertd.yaml");
    let load = |text: &str| {
        fs::write(&file, text).unwrap();
        pitcrew_alertd::config::load(&file, &Default::default()).unwrap()
    };
    let shipped = load(&text("config/alertd.yaml"));
    assert!(!shipped.groups.is_empty());
    let receivers = shipped.notifications.receivers.iter();
    assert!(receivers.count() == 2, "{:?}", shipped.notifications);
    assert!(shipped.config.pools.is_empty() && shipped.config.web.tls.is_none());
    let full = load(&uncommented("config/alertd.yaml")).config;
    assert!(full.web.tls.is_some() && full.external_url.is_some() && full.github.is_some());
    let [pool] = &full.pools[..] else { panic!("one pool: {:?}", full.pools) };
    assert_eq!((pool.members.len(), pool.fail_over_on.len()), (2, 2));

    // An alert that no rule makes would never move anything.
    let rules = fs::read_dir(folder.path().join("rules")).unwrap();
    let rules: String =
        rules.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    for trigger in &pool.fail_over_on {
        let rule = format!("alert: {}\n", trigger.alert);
        assert!(rules.contains(&rule), "no rule is called {}", trigger.alert);
    }
    // An instance that nobody scrapes would never be seen.
    let config = text("config/alertd.yaml");
    let scraped = config.split("rule_files").next().unwrap();
    for instance in pool.members.iter().flat_map(|member| &member.instances) {
        assert!(scraped.contains(instance.as_str()), "{instance} is not scraped");
    }
}

#[test]
fn grafana_finds_data_source_and_dashboards() {
    let sources = tree("grafana/provisioning/datasources/pitcrew.yaml");
    assert_eq!(sources["apiVersion"], 1);
    let [source] = &sources["datasources"].as_array().unwrap()[..] else { panic!("{sources}") };
    assert_eq!((&source["type"], &source["access"]), (&"prometheus".into(), &"proxy".into()));
    let uid = source["uid"].as_str().unwrap();
    assert!(!uid.is_empty(), "Grafana would make up an uid of its own");

    let providers = tree("grafana/provisioning/dashboards/pitcrew.yaml");
    assert_eq!(providers["apiVersion"], 1);
    let provider = &providers["providers"][0];
    assert_eq!(provider["type"], "file");
    let path = provider["options"]["path"].as_str().unwrap();
    assert!(text("README.md").contains(path), "README.md copies dashboards elsewhere than {path}");

    for file in fs::read_dir(programs::workspace().join("dashboards")).unwrap() {
        let file = file.unwrap().path();
        let dashboard = fs::read_to_string(&file).unwrap();
        assert!(!dashboard.contains(uid), "{}: tied to one data source", file.display());
        let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
        let variable = &dashboard["templating"]["list"][0];
        assert_eq!(
            (&variable["type"], &variable["query"]),
            (&"datasource".into(), &source["type"])
        );
        let own = format!("${{{}}}", variable["name"].as_str().unwrap());
        for panel in dashboard["panels"].as_array().unwrap() {
            let used = &panel["datasource"]["uid"];
            assert!(used.is_null() || *used == own.as_str(), "{}: {used}", file.display());
        }
    }
}

/// The units with programs that are there, since only the rest of them is in question.
fn units() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let program = Regex::new(r"(?m)^(Exec\w+=)\S+").unwrap();
    for unit in UNITS {
        let text = text(&format!("systemd/{unit}"));
        let there = program.replace_all(&text, format!("${{1}}{}", peers::promtool().display()));
        fs::write(folder.path().join(unit), there.as_ref()).unwrap();
    }
    folder
}

#[test]
fn systemd_knows_every_key_of_the_units() {
    let folder = units();
    let verify = |unit: &str| {
        let file = folder.path().join(unit);
        let mut analyze = peers::systemd_analyze(folder.path());
        complaints(analyze.args(["verify", "--man=no"]).arg(file))
    };
    for unit in UNITS {
        assert_eq!(verify(unit), "", "{unit}");
    }
    // A wrong key is no failure to systemd; it would be found here all the same.
    let file = folder.path().join(UNITS[0]);
    let broken = fs::read_to_string(&file).unwrap().replace("ProtectHome=", "ProtectHoem=");
    fs::write(&file, broken).unwrap();
    assert!(verify(UNITS[0]).contains("ProtectHoem"));
}

#[test]
fn units_expose_no_more_than_their_work_needs() {
    let folder = units();
    for (unit, most) in UNITS.iter().zip(MOST_EXPOSED) {
        let mut analyze = peers::systemd_analyze(folder.path());
        analyze.args(["security", "--no-pager", "--offline=true"]);
        complaints(analyze.arg(format!("--threshold={most}")).arg(folder.path().join(unit)));
    }
}

/// What the programs do and a stricter unit would take from them.
#[test]
fn units_leave_the_programs_what_they_need() {
    for (unit, needs, never) in [
        (
            UNITS[0],
            &["Type=notify", "NotifyAccess=main", "WatchdogSec=30s", "ProtectHome=read-only"][..],
            &["PrivateUsers=yes", "ProcSubset=pid", "PrivateNetwork=yes"][..],
        ),
        (
            UNITS[1],
            &["Type=notify", "NotifyAccess=main", "WatchdogSec=30s", "StateDirectory=pitcrew"],
            &["ProcSubset=pid", "PrivateNetwork=yes", "IPAddressDeny=any"],
        ),
    ] {
        let text = text(&format!("systemd/{unit}"));
        let lines: Vec<&str> = text.lines().collect();
        for need in needs.iter().chain(&["RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX"]) {
            assert!(lines.contains(need), "{unit} lacks {need}");
        }
        for no in never {
            assert!(!lines.contains(no), "{unit} must not have {no}");
        }
    }
    let capabilities = "=CAP_DAC_READ_SEARCH CAP_SYS_PTRACE";
    assert_eq!(text("systemd/pitcrew-exporter.service").matches(capabilities).count(), 2);
}
