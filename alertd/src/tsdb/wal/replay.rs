//! Reading the log back: what is whole counts, what is not is cut off or passed over, and told.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::super::frame::{Frames, Piece};
use super::super::report::{Repair, Report};
use super::{Sink, decode, segments};

/// What was read.
#[derive(Debug, Default)]
pub(in super::super) struct Replayed {
    pub(in super::super) bytes: u64,
    /// The number for the next file.
    pub(in super::super) next: u64,
}

/// Tells `sink` every record of the files from number `from` on, in order.
///
/// # Errors
/// Only when the folder itself cannot be read.
pub(in super::super) fn replay(
    folder: &Path,
    from: u64,
    sink: &mut impl Sink,
    report: &mut Report,
) -> io::Result<Replayed> {
    let mut replayed = Replayed { bytes: 0, next: from };
    for (number, path) in segments(folder)? {
        replayed.next = replayed.next.max(number.saturating_add(1));
        if number < from {
            continue;
        }
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                report.add(Repair::unreadable(&path, &error));
                continue;
            }
        };
        replayed.bytes += bytes.len() as u64;
        for piece in Frames::new(&bytes) {
            match piece {
                Piece::Record(record) => {
                    if decode(record, sink).is_err() {
                        report.add(Repair::damaged(&path, record.len()));
                    }
                }
                Piece::Damaged(length) => report.add(Repair::damaged(&path, length)),
                Piece::Torn(at) => {
                    report.add(Repair::torn(&path, bytes.len() - at));
                    cut(&path, at, report);
                }
            }
        }
    }
    Ok(replayed)
}

/// So that it is not told again at the next start.
fn cut(path: &Path, at: usize, report: &mut Report) {
    let file = File::options().write(true).open(path);
    let done = file.and_then(|file| {
        file.set_len(at as u64)?;
        file.sync_all()
    });
    if let Err(error) = done {
        report.add(Repair::unreadable(path, &error));
    }
}
