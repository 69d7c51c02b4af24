//! What running a template yields: text of bounded length, or the cause why there is none.

use std::fmt::{self, Write};

use gotmpl::TemplateError;

/// Takes text up to so many bytes.
pub(crate) struct Bounded {
    pub(crate) text: String,
    most: usize,
}

impl Bounded {
    pub(crate) fn new(most: usize) -> Bounded {
        Bounded { text: String::new(), most }
    }

    /// The cause without the crate's own preamble.
    pub(crate) fn cause(&self, error: TemplateError) -> String {
        match error {
            TemplateError::Write => format!("output is longer than {} bytes", self.most),
            other => cause(other),
        }
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len() + text.len() > self.most {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

/// The cause without the crate's own preamble, where nothing is written.
pub(crate) fn cause(error: TemplateError) -> String {
    match error {
        TemplateError::Exec(message) => message,
        other => other.to_string(),
    }
}
