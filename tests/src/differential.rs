//! Random series and random queries, to ask two engines the same and compare what they say.

pub mod query;
pub mod series;

/// Evaluation times are half a second past a whole one and samples never are, and every range,
/// step and offset is whole: no sample lies at the edge of a window.
pub const PHASE: i64 = 500;
