//! Redis' own patterns for keys: `*`, `?`, `[abc]`, `[^a-z]` and `\` (pure).

/// Whether the text is a pattern and not a plain name.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// Whether all of `text` fits `pattern`, as Redis' `MATCH` decides it. Quadratic at worst.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let pattern: Vec<Piece> = pieces(pattern);
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not fit here.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match (pattern.get(p), retry) {
            (Some(Piece::Star), _) => {
                retry = Some((p + 1, t));
                p += 1;
            }
            (Some(piece), _) if piece.fits(text[t]) => {
                p += 1;
                t += 1;
            }
            (_, Some((after, from))) => {
                retry = Some((after, from + 1));
                p = after;
                t = from + 1;
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(p).all(|piece| matches!(piece, Piece::Star))
}

enum Piece {
    Star,
    Any,
    One(char),
    /// Ranges, and whether what is in none of them fits.
    Set(Vec<(char, char)>, bool),
}

impl Piece {
    fn fits(&self, c: char) -> bool {
        match self {
            Piece::Star | Piece::Any => true,
            Piece::One(one) => *one == c,
            Piece::Set(ranges, not) => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *not
            }
        }
    }
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        found.push(match c {
            '*' => Piece::Star,
            '?' => Piece::Any,
            '\\' => Piece::One(chars.next().unwrap_or('\\')),
            '[' => {
                let not = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while let Some(from) = chars.next().filter(|c| *c != ']') {
                    let from = if from == '\\' { chars.next().unwrap_or('\\') } else { from };
                    let to = match chars.next_if_eq(&'-') {
                        Some(_) => chars.next().unwrap_or('-'),
                        None => from,
                    };
                    ranges.push((from.min(to), from.max(to)));
                }
                Piece::Set(ranges, not)
            }
            other => Piece::One(other),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_redis_decides() {
        for (pattern, text, want) in [
            ("jobs:*", "jobs:build", true),
            ("jobs:*", "jobs", false),
            ("*:dead", "jobs:a:dead", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            (r"a[\]]", "a]", true),
            ("a[b", "ab", true),
            ("", "", true),
        ] {
            assert_eq!(fits(pattern, text), want, "{pattern} on {text}");
        }
        assert!(!fits(&format!("{}b", "*a".repeat(60)), &"a".repeat(500)), "hostile, and ends");
        assert!(is_pattern("a[b]") && !is_pattern("jobs:a"));
    }
}
