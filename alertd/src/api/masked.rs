//! A configuration as text that everybody may read: every secret is `<secret>`.

use serde_json::{Map, Value};

/// What stands in place of a secret, as in Prometheus.
pub const MASK: &str = "<secret>";

/// YAML of the tree without its secrets, keys sorted.
pub fn yaml(mut tree: Value) -> String {
    mask(&mut tree);
    match &tree {
        Value::Object(map) if map.is_empty() => String::new(),
        _ => serde_saphyr::to_string(&tree).unwrap_or_default(),
    }
}

/// The same of Alertmanager's file, where addresses are secrets too: of an address that an amtool
/// must be able to read as one, the host stays.
pub fn notifications(mut tree: Value) -> String {
    for key in ["global", "receivers"] {
        tree.get_mut(key).into_iter().for_each(|section| mask_addresses(section, false));
    }
    yaml(tree)
}

fn mask_addresses(value: &mut Value, slack: bool) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let whole = key.starts_with("slack_api_url") || key == "webhook_url";
                match value {
                    Value::String(_) if key.ends_with("_file") => {}
                    Value::String(text) if whole || (slack && key == "api_url") => {
                        *text = MASK.to_owned();
                    }
                    Value::String(text) if key == "url" || key.ends_with("_url") => {
                        *text = host_alone(text);
                    }
                    value => mask_addresses(value, key == "slack_configs"),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| mask_addresses(value, slack)),
        _ => {}
    }
}

fn host_alone(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return MASK.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match rest {
        "" | "/" => format!("{scheme}://{host}{rest}"),
        _ => format!("{scheme}://{host}/{MASK}"),
    }
}

/// Whether the value of this key is a secret. Decided by the name alone and rather too often: a key
/// that nobody thought of here must not show its value.
pub fn is_secret(key: &str) -> bool {
    const PARTS: [&str; 8] =
        ["password", "passwd", "passphrase", "secret", "token", "credential", "apikey", "api_key"];
    let key = key.to_ascii_lowercase();
    let elsewhere = ["_file", "_files", "_url", "_id"].iter().any(|end| key.ends_with(end));
    let named = PARTS.iter().any(|part| key.contains(part));
    let exact = ["key", "authorization", "cookie"].contains(&key.as_str());
    !elsewhere && (named || exact || key.ends_with("_key") || key.ends_with("-key"))
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(map) => mask_map(map),
        Value::Array(list) => list.iter_mut().for_each(mask),
        Value::String(text) => *text = without_password(text),
        _ => {}
    }
}

fn mask_map(map: &mut Map<String, Value>) {
    for (key, value) in map {
        match value {
            // Which header carries a credential is the other side's choice.
            Value::Object(headers) if is_headers(key) => {
                headers.values_mut().for_each(hide_all);
            }
            // `authorization` and `credentials` may be sections, whose own keys decide.
            Value::Object(_) => mask(value),
            _ if is_secret(key) => hide_all(value),
            _ => mask(value),
        }
    }
}

fn is_headers(key: &str) -> bool {
    ["headers", "http_headers", "proxy_connect_header"].contains(&key)
}

/// Hides everything below, keeping the shape.
fn hide_all(value: &mut Value) {
    match value {
        Value::Null => {}
        Value::Array(list) => list.iter_mut().for_each(hide_all),
        // A header's own section names files too.
        Value::Object(map) => {
            map.iter_mut()
                .filter(|(key, _)| *key != "files")
                .for_each(|(_, value)| hide_all(value));
        }
        _ => *value = MASK.into(),
    }
}

