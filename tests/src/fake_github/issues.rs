//! Issues and their comments, as GitHub keeps them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::json;
use super::rest::{Answer, Ask};
use super::sim::Sim;

/// By number, which all repositories share here.
#[derive(Debug, Default)]
pub struct Issues {
    pub all: BTreeMap<u64, Issue>,
    /// Numbers that were deleted: gone for good.
    pub deleted: Vec<u64>,
}

#[derive(Debug, Clone)]
pub struct Issue {
    pub repository: String,
    pub title: String,
    pub body: String,
    pub labels: Vec<String>,
    pub open: bool,
    pub comments: Vec<Comment>,
    pub created: f64,
    pub updated: f64,
}

#[derive(Debug, Clone)]
pub struct Comment {
    pub id: u64,
    pub body: String,
    pub created: f64,
}

/// What GitHub takes of a title and of a text, in characters.
const MAX_TITLE: usize = 256;
const MAX_BODY: usize = 65_536;

pub(super) fn list(sim: &mut Sim, ask: &Ask) -> Answer {
    let scope = ask.scope();
    let query = |name: &str| ask.query.get(name).map_or("", String::as_str);
    let wanted: Vec<&str> = query("labels").split(',').filter(|label| !label.is_empty()).collect();
    let state = match query("state") {
        "" | "open" => Some(true),
        "closed" => Some(false),
        _ => None,
    };
    let fits = |issue: &Issue| {
        issue.repository.eq_ignore_ascii_case(&scope)
            && state.is_none_or(|open| issue.open == open)
            && wanted.iter().all(|label| issue.labels.iter().any(|own| own == label))
    };
    let mut found: Vec<_> = sim.issues.all.iter().filter(|(_, issue)| fits(issue)).collect();
    found.reverse();
    let all = found.into_iter().map(|(number, issue)| whole(*number, issue, ask.base)).collect();
    Answer::array(ask, all)
}

pub(super) fn open(sim: &mut Sim, ask: &Ask) -> Answer {
    if let Some(refused) =
        refused(&ask.body, &["title", "body", "labels", "assignees", "milestone"])
    {
        return refused;
    }
    let title = ask.body["title"].as_str().unwrap_or("");
    if title.trim().is_empty() {
        return Answer::error(422, "Validation Failed");
    }
    let labels = ask.body["labels"].as_array().cloned().unwrap_or_default();
    let issue = Issue {
        repository: ask.scope(),
        title: title.to_owned(),
        body: ask.body["body"].as_str().unwrap_or("").to_owned(),
        labels: labels.iter().filter_map(|label| label.as_str().map(str::to_owned)).collect(),
        open: true,
        comments: Vec::new(),
        created: ask.now,
        updated: ask.now,
    };
    let number = sim.next_id();
    let body = whole(number, &issue, ask.base);
    sim.issues.all.insert(number, issue);
    Answer::ok(201, body)
}

pub(super) fn get(sim: &mut Sim, ask: &Ask) -> Answer {
    let number = ask.id("issue_number");
    match find(sim, ask) {
        Ok(issue) => Answer::ok(200, whole(number, issue, ask.base)),
        Err(answer) => answer,
    }
}

pub(super) fn update(sim: &mut Sim, ask: &Ask) -> Answer {
    let known = ["title", "body", "labels", "state", "state_reason", "assignees", "milestone"];
    if let Some(refused) = refused(&ask.body, &known) {
        return refused;
    }
    let number = ask.id("issue_number");
    let state = ask.body["state"].as_str();
    if state.is_some_and(|state| state != "open" && state != "closed") {
        return Answer::error(422, "Validation Failed");
    }
    match find(sim, ask) {
        Err(answer) => answer,
        Ok(issue) => {
            issue.open = state.map_or(issue.open, |state| state == "open");
            issue.updated = ask.now;
            Answer::ok(200, whole(number, issue, ask.base))
        }
    }
}

