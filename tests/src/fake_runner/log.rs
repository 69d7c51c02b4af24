//! The agent's log files, line by line as the agent writes them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use pitcrew_exporter::clock;

/// One process' log in `_diag`.
#[derive(Debug)]
pub struct AgentLog(File);

impl AgentLog {
    /// Creates `_diag/KIND_<time>-utc.log`, or goes on in it if it was made in the same second.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn create(folder: &Path, kind: &str) -> io::Result<AgentLog> {
        let (date, time) = utc(now());
        let compact = |text: &str, separator| text.replace(separator, "");
        let name = format!("{kind}_{}-{}-utc.log", compact(&date, "-"), compact(&time, ":"));
        let path = folder.join("_diag").join(name);
        Ok(AgentLog(OpenOptions::new().create(true).append(true).open(path)?))
    }

    /// `[2025-07-23 02:38:05Z INFO Source] text`
    pub fn info(&mut self, source: &str, text: &str) {
        self.line("INFO", source, text);
    }

    /// The level takes four characters.
    pub fn error(&mut self, source: &str, text: &str) {
        self.line("ERR ", source, text);
    }

    /// What the agent also prints for people to see; the time stands twice.
    pub fn terminal(&mut self, text: &str) {
        let (date, time) = utc(now());
        self.info("Terminal", &format!("WRITE LINE: {date} {time}Z: {text}"));
    }

    fn line(&mut self, level: &str, source: &str, text: &str) {
        let (date, time) = utc(now());
        let line = format!("[{date} {time}Z {level} {source}] {text}\n");
        self.0.write_all(line.as_bytes()).expect("a test's disk has room");
    }
}

fn now() -> u64 {
    clock::unix_seconds() as u64
}

/// Date and time of day, such as `2025-07-23` and `02:38:05`.
pub fn utc(unix_seconds: u64) -> (String, String) {
    let (mut days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let date = format!("{year:04}-{month:02}-{:02}", days + 1);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    (date, format!("{hour:02}:{minute:02}:{second:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        for (seconds, want) in [
            (0, "1970-01-01 00:00:00"),
            (951_825_601, "2000-02-29 12:00:01"),
            (1_735_689_599, "2024-12-31 23:59:59"),
            (1_753_238_285, "2025-07-23 02:38:05"),
        ] {
            let (date, time) = utc(seconds);
            assert_eq!(format!("{date} {time}"), want);
        }
    }
}
