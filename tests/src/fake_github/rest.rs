//! The REST endpoints, each a function of the simulator's state.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::registry::LabelRefused;
use super::sim::{NewJobs, Runner, Sim};
use super::{auth, hooks, issues, json, lists};

/// A call that is signed in and within its limits.
pub struct Ask<'a> {
    /// What stands at the `{…}` of the endpoint's path.
    pub params: BTreeMap<&'static str, String>,
    pub query: BTreeMap<String, String>,
    pub body: Value,
    pub caller: String,
    pub now: f64,
    /// The API's root as the caller sees it.
    pub base: &'a str,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Option<Value>,
    /// Which page this is, of how many.
    pub page: Option<(usize, usize)>,
    /// Of the next page, for lists that have no numbered ones.
    pub cursor: Option<String>,
}

/// One line of `ENDPOINTS`; `path` is GitHub's own template.
pub struct Endpoint {
    pub method: &'static str,
    pub path: &'static str,
    pub answer: fn(&mut Sim, &Ask) -> Answer,
}

const fn endpoint(
    method: &'static str,
    path: &'static str,
    answer: fn(&mut Sim, &Ask) -> Answer,
) -> Endpoint {
    Endpoint { method, path, answer }
}

/// Signed by the App itself; everything else takes a token.
pub const ACCESS_TOKENS: &str = "/app/installations/{installation_id}/access_tokens";
/// Free of the rate limit.
pub const RATE_LIMIT: &str = "/rate_limit";

#[rustfmt::skip]
pub const ENDPOINTS: &[Endpoint] = &[
    endpoint("POST", ACCESS_TOKENS, access_token),
    endpoint("GET", RATE_LIMIT, rate_limit),
    endpoint("GET", "/repos/{owner}/{repo}/actions/runners", list_runners),
    endpoint("GET", "/repos/{owner}/{repo}/actions/runners/{runner_id}", get_runner),
    endpoint("DELETE", "/repos/{owner}/{repo}/actions/runners/{runner_id}", delete_runner),
    endpoint("GET", "/repos/{owner}/{repo}/actions/runners/{runner_id}/labels", list_labels),
    endpoint("POST", "/repos/{owner}/{repo}/actions/runners/{runner_id}/labels", add_labels),
    endpoint("PUT", "/repos/{owner}/{repo}/actions/runners/{runner_id}/labels", set_labels),
    endpoint("DELETE", "/repos/{owner}/{repo}/actions/runners/{runner_id}/labels", clear_labels),
    endpoint("DELETE", "/repos/{owner}/{repo}/actions/runners/{runner_id}/labels/{name}", remove_label),
    endpoint("GET", "/orgs/{org}/actions/runners", list_runners),
    endpoint("GET", "/orgs/{org}/actions/runners/{runner_id}", get_runner),
    endpoint("DELETE", "/orgs/{org}/actions/runners/{runner_id}", delete_runner),
    endpoint("GET", "/orgs/{org}/actions/runners/{runner_id}/labels", list_labels),
    endpoint("POST", "/orgs/{org}/actions/runners/{runner_id}/labels", add_labels),
    endpoint("PUT", "/orgs/{org}/actions/runners/{runner_id}/labels", set_labels),
    endpoint("DELETE", "/orgs/{org}/actions/runners/{runner_id}/labels", clear_labels),
    endpoint("DELETE", "/orgs/{org}/actions/runners/{runner_id}/labels/{name}", remove_label),
    endpoint("GET", "/enterprises/{enterprise}/actions/runners", list_runners),
    endpoint("GET", "/enterprises/{enterprise}/actions/runners/{runner_id}", get_runner),
    endpoint("GET", "/orgs/{org}/repos", lists::repositories),
    endpoint("GET", "/installation/repositories", lists::installed),
    endpoint("GET", "/organizations/{org}/settings/billing/usage", lists::usage),
    endpoint("GET", "/repos/{owner}/{repo}/hooks", hooks::list),
    endpoint("GET", "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries", hooks::deliveries),
    endpoint("GET", "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries/{delivery_id}", hooks::delivery),
    endpoint("POST", "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries/{delivery_id}/attempts", hooks::redeliver),
    endpoint("GET", "/orgs/{org}/hooks", hooks::list),
    endpoint("GET", "/orgs/{org}/hooks/{hook_id}/deliveries", hooks::deliveries),
    endpoint("GET", "/orgs/{org}/hooks/{hook_id}/deliveries/{delivery_id}", hooks::delivery),
    endpoint("POST", "/orgs/{org}/hooks/{hook_id}/deliveries/{delivery_id}/attempts", hooks::redeliver),
    endpoint("GET", "/app/hook/config", hooks::app_config),
    endpoint("GET", "/app/hook/deliveries", hooks::deliveries),
    endpoint("GET", "/app/hook/deliveries/{delivery_id}", hooks::delivery),
    endpoint("POST", "/app/hook/deliveries/{delivery_id}/attempts", hooks::redeliver),
    endpoint("GET", "/repos/{owner}/{repo}/actions/runs", lists::runs),
    endpoint("GET", "/repos/{owner}/{repo}/actions/runs/{run_id}", get_run),
    endpoint("GET", "/repos/{owner}/{repo}/actions/runs/{run_id}/jobs", list_jobs),
    endpoint("GET", "/repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt_number}", lists::attempt),
    endpoint("GET", "/repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt_number}/jobs", lists::attempt_jobs),
    endpoint("GET", "/repos/{owner}/{repo}/actions/runs/{run_id}/concurrency_groups", lists::concurrency_groups),
    endpoint("GET", "/repos/{owner}/{repo}/actions/jobs/{job_id}", get_job),
    endpoint("POST", "/repos/{owner}/{repo}/actions/jobs/{job_id}/rerun", rerun_job),
    endpoint("POST", "/repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches", dispatch),
    endpoint("GET", "/repos/{owner}/{repo}/issues", issues::list),
    endpoint("POST", "/repos/{owner}/{repo}/issues", issues::open),
    endpoint("GET", "/repos/{owner}/{repo}/issues/{issue_number}", issues::get),
    endpoint("PATCH", "/repos/{owner}/{repo}/issues/{issue_number}", issues::update),
    endpoint("GET", "/repos/{owner}/{repo}/issues/{issue_number}/comments", issues::comments),
    endpoint("POST", "/repos/{owner}/{repo}/issues/{issue_number}/comments", issues::comment),
];

