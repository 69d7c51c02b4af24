//! What the evaluation of an expression yields, and who evaluates where the data are.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::labels::Labels;
use super::querier::StoreError;
use super::sample::{Sample, Series, Timestamp};

/// A value and what the user should be told about how it came to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub value: Value,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Scalar(Sample),
    String(Timestamp, String),
    /// Of an instant query: one sample a series, all at the evaluation's timestamp.
    Vector(Vec<(Labels, Sample)>),
    /// Of a range query, or of a range selector.
    Matrix(Vec<Series>),
}

/// Evaluates whole expressions where the data are, in place of this program's own evaluator.
///
/// Calls block. Each ends in time, and soon after `cancel` is set.
pub trait Engine: Send + Sync {
    /// The value of the expression `text` at one moment.
    fn instant(&self, text: &str, at: Timestamp, cancel: &AtomicBool)
    -> Result<Answer, StoreError>;

    /// Its values at `start`, `start + step`, … up to `end`.
    fn range(
        &self,
        text: &str,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
        cancel: &AtomicBool,
    ) -> Result<Answer, StoreError>;
}
