//! Reads a mapping whose keys are partly those of an HTTP client and partly its owner's.
//!
//! `#[serde(flatten)]` would lose the place of an error, the nearest name of a misspelt key, and
//! passwords that look like numbers.

use std::fmt;

use serde::de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};

use super::{HttpClientConfig, Proxy};

const NAMES: &[&str] = &[
    "basic_auth",
    "authorization",
    "bearer_token",
    "bearer_token_file",
    "oauth2",
    "tls_config",
    "follow_redirects",
    "enable_http2",
    "http_headers",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
];

/// Reads the owner's keys with `rest`, a derived `deserialize` of a struct, and the client's beside
/// them. A key that neither has is refused with the names of both.
///
/// ```
/// use pitcrew_alertd::http_client::{HttpClientConfig, split};
///
/// #[derive(serde::Deserialize)]
/// #[serde(remote = "Self")]
/// struct Remote {
///     url: String,
///     #[serde(skip)]
///     http: HttpClientConfig,
/// }
///
/// impl<'de> serde::Deserialize<'de> for Remote {
///     fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Remote, D::Error> {
///         let (remote, http) = split(from, |rest| Remote::deserialize(rest))?;
///         Ok(Remote { http, ..remote })
///     }
/// }
///
/// let remote: Remote = serde_json::from_str(r#"{"url": "a", "enable_http2": false}"#).unwrap();
/// assert!(remote.url == "a" && !remote.http.enable_http2);
/// ```
pub fn split<'de, T, D: Deserializer<'de>>(
    from: D,
    rest: impl FnOnce(Keys<'_, D>) -> Result<T, D::Error>,
) -> Result<(T, HttpClientConfig), D::Error> {
    let mut http = HttpClientConfig::default();
    let rest = rest(Keys { from, http: &mut http })?;
    Ok((rest, http))
}

/// A mapping without the client's keys.
pub struct Keys<'a, D> {
    from: D,
    http: &'a mut HttpClientConfig,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Keys<'_, D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.from.deserialize_map(Outer { visitor, names, http: self.http })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_struct("", &[], visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Outer<'a, V> {
    visitor: V,
    names: &'static [&'static str],
    http: &'a mut HttpClientConfig,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Outer<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Rest { map, names: self.names, http: self.http })
    }
}

struct Rest<'a, A> {
    map: A,
    names: &'static [&'static str],
    http: &'a mut HttpClientConfig,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Rest<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            if NAMES.contains(&key.as_str()) {
                read(&key, self.http, &mut self.map)?;
                continue;
            }
            if !self.names.is_empty() && !self.names.contains(&key.as_str()) {
                let known: Vec<_> = self.names.iter().chain(NAMES).copied().collect();
                let known = known.join(", ");
                return Err(A::Error::custom(format!(
                    "unknown field `{key}`, expected one of {known}"
                )));
            }
            return seed.deserialize(key.into_deserializer()).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

fn read<'de, A: MapAccess<'de>>(
    key: &str,
    http: &mut HttpClientConfig,
    map: &mut A,
) -> Result<(), A::Error> {
    let Proxy { url, none_for, from_environment, connect_header } = &mut http.proxy;
    match key {
        "basic_auth" => http.basic_auth = map.next_value()?,
        "authorization" => http.authorization = map.next_value()?,
        "bearer_token" => http.bearer_token = map.next_value()?,
        "bearer_token_file" => http.bearer_token_file = map.next_value()?,
        "oauth2" => http.oauth2 = map.next_value()?,
        "tls_config" => http.tls_config = map.next_value::<Option<_>>()?.unwrap_or_default(),
        "follow_redirects" => http.follow_redirects = map.next_value()?,
        "enable_http2" => http.enable_http2 = map.next_value()?,
        "http_headers" => http.http_headers = map.next_value()?,
        "proxy_url" => *url = map.next_value()?,
        "no_proxy" => *none_for = map.next_value()?,
        "proxy_from_environment" => *from_environment = map.next_value()?,
        "proxy_connect_header" => *connect_header = map.next_value()?,
        _ => {}
    }
    Ok(())
}
