//! The outcome as JUnit's XML, which CI systems show.

use std::fmt::Write;

use super::Report;

/// One `testsuite` a file, one `testcase` a test.
pub(super) fn xml(reports: &[(String, Report)]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (file, report) in reports {
        let failed = report.tests.iter().filter(|(_, failures)| !failures.is_empty()).count();
        write(
            &mut text,
            format_args!(
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" errors=\"{}\">\n",
                escaped(file),
                report.tests.len(),
                report.faults.len(),
            ),
        );
        for fault in &report.faults {
            write(&mut text, format_args!("    <error message=\"{}\"/>\n", escaped(fault)));
        }
        for (name, failures) in &report.tests {
            write(&mut text, format_args!("    <testcase name=\"{}\">\n", escaped(name)));
            for failure in failures {
                let failure = escaped(failure);
                write(&mut text, format_args!("      <failure message=\"{failure}\"/>\n"));
            }
            text.push_str("    </testcase>\n");
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn write(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a string takes any text");
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            // XML has no way to write these.
            char if char.is_control() => escaped.push('\u{fffd}'),
            char => escaped.push(char),
        }
    }
    escaped
}
