//! Reads on in `_diag/Runner_*.log` from where the last scrape stopped, in bounded steps.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::beneath::Folder;
use super::jobs::Jobs;

/// Of logs that were never read, or that grew faster than they are read, only the newest bytes
/// count; the rest is skipped and counted as such. The agent keeps 30 days of 8 MiB files.
const WINDOW: u64 = 32 * 1024 * 1024;
/// A longer line is passed over.
const MOST_LINE: usize = 64 * 1024;
/// Log files kept track of, newest first.
const MOST_FILES: usize = 256;
/// Names read of `_diag`, which also holds a worker's log for every job.
const MOST_NAMES: usize = 65_536;
/// Files looked at in every scrape; older ones only when one appears or disappears. More than one,
/// as `config.sh` and `run.sh --version` start files of their own beside the listener's.
const ACTIVE: usize = 4;

/// How far each of one runner's log files has been read.
#[derive(Debug, Default)]
pub(super) struct Diag {
    /// By name, which begins with the time of creation.
    files: BTreeMap<OsString, Position>,
    /// Modification time of the folder when it was listed.
    listed: Option<(i64, i64)>,
    /// Everything that was there at first has been read: the counts are whole.
    pub caught_up: bool,
    /// The last read ended before the end of every file.
    behind: bool,
    /// Bytes never read, see [`WINDOW`].
    pub skipped_bytes: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Position {
    inode: u64,
    offset: u64,
    /// The bytes before `offset` end within a line: pass over its rest.
    within_line: bool,
}

impl Diag {
    /// Feeds new lines to `jobs`, reading at most `budget` bytes, which it lowers by what it read.
    pub(super) fn read(
        &mut self,
        folder: &Folder,
        jobs: &mut Jobs,
        budget: &mut u64,
        now: i64,
    ) -> io::Result<()> {
        let stat = rustix::fs::fstat(folder)?;
        let modified = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0));
        let relist = self.listed != Some(modified);
        if relist {
            self.list(folder)?;
            // A file made within the clock's resolution after the listing would stay unseen, so
            // only a listing of a folder at rest is taken for good.
            self.listed = Some(modified).filter(|(seconds, _)| now > seconds + 1);
        }
        let from = if relist || self.behind { 0 } else { self.files.len().saturating_sub(ACTIVE) };
        self.behind = false;
        let (mut opened, mut denied) = (false, false);
        for (name, position) in self.files.iter_mut().skip(from) {
            // Gone since the listing: the next listing will tell.
            let Ok(stat) = folder.stat(name) else { continue };
            if stat.st_ino != position.inode {
                *position = Position { inode: stat.st_ino, ..Position::default() };
            }
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            if size == position.offset {
                continue;
            }
            let file = match folder.file(Path::new(name)) {
                Ok(file) => file,
                Err(error) => {
                    denied |= error.kind() == io::ErrorKind::PermissionDenied;
                    continue;
                }
            };
            opened = true;
            self.skipped_bytes += skip(position, file.metadata()?.size());
            self.behind |= !read_on(&file, position, jobs, budget)?;
        }
        // Logs of which we may read none tell of no jobs, which is not the same as none.
        self.caught_up |= !self.behind && (opened || !denied);
        Ok(())
    }

    fn list(&mut self, folder: &Folder) -> io::Result<()> {
        let mut names = folder.names(MOST_NAMES)?;
        names.retain(|name| is_listener_log(name.as_encoded_bytes()));
        names.sort();
        let names = names.split_off(names.len().saturating_sub(MOST_FILES));
        let mut files = BTreeMap::new();
        let mut left = WINDOW;
        for name in names.into_iter().rev() {
            let Ok(stat) = folder.stat(&name) else { continue };
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            let known = self.files.get(&name).filter(|known| known.inode == stat.st_ino);
            let position = known.copied().unwrap_or_else(|| {
                // A file that is new to us counts as far as the window, shared by all, reaches.
                let offset = size.saturating_sub(left);
                self.skipped_bytes += offset;
                Position { inode: stat.st_ino, offset, within_line: offset > 0 }
            });
            left = left.saturating_sub(size.saturating_sub(position.offset));
            files.insert(name, position);
        }
        self.files = files;
        Ok(())
    }
}

/// `Runner_20250723-023209-utc.log`.
fn is_listener_log(name: &[u8]) -> bool {
    let time = name.strip_prefix(b"Runner_").and_then(|rest| rest.strip_suffix(b"-utc.log"));
    time.is_some_and(|time| {
        time.len() == 15
            && time.iter().enumerate().all(|(at, byte)| match at {
                8 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            })
    })
}

/// Starts over in a file that shrank; jumps ahead in one that grew beyond the window. Returns the
/// bytes jumped over.
fn skip(position: &mut Position, size: u64) -> u64 {
    if size < position.offset {
        *position = Position { inode: position.inode, ..Position::default() };
    }
    let target = size.saturating_sub(WINDOW);
    let skipped = target.saturating_sub(position.offset);
    if skipped > 0 {
        position.offset = target;
        position.within_line = true;
    }
    skipped
}

/// Reads whole lines until the end of the file; false when the budget ended first.
///
/// The offset always stands after a line break, or within a line too long to be kept, so a line
/// that is half written is read again when the rest of it is there.
fn read_on(
    file: &File,
    position: &mut Position,
    jobs: &mut Jobs,
    budget: &mut u64,
) -> io::Result<bool> {
    let mut buffer = vec![0; MOST_LINE];
    loop {
        if *budget == 0 {
            return Ok(false);
        }
        let read = file.read_at(&mut buffer, position.offset)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        *budget = budget.saturating_sub(read as u64);
        let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            if read == MOST_LINE || position.within_line {
                position.within_line = true;
                position.offset += read as u64;
            }
            if read < MOST_LINE {
                return Ok(true);
            }
            continue;
        };
        let (whole, _) = bytes.split_at(last);
        for line in whole.split(|byte| *byte == b'\n') {
            if !std::mem::take(&mut position.within_line) {
                jobs.line(line);
            }
        }
        position.offset += last as u64 + 1;
    }
}

#[cfg(test)]
mod tests;
