//! A digest as data, from the episodes of its period (pure).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::db::history::Episode;
use crate::model::sample::Timestamp;
use crate::route::silence::Silence;

/// Lines of each list.
const MAX_TOP: usize = 10;
const MAX_OPEN: usize = 30;
const MAX_SILENCES: usize = 20;

/// What happened from `from` on and before `to`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Summary {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// Alerts that began in the period.
    pub(super) fired: usize,
    /// The same by severity, which may be empty.
    pub(super) by_severity: BTreeMap<String, usize>,
    /// Alerts that ended in the period, whenever they began.
    pub(super) resolved: usize,
    /// Mean time to detect: from the start of an alert to the first notification of it that a
    /// receiver accepted. Over the alerts that began in the period and were told before its end.
    pub(super) mttd: Option<Mean>,
    /// Mean time to repair: from the start of an alert to its end. Over the alerts that ended in
    /// the period.
    pub(super) mttr: Option<Mean>,
    /// By name, those that fired most often first, then those that fired longest.
    pub(super) top: Vec<Top>,
    /// Those that fire at the end of the period, the oldest first.
    pub(super) open: Vec<Episode>,
    /// With those that `open` leaves out.
    pub(super) open_count: usize,
    pub(super) silences: Vec<Arc<Silence>>,
    pub(super) silence_count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mean {
    pub(super) time: Duration,
    /// Over how many.
    pub(super) of: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Top {
    pub(super) name: String,
    /// How often it began in the period.
    pub(super) count: usize,
    /// How long it fired within the period, all its instances together.
    pub(super) firing: Duration,
}

/// `severities` in lower case; none for all.
pub(super) fn compose(
    episodes: &[Episode],
    severities: &[String],
    from: Timestamp,
    to: Timestamp,
    mut silences: Vec<Arc<Silence>>,
) -> Summary {
    let wanted = |episode: &&Episode| {
        let own = episode.severity.to_ascii_lowercase();
        severities.is_empty() || severities.contains(&own)
    };
    let episodes: Vec<&Episode> = episodes.iter().filter(wanted).collect();
    let within = |at: Timestamp| from <= at && at < to;
    let began: Vec<&Episode> =
        episodes.iter().copied().filter(|episode| within(episode.started_at)).collect();
    let ended = episodes.iter().filter_map(|episode| {
        let at = episode.ended_at.filter(|at| within(*at))?;
        Some(at.since(episode.started_at))
    });
    let ended: Vec<Duration> = ended.collect();
    let told = began.iter().filter_map(|episode| {
        let at = episode.told_at.filter(|at| *at < to)?;
        Some(at.since(episode.started_at))
    });
    let told: Vec<Duration> = told.collect();
    let mut by_severity = BTreeMap::new();
    let mut top: BTreeMap<&str, Top> = BTreeMap::new();
    for episode in &episodes {
        let entry = top.entry(&episode.name).or_insert_with(|| Top {
            name: episode.name.clone(),
            count: 0,
            firing: Duration::ZERO,
        });
        let end = episode.ended_at.unwrap_or(to).min(to);
        entry.firing += end.since(episode.started_at.max(from));
        if within(episode.started_at) {
            entry.count += 1;
            *by_severity.entry(episode.severity.clone()).or_insert(0) += 1;
        }
    }
    let mut top: Vec<Top> = top.into_values().collect();
    top.sort_by_key(|top| std::cmp::Reverse((top.count, top.firing)));
    top.truncate(MAX_TOP);
    let fires = |episode: &&&Episode| {
        episode.started_at < to && episode.ended_at.is_none_or(|end| end >= to)
    };
    let open: Vec<Episode> = episodes.iter().filter(fires).map(|e| (*e).clone()).collect();
    let (open_count, silence_count) = (open.len(), silences.len());
    silences.sort_by_key(|silence| silence.ends_at);
    silences.truncate(MAX_SILENCES);
    Summary {
        from,
        to,
        fired: began.len(),
        by_severity,
        resolved: ended.len(),
        mttd: mean(&told),
        mttr: mean(&ended),
        top,
        open: open.into_iter().take(MAX_OPEN).collect(),
        open_count,
        silences,
        silence_count,
    }
}

fn mean(times: &[Duration]) -> Option<Mean> {
    let of = u32::try_from(times.len()).ok().filter(|of| *of > 0)?;
    Some(Mean { time: times.iter().sum::<Duration>() / of, of: times.len() })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::route::silence::Condition;

    fn episode(name: &str, severity: &str, times: (i64, Option<i64>, Option<i64>)) -> Episode {
        let at = |seconds: i64| Timestamp(seconds * 1000);
        Episode {
            fingerprint: format!("{name}{}", times.0),
            started_at: at(times.0),
            name: name.into(),
            severity: severity.into(),
            labels: "instance=<a>".into(),
            told_at: times.1.map(at),
            ended_at: times.2.map(at),
        }
    }

    pub(crate) fn silence(job: &str, comment: &str) -> Arc<Silence> {
        let job =
            Condition { name: "job".into(), value: job.into(), is_regex: true, is_equal: true };
        Arc::new(Silence {
            id: String::new(),
            matchers: vec![job],
            starts_at: Timestamp(0),
            ends_at: Timestamp(7_200_000),
            updated_at: Timestamp(0),
            created_by: "ann".into(),
            signed_in: None,
            comment: comment.into(),
            annotations: BTreeMap::new(),
            ends_with_alert: false,
        })
    }

    /// From second 1000 to 2000.
    pub(crate) fn sample() -> Summary {
        let episodes = [
            // start, told, end
            episode("A", "info", (1000, Some(1010), Some(1100))),
            episode("A", "info", (1200, Some(1230), None)),
            episode("B", "critical", (500, Some(510), Some(1500))),
            episode("B", "critical", (1900, Some(2000), Some(2000))),
            episode("C", "critical", (100, None, Some(999))),
            episode("D", "", (1999, None, Some(5000))),
        ];
        let silences = vec![silence("x", "disks <b>")];
        compose(&episodes, &[], Timestamp(1_000_000), Timestamp(2_000_000), silences)
    }

    #[test]
    fn counts_and_means() {
        let summary = sample();
        assert_eq!((summary.fired, summary.resolved), (4, 2));
        let counts: Vec<_> = summary.by_severity.iter().map(|(s, n)| (s.as_str(), *n)).collect();
        assert_eq!(counts, [("", 1), ("critical", 1), ("info", 2)]);
        // 10 s and 30 s; what was told after the period is none of its.
        assert_eq!(summary.mttd, Some(Mean { time: Duration::from_secs(20), of: 2 }));
        // 100 s and 1000 s.
        assert_eq!(summary.mttr, Some(Mean { time: Duration::from_secs(550), of: 2 }));
        let top: Vec<_> =
            summary.top.iter().map(|t| (t.name.as_str(), t.count, t.firing.as_secs())).collect();
        assert_eq!(top[..3], [("A", 2, 900), ("B", 1, 600), ("D", 1, 1)]);
        let open: Vec<_> = summary.open.iter().map(|e| e.fingerprint.as_str()).collect();
        assert_eq!(open, ["A1200", "B1900", "D1999"]);
    }

    #[test]
    fn only_what_was_asked_for_and_nothing_is_no_zero() {
        let episodes = [
            episode("A", "Info", (10, None, None)),
            episode("B", "critical", (10, None, Some(20))),
        ];
        let infos =
            compose(&episodes, &["info".into()], Timestamp(0), Timestamp(60_000), Vec::new());
        assert_eq!((infos.fired, infos.resolved, infos.mttd, infos.mttr), (1, 0, None, None));
        assert_eq!(infos.open_count, 1);
    }
}
