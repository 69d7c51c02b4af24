//! Evaluation: each node over all steps at once, from the leaves up.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;

use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::querier::Querier;
use crate::model::sample::{is_stale, stale_marker};

use super::error::{PromqlError, failed};
use super::functions::Call;
use super::syntax::{Expr, Node, Tree};
use super::{Options, aggregate, binary};

/// The instants at which a node is evaluated, milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    pub(super) start: i64,
    pub(super) step: i64,
    pub(super) count: usize,
}

/// The bounds of the whole query, which `@ start()`, `range()` and the like refer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query {
    pub(super) start: i64,
    pub(super) end: i64,
    /// Zero in an instant query.
    pub(super) step: i64,
}

/// The value of a node at every step.
#[derive(Debug)]
pub(super) enum Frame {
    Scalar(Vec<f64>),
    Text(String),
    Vector(Vec<Row>),
}

/// One series of a vector: a value a step, or `absent()`.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) labels: Labels,
    /// The metric name goes when the result is handed out (delayed removal only).
    pub(super) drop_name: bool,
    pub(super) values: Vec<f64>,
}

/// What fills a row where it has no value: the stale marker, which no operation can produce and
/// no selector lets through.
pub(super) fn absent() -> f64 {
    stale_marker()
}

pub(super) fn is_absent(value: f64) -> bool {
    is_stale(value)
}

pub(super) struct Evaluator<'a> {
    pub(super) store: &'a dyn Querier,
    pub(super) expr: &'a Expr,
    pub(super) options: &'a Options,
    pub(super) query: Query,
    /// Samples in memory at present.
    held: Cell<usize>,
    /// Most that were in memory at one time.
    peak: Cell<usize>,
    found: Cell<usize>,
    warnings: RefCell<BTreeSet<String>>,
    infos: RefCell<BTreeSet<String>>,
}

impl Steps {
    pub(super) fn time(&self, at: usize) -> i64 {
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        self.start.saturating_add(self.step.saturating_mul(at))
    }

    pub(super) fn times(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.count).map(|at| self.time(at))
    }
}

impl Frame {
    fn size(&self) -> usize {
        match self {
            Frame::Scalar(values) => values.len(),
            Frame::Text(_) => 0,
            Frame::Vector(rows) => rows.iter().map(|row| row.values.len()).sum(),
        }
    }

    /// What a node has at one step, at so many.
    fn repeated(self, count: usize) -> Frame {
        let spread = |values: &[f64]| vec![values.first().copied().unwrap_or(absent()); count];
        match self {
            Frame::Scalar(values) => Frame::Scalar(spread(&values)),
            Frame::Text(text) => Frame::Text(text),
            Frame::Vector(rows) => Frame::Vector(
                rows.into_iter().map(|row| Row { values: spread(&row.values), ..row }).collect(),
            ),
        }
    }
}

