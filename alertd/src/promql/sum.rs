//! Sums and means that do not lose small parts: Neumaier's variant of Kahan summation.

/// A running sum and what rounding has taken from it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    total: f64,
    lost: f64,
}

/// A running mean; it goes over to incremental form when the sum would overflow.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mean {
    sum: Sum,
    incremental: bool,
    count: f64,
}

/// A running variance (Welford), compensated.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Variance {
    count: f64,
    mean: Sum,
    squares: Sum,
}

impl Sum {
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> f64 {
        let mut sum = Sum::default();
        values.into_iter().for_each(|value| sum.add(value));
        sum.value()
    }

    pub(super) fn add(&mut self, value: f64) {
        let total = self.total + value;
        if total.is_infinite() {
            self.lost = 0.0;
        } else if self.total.abs() >= value.abs() {
            self.lost += (self.total - total) + value;
        } else {
            self.lost += (value - total) + self.total;
        }
        self.total = total;
    }

    pub(super) fn value(self) -> f64 {
        self.total + self.lost
    }

    fn scaled(self, by: f64) -> Sum {
        Sum { total: by * self.total, lost: by * self.lost }
    }
}

impl Mean {
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> f64 {
        let mut mean = Mean::default();
        values.into_iter().for_each(|value| mean.add(value));
        mean.value()
    }

    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.sum.total = value;
            return;
        }
        if !self.incremental {
            let mut sum = self.sum;
            sum.add(value);
            if !sum.total.is_infinite() {
                self.sum = sum;
                return;
            }
            let before = self.count - 1.0;
            self.incremental = true;
            self.sum = Sum { total: self.sum.total / before, lost: self.sum.lost / before };
        }
        self.sum = self.sum.scaled((self.count - 1.0) / self.count);
        self.sum.add(value / self.count);
    }

    pub(super) fn value(self) -> f64 {
        if self.incremental {
            self.sum.value()
        } else {
            self.sum.total / self.count + self.sum.lost / self.count
        }
    }
}

impl Variance {
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> f64 {
        let mut variance = Variance::default();
        values.into_iter().for_each(|value| variance.add(value));
        variance.value()
    }

    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean.value();
        self.mean.add(delta / self.count);
        self.squares.add(delta * (value - self.mean.value()));
    }

    pub(super) fn value(self) -> f64 {
        self.squares.value() / self.count
    }
}

/// The `q`-quantile of the values, interpolated between neighbours; NaN sorts lowest.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(ascending);
    let last = values.len() - 1;
    let rank = q * last as f64;
    let lower = (rank.floor() as usize).min(last);
    let weight = rank - rank.floor();
    let at = |index: usize| values.get(index.min(last)).copied().unwrap_or(f64::NAN);
    at(lower) * (1.0 - weight) + at(lower + 1) * weight
}

/// Orders floats with every NaN below every number.
pub(super) fn ascending(a: &f64, b: &f64) -> std::cmp::Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_parts_survive_large_ones() {
        assert_eq!(Sum::of([1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(Mean::of([1.0, 1e100, 1.0, -1e100]), 0.5);
        assert_eq!(Mean::of([1e308, 1e308, 1e308]), 1e308);
        assert!(Mean::of([f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert_eq!(Mean::of([f64::INFINITY, 1.0]), f64::INFINITY);
        assert_eq!(Variance::of([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), 4.0);
    }

    #[test]
    fn quantiles_interpolate() {
        for (q, want) in [(0.0, 1.0), (0.5, 2.5), (1.0, 4.0), (-0.1, f64::NEG_INFINITY)] {
            assert_eq!(quantile(q, vec![4.0, 2.0, 3.0, 1.0]), want, "{q}");
        }
        assert!(quantile(0.5, vec![]).is_nan());
        assert!(quantile(0.0, vec![1.0, f64::NAN]).is_nan());
    }
}
