//! What a page says about its metrics: type, help and unit, kept for as long as its target.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::exposition::lines::Page;
use super::exposition::series::unescape;
use super::exposition::{Entry, Format};
use crate::model::metadata::{MAX_METRICS, Metadata, bounded};

/// The metadata of a target's last good page. Pages rarely change in that: what they say is hashed
/// in passing, and read only when the hash is another.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    seen: DefaultHasher,
    known: Option<u64>,
    metadata: Arc<Metadata>,
}

impl Keeper {
    /// Takes note of an entry that is no sample.
    pub(super) fn pass(&mut self, entry: &Entry<'_>) {
        let said = match entry {
            Entry::Sample(_) => return,
            Entry::Help(name, text) => (0, *name, *text),
            Entry::Type(name, kind) => (1, *name, kind.name()),
            Entry::Unit(name, text) => (2, *name, *text),
        };
        said.hash(&mut self.seen);
    }

    /// To be called after each page, with its text when it was good.
    pub(super) fn page(&mut self, good: Option<(&str, Format)>) {
        let hash = std::mem::take(&mut self.seen).finish();
        if let Some((text, format)) = good
            && self.known != Some(hash)
        {
            self.known = Some(hash);
            self.metadata = Arc::new(read(text, format));
        }
    }

    pub(super) fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.metadata)
    }
}

fn read(page: &str, format: Format) -> Metadata {
    let mut found = Metadata::new();
    for entry in Page::new(page, format).filter_map(Result::ok) {
        let (Entry::Help(name, _) | Entry::Type(name, _) | Entry::Unit(name, _)) = entry else {
            continue;
        };
        if found.len() >= MAX_METRICS && !found.contains_key(name) {
            continue;
        }
        let about = found.entry(name.into()).or_default();
        match entry {
            Entry::Help(_, text) => about.help = help(text, format),
            Entry::Type(_, kind) => about.kind = kind,
            Entry::Unit(_, text) => about.unit = bounded(text),
            Entry::Sample(_) => {}
        }
    }
    found
}

/// The text format knows no escaped quotes in help.
fn help(text: &str, format: Format) -> Box<str> {
    match format {
        Format::OpenMetrics100 => bounded(&unescape(text)),
        Format::Text004 => bounded(&unescape(&text.replace("\\\"", "\\\\\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metadata::{About, Kind};

    fn keeper(pages: &[(&str, bool)], format: Format) -> Keeper {
        let mut keeper = Keeper::default();
        for (page, good) in pages {
            for entry in Page::new(page, format) {
                keeper.pass(&entry.unwrap());
            }
            keeper.page(good.then_some((page, format)));
        }
        keeper
    }

    #[test]
    fn type_help_and_unit() {
        let page = "# HELP a_seconds how \\\\ long\\nit \\\"took\\\"\n# TYPE a_seconds gauge\n\
                    # UNIT a_seconds seconds\na_seconds 1\n# TYPE b histogram\n# EOF\n";
        for (format, help) in [
            (Format::OpenMetrics100, "how \\ long\nit \"took\""),
            (Format::Text004, "how \\ long\nit \\\"took\\\""),
        ] {
            let keeper = keeper(&[(page, true)], format);
            let metadata = keeper.metadata();
            let a = &metadata["a_seconds"];
            assert_eq!((a.kind, &*a.help), (Kind::Gauge, help));
            assert_eq!(&*a.unit, if format == Format::Text004 { "" } else { "seconds" });
            assert_eq!(metadata["b"], About { kind: Kind::Histogram, ..About::default() });
            assert_eq!(metadata.len(), 2);
        }
    }

    #[test]
    fn the_last_good_page_counts_and_is_read_once() {
        let (one, two) = ("# TYPE a gauge\na 1\n", "# TYPE a counter\na 1\n");
        let kept = keeper(&[(one, true), (two, false)], Format::Text004);
        assert_eq!(kept.metadata()["a"].kind, Kind::Gauge);
        let mut kept = keeper(&[(one, true), (two, true)], Format::Text004);
        assert_eq!(kept.metadata()["a"].kind, Kind::Counter);
        let before = kept.metadata();
        for entry in Page::new("# TYPE a counter\na 2\n", Format::Text004) {
            kept.pass(&entry.unwrap());
        }
        kept.page(Some((two, Format::Text004)));
        assert!(Arc::ptr_eq(&before, &kept.metadata()));
    }

    #[test]
    fn a_page_that_says_too_much_is_cut() {
        let page: String = (0..MAX_METRICS + 1).map(|at| format!("# TYPE m{at} gauge\n")).collect();
        let metadata = keeper(&[(&page, true)], Format::Text004).metadata();
        assert_eq!(metadata.len(), MAX_METRICS);
    }
}
