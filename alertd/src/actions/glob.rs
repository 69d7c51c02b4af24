//! Shell-like patterns for runner names: `*` and `?`, ignoring case.

/// Whether all of `text` fits `pattern`.
///
/// Takes time in proportion to the product of the two lengths at worst, whatever the pattern.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().flat_map(char::to_lowercase).collect();
    let text: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not fit here.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    p = after;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

/// Whether the pattern names nothing in particular, such as `*` or `??*`.
pub fn is_unbounded(pattern: &str) -> bool {
    !pattern.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_marks_and_case() {
        for (pattern, text, want) in [
            ("dell-r640-01-*", "Dell-R640-01-7", true),
            ("dell-r640-01-*", "dell-r640-01-", true),
            ("dell-r640-01-*", "dell-r640-010-1", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xxaxxb", true),
            ("*a*b", "xxaxxbc", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("ÄB*", "äbc", true),
            ("[a]", "a", false),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} on {text}");
        }
    }

    #[test]
    fn hostile_pattern_ends() {
        let text = "a".repeat(500);
        assert!(!matches(&format!("{}b", "*a".repeat(60)), &text));
    }

    #[test]
    fn unbounded() {
        for (pattern, want) in [("*", true), ("?*", true), ("", true), ("-*", true), ("a*", false)]
        {
            assert_eq!(is_unbounded(pattern), want, "{pattern}");
        }
    }
}
