//! Queries that must fail, or that lost or doubled a token and may fail.

use super::{Grammar, PHASE};

const BROKEN: &[&str] = &[
    "sum(1)",
    "rate(VECTOR)",
    "\"a\" + 1",
    "VECTOR and 1",
    "1 == 1",
    "VECTOR + bool VECTOR",
    "hits_total + on (job) up",
    "hits_total * on (job) group_left () up",
    "up * on (job) busy_seconds_total",
    "hits_total and on (job) group_left () up",
    "count_values(\"\", VECTOR)",
    "count_values(1, VECTOR)",
    "topk(NaN, VECTOR)",
    "topk(Inf, VECTOR)",
    "topk(1e30, VECTOR)",
    "topk(\"a\", VECTOR)",
    "quantile(VECTOR)",
    "label_replace(VECTOR, \"a\", \"$1\", \"job\", \"(\")",
    "label_replace(VECTOR, \"\", \"$1\", \"job\", \"(.*)\")",
    "label_replace(hits_total, \"path\", \"\", \"job\", \".*\")",
    "label_join(VECTOR, \"\", \"-\", \"job\")",
    "label_join(VECTOR, \"x\", \"-\", \"\")",
    "label_join(hits_total, \"path\", \"\")",
    "{job=\"\"}",
    "{job=~\".*\"}",
    "{}",
    "up{job=~\"(\"}",
    "up{job=~\"*a\"}",
    "up{__name__=\"load\"}",
    "nothing(VECTOR)",
    "double_exponential_smoothing(load[5m], 2, 0.1)",
    "double_exponential_smoothing(load[5m], 0.5, 0)",
    "double_exponential_smoothing(load[5m], 0.5, NaN)",
    "(VECTOR",
    "VECTOR)",
    "VECTOR offset",
    "VECTOR @ now",
    "1 offset 5m",
    "sum(up) offset 5m",
    "sum(up)[5m]",
    "load[5m][5m]",
    "load[5m:1m][5m]",
    "load[5m]",
    "load[0s]",
    "rate(load[5m:0s])",
    "{__name__=~\"load|temp\"} * 2",
    "-{__name__=~\"load|temp\"}",
    "rate({__name__=~\".+_total\"}[5m])",
    "max_over_time({__name__=~\"load|temp\"}[1s])",
    "abs({__name__=~\"load|temp|hits_total\"})",
    "hits_total == on (job, instance) hits_total",
    "hits_total or bool up",
    "time(1)",
    "pi() + ",
    "clamp(VECTOR, 1)",
    "round(VECTOR, VECTOR)",
    "scalar(1)",
    "vector(VECTOR)",
    "sort(1)",
    "absent(1)",
    "histogram_quantile(VECTOR, took_bucket)",
    "sum by job (up)",
    "sum by (job) (up) by (job)",
    "group_left(up)",
    "up == 1 == 1 ==",
    "VECTOR ! up",
    "{job=api}",
    "up{job=\"api\"",
    "up{job=\"api\" instance=\"a\"}",
    "\"unclosed",
    "",
    "   ",
    "# nothing",
];

impl Grammar {
    pub(super) fn broken(&mut self, depth: u8) -> String {
        let vector = self.vector(depth, PHASE).text;
        if self.random.bool() {
            return self.pick(BROKEN).replace("VECTOR", &vector);
        }
        let mut tokens = tokens(&vector);
        let at = self.random.usize(..tokens.len());
        match self.random.bool() {
            true => drop(tokens.remove(at)),
            false => tokens.insert(at, tokens[at].clone()),
        }
        tokens.concat()
    }
}

pub(super) fn tokens(text: &str) -> Vec<String> {
    let token = regex::Regex::new(r#""(?:[^"\\]|\\.)*"|[\w.:]+|\s+|=~|!~|[=!<>]=|."#).unwrap();
    token.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}
