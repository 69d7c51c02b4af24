//! Tests of the keys: what is read, what is refused, and that nothing secret prints.

use pitcrew_exporter::config::yaml;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct Owner {
    url: String,
    #[serde(skip)]
    http: HttpClientConfig,
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Owner, D::Error> {
        let (owner, http) = split(from, |rest| Owner::deserialize(rest))?;
        Ok(Owner { http, ..owner })
    }
}

fn read(text: &str) -> Result<HttpClientConfig, Invalid> {
    let file = Path::new("/etc/pitcrew/a.yaml");
    let mut owner: Owner = yaml::parse(file, text)?;
    assert_eq!(owner.url, "u");
    owner.http.check(file, "remote")?;
    owner.http.start_paths_at(Path::new("/etc/pitcrew"));
    Ok(owner.http)
}

#[test]
fn keys_stand_beside_those_of_the_owner() {
    let http = read(
        "follow_redirects: false\nbasic_auth: {username: 7, password: 0123, username_file: }\nurl: u\n\
         tls_config: {ca_file: ca.pem, min_version: TLS12, server_name: x}\n\
         http_headers: {X-Scope-OrgID: {values: [a], secrets: [b], files: [c]}}\n\
         proxy_url: 'http://me:hunter2@proxy:1'\nno_proxy: 10.0.0.0/8\n",
    )
    .unwrap();
    let basic = http.basic_auth.as_ref().unwrap();
    assert_eq!((basic.username.as_str(), basic.password.as_ref().unwrap().reveal()), ("7", "0123"));
    assert!(!http.follow_redirects && http.enable_http2);
    assert_eq!(http.tls_config.ca_file.as_deref(), Some(Path::new("/etc/pitcrew/ca.pem")));
    assert_eq!(http.http_headers["X-Scope-OrgID"].files, [Path::new("/etc/pitcrew/c")]);
    let shown = format!("{http:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("0123"), "{shown}");
    assert_eq!(read("url: u").unwrap(), HttpClientConfig::default());
    assert_eq!(read("{url: u, tls_config: , oauth2: }").unwrap(), HttpClientConfig::default());
}

#[test]
fn refusals_name_file_key_and_both_sides() {
    for (keys, want) in [
        ("basic_auht: {}", "did you mean `basic_auth`?"),
        ("urll: x", "did you mean `url`?"),
        ("basic_auth: {user: x}", "unknown field `user`, expected one of username"),
        ("tls_config: {cafile: x}", "did you mean `ca_file`?"),
        (
            "basic_auth: {}, bearer_token: hunter2",
            "remote.bearer_token: expected at most one of basic_auth, authorization, bearer_token(_file), \
             oauth2, found basic_auth and bearer_token",
        ),
        (
            "bearer_token: hunter2, bearer_token_file: x",
            "at most one of bearer_token, bearer_token_file",
        ),
        ("basic_auth: {username: a, username_file: b}", "at most one of username, username_file"),
        (
            "basic_auth: {password: hunter2, password_file: b}",
            "at most one of password, password_file",
        ),
        ("authorization: {type: Basic, credentials: hunter2}", "use basic_auth"),
        ("authorization: {type: Bearer}", "one of credentials, credentials_file, found neither"),
        (
            "oauth2: {client_id: a, token_url: 'http://x'}",
            "one of client_secret, client_secret_file",
        ),
        ("oauth2: {client_id: a, client_secret: hunter2, token_url: x}", "oauth2.token_url"),
        (
            "oauth2: {client_id: a, client_secret: hunter2, token_url: 'http://x', tls_config: {cert: x}}",
            "remote.oauth2.tls_config: expected both a certificate and a key, found no key",
        ),
        ("tls_config: {ca: x, ca_file: y}", "at most one of ca, ca_file, found both"),
        ("tls_config: {min_version: TLS10}", "nothing older is spoken"),
        ("tls_config: {min_version: TLS13, max_version: TLS12}", "min_version <= max_version"),
        ("tls_config: {min_version: SSL3}", "unknown variant `SSL3`"),
        (
            "http_headers: {authorization: {secrets: [hunter2]}}",
            "a header that is not set otherwise",
        ),
        ("http_headers: {'a b': {}}", "a header that is not set otherwise"),
        ("proxy_url: 'socks5://hunter2@x'", "proxy_url: expected a URL with http or https"),
        ("proxy_url: 'http://x', proxy_from_environment: true", "no proxy_url beside it"),
        ("no_proxy: x", "a proxy_url beside it"),
    ] {
        let error = read(&format!("{{url: u, {keys}}}")).unwrap_err().to_string();
        assert!(error.starts_with("/etc/pitcrew/a.yaml: "), "{keys}: {error}");
        assert!(error.contains(want) && !error.contains("hunter2"), "{keys}: {error}");
    }
}

#[test]
fn files_are_tried_beforehand() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.pem");
    std::fs::write(&bad, "nothing of the sort").unwrap();
    for (keys, want) in [
        ("bearer_token_file: /nowhere", "cannot use the credentials: cannot read secret file"),
        ("tls_config: {ca_file: /nowhere}", "cannot read /nowhere"),
        ("tls_config: {ca_file: BAD}", "expected at least one certificate, found none"),
        (
            "tls_config: {ca: '-----BEGIN CERTIFICATE-----'}",
            "tls_config.ca: expected PEM certificates",
        ),
        ("tls_config: {server_name: 'a b'}", "tls_config.server_name: expected a host name"),
        ("http_headers: {a: {values: [\"x\\ny\"]}}", "a: expected text that a header can carry"),
        (
            "oauth2: {client_id: a, client_secret_file: /nowhere, token_url: 'http://x'}",
            "cannot use the credentials",
        ),
    ] {
        let keys = keys.replace("BAD", &bad.display().to_string());
        let http = read(&format!("{{url: u, {keys}}}")).unwrap();
        let error = crate::model::causes::causes(&http.check_files().unwrap_err());
        assert!(error.contains(want), "{keys}: {error}");
    }
    read("{url: u}").unwrap().check_files().unwrap();
}
