//! The endpoints for webhooks and their deliveries.

use serde_json::{Value, json};

use super::deliveries::Delivery;
use super::json;
use super::rest::{Answer, Ask};
use super::settings::Webhook;
use super::sim::Sim;

/// A hook as lists and pings show it.
pub fn hook(hook: &Webhook, base: &str) -> Value {
    let (kind, api) = match hook.scope.as_str() {
        "app" => ("App", format!("{base}/app/hook")),
        scope if scope.contains('/') => {
            ("Repository", format!("{base}/repos/{scope}/hooks/{}", hook.id))
        }
        scope => ("Organization", format!("{base}/orgs/{scope}/hooks/{}", hook.id)),
    };
    let any = vec!["*".to_owned()];
    let mut shown = json!({
        "type": kind,
        "id": hook.id,
        "name": "web",
        "active": true,
        "events": if hook.events.is_empty() { &any } else { &hook.events },
        "config": {
            "url": hook.url,
            "content_type": if hook.form { "form" } else { "json" },
            "insecure_ssl": "0",
            "secret": "********",
        },
        "created_at": json::time(0.0),
        "updated_at": json::time(0.0),
        "url": api,
        "ping_url": format!("{api}/pings"),
        "deliveries_url": format!("{api}/deliveries"),
    });
    if kind == "Repository" {
        shown["test_url"] = json!(format!("{api}/test"));
        shown["last_response"] = json!({ "code": null, "status": "unused", "message": null });
    }
    shown
}

pub fn list(sim: &mut Sim, ask: &Ask) -> Answer {
    let mine = sim.settings.webhooks.iter().filter(|hook| hook.scope == ask.scope());
    Answer::array(ask, mine.map(|found| hook(found, ask.base)).collect())
}

pub fn app_config(sim: &mut Sim, ask: &Ask) -> Answer {
    let app = sim.settings.webhooks.iter().find(|hook| hook.scope == "app");
    match app {
        Some(found) => Answer::ok(200, hook(found, ask.base)["config"].clone()),
        None => Answer::not_found(),
    }
}

/// Newest first, by cursor: the id of the first delivery of the page.
pub fn deliveries(sim: &mut Sim, ask: &Ask) -> Answer {
    let Some(hook) = named(sim, ask) else { return Answer::not_found() };
    let (per_page, _) = ask.page();
    let cursor = ask.query.get("cursor").and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    let status = ask.query.get("status").map(String::as_str);
    let wanted = |delivery: &&Delivery| {
        let good = (200..400).contains(&delivery.status);
        let fits = match status {
            Some("success") => good,
            Some("failure") => !good,
            _ => true,
        };
        delivery.hook == hook && delivery.id <= cursor && delivery.status != 0 && fits
    };
    let mut found = sim.deliveries.all.iter().rev().filter(wanted);
    let page: Vec<Value> = found.by_ref().take(per_page).map(item).collect();
    let next = found.next().map(|delivery| delivery.id.to_string());
    Answer { cursor: next, ..Answer::ok(200, page.into()) }
}

pub fn delivery(sim: &mut Sim, ask: &Ask) -> Answer {
    let Some(hook) = named(sim, ask) else { return Answer::not_found() };
    let id = ask.id("delivery_id");
    let known = |delivery: &&Delivery| delivery.hook == hook && delivery.id == id;
    let Some(found) = sim.deliveries.all.iter().find(known) else { return Answer::not_found() };
    let settings = sim.settings.webhooks.iter().find(|known| known.id == hook);
    let headers: Value = settings
        .map(|hook| hook.request(found).0)
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect();
    let mut shown = item(found);
    shown["url"] = json!(settings.map_or("", |hook| hook.url.as_str()));
    let payload: Value = serde_json::from_str(&found.body).unwrap_or_default();
    shown["request"] = json!({ "headers": headers, "payload": payload });
    shown["response"] = json!({ "headers": {}, "payload": "" });
    Answer::ok(200, shown)
}

pub fn redeliver(sim: &mut Sim, ask: &Ask) -> Answer {
    let Some(hook) = named(sim, ask) else { return Answer::not_found() };
    match sim.redeliver(hook, ask.id("delivery_id"), ask.now) {
        true => Answer::ok(202, json!({})),
        false => Answer::not_found(),
    }
}

/// The hook that the path names; an App has but one.
fn named(sim: &Sim, ask: &Ask) -> Option<u64> {
    let app = !ask.params.contains_key("hook_id");
    let mut hooks = sim.settings.webhooks.iter();
    let mine = |hook: &&Webhook| match app {
        true => hook.scope == "app",
        false => hook.scope == ask.scope() && hook.id == ask.id("hook_id"),
    };
    hooks.find(mine).map(|hook| hook.id)
}

fn item(delivery: &Delivery) -> Value {
    let good = (200..400).contains(&delivery.status);
    json!({
        "id": delivery.id,
        "guid": delivery.guid,
        "delivered_at": json::time(delivery.time),
        "redelivery": delivery.redelivery,
        "duration": 0.03,
        "status": if good { "OK" } else { "failed to connect to host" },
        "status_code": delivery.status,
        "event": delivery.event,
        "action": delivery.action,
        "installation_id": null,
        "repository_id": json::number(&delivery.repository),
        "throttled_at": null,
    })
}
