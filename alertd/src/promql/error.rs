//! `PromqlError`: why a query was refused or could not be finished.

use crate::model::querier::StoreError;

#[derive(Debug, Clone, thiserror::Error)]
pub enum PromqlError {
    /// The text is not PromQL; line and column count from 1.
    #[error("{line}:{column}: parse error: {message}")]
    Parse { line: usize, column: usize, message: String },
    /// The text is PromQL that this evaluator does not do; line and column count from 1.
    #[error("{line}:{column}: not supported: {message}")]
    Unsupported { line: usize, column: usize, message: String },
    /// The data do not allow the operation (ambiguous matches, duplicate label sets, bad arguments).
    #[error("{0}")]
    Execution(String),
    #[error(
        "query processing would load too many samples into memory in query execution \
         (limit: {limit})"
    )]
    TooManySamples { limit: usize },
    #[error("query was cancelled")]
    Cancelled,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An execution error with a formatted message.
macro_rules! failed {
    ($($message:tt)*) => { $crate::promql::error::PromqlError::Execution(format!($($message)*)) };
}
pub(super) use failed;
