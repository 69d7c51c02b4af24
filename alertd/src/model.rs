//! Leaf types that every layer shares. Nothing here does IO or knows a clock.

pub mod alert;
pub mod causes;
pub mod engine;
pub mod float;
pub mod labels;
pub mod matcher;
pub mod metadata;
pub mod pattern;
pub mod querier;
pub mod sample;
