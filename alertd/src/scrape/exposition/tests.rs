//! Tests of the parser: good pages, malformed ones, and pages mutated at random.

use super::lines::Page;
use super::*;

/// Every sample of a page as `labels value timestamp`, or the error.
fn read(text: &str, format: Format) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for entry in Page::new(text, format) {
        let Entry::Sample(line) = entry.map_err(|error| error.to_string())? else { continue };
        let pairs = series::labels(line.series, format)
            .map_err(|(expected, rest)| Malformed::at(line.number, expected, rest).to_string())?;
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let timestamp = line.timestamp.map_or(String::new(), |at| format!(" @{at}"));
        out.push(format!("{} {}{timestamp}", pairs.join(","), line.value));
    }
    Ok(out)
}

const TEXT: &str = r#"# HELP go_gc_duration_seconds A summary \\ of the
# TYPE go_gc_duration_seconds summary
go_gc_duration_seconds{quantile="0"} 4.9351e-05
go_gc_duration_seconds{quantile="0.25",} 7.424100000000001e-05
go_gc_duration_seconds { quantile = "0.9" , a="b" }	NaN 1395066363000
# a comment
	  # TYPE spaced counter
#no space

some:aggregate:rate5m{a_b="c\"d\\e\nf\x"} +Inf
null_byte{a="x y{}=,"}-1
no_newline 5"#;

#[test]
fn text_page() {
    let want = [
        "__name__=go_gc_duration_seconds,quantile=0 0.000049351",
        "__name__=go_gc_duration_seconds,quantile=0.25 0.00007424100000000001",
        "__name__=go_gc_duration_seconds,quantile=0.9,a=b NaN @1395066363000",
        "__name__=some:aggregate:rate5m,a_b=c\"d\\e\nf\\x inf",
        "__name__=null_byte,a=x y{}=, -1",
        "__name__=no_newline 5",
    ];
    assert_eq!(read(TEXT, Format::Text004).unwrap(), want);
    assert_eq!(read("", Format::Text004).unwrap(), [""; 0]);
}

const OPEN: &str = r#"# HELP foo Say "so\n".
# TYPE foo counter
# UNIT foo_seconds seconds
foo_total 17.0 1520879607.789 # {id="counter}test",b="\""} 5
foo_bucket{le="+Inf"} 17 # {} 1 2.5
a{b="c"} 1 -1.5
# TYPE x info
# EOF
"#;

#[test]
fn open_metrics_page() {
    let want = [
        "__name__=foo_total 17 @1520879607789",
        "__name__=foo_bucket,le=+Inf 17",
        "__name__=a,b=c 1 @-1500",
    ];
    assert_eq!(read(OPEN, Format::OpenMetrics100).unwrap(), want);
    assert_eq!(read("# EOF", Format::OpenMetrics100).unwrap(), [""; 0]);
}

#[test]
fn names_in_quotes() {
    let page = "# TYPE \"a.b\" gauge\n{\"a.b\",\"c d\"=\"1\",e=\"2\"} 1\nf{\"g\\\"\"=\"3\"} 2\n{ \"h\" } 3\n";
    let want = ["__name__=a.b,c d=1,e=2 1", "__name__=f,g\"=3 2", "__name__=h 3"];
    assert_eq!(read(page, Format::Text004).unwrap(), want);
    for (text, want) in
        [("a:b{c=\"d.e\"}", true), ("{\"a.b\"}", false), ("a{\"b:c\"=\"1\"}", false)]
    {
        let pairs = series::labels(text, Format::Text004).unwrap();
        assert_eq!(series::is_legacy(&pairs), want, "{text}");
    }
}

/// A hint changes nothing, whether it is right or wrong.
#[test]
fn hints_do_not_change_what_is_read() {
    let hints = ["a", "a{b=\"c\"}", "ab", "a{", "{\"x\"}", "some:aggregate:rate5m", "foo_total"];
    let odd =
        "a 1\na  {b=\"c\"} 2\nab 3\na{b=\"c\"}4\na{b=\"c\",d=\"e\"} 5\n{\"x\"} 6\na {b=\"c\"} 7\n";
    for (text, format) in [
        (TEXT, Format::Text004),
        (odd, Format::Text004),
        (OPEN, Format::OpenMetrics100),
        ("a 1\na{b=\"c\"} 2\nab 3\n# EOF", Format::OpenMetrics100),
    ] {
        let want: Vec<_> = Page::new(text, format).map(|entry| format!("{entry:?}")).collect();
        for hint in hints {
            let mut page = Page::new(text, format);
            let found: Vec<_> = std::iter::from_fn(|| page.next_after(hint))
                .map(|entry| format!("{entry:?}"))
                .collect();
            assert_eq!(found, want, "{hint}");
        }
    }
}

#[test]
fn metadata_is_handed_out() {
    let entries: Vec<_> =
        Page::new("# HELP a\n# TYPE a gauge\n# TYPE b untyped \na 1\n", Format::Text004)
            .map(Result::unwrap)
            .collect();
    assert_eq!(
        entries[..3],
        [Entry::Help("a", ""), Entry::Type("a", Kind::Gauge), Entry::Type("b", Kind::Unknown),]
    );
    let Entry::Sample(line) = entries[3] else { panic!("no sample: {entries:?}") };
    assert_eq!(line.number, 4);
}

