//! `Page`: walks the lines of an exposition and hands out samples and metadata.

use memchr::{memchr, memchr_iter, memchr3};

use super::number;
use super::series::{name_length, quoted_length};
use super::{Entry, Format, Line, Malformed};
use crate::model::metadata::Kind;

/// Most bytes of one sample's line. A label value is kept for as long as its series: it must not be
/// as large as a page may be.
const MAX_LINE: usize = 64 * 1024;

/// The entries of one page, in order; after the first error there are no more.
pub struct Page<'a> {
    rest: &'a str,
    format: Format,
    line: usize,
    ended: bool,
}

impl<'a> Page<'a> {
    pub fn new(text: &'a str, format: Format) -> Page<'a> {
        Page { rest: text, format, line: 1, ended: false }
    }

    /// The next entry, where the next sample's series is likely to stand on the page as `hint`:
    /// then it need not be searched for its end. Any hint gives the same entries.
    pub fn next_after(&mut self, hint: &str) -> Option<Result<Entry<'a>, Malformed>> {
        if self.ended {
            return None;
        }
        let next = match self.format {
            Format::Text004 => self.text004(hint),
            Format::OpenMetrics100 => self.open_metrics(hint),
        };
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }

    fn text004(&mut self, hint: &str) -> Result<Option<Entry<'a>>, Malformed> {
        loop {
            self.blanks();
            if self.rest.is_empty() {
                return Ok(None);
            }
            if self.take("\n") {
                self.line += 1;
                continue;
            }
            if !self.rest.starts_with('#') {
                return self.sample(hint).map(Some);
            }
            let comment = self.rest_of_line();
            let words = comment.strip_prefix('#').unwrap_or(comment);
            let trimmed = words.trim_start_matches([' ', '\t']);
            if trimmed.len() == words.len() {
                continue;
            }
            if let Some(entry) = self.metadata(trimmed, &["HELP", "TYPE"])? {
                self.line += 1;
                return Ok(Some(entry));
            }
            self.line += usize::from(self.take("\n"));
        }
    }

    fn open_metrics(&mut self, hint: &str) -> Result<Option<Entry<'a>>, Malformed> {
        if self.rest.is_empty() {
            return Err(self.expected("# EOF"));
        }
        if !self.rest.starts_with('#') {
            return self.sample(hint).map(Some);
        }
        let comment = self.rest_of_line();
        if comment == "# EOF" {
            self.take("\n");
            self.line += 1;
            return match self.rest.is_empty() {
                true => Ok(None),
                false => Err(self.expected("nothing after # EOF")),
            };
        }
        let words = comment.strip_prefix("# ").unwrap_or("");
        match self.metadata(words, &["HELP", "TYPE", "UNIT"])? {
            Some(entry) => {
                self.line += 1;
                Ok(Some(entry))
            }
            None => Err(Malformed::at(self.line, "# HELP, # TYPE, # UNIT or # EOF", comment)),
        }
    }

    /// Takes the rest of the line, without its end.
    fn rest_of_line(&mut self) -> &'a str {
        let (line, rest) =
            self.rest.split_at(memchr(b'\n', self.rest.as_bytes()).unwrap_or(self.rest.len()));
        self.rest = rest;
        line
    }

    /// `None` when the comment starts with none of `words`; otherwise takes the line's end too.
    fn metadata(
        &mut self,
        comment: &'a str,
        words: &[&str],
    ) -> Result<Option<Entry<'a>>, Malformed> {
        let blank = |c: char| c == ' ' || (c == '\t' && self.format == Format::Text004);
        let Some((word, rest)) = comment.split_once(blank).filter(|(word, _)| words.contains(word))
        else {
            return Ok(None);
        };
        let rest = match self.format {
            Format::Text004 => rest.trim_start_matches(blank),
            Format::OpenMetrics100 => rest,
        };
        let wrong = |expected, rest: &str| Malformed::at(self.line, expected, rest);
        let (name, text) = match rest.strip_prefix('"') {
            Some(inside) => {
                let end = quoted_length(inside)
                    .ok_or_else(|| wrong("a metric name that ends with a quote", rest))?;
                let (name, after) = inside.split_at(end);
                (name, after.strip_prefix('"').unwrap_or(after))
            }
            None => rest.split_at(name_length(rest, true)),
        };
        if name.is_empty() {
            return Err(wrong("a metric name", rest));
        }
        let text = match text.strip_prefix(blank) {
            Some(text) => text,
            None if text.is_empty() => "",
            None => return Err(wrong("a space after the metric name", text)),
        };
        let entry = match word {
            "HELP" => Entry::Help(name, text),
            "UNIT" if !text.is_empty() && !name.ends_with(&format!("_{text}")) => {
                return Err(wrong("a unit that ends the metric's name", text));
            }
            "UNIT" => Entry::Unit(name, text),
            _ => match kind(text.trim_matches(blank), self.format) {
                Some(kind) => Entry::Type(name, kind),
                None => return Err(wrong("a metric type", text)),
            },
        };
        self.take("\n");
        Ok(Some(entry))
    }

    fn sample(&mut self, hint: &str) -> Result<Entry<'a>, Malformed> {
        let (start, number) = (self.rest, self.line);
        let series = self.series(hint)?;
        self.gap("a space before the value")?;
        let value = self.word();
        let value =
            number::value(value).ok_or_else(|| Malformed::at(self.line, "a number", value))?;
        self.blanks();
        let mut timestamp = None;
        if !self.at_end() && !self.rest.starts_with(" # {") {
            self.gap("a timestamp or the end of the line")?;
            let word = self.word();
            let (read, expected) = match self.format {
                Format::Text004 => (number::milliseconds(word), "a timestamp in milliseconds"),
                Format::OpenMetrics100 => (number::seconds(word), "a timestamp in seconds"),
            };
            timestamp = Some(read.ok_or_else(|| Malformed::at(self.line, expected, word))?);
            self.blanks();
        }
        if self.format == Format::OpenMetrics100 && self.rest.starts_with(" # {") {
            self.exemplar()?;
        }
        if start.len() - self.rest.len() > MAX_LINE {
            return Err(Malformed::at(number, "a line of at most 65536 bytes", start));
        }
        let last = self.rest.is_empty() && self.format == Format::Text004;
        if !last && !self.take("\n") {
            return Err(self.expected("the end of the line"));
        }
        self.line += 1;
        Ok(Entry::Sample(Line { series, value, timestamp, number }))
    }

    /// Takes a metric name and what stands in braces; only the extent is checked here.
    fn series(&mut self, hint: &str) -> Result<&'a str, Malformed> {
        let start = self.rest;
        let known = start.strip_prefix(hint).is_some_and(|rest| is_whole(hint, rest));
        let length = if known { hint.len() } else { self.extent()? };
        let (series, rest) = start.split_at(length);
        self.rest = rest;
        self.line += memchr_iter(b'\n', series.as_bytes()).count();
        Ok(series)
    }

    /// Bytes of the series that the rest starts with.
    fn extent(&self) -> Result<usize, Malformed> {
        let start = self.rest;
        let name = name_length(start, true);
        // A name that needs quotes stands inside the braces.
        if name == 0 && !start.starts_with('{') {
            return Err(self.expected("a metric name"));
        }
        let (_, mut rest) = start.split_at(name);
        if self.format == Format::Text004 {
            rest = rest.trim_start_matches([' ', '\t']);
        }
        Ok(match rest.strip_prefix('{') {
            None => name,
            Some(inside) => start.len() - inside.len() + self.braces(inside)?,
        })
    }

    /// Bytes up to and with the closing brace.
    fn braces(&self, inside: &str) -> Result<usize, Malformed> {
        let mut rest = inside;
        while let Some(at) = memchr3(b'}', b'"', b'\n', rest.as_bytes()) {
            let (_, found) = rest.split_at(at);
            if found.starts_with('}') {
                return Ok(inside.len() - found.len() + 1);
            }
            let Some(value) = found.strip_prefix('"') else { break };
            let Some(end) = quoted_length(value) else {
                return Err(Malformed::at(
                    self.line,
                    "a label value that ends with a quote",
                    found,
                ));
            };
            rest = value.split_at(end + 1).1;
        }
        Err(Malformed::at(self.line, "} after the labels", inside))
    }

    /// ` # {labels} value [timestamp]`: checked in outline and skipped.
    fn exemplar(&mut self) -> Result<(), Malformed> {
        let inside = self.rest.strip_prefix(" # {").unwrap_or("");
        let length = self.braces(inside)?;
        self.rest = inside.split_at(length).1;
        let mut words = self.rest_of_line().split(' ').skip(1);
        let (value, timestamp) = (words.next(), words.next());
        let value = value.unwrap_or("");
        let numbers = number::value(value).is_some()
            && timestamp.is_none_or(|text| number::seconds(text).is_some());
        match numbers && words.next().is_none() {
            true => Ok(()),
            false => Err(Malformed::at(self.line, "an exemplar's value and timestamp", value)),
        }
    }

    fn blanks(&mut self) {
        if self.format == Format::Text004 {
            self.rest = self.rest.trim_start_matches([' ', '\t']);
        }
    }

    /// Takes what separates two parts of a line: exactly one space in OpenMetrics.
    fn gap(&mut self, expected: &'static str) -> Result<(), Malformed> {
        match self.format {
            // A value may follow the closing brace at once.
            Format::Text004 => self.blanks(),
            Format::OpenMetrics100 => {
                if !self.take(" ") {
                    return Err(self.expected(expected));
                }
            }
        }
        Ok(())
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.bytes().position(|byte| matches!(byte, b' ' | b'\t' | b'\n'));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn at_end(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with('\n')
    }

    fn take(&mut self, text: &str) -> bool {
        let after = self.rest.strip_prefix(text);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn expected(&self, expected: &'static str) -> Malformed {
        Malformed::at(self.line, expected, self.rest)
    }
}

impl<'a> Iterator for Page<'a> {
    type Item = Result<Entry<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_after("")
    }
}

/// Whether `hint`, found before `rest`, is all of a series.
fn is_whole(hint: &str, rest: &str) -> bool {
    let mut after = rest.bytes();
    match hint.bytes().last() {
        None => false,
        Some(b'}') => true,
        // Only one blank: after more of them there may be braces.
        Some(_) => after.next() == Some(b' ') && !matches!(after.next(), Some(b' ' | b'\t' | b'{')),
    }
}

fn kind(text: &str, format: Format) -> Option<Kind> {
    Some(match (text, format) {
        ("counter", _) => Kind::Counter,
        ("gauge", _) => Kind::Gauge,
        ("histogram", _) => Kind::Histogram,
        ("summary", _) => Kind::Summary,
        ("untyped", Format::Text004) => Kind::Unknown,
        ("unknown", Format::OpenMetrics100) => Kind::Unknown,
        ("gaugehistogram", Format::OpenMetrics100) => Kind::GaugeHistogram,
        ("info", Format::OpenMetrics100) => Kind::Info,
        ("stateset", Format::OpenMetrics100) => Kind::StateSet,
        _ => return None,
    })
}
