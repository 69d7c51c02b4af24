//! Floats as text, digit for digit as Go writes them.

/// The fewest decimal digits that read back as `value`, without an exponent. Of two such numbers
/// equally near, the one whose last digit is even; the standard library takes the larger.
pub fn shortest(value: f64) -> String {
    /// Fewer digits than this hold any value that lies between two.
    const SURE: usize = 15;
    let text = value.to_string();
    let Some((_, fraction)) = text.split_once('.').filter(|_| text.len() > SURE) else {
        return text;
    };
    let Some((kept, odd)) = text.split_at_checked(text.len() - 1) else { return text };
    let Some(below) = odd.parse::<u8>().ok().filter(|digit| digit % 2 == 1) else { return text };
    let lower = format!("{kept}{}", below - 1);
    // Halfway between the two numbers exactly: a five, and nothing after it.
    let exact = format!("{value:.*}", fraction.len() + 40);
    let halfway = exact.strip_prefix(&lower).and_then(|rest| rest.strip_prefix('5'));
    let tie = halfway.is_some_and(|rest| rest.bytes().all(|digit| digit == b'0'));
    if tie && lower.parse() == Ok(value) { lower } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_even_digit() {
        for (value, want) in [
            (117_477_069.158_203_13, "117477069.15820312"),
            (-24.098_587_036_132_813, "-24.098587036132812"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.3333333333333333"),
            (1e21, "1000000000000000000000"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
            (-0.0, "-0"),
        ] {
            assert_eq!(shortest(value), want);
        }
    }
}
