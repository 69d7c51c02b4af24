//! Remote write, protocol versions 1.0 and 2.0: what others send here, and what is sent to others;
//! and a remote API as the store itself.
//!
//! Source: the Prometheus Remote-Write 1.0 and 2.0 specifications.

pub mod config;
pub mod encode;
pub mod forward;
pub mod message;
pub mod metadata;
pub mod metrics;
pub mod queue;
pub mod receive;
pub mod send;
pub mod source;
pub mod wire;

/// The message that a request's body holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `prometheus.WriteRequest`.
    #[default]
    V1,
    /// `io.prometheus.write.v2.Request`: strings stand once in a table.
    V2,
}

const PROTOBUF: &str = "application/x-protobuf";
const V1_MESSAGE: &str = "prometheus.WriteRequest";
const V2_MESSAGE: &str = "io.prometheus.write.v2.Request";

impl Protocol {
    /// The protocol of a `Content-Type`; the error says what would be taken.
    pub fn of_content_type(text: &str) -> Result<Protocol, String> {
        let mut parts = text.split(';').map(str::trim);
        let wrong = || {
            format!(
                "Content-Type: expected {PROTOBUF}, with proto={V2_MESSAGE} for version 2.0, \
                 found {text:?}"
            )
        };
        if !parts.next().is_some_and(|media| media.eq_ignore_ascii_case(PROTOBUF)) {
            return Err(wrong());
        }
        for parameter in parts {
            let (name, value) = parameter.split_once('=').ok_or_else(wrong)?;
            if name.trim().eq_ignore_ascii_case("proto") {
                let value = value.trim().trim_matches('"');
                return Protocol::of_message(value).ok_or_else(wrong);
            }
        }
        Ok(Protocol::V1)
    }

    /// The protocol whose message has this full name.
    pub fn of_message(name: &str) -> Option<Protocol> {
        match name {
            V1_MESSAGE => Some(Protocol::V1),
            V2_MESSAGE => Some(Protocol::V2),
            _ => None,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Protocol::V1 => PROTOBUF,
            Protocol::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// What `X-Prometheus-Remote-Write-Version` says.
    pub fn version(self) -> &'static str {
        match self {
            Protocol::V1 => "0.1.0",
            Protocol::V2 => "2.0.0",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        for (text, want) in [
            ("application/x-protobuf", Some(Protocol::V1)),
            (" Application/X-Protobuf ; charset=utf-8", Some(Protocol::V1)),
            ("application/x-protobuf;proto=prometheus.WriteRequest", Some(Protocol::V1)),
            (Protocol::V2.content_type(), Some(Protocol::V2)),
            (
                "application/x-protobuf; proto=\"io.prometheus.write.v2.Request\"",
                Some(Protocol::V2),
            ),
            ("application/x-protobuf;proto=io.prometheus.write.v3.Request", None),
            ("application/x-protobuf;proto", None),
            ("application/json", None),
            ("", None),
        ] {
            assert_eq!(Protocol::of_content_type(text).ok(), want, "{text}");
        }
    }
}
