//! METRICS.md: every metric of the exporter with its type, labels and meaning.

use crate::collectors::COLLECTORS;
use crate::config::Config;
use crate::metric::{Desc, Kind};
use crate::workflows::{intake, poll, runners, webhook};
use crate::{github, process, scrape, workflows};

const HEAD: &str = "# Metrics of pitcrew-exporter

Written by `pitcrew-exporter check --metrics-md`. Host metrics have the names, labels and meaning \
of node_exporter 1.5. What a host cannot tell is absent, never 0.
A part of a name in angle brackets is the kernel's own name for the field.
";

/// The whole page, in the order of `COLLECTORS`.
pub fn render() -> String {
    let mut text = HEAD.to_owned();
    for entry in COLLECTORS {
        let default = match (entry.on)(&Config::default()) {
            true => "on by default",
            false => "on when configured",
        };
        section(&mut text, &format!("{} ({default})", entry.name), entry.descs);
    }
    section(&mut text, "webhooks (with `github.webhook_secret_file`)", webhook::DESCS);
    section(&mut text, "the log of what GitHub told (with `github`)", intake::DESCS);
    section(&mut text, "workflows on GitHub", workflows::families::DESCS);
    section(&mut text, "workflows, under others' names (on request)", workflows::compat::DESCS);
    section(&mut text, "the exporter itself", OWN);
    section(&mut text, "its calls to GitHub", github::metrics::DESCS);
    section(&mut text, "what it reads there (where a scope is configured)", poll::DESCS);
    section(&mut text, "the runners that GitHub knows", runners::DESCS);
    section(&mut text, "each collector's health", scrape::DESCS);
    section(&mut text, "its process", process::DESCS);
    text
}

/// What the registry of prometheus-client holds, which does not give out its descriptions.
const OWN: &[Desc] = &[
    Desc::gauge("pitcrew_exporter_build_info", "The running version.").with_labels(&["version"]),
    Desc::gauge(
        "pitcrew_exporter_config_last_reload_successful",
        "Whether the last attempt to load the configuration succeeded.",
    ),
    Desc::gauge(
        "pitcrew_exporter_config_last_reload_success_timestamp_seconds",
        "When the configuration in use was loaded, in unixtime.",
    ),
    Desc::counter(
        "pitcrew_exporter_collector_failures_total",
        "Runs of the collector that failed, panicked or missed their deadline.",
    )
    .with_labels(&["collector"]),
    Desc::counter(
        "pitcrew_exporter_collector_skipped_total",
        "Runs of the collector that were left out because the last one still hangs.",
    )
    .with_labels(&["collector"]),
];

fn section(text: &mut String, title: &str, descs: &[Desc]) {
    text.push_str(&format!(
        "\n## {title}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
    ));
    for Desc { name, help, kind, labels } in descs {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Untyped => "untyped",
        };
        let labels = labels.join(", ");
        text.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::App;
    use crate::exposition::Format;
    use std::collections::HashSet;
    use std::{env, fs};

    #[test]
    fn the_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/METRICS.md");
        if env::var_os("UPDATE").is_some() {
            fs::write(path, render()).unwrap();
        }
        let found = fs::read_to_string(path).unwrap_or_default();
        assert!(found == render(), "METRICS.md is old: run this test with UPDATE=1");
    }

    #[test]
    fn names_are_unique() {
        let mut seen = HashSet::new();
        for desc in all() {
            assert!(seen.insert(desc.name), "{} is there twice", desc.name);
            assert_eq!(desc.name.ends_with("_total"), desc.kind == Kind::Counter, "{}", desc.name);
        }
    }

    /// What is exposed here and now is in the page, with the same type.
    #[tokio::test]
    async fn every_family_of_this_host_is_described() {
        let app = App::new(&Config::default(), Some(Box::new(|| Ok(Config::default()))));
        let page = app.page(&http::HeaderMap::new(), Format::Text004).await;
        for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            let fits = |desc: &Desc| {
                format!("{:?}", desc.kind).to_lowercase() == kind && pattern_fits(desc.name, name)
            };
            assert!(all().any(fits), "{line}");
        }
    }

    fn all() -> impl Iterator<Item = &'static Desc> {
        let collectors = COLLECTORS.iter().flat_map(|entry| entry.descs);
        collectors
            .chain(webhook::DESCS)
            .chain(intake::DESCS)
            .chain(workflows::families::DESCS)
            .chain(workflows::compat::DESCS)
            .chain(OWN)
            .chain(github::metrics::DESCS)
            .chain(poll::DESCS)
            .chain(runners::DESCS)
            .chain(scrape::DESCS)
            .chain(process::DESCS)
    }

    fn pattern_fits(pattern: &str, name: &str) -> bool {
        match pattern.split_once('<') {
            Some((before, rest)) => {
                let after = rest.split_once('>').map_or("", |(_, after)| after);
                name.starts_with(before) && name.ends_with(after)
            }
            None => pattern == name,
        }
    }
}
