//! `FUNCTIONS`: every function of the language, one line each, and the elementwise ones.

pub(super) mod absence;
pub(super) mod calendar;
pub(super) mod elementwise;
pub(super) mod histogram;
pub(super) mod info;
pub(super) mod label_replace;
pub(super) mod over_time;
pub(super) mod query_time;
pub(super) mod rate;
pub(super) mod regression;
pub(super) mod sort;

use super::error::{PromqlError, failed};
use super::eval::{Evaluator, Frame, Row, Steps, of_one_name};
use super::selector::Window;
use super::syntax::{Kind, Tree};

/// Argument types are the parser's; it has checked them before a function runs.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    pub returns: Kind,
    pub(super) run: fn(&Call<'_>) -> Result<Frame, PromqlError>,
}

/// One call in one evaluation.
pub(super) struct Call<'a> {
    pub(super) eval: &'a Evaluator<'a>,
    pub(super) function: &'static Function,
    pub(super) args: &'a [Tree],
    pub(super) steps: &'a Steps,
    /// Whether whoever asked looks at metric names.
    pub(super) names_matter: bool,
}

type Run = fn(&Call<'_>) -> Result<Frame, PromqlError>;

const fn vector(name: &'static str, run: Run) -> Function {
    Function { name, returns: Kind::Vector, run }
}

const fn scalar(name: &'static str, run: Run) -> Function {
    Function { name, returns: Kind::Scalar, run }
}

pub const FUNCTIONS: &[Function] = &[
    // Counters and gauges over a range.
    vector("rate", rate::rate),
    vector("increase", rate::increase),
    vector("irate", rate::irate),
    vector("delta", rate::delta),
    vector("idelta", rate::idelta),
    vector("changes", rate::changes),
    vector("resets", rate::resets),
    vector("deriv", regression::deriv),
    vector("predict_linear", regression::predict_linear),
    vector("double_exponential_smoothing", regression::double_exponential_smoothing),
    // Aggregation over time.
    vector("avg_over_time", over_time::avg),
    vector("sum_over_time", over_time::sum),
    vector("count_over_time", over_time::count),
    vector("min_over_time", over_time::min),
    vector("max_over_time", over_time::max),
    vector("first_over_time", over_time::first),
    vector("last_over_time", over_time::last),
    vector("present_over_time", over_time::present),
    vector("stddev_over_time", over_time::stddev),
    vector("stdvar_over_time", over_time::stdvar),
    vector("mad_over_time", over_time::mad),
    vector("quantile_over_time", over_time::quantile),
    vector("ts_of_first_over_time", over_time::ts_of_first),
    vector("ts_of_last_over_time", over_time::ts_of_last),
    vector("ts_of_min_over_time", over_time::ts_of_min),
    vector("ts_of_max_over_time", over_time::ts_of_max),
    // Presence.
    vector("absent", absence::absent),
    vector("absent_over_time", absence::absent_over_time),
    // Classic histograms.
    vector("histogram_quantile", histogram::quantile),
    vector("histogram_quantiles", histogram::quantiles),
    vector("histogram_fraction", histogram::fraction),
    vector("histogram_avg", histogram::native_only),
    vector("histogram_count", histogram::native_only),
    vector("histogram_sum", histogram::native_only),
    vector("histogram_stddev", histogram::native_only),
    vector("histogram_stdvar", histogram::native_only),
    // Labels and order.
    vector("label_replace", label_replace::label_replace),
    vector("label_join", label_replace::label_join),
    vector("info", info::info),
    vector("sort", sort::sort),
    vector("sort_desc", sort::sort_desc),
    vector("sort_by_label", sort::sort_by_label),
    vector("sort_by_label_desc", sort::sort_by_label_desc),
    // The value of each element.
    vector("abs", |call| call.map(f64::abs)),
    vector("ceil", |call| call.map(f64::ceil)),
    vector("floor", |call| call.map(f64::floor)),
    vector("exp", |call| call.map(f64::exp)),
    vector("ln", |call| call.map(f64::ln)),
    vector("log2", |call| call.map(f64::log2)),
    vector("log10", |call| call.map(f64::log10)),
    vector("sqrt", |call| call.map(f64::sqrt)),
    vector("sin", |call| call.map(f64::sin)),
    vector("cos", |call| call.map(f64::cos)),
    vector("tan", |call| call.map(f64::tan)),
    vector("asin", |call| call.map(f64::asin)),
    vector("acos", |call| call.map(f64::acos)),
    vector("atan", |call| call.map(f64::atan)),
    vector("sinh", |call| call.map(f64::sinh)),
    vector("cosh", |call| call.map(f64::cosh)),
    vector("tanh", |call| call.map(f64::tanh)),
    vector("asinh", |call| call.map(elementwise::asinh)),
    vector("acosh", |call| call.map(elementwise::acosh)),
    vector("atanh", |call| call.map(f64::atanh)),
    vector("deg", |call| call.map(f64::to_degrees)),
    vector("rad", |call| call.map(f64::to_radians)),
    vector("sgn", |call| call.map(elementwise::sign)),
    vector("round", elementwise::round),
    vector("clamp", elementwise::clamp),
    vector("clamp_min", elementwise::clamp_min),
    vector("clamp_max", elementwise::clamp_max),
    // Between scalars and vectors.
    scalar("scalar", elementwise::scalar),
    vector("vector", elementwise::vector),
    scalar("pi", |call| Ok(Frame::Scalar(vec![std::f64::consts::PI; call.steps.count]))),
    scalar("min_of", |call| elementwise::of_two(call, |a, b| if b < a { b } else { a })),
    scalar("max_of", |call| elementwise::of_two(call, |a, b| if b > a { b } else { a })),
    // Time.
    scalar("time", query_time::time),
    scalar("start", query_time::start),
    scalar("end", query_time::end),
    scalar("step", query_time::step),
    scalar("range", query_time::range),
    vector("timestamp", query_time::timestamp),
    vector("year", |call| calendar::field(call, |at| at.year)),
    vector("month", |call| calendar::field(call, |at| at.month)),
    vector("day_of_month", |call| calendar::field(call, |at| at.day)),
    vector("day_of_week", |call| calendar::field(call, |at| at.weekday)),
    vector("day_of_year", |call| calendar::field(call, |at| at.year_day)),
    vector("days_in_month", |call| calendar::field(call, |at| at.month_days)),
    vector("hour", |call| calendar::field(call, |at| at.hour)),
    vector("minute", |call| calendar::field(call, |at| at.minute)),
];

pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

impl Function {
    /// True when the value depends on when the evaluation is, whatever the arguments are.
    pub(super) fn tells_time(&self) -> bool {
        const TIMED: &[&str] = &[
            "time",
            "timestamp",
            "predict_linear",
            "start",
            "end",
            "step",
            "range",
            "year",
            "month",
            "day_of_month",
            "day_of_week",
            "day_of_year",
            "days_in_month",
            "hour",
            "minute",
        ];
        TIMED.contains(&self.name)
    }
}

impl<'a> Call<'a> {
    pub(super) fn arg(&self, at: usize) -> Result<&'a Tree, PromqlError> {
        self.args.get(at).ok_or_else(|| failed!("{}(): too few arguments", self.function.name))
    }

    pub(super) fn vector(&self, at: usize) -> Result<Vec<Row>, PromqlError> {
        self.eval.vector(self.arg(at)?, self.steps)
    }

    pub(super) fn scalar(&self, at: usize) -> Result<Vec<f64>, PromqlError> {
        self.eval.scalar(self.arg(at)?, self.steps)
    }

    pub(super) fn text(&self, at: usize) -> Result<String, PromqlError> {
        self.eval.text(self.arg(at)?)
    }

    /// `change` on every value of the first argument.
    fn map(&self, change: fn(f64) -> f64) -> Result<Frame, PromqlError> {
        self.eval.map(self.vector(0)?, change)
    }

    /// One value per window of the range vector at `arg`; the metric name goes.
    pub(super) fn over(
        &self,
        arg: usize,
        compute: impl FnMut(&Window<'_>) -> Option<f64>,
    ) -> Result<Frame, PromqlError> {
        self.unnamed(self.over_keeping_names(arg, compute)?)
    }

    /// The metric names of what was computed of range vectors go, unless nobody looks at them.
    pub(super) fn unnamed(&self, rows: Vec<Row>) -> Result<Frame, PromqlError> {
        let as_they_are = !self.names_matter && of_one_name(&rows);
        Ok(Frame::Vector(if as_they_are { rows } else { self.eval.renamed_apart(rows)? }))
    }

    pub(super) fn over_keeping_names(
        &self,
        arg: usize,
        compute: impl FnMut(&Window<'_>) -> Option<f64>,
    ) -> Result<Vec<Row>, PromqlError> {
        self.eval.over(self.arg(arg)?, self.steps, compute)
    }
}
