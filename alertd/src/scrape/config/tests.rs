//! Tests of the scrape configuration: what is read, and what is refused in which words.

use pitcrew_exporter::config::yaml;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    global: GlobalConfig,
    #[serde(default)]
    scrape_configs: Vec<ScrapeConfig>,
}

fn load(text: &str) -> Result<Settings, Invalid> {
    let path = Path::new("/etc/pitcrew/a.yaml");
    let file: File = yaml::parse(path, text)?;
    Settings::new(file.global, file.scrape_configs, path)
}

#[test]
fn defaults_and_paths() {
    let settings = load(
        "global: {scrape_interval: 5s}\nscrape_configs:\n- job_name: a\n  \
         file_sd_configs: [{files: [sd/*.yml, /x.json]}]\n  body_size_limit: 1MB\n  \
         static_configs: [{targets: ['a:1', '[::1]:9610'], labels: {rack: 7}}]\n",
    )
    .unwrap();
    let job = &settings.jobs[0];
    assert_eq!(job.timing(&settings.global), (Duration::from_secs(5), Duration::from_secs(5)));
    assert_eq!(
        (job.metrics_path.as_str(), job.scheme, job.body_size_limit),
        ("/metrics", Scheme::Http, Size(1 << 20))
    );
    assert!(job.honor_timestamps && !job.honor_labels && job.follow_redirects);
    assert_eq!(job.static_configs[0].labels["rack"], "7");
    let files: Vec<_> =
        job.file_sd_configs[0].files.iter().map(|path| path.display().to_string()).collect();
    assert_eq!(files, ["/etc/pitcrew/sd/*.yml", "/x.json"]);
}

#[test]
fn refusals_name_file_key_and_both_sides() {
    for (job, want) in [
        ("", "missing field `job_name`"),
        ("job_name: ''", "expected a name, found nothing"),
        (
            "job_name: a, scrape_timeout: 40s",
            "[a].scrape_timeout: expected at most scrape_interval (30s), found 40s",
        ),
        ("job_name: a, scrape_interval: 0s", "[a].scrape_interval: expected more than 0s"),
        ("job_name: a, scrape_intervall: 1s", "did you mean `scrape_interval`"),
        (
            "job_name: a, relabel_configs: []",
            "relabel_configs: a key of Prometheus that Pitcrew does not support yet",
        ),
        ("job_name: a, kubernetes_sd_configs: []", "kubernetes_sd_configs: a key of Prometheus"),
        ("job_name: a, tls_config: {server_name: x}", "server_name"),
        ("job_name: a, scheme: ftp", "ftp"),
        (
            "job_name: a, metrics_path: m",
            "[a].metrics_path: expected a path that starts with /, found m",
        ),
        (
            "job_name: a, static_configs: [{targets: ['http://a/metrics']}]",
            "[a].static_configs.targets: expected host or host:port",
        ),
        ("job_name: a, static_configs: [{targets: ['me:pw@a']}]", "expected host or host:port"),
        (
            "job_name: a, static_configs: [{targets: [a], labels: {a-b: c}}]",
            "[a].static_configs.labels: expected label names",
        ),
        ("job_name: a, file_sd_configs: [{files: []}]", "expected at least one path"),
        (
            "job_name: a, file_sd_configs: [{files: ['*/a.yml']}]",
            "only in its last element, found */a.yml",
        ),
        ("job_name: a, file_sd_configs: [{files: [a.txt]}]", "ends with .json"),
        ("job_name: a, basic_auth: {username: u}", "one of password, password_file, found neither"),
        ("job_name: a, authorization: {type: Basic, credentials: x}", "use basic_auth"),
        ("job_name: a, body_size_limit: 5 potatoes", "expected a size such as 64MB"),
    ] {
        let error = load(&format!("scrape_configs: [{{{job}}}]")).unwrap_err().to_string();
        assert!(error.starts_with("/etc/pitcrew/a.yaml: "), "{job}: {error}");
        assert!(error.contains(want), "{job}: {error}");
    }
    let twice = load("scrape_configs: [{job_name: a}, {job_name: a}]").unwrap_err().to_string();
    assert!(
        twice.contains("expected a name of its own for each job, found \"a\" a second time"),
        "{twice}"
    );
    let label = load("global: {external_labels: {1a: b}}").unwrap_err().to_string();
    assert!(label.contains("global.external_labels"), "{label}");
}

#[test]
fn secrets_do_not_print() {
    let settings =
        load("scrape_configs: [{job_name: a, basic_auth: {username: u, password: hunter2}}]")
            .unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
}
