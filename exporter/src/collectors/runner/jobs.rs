//! Jobs of one runner, told from the lines of its listener's log. Pure: no IO, no clock.
//!
//! The log is `_diag/Runner_*.log`, lines of the form `[2025-07-23 02:38:05Z INFO Source] text`,
//! unprefixed lines continuing the one before. The listener hands a job to a worker process and
//! says, as source `JobDispatcher`, with the job's id:
//!
//! ```text
//! Job request 0 for plan PLAN job ID received.
//! Start renew job request 0 for job ID.
//! Send job request message to worker for job ID.      <- a job starts
//! finish job request for job ID with result: Failed   <- it ends
//! Stop renew job request for job ID.
//! ```
//!
//! In between, source `Terminal` prints what a person sees: `Running job: NAME` after the first,
//! `Job NAME completed with result: Failed` after the fourth. NAME is whatever the workflow's
//! author wrote, so nothing is concluded from those lines; and as a name might hold line breaks
//! that imitate the dispatcher, lines after them count again only once the dispatcher names the
//! job's id, which the author cannot know beforehand.

use std::collections::VecDeque;

/// Results that are told apart; any other the agent may come to use is `other`.
///
/// `abandoned` is a job that nobody finished: the listener lost its lock on it, or the listener was
/// gone before the worker's end and a later listener started.
pub(super) const RESULTS: [&str; 6] =
    ["succeeded", "failed", "canceled", "skipped", "abandoned", "other"];
const ABANDONED: usize = 4;
const OTHER: usize = 5;

/// Upper bounds of the duration buckets, in seconds: a lint takes seconds, a release build hours.
/// GitHub ends a job on a self-hosted runner after five days.
pub(super) const BUCKETS: [f64; 15] = [
    5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14_400.0, 21_600.0,
    43_200.0, 86_400.0,
];

/// Jobs remembered as started; a listener runs one at a time.
const MOST_OPEN: usize = 8;
/// How much text may follow a name before lines count again in any case: an agent that words its
/// lines otherwise must not silence the rest of the log.
const MOST_DISTRUSTED: usize = 16 * 1024;

/// How long finished jobs took, one result.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Durations {
    pub buckets: [u64; BUCKETS.len()],
    pub count: u64,
    /// Seconds.
    pub sum: f64,
}

/// What the lines so far add up to.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// Finished jobs, in the order of [`RESULTS`].
    pub finished: [u64; RESULTS.len()],
    pub durations: [Durations; RESULTS.len()],
    /// Jobs whose end was logged before their start: counted as 0 s.
    pub clock_went_back: u64,
    /// What the listener said it is, last.
    pub version: Option<String>,
    open: VecDeque<(Id, i64)>,
    received: Option<Id>,
    distrust: Option<Distrust>,
}

/// After a line that quotes a job's name: nothing counts until the dispatcher says `until`.
#[derive(Debug)]
struct Distrust {
    until: (&'static str, Id),
    left: usize,
}

/// A job's id: a GUID.
type Id = u128;

impl Jobs {
    /// Takes in the next line, without its line break.
    pub(super) fn line(&mut self, line: &[u8]) {
        if let Some(distrust) = &mut self.distrust {
            let (said, id) = distrust.until;
            let ends = message(line).is_some_and(|(_, source, text)| {
                source == "JobDispatcher" && names(text, said, id)
            });
            match distrust.left.checked_sub(line.len() + 1) {
                Some(left) if !ends => {
                    distrust.left = left;
                    return;
                }
                _ => self.distrust = None,
            }
        }
        match message(line) {
            Some((at, "JobDispatcher", text)) => self.dispatcher(at, text),
            Some((_, "Terminal", text)) => self.terminal(text),
            Some((_, "Listener", text)) => {
                if let Some(version) = text.strip_prefix("Version: ") {
                    self.version = Some(super::label::clean(version));
                }
            }
            _ => {}
        }
    }

