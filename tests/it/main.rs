//! The integration tests, one journey a module, in one binary.
