//! GitHub's JSON for runners, jobs, runs and what hangs on them.

use serde_json::{Value, json};

use super::sim::{Job, Label, Run, Runner, Sim, Status};

/// A run's status and conclusion.
pub type RunState = (&'static str, Option<&'static str>);

pub fn runner(sim: &Sim, runner: &Runner, now: f64) -> Value {
    let online = runner.is_online(&sim.settings, now);
    json!({
        "id": runner.id,
        "runner_group_id": 1,
        "name": runner.name,
        "os": runner.os.to_lowercase(),
        "status": if online { "online" } else { "offline" },
        "busy": runner.shows_busy(&sim.settings, now),
        "ephemeral": runner.ephemeral,
        "version": runner.last_contact.map(|_| "2.330.0"),
        "labels": runner.labels.iter().map(label).collect::<Vec<_>>(),
    })
}

pub fn label(label: &Label) -> Value {
    let kind = if label.read_only { "read-only" } else { "custom" };
    json!({ "id": label.id, "name": label.name, "type": kind })
}

/// A job of this run.
pub fn job(job: &Job, run: &Run, base: &str) -> Value {
    let repository = &run.repository;
    let api = format!("{base}/repos/{repository}");
    let html = html(base);
    let (runner, name, group) = match &job.runner {
        Some((id, name, group)) => (Some(id), Some(name), Some(group)),
        None => (None, None, None),
    };
    job.odd.spoil(json!({
        "id": job.id,
        "run_id": job.run,
        "run_url": format!("{api}/actions/runs/{}", job.run),
        "run_attempt": job.attempt,
        "node_id": format!("CR_{}", job.id),
        "head_sha": sha(run),
        "url": format!("{api}/actions/jobs/{}", job.id),
        "html_url": format!("{html}/{repository}/actions/runs/{}/job/{}", job.run, job.id),
        "status": job.status.word(),
        "conclusion": job.conclusion,
        "created_at": time(job.created),
        // Before it starts, GitHub shows the time of its creation here.
        "started_at": time(job.started.unwrap_or(job.created)),
        "completed_at": job.completed.map(time),
        "name": job.name,
        "steps": [],
        "check_run_url": format!("{api}/check-runs/{}", job.id),
        "labels": job.labels,
        "runner_id": runner,
        "runner_name": name,
        "runner_group_id": runner.map(|_| 1),
        "runner_group_name": group,
        "workflow_name": run.workflow,
        "head_branch": run.branch,
    }))
}

pub fn run(run: &Run, (status, conclusion): RunState, base: &str) -> Value {
    let api = format!("{base}/repos/{}", run.repository);
    let url = format!("{api}/actions/runs/{}", run.id);
    let owner = run.repository.split_once('/').map_or("", |(owner, _)| owner);
    json!({
        "id": run.id,
        "name": run.workflow,
        "node_id": format!("WFR_{}", run.id),
        "check_suite_id": run.id,
        "check_suite_node_id": format!("CS_{}", run.id),
        "head_branch": run.branch,
        "head_sha": sha(run),
        "path": ".github/workflows/ci.yml",
        "run_number": run.id,
        "run_attempt": run.attempt,
        "event": run.event,
        "status": status,
        "conclusion": conclusion,
        "workflow_id": number(&run.workflow),
        "url": url,
        "html_url": format!("{}/{}/actions/runs/{}", html(base), run.repository, run.id),
        "pull_requests": [],
        "created_at": time(run.created),
        "updated_at": time(run.updated),
        "run_started_at": time(run.started),
        "actor": user(owner, base),
        "triggering_actor": user(owner, base),
        "jobs_url": format!("{url}/jobs"),
        "logs_url": format!("{url}/logs"),
        "check_suite_url": format!("{api}/check-suites/{}", run.id),
        "artifacts_url": format!("{url}/artifacts"),
        "cancel_url": format!("{url}/cancel"),
        "rerun_url": format!("{url}/rerun"),
        "previous_attempt_url": null,
        "workflow_url": format!("{api}/actions/workflows/{}", number(&run.workflow)),
        "head_commit": {
            "id": sha(run),
            "tree_id": sha(run),
            "message": "A change",
            "timestamp": time(run.created),
            "author": { "name": owner, "email": "author@example.org" },
            "committer": { "name": owner, "email": "author@example.org" },
        },
        "repository": repository(&run.repository, base),
        "head_repository": repository(&run.repository, base),
        "display_title": "A change",
    })
}

