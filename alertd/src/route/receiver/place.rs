//! Where a receiver's keys stand, and what is checked and filled in alike for every kind of them.

use std::path::{Path, PathBuf};

use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use serde::de::{Deserialize, Deserializer};

use super::{SecretSource, check_url};
use crate::http_client::{HttpClientConfig, TlsConfig, split};
use crate::route::config::global::Global;

/// A section of a file: for messages, for the folder that relative names begin at, and with the
/// global defaults.
#[derive(Debug, Clone)]
pub(in crate::route) struct Place<'a> {
    file: &'a Path,
    key: String,
    pub(super) global: &'a Global,
}

/// `http_config`, a section of its own.
#[derive(Debug, Clone, Default)]
pub(in crate::route) struct HttpFile(HttpClientConfig);

impl<'de> Deserialize<'de> for HttpFile {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<HttpFile, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        split(from, |rest| Nothing::deserialize(rest)).map(|(Nothing {}, http)| HttpFile(http))
    }
}

impl<'a> Place<'a> {
    pub(in crate::route) fn new(file: &'a Path, key: String, global: &'a Global) -> Place<'a> {
        Place { file, key, global }
    }

    /// A section within this one.
    pub(super) fn within(&self, name: &str) -> Place<'a> {
        Place { key: format!("{}.{name}", self.key), ..*self }
    }

    /// What is wrong with the key `name`.
    pub(in crate::route) fn bad(
        &self,
        name: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Invalid {
        Invalid::value(self.file, format!("{}.{name}", self.key), expected, found)
    }

    /// How the receiver is reached: its own section as a whole, else the global one.
    pub(in crate::route) fn http(
        &self,
        own: Option<HttpFile>,
    ) -> Result<HttpClientConfig, Invalid> {
        let (HttpFile(mut http), key) = match own {
            Some(own) => (own, format!("{}.http_config", self.key)),
            None => {
                let global = self.global.http_config.clone();
                (global.unwrap_or_default(), "global.http_config".to_owned())
            }
        };
        http.check(self.file, &key)?;
        http.start_paths_at(self.folder());
        Ok(http)
    }

    pub(in crate::route) fn tls(&self, own: Option<TlsConfig>) -> Result<TlsConfig, Invalid> {
        let (mut tls, key) = match own {
            Some(own) => (own, format!("{}.tls_config", self.key)),
            None => {
                let global = self.global.smtp_tls_config.clone();
                (global.unwrap_or_default(), "global.smtp_tls_config".to_owned())
            }
        };
        tls.check(self.file, &key)?;
        tls.start_paths_at(self.folder());
        Ok(tls)
    }

    /// A URL that is secret as a whole: its path is the password. It stands in `name` or in the
    /// file of `name_file`.
    pub(super) fn url(
        &self,
        name: &str,
        value: Option<Secret>,
        path: Option<PathBuf>,
    ) -> Result<SecretSource, Invalid> {
        if let Some(value) = &value {
            check_url(value).map_err(|found| self.bad(name, "an http or https URL", found))?;
        }
        self.secret(name, value, path)
    }

    /// A secret that has to be there, in `name` or in the file of `name_file`.
    pub(super) fn secret(
        &self,
        name: &str,
        value: Option<Secret>,
        path: Option<PathBuf>,
    ) -> Result<SecretSource, Invalid> {
        let found = self.optional_secret(name, value, path)?;
        found.ok_or_else(|| self.bad(name, format!("one of {name} and {name}_file"), "neither"))
    }

    /// The same, or none.
    pub(super) fn optional_secret(
        &self,
        name: &str,
        value: Option<Secret>,
        path: Option<PathBuf>,
    ) -> Result<Option<SecretSource>, Invalid> {
        match (value, path) {
            (Some(_), Some(_)) => {
                Err(self.bad(name, format!("one of {name} and {name}_file"), "both"))
            }
            (Some(value), None) => Ok(Some(SecretSource::Value(value))),
            (None, Some(path)) => Ok(Some(SecretSource::File(self.folder().join(path)))),
            (None, None) => Ok(None),
        }
    }

    /// Where relative names begin.
    fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}
