//! The root of exporter.yaml: assembles and checks what the components define.

pub mod duration;
pub mod yaml;

/// exporter.yaml; every key is optional.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}
