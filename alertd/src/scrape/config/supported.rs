//! Refuses, by name, the keys of Prometheus' `scrape_configs` that are not supported.
//!
//! They are valid there, so "unknown key" would send the reader looking for a typing mistake.

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::ScrapeConfig;
use crate::http_client::split;

/// Service discovery other than by file and URL is told by its ending `_sd_configs`.
const UNSUPPORTED: &[&str] = &[
    "native_histogram_bucket_limit",
    "native_histogram_min_bucket_factor",
    "scrape_classic_histograms",
    "always_scrape_classic_histograms",
    "convert_classic_histograms_to_nhcb",
    "scrape_failure_log_file",
];

impl<'de> Deserialize<'de> for ScrapeConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<ScrapeConfig, D::Error> {
        struct Job;
        impl<'de> Visitor<'de> for Job {
            type Value = ScrapeConfig;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a scrape configuration with job_name")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ScrapeConfig, A::Error> {
                let map = MapAccessDeserializer::new(Supported(map));
                let (job, http) = split(map, |rest| ScrapeConfig::deserialize(rest))?;
                Ok(ScrapeConfig { http, ..job })
            }
        }
        from.deserialize_map(Job)
    }
}

struct Supported<A>(A);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Supported<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let Some(key) = self.0.next_key::<String>()? else { return Ok(None) };
        let discovery = key.ends_with("_sd_configs")
            && !["file_sd_configs", "http_sd_configs"].contains(&key.as_str());
        if discovery || UNSUPPORTED.contains(&key.as_str()) {
            return Err(A::Error::custom(format!(
                "{key}: a key of Prometheus that Pitcrew does not support yet"
            )));
        }
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.0.next_value_seed(seed)
    }
}
