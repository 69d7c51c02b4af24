//! Who sent a webhook: `X-Pitcrew-Signature: t=1700000000,v1=HEX`.
//!
//! `t` is the time of sending in seconds since the Unix epoch, `HEX` the HMAC-SHA256 of `t`, a dot
//! and the body as received, with the receiver's secret as key, in lower case. Whoever verifies it
//! computes the same over the raw body, compares in constant time, and refuses a `t` that is more
//! than five minutes off: then nobody can send an old request again. Further `v…` may follow.

use ring::hmac;

use crate::model::sample::Timestamp;

/// The header's value for one body.
pub(super) fn sign(secret: &str, body: &str, now: Timestamp) -> String {
    let seconds = now.0.div_euclid(1000);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_that_the_readme_gives() {
        // printf '1700000000.{"version":"4"}' | openssl dgst -sha256 -hmac whsec_pitcrew
        assert_eq!(
            sign("whsec_pitcrew", "{\"version\":\"4\"}", Timestamp(1_700_000_000_999)),
            "t=1700000000,v1=7865880912e6037392978a523c9c3c202672c60bd1cd0ada52d188952a52ea07"
        );
    }
}
