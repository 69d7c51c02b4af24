//! `alerts show|ack|release`: what fires, what keeps it back, and who looks after it.
#![expect(clippy::print_stdout, reason = "a command line prints")]

use std::collections::HashMap;
use std::fmt::Write;
use std::process::ExitCode;

use anyhow::bail;
use reqwest::Method;
use serde_json::{Value, json};

use super::running::{Running, clean, colours, person, text};
use crate::clock;
use crate::model::sample::Timestamp;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    order: Option<Order>,
    #[command(flatten)]
    running: Running,
}

#[derive(Debug, clap::Subcommand)]
enum Order {
    /// Alerts that fire, with who is told and what keeps them back
    Show {
        /// Only these: severity=critical, 'host=~"a.*"'
        #[arg(value_name = "MATCHER")]
        matchers: Vec<String>,
        /// The whole answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Look after alerts: they are not told again, and their end is
    Ack {
        /// A fingerprint as `show` gives it, or matchers
        #[arg(required = true, value_name = "ALERT")]
        alert: Vec<String>,
        /// What is being done
        #[arg(long, default_value = "")]
        note: String,
        /// Who does it, if it is not you
        #[arg(long, value_name = "NAME")]
        owner: Option<String>,
    },
    /// Look after an alert no longer: it is told again in time
    Release { fingerprint: String },
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let running = &args.running;
    match args.order.unwrap_or(Order::Show { matchers: Vec::new(), json: false }) {
        Order::Show { matchers, json } => show(running, &matchers, json).await,
        Order::Ack { alert, note, owner } => {
            let owner = owner.unwrap_or_else(person);
            let body = match alert.as_slice() {
                [one] if is_fingerprint(one) => {
                    json!({ "fingerprint": one, "owner": owner, "note": note })
                }
                matchers => json!({ "matchers": matchers, "owner": owner, "note": note }),
            };
            let path = "api/acknowledgements";
            let answer = running.change(Method::POST, path, Some(body)).await?;
            for one in answer.as_array().into_iter().flatten() {
                let name = one.pointer("/labels/alertname").and_then(Value::as_str).unwrap_or("");
                println!("{}  {}", text(one, "fingerprint"), clean(name));
            }
            Ok(ExitCode::SUCCESS)
        }
        Order::Release { fingerprint } => {
            if !is_fingerprint(&fingerprint) {
                bail!("expected a fingerprint of 16 digits, found {fingerprint:?}");
            }
            let path = format!("api/acknowledgements/{fingerprint}");
            running.change(Method::DELETE, &path, None).await?;
            println!("{fingerprint} is nobody's now");
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn show(running: &Running, matchers: &[String], as_json: bool) -> anyhow::Result<ExitCode> {
    let pairs = matchers.iter().map(|text| ("filter", text));
    let query = reqwest::Url::parse_with_params("http://x/api/v2/alerts", pairs)?;
    let path = format!("api/v2/alerts?{}", query.query().unwrap_or(""));
    let alerts = running.ask(&path).await?;
    let acknowledged = running.ask("api/acknowledgements").await?;
    if as_json {
        println!("{}", serde_json::to_string_pretty(&alerts)?);
        return Ok(ExitCode::SUCCESS);
    }
    let owners = acknowledged.as_array().into_iter().flatten();
    let owners = owners.map(|one| (text(one, "fingerprint"), one)).collect();
    let mut out = String::new();
    table(&mut out, &alerts, &owners, clock::now(), colours())?;
    print!("{out}");
    Ok(ExitCode::SUCCESS)
}

/// One alert a block, the longest lasting first.
fn table(
    out: &mut String,
    alerts: &Value,
    owners: &HashMap<&str, &Value>,
    now: Timestamp,
    colours: bool,
) -> std::fmt::Result {
    let mut alerts: Vec<&Value> = alerts.as_array().into_iter().flatten().collect();
    if alerts.is_empty() {
        return writeln!(out, "nothing fires");
    }
    alerts.sort_by_key(|alert| text(alert, "startsAt"));
    for alert in alerts {
        let label = |name: &str| clean(alert.get("labels").map_or("", |labels| text(labels, name)));
        let suppressed = alert.pointer("/status/state") == Some(&json!("suppressed"));
        let colour = match label("severity").as_str() {
            _ if !colours => "",
            _ if suppressed => "\x1b[2m",
            "critical" | "page" => "\x1b[31m",
            _ => "\x1b[33m",
        };
        let end = if colours { "\x1b[0m" } else { "" };
        let since = Timestamp::parse_rfc3339(text(alert, "startsAt")).unwrap_or(now);
        writeln!(
            out,
            "{colour}{}{end}  {}  for {}  {}",
            label("alertname"),
            label("severity"),
            age(now, since),
            text(alert, "fingerprint"),
        )?;
        let labels = alert.get("labels").and_then(Value::as_object).into_iter().flatten();
        let rest = labels.filter(|(name, _)| !["alertname", "severity"].contains(&name.as_str()));
        let rest: Vec<_> = rest
            .map(|(name, value)| clean(&format!("{name}={}", value.as_str().unwrap_or(""))))
            .collect();
        if !rest.is_empty() {
            writeln!(out, "  {}", rest.join(" "))?;
        }
        let notes = alert.get("annotations");
        let note = |name| notes.map(|notes| clean(text(notes, name))).filter(|t| !t.is_empty());
        if let Some(summary) = note("summary").or_else(|| note("description")) {
            writeln!(out, "  {summary}")?;
        }
        let list = |pointer: &str, key: &str| {
            let list = alert.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
            let name = |one: &Value| {
                let name = if key.is_empty() { one.as_str() } else { Some(text(one, key)) };
                clean(name.unwrap_or(""))
            };
            list.map(name).collect::<Vec<_>>().join(", ")
        };
        let receivers = list("/receivers", "name");
        writeln!(out, "  to {}", if receivers.is_empty() { "nobody" } else { &receivers })?;
        for (words, pointer) in [
            ("silenced by", "/status/silencedBy"),
            ("inhibited by", "/status/inhibitedBy"),
            ("muted by", "/status/mutedBy"),
        ] {
            let by = list(pointer, "");
            if !by.is_empty() {
                writeln!(out, "  {words} {by}")?;
            }
        }
        if let Some(owner) = owners.get(text(alert, "fingerprint")) {
            let (name, note) = (clean(text(owner, "owner")), clean(text(owner, "note")));
            writeln!(
                out,
                "  looked after by {name}{}{note}",
                if note.is_empty() { "" } else { ": " }
            )?;
        }
    }
    Ok(())
}

/// A length of time in its two greatest units.
fn age(now: Timestamp, since: Timestamp) -> String {
    let seconds = now.since(since).as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

fn is_fingerprint(text: &str) -> bool {
    text.len() == 16 && text.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_without_foreign_commands() {
        let alerts = json!([{
            "labels": { "alertname": "A\u{1b}[2J", "severity": "critical", "host": "h1" },
            "annotations": { "summary": "it is down" },
            "startsAt": "1970-01-01T00:00:00.000Z", "fingerprint": "0123456789abcdef",
            "receivers": [{ "name": "team" }, { "name": "page" }],
            "status": { "state": "suppressed", "silencedBy": ["s1"], "inhibitedBy": [] },
        }]);
        let owner = json!({ "owner": "ann", "note": "on it" });
        let owners = HashMap::from([("0123456789abcdef", &owner)]);
        let mut out = String::new();
        table(&mut out, &alerts, &owners, Timestamp(3_660_000), false).unwrap();
        assert!(!out.contains('\u{1b}'), "{out}");
        for part in [
            "critical  for 1h1m  0123456789abcdef",
            "  host=h1\n",
            "  it is down\n",
            "  to team, page\n",
            "  silenced by s1\n",
            "  looked after by ann: on it\n",
        ] {
            assert!(out.contains(part), "{part}: {out}");
        }
        assert!(!out.contains("inhibited"), "{out}");
        let mut none = String::new();
        table(&mut none, &json!([]), &HashMap::new(), Timestamp(0), true).unwrap();
        assert_eq!(none, "nothing fires\n");
    }
}
