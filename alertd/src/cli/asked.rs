//! `--url` and `--http.config.file`: the Prometheus-compatible API that a command asks.

use std::path::{Path, PathBuf};

use pitcrew_exporter::config::yaml;
use serde::{Deserialize, Deserializer};

use crate::http_client::{HttpClientConfig, split};

#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    /// Where alertd, or a Prometheus, listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9611")]
    pub(super) url: String,
    /// Who to say one is, and how it is reached: a file with Prometheus' client keys, such as
    /// authorization, basic_auth, tls_config
    #[arg(long = "http.config.file", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// The client's keys and no others.
#[derive(Debug, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct Alone {
    #[serde(skip)]
    http: HttpClientConfig,
}

impl<'de> Deserialize<'de> for Alone {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Alone, D::Error> {
        let (_, http) = split(from, |rest| Alone::deserialize(rest))?;
        Ok(Alone { http })
    }
}

impl Asked {
    /// What the file says, its relative paths beginning at its folder.
    pub(super) fn client(&self) -> anyhow::Result<HttpClientConfig> {
        let Some(file) = &self.file else { return Ok(HttpClientConfig::default()) };
        let Alone { mut http } = yaml::load(file)?;
        http.start_paths_at(file.parent().unwrap_or(Path::new("")));
        http.check(file, "http.config.file")?;
        http.check_files()?;
        Ok(http)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_client_s_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("http.yaml");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Asked { url: String::new(), file: Some(file.clone()) }.client()
        };
        let basic = read("basic_auth: { username: ann, password: p }").unwrap().basic_auth;
        assert_eq!(basic.unwrap().username, "ann");
        for (text, want) in [
            ("basic_aut: {}", "basic_aut"),
            ("bearer_token_file: nowhere", "nowhere"),
            ("basic_auth: { username: a }\nbearer_token: b", "http.config.file"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