pub(super) fn comments(sim: &mut Sim, ask: &Ask) -> Answer {
    let number = ask.id("issue_number");
    let since = ask.query.get("since").cloned().unwrap_or_default();
    match find(sim, ask) {
        Err(answer) => answer,
        Ok(issue) => {
            let late = |comment: &&Comment| json::time(comment.created) >= since;
            let found = issue.comments.iter().filter(late);
            let all = found.map(|comment| one(number, comment, ask.base, &issue.repository));
            let all = all.collect();
            Answer::array(ask, all)
        }
    }
}

pub(super) fn comment(sim: &mut Sim, ask: &Ask) -> Answer {
    if let Some(refused) = refused(&ask.body, &["body"]) {
        return refused;
    }
    let (number, id) = (ask.id("issue_number"), sim.next_id());
    match find(sim, ask) {
        Err(answer) => answer,
        Ok(issue) => {
            let body = ask.body["body"].as_str().unwrap_or("").to_owned();
            let comment = Comment { id, body, created: ask.now };
            let answer = one(number, &comment, ask.base, &issue.repository);
            issue.comments.push(comment);
            Answer::ok(201, answer)
        }
    }
}

fn find<'a>(sim: &'a mut Sim, ask: &Ask) -> Result<&'a mut Issue, Answer> {
    let number = ask.id("issue_number");
    if sim.issues.deleted.contains(&number) {
        return Err(Answer::error(410, "This issue was deleted"));
    }
    let scope = ask.scope();
    let found = sim.issues.all.get_mut(&number);
    found
        .filter(|issue| issue.repository.eq_ignore_ascii_case(&scope))
        .ok_or_else(|| Answer::error(404, "Not Found"))
}

/// What GitHub does not take: fields that it does not know, and texts that are too long.
fn refused(body: &Value, known: &[&str]) -> Option<Answer> {
    let Some(fields) = body.as_object() else {
        return Some(Answer::error(400, "Problems parsing JSON"));
    };
    let unknown = fields.keys().any(|name| !known.contains(&name.as_str()));
    let long =
        |name: &str, max: usize| body[name].as_str().is_some_and(|text| text.chars().count() > max);
    let bad = unknown || long("title", MAX_TITLE) || long("body", MAX_BODY);
    bad.then(|| Answer::error(422, "Validation Failed"))
}

fn whole(number: u64, issue: &Issue, base: &str) -> Value {
    let api = format!("{base}/repos/{}", issue.repository);
    let url = format!("{api}/issues/{number}");
    let labels: Vec<_> = issue.labels.iter().map(|name| json!({ "name": name })).collect();
    json!({
        "id": number,
        "node_id": format!("I_{number}"),
        "url": url,
        "repository_url": api,
        "labels_url": format!("{url}/labels{{/name}}"),
        "comments_url": format!("{url}/comments"),
        "events_url": format!("{url}/events"),
        "html_url": format!("{}/{}/issues/{number}", json::html(base), issue.repository),
        "number": number,
        "state": if issue.open { "open" } else { "closed" },
        "title": issue.title,
        "body": issue.body,
        "user": json::user("pitcrew", base),
        "labels": labels,
        "assignee": null,
        "milestone": null,
        "locked": false,
        "comments": issue.comments.len(),
        "closed_at": if issue.open { Value::Null } else { json::time(issue.updated).into() },
        "created_at": json::time(issue.created),
        "updated_at": json::time(issue.updated),
        "author_association": "OWNER",
    })
}

fn one(number: u64, comment: &Comment, base: &str, repository: &str) -> Value {
    let api = format!("{base}/repos/{repository}/issues");
    json!({
        "id": comment.id,
        "node_id": format!("IC_{}", comment.id),
        "url": format!("{api}/comments/{}", comment.id),
        "html_url": format!("{}/{repository}/issues/{number}#c{}", json::html(base), comment.id),
        "issue_url": format!("{api}/{number}"),
        "body": comment.body,
        "user": json::user("pitcrew", base),
        "created_at": json::time(comment.created),
        "updated_at": json::time(comment.created),
        "author_association": "OWNER",
    })
}
