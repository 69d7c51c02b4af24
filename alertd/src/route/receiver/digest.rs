//! `digest`: one mail or Slack message a day about what happened.

use chrono_tz::Tz;
use pitcrew_exporter::config::yaml::Invalid;
use serde::Deserialize;

use super::email::{Email, EmailFile};
use super::place::Place;
use super::slack::Slack;

#[derive(Debug, Clone)]
pub struct Digest {
    /// Minute of the day at which it is sent, by the clocks of `timezone`.
    pub minute: u16,
    pub timezone: Tz,
    /// In lower case; none: every alert.
    pub severities: Vec<String>,
    /// At least one of the two is there.
    pub email: Option<Email>,
    pub slack: Option<Slack>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DigestConfig {
    /// Time of day: `08:00`, which is the default.
    at: Option<String>,
    /// A name such as `Europe/Berlin`; UTC without one.
    timezone: Option<String>,
    /// Values of the label `severity` that it is about; all without any.
    #[serde(default)]
    severities: Vec<String>,
    /// With the keys of `email_configs`.
    email: Option<EmailFile>,
    /// With the keys of `slack_configs`.
    slack: Option<Slack>,
}

impl DigestConfig {
    pub(super) fn resolve(self, place: &Place<'_>) -> Result<Digest, Invalid> {
        let at = self.at.as_deref().unwrap_or("08:00");
        let minute = at.split_once(':').and_then(|(hour, minute)| {
            let two = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            let whole = two(hour) && two(minute);
            let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
            (whole && hour < 24 && minute < 60).then_some(hour * 60 + minute)
        });
        let minute = minute.ok_or_else(|| place.bad("at", "a time of day such as 08:00", at))?;
        let timezone = self.timezone.as_deref().unwrap_or("UTC");
        let timezone = timezone
            .parse()
            .map_err(|_| place.bad("timezone", "a time zone such as Europe/Berlin", timezone))?;
        if self.email.is_none() && self.slack.is_none() {
            return Err(place.bad("email", "email, slack or both", "neither"));
        }
        let severities = self.severities.into_iter().map(|severity| severity.to_ascii_lowercase());
        Ok(Digest {
            minute,
            timezone,
            severities: severities.collect(),
            email: self.email.map(|email| email.resolve(&place.within("email"))).transpose()?,
            slack: self.slack.map(|slack| slack.resolve(&place.within("slack"))).transpose()?,
        })
    }
}