impl Ask<'_> {
    /// `owner/name`, the organization, or `enterprises/name`.
    pub fn scope(&self) -> String {
        match (self.params.get("org"), self.params.get("enterprise")) {
            (Some(org), _) => org.clone(),
            (None, Some(enterprise)) => format!("enterprises/{enterprise}"),
            (None, None) => format!("{}/{}", self.param("owner"), self.param("repo")),
        }
    }

    fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    pub(super) fn id(&self, name: &str) -> u64 {
        self.param(name).parse().unwrap_or(0)
    }

    /// `per_page` and `page`, within GitHub's bounds.
    pub(super) fn page(&self) -> (usize, usize) {
        let number = |name: &str| self.query.get(name)?.parse::<usize>().ok();
        (number("per_page").unwrap_or(30).clamp(1, 100), number("page").unwrap_or(1).max(1))
    }

    /// The body's `labels`, if that is what it holds.
    fn labels(&self) -> Option<Vec<String>> {
        serde_json::from_value(self.body.get("labels")?.clone()).ok()
    }
}

impl Answer {
    pub fn ok(status: u16, body: Value) -> Answer {
        Answer { status, body: Some(body), page: None, cursor: None }
    }

    pub fn error(status: u16, message: &str) -> Answer {
        let documentation_url = "https://docs.github.com/rest";
        let body = json!({
            "message": message,
            "documentation_url": documentation_url,
            "status": status.to_string(),
        });
        Answer::ok(status, body)
    }

    fn empty() -> Answer {
        Answer { status: 204, body: None, page: None, cursor: None }
    }

    pub(super) fn not_found() -> Answer {
        Answer::error(404, "Not Found")
    }

    /// One page of a list that stands for itself.
    pub(super) fn array(ask: &Ask, all: Vec<Value>) -> Answer {
        let (per_page, page) = ask.page();
        let pages = all.len().div_ceil(per_page);
        let items: Vec<_> = all.into_iter().skip((page - 1) * per_page).take(per_page).collect();
        Answer { status: 200, body: Some(items.into()), page: Some((page, pages)), cursor: None }
    }

