//! Who calls: a personal token, an installation's token, or an App by its signed token.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::Value;

use super::settings::Settings;
use super::sim::Sim;

/// The private key of the simulated App, made for these tests and good for nothing else.
pub const APP_KEY: &str = include_str!("../../fixtures/github-app-key.pkcs1.pem");

/// The holder's name, if the token is known and alive.
pub fn holder(sim: &Sim, authorization: Option<&str>, now: f64) -> Option<String> {
    let token = bearer(authorization?)?;
    if let Some(name) = sim.settings.tokens.get(token) {
        return Some(name.clone());
    }
    let alive = sim.issued.get(token).is_some_and(|end| now < *end);
    alive.then(|| format!("installation {}", sim.settings.installation_id))
}

/// Checks an App's token as GitHub does; the error is GitHub's message.
pub fn check_app(
    settings: &Settings,
    authorization: Option<&str>,
    now: f64,
) -> Result<(), &'static str> {
    const UNREADABLE: &str = "A JSON web token could not be decoded";
    let token = authorization.and_then(bearer).ok_or(UNREADABLE)?;
    let (text, signature) = token.rsplit_once('.').ok_or(UNREADABLE)?;
    let (head, claims) = text.split_once('.').ok_or(UNREADABLE)?;
    let json = |part: &str| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
    };
    let (head, claims) = (json(head).ok_or(UNREADABLE)?, json(claims).ok_or(UNREADABLE)?);
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| UNREADABLE)?;
    let good = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key())
        .verify(text.as_bytes(), &signature);
    if head["alg"] != "RS256" || good.is_err() {
        return Err(UNREADABLE);
    }
    let number = |name: &str| claims[name].as_f64();
    match (number("iat"), number("exp")) {
        (Some(issued), _) if issued > now => Err(
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        ),
        (_, Some(end)) if end > now + 600.0 => {
            Err("'Expiration time' claim ('exp') is too far in the future")
        }
        (Some(_), Some(end)) if end > now => {
            let app = claims["iss"].as_str().map(str::to_owned);
            let app = app.unwrap_or_else(|| claims["iss"].to_string());
            let known = app == settings.app_id.to_string();
            if known { Ok(()) } else { Err("Integration not found") }
        }
        _ => Err(
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        ),
    }
}

/// A new installation token and the end of its life.
pub fn issue(sim: &mut Sim, now: f64) -> (String, f64) {
    let end = (now + sim.settings.installation_token_life).floor();
    let token = format!("ghs_simulated{}", sim.next_id());
    sim.issued.insert(token.clone(), end);
    (token, end)
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token");
    known.then(|| token.trim())
}

fn public_key() -> Vec<u8> {
    let base64: String = APP_KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(base64).expect("the fixture is base64");
    let key = RsaKeyPair::from_der(&der).expect("the fixture is an RSA key");
    key.public_key().as_ref().to_vec()
}