/// A run's state follows from its latest jobs.
pub fn run_state(sim: &Sim, run: &Run) -> RunState {
    let jobs: Vec<_> = latest(sim, run);
    let all = |status| jobs.iter().all(|job| job.status == status);
    if all(Status::Completed) {
        let ended = |word| jobs.iter().any(|job| job.conclusion.as_deref() == Some(word));
        let worst = ["failure", "timed_out", "cancelled"].into_iter().find(|word| ended(word));
        let skipped = jobs.iter().all(|job| job.conclusion.as_deref() == Some("skipped"));
        let best = if skipped && !jobs.is_empty() { "skipped" } else { "success" };
        return ("completed", Some(worst.unwrap_or(best)));
    }
    let begun = |job: &&Job| matches!(job.status, Status::InProgress | Status::Completed);
    match () {
        () if all(Status::Waiting) => ("waiting", None),
        () if all(Status::Pending) => ("pending", None),
        () if jobs.iter().any(begun) => ("in_progress", None),
        () => ("queued", None),
    }
}

/// The run's jobs, of each name the one of the latest attempt.
pub fn latest<'a>(sim: &'a Sim, run: &Run) -> Vec<&'a Job> {
    let jobs: Vec<_> = run.jobs.iter().filter_map(|id| sim.jobs.get(id)).collect();
    if run.attempt == 1 {
        return jobs;
    }
    let newer =
        |job: &Job| jobs.iter().any(|other| other.name == job.name && other.attempt > job.attempt);
    jobs.iter().copied().filter(|job| !newer(job)).collect()
}

pub fn repository(full_name: &str, base: &str) -> Value {
    let (owner, name) = full_name.split_once('/').unwrap_or((full_name, ""));
    let api = format!("{base}/repos/{full_name}");
    let mut repository = json!({
        "id": number(full_name),
        "node_id": format!("R_{}", number(full_name)),
        "name": name,
        "full_name": full_name,
        "private": true,
        "fork": false,
        "description": null,
        "owner": user(owner, base),
        "html_url": format!("{}/{full_name}", html(base)),
        "url": api,
    });
    for part in [
        "archive",
        "assignees",
        "blobs",
        "branches",
        "collaborators",
        "comments",
        "commits",
        "compare",
        "contents",
        "contributors",
        "deployments",
        "downloads",
        "events",
        "forks",
        "git_commits",
        "git_refs",
        "git_tags",
        "hooks",
        "issue_comment",
        "issue_events",
        "issues",
        "keys",
        "labels",
        "languages",
        "merges",
        "milestones",
        "notifications",
        "pulls",
        "releases",
        "stargazers",
        "statuses",
        "subscribers",
        "subscription",
        "tags",
        "teams",
        "trees",
    ] {
        repository[format!("{part}_url")] = json!(format!("{api}/{part}"));
    }
    repository
}

