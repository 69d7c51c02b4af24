//! Replies of Redis to plain values (pure).

use std::time::Duration;

use redis::Value;

/// Ids before this are no times: somebody numbers entries in his own way.
const FIRST_TIME_MS: u64 = 946_684_800_000;

/// The id of a stream's entry; a time in milliseconds unless the producer chose it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) ms: u64,
    pub(super) sequence: u64,
}

/// What `XINFO GROUPS` tells of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) consumers: u64,
    pub(super) pending: u64,
    pub(super) last_delivered: Id,
    /// Absent before Redis 7, and where Redis does not know it.
    pub(super) entries_read: Option<u64>,
    /// Absent as `entries_read` is.
    pub(super) lag: Option<u64>,
}

/// What `XINFO CONSUMERS` tells of one consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Consumer {
    pub(super) name: String,
    pub(super) pending: u64,
    /// Since it last asked for entries or claimed some.
    pub(super) idle: Duration,
}

/// One line of `XPENDING … - + N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) id: Id,
    /// Since it was last delivered.
    pub(super) idle: Duration,
    pub(super) deliveries: u64,
}

impl Id {
    pub(super) fn parse(text: &str) -> Option<Id> {
        let (ms, sequence) = text.split_once('-')?;
        Some(Id { ms: ms.parse().ok()?, sequence: sequence.parse().ok()? })
    }

    /// The smallest id above this one.
    pub(super) fn next(self) -> Id {
        match self.sequence.checked_add(1) {
            Some(sequence) => Id { sequence, ..self },
            None => Id { ms: self.ms.saturating_add(1), sequence: 0 },
        }
    }

    /// Its time in unixtime, if it is one.
    pub(super) fn seconds(self) -> Option<f64> {
        (FIRST_TIME_MS <= self.ms).then_some(self.ms as f64 / 1000.0)
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.sequence)
    }
}

/// A string of the reply, if it is one and UTF-8.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        Value::Okay => Some("OK"),
        _ => None,
    }
}

/// A whole number that is not negative.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        other => text(other)?.parse().ok(),
    }
}

pub(super) fn list(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

/// The value of a name in a flat list of names and values.
pub(super) fn field<'a>(values: &'a [Value], name: &str) -> Option<&'a Value> {
    values.chunks_exact(2).find(|pair| text(&pair[0]) == Some(name)).map(|pair| &pair[1])
}

/// Seconds of unixtime in the reply to `TIME`.
pub(super) fn time(value: &Value) -> Option<f64> {
    match list(value)? {
        [seconds, micros] => Some(number(seconds)? as f64 + number(micros)? as f64 / 1e6),
        _ => None,
    }
}

/// Groups, and how many were left out because their names cannot be used.
pub(super) fn rows(value: &Value) -> Option<(Vec<Row>, u64)> {
    let all = list(value)?;
    let mut found = Vec::with_capacity(all.len());
    let mut left_out = 0;
    for row in all {
        let row = list(row)?;
        let Some(name) = text(field(row, "name")?).filter(|name| usable(name)) else {
            left_out += 1;
            continue;
        };
        found.push(Row {
            name: name.to_owned(),
            consumers: number(field(row, "consumers")?)?,
            pending: number(field(row, "pending")?)?,
            last_delivered: Id::parse(text(field(row, "last-delivered-id")?)?)?,
            entries_read: field(row, "entries-read").and_then(number),
            lag: field(row, "lag").and_then(number),
        });
    }
    Some((found, left_out))
}

pub(super) fn consumers(value: &Value) -> Option<Vec<Consumer>> {
    let read = |row: &Value| {
        let row = list(row)?;
        let name = match field(row, "name")? {
            Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => text(other)?.to_owned(),
        };
        let pending = number(field(row, "pending")?)?;
        let idle = Duration::from_millis(number(field(row, "idle")?)?);
        Some(Consumer { name: shortened(name), pending, idle })
    };
    list(value)?.iter().map(read).collect()
}

