//! `digest`: one mail a day about what happened.

use pitcrew_exporter::config::yaml::Invalid;
use serde::Deserialize;

use super::email::{Email, EmailFile};
use super::place::Place;

#[derive(Debug, Clone)]
pub struct Digest {
    /// Minute of the day at which it is sent, in UTC.
    pub minute: u16,
    pub email: Email,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DigestConfig {
    /// Time of day in UTC: `08:00`, which is the default.
    at: Option<String>,
    /// With the keys of `email_configs`.
    email: EmailFile,
}

impl DigestConfig {
    pub(super) fn resolve(self, place: &Place<'_>) -> Result<Digest, Invalid> {
        let at = self.at.as_deref().unwrap_or("08:00");
        let minute = at.split_once(':').and_then(|(hour, minute)| {
            let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        });
        let minute = minute.ok_or_else(|| place.bad("at", "a time of day such as 08:00", at))?;
        Ok(Digest { minute, email: self.email.resolve(&place.within("email"))? })
    }
}
