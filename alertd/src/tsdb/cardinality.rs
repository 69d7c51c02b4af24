//! What the series of a store are made of: which names and values take the most.

use std::collections::{BTreeMap, HashMap};

use crate::model::labels::{Labels, METRIC_NAME};

/// Counts over a set of series; each list has the largest first, equal ones by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cardinality {
    pub series: usize,
    /// Different pairs of label name and value.
    pub label_pairs: usize,
    pub series_by_metric_name: Vec<(String, u64)>,
    pub values_by_label_name: Vec<(String, u64)>,
    /// Bytes of the different values of each label.
    pub bytes_by_label_name: Vec<(String, u64)>,
    /// By `name=value`.
    pub series_by_label_pair: Vec<(String, u64)>,
}

/// Counts the series, and keeps the first `top` of each list.
pub fn count(series: &[Labels], top: usize) -> Cardinality {
    let mut pairs: HashMap<(&str, &str), u64> = HashMap::new();
    for (name, value) in series.iter().flat_map(Labels::iter) {
        *pairs.entry((name, value)).or_default() += 1;
    }
    let mut values: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (name, value) in pairs.keys() {
        let (count, bytes) = values.entry(name).or_default();
        *count += 1;
        *bytes += value.len() as u64;
    }
    let names = pairs.iter().filter(|((name, _), _)| *name == METRIC_NAME);
    Cardinality {
        series: series.len(),
        label_pairs: pairs.len(),
        series_by_metric_name: largest(names.map(|((_, value), count)| (*value, *count)), top)
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
        values_by_label_name: owned(largest(values.iter().map(|(name, (n, _))| (*name, *n)), top)),
        bytes_by_label_name: owned(largest(values.iter().map(|(name, (_, n))| (*name, *n)), top)),
        series_by_label_pair: largest(pairs.iter().map(|(pair, count)| (*pair, *count)), top)
            .into_iter()
            .map(|((name, value), count)| (format!("{name}={value}"), count))
            .collect(),
    }
}

fn owned(list: Vec<(&str, u64)>) -> Vec<(String, u64)> {
    list.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

fn largest<T: Ord + Copy>(all: impl Iterator<Item = (T, u64)>, top: usize) -> Vec<(T, u64)> {
    let mut list: Vec<_> = all.collect();
    let order = |a: &(T, u64), b: &(T, u64)| b.1.cmp(&a.1).then(a.0.cmp(&b.0));
    if top > 0 && list.len() > top {
        list.select_nth_unstable_by(top - 1, order);
    }
    list.truncate(top);
    list.sort_unstable_by(order);
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_names_values_and_pairs() {
        let series: Vec<_> = [("a", "x", "1"), ("a", "x", "22"), ("a", "y", "1"), ("b", "x", "1")]
            .map(|(name, job, i)| Labels::from_pairs([("__name__", name), ("job", job), ("i", i)]))
            .into();
        let list = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> {
            pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        let all = count(&series, 10);
        assert_eq!((all.series, all.label_pairs), (4, 6));
        assert_eq!(all.series_by_metric_name, list(&[("a", 3), ("b", 1)]));
        assert_eq!(all.values_by_label_name, list(&[("__name__", 2), ("i", 2), ("job", 2)]));
        assert_eq!(all.bytes_by_label_name, list(&[("i", 3), ("__name__", 2), ("job", 2)]));
        assert_eq!(
            all.series_by_label_pair,
            list(&[
                ("__name__=a", 3),
                ("i=1", 3),
                ("job=x", 3),
                ("__name__=b", 1),
                ("i=22", 1),
                ("job=y", 1)
            ])
        );
        let few = count(&series, 1);
        assert_eq!(few.series_by_label_pair, list(&[("__name__=a", 3)]));
        assert_eq!(count(&[], 3), Cardinality::default());
    }

    #[test]
    fn the_first_ten_of_thousands() {
        let names =
            (0..5000).map(|at| Labels::from_pairs([("__name__", format!("m{:04}", at % 2500))]));
        let counted = count(&names.collect::<Vec<_>>(), 10).series_by_metric_name;
        let want = (0..10).map(|at| (format!("m{at:04}"), 2)).collect::<Vec<_>>();
        assert_eq!(counted, want);
    }
}
