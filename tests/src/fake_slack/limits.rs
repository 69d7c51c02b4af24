//! What Slack refuses of a message: unknown keys, wrong types, too much of anything. Stricter where
//! Slack only warns.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Slack's word for it, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub code: &'static str,
    pub detail: String,
}

type Checked = Result<(), Problem>;

const MAX_TEXT: usize = 40_000;
const MAX_BLOCKS: usize = 50;
/// All texts of all blocks of a message together.
const MAX_BLOCK_TEXT: usize = 13_200;

const MESSAGE: &[&str] = &[
    "channel",
    "text",
    "blocks",
    "attachments",
    "parse",
    "link_names",
    "unfurl_links",
    "unfurl_media",
    "thread_ts",
    "reply_broadcast",
    "ts",
    "username",
    "icon_emoji",
    "icon_url",
    "user",
];
const ATTACHMENT: &[&str] = &[
    "actions",
    "blocks",
    "callback_id",
    "color",
    "fallback",
    "fields",
    "footer",
    "image_url",
    "mrkdwn_in",
    "pretext",
    "text",
    "thumb_url",
    "title",
    "title_link",
    "ts",
];

/// A message as the web API takes it.
pub fn message(message: &Value) -> Checked {
    let message = object(message, "message", "invalid_arguments")?;
    known(message, MESSAGE, "message", "invalid_arguments")?;
    let text = string(message, "text", "message")?.unwrap_or_default();
    if text.encode_utf16().count() > MAX_TEXT {
        return problem("msg_too_long", "text");
    }
    inert(text, "text")?;
    let blocks = list(message, "blocks", "invalid_blocks_format")?;
    let attachments = list(message, "attachments", "invalid_attachments")?;
    if text.is_empty() && blocks.is_empty() && attachments.is_empty() {
        return problem("no_text", "message");
    }
    let mut size = self::blocks(blocks, "blocks")?;
    if attachments.len() > 20 {
        return problem("too_many_attachments", "attachments");
    }
    for (at, attachment) in attachments.iter().enumerate() {
        size += self::attachment(attachment, &format!("attachments[{at}]"))?;
    }
    match size > MAX_BLOCK_TEXT {
        true => problem("msg_blocks_too_long", &format!("{size} characters")),
        false => Ok(()),
    }
}

fn attachment(value: &Value, at: &str) -> Result<usize, Problem> {
    let attachment = object(value, at, "invalid_attachments")?;
    known(attachment, ATTACHMENT, at, "invalid_attachments")?;
    for name in ["fallback", "pretext", "text", "title", "title_link", "footer", "ts"] {
        inert(string(attachment, name, at)?.unwrap_or_default(), &format!("{at}.{name}"))?;
    }
    if let Some(color) = string(attachment, "color", at)? {
        let hex = color.strip_prefix('#').is_some_and(|hex| {
            hex.len() == 6 && hex.chars().all(|digit| digit.is_ascii_hexdigit())
        });
        if !hex && !["good", "warning", "danger"].contains(&color) {
            return problem("invalid_attachments", &format!("{at}.color: {color}"));
        }
    }
    for (index, field) in list(attachment, "fields", "invalid_attachments")?.iter().enumerate() {
        let at = format!("{at}.fields[{index}]");
        let field = object(field, &at, "invalid_attachments")?;
        known(field, &["title", "value", "short"], &at, "invalid_attachments")?;
        for name in ["title", "value"] {
            inert(string(field, name, &at)?.unwrap_or_default(), &format!("{at}.{name}"))?;
        }
    }
    let blocks = list(attachment, "blocks", "invalid_blocks_format")?;
    self::blocks(blocks, &format!("{at}.blocks"))
}

/// The length of all their texts.
fn blocks(blocks: &[Value], at: &str) -> Result<usize, Problem> {
    if blocks.len() > MAX_BLOCKS {
        return bad(at, &format!("{} blocks", blocks.len()));
    }
    let mut size = 0;
    for (index, value) in blocks.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let block = object(value, &at, "invalid_blocks")?;
        if string(block, "block_id", &at)?.is_some_and(|id| id.len() > 255) {
            return bad(&at, "block_id is too long");
        }
        size += match string(block, "type", &at)?.unwrap_or_default() {
            "header" => {
                known(block, &["type", "block_id", "text"], &at, "invalid_blocks")?;
                text(block.get("text"), &["plain_text"], 150, &at)?
            }
            "section" => section(block, &at)?,
            "context" => {
                known(block, &["type", "block_id", "elements"], &at, "invalid_blocks")?;
                let elements = list(block, "elements", "invalid_blocks")?;
                if elements.is_empty() || elements.len() > 10 {
                    return bad(&at, "1 to 10 elements expected");
                }
                let kinds = &["plain_text", "mrkdwn"];
                sum(elements.iter().map(|element| text(Some(element), kinds, 2000, &at)))?
            }
            "actions" => {
                known(block, &["type", "block_id", "elements"], &at, "invalid_blocks")?;
                let elements = list(block, "elements", "invalid_blocks")?;
                let ids: BTreeSet<_> =
                    elements.iter().map(|element| element["action_id"].as_str()).collect();
                if elements.is_empty() || elements.len() > 25 || ids.len() < elements.len() {
                    return bad(&at, "1 to 25 elements with different action_id expected");
                }
                sum(elements.iter().map(|element| button(element, &at)))?
            }
            "divider" => 0,
            other => return bad(&at, &format!("type {other:?}")),
        };
    }
    Ok(size)
}

