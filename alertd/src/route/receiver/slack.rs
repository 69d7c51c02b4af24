//! `slack_configs`: an incoming webhook of Slack.

use std::path::PathBuf;

use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;

use super::SecretSource;
use super::place::{HttpFile, Place};
use crate::http_client::HttpClientConfig;
use crate::route::config::nullable;
use crate::route::template::{Scope, Templates};

/// Texts may be templates; one that is absent leaves the wording to the notifier.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    #[serde(default)]
    pub send_resolved: bool,
    api_url: Option<Secret>,
    api_url_file: Option<PathBuf>,
    http_config: Option<HttpFile>,
    #[serde(skip, default = "super::no_secret")]
    pub url: SecretSource,
    #[serde(skip)]
    pub http: HttpClientConfig,
    pub channel: Option<String>,
    pub username: Option<String>,
    pub color: Option<String>,
    pub title: Option<String>,
    pub title_link: Option<String>,
    pub pretext: Option<String>,
    pub text: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub fields: Vec<SlackField>,
    /// For fields that do not say it themselves.
    #[serde(default)]
    pub short_fields: bool,
    pub footer: Option<String>,
    pub fallback: Option<String>,
    pub callback_id: Option<String>,
    pub icon_emoji: Option<String>,
    pub icon_url: Option<String>,
    pub image_url: Option<String>,
    pub thumb_url: Option<String>,
    #[serde(default)]
    pub link_names: bool,
    pub mrkdwn_in: Option<Vec<String>>,
    #[serde(default, deserialize_with = "nullable")]
    pub actions: Vec<SlackAction>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlackField {
    pub title: String,
    pub value: String,
    pub short: Option<bool>,
}

/// A button: one that opens `url`, or one with a `name` that Slack tells its application of.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlackAction {
    #[serde(rename = "type")]
    pub kind: String,
    pub text: String,
    pub url: String,
    pub style: String,
    pub name: String,
    pub value: String,
    pub confirm: Option<SlackConfirmation>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlackConfirmation {
    pub text: String,
    pub title: String,
    pub ok_text: String,
    pub dismiss_text: String,
}

impl Slack {
    /// Every text as it is to be sent. What people read is expanded over `shown`, in which Slack's
    /// control characters are escaped, so that no label can mention or link; the rest over `plain`.
    pub fn expanded(&self, templates: &Templates, plain: &Scope<'_>, shown: &Scope<'_>) -> Slack {
        let name = |key: &str| format!("slack.default.{key}");
        let raw = |text: &Option<String>, key| templates.text(text.as_deref(), &name(key), plain);
        let said = |text: &Option<String>, key| templates.text(text.as_deref(), &name(key), shown);
        let over = |text: &str, of| templates.expand(text, of);
        let mut slack = Slack {
            channel: raw(&self.channel, ""),
            username: raw(&self.username, "username"),
            color: raw(&self.color, ""),
            title: said(&self.title, "title"),
            title_link: raw(&self.title_link, "titlelink"),
            pretext: said(&self.pretext, "pretext"),
            text: said(&self.text, "text"),
            footer: said(&self.footer, "footer"),
            fallback: said(&self.fallback, "fallback"),
            callback_id: raw(&self.callback_id, "callbackid"),
            icon_emoji: raw(&self.icon_emoji, "iconemoji"),
            icon_url: raw(&self.icon_url, "iconurl"),
            image_url: raw(&self.image_url, ""),
            thumb_url: raw(&self.thumb_url, ""),
            ..self.clone()
        };
        for field in &mut slack.fields {
            field.title = over(&field.title, shown);
            field.value = over(&field.value, shown);
        }
        for action in &mut slack.actions {
            action.text = over(&action.text, shown);
            let SlackAction { kind, url, style, name, value, .. } = action;
            for text in [kind, url, style, name, value] {
                *text = over(text, plain);
            }
            if let Some(SlackConfirmation { text, title, ok_text, dismiss_text }) =
                &mut action.confirm
            {
                for text in [text, title, ok_text, dismiss_text] {
                    *text = over(text, shown);
                }
            }
        }
        slack
    }

    /// Checks what types cannot say and fills in the global defaults.
    pub(super) fn resolve(mut self, place: &Place<'_>) -> Result<Slack, Invalid> {
        let (mut url, mut path) = (self.api_url.take(), self.api_url_file.take());
        if url.is_none() && path.is_none() {
            url = place.global.slack_api_url.clone();
            path = place.global.slack_api_url_file.clone();
        }
        self.url = place.url("api_url", url, path)?;
        self.http = place.http(self.http_config.take())?;
        for (at, field) in self.fields.iter().enumerate() {
            for (name, text) in [("title", &field.title), ("value", &field.value)] {
                if text.is_empty() {
                    return Err(place.bad(&format!("fields[{at}].{name}"), "a text", "none"));
                }
            }
        }
        for (at, action) in self.actions.iter_mut().enumerate() {
            action.check(&place.within(&format!("actions[{at}]")))?;
        }
        Ok(self)
    }
}

impl SlackAction {
    /// A button with a URL is nothing but a link.
    fn check(&mut self, place: &Place<'_>) -> Result<(), Invalid> {
        for (name, text) in [("type", &self.kind), ("text", &self.text)] {
            if text.is_empty() {
                return Err(place.bad(name, "a text", "none"));
            }
        }
        if self.confirm.as_ref().is_some_and(|confirm| confirm.text.is_empty()) {
            return Err(place.bad("confirm.text", "a text", "none"));
        }
        match (self.url.is_empty(), self.name.is_empty()) {
            (true, true) => Err(place.bad("url", "a url or a name", "neither")),
            (true, false) => Ok(()),
            (false, _) => {
                self.name.clear();
                self.value.clear();
                self.confirm = None;
                Ok(())
            }
        }
    }
}
