//! `Families` and prometheus-client registries as text: Prometheus 0.0.4 and OpenMetrics 1.0 (pure).

use std::borrow::Cow;
use std::collections::HashSet;

use http::HeaderMap;
use http::header::ACCEPT;
use prometheus_client::registry::Registry;

use crate::metric::{Families, Family, Kind, Sample, write_value};

/// Families of more samples than this are searched for duplicates by hash.
const FEW: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text004,
    OpenMetrics100,
}

impl Format {
    /// What the client likes best of the two; text 0.0.4 when it names neither.
    ///
    /// Source: RFC 9110, section 12.5.1, and the Accept header that Prometheus sends.
    pub fn from_accept(headers: &HeaderMap) -> Format {
        let (mut open_metrics, mut text) = (0.0_f64, 0.0_f64);
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or("").to_ascii_lowercase();
            let (mut quality, mut version) = (1.0, None);
            for part in parts {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = value.trim().parse().unwrap_or(0.0),
                    "version" => version = Some(value.trim().trim_matches('"')),
                    _ => {}
                }
            }
            match (media.as_str(), version) {
                ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => {
                    open_metrics = open_metrics.max(quality);
                }
                ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => {
                    text = text.max(quality);
                }
                _ => {}
            }
        }
        match open_metrics > 0.0 && open_metrics >= text {
            true => Format::OpenMetrics100,
            false => Format::Text004,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics100 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One page of these families, by name.
pub fn render(families: &Families, format: Format) -> String {
    render_all(&[families], format)
}

/// One page of what several sources filled.
///
/// Valid whatever they hold: a family that two of them have is written once, of two samples with
/// the same labels the first stays, and a name that the format does not allow is repaired.
pub fn render_all(parts: &[&Families], format: Format) -> String {
    let mut families: Vec<&Family> =
        parts.iter().flat_map(|part| part.iter()).filter(|part| !part.samples.is_empty()).collect();
    families.sort_by(|a, b| a.name.cmp(&b.name));
    let mut page = Page { out: String::with_capacity(64 * 1024), format };
    for group in families.chunk_by(|a, b| a.name == b.name) {
        let short = group[0].name.strip_suffix("_total");
        let taken = short.is_some_and(|short| {
            families.binary_search_by(|family| family.name.as_ref().cmp(short)).is_ok()
        });
        page.family(group, short.filter(|_| !taken));
    }
    if format == Format::OpenMetrics100 {
        page.out.push_str("# EOF\n");
    }
    page.out
}

/// One page of a registry of prometheus-client, which itself writes only OpenMetrics.
pub fn render_registry(registry: &Registry, format: Format) -> String {
    render(&registry_families(registry), format)
}

/// The families of a registry, counters under their name with `_total`.
///
/// prometheus-client gives its values away only as text; this reads that text back, and mends on
/// the way what it does not escape (line feeds and backslashes in help).
pub fn registry_families(registry: &Registry) -> Families {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)
        .expect("a String takes every write");
    let mut families = Families::default();
    for block in text.split("# HELP ").skip(1) {
        families.push(read_block(block));
    }
    families
}

/// Reads `name help`, `# TYPE name type` and the samples; `# HELP ` itself is already gone.
fn read_block(block: &str) -> Family {
    let (name, rest) = block.split_once(' ').unwrap_or((block, ""));
    let (help, rest) = rest.split_once(&format!("\n# TYPE {name} ")).unwrap_or((rest, ""));
    let (kind, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    let (kind, suffix) = match kind {
        "counter" => (Kind::Counter, "_total"),
        "gauge" => (Kind::Gauge, ""),
        "info" => (Kind::Gauge, "_info"),
        "histogram" => (Kind::Histogram, ""),
        _ => (Kind::Untyped, ""),
    };
    let full = format!("{name}{suffix}");
    let samples = rest.lines().filter(|line| !line.starts_with('#'));
    let mut samples: Vec<_> = samples.filter_map(|line| read_sample(line, &full)).collect();
    // The library keeps series in a hash map; a page must not change its order from read to read.
    samples.sort_by_cached_key(|sample| {
        let series = sample.labels.split("le=\"").next().unwrap_or("");
        (series.trim_end_matches(',').to_owned(), sample.suffix != "_bucket")
    });
    Family { name: Cow::Owned(full), help: Cow::Owned(help.to_owned()), kind, samples }
}

fn read_sample(line: &str, family: &str) -> Option<Sample> {
    let rest = line.strip_prefix(family)?;
    let suffix = ["_bucket", "_sum", "_count"].into_iter().find(|s| rest.starts_with(s));
    let suffix = suffix.unwrap_or("");
    let rest = rest.strip_prefix(suffix)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => rest.split_at_checked(end_of_labels(rest)?)?,
        None => ("", rest),
    };
    let value = rest.strip_prefix('}').unwrap_or(rest).split_ascii_whitespace().next()?;
    Some(Sample { suffix, labels: with_go_bounds(labels), value: value.parse().ok()? })
}

