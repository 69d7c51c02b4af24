//! Text that a job's user may have written, made fit to be a label value.

/// Characters kept of one value; GitHub allows 64 in a runner's name.
const MOST_CHARS: usize = 100;

/// Keeps what names consist of, replaces anything else by `_`, and cuts after 100 characters.
pub(super) fn clean(text: &str) -> String {
    text.trim()
        .chars()
        .take(MOST_CHARS)
        .map(|c| match c.is_alphanumeric() || " ._-:/@+#()".contains(c) {
            true => c,
            false => '_',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_and_tricks_do_not() {
        for (text, want) in [
            ("dell-r640-01-runner.1", "dell-r640-01-runner.1"),
            (" Läufer 3 ", "Läufer 3"),
            ("a\"} 1\nup{x=\"", "a__ 1_up_x__"),
            ("", ""),
        ] {
            assert_eq!(clean(text), want, "{text:?}");
        }
        assert_eq!(clean(&"x".repeat(1000)).len(), MOST_CHARS);
    }
}