#[test]
fn malformed_pages_say_line_and_expectation() {
    use Format::{OpenMetrics100 as Open, Text004 as Text};
    for (format, page, want) in [
        (Text, "<html>", r#"line 1: expected a metric name, found "<html>""#),
        (Text, "ok 1\n7a 1", r#"line 2: expected a metric name, found "7a 1""#),
        (Text, "a", "line 1: expected a number, found the end of the page"),
        (Text, "a one\n", r#"line 1: expected a number, found "one""#),
        (Text, "a 1\r\n", r#"line 1: expected a number, found "1\r""#),
        (Text, "a 1 x\n", r#"line 1: expected a timestamp in milliseconds, found "x""#),
        (Text, "a 1 2 3\n", r#"line 1: expected the end of the line, found "3""#),
        (Text, "a{b=\"c\n", "line 1: expected a label value that ends with a quote"),
        (Text, "a{b=\"c\" 1\n", "line 1: expected } after the labels"),
        (Text, "a{b=c} 1\n", r#"line 1: expected a label value in double quotes, found "c}""#),
        (Text, "{a=\"b\"} 1\n", "line 1: expected a metric name"),
        (Text, "{\"a\",\"b\"} 1\n", "line 1: expected each label once"),
        (Text, "{\"\"} 1\n", "line 1: expected a metric name"),
        (Text, "a{\"b\" \"c\"} 1\n", "line 1: expected ="),
        (Text, "a{b} 1\n", "line 1: expected ="),
        (Text, "# TYPE \"a gauge\n", "line 1: expected a metric name that ends with a quote"),
        (Text, "a{1b=\"c\"} 1\n", "line 1: expected a label name or }"),
        (Text, "a{b=\"c\",b=\"d\"} 1\n", "line 1: expected each label once"),
        (Text, "a{b=\"c\" d=\"e\"} 1\n", "line 1: expected , or }"),
        (Text, "a{__name__=\"c\"} 1\n", "line 1: expected each label once"),
        (Text, "# TYPE a potato\n", r#"line 1: expected a metric type, found "potato""#),
        (Text, "# HELP 5 x\n", "line 1: expected a metric name"),
        (Text, "b{x=\"1\n2\"} 1\nc", "line 3: expected a number"),
        (Open, "a 1\n", "line 2: expected # EOF, found the end of the page"),
        (Open, "\n# EOF\n", "line 1: expected a metric name"),
        (Open, "# a comment\n# EOF\n", "line 1: expected # HELP, # TYPE, # UNIT or # EOF"),
        (Open, "# EOF\na 1\n", r#"line 2: expected nothing after # EOF, found "a 1""#),
        (Open, "a  1\n# EOF\n", "line 1: expected a number"),
        (Open, "a{ b=\"c\"} 1\n# EOF\n", "line 1: expected a label name or }"),
        (Open, "a 1 NaN\n# EOF\n", "line 1: expected a timestamp in seconds"),
        (Open, "a 1 # {b=\"c\"}\n# EOF\n", "line 1: expected an exemplar's value"),
        (Open, "# TYPE a untyped\n# EOF\n", "line 1: expected a metric type"),
        (
            Open,
            "# UNIT a_seconds bytes\n# EOF\n",
            "line 1: expected a unit that ends the metric's name",
        ),
    ] {
        let error = read(page, format).unwrap_err();
        assert!(error.starts_with(want), "{page:?}: {error}");
    }
    let long = format!("a{{b=\"{}\"}} 1\n", "x".repeat(70_000));
    assert!(read(&long, Text).unwrap_err().contains("a line of at most 65536 bytes"));
    let many: String = (0..300).map(|at| format!("l{at}=\"x\",")).collect();
    assert!(read(&format!("a{{{many}}} 1"), Text).unwrap_err().contains("at most 256 labels"));
}

#[test]
fn content_type_decides() {
    for (kind, want) in [
        (None, Format::Text004),
        (Some("text/plain; version=0.0.4"), Format::Text004),
        (Some("text/html"), Format::Text004),
        (
            Some("Application/OpenMetrics-Text; version=1.0.0; charset=utf-8"),
            Format::OpenMetrics100,
        ),
    ] {
        assert_eq!(Format::of(kind, Format::Text004), want, "{kind:?}");
    }
    let open = Format::OpenMetrics100;
    assert_eq!(
        (Format::of(None, open), Format::of(Some("text/plain"), open)),
        (open, Format::Text004)
    );
}

/// Cuts, doubles and overwrites pieces of good pages: any outcome is right but a panic or a hang.
#[test]
fn mutated_pages_never_panic() {
    let mut random = fastrand::Rng::with_seed(7);
    for (page, format) in [(TEXT, Format::Text004), (OPEN, Format::OpenMetrics100)] {
        for _ in 0..20_000 {
            let mut bytes = page.as_bytes().to_vec();
            for _ in 0..random.usize(1..6) {
                let from = random.usize(..bytes.len());
                let to = random.usize(from..bytes.len()).min(from + 12);
                match random.u8(..4) {
                    0 => drop(bytes.drain(from..to)),
                    1 => bytes.extend_from_within(from..to),
                    2 => bytes[from] = *random.choice(b"{}\"\\ #=,\n\t\0\xff1aE").unwrap(),
                    _ => bytes[from] = random.u8(..),
                }
                bytes.push(b'\n');
            }
            let text = String::from_utf8_lossy(&bytes);
            if let Ok(samples) = read(&text, format) {
                assert!(samples.len() <= text.len());
            }
        }
    }
}
