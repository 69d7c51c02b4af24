//! `Desc`, one metric's name and meaning, and `Families`, what a collector fills at scrape time.

use std::borrow::Cow;
use std::fmt::Write;

/// How a family's samples are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Neither: what node_exporter exposes as untyped.
    Untyped,
}

/// Name, help, type and label names of one family; a constant in the file that sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Desc {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
}

impl Desc {
    pub const fn counter(name: &'static str, help: &'static str) -> Desc {
        Desc::new(Kind::Counter, name, help)
    }

    pub const fn gauge(name: &'static str, help: &'static str) -> Desc {
        Desc::new(Kind::Gauge, name, help)
    }

    pub const fn histogram(name: &'static str, help: &'static str) -> Desc {
        Desc::new(Kind::Histogram, name, help)
    }

    pub const fn untyped(name: &'static str, help: &'static str) -> Desc {
        Desc::new(Kind::Untyped, name, help)
    }

    const fn new(kind: Kind, name: &'static str, help: &'static str) -> Desc {
        Desc { name, help, kind, labels: &[] }
    }

    /// The same metric with these label names, in the order in which values are given.
    #[must_use]
    pub const fn with_labels(self, labels: &'static [&'static str]) -> Desc {
        Desc { labels, ..self }
    }
}

/// Families by name, each with its samples in the order they were added.
#[derive(Debug, Default, Clone)]
pub struct Families {
    families: Vec<Family>,
}

#[derive(Debug, Clone)]
pub struct Family {
    pub name: Cow<'static, str>,
    pub help: Cow<'static, str>,
    pub kind: Kind,
    pub samples: Vec<Sample>,
}

/// One line of an exposition.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// `_bucket`, `_sum`, `_count` of a histogram; empty otherwise.
    pub suffix: &'static str,
    /// `a="1",b="2"`, escaped, without braces; empty when there are no labels.
    pub labels: String,
    pub value: f64,
}

impl Families {
    /// Sets the only sample of a family without labels.
    pub fn set(&mut self, desc: &Desc, value: f64) {
        self.add(desc, &[], value);
    }

    /// Adds one sample; `values` belong to `desc.labels`, in order.
    pub fn add(&mut self, desc: &Desc, values: &[&str], value: f64) {
        let labels = label_text(desc.labels, values);
        self.family(desc).samples.push(Sample { suffix: "", labels, value });
    }

    /// Sets a sample without labels of a family whose name the kernel gives, such as a field of
    /// `/proc/meminfo`.
    pub fn set_named(&mut self, name: String, help: String, kind: Kind, value: f64) {
        let family = self.named(Cow::Owned(name), Cow::Owned(help), kind);
        family.samples.push(Sample { suffix: "", labels: String::new(), value });
    }

    /// Adds one histogram: `buckets` are (upper bound, count of this bucket alone), without `+Inf`;
    /// `count` includes what lies above the last bound.
    pub fn add_histogram(
        &mut self,
        desc: &Desc,
        values: &[&str],
        buckets: &[(f64, u64)],
        sum: f64,
        count: u64,
    ) {
        let base = label_text(desc.labels, values);
        let comma = if base.is_empty() { "" } else { "," };
        let samples = &mut self.family(desc).samples;
        let mut seen = 0;
        for (bound, here) in buckets {
            seen += here;
            let labels = format!("{base}{comma}le=\"{bound}\"");
            samples.push(Sample { suffix: "_bucket", labels, value: seen as f64 });
        }
        let labels = format!("{base}{comma}le=\"+Inf\"");
        samples.push(Sample { suffix: "_bucket", labels, value: count as f64 });
        samples.push(Sample { suffix: "_sum", labels: base.clone(), value: sum });
        samples.push(Sample { suffix: "_count", labels: base, value: count as f64 });
    }

    /// All families, in the order in which they were first seen.
    pub fn iter(&self) -> impl Iterator<Item = &Family> {
        self.families.iter()
    }

    /// Adds what another collector filled; samples of one family end up together.
    pub fn merge(&mut self, other: Families) {
        for family in other.families {
            self.push(family);
        }
    }

    /// Adds a family that was read elsewhere; see [`Families::merge`].
    pub fn push(&mut self, family: Family) {
        let Family { name, help, kind, samples } = family;
        self.named(name, help, kind).samples.extend(samples);
    }

    fn family(&mut self, desc: &Desc) -> &mut Family {
        self.named(Cow::Borrowed(desc.name), Cow::Borrowed(desc.help), desc.kind)
    }

    fn named(
        &mut self,
        name: Cow<'static, str>,
        help: Cow<'static, str>,
        kind: Kind,
    ) -> &mut Family {
        // The family wanted is nearly always the last one: collectors fill one after the other.
        let at = self.families.iter().rposition(|family| family.name == name);
        let at = at.unwrap_or_else(|| {
            self.families.push(Family { name, help, kind, samples: Vec::new() });
            self.families.len() - 1
        });
        &mut self.families[at]
    }
}

fn label_text(names: &[&str], values: &[&str]) -> String {
    debug_assert_eq!(names.len(), values.len(), "label values do not fit {names:?}");
    let mut text = String::with_capacity(24 * names.len());
    for (at, (name, value)) in names.iter().zip(values).enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

/// Writes a value as Prometheus' text format does: shortest form, `+Inf`, `-Inf`, `NaN`.
pub fn write_value(out: &mut String, value: f64) {
    let special = match value {
        value if value.is_nan() => "NaN",
        f64::INFINITY => "+Inf",
        f64::NEG_INFINITY => "-Inf",
        // Most values are counts, and these are written several times faster.
        value if value.fract() == 0.0 && value.abs() < 1e15 => {
            write!(out, "{}", value as i64).expect("a String takes every write");
            return;
        }
        value => {
            write!(out, "{value}").expect("a String takes every write");
            return;
        }
    };
    out.push_str(special);
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOBS: Desc = Desc::histogram("job_seconds", "Job time.").with_labels(&["runner"]);

    #[test]
    fn histogram_buckets_add_up() {
        let mut families = Families::default();
        families.add_histogram(&JOBS, &["a\"b"], &[(1.0, 2), (5.0, 1)], 9.5, 4);
        let lines: Vec<_> = families.iter().flat_map(|family| &family.samples).collect();
        let want = [
            ("_bucket", r#"runner="a\"b",le="1""#, 2.0),
            ("_bucket", r#"runner="a\"b",le="5""#, 3.0),
            ("_bucket", r#"runner="a\"b",le="+Inf""#, 4.0),
            ("_sum", r#"runner="a\"b""#, 9.5),
            ("_count", r#"runner="a\"b""#, 4.0),
        ];
        for (line, (suffix, labels, value)) in lines.iter().zip(want) {
            assert_eq!(**line, Sample { suffix, labels: labels.to_owned(), value });
        }
    }
}