/// A URL without what stands for a password in it: before the host, or in its query.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => {
            let name = user.split_once(':').map_or(MASK, |(name, _)| name);
            format!("{name}:{MASK}@{host}").replace(&format!("{MASK}:{MASK}"), MASK)
        }
        None => authority.to_owned(),
    };
    let Some((path, query)) = rest.split_once('?') else {
        return format!("{scheme}://{authority}{rest}");
    };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    });
    format!("{scheme}://{authority}{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_key_that_can_hold_a_secret_is_masked() {
        // Wherever Prometheus' or our own configuration takes a secret in the file itself.
        let text = r#"
global: { scrape_interval: 15s, external_labels: { site: "shown" } }
scrape_configs:
- job_name: shown
  metrics_path: /shown
  basic_auth: { username: shown, password: hidden1 }
  authorization: { type: Bearer, credentials: hidden2 }
  bearer_token: hidden3
  oauth2:
    client_id: shown
    client_secret: hidden4
    token_url: "https://shown/token"
    endpoint_params: { password: hidden5, audience: shown }
    tls_config: { key: hidden6, cert_file: shown, key_file: shown }
    proxy_connect_header: { Proxy-Authorization: [hidden7] }
  tls_config: { ca: shown, key: "-----BEGIN hidden8", key_file: shown }
  proxy_url: "http://shown:hidden9@proxy:3128/"
  http_headers: { X-Api: { values: [hidden10], secrets: [hidden11], files: [shown] } }
  params: { token: [hidden12], module: [shown], api_key: [hidden13] }
  http_sd_configs: [{ url: "https://hidden14@shown/targets?access_token=hidden15&zone=shown" }]
  static_configs: [{ targets: ["shown:9100"] }]
remote_write:
- url: "https://shown:hidden16@shown/write"
  headers: { X-Scope-OrgID: hidden17 }
  sigv4: { access_key: hidden18, secret_key: hidden19 }
github: { auth: { token_file: shown, app_id: 7, private_key_file: shown, token: hidden20 } }
web: { users: { shown: { password_file: shown, password: hidden21 } }, tls: { key_file: shown } }
receivers: [{ routing_key: hidden22, auth_password: hidden23, auth_secret: [hidden24, hidden25] }]
secret: 4711
"#;
        let tree: Value = pitcrew_exporter::config::yaml::parse("a".as_ref(), text).unwrap();
        let shown = yaml(tree);
        assert!(!shown.contains("hidden") && !shown.contains("4711"), "{shown}");
        assert_eq!(shown.matches("<secret>").count(), 26, "{shown}");
        assert_eq!(shown.matches("shown").count(), text.matches("shown").count(), "{shown}");
        for line in ["scrape_interval: 15s", "app_id: 7", "type: Bearer"] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
        let again: Value = pitcrew_exporter::config::yaml::parse("a".as_ref(), &shown).unwrap();
        assert_eq!(again["remote_write"][0]["url"], "https://shown:<secret>@shown/write");
    }

    #[test]
    fn whatever_the_code_keeps_as_a_secret_has_such_a_name() {
        let field =
            regex::Regex::new(r"pub(?:\(super\))? (\w+): (?:Option<|Vec<)*Secret>*,").unwrap();
        let (mut seen, mut folders) = (0, vec![std::path::PathBuf::from("src")]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                // Receivers are read from a file of their own, which is not shown.
                if path.starts_with("src/route") {
                    continue;
                }
                for found in field.captures_iter(&std::fs::read_to_string(&path).unwrap()) {
                    let name = &found[1];
                    // URLs, which lose their password and keep the rest.
                    let url = name == "url" || name.ends_with("_url");
                    assert!(url || is_secret(name), "{}: {name}", path.display());
                    seen += 1;
                }
            }
        }
        assert!(seen > 3, "only {seen} fields found: the pattern is wrong");
    }

    #[test]
    fn addresses_of_receivers() {
        let text = "
global: { slack_api_url: 'https://hooks.slack.test/hidden1', slack_api_url_file: shown,
  opsgenie_api_url: 'https://shown/hidden2', smtp_auth_password: hidden3 }
receivers:
- name: shown
  slack_configs: [ { api_url: 'https://hooks.slack.test/hidden4', title_link: 'http://shown/' } ]
  webhook_configs: [ { url: 'https://u:hidden5@shown:80/hidden6?hidden7' }, { url: 'http://shown/' } ]
  discord_configs: [ { webhook_url: 'https://x/hidden8' } ]
  wechat_configs: [ { api_url: 'https://shown/hidden9', api_secret: hidden10 } ]
";
        let tree: Value = pitcrew_exporter::config::yaml::parse("a".as_ref(), text).unwrap();
        let shown = notifications(tree);
        assert!(!shown.contains("hidden"), "{shown}");
        assert_eq!(shown.matches("shown").count(), text.matches("shown").count(), "{shown}");
        assert!(shown.contains("https://shown:80/<secret>"), "{shown}");
    }

    #[test]
    fn urls() {
        for (text, want) in [
            ("http://a:b@c/d", "http://a:<secret>@c/d"),
            ("http://a@c", "http://<secret>@c"),
            ("http://a:b@x@c?q=1", "http://a:<secret>@c?q=1"),
            ("http://c/@d?token=1&b=2", "http://c/@d?token=<secret>&b=2"),
            ("no url: a@b", "no url: a@b"),
        ] {
            assert_eq!(without_password(text), want);
        }
        assert_eq!(yaml(json!({})), "");
    }
}
