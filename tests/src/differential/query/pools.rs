//! What queries are made of.

use super::Exact::{self, Bits, Near, Sums};

/// Metrics and labels that they have beside `job` and `instance`.
pub(super) const SELECTORS: &[(&str, &str)] = &[
    ("hits_total", "path"),
    ("busy_seconds_total", "mode"),
    ("load", ""),
    ("temp", ""),
    ("odd", "kind"),
    ("up", ""),
    ("meta", "version"),
    ("took_bucket", "le"),
    ("sick_bucket", "le"),
];

pub(super) const LABELS: &[&str] = &[
    "job", "instance", "job", "instance", "path", "mode", "kind", "version", "note", "le",
    "missing", "__name__",
];

/// As they stand between quotes.
pub(super) const VALUES: &[&str] = &[
    "api",
    "db",
    "βατς",
    "a",
    "b",
    "ç",
    "10",
    "a b",
    "/",
    "/é",
    "-",
    "idle",
    "nan",
    "inf",
    "1.9",
    " ",
    "0",
    "ünïcödé ✓",
    "aXc",
    "+Inf",
    "1.0",
    "",
    "a,b\\\"c\\\\d",
];

pub(super) const REGEXES: &[&str] = &[
    "api|db",
    ".*",
    ".+",
    "a.*",
    "",
    "(?i)API",
    "[a-c].*",
    "a.c",
    "\\\\w+",
    "\\\\W+",
    "\\\\d+",
    "[\\\\w ]*",
    "[^\\\\d]+",
    "ç|/é",
    ".",
    "^api$",
    "(a|d)(pi|b)x?",
    "api|",
    "|",
    "x*",
    "a\\\\b.*",
    "1\\\\.[0-9]{1,2}",
    "\\\\s",
    "[[:alpha:]]+",
    "\\\\pL+",
    "β.*",
    "(?s).*",
    "up|load|temp",
    "[ab]",
];

/// Replacement and regular expression of `label_replace`.
pub(super) const REPLACEMENTS: &[(&str, &str)] = &[
    ("$1", "(.*)"),
    ("x-$1", "(a.*)"),
    ("", ".*"),
    ("${1}y", "(.)(.*)"),
    ("$1y", "(.)(.*)"),
    ("$name", "(?P<name>.+)"),
    ("$2-$1-$3", "(.)(.*)"),
    ("$$1", "(.*)"),
    ("é", "nothing"),
    ("fixed", ""),
    ("$0", "[a-z]+"),
    ("$", "(.*)"),
    ("$1", "(\\\\w+).*"),
];

pub(super) const NUMBERS: &[&str] = &[
    "0", "1", "2", "0.5", "3.75", "100", "1e3", "1e-3", "Inf", "NaN", "0x1F", "-1", "+2", "5000",
    "010", ".5", "12.", "1E3", "0X1f", "1e+2", "inf", "+Inf", "nAn", "-0", "1e300", "5e-324",
];

pub(super) const SCALAR_OPERATORS: &[&str] = &[
    "+", "-", "*", "/", "%", "^", "atan2", "== bool", "!= bool", "< bool", "<= bool", "> bool",
    ">= bool",
];

pub(super) const QUANTILES: &[&str] =
    &["0", "0.37", "0.5", "0.93", "1", "-1", "2", "NaN", "Inf", "0.999"];

pub(super) const RANGES: &[&str] =
    &["1s", "30s", "31s", "1m", "2m", "5m", "7m", "7m30s", "17m", "90s", "1h", "1h1m1s", "1d"];

pub(super) const STEPS: &[&str] = &["", "15s", "47s", "1m", "2m30s", "7m"];

/// Function, whether its value can jump when the samples' change a little, and what it gives.
pub(super) const OF_RANGES: &[(&str, bool, Exact)] = &[
    ("irate", true, Near),
    ("delta", true, Near),
    ("idelta", true, Bits),
    ("changes", true, Sums),
    ("resets", true, Sums),
    ("deriv", true, Near),
    ("predict_linear", true, Near),
    ("double_exponential_smoothing", true, Near),
    ("avg_over_time", false, Near),
    ("sum_over_time", false, Sums),
    ("count_over_time", false, Sums),
    ("min_over_time", false, Sums),
    ("max_over_time", false, Sums),
    ("last_over_time", false, Sums),
    ("present_over_time", false, Sums),
    ("absent_over_time", false, Sums),
    ("stddev_over_time", true, Near),
    ("stdvar_over_time", true, Near),
    ("quantile_over_time", false, Near),
];

/// Functions of values that agree to the bit, and what they give.
pub(super) const FUNCTIONS_OF_EXACT: &[(&str, Exact)] = &[
    ("abs", Bits),
    ("ceil", Bits),
    ("floor", Bits),
    ("sgn", Bits),
    ("round", Bits),
    ("clamp", Bits),
    ("clamp_min", Bits),
    ("clamp_max", Bits),
    ("sqrt", Bits),
    ("exp", Near),
    ("ln", Near),
    ("log2", Near),
    ("log10", Near),
    ("sin", Near),
    ("cos", Near),
    ("tan", Near),
    ("asin", Near),
    ("acos", Near),
    ("atan", Near),
    ("sinh", Near),
    ("cosh", Near),
    ("tanh", Near),
    ("asinh", Near),
    ("acosh", Near),
    ("atanh", Near),
    ("deg", Near),
    ("rad", Near),
];

/// Two vectors whose elements find each other.
pub(super) const PAIRS: &[(&str, &str, &str)] = &[
    ("load", "", "temp"),
    ("load", "on (job, instance)", "up"),
    ("load", "ignoring (missing)", "temp"),
    ("hits_total", "on (job, instance) group_left ()", "up"),
    ("hits_total", "ignoring (path) group_left ()", "load"),
    ("odd", "on (job, instance) group_left (version, note)", "meta"),
    ("meta", "on (job, instance) group_right (note)", "busy_seconds_total"),
    ("up", "ignoring (mode) group_right ()", "busy_seconds_total"),
    ("took_bucket", "on (instance, job) group_left (note, missing)", "meta"),
    ("took_bucket", "ignoring (le) group_left ()", "took_bucket{le=\"+Inf\"}"),
    ("hits_total{path=\"/\"}", "ignoring (path)", "hits_total{path=\"-\"}"),
    ("load", "on (job)", "temp"),
    ("load", "on (instance) group_left ()", "up"),
];

/// One series for each host.
pub(super) const OPERANDS: &[&str] = &[
    "load",
    "temp",
    "up",
    "-load",
    "-temp",
    "+up",
    "(load - temp)",
    "min without (kind) (odd)",
    "sum by (instance, job) (up)",
    "last_over_time(temp[7m])",
];