    /// One page of a list under this name.
    pub(super) fn list(ask: &Ask, name: &str, all: Vec<Value>) -> Answer {
        let (per_page, page) = ask.page();
        let total = all.len();
        let items: Vec<_> = all.into_iter().skip((page - 1) * per_page).take(per_page).collect();
        let body = json!({ "total_count": total, name: items });
        let page = Some((page, total.div_ceil(per_page)));
        Answer { status: 200, body: Some(body), page, cursor: None }
    }
}

fn access_token(sim: &mut Sim, ask: &Ask) -> Answer {
    if ask.id("installation_id") != sim.settings.installation_id {
        return Answer::not_found();
    }
    let (token, end) = auth::issue(sim, ask.now);
    let permissions = json!({ "actions": "write", "administration": "write" });
    let body = json!({
        "token": token,
        "expires_at": json::time(end),
        "permissions": permissions,
        "repository_selection": "all",
    });
    Answer::ok(201, body)
}

fn rate_limit(sim: &mut Sim, ask: &Ask) -> Answer {
    let budget = sim.budgets.budget(&ask.caller, &sim.settings, ask.now);
    let core = json!({
        "limit": budget.limit,
        "remaining": budget.remaining,
        "reset": budget.reset,
        "used": budget.limit - budget.remaining,
    });
    let search = json!({ "limit": 30, "remaining": 30, "reset": budget.reset, "used": 0 });
    Answer::ok(200, json!({ "resources": { "core": core, "search": search }, "rate": core }))
}

fn list_runners(sim: &mut Sim, ask: &Ask) -> Answer {
    let scope = ask.scope();
    let wanted = |runner: &&Runner| {
        let named = ask.query.get("name").is_none_or(|name| runner.name == *name);
        runner.scope.eq_ignore_ascii_case(&scope) && named
    };
    let runners = sim.runners.values().filter(wanted);
    let all = runners.map(|runner| json::runner(sim, runner, ask.now)).collect();
    Answer::list(ask, "runners", all)
}

/// The runner that the path names, if it is registered in the path's scope.
fn runner<'a>(sim: &'a Sim, ask: &Ask) -> Option<&'a Runner> {
    let scope = ask.scope();
    let runner = sim.runners.get(&ask.id("runner_id"))?;
    runner.scope.eq_ignore_ascii_case(&scope).then_some(runner)
}

fn get_runner(sim: &mut Sim, ask: &Ask) -> Answer {
    match runner(sim, ask) {
        Some(runner) => Answer::ok(200, json::runner(sim, runner, ask.now)),
        None => Answer::not_found(),
    }
}

fn delete_runner(sim: &mut Sim, ask: &Ask) -> Answer {
    let Some(runner) = runner(sim, ask) else { return Answer::not_found() };
    let id = runner.id;
    if runner.job.is_some() {
        let message = format!("Runner \"{}\" is still running a job", runner.name);
        return Answer::error(422, &message);
    }
    sim.remove_runner(id, Some(ask.caller.clone()), ask.now);
    Answer::empty()
}

fn list_labels(sim: &mut Sim, ask: &Ask) -> Answer {
    let Some(runner) = runner(sim, ask) else { return Answer::not_found() };
    let labels: Vec<_> = runner.labels.iter().map(json::label).collect();
    Answer::ok(200, json!({ "total_count": labels.len(), "labels": labels }))
}

/// Changes the labels of the path's runner; the answer is what it has then.
fn change_labels(
    sim: &mut Sim,
    ask: &Ask,
    change: impl FnOnce(&mut Sim, u64) -> Result<(), LabelRefused>,
) -> Answer {
    let Some(id) = runner(sim, ask).map(|runner| runner.id) else { return Answer::not_found() };
    match change(sim, id) {
        Ok(()) => list_labels(sim, ask),
        Err(LabelRefused::Unknown(_)) => Answer::not_found(),
        Err(LabelRefused::ReadOnly(name)) => {
            Answer::error(422, &format!("Label {name:?} is read-only and cannot be removed"))
        }
        Err(LabelRefused::Invalid(name)) => {
            Answer::error(422, &format!("Label {name:?} is invalid"))
        }
    }
}

