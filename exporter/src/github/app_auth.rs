//! A GitHub App's proof of identity: a short-lived RS256 token signed with its private key.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};

use crate::secret::Secret;

/// GitHub's clock may be behind ours by this much.
const SKEW_SECONDS: i64 = 60;
/// GitHub accepts at most 600 from its own now.
const LIFE_SECONDS: i64 = 540;

/// The App's RSA key, checked once.
pub(super) struct AppKey(RsaKeyPair);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("expected a PEM file with one RSA private key (PKCS#1 or PKCS#8)")]
    NotPem,
    #[error("expected an RSA private key of 2048 to 4096 bits: {0}")]
    NotRsa(&'static str),
}

impl AppKey {
    /// Reads PEM as GitHub hands it out (PKCS#1), or PKCS#8.
    pub(super) fn read(pem: &Secret) -> Result<AppKey, KeyError> {
        let mut lines = pem.reveal().lines().map(str::trim).filter(|line| !line.is_empty());
        let begin = lines.next().ok_or(KeyError::NotPem)?;
        let pkcs8 = match begin {
            "-----BEGIN RSA PRIVATE KEY-----" => false,
            "-----BEGIN PRIVATE KEY-----" => true,
            _ => return Err(KeyError::NotPem),
        };
        let base64: String = lines.take_while(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(base64).map_err(|_| KeyError::NotPem)?;
        let key = if pkcs8 { RsaKeyPair::from_pkcs8(&der) } else { RsaKeyPair::from_der(&der) };
        key.map(AppKey).map_err(|error| KeyError::NotRsa(reason(error)))
    }

    /// A token that proves to GitHub at `now`, in seconds since the Unix epoch, to be the App.
    pub(super) fn sign(&self, app_id: u64, now: i64) -> Secret {
        let claims = serde_json::json!({
            "iat": now - SKEW_SECONDS,
            "exp": now + LIFE_SECONDS,
            "iss": app_id.to_string(),
        });
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .expect("the buffer has the key's length, and the system gives random numbers");
        Secret::new(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// ring's reasons are few constant words; anything else stays unsaid.
fn reason(error: ring::error::KeyRejected) -> &'static str {
    match error.to_string().as_str() {
        "TooSmall" => "too small",
        "TooLarge" => "too large",
        "WrongAlgorithm" => "another algorithm",
        _ => "invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    const PKCS1: &str = include_str!("../../../tests/fixtures/github-app-key.pkcs1.pem");
    const PKCS8: &str = include_str!("../../../tests/fixtures/github-app-key.pkcs8.pem");

    #[test]
    fn both_key_formats_sign_what_the_public_key_verifies() {
        for pem in [PKCS1, PKCS8] {
            let key = AppKey::read(&Secret::new(pem)).unwrap();
            let token = key.sign(7, 1_000_000);
            let (text, signature) = token.reveal().rsplit_once('.').unwrap();
            let claims = URL_SAFE_NO_PAD.decode(text.split_once('.').unwrap().1).unwrap();
            let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
            assert_eq!(claims, serde_json::json!({"iat": 999_940, "exp": 1_000_540, "iss": "7"}));
            let public = key.0.public().as_ref();
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
                .verify(text.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
                .unwrap();
        }
    }

    #[test]
    fn bad_keys_are_refused_without_repeating_them() {
        for (pem, error) in [
            ("", KeyError::NotPem),
            ("hunter2", KeyError::NotPem),
            ("-----BEGIN RSA PRIVATE KEY-----\n!!!!\n-----END", KeyError::NotPem),
            ("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END", KeyError::NotRsa("invalid")),
            ("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END", KeyError::NotPem),
        ] {
            assert_eq!(AppKey::read(&Secret::new(pem)).err(), Some(error), "{pem}");
        }
    }
}
