//! Table tests of both text formats, negotiation and the registry's rewrite.

use super::*;
use crate::metric::Desc;
use prometheus_client::metrics::{counter::Counter, family::Family as Set, gauge::Gauge};
use prometheus_client::metrics::{histogram::Histogram, info::Info};

const READS: Desc = Desc::counter("disk_reads_total", "Reads, \"all\"\\of them.\nSecond line.")
    .with_labels(&["device"]);
const JOBS: Desc = Desc::histogram("job_seconds", "Job time.");
const PAGES: Desc = Desc::untyped("vm_pages", "Pages.");

#[test]
fn negotiates_as_prometheus_asks() {
    use Format::{OpenMetrics100, Text004};
    let prometheus_2_42 = "application/openmetrics-text;version=1.0.0,\
        application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    for (accept, want) in [
        ("", Text004),
        ("*/*", Text004),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Text004),
        ("text/plain", Text004),
        (prometheus_2_42, OpenMetrics100),
        ("application/openmetrics-text", OpenMetrics100),
        ("application/openmetrics-text; q=0.1, text/plain; q=0.9", Text004),
        ("application/openmetrics-text; q=0", Text004),
        ("application/openmetrics-text; version=2.0.0, text/plain", Text004),
        ("application/openmetrics-text; version=\"1.0.0\"", OpenMetrics100),
        (";;;,,q=", Text004),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        assert_eq!(Format::from_accept(&headers), want, "{accept}");
    }
}

fn sample_families() -> Families {
    let mut families = Families::default();
    families.set(&PAGES, 7.0);
    families.add(&READS, &["sda\n\"\\"], 3.0);
    families.add(&READS, &["sda\n\"\\"], 4.0);
    families.add_histogram(&JOBS, &[], &[(0.5, 1), (1.0, 1)], 1.25, 3);
    families.set_named("odd(name".into(), "Odd.".into(), Kind::Gauge, f64::NAN);
    families
}

#[test]
fn writes_text_004() {
    let want = r#"# HELP disk_reads_total Reads, "all"\\of them.\nSecond line.
# TYPE disk_reads_total counter
disk_reads_total{device="sda\n\"\\"} 3
# HELP job_seconds Job time.
# TYPE job_seconds histogram
job_seconds_bucket{le="0.5"} 1
job_seconds_bucket{le="1"} 2
job_seconds_bucket{le="+Inf"} 3
job_seconds_sum 1.25
job_seconds_count 3
# HELP odd_name Odd.
# TYPE odd_name gauge
odd_name NaN
# HELP vm_pages Pages.
# TYPE vm_pages untyped
vm_pages 7
"#;
    assert_eq!(render(&sample_families(), Format::Text004), want);
}

#[test]
fn writes_openmetrics() {
    let want = r#"# HELP disk_reads Reads, \"all\"\\of them.\nSecond line.
# TYPE disk_reads counter
disk_reads_total{device="sda\n\"\\"} 3
# HELP job_seconds Job time.
# TYPE job_seconds histogram
job_seconds_bucket{le="0.5"} 1
job_seconds_bucket{le="1.0"} 2
job_seconds_bucket{le="+Inf"} 3
job_seconds_sum 1.25
job_seconds_count 3
# HELP odd_name Odd.
# TYPE odd_name gauge
odd_name NaN
# HELP vm_pages Pages.
# TYPE vm_pages unknown
vm_pages 7
# EOF
"#;
    assert_eq!(render(&sample_families(), Format::OpenMetrics100), want);
}

#[test]
fn one_family_from_two_sources_is_written_once() {
    let (mut one, mut two) = (Families::default(), Families::default());
    one.add(&READS, &["a"], 1.0);
    two.add(&READS, &["b"], 2.0);
    two.add(&READS, &["a"], 3.0);
    let page = render_all(&[&one, &two], Format::Text004);
    assert_eq!(page.matches("# TYPE").count(), 1, "{page}");
    assert!(page.ends_with("{device=\"a\"} 1\ndisk_reads_total{device=\"b\"} 2\n"), "{page}");
}

#[test]
fn a_counter_whose_short_name_is_taken_stays_whole() {
    const SHORT: Desc = Desc::gauge("disk_reads", "Now.");
    let mut families = Families::default();
    families.add(&READS, &["a"], 1.0);
    families.set(&SHORT, 2.0);
    let page = render(&families, Format::OpenMetrics100);
    assert!(page.contains("# TYPE disk_reads_total unknown\n"), "{page}");
}

#[test]
fn rewrites_a_registry() {
    let mut registry = Registry::with_prefix("pitcrew_exporter");
    let skipped = Set::<[(&'static str, String); 1], Counter>::default();
    skipped.get_or_create(&[("collector", "a}\"b".to_owned())]).inc_by(2);
    registry.register("skipped", "Back\\slash\n# TYPE fake gauge", skipped);
    let free: Gauge = Gauge::default();
    registry.register("free_bytes", "Free", free);
    let times = Histogram::new([0.5, 1.0, 10.0]);
    times.observe(0.7);
    registry.register("wait_seconds", "Wait", times);
    registry.register("build", "Version", Info::new([("version", "1")]));
    let want = r#"# HELP pitcrew_exporter_build_info Version.
# TYPE pitcrew_exporter_build_info gauge
pitcrew_exporter_build_info{version="1"} 1
# HELP pitcrew_exporter_free_bytes Free.
# TYPE pitcrew_exporter_free_bytes gauge
pitcrew_exporter_free_bytes 0
# HELP pitcrew_exporter_skipped_total Back\\slash\n# TYPE fake gauge.
# TYPE pitcrew_exporter_skipped_total counter
pitcrew_exporter_skipped_total{collector="a}\"b"} 2
# HELP pitcrew_exporter_wait_seconds Wait.
# TYPE pitcrew_exporter_wait_seconds histogram
pitcrew_exporter_wait_seconds_bucket{le="0.5"} 0
pitcrew_exporter_wait_seconds_bucket{le="1"} 1
pitcrew_exporter_wait_seconds_bucket{le="10"} 1
pitcrew_exporter_wait_seconds_bucket{le="+Inf"} 1
pitcrew_exporter_wait_seconds_sum 0.7
pitcrew_exporter_wait_seconds_count 1
"#;
    assert_eq!(render_registry(&registry, Format::Text004), want);
    let open = render_registry(&registry, Format::OpenMetrics100);
    assert!(open.contains("# TYPE pitcrew_exporter_skipped counter\n"), "{open}");
    assert!(open.contains("le=\"10.0\""), "{open}");
}
