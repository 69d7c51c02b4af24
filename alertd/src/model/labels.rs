//! `Labels`: the identity of a series or an alert.

use std::collections::BTreeMap;
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// The label that holds a series' metric name.
pub const METRIC_NAME: &str = "__name__";
/// The label that holds an alert's name.
pub const ALERT_NAME: &str = "alertname";

/// Sorted `name=value` pairs without empty values: equal sets compare, hash and print equally.
///
/// Cheap to clone: the pairs are shared.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

/// A 64-bit hash of a label set, the same as Alertmanager's: FNV-1a over name, 0xff, value, 0xff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

impl Labels {
    pub fn empty() -> Labels {
        Labels(Arc::from([]))
    }

    /// Sorts the pairs, drops empty values; of two equal names the later one wins.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Labels
    where
        N: Into<Arc<str>>,
        V: Into<Arc<str>>,
    {
        let mut sorted: Vec<(Arc<str>, Arc<str>)> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        sorted.reverse();
        sorted.dedup_by(|(earlier, _), (later, _)| earlier == later);
        sorted.reverse();
        sorted.retain(|(_, value)| !value.is_empty());
        Labels(sorted.into())
    }

    /// Takes pairs that are already sorted by name, unique and without empty values.
    pub fn from_sorted(pairs: Vec<(Arc<str>, Arc<str>)>) -> Labels {
        debug_assert!(pairs.windows(2).all(|two| two[0].0 < two[1].0));
        Labels(pairs.into())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(have, _)| have.as_ref().cmp(name)).ok()?;
        self.0.get(at).map(|(_, value)| value.as_ref())
    }

    pub fn metric_name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The shared pairs in order, for code that keeps or interns them.
    pub fn pairs(&self) -> &[(Arc<str>, Arc<str>)] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This set without the named labels.
    pub fn without(&self, names: &[&str]) -> Labels {
        self.retain(|name| !names.contains(&name))
    }

    /// As `without` for one name, which costs a single allocation.
    pub fn without_one(&self, name: &str) -> Labels {
        let Ok(at) = self.0.binary_search_by(|(have, _)| have.as_ref().cmp(name)) else {
            return self.clone();
        };
        let (before, after) = (self.0.iter().take(at), self.0.iter().skip(at + 1));
        Labels(before.chain(after).cloned().collect())
    }

    /// This set with only the named labels.
    pub fn only(&self, names: &[&str]) -> Labels {
        self.retain(|name| names.contains(&name))
    }

    pub fn retain(&self, keep: impl Fn(&str) -> bool) -> Labels {
        Labels(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }

    /// This set with one label set, or removed when `value` is empty.
    pub fn with(&self, name: &str, value: &str) -> Labels {
        if value.is_empty() {
            return self.without_one(name);
        }
        let found = self.0.binary_search_by(|(have, _)| have.as_ref().cmp(name));
        let (before, after) = found.map_or_else(|at| (at, at), |at| (at, at + 1));
        let one = [(Arc::from(name), Arc::from(value))];
        let (before, after) = (self.0.iter().take(before), self.0.iter().skip(after));
        Labels(before.cloned().chain(one).chain(after.cloned()).collect())
    }

    /// This set with all of `other` laid over it.
    pub fn overlaid(&self, other: &Labels) -> Labels {
        if self.is_empty() {
            return other.clone();
        }
        Labels::from_pairs(self.0.iter().chain(other.0.iter()).cloned())
    }

    pub fn fingerprint(&self) -> Fingerprint {
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let mut feed = |bytes: &[u8]| {
            for byte in bytes.iter().chain([&0xff]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
            }
        };
        for (name, value) in self.0.iter() {
            feed(name.as_bytes());
            feed(value.as_bytes());
        }
        Fingerprint(hash)
    }

    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

impl Default for Labels {
    fn default() -> Labels {
        Labels::empty()
    }
}

/// As PromQL writes it: `name{a="1",b="2"}`, or `{}` when there is nothing.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        write!(f, "{}", name.unwrap_or(""))?;
        let rest: Vec<_> = self.iter().filter(|(name, _)| *name != METRIC_NAME).collect();
        if rest.is_empty() && name.is_some() {
            return Ok(());
        }
        f.write_str("{")?;
        for (at, (name, value)) in rest.into_iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// As it is displayed.
impl FromStr for Fingerprint {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Fingerprint, ParseIntError> {
        u64::from_str_radix(text, 16).map(Fingerprint)
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_equal_however_they_were_made() {
        let one = Labels::from_pairs([("b", "2"), ("a", "1"), ("c", "")]);
        let two = Labels::from_pairs([("a", "0"), ("a", "1"), ("b", "2")]);
        assert_eq!(one, two);
        assert_eq!(one.fingerprint(), two.fingerprint());
        assert_eq!(one.to_string(), r#"{a="1", b="2"}"#);
        assert_eq!(one.with("a", ""), Labels::from_pairs([("b", "2")]));
        for (name, value, want) in [
            ("a", "3", "{a=\"3\", b=\"2\"}"),
            ("A", "3", "{A=\"3\", a=\"1\", b=\"2\"}"),
            ("ab", "3", "{a=\"1\", ab=\"3\", b=\"2\"}"),
            ("c", "3", "{a=\"1\", b=\"2\", c=\"3\"}"),
            ("c", "", "{a=\"1\", b=\"2\"}"),
        ] {
            assert_eq!(one.with(name, value).to_string(), want);
        }
        let emptied = Labels::from_pairs([("a", "1"), ("b", "2"), ("a", "")]);
        assert_eq!(emptied.to_string(), "{b=\"2\"}", "the later one wins though it is empty");
        assert_eq!(Labels::empty().overlaid(&one), one);
    }

    #[test]
    fn fingerprint_is_fnv_1a_with_separators() {
        assert_eq!(Labels::empty().fingerprint().to_string(), "cbf29ce484222325");
        // FNV-1a 64 of the bytes 61 ff 62 ff.
        let mut want: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in [0x61_u64, 0xff, 0x62, 0xff] {
            want = (want ^ byte).wrapping_mul(0x0000_0100_0000_01b3);
        }
        assert_eq!(Labels::from_pairs([("a", "b")]).fingerprint(), Fingerprint(want));
    }
}
