//! Selectors and subqueries: lookback, offset, `@`, staleness; windows are open on the left.

use std::ops::ControlFlow;

use crate::model::labels::Labels;
use crate::model::sample::{Sample, Series, Timestamp, is_stale};

use super::error::{PromqlError, failed};
use super::eval::{Evaluator, Frame, Row, Steps, absent, is_absent};
use super::syntax::{At, Node, Selector, Tree, When};

/// Series with the samples that any step's window needs.
struct Ranges {
    series: Vec<RangeSeries>,
    /// End of the window of each step, milliseconds; it reaches back by `range`.
    ends: Vec<i64>,
    range: i64,
}

struct RangeSeries {
    labels: Labels,
    drop_name: bool,
    samples: Vec<Sample>,
    /// When the counting began, for the samples that say it.
    starts: Vec<(Timestamp, Timestamp)>,
}

/// The samples of one series in `(start, end]`, never empty.
pub(super) struct Window<'a> {
    pub(super) samples: &'a [Sample],
    starts: &'a [(Timestamp, Timestamp)],
    pub(super) start: i64,
    pub(super) end: i64,
    /// The time of the step, whatever `offset` and `@` say.
    pub(super) now: i64,
    /// The number of the step.
    pub(super) step: usize,
}

impl Window<'_> {
    /// When what a sample of the window counts began, if it says so; milliseconds.
    pub(super) fn start_of(&self, sample: &Sample) -> Option<i64> {
        if self.starts.is_empty() {
            return None;
        }
        let at = self.starts.binary_search_by_key(&sample.timestamp, |(time, _)| *time).ok()?;
        self.starts.get(at).map(|(_, start)| start.0)
    }
}

