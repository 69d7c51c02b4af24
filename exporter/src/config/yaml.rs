//! YAML text to a checked struct, with errors that name file, place, expectation and nearest key.

use std::fs::File;
use std::io::Read;
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
    parse(file, &read(file)?)
}

/// The text of a file.
pub fn read(file: &Path) -> Result<String, Invalid> {
    let read = |source| Invalid::Read { file: file.into(), source };
    let mut text = Vec::new();
    // Some files, such as a pipe, do not tell their size beforehand.
    File::open(file).map_err(read)?.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(read)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Invalid::value(file, "size", format!("at most {MAX_BYTES} bytes"), "more"));
    }
    String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("expected UTF-8, found other bytes after the first {at}");
        Invalid::Syntax { file: file.into(), message }
    })
}

/// Parses YAML; `file` is only for the message. An empty text is an empty mapping.
///
/// The message carries line and column but never a piece of the source, which may hold a secret.
pub fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, Invalid> {
    let bare = text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#'));
    let text = if bare { "{}" } else { text };
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let message = with_nearest(without_advice(error.to_string()));
        Invalid::Syntax { file: file.into(), message }
    })
}

/// The name that `found` is probably a misspelling of.
pub fn nearest<'a>(found: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::damerau_levenshtein(found, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3)
        .map(|(_, name)| name)
}

/// Leaves out what the library has to say to a programmer.
fn without_advice(message: String) -> String {
    [
        "; use Option<String>",
        "; use Option<char>",
        ", set DuplicateKeyPolicy in Options if acceptable",
        "; use from_str_multiple or from_str_multiple_with_options",
    ]
    .iter()
    .fold(message, |message, advice| message.replace(advice, ""))
}

/// Adds "did you mean" to serde's message about an unknown field: `found`, expected one of a, b at line …
fn with_nearest(message: String) -> String {
    let known = message.contains("unknown field") || message.contains("unknown variant");
    let after =
        message.split_once('`').filter(|_| known).and_then(|(_, rest)| rest.split_once('`'));
    let Some((found, rest)) = after else { return message };
    let names = rest.split(" at line ").next().unwrap_or("");
    let names = names.split(|c: char| !c.is_alphanumeric() && c != '_');
    let nearest = nearest(found, names.filter(|name| !name.is_empty()));
    match nearest {
        Some(name) => format!("{message} (did you mean `{name}`?)"),
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
    fn advice_is_for_users() {
        for (text, want) in [
            (
                "scrape_interval: 1\nscrape_interval: 2\n",
                "duplicate mapping key: scrape_interval at",
            ),
            (
                "scrape_interval: 1\n---\nscrape_interval: 2\n",
                "multiple YAML documents detected at",
            ),
        ] {
            let message = message(text);
            assert!(message.contains(want), "{message}");
        }
        let text = parse::<Vec<String>>(Path::new("a.yaml"), "- null\n").unwrap_err().to_string();
        assert!(text.contains("null into string at line 1"), "{text}");
    }

    #[test]
    fn a_file_without_end_is_refused_and_other_bytes_are_named() {
        let endless = load::<Sample>(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(endless.contains("expected at most 16777216 bytes"), "{endless}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"a: \xff").unwrap();
        let other = load::<Sample>(file.path()).unwrap_err().to_string();
        assert!(other.contains("expected UTF-8, found other bytes after the first 3"), "{other}");
    }

    #[test]
    fn source_text_stays_out_of_the_message() {
        let message = message("scrape_interval: hunter2\n");
        assert!(!message.contains("hunter2"), "{message}");
        assert!(parse::<Sample>(Path::new("a"), "# nothing\n").is_ok());
    }
}
