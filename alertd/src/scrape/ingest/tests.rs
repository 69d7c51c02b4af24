//! Tests of what becomes of pages: values, limits, and the ends of series.

use super::*;
use crate::model::sample::is_stale;
use crate::scrape::config::GlobalConfig;
use crate::scrape::target;

fn ingest(more: &str) -> Ingest {
    let text = format!("{{job_name: j, static_configs: [{{targets: ['a:1']}}], {more}}}");
    let file = std::path::Path::new("a");
    let job: ScrapeConfig = pitcrew_exporter::config::yaml::parse(file, &text).unwrap();
    let targets = target::of_group(&job, &GlobalConfig::default(), &job.static_configs[0]);
    Ingest::new(Arc::new(targets.unwrap().targets.remove(0)), Arc::new(job))
}

/// `name=value@time` of each sample without the target's labels, sorted.
fn show(batch: &Batch) -> Vec<String> {
    let one = |(labels, sample): &(Labels, Sample)| {
        let labels = labels.without(&["job", "instance"]);
        let value = if is_stale(sample.value) { "stale".into() } else { sample.value.to_string() };
        format!("{labels}={value}@{}", sample.timestamp.0)
    };
    let mut lines: Vec<_> = batch.iter().map(one).collect();
    lines.sort();
    lines
}

#[test]
fn series_end_on_disappearance_and_on_failure() {
    let mut ingest = ingest("");
    for (at, page, want) in [
        (1, Some("a 1\nb{x=\"1\"} 2\nown 3 7\n"), &["a=1@1", "b{x=\"1\"}=2@1", "own=3@7"][..]),
        // A label in another order, or with another space, is the same series.
        (2, Some("b{ x=\"1\" } 2\n"), &["a=stale@2", "b{x=\"1\"}=2@2"]),
        (3, None, &["b{x=\"1\"}=stale@3"]),
        (4, None, &[]),
        (5, Some("b{x=\"1\"} NaN\nc 1\n"), &["b{x=\"1\"}=NaN@5", "c=1@5"]),
        // Fails in its last line: nothing of it counts, everything ends.
        (6, Some("b{x=\"1\"} 2\nc 1\n!\n"), &["b{x=\"1\"}=stale@6", "c=stale@6"]),
        (7, Some("c 2\n"), &["c=2@7"]),
    ] {
        let batch = match page.map(|page| ingest.page(page, Format::Text004, Timestamp(at))) {
            Some((_, Ok(batch))) => batch,
            _ => ingest.end(Timestamp(at)),
        };
        assert_eq!(show(&batch), want, "at {at}");
    }
    assert_eq!((ingest.texts.len(), ingest.by_labels.len()), (1, 1), "what is gone is forgotten");
}

#[test]
fn counts_and_limits() {
    for (more, page, counts, error) in [
        ("", "a 1\nb 2\na 3\n", (3, 3, 2, 0), ""),
        ("", "a 1\nb 2 999999999999\n", (2, 2, 2, 1), ""),
        ("honor_timestamps: false", "b 2 999999999999\n", (1, 1, 1, 0), ""),
        ("sample_limit: 1", "a 1\nb 2\n", (2, 2, 2, 0), "expected at most 1, found 2"),
        (
            "label_limit: 3",
            "a 1\nb{x=\"1\"} 2\n",
            (2, 1, 1, 0),
            "line 2: label_limit exceeded: expected at most 3, found 4",
        ),
        (
            "label_value_length_limit: 4",
            "a{x=\"12345\"} 1\n",
            (1, 0, 0, 0),
            "line 1: label_value_length_limit",
        ),
        (
            "label_name_length_limit: 9",
            "a{x123456789=\"1\"} 1\n",
            (1, 0, 0, 0),
            "line 1: label_name_length_limit",
        ),
        (
            "metric_relabel_configs: [{action: drop, source_labels: [x], regex: y}]",
            "a 1\nb{x=\"y\"} 2\nb{x=\"z\"} 3\n",
            (3, 2, 2, 0),
            "",
        ),
        (
            "metric_relabel_configs: [{target_label: x}]",
            "a{x=\"1\"} 1\na{x=\"2\"} 2\n",
            (2, 2, 1, 0),
            "",
        ),
        (
            "metric_relabel_configs: [{target_label: __name__, replacement: ''}]",
            "a 1\n",
            (1, 0, 0, 0),
            "line 1: expected a metric name after metric_relabel_configs",
        ),
        ("metric_relabel_configs: [{action: labeldrop, regex: .*}]", "a 1\n", (1, 0, 0, 0), ""),
        ("", "{\"a.b\"} 1\n", (1, 1, 1, 0), ""),
        (
            "metric_name_validation_scheme: legacy",
            "{\"a.b\"} 1\n",
            (1, 0, 0, 0),
            "page cannot be read",
        ),
        ("", "a 1\n{", (1, 1, 1, 0), "page cannot be read"),
        ("", "a{x=\"1\",x=\"2\"} 1\n", (1, 0, 0, 0), "page cannot be read"),
    ] {
        let (found, result) = ingest(more).page(page, Format::Text004, Timestamp(1));
        assert_eq!((found.scraped, found.kept, found.added, found.future), counts, "{page:?}");
        match result {
            Ok(_) => assert_eq!(error, "", "{page:?}"),
            Err(found) => {
                let found = found.to_string();
                assert!(!error.is_empty() && found.contains(error), "{page:?}: {found}");
            }
        }
    }
}

#[test]
fn lines_may_move_and_double() {
    let mut ingest = ingest("track_timestamps_staleness: true");
    for (at, page, want) in [
        (1, "a 1\nb 2\nc 3\n", &["a=1@1", "b=2@1", "c=3@1"][..]),
        (2, "c 1\na 2\nb 3\n", &["a=2@2", "b=3@2", "c=1@2"]),
        (3, "c 1\nnew 5\nb 3\n", &["a=stale@3", "b=3@3", "c=1@3", "new=5@3"]),
        (4, "c 1\nc 2\nb 3\n", &["b=3@4", "c=1@4", "c=2@4", "new=stale@4"]),
        (5, "c 1\nc 2\nb 3 5\n", &["b=3@5", "c=1@5", "c=2@5"]),
        (6, "c 1\n", &["b=stale@6", "c=1@6"]),
        (7, "", &["c=stale@7"]),
    ] {
        let batch = ingest.page(page, Format::Text004, Timestamp(at)).1.unwrap();
        assert_eq!(show(&batch), want, "at {at}");
    }
    assert!(ingest.texts.is_empty() && ingest.by_labels.is_empty());
}

#[test]
fn a_nan_with_the_bits_of_the_marker_does_not_end_its_series() {
    let (_, batch) = ingest("").page("a NaN\n", Format::Text004, Timestamp(1));
    assert!(!is_stale(batch.unwrap()[0].1.value));
}

#[test]
fn failing_pages_with_ever_new_labels_do_not_fill_the_memory() {
    let mut ingest = ingest("");
    for at in 0..5000 {
        let page = format!("a{{x=\"{at}\"}} 1\n!\n");
        assert!(ingest.page(&page, Format::Text004, Timestamp(at)).1.is_err());
        ingest.end(Timestamp(at));
        assert!(ingest.series.len() <= MAX_LITTER + 1 && ingest.texts.len() <= MAX_LITTER + 1);
    }
}
