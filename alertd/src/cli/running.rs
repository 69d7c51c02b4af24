//! The alertd that runs: its address, its data directory, its answers.

use std::env;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use pitcrew_exporter::config::state_dir;
use pitcrew_exporter::secret::Secret;
use reqwest::Method;
use serde_json::Value;

use super::UP;
use crate::api::operator;

/// Where the systemd unit keeps its data.
const SYSTEM_DATA_DIR: &str = "/var/lib/pitcrew";
/// Longest wait for an answer; alertd may read GitHub, or write a copy of its data, before it.
const TIME_OUT: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(super) struct Running {
    /// Address of the running alertd
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "PITCREW_URL",
        default_value = "http://127.0.0.1:9611"
    )]
    pub(super) url: String,
    /// Its data directory, where the operator token lies; default: that of `up` when it has one,
    /// else /var/lib/pitcrew
    #[arg(long, global = true, value_name = "DIR", env = "PITCREW_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The operator token's file, if it lies elsewhere
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Running {
    pub(super) fn data_dir(&self) -> PathBuf {
        let of_up = || state_dir(UP).filter(|folder| folder.join(operator::FILE).exists());
        let default = || of_up().unwrap_or_else(|| SYSTEM_DATA_DIR.into());
        self.data_dir.clone().unwrap_or_else(default)
    }

    /// What a question to its API gives.
    pub(super) async fn ask(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, None, None).await
    }

    /// Changes something that alertd may let others change than operators: with the operator token
    /// where it can be read and does not travel in clear, else without.
    pub(super) async fn change(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let token = Secret::read(&self.token()).ok().filter(|_| self.keeps_secrets());
        self.send(method, path, token.as_ref(), body).await
    }

    fn token(&self) -> PathBuf {
        self.token_file.clone().unwrap_or_else(|| self.data_dir().join(operator::FILE))
    }

    fn keeps_secrets(&self) -> bool {
        self.url.starts_with("https://") || is_loopback(&self.url)
    }

    /// Gives an order with the operator token, which does not travel in clear.
    pub(super) async fn order(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let file = self.token();
        if !self.keeps_secrets() {
            bail!("the operator token does not travel in clear: use https, or loopback, for --url");
        }
        let token = Secret::read(&file).with_context(|| {
            format!(
                "no operator token: {} is made when alertd starts; name alertd's data directory \
                 with --data-dir, or the file with --token-file",
                file.display()
            )
        })?;
        self.send(Method::POST, path, Some(&token), Some(body)).await
    }

    /// Whether it says that it is ready.
    pub(super) async fn is_ready(&self) -> bool {
        let Ok(client) = client() else { return false };
        let asked = client.get(self.url_of("-/ready")).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    /// The answer's data, or what alertd says is wrong.
    async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&Secret>,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let (client, url) = (client()?, self.url_of(path));
        let mut request = client.request(method, &url);
        if let Some(token) = token {
            request = request.bearer_auth(token.reveal());
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.with_context(|| {
            format!("no alertd answers at {}: is it running? Name its address with --url", self.url)
        })?;
        let status = response.status();
        if status == reqwest::StatusCode::UNAUTHORIZED || status == reqwest::StatusCode::FORBIDDEN {
            let (url, file) = (&self.url, self.token());
            match token {
                Some(_) => bail!(
                    "{url} does not accept the operator token ({status}): is --data-dir the data \
                     directory of that alertd?"
                ),
                None => bail!(
                    "{url} asks for the operator token ({status}), and {} cannot be read: name \
                     alertd's data directory with --data-dir, or the file with --token-file",
                    file.display()
                ),
            }
        }
        let body = response.text().await.context("the answer broke off")?;
        if body.is_empty() && status.is_success() {
            return Ok(Value::Null);
        }
        let answer: Value = serde_json::from_str(&body)
            .with_context(|| format!("{url} is not alertd's API: it answered {status}"))?;
        if !status.is_success() {
            // Alertmanager's resources have other words for it.
            let words = [answer.get("error"), answer.get("message"), Some(&answer)];
            let found = words.into_iter().flatten().find_map(Value::as_str);
            bail!("{}", clean(found.unwrap_or(&status.to_string())));
        }
        match answer {
            Value::Object(mut map) if map.contains_key("status") => {
                Ok(map.remove("data").unwrap_or(Value::Null))
            }
            bare => Ok(bare),
        }
    }

    fn url_of(&self, path: &str) -> String {
        format!("{}/{path}", self.url.trim_end_matches('/'))
    }
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

/// Without what a terminal would take for a command.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Whether colours help whoever reads standard output.
pub(super) fn colours() -> bool {
    std::io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none()
}

/// The login name, for who asks later who it was.
pub(super) fn person() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| env::var(name).ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "operator".to_owned())
}

/// Without the folder's slash at the end, which would make `DIR/.part` of `DIR.part`.
pub(super) fn beside(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.components().as_path().as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn client() -> anyhow::Result<reqwest::Client> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let redirects = reqwest::redirect::Policy::none();
    let client = reqwest::Client::builder().timeout(TIME_OUT).redirect(redirects).no_proxy();
    Ok(client.build()?)
}

fn is_loopback(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_safe() {
        for (url, want) in [
            ("http://127.0.0.1:9611", true),
            ("http://localhost:1", true),
            ("http://[::1]:1", true),
            ("http://localhost.evil.test", false),
            ("http://10.0.0.1", false),
            ("nonsense", false),
        ] {
            assert_eq!(is_loopback(url), want, "{url}");
        }
        assert_eq!(beside(Path::new("a/b/"), ".part"), Path::new("a/b.part"));
    }
}
