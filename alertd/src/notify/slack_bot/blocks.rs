//! The parts of Slack's Block Kit that messages here are made of, as they are written.

use reqwest::Url;
use serde::Serialize;

use crate::notify::mrkdwn::plain;

/// Slack's limits, which it refuses a message for.
pub(super) const MAX_HEADER: usize = 150;
pub(super) const MAX_SECTION: usize = 3000;
pub(super) const MAX_FIELD: usize = 2000;
pub(super) const MAX_FIELDS: usize = 10;
const MAX_BUTTON: usize = 75;
const MAX_URL: usize = 3000;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block {
    Header {
        text: Text,
    },
    Section {
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<Text>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        fields: Vec<Text>,
        #[serde(skip_serializing_if = "Option::is_none")]
        accessory: Option<Button>,
    },
    Context {
        elements: Vec<Text>,
    },
    Actions {
        elements: Vec<Button>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Text {
    PlainText {
        text: String,
        emoji: bool,
    },
    Mrkdwn {
        text: String,
        /// Slack makes no link or mention of what merely looks like one.
        verbatim: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Button {
    #[serde(rename = "type")]
    kind: &'static str,
    action_id: &'static str,
    text: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    style: Option<&'static str>,
}

impl Block {
    pub(super) fn header(text: &str) -> Block {
        Block::Header { text: Text::plain(text, MAX_HEADER) }
    }

    /// Text that is escaped already.
    pub(super) fn section(markup: String) -> Block {
        Block::Section { text: Some(Text::markup(markup)), fields: Vec::new(), accessory: None }
    }

    pub(super) fn context(markup: String) -> Block {
        Block::Context { elements: vec![Text::markup(markup)] }
    }
}

impl Text {
    /// Slack reads nothing in it but emoji names; never empty, which it would refuse.
    fn plain(text: &str, limit: usize) -> Text {
        let text = plain(text, limit);
        Text::PlainText { text: if text.is_empty() { "–".to_owned() } else { text }, emoji: true }
    }

    pub(super) fn markup(text: String) -> Text {
        Text::Mrkdwn { text: if text.is_empty() { "–".to_owned() } else { text }, verbatim: true }
    }
}

impl Button {
    /// A button that tells us of a click.
    pub(super) fn act(action_id: &'static str, words: &str, value: &str) -> Button {
        let value = Some(value.to_owned());
        Button { value, ..Button::new(action_id, words) }
    }

    /// A button that opens a page; none for a URL that Slack would refuse.
    pub(super) fn open(action_id: &'static str, words: &str, url: &Url) -> Option<Button> {
        let url = Some(url.to_string()).filter(|url| url.len() <= MAX_URL)?;
        Some(Button { url: Some(url), ..Button::new(action_id, words) })
    }

    pub(super) fn primary(self) -> Button {
        Button { style: Some("primary"), ..self }
    }

    fn new(action_id: &'static str, words: &str) -> Button {
        let text = Text::plain(words, MAX_BUTTON);
        Button { kind: "button", action_id, text, value: None, url: None, style: None }
    }
}