fn section(block: &Map<String, Value>, at: &str) -> Result<usize, Problem> {
    known(block, &["type", "block_id", "text", "fields", "accessory"], at, "invalid_blocks")?;
    let kinds = &["plain_text", "mrkdwn"];
    let fields = list(block, "fields", "invalid_blocks")?;
    if block.get("text").is_none() && fields.is_empty() {
        return bad(at, "text or fields expected");
    }
    if fields.len() > 10 || (block.contains_key("fields") && fields.is_empty()) {
        return bad(at, "1 to 10 fields expected");
    }
    let mut size = sum(fields.iter().map(|field| text(Some(field), kinds, 2000, at)))?;
    if let Some(value) = block.get("text") {
        size += text(Some(value), kinds, 3000, at)?;
    }
    if let Some(accessory) = block.get("accessory") {
        size += button(accessory, at)?;
    }
    Ok(size)
}

fn button(value: &Value, at: &str) -> Result<usize, Problem> {
    let button = object(value, at, "invalid_blocks")?;
    known(button, &["type", "action_id", "text", "value", "url", "style"], at, "invalid_blocks")?;
    let has = |name: &str| string(button, name, at).map(Option::unwrap_or_default);
    let bounds = [("action_id", 255), ("value", 2000), ("url", 3000)];
    for (name, limit) in bounds {
        if has(name)?.len() > limit {
            return bad(at, &format!("{name} is too long"));
        }
    }
    if has("type")? != "button" || has("action_id")?.is_empty() {
        return bad(at, "a button with an action_id expected");
    }
    if !["", "primary", "danger"].contains(&has("style")?) {
        return bad(at, "style");
    }
    let url = has("url")?;
    if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
        return bad(at, "url");
    }
    text(button.get("text"), &["plain_text"], 75, at)
}

/// A text object; its length.
fn text(value: Option<&Value>, kinds: &[&str], limit: usize, at: &str) -> Result<usize, Problem> {
    let Some(value) = value else { return bad(at, "a text expected") };
    let object = object(value, at, "invalid_blocks")?;
    let kind = string(object, "type", at)?.unwrap_or_default();
    let extra = if kind == "mrkdwn" { "verbatim" } else { "emoji" };
    known(object, &["type", "text", extra], at, "invalid_blocks")?;
    if !kinds.contains(&kind) || object.get(extra).is_some_and(|flag| !flag.is_boolean()) {
        return bad(at, &format!("text of type {kind:?}"));
    }
    let text = string(object, "text", at)?.unwrap_or_default();
    let size = text.encode_utf16().count();
    if size == 0 || size > limit {
        return bad(at, &format!("1 to {limit} characters expected, found {size}"));
    }
    if kind == "mrkdwn" {
        inert(text, at)?;
        if object.get("verbatim") != Some(&Value::Bool(true)) {
            return Err(Problem { code: "injection", detail: format!("{at}: not verbatim") });
        }
    }
    Ok(size)
}

/// Not Slack's own rule but ours: no text may mention somebody, and links are whole.
fn inert(text: &str, at: &str) -> Checked {
    for part in text.split('<').skip(1) {
        let inside = part.split('>').next().unwrap_or_default();
        let harmless = ["http://", "https://", "!date^"];
        if !part.contains('>') || !harmless.iter().any(|start| inside.starts_with(start)) {
            return Err(Problem { code: "injection", detail: format!("{at}: <{inside}>") });
        }
    }
    Ok(())
}

fn object<'a>(
    value: &'a Value,
    at: &str,
    code: &'static str,
) -> Result<&'a Map<String, Value>, Problem> {
    value.as_object().ok_or_else(|| Problem { code, detail: format!("{at}: an object expected") })
}

fn known(object: &Map<String, Value>, names: &[&str], at: &str, code: &'static str) -> Checked {
    match object.keys().find(|key| !names.contains(&key.as_str())) {
        Some(key) => Err(Problem { code, detail: format!("{at}: key {key}") }),
        None => Ok(()),
    }
}

fn string<'a>(
    object: &'a Map<String, Value>,
    name: &str,
    at: &str,
) -> Result<Option<&'a str>, Problem> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Problem {
            code: "invalid_arguments",
            detail: format!("{at}.{name}: a text expected"),
        }),
    }
}

fn list<'a>(
    object: &'a Map<String, Value>,
    name: &str,
    code: &'static str,
) -> Result<&'a [Value], Problem> {
    match object.get(name) {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(Problem { code, detail: format!("{name}: a list expected") }),
    }
}

fn sum(sizes: impl Iterator<Item = Result<usize, Problem>>) -> Result<usize, Problem> {
    sizes.sum()
}

fn bad<T>(at: &str, what: &str) -> Result<T, Problem> {
    Err(Problem { code: "invalid_blocks", detail: format!("{at}: {what}") })
}

fn problem<T>(code: &'static str, detail: &str) -> Result<T, Problem> {
    Err(Problem { code, detail: detail.to_owned() })
}
