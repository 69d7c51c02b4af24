//! Shell-like patterns for runner names: `*` and `?`, ignoring case.

use pitcrew_exporter::config::glob;

/// Whether all of `text` fits `pattern`.
pub fn matches(pattern: &str, text: &str) -> bool {
    glob::matches(&pattern.to_lowercase(), &text.to_lowercase())
}

/// Whether the pattern names nothing in particular, such as `*` or `??*`.
pub fn is_unbounded(pattern: &str) -> bool {
    !pattern.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_ignored() {
        for (pattern, text, want) in [
            ("dell-r640-01-*", "Dell-R640-01-7", true),
            ("dell-r640-01-*", "dell-r640-01-", true),
            ("dell-r640-01-*", "dell-r640-010-1", false),
            ("ÄB*", "äbc", true),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} on {text}");
        }
    }

    #[test]
    fn unbounded() {
        for (pattern, want) in [("*", true), ("?*", true), ("", true), ("-*", true), ("a*", false)]
        {
            assert_eq!(is_unbounded(pattern), want, "{pattern}");
        }
    }
}
