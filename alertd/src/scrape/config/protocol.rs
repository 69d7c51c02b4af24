//! The forms that a page may have, as Prometheus names them, and how they are asked for.

use serde::Deserialize;

use crate::scrape::exposition::Format;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Protocol {
    #[serde(rename = "PrometheusProto")]
    Protobuf,
    #[serde(rename = "OpenMetricsText0.0.1")]
    OpenMetrics001,
    #[serde(rename = "OpenMetricsText1.0.0")]
    OpenMetrics100,
    #[serde(rename = "PrometheusText0.0.4")]
    Text004,
    #[serde(rename = "PrometheusText1.0.0")]
    Text100,
}

/// How a target is to write names that only UTF-8 can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Escaping {
    #[default]
    #[serde(rename = "allow-utf-8")]
    Allow,
    #[serde(rename = "underscores")]
    Underscores,
    #[serde(rename = "dots")]
    Dots,
    #[serde(rename = "values")]
    Values,
}

const ALL: [Protocol; 4] =
    [Protocol::OpenMetrics100, Protocol::OpenMetrics001, Protocol::Text100, Protocol::Text004];

/// What was expected and what was found instead.
pub(super) fn check(protocols: &[Protocol]) -> Result<(), (&'static str, String)> {
    if protocols.is_empty() {
        return Err(("at least one form", "none".to_owned()));
    }
    for (at, protocol) in protocols.iter().enumerate() {
        if *protocol == Protocol::Protobuf {
            return Err(("text forms only: protobuf is not read", "PrometheusProto".to_owned()));
        }
        if protocols.iter().take(at).any(|before| before == protocol) {
            return Err(("each form once", format!("{protocol:?} twice")));
        }
    }
    Ok(())
}

/// The `Accept` header for these forms, best first; for all of them when there is no list.
pub fn accept(protocols: Option<&[Protocol]>, escaping: Escaping) -> String {
    let protocols = protocols.unwrap_or(&ALL);
    let escaping = match escaping {
        Escaping::Allow => "allow-utf-8",
        Escaping::Underscores => "underscores",
        Escaping::Dots => "dots",
        Escaping::Values => "values",
    };
    let mut header = String::new();
    let mut weight = protocols.len() + 1;
    for protocol in protocols {
        let kind = match protocol {
            Protocol::OpenMetrics100 => {
                format!("application/openmetrics-text;version=1.0.0;escaping={escaping}")
            }
            Protocol::OpenMetrics001 => "application/openmetrics-text;version=0.0.1".to_owned(),
            Protocol::Text100 => format!("text/plain;version=1.0.0;escaping={escaping}"),
            Protocol::Text004 => "text/plain;version=0.0.4".to_owned(),
            Protocol::Protobuf => continue,
        };
        header.push_str(&format!("{kind};q=0.{weight},"));
        weight -= 1;
    }
    format!("{header}*/*;q=0.1")
}

impl Protocol {
    pub fn format(self) -> Format {
        match self {
            Protocol::OpenMetrics100 | Protocol::OpenMetrics001 => Format::OpenMetrics100,
            Protocol::Text004 | Protocol::Text100 | Protocol::Protobuf => Format::Text004,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_best_first() {
        let both = [Protocol::Text004, Protocol::OpenMetrics100];
        assert_eq!(
            accept(Some(&both), Escaping::Dots),
            "text/plain;version=0.0.4;q=0.3,\
             application/openmetrics-text;version=1.0.0;escaping=dots;q=0.2,*/*;q=0.1"
        );
        let all = accept(None, Escaping::Allow);
        assert!(all.starts_with("application/openmetrics-text;version=1.0.0;"), "{all}");
        assert!(all.ends_with("text/plain;version=0.0.4;q=0.2,*/*;q=0.1"), "{all}");
    }
}
