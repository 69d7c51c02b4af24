//! Silences: alerts that nobody is told of for a time, because a person said so (pure).

mod index;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::index::Index;
use super::limits::SilenceLimits;
use crate::model::labels::Labels;
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::sample::Timestamp;

/// How long one that ended is still shown.
pub const RETENTION: Duration = Duration::from_secs(120 * 3600);
const MAX_MATCHERS: usize = 100;

/// One condition of a silence, as Alertmanager's API has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    pub name: String,
    pub value: String,
    pub is_regex: bool,
    #[serde(default = "yes")]
    pub is_equal: bool,
}

/// Who wants which alerts silent, from when to when. Never changed, only replaced or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Empty in a wish for a new one.
    pub id: String,
    pub matchers: Vec<Condition>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub updated_at: Timestamp,
    pub created_by: String,
    /// Who had signed in to make or change it, if anybody.
    pub signed_in: Option<String>,
    pub comment: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whether it ends as soon as no alert that it matches fires any longer.
    #[serde(default)]
    pub ends_with_alert: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Active,
    Pending,
    Expired,
}

/// Why a silence is not taken. The words are Alertmanager's where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("silence not found")]
    NotFound,
    #[error("invalid silence: {0}")]
    Invalid(String),
    #[error("exceeded maximum number of silences: {held} (limit: {limit}){kind}")]
    TooMany { held: usize, limit: usize, kind: &'static str },
    #[error("silence exceeded maximum size: {size} bytes (limit: {limit} bytes)")]
    TooLarge { size: usize, limit: u64 },
}

/// What a wish means: silences to write down, the one that was wished for last.
pub type Change = Vec<Silence>;

/// All silences, found by the values that they ask for.
#[derive(Debug, Default)]
pub struct Silences {
    all: HashMap<String, Arc<Silence>>,
    /// Those that have not ended.
    index: Index,
    limits: SilenceLimits,
}

impl Condition {
    pub fn op(&self) -> MatchOp {
        match (self.is_equal, self.is_regex) {
            (true, false) => MatchOp::Equal,
            (false, false) => MatchOp::NotEqual,
            (true, true) => MatchOp::Regex,
            (false, true) => MatchOp::NotRegex,
        }
    }

    pub fn new(matcher: &Matcher) -> Condition {
        Condition {
            name: matcher.name.clone(),
            value: matcher.value.clone(),
            is_regex: matches!(matcher.op, MatchOp::Regex | MatchOp::NotRegex),
            is_equal: matches!(matcher.op, MatchOp::Equal | MatchOp::Regex),
        }
    }

    fn matcher(&self) -> Result<Matcher, String> {
        if self.name.is_empty() {
            return Err(format!("invalid label name {:?}", self.name));
        }
        Matcher::new(self.op(), &*self.name, &*self.value)
            .map_err(|error| format!("invalid regular expression {:?}: {error}", self.value))
    }
}

impl Silence {
    pub fn state(&self, now: Timestamp) -> State {
        match () {
            () if self.ends_at <= now => State::Expired,
            () if now < self.starts_at => State::Pending,
            () => State::Active,
        }
    }

    fn matchers(&self) -> Result<Vec<Matcher>, String> {
        if self.matchers.is_empty() {
            return Err("at least one matcher required".to_owned());
        }
        if self.matchers.len() > MAX_MATCHERS {
            return Err(format!("at most {MAX_MATCHERS} matchers, found {}", self.matchers.len()));
        }
        let compiled = self.matchers.iter().enumerate().map(|(at, condition)| {
            let wrong = |error| format!("invalid label matcher {at}: {error}");
            condition.matcher().map_err(wrong)
        });
        let compiled = compiled.collect::<Result<Vec<_>, String>>()?;
        let says_nothing = |matcher: &Matcher| {
            matches!(matcher.op, MatchOp::Equal | MatchOp::Regex) && matcher.matches("")
        };
        match compiled.iter().all(says_nothing) {
            true => Err("at least one matcher must not match the empty string".to_owned()),
            false => Ok(compiled),
        }
    }

    fn size(&self) -> usize {
        let matchers = self.matchers.iter().map(|m| m.name.len() + m.value.len());
        let notes = self.annotations.iter().map(|(name, value)| name.len() + value.len());
        matchers.chain(notes).sum::<usize>() + self.created_by.len() + self.comment.len()
    }

    fn ended(&self, now: Timestamp) -> Silence {
        Silence {
            starts_at: self.starts_at.min(now),
            ends_at: self.ends_at.min(now),
            updated_at: now,
            ..self.clone()
        }
    }

    /// Whether `wanted` may take this one's place without rewriting what it silenced so far.
    fn can_become(&self, wanted: &Silence, now: Timestamp) -> bool {
        let same_second = self.starts_at.0.div_euclid(1000) == wanted.starts_at.0.div_euclid(1000);
        self.matchers == wanted.matchers
            && match self.state(now) {
                State::Active => same_second && wanted.ends_at >= now,
                State::Pending => wanted.starts_at >= now,
                State::Expired => false,
            }
    }
}

impl Silences {
    /// Those that were written down; ones that cannot be used any longer are left out.
    pub fn restore(silences: impl IntoIterator<Item = Silence>, now: Timestamp) -> Silences {
        let mut restored = Silences::default();
        let kept = |silence: &Silence| now.since(silence.ends_at) < RETENTION;
        for silence in silences.into_iter().filter(kept) {
            restored.apply(vec![silence], now);
        }
        restored
    }

