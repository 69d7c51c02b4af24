//! Whether a request comes from Slack: its signature of time and body (pure).

use pitcrew_exporter::secret::Secret;
use ring::hmac;

use crate::model::sample::Timestamp;

/// How far Slack's clock and ours may be apart, and how old a request may be.
const TOLERANCE_SECONDS: i64 = 300;
const VERSION: &str = "v0";

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    #[error("no signature or no time of it")]
    Missing,
    /// It may have been recorded and sent again.
    #[error("signed more than five minutes away from now")]
    Old,
    #[error("the signature is not one of ours")]
    Wrong,
}

/// `timestamp` and `signature` are the headers `X-Slack-Request-Timestamp` and `X-Slack-Signature`.
pub(super) fn verify(
    secret: &Secret,
    timestamp: &str,
    signature: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Unsigned> {
    let at: i64 = timestamp.parse().map_err(|_| Unsigned::Missing)?;
    let claimed = signature.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('='));
    let claimed = claimed.and_then(bytes).ok_or(Unsigned::Missing)?;
    if now.0.div_euclid(1000).abs_diff(at) > TOLERANCE_SECONDS.unsigned_abs() {
        return Err(Unsigned::Old);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
    let mut signed = format!("{VERSION}:{timestamp}:").into_bytes();
    signed.extend_from_slice(body);
    // In constant time.
    hmac::verify(&key, &signed, &claimed).map_err(|_| Unsigned::Wrong)
}

/// The bytes of a hexadecimal SHA-256.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    digits
        .chunks_exact(2)
        .map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.last()?)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Slack's own description of its signatures.
    #[test]
    fn slacks_own_example_is_taken_and_nothing_else() {
        let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow\
                    &channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA\
                    &user_name=roadrunner&command=%2Fwebhook-collect&text=\
                    &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554\
                    %2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let (time, good) =
            ("1531420618", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503");
        let at = |seconds: i64| Timestamp((1_531_420_618 + seconds) * 1000);
        let upper = good.replace("a2114d", "A2114D");
        let other = good.replace("a2114d", "b2114d");
        for (case, secret, time, signature, body, now, want) in [
            ("good", "8f742231b10e8888abcd99yyyzzz85a5", time, good, body, at(0), Ok(())),
            ("capitals", "8f742231b10e8888abcd99yyyzzz85a5", time, &upper, body, at(300), Ok(())),
            ("other secret", "x", time, good, body, at(0), Err(Unsigned::Wrong)),
            (
                "other signature",
                "8f742231b10e8888abcd99yyyzzz85a5",
                time,
                &other,
                body,
                at(0),
                Err(Unsigned::Wrong),
            ),
            (
                "other body",
                "8f742231b10e8888abcd99yyyzzz85a5",
                time,
                good,
                "x",
                at(0),
                Err(Unsigned::Wrong),
            ),
            (
                "other time",
                "8f742231b10e8888abcd99yyyzzz85a5",
                "1531420619",
                good,
                body,
                at(0),
                Err(Unsigned::Wrong),
            ),
            (
                "old",
                "8f742231b10e8888abcd99yyyzzz85a5",
                time,
                good,
                body,
                at(301),
                Err(Unsigned::Old),
            ),
            (
                "ahead",
                "8f742231b10e8888abcd99yyyzzz85a5",
                time,
                good,
                body,
                at(-301),
                Err(Unsigned::Old),
            ),
            (
                "no time",
                "8f742231b10e8888abcd99yyyzzz85a5",
                "",
                good,
                body,
                at(0),
                Err(Unsigned::Missing),
            ),
            (
                "huge time",
                "8f742231b10e8888abcd99yyyzzz85a5",
                "-9223372036854775808",
                good,
                body,
                at(0),
                Err(Unsigned::Old),
            ),
            (
                "none",
                "8f742231b10e8888abcd99yyyzzz85a5",
                time,
                "",
                body,
                at(0),
                Err(Unsigned::Missing),
            ),
            (
                "short",
                "8f742231b10e8888abcd99yyyzzz85a5",
                time,
                "v0=a2",
                body,
                at(0),
                Err(Unsigned::Missing),
            ),
            (
                "version",
                "8f742231b10e8888abcd99yyyzzz85a5",
                time,
                "v1=a2",
                body,
                at(0),
                Err(Unsigned::Missing),
            ),
            (
                "not hex",
                "8f742231b10e8888abcd99yyyzzz85a5",
                time,
                &good.replace('a', "é"),
                body,
                at(0),
                Err(Unsigned::Missing),
            ),
        ] {
            let found = verify(&Secret::new(secret), time, signature, body.as_bytes(), now);
            assert_eq!(found, want, "{case}");
        }
    }
}
