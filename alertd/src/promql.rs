//! PromQL: parse, check, evaluate. Pure: no IO, no clock, no tokio.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::model::labels::Labels;
use crate::model::sample::{Sample, Series, Timestamp};

/// What one evaluation may use.
#[derive(Debug, Clone)]
pub struct Options {
    /// How far back an instant selector looks for a sample.
    pub lookback: Duration,
    /// Samples that one query may load or produce before it fails.
    pub max_samples: usize,
    /// Set from outside to stop the evaluation (time-out, client gone).
    pub cancel: Arc<AtomicBool>,
}

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

impl Default for Options {
    fn default() -> Options {
        Options {
            lookback: Duration::from_secs(300),
            max_samples: 50_000_000,
            cancel: Arc::default(),
        }
    }
}
