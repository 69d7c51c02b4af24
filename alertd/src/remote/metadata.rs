//! What write requests say about metrics: kept in memory for the API, the last word on each.

use std::sync::{Arc, Mutex, PoisonError};

use crate::model::metadata::{About, Kind, MAX_METRICS, Metadata};

/// Both versions of the protocol number the kinds in this order.
const KINDS: [Kind; 8] = [
    Kind::Unknown,
    Kind::Counter,
    Kind::Gauge,
    Kind::Histogram,
    Kind::GaugeHistogram,
    Kind::Summary,
    Kind::Info,
    Kind::StateSet,
];

/// What was received. Cheap to clone: clones share it.
#[derive(Debug, Clone, Default)]
pub struct Received(Arc<Mutex<Metadata>>);

impl Received {
    /// Returns for how many metrics there was no room.
    pub fn keep(&self, said: Metadata) -> usize {
        if said.is_empty() {
            return 0;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.into_iter().map(|(name, about)| usize::from(!put(&mut known, &name, about))).sum()
    }

    pub fn metadata(&self) -> Metadata {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether there was room.
pub(super) fn put(known: &mut Metadata, name: &str, about: About) -> bool {
    if let Some(before) = known.get_mut(name) {
        *before = about;
    } else if known.len() < MAX_METRICS {
        known.insert(name.into(), about);
    } else {
        return false;
    }
    true
}

pub(super) fn kind(number: u64) -> Kind {
    usize::try_from(number).ok().and_then(|number| KINDS.get(number)).copied().unwrap_or_default()
}

pub(super) fn number(kind: Kind) -> u64 {
    KINDS.iter().position(|one| *one == kind).unwrap_or(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_there_is_an_end() {
        let received = Received::default();
        let said = |from: usize, to: usize, kind| -> Metadata {
            (from..to).map(|at| (format!("m{at}").into(), About::new(kind, "", ""))).collect()
        };
        assert_eq!(received.keep(said(0, MAX_METRICS - 1, Kind::Gauge)), 0);
        assert_eq!(received.keep(said(MAX_METRICS - 2, MAX_METRICS + 3, Kind::Counter)), 3);
        let metadata = received.metadata();
        assert_eq!(metadata.len(), MAX_METRICS);
        let kind = |at: usize| metadata[format!("m{at}").as_str()].kind;
        assert_eq!((kind(0), kind(MAX_METRICS - 2)), (Kind::Gauge, Kind::Counter));
    }

    #[test]
    fn numbers_of_kinds() {
        for number in 0..8 {
            assert_eq!(super::number(kind(number)), number);
        }
        assert_eq!((kind(5), kind(99)), (Kind::Summary, Kind::Unknown));
    }
}