    /// From now on; what is held already stays.
    pub fn limit(&mut self, limits: SilenceLimits) {
        self.limits = limits;
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn get(&self, id: &str) -> Option<&Arc<Silence>> {
        self.all.get(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Silence>> {
        self.all.values()
    }

    /// How many there are in each state.
    pub fn count(&self, now: Timestamp) -> BTreeMap<State, usize> {
        let mut counts = [State::Active, State::Pending, State::Expired].map(|s| (s, 0)).into();
        let add = |counts: &mut BTreeMap<_, usize>, state| *counts.entry(state).or_default() += 1;
        self.all.values().for_each(|silence| add(&mut counts, silence.state(now)));
        counts
    }

    /// What has to be written down so that `wanted` holds: with an id, in place of that one, which
    /// is ended where it cannot be changed; without, or then, as a new one called `new_id`.
    ///
    /// # Errors
    /// When it makes no sense, is too large, or too many are held.
    pub fn set(&self, wanted: Silence, new_id: String, now: Timestamp) -> Result<Change, Refused> {
        let mut wanted = wanted;
        let matchers = wanted.matchers().map_err(Refused::Invalid)?;
        if wanted.ends_at < wanted.starts_at {
            let why = "end time must not be before start time".to_owned();
            return Err(Refused::Invalid(why));
        }
        let (size, limit) = (wanted.size(), self.limits.max_size.0);
        if size as u64 > limit {
            return Err(Refused::TooLarge { size, limit });
        }
        let before = self.all.get(&wanted.id);
        if !wanted.id.is_empty() && before.is_none() {
            return Err(Refused::NotFound);
        }
        wanted.updated_at = now;
        if before.is_some_and(|before| before.can_become(&wanted, now)) {
            return Ok(vec![wanted]);
        }
        let mut change = Vec::new();
        if let Some(before) = before.filter(|before| before.state(now) != State::Expired) {
            change.push(before.ended(now));
        }
        self.room_for(&matchers, change.len())?;
        wanted.id = new_id;
        wanted.starts_at = wanted.starts_at.max(now);
        change.push(wanted);
        Ok(change)
    }

    fn room_for(&self, matchers: &[Matcher], ending: usize) -> Result<(), Refused> {
        let (regex, findable) = (index::takes_regex(matchers), index::is_findable(matchers));
        let bounds = [
            (true, self.all.len(), self.limits.max, ""),
            (
                regex,
                self.index.with_regex() - ending.min(self.index.with_regex()),
                self.limits.max_with_regex,
                " with a regular expression that have not ended",
            ),
            (
                !findable,
                self.index.unindexed() - ending.min(self.index.unindexed()),
                self.limits.max_unindexed,
                " that ask for no certain value of any label",
            ),
        ];
        let over = bounds.into_iter().find(|(holds, held, limit, _)| *holds && held >= limit);
        over.map_or(Ok(()), |(_, held, limit, kind)| Err(Refused::TooMany { held, limit, kind }))
    }

    /// What has to be written down so that it ends now; nothing when it has.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn expire(&self, id: &str, now: Timestamp) -> Result<Change, Refused> {
        let silence = self.all.get(id).ok_or(Refused::NotFound)?;
        Ok(match silence.state(now) {
            State::Expired => Vec::new(),
            State::Active | State::Pending => vec![silence.ended(now)],
        })
    }

    /// After a change was written down.
    pub fn apply(&mut self, change: Change, now: Timestamp) {
        for silence in change {
            self.index.remove(&silence.id);
            let silence = Arc::new(silence);
            if silence.state(now) != State::Expired
                && let Ok(matchers) = silence.matchers()
            {
                self.index.insert(Arc::clone(&silence), matchers);
            }
            self.all.insert(silence.id.clone(), silence);
        }
    }

    /// Those that silence an alert with these labels at `now`, by id.
    pub fn muting(&self, labels: &Labels, now: Timestamp) -> Vec<&str> {
        let mut ids = Vec::new();
        self.index.each(labels, |silence| {
            if silence.state(now) == State::Active {
                ids.push(&*silence.id);
            }
            true
        });
        ids.sort_unstable();
        ids
    }

    pub fn mutes(&self, labels: &Labels, now: Timestamp) -> bool {
        let mut muted = false;
        self.index.each(labels, |silence| {
            muted = silence.state(now) == State::Active;
            !muted
        });
        muted
    }

    /// Those that end now because the alert with these labels did, and no other fires that they
    /// match: `fires` is asked with each one's matchers.
    pub fn ending_with(
        &self,
        labels: &Labels,
        fires: impl Fn(&[Matcher]) -> bool,
        now: Timestamp,
    ) -> Change {
        let mut change = Vec::new();
        self.index.each_with_matchers(labels, |silence, matchers| {
            let active = silence.state(now) == State::Active;
            if silence.ends_with_alert && active && !fires(matchers) {
                change.push(silence.ended(now));
            }
            true
        });
        change
    }

    /// Drops what ended too long ago, and from the index what has ended; returns the ids of the
    /// former.
    pub fn prune(&mut self, now: Timestamp) -> Vec<String> {
        let old = |silence: &Arc<Silence>| now.since(silence.ends_at) >= RETENTION;
        let gone = self.all.values().filter(|silence| old(silence));
        let gone: Vec<String> = gone.map(|silence| silence.id.clone()).collect();
        gone.iter().for_each(|id| drop(self.all.remove(id)));
        self.index.retain(|silence| silence.state(now) != State::Expired);
        gone
    }
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests;