impl Row {
    pub(super) fn is_empty(&self) -> bool {
        self.values.iter().all(|value| is_absent(*value))
    }
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(
        expr: &'a Expr,
        store: &'a dyn Querier,
        options: &'a Options,
        query: Query,
    ) -> Evaluator<'a> {
        Evaluator {
            store,
            expr,
            options,
            query,
            held: Cell::new(0),
            peak: Cell::new(0),
            found: Cell::new(0),
            warnings: RefCell::default(),
            infos: RefCell::default(),
        }
    }

    /// The value of a node at each step. What does not change from step to step is found once.
    pub(super) fn eval(&self, tree: &Tree, steps: &Steps) -> Result<Frame, PromqlError> {
        self.check_cancelled()?;
        let before = self.held.get();
        let once = steps.count > 1 && tree.is_fixed();
        let frame = match once {
            true => {
                let frame = self.node(tree, &Steps { count: 1, ..*steps })?;
                self.hold_only(before, frame.size().saturating_mul(steps.count))?;
                frame.repeated(steps.count)
            }
            false => self.node(tree, steps)?,
        };
        self.hold_only(before, frame.size())?;
        Ok(frame)
    }

    fn node(&self, tree: &Tree, steps: &Steps) -> Result<Frame, PromqlError> {
        match &tree.node {
            Node::Number(value) => {
                self.charge(steps.count)?;
                Ok(Frame::Scalar(vec![*value; steps.count]))
            }
            Node::Text(_) | Node::NotText(_) => Ok(Frame::Text(self.text(tree)?)),
            Node::Selector(selector) if steps.count == 1 => {
                Ok(Frame::Vector(self.latest(selector, steps.start)?))
            }
            Node::Selector(selector) => {
                Ok(Frame::Vector(self.instant(selector, steps, |sample| sample.value)?))
            }
            Node::Paren(inner) => self.eval(inner, steps),
            Node::Negate(inner) => match self.eval(inner, steps)? {
                Frame::Scalar(values) => Ok(Frame::Scalar(values.iter().map(|v| -v).collect())),
                Frame::Vector(mut rows) => {
                    let values = rows.iter_mut().flat_map(|row| &mut row.values);
                    values.filter(|value| !is_absent(**value)).for_each(|value| *value = -*value);
                    Ok(Frame::Vector(self.renamed_apart(rows)?))
                }
                Frame::Text(_) => Err(failed!("a string cannot be negated")),
            },
            Node::Binary(_) => {
                let before = self.held.get();
                let (leaf, spine) = tree.spine();
                let mut left = self.eval(leaf, steps)?;
                for operation in spine {
                    let right = self.eval(&operation.right, steps)?;
                    left = binary::apply(self, operation, left, right, steps)?;
                    self.hold_only(before, left.size())?;
                }
                Ok(left)
            }
            Node::Aggregate(aggregate) => aggregate::apply(self, aggregate, steps),
            Node::Call { function, args } => {
                (function.run)(&Call { eval: self, function, args, steps, names_matter: true })
            }
            Node::Range { .. } | Node::Subquery { .. } => {
                Err(failed!("a range vector has no value at an instant: wrap it in a function"))
            }
        }
    }

    pub(super) fn vector(&self, tree: &Tree, steps: &Steps) -> Result<Vec<Row>, PromqlError> {
        match self.eval(tree, steps)? {
            Frame::Vector(rows) => Ok(rows),
            _ => Err(failed!("expected an instant vector")),
        }
    }

    /// As `vector`, for a caller who does not look at metric names: it may leave them, where
    /// without them the rows would be as distinct.
    pub(super) fn nameless(&self, tree: &Tree, steps: &Steps) -> Result<Vec<Row>, PromqlError> {
        let Node::Call { function, args } = &tree.bare().node else {
            return self.vector(tree, steps);
        };
        if steps.count > 1 && tree.is_fixed() {
            return self.vector(tree, steps);
        }
        self.check_cancelled()?;
        let before = self.held.get();
        let call = Call { eval: self, function, args, steps, names_matter: false };
        let frame = (function.run)(&call)?;
        self.hold_only(before, frame.size())?;
        match frame {
            Frame::Vector(rows) => Ok(rows),
            _ => Err(failed!("expected an instant vector")),
        }
    }

    pub(super) fn scalar(&self, tree: &Tree, steps: &Steps) -> Result<Vec<f64>, PromqlError> {
        match self.eval(tree, steps)? {
            Frame::Scalar(values) => Ok(values),
            _ => Err(failed!("expected a scalar")),
        }
    }

    pub(super) fn text(&self, tree: &Tree) -> Result<String, PromqlError> {
        match &tree.bare().node {
            Node::Text(text) => Ok(text.clone()),
            Node::NotText(literal) => Err(failed!("string {literal} is not UTF-8")),
            _ => Err(failed!("expected a string literal")),
        }
    }

    /// A row's labels after an operation that changes what its values mean: without the name.
    pub(super) fn renamed(&self, row: Row) -> Row {
        if self.options.delayed_name_removal {
            Row { drop_name: true, ..row }
        } else {
            Row { labels: without_name(&row.labels), ..row }
        }
    }

    /// Rows without their names, none of which may then be equal, at whatever steps their values
    /// are.
    pub(super) fn renamed_apart(&self, mut rows: Vec<Row>) -> Result<Vec<Row>, PromqlError> {
        rows.retain(|row| !row.is_empty());
        let count = rows.len();
        let rows = self.all_renamed(rows)?;
        match rows.len() < count && !self.options.delayed_name_removal {
            true => Err(same_labels()),
            false => Ok(rows),
        }
    }

    fn all_renamed(&self, mut rows: Vec<Row>) -> Result<Vec<Row>, PromqlError> {
        if self.options.delayed_name_removal || !of_one_name(&rows) {
            return merged(rows.into_iter().map(|row| self.renamed(row)));
        }
        rows.retain(|row| !row.is_empty());
        Ok(rows.into_iter().map(|row| self.renamed(row)).collect())
    }

    /// Applies `change` to every value; the metric name goes.
    pub(super) fn map(
        &self,
        rows: Vec<Row>,
        change: impl Fn(f64) -> f64,
    ) -> Result<Frame, PromqlError> {
        self.map_at(rows, |_, value| change(value))
    }

    /// As `map`, knowing the step; the change may remove values.
    pub(super) fn map_at(
        &self,
        mut rows: Vec<Row>,
        change: impl Fn(usize, f64) -> f64,
    ) -> Result<Frame, PromqlError> {
        for row in &mut rows {
            for (at, value) in row.values.iter_mut().enumerate() {
                if !is_absent(*value) {
                    *value = change(at, *value);
                }
            }
        }
        Ok(Frame::Vector(self.all_renamed(rows)?))
    }

    /// Counts samples that are loaded or produced against the limit of the query. When the node
    /// that asked is done, only those of its result count on.
    pub(super) fn charge(&self, samples: usize) -> Result<(), PromqlError> {
        self.hold_only(self.held.get(), samples)
    }

    /// Counts samples as held while `work` runs; what it charges itself stays.
    pub(super) fn held_for<T>(
        &self,
        samples: usize,
        work: impl FnOnce() -> Result<T, PromqlError>,
    ) -> Result<T, PromqlError> {
        self.charge(samples)?;
        let done = work();
        self.held.set(self.held.get().saturating_sub(samples));
        done
    }

    fn hold_only(&self, before: usize, samples: usize) -> Result<(), PromqlError> {
        let held = before.saturating_add(samples);
        self.held.set(held);
        self.peak.set(self.peak.get().max(held));
        let limit = self.options.max_samples;
        if held > limit { Err(PromqlError::TooManySamples { limit }) } else { Ok(()) }
    }

    /// Counts samples that a selector found for one step.
    pub(super) fn found(&self, samples: usize) {
        self.found.set(self.found.get().saturating_add(samples));
    }

    pub(super) fn check_cancelled(&self) -> Result<(), PromqlError> {
        if self.options.cancel.load(Ordering::Relaxed) {
            return Err(PromqlError::Cancelled);
        }
        Ok(())
    }

    pub(super) fn warn(&self, at: usize, message: &str) {
        let text = format!("PromQL warning: {message} ({})", self.expr.position(at));
        self.warnings.borrow_mut().insert(text);
    }

    pub(super) fn inform(&self, at: usize, message: &str) {
        let text = format!("PromQL info: {message} ({})", self.expr.position(at));
        self.infos.borrow_mut().insert(text);
    }

    pub(super) fn into_notes(self) -> (Vec<String>, Vec<String>) {
        let usage = &self.options.usage;
        usage.found.store(self.found.get() as u64, Ordering::Relaxed);
        usage.held.store(self.peak.get() as u64, Ordering::Relaxed);
        let list = |notes: RefCell<BTreeSet<String>>| notes.into_inner().into_iter().collect();
        (list(self.warnings), list(self.infos))
    }
}

