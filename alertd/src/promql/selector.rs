//! Selectors and subqueries: lookback, offset, `@`, staleness; windows are open on the left.

use crate::model::labels::Labels;
use crate::model::sample::{Sample, Series, Timestamp, is_stale};

use super::error::{PromqlError, failed};
use super::eval::{Evaluator, Frame, Row, Steps, absent, is_absent};
use super::syntax::{At, Node, Selector, Tree, When};

/// Series with the samples that any step's window needs.
pub(super) struct Ranges {
    pub(super) series: Vec<RangeSeries>,
    /// End of the window of each step, milliseconds; it reaches back by `range`.
    ends: Vec<i64>,
    pub(super) range: i64,
}

pub(super) struct RangeSeries {
    pub(super) labels: Labels,
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
        for series in self.fetch(selector, &times, self.lookback())? {
            let row = self.newest(series, &times, &pick)?;
            if !row.is_empty() {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    /// What lookback finds in a series at each of the ascending times.
    pub(super) fn newest(
        &self,
        series: Series,
        times: &[i64],
        pick: impl Fn(Sample) -> f64,
    ) -> Result<Row, PromqlError> {
        self.charge(times.len())?;
        let mut next = 0;
        let values = times.iter().map(|time| {
            while series.samples.get(next).is_some_and(|sample| sample.timestamp.0 <= *time) {
                next += 1;
            }
            let newest = next.checked_sub(1).and_then(|at| series.samples.get(at));
            newest
                .filter(|sample| sample.timestamp.0 > time.saturating_sub(self.lookback()))
                .filter(|sample| !is_stale(sample.value))
                .map_or(absent(), |sample| pick(*sample))
        });
        let values: Vec<_> = values.collect();
        self.found(values.iter().filter(|value| !is_absent(**value)).count());
        Ok(Row { labels: series.labels, drop_name: false, values })
    }

    /// Milliseconds.
    pub(super) fn lookback(&self) -> i64 {
        i64::try_from(self.options.lookback.as_millis()).unwrap_or(i64::MAX)
    }

    /// What a range selector or a subquery gives for every step.
    pub(super) fn ranges(&self, tree: &Tree, steps: &Steps) -> Result<Ranges, PromqlError> {
        match &tree.bare().node {
            Node::Range { selector, range } => {
                let ends = self.reference_times(&selector.when, steps);
                let series = self.fetch(selector, &ends, *range)?.into_iter().map(|series| {
                    let mut samples = series.samples;
                    samples.retain(|sample| !is_stale(sample.value));
                    let time =
                        |sample: Option<&Sample>| sample.map_or(Timestamp(0), |one| one.timestamp);
                    let (from, to) = (time(samples.first()), time(samples.last()));
                    let starts = self.store.starts(&series.labels, from, to);
                    RangeSeries { labels: series.labels, drop_name: false, samples, starts }
                });
                Ok(Ranges { series: series.collect(), ends, range: *range })
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

    /// One row per series: `compute` over the window of each step that has samples.
    pub(super) fn over(
        &self,
        ranges: &Ranges,
        steps: &Steps,
        mut compute: impl FnMut(&Window<'_>) -> Option<f64>,
    ) -> Result<Vec<Row>, PromqlError> {
        let mut rows = Vec::with_capacity(ranges.series.len());
        for series in &ranges.series {
            self.check_cancelled()?;
            self.charge(steps.count)?;
            let (mut low, mut high) = (0, 0);
            let mut values = Vec::with_capacity(steps.count);
            for (step, end) in ranges.ends.iter().enumerate() {
                let start = end.saturating_sub(ranges.range);
                let time = |at: usize| series.samples.get(at).map(|sample| sample.timestamp.0);
                while time(high).is_some_and(|time| time <= *end) {
                    high += 1;
                }
                while low < high && time(low).is_some_and(|time| time <= start) {
                    low += 1;
                }
                let samples = series.samples.get(low..high).unwrap_or(&[]);
                self.found(samples.len());
                let (starts, now) = (series.starts.as_slice(), steps.time(step));
                let window = Window { samples, starts, start, end: *end, now, step };
                let value = if samples.is_empty() { None } else { compute(&window) };
                values.push(value.unwrap_or(absent()));
            }
            rows.push(Row { labels: series.labels.clone(), drop_name: series.drop_name, values });
        }
        Ok(rows)
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

    fn fetch(
        &self,
        selector: &Selector,
        times: &[i64],
        back: i64,
    ) -> Result<Vec<Series>, PromqlError> {
        self.check_cancelled()?;
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return Ok(Vec::new());
        };
        let from = Timestamp(first.saturating_sub(back).saturating_add(1));
        let found = self.store.select(&selector.matchers, from, Timestamp(*last))?;
        self.charge(found.iter().map(|series| series.samples.len()).sum())?;
        Ok(found)
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
