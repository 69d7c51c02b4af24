//! What has to hold for any page of metrics, however broken.

use pitcrew_alertd::model::labels::METRIC_NAME;
use pitcrew_alertd::scrape::exposition::lines::Page;
use pitcrew_alertd::scrape::exposition::series::{self, Pair};
use pitcrew_alertd::scrape::exposition::{Entry, Format, Line};

/// Panics when a reading contradicts itself.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for format in [Format::Text004, Format::OpenMetrics100] {
        let mut hint = "";
        let mut hinted = Page::new(text, format);
        for entry in Page::new(text, format) {
            // A hint changes nothing; a NaN is not equal to itself.
            let again = hinted.next_after(hint);
            let entry = Some(entry);
            assert_eq!(format!("{again:?}"), format!("{entry:?}"), "with the hint {hint:?}");
            let Some(Ok(Entry::Sample(line))) = entry else { continue };
            hint = line.series;
            one(&line, format);
        }
        assert!(hinted.next_after(hint).is_none(), "a hint makes the page longer");
    }
}

fn one(line: &Line<'_>, format: Format) {
    let Ok(pairs) = series::labels(line.series, format) else { return };
    assert_eq!(pairs.first().map(|(name, _)| name.as_ref()), Some(METRIC_NAME));
    // Written with quotes around everything it is the same series.
    let written = written(&pairs);
    let again = series::labels(&written, Format::OpenMetrics100);
    assert_eq!(again.as_deref(), Ok(&pairs[..]), "{written:?}");
}

fn written(pairs: &[Pair<'_>]) -> String {
    let quoted = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("\"{text}\"")
    };
    let one = |(at, (name, value)): (usize, &Pair<'_>)| match at {
        0 => quoted(value),
        _ => format!("{}={}", quoted(name), quoted(value)),
    };
    format!("{{{}}}", pairs.iter().enumerate().map(one).collect::<Vec<_>>().join(","))
}