    fn dispatcher(&mut self, at: i64, text: &str) {
        if text.starts_with("Job request ") && text.ends_with(" received.") {
            self.received = text.rsplit_once(" job ").and_then(|(_, id)| leading_id(id));
        } else if let Some(rest) = text.strip_prefix("Send job request message to worker for job ")
        {
            let Some(id) = leading_id(rest) else { return };
            self.open.retain(|(open, _)| *open != id);
            if self.open.len() == MOST_OPEN {
                self.open.pop_front();
                self.finished[ABANDONED] += 1;
            }
            self.open.push_back((id, at));
        } else if let Some(rest) = text.strip_prefix("finish job request for job ") {
            let Some((id, result)) = rest.split_once(" with result: ") else { return };
            let Some(id) = leading_id(id) else { return };
            if let Some(started) = self.close(id) {
                self.observe(result_index(result.trim_end()), at - started);
                self.distrust_until(STOP_RENEW, id);
            }
        } else if let Some(rest) = text.strip_prefix(STOP_RENEW) {
            // Given up without a result, as when the worker did not take the job's message.
            if leading_id(rest).and_then(|id| self.close(id)).is_some() {
                self.finished[ABANDONED] += 1;
            }
        } else if text.starts_with("Set runner/worker IPC timeout to ") {
            // A dispatcher's first words: whatever an earlier one had running is nobody's now.
            self.finished[ABANDONED] += self.open.drain(..).count() as u64;
        }
    }

    fn terminal(&mut self, text: &str) {
        if text.starts_with("WRITE LINE: ")
            && text.contains("Z: Running job: ")
            && let Some(id) = self.received
        {
            self.distrust_until(START_RENEW, id);
        }
    }

    fn distrust_until(&mut self, said: &'static str, id: Id) {
        self.distrust = Some(Distrust { until: (said, id), left: MOST_DISTRUSTED });
    }

    fn close(&mut self, id: Id) -> Option<i64> {
        let at = self.open.iter().position(|(open, _)| *open == id)?;
        self.open.remove(at).map(|(_, started)| started)
    }

    fn observe(&mut self, result: usize, seconds: i64) {
        self.clock_went_back += u64::from(seconds < 0);
        let seconds = seconds.max(0) as f64;
        let durations = &mut self.durations[result];
        if let Some(bucket) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            durations.buckets[bucket] += 1;
        }
        durations.count += 1;
        durations.sum += seconds;
        self.finished[result] += 1;
    }
}

const START_RENEW: &str = "Start renew job request ";
const STOP_RENEW: &str = "Stop renew job request for job ";

/// Whether the dispatcher's `said` is about this job: the id closes both lines.
fn names(text: &str, said: &str, id: Id) -> bool {
    let last = text.trim_end_matches('.').rsplit(' ').next().and_then(leading_id);
    text.starts_with(said) && last == Some(id)
}

fn result_index(text: &str) -> usize {
    let name = match text {
        // The agent's SucceededWithIssues is a success on GitHub.
        "Succeeded" | "SucceededWithIssues" => "succeeded",
        "Failed" => "failed",
        "Canceled" | "Cancelled" => "canceled",
        "Skipped" => "skipped",
        "Abandoned" => "abandoned",
        _ => "other",
    };
    RESULTS.iter().position(|result| *result == name).unwrap_or(OTHER)
}

/// Time in Unix seconds, source and text of a line; `None` for a line that continues another.
fn message(line: &[u8]) -> Option<(i64, &str, &str)> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // Nearly all of a log is of no interest: look at one byte before at all of them.
    if line.first() != Some(&b'[') {
        return None;
    }
    let (head, text) = std::str::from_utf8(line).ok()?.strip_prefix('[')?.split_once("] ")?;
    let (time, rest) = head.split_once("Z ")?;
    // The level takes four characters: `INFO`, `WARN`, `ERR `, `VERB`, `CRIT`.
    let source = rest.split_at_checked(4)?.1.strip_prefix(' ')?;
    Some((unix_seconds(time)?, source, text))
}

/// `2025-07-23 02:38:05`, UTC.
fn unix_seconds(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(' ')?;
    let numbers = |text: &str, separator| {
        let mut parts = text.split(separator).map(|part| part.parse::<u32>().ok().map(i64::from));
        let all = (parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(all)
    };
    let ((year, month, day), (hour, minute, second)) = (numbers(date, '-')?, numbers(time, ':')?);
    let sane = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    // Days since 1970 by counting from March, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469;
    sane.then(|| days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The GUID that a text begins with.
fn leading_id(text: &str) -> Option<Id> {
    let (text, _) = text.split_at_checked(36)?;
    let mut id = 0;
    for (at, c) in text.chars().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if c != '-' {
                return None;
            }
        } else {
            id = id << 4 | Id::from(c.to_digit(16)?);
        }
    }
    Some(id)
}

#[cfg(test)]
mod tests;
