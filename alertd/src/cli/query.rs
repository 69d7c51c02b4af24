//! `query`: asks a running alertd, or any Prometheus, and prints a table.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Method;
use serde::Deserialize;

use super::asked::Asked;
use crate::http_client::HttpClient;
use crate::model::labels::Labels;

/// A little more than the server's own limit, so that its answer is seen.
const PATIENCE: Duration = Duration::from_secs(70);
/// A larger answer is refused: it would fill the memory, and nobody reads it.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// Examples: `query up`, `query --start 2026-11-21T00:00:00Z --end 2026-11-21T01:00:00Z --step 5m
/// 'sum(runner_health)'`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    asked: Asked,
    /// Evaluate at this time (RFC 3339 or Unix seconds) instead of now
    #[arg(long, value_name = "TIME", conflicts_with_all = ["start", "end", "step"])]
    time: Option<String>,
    /// First time of a range query
    #[arg(long, value_name = "TIME", requires_all = ["end", "step"])]
    start: Option<String>,
    /// Last time of a range query
    #[arg(long, value_name = "TIME", requires = "start")]
    end: Option<String>,
    /// Time between two points of a range query, such as 1m
    #[arg(long, value_name = "DURATION", requires = "start")]
    step: Option<String>,
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
    /// A PromQL expression
    #[arg(value_name = "EXPR")]
    expr: String,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let base = args.asked.url.trim_end_matches('/');
    let (path, url) = match args.start {
        Some(_) => ("query_range", format!("{base}/api/v1/query_range")),
        None => ("query", format!("{base}/api/v1/query")),
    };
    let mut form = vec![("query", args.expr.as_str())];
    for (name, value) in
        [("time", &args.time), ("start", &args.start), ("end", &args.end), ("step", &args.step)]
    {
        form.extend(value.as_deref().map(|value| (name, value)));
    }
    let client = HttpClient::new(args.asked.client()?);
    let request = client.request(Method::GET, &url).await?.timeout(PATIENCE);
    let sent = request.query(&form).send().await;
    let mut answer =
        sent.map_err(reqwest::Error::without_url).with_context(|| format!("cannot ask {url}"))?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.with_context(|| format!("cannot read {url}"))? {
        if body.len() + chunk.len() > MAX_BYTES {
            bail!("{url}: expected an answer of at most {MAX_BYTES} bytes, found more");
        }
        body.extend_from_slice(&chunk);
    }
    let read = serde_json::from_slice::<Reply>(&body);
    let reply =
        read.with_context(|| format!("{url}: expected Prometheus' JSON, found status {status}"))?;
    let data = match reply {
        Reply { data: Some(data), .. } => data,
        Reply { error, .. } => bail!("{path}: {}", error.unwrap_or_else(|| status.to_string())),
    };
    let text = match args.json {
        true => String::from_utf8(body)?,
        false => table(&data, &reply.warnings),
    };
    print(text.trim_end());
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "printing the answer is what this command is for")]
fn print(text: &str) {
    println!("{text}");
}

#[derive(Debug, Deserialize)]
struct Reply {
    data: Option<Data>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar((f64, String)),
    String((f64, String)),
    Vector(Vec<Element>),
    Matrix(Vec<Element>),
}

#[derive(Debug, Deserialize)]
struct Element {
    metric: std::collections::BTreeMap<String, String>,
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// A line a series, or a line a point; values in a column of their own.
fn table(data: &Data, warnings: &[String]) -> String {
    let mut rows: Vec<(String, String)> = Vec::new();
    match data {
        Data::Scalar((_, value)) => rows.push((String::new(), value.clone())),
        Data::String((_, text)) => rows.push((String::new(), clean(text))),
        Data::Vector(elements) | Data::Matrix(elements) => {
            for Element { metric, value, values } in elements {
                let pairs = metric.iter().map(|(name, value)| (name.as_str(), clean(value)));
                let series = Labels::from_pairs(pairs).to_string();
                rows.extend(value.iter().map(|(_, value)| (series.clone(), value.clone())));
                for (at, value) in values {
                    let at = crate::model::sample::Timestamp::from_seconds(*at).rfc3339();
                    rows.push((format!("{series} @ {at}"), value.clone()));
                }
            }
        }
    }
    let width = rows.iter().map(|(series, _)| series.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for warning in warnings {
        writeln!(text, "warning: {}", clean(warning)).expect("a String takes every write");
    }
    for (series, value) in &rows {
        let gap = if width == 0 { "" } else { "  " };
        writeln!(text, "{series:width$}{gap}{value}").expect("a String takes every write");
    }
    if rows.is_empty() {
        text.push_str("no series\n");
    }
    text
}

/// What comes from outside must not steer the terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        for (json, want) in [
            (r#"{"resultType":"scalar","result":[1,"2"]}"#, "2\n"),
            (r#"{"resultType":"vector","result":[]}"#, "no series\n"),
            (
                r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","a":"\u001b[2J"},"value":[1,"1"]},{"metric":{},"value":[1,"NaN"]}]}"#,
                "up{a=\"\u{fffd}[2J\"}  1\n{}            NaN\n",
            ),
            (
                r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1.5,"1"]]}]}"#,
                "{} @ 1970-01-01T00:00:01.500Z  1\n",
            ),
        ] {
            let data: Data = serde_json::from_str(json).unwrap();
            assert_eq!(table(&data, &[]), want, "{json}");
        }
    }
}
