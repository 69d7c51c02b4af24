//! A message as the configuration words it: Alertmanager's one attachment with all its keys (pure).

use serde::Serialize;

use crate::notify::wording::clip;
use crate::route::notification::Notification;
use crate::route::receiver::slack::{Slack, SlackAction, SlackConfirmation};

/// Alertmanager's limit for a title; Slack shows no more of a text than this.
const MAX_TITLE: usize = 1024;
const MAX_TEXT: usize = 8000;
const MAX_FIELDS: usize = 50;
const MAX_ACTIONS: usize = 5;

#[derive(Debug, Serialize)]
pub(super) struct Message {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_emoji: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_url: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    link_names: bool,
    attachments: [Attachment; 1],
}

#[derive(Debug, Serialize)]
struct Attachment {
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title_link: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pretext: String,
    text: String,
    fallback: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    callback_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
    #[serde(skip_serializing_if = "String::is_empty")]
    image_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thumb_url: String,
    footer: String,
    color: String,
    mrkdwn_in: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Field {
    title: String,
    value: String,
    short: bool,
}

#[derive(Debug, Serialize)]
struct Action {
    #[serde(rename = "type")]
    kind: String,
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    style: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm: Option<Confirm>,
}

#[derive(Debug, Serialize)]
struct Confirm {
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ok_text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dismiss_text: String,
}

/// Whether the configuration says anything of what a message says; else the wording is ours.
pub(super) fn is_worded(slack: &Slack) -> bool {
    let texts = [
        &slack.title,
        &slack.title_link,
        &slack.pretext,
        &slack.text,
        &slack.footer,
        &slack.fallback,
        &slack.callback_id,
        &slack.image_url,
        &slack.thumb_url,
        &slack.color,
    ];
    let lists = !slack.fields.is_empty() || !slack.actions.is_empty() || slack.mrkdwn_in.is_some();
    lists || texts.into_iter().any(Option::is_some)
}

/// `slack` is expanded; `subject` and `link` stand where it names no title and where that leads.
pub(super) fn message(
    slack: Slack,
    notification: &Notification,
    subject: String,
    link: &str,
) -> Message {
    let title = clip(slack.title.as_deref().unwrap_or(&subject), MAX_TITLE);
    let short = slack.short_fields;
    let fields = slack.fields.into_iter().take(MAX_FIELDS).map(|field| Field {
        title: clip(&field.title, MAX_TITLE),
        value: clip(&field.value, MAX_TEXT),
        short: field.short.unwrap_or(short),
    });
    let color = if notification.is_resolved() { "good" } else { "danger" };
    let attachment = Attachment {
        fallback: clip(slack.fallback.as_deref().unwrap_or(&title), MAX_TITLE),
        title,
        title_link: slack.title_link.unwrap_or_else(|| link.to_owned()),
        pretext: clip(&slack.pretext.unwrap_or_default(), MAX_TEXT),
        text: clip(&slack.text.unwrap_or_default(), MAX_TEXT),
        callback_id: slack.callback_id.unwrap_or_default(),
        fields: fields.collect(),
        actions: slack.actions.into_iter().take(MAX_ACTIONS).map(action).collect(),
        image_url: slack.image_url.unwrap_or_default(),
        thumb_url: slack.thumb_url.unwrap_or_default(),
        footer: clip(&slack.footer.unwrap_or_default(), MAX_TITLE),
        color: slack.color.unwrap_or_else(|| color.to_owned()),
        mrkdwn_in: slack.mrkdwn_in.unwrap_or_else(|| {
            ["fallback", "pretext", "text"].map(str::to_owned).into_iter().collect()
        }),
    };
    Message {
        channel: slack.channel,
        username: slack.username.unwrap_or_else(|| "Pitcrew".to_owned()),
        icon_emoji: slack.icon_emoji.unwrap_or_default(),
        icon_url: slack.icon_url.unwrap_or_default(),
        link_names: slack.link_names,
        attachments: [attachment],
    }
}

fn action(action: SlackAction) -> Action {
    let SlackAction { kind, text, url, style, name, value, confirm } = action;
    let confirm = confirm.map(|confirm| {
        let SlackConfirmation { text, title, ok_text, dismiss_text } = confirm;
        Confirm { text, title, ok_text, dismiss_text }
    });
    Action { kind, text, url, style, name, value, confirm }
}

#[cfg(test)]
mod tests {
    use crate::notify::slack::tests::payload;

    #[test]
    fn every_key_and_no_mention() {
        let value = payload(
            r##"
            channel: '#{{ .GroupLabels.job }}'
            color: '{{ if eq .Status "firing" }}warning{{ else }}good{{ end }}'
            title: '{{ .CommonLabels.alertname }}'
            title_link: '{{ .ExternalURL }}/x'
            pretext: '*{{ (index .Alerts 0).Annotations.summary }}* <http://y.test|mine>'
            fields: [ { title: x, value: '{{ .CommonLabels.x }}' }, { title: y, value: z, short: true } ]
            footer: f
            callback_id: c
            link_names: true
            image_url: http://i.test/
            mrkdwn_in: [text]
            actions:
            - { type: button, text: 'Runbook & more', url: '{{ (index .Alerts 0).Annotations.runbook_url }}' }
            - { type: button, text: Do, name: n, value: '{{ .Status }}', confirm: { text: sure? } }"##,
        );
        assert_eq!(value["channel"], "#ci");
        assert_eq!(value["link_names"], true);
        let attachment = &value["attachments"][0];
        let want = serde_json::json!({
            "title": "RunnerOffline",
            "title_link": "http://p.test/x",
            "pretext": "*&lt;b&gt;Runner&lt;/b&gt; &amp; &lt;!here&gt; gone* <http://y.test|mine>",
            "text": "",
            "fallback": "RunnerOffline",
            "callback_id": "c",
            "fields": [
                { "title": "x", "value": "&lt;!channel&gt; &amp; &lt;script&gt;alert(1)&lt;/script&gt;", "short": false },
                { "title": "y", "value": "z", "short": true },
            ],
            "actions": [
                { "type": "button", "text": "Runbook & more", "url": "https://x.test/RunnerOffline.md?a=1&b=|>" },
                { "type": "button", "text": "Do", "name": "n", "value": "firing", "confirm": { "text": "sure?" } },
            ],
            "image_url": "http://i.test/",
            "footer": "f",
            "color": "warning",
            "mrkdwn_in": ["text"],
        });
        assert_eq!(attachment, &want);
        assert!(value.get("text").is_none());
    }

    #[test]
    fn what_is_not_said_is_alertmanagers() {
        let attachment = &payload("text: '{{ .Nothing }}'")["attachments"][0];
        assert_eq!(attachment["title"], "[FIRING:2] RunnerOffline ci");
        assert_eq!((&attachment["color"], &attachment["footer"]), (&"danger".into(), &"".into()));
        let text = attachment["text"].as_str().unwrap();
        assert!(text.starts_with("<error expanding template: "), "{text}");
    }
}
