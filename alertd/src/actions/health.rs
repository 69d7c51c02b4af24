//! Is it dead? From what the exporter says, what GitHub shows and which alerts fire. Pure.

use serde::Serialize;

use super::config::Share;

/// What the host's own exporter says about a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// The exporter answers and the runner's listener is up.
    Up,
    /// The exporter answers and the runner's listener is not up.
    Down,
    /// The exporter answers and says nothing of this runner.
    Nothing,
    /// The exporter does not answer.
    Silent,
}

/// What GitHub's list shows of a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGithub {
    Online,
    /// Online and at work on a job.
    Busy,
    Offline,
    /// The list could not be read.
    Unknown,
}

/// How one runner is, all told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Healthy,
    /// Its host says it is up, GitHub does not see it: it takes no job.
    Unseen,
    /// Its exporter is silent, GitHub shows it at work: the network is cut, not the runner.
    Blind,
    /// Nobody can say.
    Unknown,
    Down,
}

/// How a member is, all told, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Healthy,
    Degraded,
    /// It may be dead, and only a person may say so: exporter and GitHub are both out of sight.
    NeedsPerson,
    Down,
}

/// One runner; `alerted` when a firing alert that may move the label is about it.
pub fn runner(word: Word, github: OnGithub, alerted: bool) -> Health {
    match (word, github) {
        (Word::Silent, OnGithub::Online | OnGithub::Busy) => Health::Blind,
        (Word::Silent, OnGithub::Offline) => Health::Down,
        (Word::Silent, OnGithub::Unknown) => Health::Unknown,
        (Word::Down, _) => Health::Down,
        (Word::Up | Word::Nothing, _) if alerted => Health::Down,
        (Word::Up, OnGithub::Offline) => Health::Unseen,
        (Word::Nothing, OnGithub::Offline) => Health::Down,
        (Word::Nothing, OnGithub::Unknown) => Health::Unknown,
        (Word::Up | Word::Nothing, _) => Health::Healthy,
    }
}

/// All runners of one member. `alerted` when an alert that may move the label fires for it.
///
/// Without any runner there is nothing to go by but the alert, and `listed`: whether GitHub's list
/// could be read.
pub fn member(runners: &[Health], below: Share, alerted: bool, listed: bool) -> Verdict {
    let count = |what: Health| runners.iter().filter(|health| **health == what).count();
    let total = runners.len();
    if total == 0 {
        return match (alerted, listed) {
            (true, true) => Verdict::Down,
            (true, false) => Verdict::NeedsPerson,
            (false, _) => Verdict::Degraded,
        };
    }
    let (down, unknown) = (count(Health::Down), count(Health::Unknown));
    let under = |left: usize| (left as f64) < below.0 * total as f64;
    match () {
        () if under(total - down) => Verdict::Down,
        () if under(total - down - unknown) => Verdict::NeedsPerson,
        () if count(Health::Healthy) < total || alerted => Verdict::Degraded,
        () => Verdict::Healthy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_runner() {
        use OnGithub::{Busy, Offline, Online, Unknown};
        for (word, github, alerted, want) in [
            (Word::Up, Online, false, Health::Healthy),
            (Word::Up, Busy, false, Health::Healthy),
            (Word::Up, Unknown, false, Health::Healthy),
            (Word::Up, Offline, false, Health::Unseen),
            (Word::Up, Online, true, Health::Down),
            // The exporter is alive and says so: at once, whatever GitHub still shows.
            (Word::Down, Online, true, Health::Down),
            (Word::Down, Busy, false, Health::Down),
            (Word::Down, Unknown, false, Health::Down),
            (Word::Nothing, Online, false, Health::Healthy),
            (Word::Nothing, Online, true, Health::Down),
            (Word::Nothing, Offline, false, Health::Down),
            (Word::Nothing, Unknown, false, Health::Unknown),
            // A cut between monitoring and a healthy host moves nothing.
            (Word::Silent, Online, true, Health::Blind),
            (Word::Silent, Busy, true, Health::Blind),
            (Word::Silent, Offline, true, Health::Down),
            (Word::Silent, Offline, false, Health::Down),
            (Word::Silent, Unknown, true, Health::Unknown),
        ] {
            assert_eq!(runner(word, github, alerted), want, "{word:?} {github:?} {alerted}");
        }
    }

    #[test]
    fn one_member() {
        use Health::{Blind, Down, Healthy, Unknown, Unseen};
        for (runners, below, alerted, want) in [
            (&[Healthy, Healthy][..], 0.5, false, Verdict::Healthy),
            (&[Healthy, Healthy], 0.5, true, Verdict::Degraded),
            (&[Healthy, Down], 0.5, true, Verdict::Degraded),
            (&[Healthy, Down, Down], 0.5, true, Verdict::Down),
            (&[Healthy, Down], 1.0, false, Verdict::Down),
            (&[Blind, Blind], 0.5, true, Verdict::Degraded),
            (&[Blind, Down, Down, Down], 0.5, true, Verdict::Down),
            (&[Unseen, Healthy], 0.5, false, Verdict::Degraded),
            (&[Unknown, Unknown], 0.5, true, Verdict::NeedsPerson),
            (&[Unknown, Unknown, Healthy], 0.5, true, Verdict::NeedsPerson),
            (&[Unknown, Down, Down], 0.5, true, Verdict::Down),
            (&[Unknown, Healthy, Healthy], 0.5, false, Verdict::Degraded),
            (&[], 0.5, true, Verdict::Down),
            (&[], 0.5, false, Verdict::Degraded),
        ] {
            let got = member(runners, Share(below), alerted, true);
            assert_eq!(got, want, "{runners:?} {below}");
        }
        assert_eq!(member(&[], Share(0.5), true, false), Verdict::NeedsPerson);
    }
}
