//! Where a replay's history comes from: an HTTP API, or the files of a data directory or a backup.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use prometheus_client::registry::Registry;
use serde_json::json;

use crate::backup::{self, folder};
use crate::http_client::HttpClientConfig;
use crate::model::querier::Querier;
use crate::model::sample::Timestamp;
use crate::remote::source::RemoteSource;
use crate::remote::source::config::SourceConfig;
use crate::tsdb::block::{self, metrics::BlockMetrics};
use crate::tsdb::{Limits, Tsdb};

/// Nothing of the history goes because of its age.
const FOREVER: Duration = Duration::from_secs(1000 * 365 * 86_400);

pub(super) struct History {
    store: Arc<dyn Querier>,
    _copy: Option<Copy>,
}

/// Goes with its handle.
struct Copy(PathBuf);

impl History {
    /// Must be called within the runtime.
    pub(super) fn api(url: &str, http: HttpClientConfig) -> anyhow::Result<History> {
        let config: SourceConfig =
            serde_json::from_value(json!({ "url": url })).context("--url")?;
        let config = SourceConfig { http, ..config };
        config.check(Path::new("--url"))?;
        let store = Arc::new(RemoteSource::new(&config, &mut Registry::default()));
        Ok(History { store, _copy: None })
    }

    /// Opens a copy, so that nothing of it changes: opening mends logs and moves samples.
    pub(super) fn folder(data_dir: &Path, now: Timestamp) -> anyhow::Result<History> {
        let samples = data_dir.join(backup::SAMPLES);
        if !samples.is_dir() {
            bail!(
                "{}: expected a data directory or a backup of alertd, found no {}",
                data_dir.display(),
                backup::SAMPLES
            );
        }
        let copy = Copy::make(&samples)?;
        let limits = Limits { max_series: 10_000_000, retention: FOREVER, ..Limits::default() };
        let blocks = BlockMetrics::new(&mut Registry::default());
        let (store, _) = Tsdb::open(&copy.0, limits, now, blocks)?;
        Ok(History { store: Arc::new(store), _copy: Some(copy) })
    }

    pub(super) fn store(&self) -> Arc<dyn Querier> {
        Arc::clone(&self.store)
    }
}

impl Copy {
    fn make(from: &Path) -> anyhow::Result<Copy> {
        let name = format!(".pitcrew-replay-{}", std::process::id());
        // Beside it, where blocks can be linked; elsewhere when nothing may be written there.
        let beside = from.parent().map(|parent| parent.join(&name));
        let place = beside.filter(|path| folder::create(path).is_ok());
        let place = match place {
            Some(path) => path,
            None => {
                let path = std::env::temp_dir().join(name);
                folder::create(&path)?;
                path
            }
        };
        let copy = Copy(place);
        for file in folder::files(from)? {
            let (source, to) = (from.join(&file), copy.0.join(&file));
            folder::create(to.parent().unwrap_or(&copy.0))?;
            // Blocks are never written to again; everything else may be.
            let is_block = file.starts_with(block::FOLDER);
            if is_block && fs::hard_link(&source, &to).is_ok() {
                continue;
            }
            match fs::copy(&source, &to) {
                Ok(_) => {}
                // One that a running alertd has just put elsewhere.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot copy {}", source.display()));
                }
            }
        }
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // What cannot be deleted now stays; the name says whose it is.
        folder::delete(&self.0).ok();
    }
}
