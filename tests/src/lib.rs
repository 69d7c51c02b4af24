//! Fakes at Pitcrew's boundaries: what the integration tests and `make demo` put on the other side.
