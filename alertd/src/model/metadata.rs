//! What is said about a metric beside its samples: type, help and unit.

use std::collections::BTreeMap;

/// Metrics that one source of such words may describe.
pub const MAX_METRICS: usize = 10_000;
/// Bytes of one text; what is longer ends there.
const MAX_TEXT: usize = 1024;

/// By metric name.
pub type Metadata = BTreeMap<Box<str>, About>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct About {
    pub kind: Kind,
    pub help: Box<str>,
    pub unit: Box<str>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
    #[default]
    Unknown,
}

/// What the series of a metric add to its name.
const SUFFIXES: &[(&str, &[Kind])] = &[
    ("_bucket", &[Kind::Histogram, Kind::GaugeHistogram]),
    ("_sum", &[Kind::Histogram, Kind::Summary]),
    ("_count", &[Kind::Histogram, Kind::Summary]),
    ("_gsum", &[Kind::GaugeHistogram]),
    ("_gcount", &[Kind::GaugeHistogram]),
    ("_created", &[Kind::Counter, Kind::Histogram, Kind::Summary]),
    ("_total", &[Kind::Counter]),
    ("_info", &[Kind::Info]),
];

impl Kind {
    /// As OpenMetrics writes it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::GaugeHistogram => "gaugehistogram",
            Kind::Summary => "summary",
            Kind::Info => "info",
            Kind::StateSet => "stateset",
            Kind::Unknown => "unknown",
        }
    }
}

impl Default for About {
    fn default() -> About {
        About::new(Kind::Unknown, "", "")
    }
}

impl About {
    /// Texts that are too long are cut.
    pub fn new(kind: Kind, help: &str, unit: &str) -> About {
        About { kind, help: bounded(help), unit: bounded(unit) }
    }
}

pub fn bounded(text: &str) -> Box<str> {
    text.split_at(text.floor_char_boundary(MAX_TEXT)).0.into()
}

/// The metric that a series of such a kind belongs to. A counter of the older text format has its
/// suffix in its name, so that stays.
pub fn family(series: &str, kind: Kind) -> &str {
    let parts = SUFFIXES.iter().filter(|(suffix, of)| *suffix != "_total" && of.contains(&kind));
    parts.into_iter().find_map(|(suffix, _)| series.strip_suffix(suffix)).unwrap_or(series)
}

/// What is said about a series, under its own name or that of its metric.
pub fn about<'a>(
    series: &str,
    find: impl for<'n> Fn(&'n str) -> Option<&'a About>,
) -> Option<&'a About> {
    find(series).or_else(|| {
        SUFFIXES.iter().find_map(|(suffix, of)| {
            let metric = find(series.strip_suffix(suffix)?)?;
            of.contains(&metric.kind).then_some(metric)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_belong_to_metrics() {
        for (series, kind, want) in [
            ("a_bucket", Kind::Histogram, "a"),
            ("a_count", Kind::Summary, "a"),
            ("a_count", Kind::Gauge, "a_count"),
            ("a_total", Kind::Counter, "a_total"),
            ("a", Kind::Histogram, "a"),
        ] {
            assert_eq!(family(series, kind), want, "{series} {kind:?}");
        }
        let known: Metadata = [("h", Kind::Histogram), ("c", Kind::Counter), ("g", Kind::Gauge)]
            .map(|(name, kind)| (name.into(), About::new(kind, "", "")))
            .into();
        for (series, want) in [
            ("h_bucket", Some(Kind::Histogram)),
            ("h_sum", Some(Kind::Histogram)),
            ("c_total", Some(Kind::Counter)),
            ("c_bucket", None),
            ("g", Some(Kind::Gauge)),
            ("g_count", None),
            ("x", None),
        ] {
            assert_eq!(about(series, |name| known.get(name)).map(|a| a.kind), want, "{series}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(About::new(Kind::Unknown, &"é".repeat(MAX_TEXT), "").help.len(), MAX_TEXT);
    }
}
