//! What both sides are asked: queries from one series to fifty thousand, and a thousand rules.

use std::fmt::Write;

pub(super) const QUERIES: &[(&str, &str)] = &[
    ("`sum by(job)(rate(m[5m]))`, 20 k series", "sum by(job)(rate(m[5m]))"),
    (
        "`histogram_quantile(0.95, sum by(le)(rate(b[5m])))`, 20 k",
        "histogram_quantile(0.95, sum by(le)(rate(b[5m])))",
    ),
    ("`max_over_time(x[1h]) > 5`, 10 k", "max_over_time(x[1h]) > 5"),
    ("one series", r#"m{job="job7",instance="10.0.7.3:9100",id="0000",mode="iowait"}"#),
    ("10 series by partial labels", r#"rate(m{job="job7",instance="10.0.7.3:9100"}[5m])"#),
    ("1,000 by one label", r#"sum(rate(m{job="job7"}[5m]))"#),
    ("regex over 50 k", r#"count({__name__=~"filler_.*"})"#),
];

pub(super) const GROUPS: usize = 20;

/// A thousand rules in groups, every second one recording; together they read every series.
pub(super) fn rules() -> String {
    let mut text = "groups:\n".to_owned();
    for group in 0..GROUPS {
        let mut line = |line: String| writeln!(text, "{line}").expect("memory takes text");
        line(format!("- name: group{group}\n  interval: 10s\n  rules:"));
        for rule in 0..1000 / GROUPS / 2 {
            let at = group * 25 + rule;
            line(format!("  - record: job:filler_{at:03}:rate5m"));
            line(format!("    expr: sum by (job) (rate(filler_{at:03}[5m]))"));
            let (job, instance) = (at % 20, at / 20 * 4);
            let select = |name: &str, next: usize| {
                format!(r#"{name}{{instance="10.0.{job}.{}:9100"}}"#, instance + next)
            };
            line(format!("  - alert: Busy{at}"));
            let (b, m, x) = (select("b", 0), select("m", 1), select("x", 2));
            line(format!(
                "    expr: sum(rate({b}[5m])) > 1e9 or max by (id) (rate({m}[5m])) > 1e9 or avg({x}) > 1e9"
            ));
        }
    }
    text
}
