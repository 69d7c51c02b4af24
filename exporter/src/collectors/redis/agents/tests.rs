//! Lives of agents, bounded and in everybody's own words.

use super::*;
use crate::exposition::{Format, render};

fn words(text: &str) -> AgentEvents {
    crate::config::yaml::parse(std::path::Path::new("a.yaml"), text).unwrap()
}

const T: u64 = 1_700_000_000;

/// Events as `(second, "field=value field=value")`, and the samples that they leave.
fn told(words: &AgentEvents, events: &[(u64, &str)], counted: bool) -> String {
    let mut life = Life::default();
    for (second, entry) in events {
        let id = Id { ms: (T + second) * 1000, sequence: 0 };
        let pairs = entry.split_whitespace().filter_map(|pair| pair.split_once('='));
        let pairs: Vec<_> = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        life.take(words, id, &pairs, counted);
    }
    let mut families = Families::default();
    life.families("s", &mut families);
    render(&families, Format::Text004)
}

#[track_caller]
fn has(page: &str, lines: &[&str]) {
    for line in lines {
        assert!(page.lines().any(|found| found == *line), "no {line} in\n{page}");
    }
}

#[test]
fn a_life_from_asking_to_scale_down() {
    let page = told(
        &words("stream: e"),
        &[
            (0, "event=requested agent=a pool=gpu"),
            (12, "event=started agent=a"),
            (13, "event=running agent=a"),
            (60, "event=idle agent=a"),
            (61, "event=started agent=a seconds=2.5"),
            (362, "event=stopped agent=a"),
            (370, "event=requested agent=b pool=gpu"),
            (371, "event=running agent=c pool=gpu"),
            (372, "event=requeued pool=gpu"),
            (373, "event=timed_out agent=c"),
        ],
        true,
    );
    has(
        &page,
        &[
            r#"agent_count{server="s",pool="gpu",state="starting"} 1"#,
            r#"agent_count{server="s",pool="gpu",state="idle"} 0"#,
            r#"agent_count{server="s",pool="gpu",state="running"} 1"#,
            r#"agent_starts_total{server="s",pool="gpu",start="cold"} 1"#,
            r#"agent_starts_total{server="s",pool="gpu",start="warm"} 1"#,
            r#"agent_start_duration_seconds_bucket{server="s",pool="gpu",start="cold",le="10"} 0"#,
            r#"agent_start_duration_seconds_bucket{server="s",pool="gpu",start="cold",le="15"} 1"#,
            r#"agent_start_duration_seconds_sum{server="s",pool="gpu",start="warm"} 2.5"#,
            r#"agent_idle_before_stop_seconds_sum{server="s",pool="gpu"} 302"#,
            r#"agent_jobs_requeued_total{server="s",pool="gpu"} 1"#,
            r#"agent_jobs_timed_out_total{server="s",pool="gpu"} 1"#,
            r#"agent_events_total{server="s",result="ok"} 10"#,
        ],
    );
}

#[test]
fn words_and_labels_are_the_users_own() {
    let words = words(
        "stream: e\nfields: { event: type, agent: pod, pool: queue, start: boot, seconds: took }\n\
         events: { started: [ready, up], cold: [scratch], requeued: [retry] }",
    );
    words.check().unwrap();
    let page = told(
        &words,
        &[
            (0, "type=up pod=a queue=q boot=scratch took=21"),
            (1, "type=retry queue=q"),
            (2, "type=started pod=a"),
            (3, "pod=a"),
            (4, "type=idle"),
            (5, "type=ready pod=a boot=warm took=nonsense"),
        ],
        true,
    );
    has(
        &page,
        &[
            r#"agent_start_duration_seconds_sum{server="s",pool="q",start="cold"} 21"#,
            r#"agent_starts_total{server="s",pool="q",start="warm"} 1"#,
            r#"agent_start_duration_seconds_count{server="s",pool="q",start="warm"} 0"#,
            r#"agent_jobs_requeued_total{server="s",pool="q"} 1"#,
            r#"agent_events_total{server="s",result="unknown_event"} 1"#,
            r#"agent_events_total{server="s",result="no_event"} 1"#,
            r#"agent_events_total{server="s",result="no_agent"} 1"#,
        ],
    );
}

#[test]
fn history_tells_who_is_there_and_counts_nothing() {
    let events = [(0, "event=requested agent=a"), (5, "event=started agent=a")];
    let page = told(&words("stream: e"), &events, false);
    has(
        &page,
        &[
            r#"agent_count{server="s",pool="",state="idle"} 1"#,
            r#"agent_starts_total{server="s",pool="",start="cold"} 0"#,
        ],
    );
    assert!(!page.contains("agent_events_total{"), "{page}");
}

#[test]
fn a_flood_of_names_stays_bounded() {
    let words = words("stream: e");
    let mut life = Life::default();
    for n in 0..10_000_u64 {
        let id = Id { ms: (T + n) * 1000, sequence: 0 };
        let pair = |k: &str, v: String| (k.to_owned(), v);
        let entry = [
            pair("event", "running".to_owned()),
            pair("agent", format!("a{n}")),
            pair("pool", format!("p{n}")),
        ];
        life.take(&words, id, &entry, true);
    }
    assert_eq!((life.agents.len(), life.pools.len()), (MAX_AGENTS, MAX_POOLS + 1));
    assert_eq!(life.results["too_many_agents"], 8000);
    life.expire((T + 20_000) as f64 + FORGOTTEN);
    assert!(life.agents.is_empty());
}

#[test]
fn bad_words_are_refused() {
    for (text, want) in [
        ("stream: 'e*'", "stream"),
        ("stream: e\nfields: { agent: '' }", "fields"),
        ("stream: e\nevents: { idle: [] }", "events"),
        ("stream: e\nevents: { idle: [running] }", "events"),
    ] {
        assert_eq!(words(text).check().unwrap_err().0, want, "{text}");
    }
}
