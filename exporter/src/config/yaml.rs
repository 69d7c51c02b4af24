//! YAML text to a checked struct, with errors that name file, place, expectation and nearest key.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Larger files are refused before they are parsed.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What is wrong with a configuration file, in the user's terms.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    #[error("cannot read {file}")]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{file}: {message}")]
    Syntax { file: PathBuf, message: String },
    #[error("{file}: {key}: expected {expected}, found {found}")]
    Value { file: PathBuf, key: String, expected: String, found: String },
}

impl Invalid {
    /// A value that has the right type and still cannot be.
    pub fn value(
        file: &Path,
        key: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Invalid {
        Invalid::Value {
            file: file.into(),
            key: key.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// Reads and parses a file; see [`parse`].
pub fn load<T: DeserializeOwned>(file: &Path) -> Result<T, Invalid> {
    let read = |source| Invalid::Read { file: file.into(), source };
    let size = fs::metadata(file).map_err(read)?.len();
    if size > MAX_BYTES {
        let found = format!("{size} bytes");
        return Err(Invalid::value(file, "size", format!("at most {MAX_BYTES} bytes"), found));
    }
    parse(file, &fs::read_to_string(file).map_err(read)?)
}

/// Parses YAML; `file` is only for the message. An empty text is an empty mapping.
///
/// The message carries line and column but never a piece of the source, which may hold a secret.
pub fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, Invalid> {
    let bare = text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#'));
    let text = if bare { "{}" } else { text };
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let message = with_nearest(error.to_string());
        Invalid::Syntax { file: file.into(), message }
    })
}

/// Adds "did you mean" to serde's message about an unknown field: `found`, expected one of a, b at line …
fn with_nearest(message: String) -> String {
    let known = message.contains("unknown field") || message.contains("unknown variant");
    let after =
        message.split_once('`').filter(|_| known).and_then(|(_, rest)| rest.split_once('`'));
    let Some((found, rest)) = after else { return message };
    let names = rest.split(" at line ").next().unwrap_or("");
    let nearest = names
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|name| !name.is_empty())
        .map(|name| (strsim::damerau_levenshtein(found, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3);
    match nearest {
        Some((_, name)) => format!("{message} (did you mean `{name}`?)"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only its name matters")]
        scrape_interval: Option<u32>,
    }

    fn message(text: &str) -> String {
        parse::<Sample>(Path::new("a.yaml"), text).unwrap_err().to_string()
    }

    #[test]
    fn unknown_key_names_place_and_nearest() {
        let message = message("scrape_intervall: 5\n");
        assert!(message.starts_with("a.yaml: "), "{message}");
        assert!(message.contains("line 1") && message.contains("scrape_intervall"), "{message}");
        assert!(message.contains("did you mean `scrape_interval`"), "{message}");
    }

    #[test]
    fn source_text_stays_out_of_the_message() {
        let message = message("scrape_interval: hunter2\n");
        assert!(!message.contains("hunter2"), "{message}");
        assert!(parse::<Sample>(Path::new("a"), "# nothing\n").is_ok());
    }
}
