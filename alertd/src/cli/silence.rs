//! `silence add|list|expire`: who keeps which alerts from being told, and until when.
#![expect(clippy::print_stdout, reason = "a command line prints")]

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use pitcrew_exporter::config::duration;
use reqwest::Method;
use serde_json::{Value, json};

use super::running::{Running, clean, colours, person, text};
use crate::clock;
use crate::route::matchers;
use crate::route::silence::Condition;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    order: Order,
    #[command(flatten)]
    running: Running,
}

#[derive(Debug, clap::Subcommand)]
enum Order {
    /// Keep people from being told of the alerts that all matchers match; prints its id
    Add {
        /// Such as alertname=RunnerOffline 'runner=~"ci-.*"'
        #[arg(required = true, value_name = "MATCHER")]
        matchers: Vec<String>,
        /// For how long
        #[arg(long = "for", value_name = "TIME", default_value = "2h", value_parser = duration::parse)]
        time: Duration,
        /// End it as soon as none of these alerts fires any longer
        #[arg(long)]
        until_resolved: bool,
        /// Why
        #[arg(long, short)]
        comment: String,
        /// Who, if it is not you
        #[arg(long, value_name = "NAME")]
        author: Option<String>,
    },
    /// Silences that hold or will
    List {
        /// Those that ended in the last days too
        #[arg(long)]
        expired: bool,
        /// The whole answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// End silences now
    Expire {
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let running = &args.running;
    match args.order {
        Order::Add { matchers, time, until_resolved, comment, author } => {
            let now = clock::now();
            let body = json!({
                "matchers": conditions(&matchers)?,
                "startsAt": now.rfc3339(),
                "endsAt": now.plus(time).rfc3339(),
                "createdBy": author.unwrap_or_else(person),
                "comment": comment,
                "endsWithAlert": until_resolved,
            });
            let made = running.change(Method::POST, "api/v2/silences", Some(body)).await?;
            println!("{}", clean(text(&made, "silenceID")));
        }
        Order::List { expired, json } => {
            let mut silences = running.ask("api/v2/silences").await?;
            if let Some(list) = silences.as_array_mut().filter(|_| !expired) {
                list.retain(|one| state(one) != "expired");
            }
            match json {
                true => println!("{}", serde_json::to_string_pretty(&silences)?),
                false => {
                    let mut out = String::new();
                    table(&mut out, &silences, colours())?;
                    print!("{out}");
                }
            }
        }
        Order::Expire { ids } => {
            for id in ids {
                if !id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
                    bail!("expected the id of a silence, found {id:?}");
                }
                let path = format!("api/v2/silence/{id}");
                running.change(Method::DELETE, &path, None).await.context(id)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn conditions(texts: &[String]) -> anyhow::Result<Vec<Condition>> {
    let mut conditions = Vec::new();
    for text in texts {
        let found = matchers::parse(text).with_context(|| format!("matcher {text:?}"))?;
        conditions.extend(found.iter().map(Condition::new));
    }
    Ok(conditions)
}

fn state(silence: &Value) -> &str {
    silence.pointer("/status/state").and_then(Value::as_str).unwrap_or("")
}

fn table(out: &mut String, silences: &Value, colours: bool) -> std::fmt::Result {
    let silences = silences.as_array().map_or(&[][..], Vec::as_slice);
    if silences.is_empty() {
        return writeln!(out, "no silences");
    }
    for silence in silences {
        let (colour, end) = match (colours, state(silence)) {
            (true, "active") => ("\x1b[33m", "\x1b[0m"),
            (true, _) => ("\x1b[2m", "\x1b[0m"),
            (false, _) => ("", ""),
        };
        let conditions = silence.get("matchers").and_then(Value::as_array).into_iter().flatten();
        let conditions = conditions.map(|one| {
            let is = |key: &str| one.get(key).and_then(Value::as_bool).unwrap_or(false);
            let op = match (is("isEqual"), is("isRegex")) {
                (true, false) => "=",
                (false, false) => "!=",
                (true, true) => "=~",
                (false, true) => "!~",
            };
            clean(&format!("{}{op}{:?}", text(one, "name"), text(one, "value")))
        });
        writeln!(
            out,
            "{}  {colour}{}{end}  {}",
            clean(text(silence, "id")),
            clean(state(silence)),
            conditions.collect::<Vec<_>>().join(" "),
        )?;
        let with_alert = silence.get("endsWithAlert") == Some(&Value::Bool(true));
        writeln!(
            out,
            "  {} to {}{}  {}: {}",
            text(silence, "startsAt"),
            text(silence, "endsAt"),
            if with_alert { ", or until they end" } else { "" },
            clean(text(silence, "createdBy")),
            clean(text(silence, "comment")),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_can_be_read() {
        let silences = json!([{
            "id": "i", "status": { "state": "active" }, "createdBy": "ann", "comment": "disk\u{7}",
            "startsAt": "from", "endsAt": "until", "endsWithAlert": true,
            "matchers": conditions(&["a=b".to_owned(), "c!~d.*".to_owned()]).unwrap(),
        }]);
        let mut out = String::new();
        table(&mut out, &silences, false).unwrap();
        let want = "i  active  a=\"b\" c!~\"d.*\"\n  from to until, or until they end  ann: disk\n";
        assert_eq!(out, want);
        assert!(conditions(&["nothing".to_owned()]).is_err());
    }
}