pub(super) fn pending(value: &Value) -> Option<Vec<Pending>> {
    let read = |row: &Value| match list(row)? {
        [id, _, idle, deliveries] => Some(Pending {
            id: Id::parse(text(id)?)?,
            idle: Duration::from_millis(number(idle)?),
            deliveries: number(deliveries)?,
        }),
        _ => None,
    };
    list(value)?.iter().map(read).collect()
}

/// The id of the only entry of an `XRANGE … COUNT 1`; the inner `None`: there is no entry.
pub(super) fn only_id(value: &Value) -> Option<Option<Id>> {
    match list(value)? {
        [] => Some(None),
        [entry, ..] => Some(Some(Id::parse(text(list(entry)?.first()?)?)?)),
    }
}

/// Names longer than this are not asked for and not shown.
const LONGEST_NAME: usize = 256;

/// Whether a key or group can be a label.
pub(super) fn usable(name: &str) -> bool {
    name.len() <= LONGEST_NAME
}

fn shortened(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(LONGEST_NAME));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    /// A flat list of names and values; `None` is nil.
    fn flat(pairs: &[(&str, Option<Value>)]) -> Value {
        let pairs = pairs
            .iter()
            .flat_map(|(name, value)| [bulk(name), value.clone().unwrap_or(Value::Nil)]);
        Value::Array(pairs.collect())
    }

    fn group(more: &[(&str, Option<Value>)]) -> Value {
        let mut pairs = vec![
            ("name", Some(bulk("g"))),
            ("consumers", Some(Value::Int(5))),
            ("pending", Some(Value::Int(2))),
            ("last-delivered-id", Some(bulk("1700000000123-7"))),
        ];
        pairs.extend_from_slice(more);
        Value::Array(vec![flat(&pairs)])
    }

    #[test]
    fn a_lag_that_redis_does_not_know_is_absent() {
        let known = group(&[("entries-read", Some(Value::Int(9))), ("lag", Some(Value::Int(3)))]);
        let unknown = group(&[("entries-read", None), ("lag", None)]);
        for (value, want) in [(known, Some(3)), (unknown, None), (group(&[]), None)] {
            let (rows, left_out) = rows(&value).unwrap();
            assert_eq!((rows[0].lag, rows[0].consumers, left_out), (want, 5, 0));
            assert_eq!(rows[0].last_delivered, Id { ms: 1_700_000_000_123, sequence: 7 });
        }
    }

    #[test]
    fn nonsense_is_no_reply() {
        for value in [
            Value::Nil,
            Value::Int(1),
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![flat(&[("name", Some(bulk("g")))])]),
            Value::Array(vec![Value::Array(vec![bulk("name")])]),
        ] {
            assert!(rows(&value).is_none(), "{value:?}");
            assert!(consumers(&value).is_none(), "{value:?}");
            assert!(pending(&value).is_none(), "{value:?}");
            assert!(only_id(&value).is_none(), "{value:?}");
            assert!(time(&value).is_none(), "{value:?}");
        }
        let long = "n".repeat(LONGEST_NAME + 1);
        let named = Value::Array(vec![flat(&[("name", Some(bulk(&long)))])]);
        assert_eq!(rows(&named), Some((Vec::new(), 1)));
        let other = Value::Array(vec![flat(&[("name", Some(Value::BulkString(vec![0xff])))])]);
        assert_eq!(rows(&other), Some((Vec::new(), 1)));
    }

    #[test]
    fn ids_are_times_unless_somebody_chose_them() {
        for (text, want) in [
            ("1700000000123-0", Some(1_700_000_000.123)),
            ("1-1", None),
            ("0-0", None),
            ("18446744073709551615-18446744073709551615", Some(18_446_744_073_709_552.0)),
        ] {
            assert_eq!(Id::parse(text).unwrap().seconds(), want, "{text}");
        }
        for text in ["", "1", "1-", "-1", "a-b", "99999999999999999999-0"] {
            assert_eq!(Id::parse(text), None, "{text}");
        }
        let last = Id { ms: 1, sequence: u64::MAX };
        assert_eq!(last.next(), Id { ms: 2, sequence: 0 });
        assert!(last < last.next());
    }
}