fn add_labels(sim: &mut Sim, ask: &Ask) -> Answer {
    let labels = ask.labels().filter(|labels| (1..=100).contains(&labels.len()));
    let Some(labels) = labels else { return Answer::error(422, "Invalid request: labels") };
    change_labels(sim, ask, |sim, id| sim.add_labels(id, &labels, &ask.caller, ask.now))
}

fn set_labels(sim: &mut Sim, ask: &Ask) -> Answer {
    let Some(labels) = ask.labels() else { return Answer::error(422, "Invalid request: labels") };
    change_labels(sim, ask, |sim, id| sim.set_labels(id, &labels, &ask.caller, ask.now))
}

fn clear_labels(sim: &mut Sim, ask: &Ask) -> Answer {
    change_labels(sim, ask, |sim, id| sim.set_labels(id, &[], &ask.caller, ask.now))
}

fn remove_label(sim: &mut Sim, ask: &Ask) -> Answer {
    let name = ask.param("name");
    change_labels(sim, ask, |sim, id| sim.remove_label(id, name, &ask.caller, ask.now))
}

/// Whether the run exists in the path's repository.
fn has_run(sim: &Sim, ask: &Ask, run: u64) -> bool {
    sim.runs.get(&run).is_some_and(|run| run.repository.eq_ignore_ascii_case(&ask.scope()))
}

fn get_run(sim: &mut Sim, ask: &Ask) -> Answer {
    let id = ask.id("run_id");
    match has_run(sim, ask, id) {
        true => {
            let run = &sim.runs[&id];
            Answer::ok(200, json::run(run, json::run_state(sim, run), ask.base))
        }
        false => Answer::not_found(),
    }
}

fn list_jobs(sim: &mut Sim, ask: &Ask) -> Answer {
    let id = ask.id("run_id");
    if !has_run(sim, ask, id) {
        return Answer::not_found();
    }
    let run = &sim.runs[&id];
    let jobs = match ask.query.get("filter").map(String::as_str) {
        Some("all") => run.jobs.iter().filter_map(|id| sim.jobs.get(id)).collect(),
        _ => json::latest(sim, run),
    };
    let all = jobs.into_iter().map(|job| json::job(job, run, ask.base)).collect();
    Answer::list(ask, "jobs", all)
}

fn get_job(sim: &mut Sim, ask: &Ask) -> Answer {
    match sim.jobs.get(&ask.id("job_id")).filter(|job| has_run(sim, ask, job.run)) {
        Some(job) => Answer::ok(200, json::job(job, &sim.runs[&job.run], ask.base)),
        None => Answer::not_found(),
    }
}

fn rerun_job(sim: &mut Sim, ask: &Ask) -> Answer {
    let id = ask.id("job_id");
    match sim.jobs.get(&id).is_some_and(|job| has_run(sim, ask, job.run)) {
        false => Answer::not_found(),
        true if sim.rerun(id, ask.now).is_some() => Answer::ok(201, json!({})),
        true => Answer::error(403, "The workflow run containing this job is already running"),
    }
}

/// `inputs.labels` is what its one job asks for, separated by commas.
fn dispatch(sim: &mut Sim, ask: &Ask) -> Answer {
    if ask.body["ref"].as_str().is_none() {
        return Answer::error(422, "Invalid request: \"ref\" wasn't supplied");
    }
    let labels = ask.body["inputs"]["labels"].as_str().unwrap_or("self-hosted");
    let new = json!({
        "repository": ask.scope(),
        "workflow": ask.param("workflow_id"),
        "labels": labels.split(',').map(str::trim).collect::<Vec<_>>(),
    });
    let new: NewJobs = serde_json::from_value(new).expect("built as it is read");
    let (run, _) = sim.queue(&new, "workflow_dispatch", ask.now);
    if ask.body["return_run_details"] != true {
        return Answer::empty();
    }
    let url = format!("{}/repos/{}/actions/runs/{run}", ask.base, ask.scope());
    let html = url.replace("/api/v3/repos/", "/").replace("/repos/", "/");
    Answer::ok(200, json!({ "workflow_run_id": run, "run_url": url, "html_url": html }))
}
