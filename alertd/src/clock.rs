//! The one reader of the wall clock in this crate; everything else takes `now` as an argument.

use pitcrew_exporter::clock;

use crate::model::sample::Timestamp;

pub fn now() -> Timestamp {
    Timestamp::from_seconds(clock::unix_seconds())
}
