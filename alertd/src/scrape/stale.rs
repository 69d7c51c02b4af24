//! Which series ended since the last scrape.

/// Remembers, by series number, in which scrape each series was last seen.
///
/// Series with a timestamp of their own are not told to it: Prometheus ends those by lookback only.
#[derive(Debug, Default)]
pub(super) struct Seen {
    scrape: u64,
    last: Vec<u64>,
}

impl Seen {
    /// Takes the numbers of the series that this scrape had, none when it failed, and returns those
    /// that the scrape before it had and this one has not.
    pub(super) fn next(&mut self, now: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let before = self.scrape;
        self.scrape += 1;
        for number in now {
            if self.last.len() <= number {
                self.last.resize(number + 1, 0);
            }
            self.last[number] = self.scrape;
        }
        let ended =
            |(number, last): (usize, &u64)| (before > 0 && *last == before).then_some(number);
        self.last.iter().enumerate().filter_map(ended).collect()
    }

    /// Frees a number for another series.
    pub(super) fn forget(&mut self, number: usize) {
        if let Some(last) = self.last.get_mut(number) {
            *last = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_ends_once_and_can_come_back() {
        let mut seen = Seen::default();
        for (now, want) in [
            (vec![0, 1, 2], vec![]),
            (vec![0, 2, 2], vec![1]),
            (vec![2, 3], vec![0]),
            (vec![], vec![2, 3]),
            (vec![], vec![]),
            (vec![1, 3], vec![]),
            (vec![3], vec![1]),
        ] {
            assert_eq!(seen.next(now.clone()), want, "{now:?}");
        }
        seen.forget(3);
        assert_eq!(seen.next([]), [0; 0]);
    }
}
