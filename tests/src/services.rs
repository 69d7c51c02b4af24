//! How strict Discord, PagerDuty and an Alertmanager are about what they are sent.

use serde_json::{Map, Value};

use crate::fake_webhook::{Head, Manners};

pub const DISCORD: Manners = Manners { problem: discord, consent: (204, "") };

pub const PAGERDUTY: Manners = Manners {
    problem: pagerduty,
    consent: (202, r#"{"status":"success","message":"Event processed","dedup_key":"x"}"#),
};

/// The older interface, for service keys.
pub const PAGERDUTY_OLD: Manners = Manners {
    problem: pagerduty_old,
    consent: (200, r#"{"status":"success","message":"Event processed","incident_key":"x"}"#),
};

fn json(head: &Head) -> bool {
    head.get("content-type").is_some_and(|kind| kind.starts_with("application/json"))
}

/// A field that the service does not know.
fn unknown(object: &Map<String, Value>, known: &[&str]) -> Option<String> {
    let found = object.keys().find(|name| !known.contains(&name.as_str()))?;
    Some(format!("unknown field {found}"))
}

/// A text that is missing (where it must not be), of another type, or too long in UTF-16.
fn text(object: &Map<String, Value>, name: &str, need: bool, max: usize) -> Option<String> {
    match object.get(name) {
        None if need => Some(format!("{name} is required")),
        None => None,
        Some(Value::String(text)) if need && text.is_empty() => Some(format!("{name} is empty")),
        Some(Value::String(text)) if text.encode_utf16().count() > max => {
            Some(format!("{name} has more than {max} characters"))
        }
        Some(Value::String(_)) => None,
        Some(_) => Some(format!("{name} is no text")),
    }
}

fn discord(head: &Head, body: &Value) -> Option<String> {
    let Some(message) = body.as_object().filter(|_| json(head)) else {
        return Some("no JSON object".into());
    };
    let known = ["content", "embeds", "username", "avatar_url", "allowed_mentions"];
    let mut total = 0;
    let embeds = message.get("embeds").and_then(Value::as_array).cloned().unwrap_or_default();
    let content = message.get("content").and_then(Value::as_str).unwrap_or("");
    let parse = message.get("allowed_mentions").map(|mentions| &mentions["parse"]);
    let problem = unknown(message, &known)
        .or_else(|| text(message, "content", false, 2000))
        .or_else(|| text(message, "username", false, 80))
        .or_else(|| (embeds.is_empty() && content.is_empty()).then(|| "empty message".into()))
        .or_else(|| (embeds.len() > 10).then(|| "more than 10 embeds".into()))
        // Not Discord's demand, but ours: without it a label could call everyone.
        .or_else(|| (parse != Some(&Value::Array(Vec::new()))).then(|| "mentions".into()));
    problem
        .or_else(|| embeds.iter().find_map(|embed| discord_embed(embed, &mut total)))
        .or_else(|| (total > 6000).then(|| format!("embeds of {total} characters together")))
}

fn discord_embed(embed: &Value, total: &mut usize) -> Option<String> {
    let Some(embed) = embed.as_object() else { return Some("embed is no object".into()) };
    let known = ["title", "description", "url", "color", "fields", "timestamp", "footer"];
    let count = |object: &Map<String, Value>, name: &str| {
        object.get(name).and_then(Value::as_str).unwrap_or("").encode_utf16().count()
    };
    let color = embed.get("color").is_none_or(|c| c.as_u64().is_some_and(|c| c <= 0xff_ffff));
    let web = |url: &str| url.starts_with("http://") || url.starts_with("https://");
    let url = embed.get("url").is_none_or(|url| url.as_str().is_some_and(web));
    let fields = embed.get("fields").and_then(Value::as_array).cloned().unwrap_or_default();
    *total += count(embed, "title") + count(embed, "description");
    for field in &fields {
        let Some(field) = field.as_object() else { return Some("field is no object".into()) };
        *total += count(field, "name") + count(field, "value");
        let inline = field.get("inline").is_none_or(Value::is_boolean);
        let bad = unknown(field, &["name", "value", "inline"])
            .or_else(|| text(field, "name", true, 256))
            .or_else(|| text(field, "value", true, 1024))
            .or_else(|| (!inline).then(|| "inline is no boolean".into()));
        if bad.is_some() {
            return bad;
        }
    }
    unknown(embed, &known)
        .or_else(|| text(embed, "title", false, 256))
        .or_else(|| text(embed, "description", false, 4096))
        .or_else(|| text(embed, "timestamp", false, 40))
        .or_else(|| (!color).then(|| "color".into()))
        .or_else(|| (!url).then(|| "url is not of the web".into()))
        .or_else(|| (fields.len() > 25).then(|| "more than 25 fields".into()))
}

fn pagerduty(head: &Head, body: &Value) -> Option<String> {
    let Some(event) = body.as_object().filter(|_| json(head)) else {
        return Some("no JSON object".into());
    };
    let known = [
        "routing_key",
        "event_action",
        "dedup_key",
        "payload",
        "client",
        "client_url",
        "images",
        "links",
    ];
    let one_of = |value: &Value, words: &[&str]| value.as_str().is_some_and(|w| words.contains(&w));
    let Some(payload) = body["payload"].as_object() else { return Some("no payload".into()) };
    let parts = [
        "summary",
        "source",
        "severity",
        "timestamp",
        "class",
        "component",
        "group",
        "custom_details",
    ];
    let key = body["routing_key"].as_str().unwrap_or("").len();
    let action = one_of(&body["event_action"], &["trigger", "acknowledge", "resolve"]);
    let severity = one_of(&body["payload"]["severity"], &["critical", "error", "warning", "info"]);
    let list = |name: &str, need: &str| {
        let items = body[name].as_array().cloned().unwrap_or_default();
        items.iter().any(|item| item[need].as_str().is_none_or(str::is_empty))
    };
    unknown(event, &known)
        .or_else(|| unknown(payload, &parts))
        .or_else(|| (key != 32).then(|| "Length of 'routing_key' is incorrect".into()))
        .or_else(|| (!action).then(|| "event_action".into()))
        .or_else(|| (!severity).then(|| "severity".into()))
        .or_else(|| text(event, "dedup_key", false, 255))
        .or_else(|| text(payload, "summary", true, 1024))
        .or_else(|| text(payload, "source", true, 1024))
        .or_else(|| list("links", "href").then(|| "link without href".into()))
        .or_else(|| list("images", "src").then(|| "image without src".into()))
        .or_else(|| (body.to_string().len() > 512_000).then(|| "too large".into()))
}

fn pagerduty_old(head: &Head, body: &Value) -> Option<String> {
    let Some(event) = body.as_object().filter(|_| json(head)) else {
        return Some("no JSON object".into());
    };
    let known = [
        "service_key",
        "event_type",
        "incident_key",
        "description",
        "details",
        "client",
        "client_url",
    ];
    let types = ["trigger", "acknowledge", "resolve"];
    let action = body["event_type"].as_str().is_some_and(|word| types.contains(&word));
    unknown(event, &known)
        .or_else(|| text(event, "service_key", true, 64))
        .or_else(|| text(event, "description", true, 1024))
        .or_else(|| text(event, "incident_key", true, 255))
        .or_else(|| (!action).then(|| "event_type".into()))
}
