//! Expressions with what is odd about them, and ordinary ones.

use super::*;
use crate::promql;

fn codes(text: &str) -> Vec<(usize, About)> {
    let advice = promql::parse(text).unwrap().advice(Duration::from_secs(30));
    advice.into_iter().map(|advice| (advice.at, advice.about)).collect()
}

#[test]
fn ordinary_expressions() {
    for text in [
        "up == 0",
        "count(up == 0) > 0",
        "absent(up{job=\"a\"}) == 1",
        "rate(x_total[1m]) >= 0",
        "100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[3m]))) > 85",
        "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.1",
        "sum(rate(x_total{code=\"500\"}[5m])) / sum(rate(x_total[5m])) > 0.05",
        "sum by (i) (rate(s_sum[5m])) / sum by (i) (rate(s_count[5m])) > 20",
        "started_total - ended_total > 5",
        "a_total > b_total",
        "vector(1)",
        "hour() >= 9 and hour() < 17",
        "histogram_quantile(0.9, rate(x_bucket[5m])) > 3",
        "predict_linear(node_filesystem_avail_bytes[6h], 86400) < 0",
        "sum(rate(node_cpu_seconds_total[5m])) > 4",
        "x / y > 100",
        "-x_bytes < -5",
        "(up == 0) * 5 > 1",
        "clamp_max(x, 10) > 9",
    ] {
        assert_eq!(codes(text), [], "{text}");
    }
}

#[test]
fn odd_ones() {
    use About::*;
    for (text, at, about) in [
        ("up == 2", 0, NeverTrue),
        ("up < 0", 0, NeverTrue),
        ("up > 1", 0, NeverTrue),
        ("runner_health >= 0.0001 - 1", 0, AlwaysTrue),
        ("count(up == 0) == 0", 0, NeverTrue),
        ("1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes > 85", 0, NeverTrue),
        (
            "(node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes) / node_memory_MemTotal_bytes * 100 > 100",
            0,
            NeverTrue,
        ),
        ("100 * avg(rate(node_cpu_seconds_total{mode=\"idle\"}[3m])) > 100", 0, NeverTrue),
        ("sum(rate(x_total{code=\"500\"}[5m])) / sum(rate(x_total[5m])) > 5", 0, NeverTrue),
        ("sum(rate(x_total[5m])) / sum(rate(x_total{code=\"500\"}[5m])) > 0.5", 0, AlwaysTrue),
        ("x > 1 and (rate(y_total[5m]) < 0)", 11, NeverTrue),
        ("hour() > 23", 0, NeverTrue),
        ("absent(x) == 0", 0, NeverTrue),
        ("x_total > 5", 0, RawCounter),
        ("5 + sum by (a) (x_total) > 5", 16, RawCounter),
        ("rate(x_total[45s]) > 1", 0, ShortWindow),
        ("absent(up{job=~\"a.*\"})", 0, AbsentLabels),
        ("absent(sum by (job) (up))", 0, AbsentLabels),
    ] {
        assert_eq!(codes(text), [(at, about)], "{text}");
    }
}

#[test]
fn labels_that_are_carried() {
    for (text, has, has_not) in [
        ("x", "a", ""),
        ("x{a=\"\"}", "b", "a"),
        ("sum by (a, b) (x)", "a b", "c"),
        ("sum without (a) (x)", "b", "a"),
        ("sum(x)", "", "a"),
        ("topk(3, x)", "a", ""),
        ("count_values(\"v\", x)", "v", "a"),
        ("sum by (a) (x) / sum by (a) (y) > 5", "a", "b"),
        ("x * on (a) group_left (b) sum by (a, b) (y)", "a b c", ""),
        ("sum by (a) (x) * on (a) group_right (c) y", "a b", "c"),
        ("x * on (a) y", "a", "b"),
        ("x / ignoring (a) y", "b", "a"),
        ("sum by (a) (x) or sum by (b) (y)", "a b", "c"),
        ("sum by (a) (x) and y", "a", "b"),
        ("absent(x{a=\"1\", b=~\"2\"})", "a", "b c"),
        ("absent(sum by (a) (x))", "", "a"),
        ("histogram_quantile(0.9, sum by (le, a) (x))", "a", "le"),
        ("label_replace(sum(x), \"a\", \"b\", \"\", \"\")", "a", "b"),
        ("vector(1)", "", "a"),
        ("rate(x[5m]) > 5", "a", ""),
        ("max_over_time(sum by (a) (x)[5m:1m])", "a", "b"),
        ("1 + sum by (a) (x)", "a", "b"),
    ] {
        let carried = promql::parse(text).unwrap().carried();
        assert!(has.split_whitespace().all(|label| carried.may_have(label)), "{text}: {carried:?}");
        let none = |label| !carried.may_have(label);
        assert!(has_not.split_whitespace().all(none), "{text}: {carried:?}");
    }
}
