//! Wrong files as a user writes them: each a clear error with exit code 2, and no panic.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pitcrew_tests::live::finish;
use pitcrew_tests::programs;
use tempfile::TempDir;

/// Stands for every secret; must never be printed.
const SECRET: &str = "hunter2";

/// A folder with the files of a case, given as `name: text` pairs; names that end in 0644 are open to all.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let mode = if name.ends_with("0644") { 0o644 } else { 0o600 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    folder
}

/// Runs it; what is wrong with the refusal, if anything.
async fn complaint(program: &Path, arguments: &[&str], wants: &[&str]) -> Option<String> {
    let end = finish(program, arguments).await;
    let said = end.out.clone() + &end.err;
    let missing = wants.iter().find(|want| !said.contains(**want));
    let never = ["panicked", "RUST_BACKTRACE", SECRET].into_iter().find(|word| said.contains(word));
    let well = end.code == Some(2) && missing.is_none() && never.is_none() && said.len() < 3000;
    let what = || format!("missing {missing:?}, found {never:?}: {arguments:?}: {end:?}");
    (!well).then(what)
}

fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Files beside `alertd.yaml`, which comes first, and what the error must name.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

const SLACK: &str =
    "{ route: { receiver: r }, receivers: [ { name: r, slack_configs: [ { api_url_file: ";

