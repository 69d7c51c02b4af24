//! `pool show|failover|failback|hold|release`: what a person sees of the pools and orders them.
#![expect(clippy::print_stdout, reason = "a command line prints")]

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::bail;
use serde_json::{Value, json};

use super::running::{Running, clean, colours, person, text};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    order: Order,
    #[command(flatten)]
    running: Running,
}

#[derive(Debug, clap::Subcommand)]
enum Order {
    /// Members, runners, state and last transitions of one pool, or of all
    Show {
        name: Option<String>,
        /// The whole answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Move the label to the next member; the pool stays there until `failback`
    Failover {
        name: String,
        /// Why, for the journal
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Bring the label back to the primary, step by step
    Failback {
        name: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Change nothing in this pool, or with --all in any, until `release`
    Hold {
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        name: Option<String>,
        #[arg(long)]
        all: bool,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// End a hold
    Release {
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        name: Option<String>,
        #[arg(long)]
        all: bool,
    },
}

impl Order {
    fn name(&self) -> Option<&str> {
        match self {
            Order::Show { name, .. } | Order::Hold { name, .. } | Order::Release { name, .. } => {
                name.as_deref()
            }
            Order::Failover { name, .. } | Order::Failback { name, .. } => Some(name),
        }
    }
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(name) = args.order.name().filter(|name| !is_plain(name)) {
        bail!("a pool's name has only letters, digits, '-', '_' and '.', found {name:?}");
    }
    let one = |name: &str, order: &str| format!("api/pools/{name}/{order}");
    let some = |name: &Option<String>, order: &str| match name {
        Some(name) => one(name, order),
        None => format!("api/{order}"),
    };
    let (path, reason) = match &args.order {
        Order::Show { name, json } => return show(&args, name.as_deref(), *json).await,
        Order::Failover { name, reason } => (one(name, "failover"), reason.as_str()),
        Order::Failback { name, reason } => (one(name, "failback"), reason.as_str()),
        Order::Hold { name, reason, .. } => (some(name, "hold"), reason.as_str()),
        Order::Release { name, .. } => (some(name, "release"), ""),
    };
    let body = json!({ "who": person(), "reason": reason });
    let answer = args.running.order(&path, body).await?;
    println!("{}", clean(answer.pointer("/answer").and_then(Value::as_str).unwrap_or("done")));
    Ok(ExitCode::SUCCESS)
}

async fn show(args: &Args, name: Option<&str>, as_json: bool) -> anyhow::Result<ExitCode> {
    let answer = args.running.ask("api/pools").await?;
    let pools = answer.get("pools").and_then(Value::as_array).cloned().unwrap_or_default();
    let wanted = |pool: &&Value| name.is_none_or(|name| text(pool, "name") == name);
    let shown: Vec<&Value> = pools.iter().filter(wanted).collect();
    if let Some(name) = name.filter(|_| shown.is_empty()) {
        let known: Vec<&str> = pools.iter().map(|pool| text(pool, "name")).collect();
        bail!("no pool is called {name:?}; there are: {}", known.join(", "));
    }
    if as_json {
        println!("{}", serde_json::to_string_pretty(&shown)?);
        return Ok(ExitCode::SUCCESS);
    }
    let colours = colours();
    let mut out = String::new();
    if let Some(hold) = answer.get("hold").filter(|hold| !hold.is_null()) {
        writeln!(
            out,
            "all pools are held by {}: {}",
            clean(text(hold, "who")),
            clean(text(hold, "reason"))
        )?;
    }
    if shown.is_empty() {
        writeln!(out, "no pools are configured")?;
    }
    for pool in shown {
        table(&mut out, pool, colours)?;
    }
    print!("{out}");
    Ok(ExitCode::SUCCESS)
}

/// One pool: its state, its members with their runners, what happened last.
fn table(out: &mut String, pool: &Value, colours: bool) -> std::fmt::Result {
    let state = text(pool, "state");
    let colour = match state {
        _ if !colours => "",
        "normal" => "\x1b[32m",
        "on_backup" | "failing_over" => "\x1b[31m",
        _ => "\x1b[33m",
    };
    let end = if colours { "\x1b[0m" } else { "" };
    writeln!(
        out,
        "{} (label {}, {}, {})  {colour}{state}{end} since {}",
        clean(text(pool, "name")),
        clean(text(pool, "label")),
        clean(text(pool, "scope")),
        text(pool, "trust"),
        time(pool.get("since")),
    )?;
    for key in ["cause", "hold", "error"] {
        if !text(pool, key).is_empty() {
            writeln!(out, "  {key}: {}", clean(text(pool, key)))?;
        }
    }
    for member in list(pool, "members") {
        let runners = list(member, "runners");
        let count = |key: &str| runners.iter().filter(|one| one[key] == Value::Bool(true)).count();
        writeln!(
            out,
            "  {:<16} {:<12} {:>2} runners, {:>2} online, {:>2} busy, {:>2} labelled  {}",
            clean(text(member, "name")),
            text(member, "verdict"),
            runners.len(),
            count("online"),
            count("busy"),
            count("labelled"),
            clean(text(member, "why")),
        )?;
        for runner in runners {
            let mark = |key: &str, yes: &'static str, no: &'static str| match runner[key] {
                Value::Bool(true) => yes,
                Value::Bool(false) => no,
                _ => "?",
            };
            writeln!(
                out,
                "    {:<28} {:<8} {:<5} {:<9} {}",
                clean(text(runner, "name")),
                mark("online", "online", "offline"),
                mark("busy", "busy", "idle"),
                mark("labelled", "labelled", "-"),
                text(runner, "health"),
            )?;
        }
    }
    for step in list(pool, "transitions").iter().take(6) {
        let (from, to) = (text(step, "from"), text(step, "to"));
        let cause = clean(text(step, "cause"));
        writeln!(out, "  {}  {from} -> {to}: {cause}", time(step.get("at")))?;
    }
    for row in list(pool, "journal").iter().take(8) {
        writeln!(
            out,
            "  {}  {} {} by {} ({}): {}",
            time(row.get("intent_at")),
            text(row, "action"),
            clean(text(row, "target")),
            clean(text(row, "who")),
            text(row, "mode"),
            match text(row, "outcome") {
                "" => "under way",
                outcome => outcome,
            },
        )?;
    }
    Ok(())
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn time(value: Option<&Value>) -> String {
    let millis = value.and_then(Value::as_i64).unwrap_or(0);
    crate::model::sample::Timestamp(millis).rfc3339()
}

/// Whether the name can stand in a path as it is.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_safe() {
        for (name, want) in [("ci", true), ("a.b-c_1", true), ("../x", false), ("", false)] {
            assert_eq!(is_plain(name), want, "{name}");
        }
    }

    #[test]
    fn a_table_without_colours_or_foreign_commands() {
        let pool = json!({
            "name": "ci", "label": "ci-active", "scope": "o/r", "trust": "auto",
            "state": "on_backup", "since": 0, "cause": "a\u{1b}[2Jb",
            "members": [{ "name": "primary", "verdict": "down", "why": "dead", "runners": [
                { "name": "a-1", "online": false, "busy": false, "labelled": true, "health": "down" }
            ]}],
            "transitions": [{ "at": 1000, "from": "normal", "to": "degraded", "cause": "c" }],
        });
        let mut out = String::new();
        table(&mut out, &pool, false).unwrap();
        assert!(!out.contains('\u{1b}'), "{out}");
        assert!(out.contains("on_backup since 1970-01-01T00:00:00.000Z"), "{out}");
        assert!(out.contains("1 runners,  0 online,  0 busy,  1 labelled"), "{out}");
        assert!(out.contains("normal -> degraded: c"), "{out}");
        table(&mut out, &pool, true).unwrap();
        assert!(out.contains("\u{1b}[31mon_backup"), "{out}");
        table(&mut String::new(), &Value::Null, false).unwrap();
    }
}