/// A repository as webhooks tell it, which is more than lists do.
pub fn whole_repository(full_name: &str, base: &str) -> Value {
    let mut whole = repository(full_name, base);
    let html = format!("{}/{full_name}", html(base));
    let more = json!({
        "created_at": time(0.0),
        "updated_at": time(0.0),
        "pushed_at": time(0.0),
        "git_url": format!("git://git.example/{full_name}.git"),
        "ssh_url": format!("git@git.example:{full_name}.git"),
        "clone_url": format!("{html}.git"),
        "svn_url": html,
        "homepage": null,
        "mirror_url": null,
        "language": null,
        "license": null,
        "default_branch": "main",
        "visibility": "private",
        "topics": [],
        "custom_properties": {},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    for flag in [
        "archived",
        "disabled",
        "has_discussions",
        "has_downloads",
        "has_issues",
        "has_pages",
        "has_projects",
        "has_wiki",
        "is_template",
        "web_commit_signoff_required",
    ] {
        whole[flag] = json!(false);
    }
    for count in [
        "forks",
        "forks_count",
        "open_issues",
        "open_issues_count",
        "size",
        "stargazers_count",
        "watchers",
        "watchers_count",
    ] {
        whole[count] = json!(0);
    }
    whole
}

pub fn organization(login: &str, base: &str) -> Value {
    let api = format!("{base}/orgs/{login}");
    json!({
        "login": login,
        "id": number(login),
        "node_id": format!("O_{}", number(login)),
        "url": api,
        "repos_url": format!("{api}/repos"),
        "events_url": format!("{api}/events"),
        "hooks_url": format!("{api}/hooks"),
        "issues_url": format!("{api}/issues"),
        "members_url": format!("{api}/members{{/member}}"),
        "public_members_url": format!("{api}/public_members{{/member}}"),
        "avatar_url": format!("{}/avatars/{login}", html(base)),
        "description": null,
    })
}

pub fn user(login: &str, base: &str) -> Value {
    let api = format!("{base}/users/{login}");
    let mut user = json!({
        "login": login,
        "id": number(login),
        "node_id": format!("U_{}", number(login)),
        "avatar_url": format!("{}/avatars/{login}", html(base)),
        "gravatar_id": "",
        "url": api,
        "html_url": format!("{}/{login}", html(base)),
        "type": "Organization",
        "site_admin": false,
    });
    for part in [
        "events",
        "followers",
        "following",
        "gists",
        "organizations",
        "received_events",
        "repos",
        "starred",
        "subscriptions",
    ] {
        user[format!("{part}_url")] = json!(format!("{api}/{part}"));
    }
    user
}

/// Seconds since the Unix epoch as GitHub writes a time.
pub fn time(seconds: f64) -> String {
    let seconds = seconds as i64;
    let (days, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years are counted from March, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, (month + 2) % 12 + 1);
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Seconds since the Unix epoch as HTTP writes a time: `Sat, 21 Nov 2026 06:05:33 GMT`.
pub fn http_date(seconds: f64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let day = DAYS[(seconds as i64).div_euclid(86_400).rem_euclid(7) as usize];
    let text = time(seconds);
    let (date, clock) = text.split_once('T').expect("written so above");
    let parts: Vec<_> = date.split('-').collect();
    let month = MONTHS[parts[1].parse::<usize>().map_or(0, |month| month - 1) % 12];
    format!("{day}, {} {month} {} {} GMT", parts[2], parts[0], clock.trim_end_matches('Z'))
}

pub fn html(base: &str) -> &str {
    base.trim_end_matches("/api/v3")
}

pub(super) fn sha(run: &Run) -> String {
    format!("{:040x}", run.id)
}

/// A number that stays the same for a name.
pub(super) fn number(name: &str) -> u64 {
    name.bytes().fold(7, |sum: u64, byte| (sum * 31 + u64::from(byte)) % 1_000_000_007)
}

#[cfg(test)]
mod tests {
    use super::{http_date, time};

    #[test]
    fn known_times() {
        for (seconds, text) in [
            (0.0, "1970-01-01T00:00:00Z"),
            (951_825_600.0, "2000-02-29T12:00:00Z"),
            (1_795_241_133.9, "2026-11-21T06:05:33Z"),
            (1_767_225_599.0, "2025-12-31T23:59:59Z"),
        ] {
            assert_eq!(time(seconds), text);
        }
        assert_eq!(http_date(1_795_241_133.0), "Sat, 21 Nov 2026 06:05:33 GMT");
    }
}
