//! Bad and good settings of servers.

use super::*;
use crate::config::yaml;

fn parse(text: &str) -> Result<Settings, String> {
    let file = Path::new("exporter.yaml");
    let settings: Settings = yaml::parse(file, text).map_err(|error| error.to_string())?;
    settings.check(file).map_err(|error| error.to_string())?;
    Ok(settings)
}

#[test]
fn bad_settings_name_key_and_expectation_and_never_a_password() {
    for (text, want) in [
        ("stream: [a]", "did you mean `streams`?"),
        ("url: redis://h", "redis.streams: expected streams, lists, dead_letters or agents"),
        ("{ url: 'http://h', streams: [a] }", "redis.url: expected redis://HOST:PORT/DATABASE"),
        ("{ url: 'redis://u:hunter2@h', streams: [a] }", "expected a URL without user"),
        ("{ url: 'redis://h/x', streams: [a] }", "redis.url: expected redis://HOST"),
        ("{ url: 'unix://relative', streams: [a] }", "redis.url: expected redis://HOST"),
        ("{ tls: {}, streams: [a] }", "expected rediss://…, as there is `tls`"),
        (
            "{ url: 'rediss://h', tls: { cert_file: c }, streams: [a] }",
            "redis.tls: expected cert_file and key_file, or neither",
        ),
        ("{ username: u, streams: [a] }", "expected password_file beside it"),
        (
            "{ sentinel: { master: m, addresses: [h] }, streams: [a] }",
            "expected HOST:PORT, found h",
        ),
        ("{ sentinel: { master: m, addresses: [] }, streams: [a] }", "redis.sentinel: expected a"),
        ("{ streams: [''] }", "found an empty one"),
        ("{ streams: [a], groups: { b: [g] } }", "names that stand in `streams`, found b"),
        ("{ streams: [a], groups: { a: [] } }", "found none for a"),
        ("{ streams: [a], timeout: 1ms }", "redis.timeout: expected 10ms to 1d, found 1ms"),
        ("{ streams: [a], max_groups: 0 }", "redis.max_groups: expected 1 to 10000, found 0"),
        ("[ { streams: [a] }, { streams: [b] } ]", "expected a name of its own for each server"),
        (
            "[ { streams: [a], redis_exporter_names: true }, \
             { name: b, streams: [b], redis_exporter_names: true } ]",
            "true for one server at most",
        ),
        ("{ streams: [a], agents: { stream: e, events: { started: [] } } }", "agents.events"),
        ("hunter2", "a server with its queues, or a list of servers"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(want), "{text}: {error}");
        assert!(error.starts_with("exporter.yaml: ") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn one_server_or_more() {
    let one = parse("{ url: 'rediss://cache:6380/3', streams: ['jobs:*'] }").unwrap();
    assert_eq!(one.0[0].label(), "cache:6380");
    let want = Target {
        place: Place::Tcp { host: "cache".to_owned(), port: 6380 },
        tls: true,
        database: 3,
    };
    assert_eq!(target(&one.0[0].url), Ok(want));
    let two = parse(
        "[ { name: a, lists: [l] }, \
         { sentinel: { master: m, addresses: ['[::1]:26379'] }, streams: [s] }, \
         { url: 'unix:///run/redis.sock', streams: [s] } ]",
    );
    let labels: Vec<_> = two.unwrap().0.iter().map(Server::label).collect();
    assert_eq!(labels, ["a", "m", "/run/redis.sock"]);
}

#[test]
fn paths_begin_at_the_files_folder() {
    let text = "{ url: 'rediss://h', tls: { ca_file: ca.pem }, password_file: /abs, streams: [a] }";
    let mut settings = parse(text).unwrap();
    settings.start_paths_at(Path::new("/etc/pitcrew"));
    let server = &settings.0[0];
    assert_eq!(server.password_file.as_deref(), Some(Path::new("/abs")));
    let ca = server.tls.as_ref().unwrap().ca_file.as_deref();
    assert_eq!(ca, Some(Path::new("/etc/pitcrew/ca.pem")));
}