const ALERTD: &[Case<'_>] = &[
    (&[("alertd.yaml", "listne: x\n")], &["alertd.yaml", "line 1", "did you mean `listen`?"]),
    (
        &[("alertd.yaml", "listen: 127.0.0.1:0\nglobal:\n  scrape_intervall: 5s\n")],
        &["alertd.yaml", "line 3", "did you mean `scrape_interval`?"],
    ),
    (&[("alertd.yaml", "scrape_configs: 5\n")], &["alertd.yaml", "line 1", "sequence"]),
    (&[("alertd.yaml", "- a\n- b\n")], &["alertd.yaml", "line 1"]),
    (&[("alertd.yaml", "listen: {a: b\n")], &["alertd.yaml", "line "]),
    (&[("alertd.yaml", "listen: a\nlisten: b\n")], &["alertd.yaml", "line 2", "listen"]),
    (
        &[("alertd.yaml", "global: { scrape_interval: 5 parsecs }\n")],
        &["alertd.yaml", "line 1", "15s", "5 parsecs"],
    ),
    (
        &[("alertd.yaml", "global: { scrape_interval: 0s }\n")],
        &["alertd.yaml", "scrape_interval", "found 0s"],
    ),
    (
        &[(
            "alertd.yaml",
            "scrape_configs: [{ job_name: a, scrape_interval: 1s, scrape_timeout: 2s }]\n",
        )],
        &["alertd.yaml", "scrape_timeout", "2s"],
    ),
    (
        &[("alertd.yaml", "global: { external_labels: { '0-bad': x } }\n")],
        &["alertd.yaml", "external_labels", "0-bad"],
    ),
    (
        &[("alertd.yaml", "scrape_configs: [{ job_name: a }, { job_name: a }]\n")],
        &["alertd.yaml", "job_name", "found"],
    ),
    (
        &[(
            "alertd.yaml",
            "scrape_configs: [{ job_name: a, static_configs: [{ targets: ['http://x/y'] }] }]\n",
        )],
        &["alertd.yaml", "targets", "http://x/y"],
    ),
    (
        &[("alertd.yaml", "scrape_configs: [{ job_name: a, kubernetes_sd_configs: [] }]\n")],
        &["alertd.yaml", "kubernetes_sd_configs"],
    ),
    (
        &[("alertd.yaml", "external_url: pitcrew.example\n")],
        &["alertd.yaml", "external_url: expected"],
    ),
    (&[("alertd.yaml", "listen: nonsense\n")], &["nonsense", "expected an address and port"]),
    (&[("alertd.yaml", "listen: 0.0.0.0:0\n")], &["0.0.0.0:0", "web.tls", "--insecure-listen"]),
    (
        &[("alertd.yaml", "rule_files: [nothing*.yaml]\n")],
        &["alertd.yaml", "rule_files", "nothing*"],
    ),
    (&[("alertd.yaml", "rule_files: [nothing.yaml]\n")], &["nothing.yaml", "No such file"]),
    (&[("alertd.yaml", "notifications: nothing.yaml\n")], &["nothing.yaml", "No such file"]),
    (
        &[("alertd.yaml", "metrics: { embedded: { retention: 5m } }\n")],
        &["alertd.yaml", "metrics.embedded.retention: expected at least 1h, found 5m"],
    ),
    // Secrets.
    (
        &[("alertd.yaml", "web: { users: { eve: { token_file: gone } } }\n")],
        &["web.users.eve", "gone", "No such file"],
    ),
    (
        &[("alertd.yaml", "web: { users: { eve: { token_file: t0644 } } }\n"), ("t0644", SECRET)],
        &["web.users.eve", "t0644", "expected mode 0600", "found 0644"],
    ),
    (
        &[("alertd.yaml", "web: { users: { eve: {} } }\n")],
        &["alertd.yaml", "web.users.eve: expected password_file or token_file, found neither"],
    ),
    (
        &[("alertd.yaml", "web: { tls: { cert_file: t, key_file: t } }\n"), ("t", SECRET)],
        &["web.tls"],
    ),
    (
        &[("alertd.yaml", "github: { token: hunter2 }\n")],
        &["alertd.yaml", "line 1", "unknown field `token`"],
    ),
    (
        &[
            ("alertd.yaml", "notifications: a.yaml\n"),
            ("a.yaml", "SLACKt0644 } ] } ] }"),
            ("t0644", SECRET),
        ],
        &["t0644", "expected mode 0600", "found 0644"],
    ),
    (
        &[("alertd.yaml", "notifications: a.yaml\n"), ("a.yaml", "SLACKgone } ] } ] }")],
        &["gone", "No such file"],
    ),
    // Alertmanager's file.
    (
        &[("alertd.yaml", "notifications: a.yaml\n"), ("a.yaml", "route: { receiver: nobody }\n")],
        &["a.yaml", "nobody"],
    ),
    (
        &[("alertd.yaml", "notifications: a.yaml\n"), ("a.yaml", "receivers: [{ name: r }]\n")],
        &["a.yaml", "route"],
    ),
    (
        &[
            ("alertd.yaml", "notifications: a.yaml\n"),
            ("a.yaml", "route: { receiver: r, group_wiat: 5s }\nreceivers: [{ name: r }]\n"),
        ],
        &["a.yaml", "line 1", "did you mean `group_wait`?"],
    ),
    (
        &[
            ("alertd.yaml", "notifications: a.yaml\n"),
            (
                "a.yaml",
                "route: { receiver: r, routes: [{ matchers: ['a=~\"(\"'] }] }\nreceivers: [{ name: r }]\n",
            ),
        ],
        &["a.yaml", "matchers"],
    ),
    (
        &[
            ("alertd.yaml", "notifications: a.yaml\n"),
            (
                "a.yaml",
                "route: { receiver: r }\nreceivers:\n- name: r\n  webhook_configs:\n  - urll: http://x/hunter2\n",
            ),
        ],
        &["a.yaml", "line 5", "did you mean `url`?"],
    ),
    (
        &[
            ("alertd.yaml", "notifications: a.yaml\n"),
            (
                "a.yaml",
                "{ route: { receiver: r }, receivers: [{ name: r, webhook_configs: [{ url: 'hunter2' }] }] }\n",
            ),
        ],
        &["a.yaml", "url", "expected"],
    ),
    // Rule files.
    (
        &[
            ("alertd.yaml", "rule_files: [r.yaml]\n"),
            ("r.yaml", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(\n"),
        ],
        &["r.yaml", "g", "A", "expr"],
    ),
    (
        &[
            ("alertd.yaml", "rule_files: [r.yaml]\n"),
            ("r.yaml", "groups:\n- name: g\n  rules:\n  - alert: A\n    exprr: up\n"),
        ],
        &["r.yaml", "line 5", "did you mean `expr`?"],
    ),
    (
        &[
            ("alertd.yaml", "rule_files: [r.yaml]\n"),
            (
                "r.yaml",
                "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    labels: { '1x': y }\n",
            ),
        ],
        &["r.yaml", "A", "1x"],
    ),
    (
        &[
            ("alertd.yaml", "rule_files: [r.yaml]\n"),
            ("r.yaml", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    for: ever\n"),
        ],
        &["r.yaml", "line 6", "ever"],
    ),
];

#[tokio::test]
async fn alertd_names_file_place_and_expectation() {
    let program = programs::alertd();
    let mut complaints = Vec::new();
    for (files, wants) in ALERTD {
        let texts: Vec<(&str, String)> =
            files.iter().map(|(name, text)| (*name, text.replace("SLACK", SLACK))).collect();
        let files: Vec<(&str, &str)> =
            texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let folder = folder(&files);
        let config = folder.path().join("alertd.yaml");
        let config = config.to_str().unwrap();
        for arguments in [["check", "config", config], ["run", "--config", config]] {
            let complaint = complaint(&program, &arguments, wants).await;
            complaints.extend(complaint.map(|text| format!("{:?}\n  {text}", files[0].1)));
        }
        if folder.path().join("data").exists() {
            complaints.push(format!("{:?}: a refused start leaves something behind", files[0].1));
        }
    }
    none(&complaints);
}

const EXPORTER: &[Case<'_>] = &[
    (&[("e.yaml", "listne: x\n")], &["e.yaml", "line 1", "did you mean `listen`?"]),
    (&[("e.yaml", "collectors:\n  hosst: {}\n")], &["e.yaml", "line 2", "did you mean `host`?"]),
    (&[("e.yaml", "collectors: { timeout: soon }\n")], &["e.yaml", "line 1", "soon", "15s"]),
    (&[("e.yaml", "collectors: { timeout: 0s }\n")], &["e.yaml", "collectors.timeout", "0s"]),
    (&[("e.yaml", "collectors: { off: [cpuu] }\n")], &["e.yaml", "collectors.off", "cpuu"]),
    (&[("e.yaml", "collectors: [a]\n")], &["e.yaml", "line 1"]),
    (&[("e.yaml", "listen: a\nlisten: b\n")], &["e.yaml", "line 2", "listen"]),
    (&[("e.yaml", "listen: nonsense\n")], &["nonsense", "expected an address and port"]),
    (&[("e.yaml", "listen: 0.0.0.0:0\n")], &["0.0.0.0:0", "web.tls", "--insecure-listen"]),
    (
        &[("e.yaml", "web: { users: { eve: { password_file: t0644 } } }\n"), ("t0644", SECRET)],
        &["web.users.eve", "t0644", "expected mode 0600"],
    ),
    (
        &[("e.yaml", "web: { users: { eve: { password_file: gone } } }\n")],
        &["web.users.eve", "gone", "No such file"],
    ),
    (
        &[("e.yaml", "web: { users: { eve: { password: hunter2 } } }\n")],
        &["e.yaml", "line 1", "did you mean `password_file`?"],
    ),
];

#[tokio::test]
async fn the_exporter_does_too() {
    let program = programs::exporter();
    let mut complaints = Vec::new();
    for (files, wants) in EXPORTER {
        let folder = folder(files);
        let config = folder.path().join("e.yaml");
        let config = config.to_str().unwrap();
        for command in ["check", "run"] {
            let complaint = complaint(&program, &[command, "--config", config], wants).await;
            complaints.extend(complaint.map(|text| format!("{:?}\n  {text}", files[0].1)));
        }
    }
    none(&complaints);
}

/// Files that are none, with what must be said of each.
fn no_files(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let path = |name: &str| folder.join(name);
    fs::create_dir(path("directory")).unwrap();
    let noise: Vec<u8> =
        (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(path("garbage"), noise).unwrap();
    fs::write(path("nul"), b"listen: \0\0\0\n").unwrap();
    fs::write(path("huge"), "# 17 MiB of comment\n".repeat(17 * 1024 * 1024 / 20)).unwrap();
    fs::write(path("deep"), "[".repeat(100_000)).unwrap();
    // Each name stands for ten of the one before: a few bytes that would be gigabytes.
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for at in 1..12 {
        let before = format!("*a{}, ", at - 1).repeat(10);
        bomb += &format!("a{at}: &a{at} [{before}]\n");
    }
    fs::write(path("bomb"), bomb).unwrap();
    vec![
        (path("missing"), "No such file"),
        (path("directory"), "directory"),
        (path("garbage"), "garbage"),
        (path("nul"), "nul"),
        (path("huge"), "16"),
        (path("deep"), "deep"),
        (path("bomb"), "bomb"),
        // Opens, and cannot be read: for the administrator too.
        (PathBuf::from("/proc/self/mem"), "/proc/self/mem"),
    ]
}

#[tokio::test]
async fn what_is_no_readable_file_is_refused_everywhere() {
    let (alertd, exporter) = (programs::alertd(), programs::exporter());
    let folder = tempfile::tempdir().unwrap();
    let mut complaints = Vec::new();
    for (path, want) in no_files(folder.path()) {
        let file = path.to_str().unwrap();
        let wants = [file, want];
        let mut runs = vec![
            (&alertd, vec!["check", "config", file]),
            (&alertd, vec!["run", "--config", file]),
            (&alertd, vec!["check", "rules", file]),
            (&exporter, vec!["check", "--config", file]),
            (&exporter, vec!["run", "--config", file]),
        ];
        let configs = ["notifications", "rule_files"].map(|key| folder.path().join(key));
        for (config, text) in configs.iter().zip(["notifications: 'FILE'", "rule_files: ['FILE']"])
        {
            fs::write(config, text.replace("FILE", file)).unwrap();
            runs.push((&alertd, vec!["check", "config", config.to_str().unwrap()]));
        }
        for (program, arguments) in runs {
            complaints.extend(complaint(program, &arguments, &wants).await);
        }
    }
    none(&complaints);
}

#[tokio::test]
async fn an_empty_file_says_nothing_wrong() {
    let folder = folder(&[("empty.yaml", ""), ("comment.yaml", "# later\n")]);
    for name in ["empty.yaml", "comment.yaml"] {
        let config = folder.path().join(name);
        let config = config.to_str().unwrap();
        let end = finish(&programs::alertd(), &["check", "config", config]).await;
        assert_eq!(end.code, Some(0), "{end:?}");
        let end = finish(&programs::exporter(), &["check", "--config", config]).await;
        assert_eq!(end.code, Some(0), "{end:?}");
    }
}
