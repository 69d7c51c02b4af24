//! Rule groups: load, evaluate, keep their alerts.

pub mod template;