/// Where the closing brace stands that is not inside a quoted value.
fn end_of_labels(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|byte| {
        let end = !quoted && byte == b'}';
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        end
    })
}

/// `le="1.0"` as Prometheus' own client writes it in text: `le="1"`, so that histograms of two
/// exporters add up. `le` goes last.
fn with_go_bounds(labels: &str) -> String {
    let (before, rest) = match labels.split_once("le=\"") {
        Some((before, rest)) if before.is_empty() || before.ends_with(',') => (before, rest),
        _ => return labels.to_owned(),
    };
    let Some((bound, after)) = rest.split_once('"') else { return labels.to_owned() };
    let bound = bound.strip_suffix(".0").unwrap_or(bound);
    let after = after.trim_start_matches(',');
    let comma = if after.is_empty() || after.ends_with(',') { "" } else { "," };
    format!("{before}{after}{comma}le=\"{bound}\"")
}

struct Page {
    out: String,
    format: Format,
}

impl Page {
    /// `group` are families of one name; `short` is that name without `_total`, where OpenMetrics
    /// may use it for the family.
    fn family(&mut self, group: &[&Family], short: Option<&str>) {
        let first = group[0];
        let name = valid_name(&first.name);
        let (title, kind) = match (self.format, first.kind, short) {
            (Format::OpenMetrics100, Kind::Counter, Some(short)) => (valid_name(short), "counter"),
            // A counter without `_total` is none in OpenMetrics.
            (Format::OpenMetrics100, Kind::Counter | Kind::Untyped, _) => (name.clone(), "unknown"),
            (Format::Text004, Kind::Counter, _) => (name.clone(), "counter"),
            (Format::Text004, Kind::Untyped, _) => (name.clone(), "untyped"),
            (_, Kind::Gauge, _) => (name.clone(), "gauge"),
            (_, Kind::Histogram, _) => (name.clone(), "histogram"),
        };
        self.parts(&["# HELP ", &title, " "]);
        self.help(&first.help);
        self.parts(&["\n# TYPE ", &title, " ", kind, "\n"]);
        let samples = || group.iter().flat_map(|family| &family.samples);
        let count = samples().count();
        let mut seen = HashSet::with_capacity(if count > FEW { count } else { 0 });
        for (at, sample) in samples().enumerate() {
            let first = match count > FEW {
                true => seen.insert((sample.suffix, sample.labels.as_str())),
                // A few comparisons cost less than a hash.
                false => !samples().take(at).any(|earlier| same_series(earlier, sample)),
            };
            if first {
                self.sample(&name, sample);
            }
        }
    }

    fn sample(&mut self, name: &str, sample: &Sample) {
        self.parts(&[name, sample.suffix]);
        if !sample.labels.is_empty() {
            self.out.push('{');
            self.out.push_str(&sample.labels);
            if self.format == Format::OpenMetrics100 && whole_bound(sample) {
                // OpenMetrics demands the canonical form of a float here.
                self.out.insert_str(self.out.len() - 1, ".0");
            }
            self.out.push('}');
        }
        self.out.push(' ');
        write_value(&mut self.out, sample.value);
        self.out.push('\n');
    }

    fn help(&mut self, help: &str) {
        for c in help.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '"' if self.format == Format::OpenMetrics100 => self.out.push_str("\\\""),
                other => self.out.push(other),
            }
        }
    }

    fn parts(&mut self, parts: &[&str]) {
        for part in parts {
            self.out.push_str(part);
        }
    }
}

/// Whether it is a bucket whose bound is written without a decimal point.
fn whole_bound(sample: &Sample) -> bool {
    if sample.suffix != "_bucket" {
        return false;
    }
    let bound = sample.labels.strip_suffix('"').and_then(|labels| labels.rsplit_once("le=\""));
    let whole = |bound: &str| bound.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    bound.is_some_and(|(_, bound)| whole(bound))
}

fn same_series(a: &Sample, b: &Sample) -> bool {
    a.labels == b.labels && a.suffix == b.suffix
}

/// The name with what the format forbids replaced by underscores.
fn valid_name(name: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let starts_well = !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty();
    match starts_well && name.chars().all(fits) {
        true => Cow::Borrowed(name),
        false => {
            let lead = if starts_well { "" } else { "_" };
            let rest: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
            Cow::Owned(format!("{lead}{rest}"))
        }
    }
}

#[cfg(test)]
mod tests;