/// Labels that say what a metric is, not whom it is about: they go together.
pub(super) fn is_metadata(label: &str) -> bool {
    matches!(label, METRIC_NAME | "__type__" | "__unit__")
}

pub(super) fn without_name(labels: &Labels) -> Labels {
    match labels.iter().filter(|(name, _)| is_metadata(name)).count() {
        0 => labels.clone(),
        1 if labels.metric_name().is_some() => labels.without_one(METRIC_NAME),
        _ => labels.retain(|name| !is_metadata(name)),
    }
}

/// Whether distinct rows stay distinct without their names, because they share one.
pub(super) fn of_one_name(rows: &[Row]) -> bool {
    let Some(first) = rows.first() else { return true };
    let name = first.labels.metric_name();
    rows.iter().all(|row| {
        let said = row.labels.iter().filter(|(label, _)| is_metadata(label)).count();
        row.labels.metric_name() == name && said == usize::from(name.is_some())
    })
}

fn same_labels() -> PromqlError {
    failed!("vector cannot contain metrics with the same labelset")
}

/// Joins rows of equal labels that never have a value at the same step; drops empty ones.
///
/// # Errors
/// When two have a value at one step: the result would hold one series twice.
pub(super) fn merged(rows: impl IntoIterator<Item = Row>) -> Result<Vec<Row>, PromqlError> {
    let mut out: Vec<Row> = Vec::new();
    let mut known: HashMap<Labels, usize> = HashMap::new();
    for row in rows {
        if row.is_empty() {
            continue;
        }
        match known.get(&row.labels).and_then(|at| out.get_mut(*at)) {
            None => {
                known.insert(row.labels.clone(), out.len());
                out.push(row);
            }
            Some(first) => {
                for (into, value) in first.values.iter_mut().zip(row.values) {
                    if is_absent(value) {
                        continue;
                    }
                    if !is_absent(*into) {
                        return Err(same_labels());
                    }
                    *into = value;
                }
            }
        }
    }
    Ok(out)
}
