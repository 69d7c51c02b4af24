//! The integration tests, one journey a module, in one binary.

mod licences;
mod tidy;