impl Evaluator<'_> {
    /// The newest sample within lookback at each step, unless the series ended.
    pub(super) fn instant(
        &self,
        selector: &Selector,
        steps: &Steps,
        pick: impl Fn(Sample) -> f64,
    ) -> Result<Vec<Row>, PromqlError> {
        let times = self.reference_times(&selector.when, steps);
        let mut rows = Vec::new();
        self.visit(selector, &times, self.lookback(), |labels, samples| {
            let row = self.newest(labels, samples, &times, &pick)?;
            if !row.is_empty() {
                rows.push(row);
            }
            Ok(())
        })?;
        Ok(rows)
    }

    /// As `instant` with the values of one step: the store knows the newest without unpacking.
    pub(super) fn latest(&self, selector: &Selector, at: i64) -> Result<Vec<Row>, PromqlError> {
        let at = self.fixed_time(&selector.when).unwrap_or(at).saturating_sub(selector.when.offset);
        let lookback = self.options.lookback;
        let found = self.store.latest(&selector.matchers, Timestamp(at), lookback)?;
        self.charge(found.len())?;
        self.found(found.len());
        let row = |(labels, value)| Row { labels, drop_name: false, values: vec![value] };
        Ok(found.into_iter().map(row).collect())
    }

    /// What lookback finds in a series at each of the ascending times.
    pub(super) fn newest(
        &self,
        labels: &Labels,
        samples: &[Sample],
        times: &[i64],
        pick: impl Fn(Sample) -> f64,
    ) -> Result<Row, PromqlError> {
        self.charge(times.len())?;
        let mut next = 0;
        let values = times.iter().map(|time| {
            while samples.get(next).is_some_and(|sample| sample.timestamp.0 <= *time) {
                next += 1;
            }
            let newest = next.checked_sub(1).and_then(|at| samples.get(at));
            newest
                .filter(|sample| sample.timestamp.0 > time.saturating_sub(self.lookback()))
                .filter(|sample| !is_stale(sample.value))
                .map_or(absent(), |sample| pick(*sample))
        });
        let values: Vec<_> = values.collect();
        self.found(values.iter().filter(|value| !is_absent(**value)).count());
        Ok(Row { labels: labels.clone(), drop_name: false, values })
    }

    /// Milliseconds.
    pub(super) fn lookback(&self) -> i64 {
        i64::try_from(self.options.lookback.as_millis()).unwrap_or(i64::MAX)
    }

    /// What a range selector or a subquery gives for every step.
    fn ranges(&self, tree: &Tree, steps: &Steps) -> Result<Ranges, PromqlError> {
        match &tree.bare().node {
            Node::Range { selector, range } => {
                let ends = self.reference_times(&selector.when, steps);
                let mut series = Vec::new();
                self.visit(selector, &ends, *range, |labels, samples| {
                    let there = samples.iter().filter(|sample| !is_stale(sample.value));
                    let samples: Vec<_> = there.copied().collect();
                    self.charge(samples.len())?;
                    let (labels, starts) = (labels.clone(), self.starts(labels, &samples));
                    series.push(RangeSeries { labels, drop_name: false, samples, starts });
                    Ok(())
                })?;
                Ok(Ranges { series, ends, range: *range })
            }
            Node::Subquery { expr, range, step, when } => {
                let ends = self.reference_times(when, steps);
                let inner = self.inner_steps(&ends, *range, *step)?;
                let series = self.subquery(expr, &inner)?;
                Ok(Ranges { series, ends, range: *range })
            }
            _ => Err(failed!("expected a range vector")),
        }
    }

    /// One row per series that has a value: `compute` over the window of each step that has
    /// samples. Of stored series one is looked at at a time.
    pub(super) fn over(
        &self,
        tree: &Tree,
        steps: &Steps,
        mut compute: impl FnMut(&Window<'_>) -> Option<f64>,
    ) -> Result<Vec<Row>, PromqlError> {
        let mut rows = Vec::new();
        let mut push = |labels: &Labels, drop_name: bool, values: Vec<f64>| {
            let row = Row { labels: labels.clone(), drop_name, values };
            if row.is_empty() {
                return Ok(());
            }
            rows.push(row);
            self.charge(steps.count)
        };
        if let Node::Range { selector, range } = &tree.bare().node {
            let ends = self.reference_times(&selector.when, steps);
            let mut without_stale = Vec::new();
            self.visit(selector, &ends, *range, |labels, samples| {
                let mut samples = samples;
                if samples.iter().any(|sample| is_stale(sample.value)) {
                    without_stale.clear();
                    let there = samples.iter().filter(|sample| !is_stale(sample.value));
                    without_stale.extend(there.copied());
                    samples = &without_stale;
                }
                let starts = self.starts(labels, samples);
                let seen = (samples, starts.as_slice());
                let values = self.windows(seen, &ends, *range, steps, &mut compute);
                push(labels, false, values)
            })?;
            return Ok(rows);
        }
        let ranges = self.ranges(tree, steps)?;
        for series in &ranges.series {
            self.check_cancelled()?;
            let seen = (series.samples.as_slice(), series.starts.as_slice());
            let values = self.windows(seen, &ranges.ends, ranges.range, steps, &mut compute);
            push(&series.labels, series.drop_name, values)?;
        }
        Ok(rows)
    }

    /// What `compute` makes of the window of each step over samples and the starts that they name;
    /// the ends ascend.
    fn windows(
        &self,
        (samples, starts): (&[Sample], &[(Timestamp, Timestamp)]),
        ends: &[i64],
        range: i64,
        steps: &Steps,
        compute: &mut impl FnMut(&Window<'_>) -> Option<f64>,
    ) -> Vec<f64> {
        let (mut low, mut high, mut found) = (0, 0, 0);
        let mut values = Vec::with_capacity(steps.count);
        for (step, end) in ends.iter().enumerate() {
            let start = end.saturating_sub(range);
            let time = |at: usize| samples.get(at).map(|sample| sample.timestamp.0);
            while time(high).is_some_and(|time| time <= *end) {
                high += 1;
            }
            while low < high && time(low).is_some_and(|time| time <= start) {
                low += 1;
            }
            let samples = samples.get(low..high).unwrap_or(&[]);
            found += samples.len();
            let now = steps.time(step);
            let window = Window { samples, starts, start, end: *end, now, step };
            let value = if samples.is_empty() { None } else { compute(&window) };
            values.push(value.unwrap_or(absent()));
        }
        self.found(found);
        values
    }

    fn starts(&self, labels: &Labels, samples: &[Sample]) -> Vec<(Timestamp, Timestamp)> {
        match samples {
            [first, .., last] => self.store.starts(labels, first.timestamp, last.timestamp),
            [only] => self.store.starts(labels, only.timestamp, only.timestamp),
            [] => Vec::new(),
        }
    }

    /// The samples of the window at the only step, for a query that asks for the matrix itself.
    pub(super) fn matrix(&self, tree: &Tree, steps: &Steps) -> Result<Vec<Series>, PromqlError> {
        let ranges = self.ranges(tree, steps)?;
        let end = ranges.ends.first().copied().unwrap_or(steps.start);
        let start = end.saturating_sub(ranges.range);
        let mut found = Vec::new();
        for series in ranges.series {
            let inside = |sample: &Sample| sample.timestamp.0 > start && sample.timestamp.0 <= end;
            let samples: Vec<_> = series.samples.into_iter().filter(inside).collect();
            self.found(samples.len());
            if !samples.is_empty() {
                let labels = match series.drop_name {
                    true => super::eval::without_name(&series.labels),
                    false => series.labels,
                };
                found.push(Series { labels, samples });
            }
        }
        Ok(found)
    }

    /// The time that `@` gives.
    pub(super) fn fixed_time(&self, when: &When) -> Option<i64> {
        when.at.map(|at| match at {
            At::Start => self.query.start,
            At::End => self.query.end,
            At::Time(time) => time,
        })
    }

    /// Each step's time after `@` and `offset`; ascending, as the steps are.
    fn reference_times(&self, when: &When, steps: &Steps) -> Vec<i64> {
        let fixed = self.fixed_time(when);
        steps.times().map(|time| fixed.unwrap_or(time).saturating_sub(when.offset)).collect()
    }

    /// Shows each series that any of the times can see, reaching back so far. While it is shown,
    /// its samples count as held.
    fn visit(
        &self,
        selector: &Selector,
        times: &[i64],
        back: i64,
        mut each: impl FnMut(&Labels, &[Sample]) -> Result<(), PromqlError>,
    ) -> Result<(), PromqlError> {
        self.check_cancelled()?;
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return Ok(());
        };
        let from = Timestamp(first.saturating_sub(back).saturating_add(1));
        let mut done = Ok(());
        self.store.visit(&selector.matchers, from, Timestamp(*last), &mut |labels, samples| {
            done = self
                .check_cancelled()
                .and_then(|()| self.held_for(samples.len(), || each(labels, samples)));
            if done.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        done
    }

    /// Multiples of the step that fall into any of the windows.
    fn inner_steps(
        &self,
        ends: &[i64],
        range: i64,
        step: Option<i64>,
    ) -> Result<Steps, PromqlError> {
        let default = i64::try_from(self.options.subquery_step.as_millis()).unwrap_or(i64::MAX);
        let step = step.unwrap_or(default).max(1);
        let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
            return Ok(Steps { start: 0, step, count: 0 });
        };
        let start = first.saturating_sub(range).div_euclid(step).saturating_add(1);
        let end = last.div_euclid(step);
        let count = usize::try_from(end.saturating_sub(start).saturating_add(1)).unwrap_or(0);
        self.charge(count)?;
        Ok(Steps { start: start.saturating_mul(step), step, count })
    }

    fn subquery(&self, expr: &Tree, inner: &Steps) -> Result<Vec<RangeSeries>, PromqlError> {
        if inner.count == 0 {
            return Ok(Vec::new());
        }
        let rows = match self.eval(expr, inner)? {
            Frame::Vector(rows) => rows,
            Frame::Scalar(values) => {
                vec![Row { labels: Labels::empty(), drop_name: false, values }]
            }
            Frame::Text(_) => return Err(failed!("a subquery needs an instant vector")),
        };
        let series = rows.into_iter().map(|row| {
            let values = row.values.iter().enumerate().filter(|(_, value)| !is_absent(**value));
            let samples = values
                .map(|(at, value)| Sample { timestamp: Timestamp(inner.time(at)), value: *value })
                .collect();
            let starts = Vec::new();
            RangeSeries { labels: row.labels, drop_name: row.drop_name, samples, starts }
        });
        Ok(series.collect())
    }
}
