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
    assert!(job.honor_timestamps && !job.honor_labels && job.http.follow_redirects);
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
            "job_name: a, native_histogram_bucket_limit: 1",
            "native_histogram_bucket_limit: a key of Prometheus that Pitcrew does not support yet",
        ),
        (
            "job_name: a, relabel_configs: [{action: hashmod, target_label: x}]",
            "modulus: action hashmod: expected at least 1",
        ),
        ("job_name: a, http_sd_configs: [{url: 'ftp://x'}]", "http_sd_configs.url: expected a URL"),
        ("job_name: a, http_sd_configs: [{urls: x}]", "did you mean `url`"),
        (
            "job_name: a, http_sd_configs: [{url: 'http://x', tls_config: {key: x}}]",
            "no certificate",
        ),
        (
            "job_name: a, scrape_protocols: [PrometheusProto]",
            "text forms only: protobuf is not read",
        ),
        ("job_name: a, scrape_protocols: []", "expected at least one form"),
        ("job_name: a, fallback_scrape_protocol: PrometheusProto", "protobuf is not read"),
        ("job_name: a, kubernetes_sd_configs: []", "kubernetes_sd_configs: a key of Prometheus"),
        ("job_name: a, tls_config: {server_nam: x}", "did you mean `server_name`"),
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
        (
            "job_name: a, basic_auth: {password: p, password_file: q}",
            "one of password, password_file",
        ),
        ("job_name: a, authorization: {type: Basic, credentials: x}", "use basic_auth"),
        ("job_name: a, body_size_limit: 5 potatoes", "expected a size such as 64MB"),
    ] {
        let error = load(&format!("scrape_configs: [{{{job}}}]")).unwrap_err().to_string();
        assert!(error.starts_with("/etc/pitcrew/a.yaml: "), "{job}: {error}");
        assert!(error.contains(want), "{job}: {error}");
    }
    for (global, want) in [
        ("scrape_interval: 5s, scrape_timeout: 6s", "at most scrape_interval (5s), found 6s"),
        ("scrape_timeout: 0s", "global.scrape_timeout: expected more than 0s"),
    ] {
        let error = load(&format!("global: {{{global}}}")).unwrap_err().to_string();
        assert!(error.contains(want), "{global}: {error}");
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
fn a_job_inherits_what_it_does_not_say() {
    let settings = load(
        "global: {scrape_interval: 5s, sample_limit: 7, label_limit: 8, body_size_limit: 1KB, \
         scrape_protocols: [PrometheusText0.0.4], metric_name_validation_scheme: legacy}\n\
         scrape_configs: [{job_name: a, sample_limit: 9}, {job_name: b, scrape_interval: 1s, \
         metric_name_validation_scheme: utf8}]\n",
    )
    .unwrap();
    let [a, b] = &settings.jobs[..] else { panic!("{settings:?}") };
    assert_eq!((a.sample_limit, a.label_limit, a.body_size_limit), (9, 8, Size(1024)));
    assert_eq!(a.timing(&settings.global).1, Duration::from_secs(5));
    assert_eq!(b.timing(&settings.global).1, Duration::from_secs(1));
    assert_eq!((b.sample_limit, b.metric_name_validation_scheme), (7, Some(NameScheme::Utf8)));
    assert_eq!(a.metric_name_validation_scheme, Some(NameScheme::Legacy));
    assert_eq!(a.scrape_protocols.as_deref(), Some(&[Protocol::Text004][..]));
}

#[test]
fn secrets_do_not_print() {
    let settings =
        load("scrape_configs: [{job_name: a, basic_auth: {username: u, password: hunter2}}]")
            .unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
}
