//! Runs with their filters, attempts, concurrency groups, repositories, usage.

use serde_json::{Value, json};

use super::json;
use super::rest::{Answer, Ask};
use super::sim::{Run, Sim};

/// What a filtered list of runs holds at most.
const MOST_FILTERED: usize = 1000;

pub(super) fn runs(sim: &mut Sim, ask: &Ask) -> Answer {
    let repository = ask.scope();
    let filter = |name: &str| ask.query.get(name).map(String::as_str);
    let (status, branch, event) = (filter("status"), filter("branch"), filter("event"));
    let created = filter("created");
    let wanted = |run: &&Run| {
        let (state, conclusion) = json::run_state(sim, run);
        run.repository.eq_ignore_ascii_case(&repository)
            && status.is_none_or(|wanted| wanted == state || Some(wanted) == conclusion)
            && branch.is_none_or(|wanted| wanted == run.branch)
            && event.is_none_or(|wanted| wanted == run.event)
            && created.is_none_or(|range| within(&json::time(run.created), range))
    };
    let newest_first = sim.runs.values().rev().filter(wanted);
    let mut all: Vec<_> = newest_first.collect();
    if status.or(branch).or(event).or(created).is_some() {
        all.truncate(MOST_FILTERED);
    }
    let show = |run: &Run| json::run(run, json::run_state(sim, run), ask.base);
    Answer::list(ask, "workflow_runs", all.into_iter().map(show).collect())
}

pub(super) fn attempt(sim: &mut Sim, ask: &Ask) -> Answer {
    match of_attempt(sim, ask) {
        Some((run, _)) => {
            let mut shown = json::run(run, json::run_state(sim, run), ask.base);
            shown["run_attempt"] = json!(ask.id("attempt_number"));
            Answer::ok(200, shown)
        }
        None => Answer::not_found(),
    }
}

pub(super) fn attempt_jobs(sim: &mut Sim, ask: &Ask) -> Answer {
    match of_attempt(sim, ask) {
        Some((_, jobs)) => Answer::list(ask, "jobs", jobs),
        None => Answer::not_found(),
    }
}

pub(super) fn concurrency_groups(sim: &mut Sim, ask: &Ask) -> Answer {
    let Some(run) = sim.runs.get(&ask.id("run_id")) else { return Answer::not_found() };
    let url = format!("{}/repos/{}/actions", ask.base, run.repository);
    let (state, _) = json::run_state(sim, run);
    let pending = state == "pending";
    let members = match state {
        "completed" => json!([]),
        _ => json!([{
            "run_id": run.id,
            "run_name": run.workflow,
            "run_url": format!("{url}/runs/{}", run.id),
            "run_html_url": null,
            "position": u8::from(pending),
            "position_url": format!("{url}/runs/{}", run.id),
            "status": if pending { "pending" } else { "in_progress" },
        }]),
    };
    let group = |name: &String| {
        json!({
            "group_name": name,
            "group_url": format!("{url}/concurrency_groups/{name}"),
            "group_members": members,
        })
    };
    let groups: Vec<Value> = run.concurrency.iter().map(group).collect();
    Answer::ok(200, json!({ "total_count": groups.len(), "concurrency_groups": groups }))
}

/// The repositories that are set, or that have runs when none is.
pub(super) fn repositories(sim: &mut Sim, ask: &Ask) -> Answer {
    Answer::array(ask, owned(sim, ask))
}

/// The same for an App's installation.
pub(super) fn installed(sim: &mut Sim, ask: &Ask) -> Answer {
    Answer::list(ask, "repositories", owned(sim, ask))
}

/// Usage of one day, or of the first day of each month when no day is asked for.
pub(super) fn usage(sim: &mut Sim, ask: &Ask) -> Answer {
    let number = |name: &str| ask.query.get(name).and_then(|text| text.parse::<u32>().ok());
    let year = number("year")
        .map_or_else(|| json::time(ask.now).chars().take(4).collect(), |year| format!("{year:04}"));
    let wanted = |item: &&Value| {
        let date = item["date"].as_str().unwrap_or("");
        let mut parts = date.split(['-', 'T']);
        let mut part = || parts.next().unwrap_or("");
        let (is_year, month, day) = (part() == year, part(), part());
        let fits =
            |wanted: Option<u32>, is: &str| wanted.is_none_or(|wanted| is.parse() == Ok(wanted));
        let first = number("day").is_some() || day == "01";
        is_year && fits(number("month"), month) && fits(number("day"), day) && first
    };
    let items: Vec<&Value> = sim.settings.usage.iter().filter(wanted).collect();
    Answer::ok(200, json!({ "usageItems": items }))
}

fn owned(sim: &Sim, ask: &Ask) -> Vec<Value> {
    let mut names: Vec<String> = sim.settings.repositories.clone();
    if names.is_empty() {
        names = sim.runs.values().map(|run| run.repository.clone()).collect();
    }
    names.sort();
    names.dedup();
    let org = ask.params.get("org");
    names.retain(|name| {
        let owner = name.split_once('/').map_or("", |(owner, _)| owner);
        org.is_none_or(|org| org.eq_ignore_ascii_case(owner))
    });
    let pushed = |name: &String| {
        let runs = sim.runs.values().filter(|run| run.repository == *name);
        runs.map(|run| run.created).fold(0.0, f64::max)
    };
    names.sort_by(|a, b| pushed(b).total_cmp(&pushed(a)));
    let show = |name: &String| {
        let mut shown = json::whole_repository(name, ask.base);
        shown["pushed_at"] = json!(json::time(pushed(name)));
        shown
    };
    names.iter().map(show).collect()
}

/// The run that the path names and its jobs of that attempt.
fn of_attempt<'a>(sim: &'a Sim, ask: &Ask) -> Option<(&'a Run, Vec<Value>)> {
    let run = sim.runs.get(&ask.id("run_id"))?;
    let attempt = ask.id("attempt_number");
    let known = (1..=u64::from(run.attempt)).contains(&attempt);
    if !known || !run.repository.eq_ignore_ascii_case(&ask.scope()) {
        return None;
    }
    let jobs = run.jobs.iter().filter_map(|id| sim.jobs.get(id));
    let jobs = jobs.filter(|job| u64::from(job.attempt) == attempt);
    Some((run, jobs.map(|job| json::job(job, run, ask.base)).collect()))
}

/// GitHub's date ranges, over times written alike: `>=A`, `<=A`, `A..B`, `A..*`, or a day.
fn within(time: &str, range: &str) -> bool {
    if let Some((from, to)) = range.split_once("..") {
        return (from == "*" || time >= from) && (to == "*" || time <= to);
    }
    for (sign, holds) in [
        (">=", time.ge(range.trim_start_matches(">="))),
        ("<=", time.le(range.trim_start_matches("<="))),
        (">", time.gt(range.trim_start_matches('>'))),
        ("<", time.lt(range.trim_start_matches('<'))),
    ] {
        if range.starts_with(sign) {
            return holds;
        }
    }
    time.starts_with(range)
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn ranges() {
        let time = "2026-11-21T06:05:33Z";
        for (range, holds) in [
            (">=2026-11-21", true),
            (">2026-11-22", false),
            ("<=2026-11-21T06:05:33Z", true),
            ("<2026-11-21T06:05:33Z", false),
            ("2026-11-20..2026-11-22", true),
            ("2026-11-20..2026-11-21", false),
            ("2026-11-20..*", true),
            ("2026-11-21", true),
            ("2026-11-20", false),
        ] {
            assert_eq!(within(time, range), holds, "{range}");
        }
    }
}
