//! A table of requests and what the gate says to them.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn gate(anonymous_reads: bool) -> Gate {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let user = |password_file, token_file, role| User { password_file, token_file, role };
    let mut web = WebConfig { hosts: vec!["Ci.Example.org".into()], ..WebConfig::default() };
    let ann = user(Some(file("ann", "pass:word\n")), None, Role::Viewer);
    let bot = user(None, Some(file("bot", "t0ken\n")), Role::Viewer);
    web.users.extend([("ann".to_owned(), ann), ("bot".to_owned(), bot)]);
    let mut gate = Gate::new(&web, anonymous_reads).unwrap();
    gate.add_token("operator", &Secret::new("0perator"), Role::Operator);
    gate.read_only.push("/api/v1/query");
    gate.signed_paths.push("/webhooks");
    gate
}

#[test]
fn judges_requests() {
    use Refusal::{Credentials, Host, Origin};
    let ann = "Basic YW5uOnBhc3M6d29yZA=="; // ann:pass:word
    let wrong = "Basic YW5uOm5vcGU="; // ann:nope
    let swapped = "Basic Ym90OnBhc3M6d29yZA=="; // bot with the password of ann
    for (open, line, header, want) in [
        (true, "GET /metrics", "", Ok("anonymous")),
        (false, "GET /metrics", "", Err(Credentials)),
        (false, "GET /-/healthy", "", Ok("anonymous")),
        (false, "GET /-/healthy", "authorization: rubbish", Ok("anonymous")),
        (false, "GET /metrics", ann, Ok("ann")),
        (false, "GET /metrics", "bAsIc YW5uOnBhc3M6d29yZA==", Ok("ann")),
        (true, "GET /metrics", wrong, Err(Credentials)),
        (true, "GET /metrics", swapped, Err(Credentials)),
        (true, "GET /metrics", "Basic %%%", Err(Credentials)),
        (true, "GET /metrics", "Bearer", Err(Credentials)),
        (true, "GET /metrics", "Bearer ", Err(Credentials)),
        (true, "GET /metrics", "Bearer t0ke", Err(Credentials)),
        (false, "GET /metrics", "Bearer t0ken", Ok("bot")),
        (true, "POST /-/reload", "", Err(Credentials)),
        (true, "POST /-/reload", "Bearer t0ken", Err(Refusal::Role)),
        (true, "POST /-/reload", "Bearer 0perator", Ok("operator")),
        (true, "DELETE /api/v1/query", "", Ok("anonymous")),
        (true, "DELETE /api/v1", "", Err(Credentials)),
        (true, "POST /api/v1/query", "", Ok("anonymous")),
        (true, "POST /api/v1/query_other", "", Err(Credentials)),
        (true, "GET /metrics", "host: evil.example:9610", Err(Host)),
        (true, "GET /metrics", "host: ci.example.org", Ok("anonymous")),
        (true, "GET /metrics", "host: LOCALHOST:9610", Ok("anonymous")),
        (true, "GET /metrics", "host: [::1]:9610", Ok("anonymous")),
        (true, "GET /metrics", "host: 10.0.0.7:9610", Ok("anonymous")),
        (true, "GET /metrics", "host: a b", Err(Host)),
        (true, "GET /-/healthy", "host: evil.example", Err(Host)),
        (false, "POST /webhooks", "host: whatever.example", Ok("anonymous")),
        (false, "POST /webhooks", "authorization: rubbish", Ok("anonymous")),
        (false, "POST /webhooks", "origin: http://evil.example", Err(Origin)),
        (false, "POST /webhooks/more", "", Err(Credentials)),
        (true, "GET /metrics", "origin: http://evil.example", Err(Origin)),
        (true, "GET /metrics", "origin: null", Err(Origin)),
        (true, "GET /metrics", "origin: http://127.0.0.1:9610", Ok("anonymous")),
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("127.0.0.1:9610"));
        match header.split_once(": ") {
            Some((name, value)) => {
                let name: HeaderName = name.parse().unwrap();
                headers.insert(name, value.parse().unwrap());
            }
            None if header.is_empty() => {}
            None => {
                headers.insert(AUTHORIZATION, header.parse().unwrap());
            }
        }
        let got = gate(open).judge(&method.parse().unwrap(), path, &headers);
        let want = want.map(str::to_owned);
        assert_eq!(got.map(|caller| caller.name.to_string()), want, "{open} {line} {header}");
    }
}
