//! Every body that the simulator gives is what GitHub's published OpenAPI description says.

use std::collections::BTreeSet;
use std::fs;

use pitcrew_exporter::clock;
use pitcrew_tests::fake_github::auth::APP_KEY;
use pitcrew_tests::fake_github::rest::ENDPOINTS;
use pitcrew_tests::fake_github::settings::{Settings, TOKEN, Webhook};
use pitcrew_tests::fake_github::sim::Sim;
use pitcrew_tests::peers;
use serde_json::Value;

use super::*;

/// GitHub's description, and what has been compared with it.
struct Schemas {
    document: Value,
    seen: BTreeSet<(String, String)>,
}

impl Schemas {
    fn load() -> Schemas {
        let text = fs::read_to_string(peers::openapi()).unwrap();
        let mut document = serde_json::from_str(&text).unwrap();
        nullable(&mut document);
        Schemas { document, seen: BTreeSet::new() }
    }

    /// The schema of this answer; where GitHub lists no such error, the one of all errors.
    fn schema(&self, method: &str, path: &str, status: u16) -> Option<Value> {
        let operation = &self.document["paths"][path][method.to_lowercase()];
        assert!(operation.is_object(), "GitHub has no {method} {path}");
        let mut response = &operation["responses"][status.to_string()];
        if let Some(reference) = response["$ref"].as_str() {
            response = self.document.pointer(reference.trim_start_matches('#')).unwrap();
        }
        if response.is_null() {
            assert!(status >= 400, "{method} {path} never answers {status}");
            return Some(json!({ "$ref": "#/components/schemas/basic-error" }));
        }
        response["content"]["application/json"].get("schema").cloned()
    }

    fn check(&mut self, method: &str, path: &str, status: u16, body: &str) {
        let Some(schema) = self.schema(method, path, status) else {
            assert_eq!(body, "", "{method} {path} {status} has no body");
            self.seen.insert((method.to_owned(), path.to_owned()));
            return;
        };
        let body: Value = serde_json::from_str(body).unwrap();
        let schema = self.whole(schema);
        let validator = jsonschema::draft4::options()
            .should_validate_formats(true)
            .build(&schema)
            .unwrap_or_else(|error| panic!("{method} {path} {status}: {error}"));
        let errors: Vec<_> = validator
            .iter_errors(&body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{method} {path} {status}: {errors:#?}\n{body:#}");
        if status < 400 {
            self.seen.insert((method.to_owned(), path.to_owned()));
        }
    }

    /// The schema with just the parts of the document that it refers to.
    fn whole(&self, mut schema: Value) -> Value {
        let (mut found, mut open) = (BTreeSet::new(), references(&schema));
        while let Some(reference) = open.pop() {
            if found.insert(reference.clone()) {
                open.extend(references(&self.document["components"]["schemas"][reference]));
            }
        }
        let schemas = &self.document["components"]["schemas"];
        let parts = found.into_iter().map(|name| (name.clone(), schemas[&name].clone()));
        // In draft 4, what stands beside a `$ref` is not looked at.
        if schema.get("$ref").is_some() {
            schema = json!({ "allOf": [schema] });
        }
        schema["components"] = json!({ "schemas": parts.collect::<serde_json::Map<_, _>>() });
        schema
    }
}

/// The names of the schemas that this one refers to.
fn references(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str);
            let own = own.and_then(|text| text.strip_prefix("#/components/schemas/"));
            fields.values().flat_map(references).chain(own.map(str::to_owned)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// OpenAPI 3.0 says `nullable` where JSON Schema wants null among the types.
fn nullable(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(nullable);
            // A schema's `nullable` is a bool; a property of that name would be a schema.
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                fields.remove("nullable");
                let strict = Value::Object(std::mem::take(fields));
                fields.insert("anyOf".to_owned(), json!([strict, { "type": "null" }]));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(nullable),
        _ => {}
    }
}

/// A call by its template: `{…}` are filled in from what the simulator knows.
struct Caller<'a> {
    github: &'a FakeGithub,
    schemas: Schemas,
    ids: Vec<(&'static str, String)>,
}

impl Caller<'_> {
    async fn call(&mut self, method: &str, path: &str, query: &str, body: Value, want: u16) {
        let authorization = match path.starts_with("/app/") {
            true => format!("Bearer {}", app_token()),
            false => format!("Bearer {TOKEN}"),
        };
        self.call_as(&authorization, method, path, query, body, want).await;
    }

    async fn call_as(
        &mut self,
        authorization: &str,
        method: &str,
        path: &str,
        query: &str,
        body: Value,
        want: u16,
    ) {
        let mut url = format!("{}{path}{query}", self.github.url);
        for (name, id) in &self.ids {
            url = url.replace(&format!("{{{name}}}"), id);
        }
        let request = reqwest::Client::new()
            .request(method.parse().unwrap(), &url)
            .header("authorization", authorization)
            .json(&body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        assert_eq!(status, want, "{method} {url}: {text}");
        // github.com's description leaves out an enterprise's runners; they are like an organization's.
        if let Some(rest) = path.strip_prefix("/enterprises/{enterprise}") {
            self.schemas.check(method, &format!("/orgs/{{org}}{rest}"), status, &text);
            self.schemas.seen.insert((method.to_owned(), path.to_owned()));
            return;
        }
        self.schemas.check(method, path, status, &text);
    }

    fn set(&mut self, name: &'static str, id: impl ToString) {
        self.ids.retain(|(known, _)| *known != name);
        self.ids.push((name, id.to_string()));
    }
}

/// The App's own token, signed here a second time so that the simulator is not tested by the client.
fn app_token() -> String {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let der: String = APP_KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let key = ring::signature::RsaKeyPair::from_der(&STANDARD.decode(der).unwrap()).unwrap();
    let now = clock::unix_seconds() as u64;
    let claims = json!({ "iat": now - 10, "exp": now + 100, "iss": 1 }).to_string();
    let text = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let mut signature = vec![0; key.public().modulus_len()];
    let random = ring::rand::SystemRandom::new();
    let scheme = &ring::signature::RSA_PKCS1_SHA256;
    key.sign(scheme, &random, text.as_bytes(), &mut signature).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

async fn issues(caller: &mut Caller<'_>) {
    let issues = "/repos/{owner}/{repo}/issues";
    let issue = "/repos/{owner}/{repo}/issues/{issue_number}";
    let comments = "/repos/{owner}/{repo}/issues/{issue_number}/comments";
    let new = json!({ "title": "a", "body": "b", "labels": ["x"] });
    caller.call("POST", issues, "", new, 201).await;
    caller.call("POST", issues, "", json!({ "title": "" }), 422).await;
    let number = caller.github.with(|sim, _| *sim.issues.all.keys().next().unwrap());
    caller.set("issue_number", number);
    caller.call("POST", comments, "", json!({ "body": "c" }), 201).await;
    caller.call("GET", comments, "", Value::Null, 200).await;
    let closed = json!({ "state": "closed", "state_reason": "completed" });
    caller.call("PATCH", issue, "", closed, 200).await;
    caller.call("GET", issue, "", Value::Null, 200).await;
    caller.call("GET", issues, "?state=all", Value::Null, 200).await;
    caller.github.with(|sim, _| sim.issues.deleted.push(number));
    caller.call("GET", issue, "", Value::Null, 410).await;
}

/// Hooks of all three owners; the deliveries reach nobody.
async fn deliveries(caller: &mut Caller<'_>) {
    let hooks = ["/repos/{owner}/{repo}/hooks", "/orgs/{org}/hooks"];
    for list in hooks {
        caller.call("GET", list, "", Value::Null, 200).await;
    }
    caller.call("GET", "/app/hook/config", "", Value::Null, 200).await;
    for (id, start) in [
        (1, "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries"),
        (2, "/orgs/{org}/hooks/{hook_id}/deliveries"),
        (3, "/app/hook/deliveries"),
    ] {
        caller.set("hook_id", id);
        let delivered = |sim: &mut Sim| {
            let mut all = sim.deliveries.all.iter();
            all.find(|delivery| delivery.hook == id && delivery.status != 0).map(|found| found.id)
        };
        let mut found = None;
        while found.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            found = caller.github.with(|sim, _| delivered(sim));
        }
        caller.set("delivery_id", found.unwrap());
        for query in ["", "?per_page=1", "?status=failure"] {
            caller.call("GET", start, query, Value::Null, 200).await;
        }
        let one = format!("{start}/{{delivery_id}}");
        caller.call("GET", &one, "", Value::Null, 200).await;
        caller.call("POST", &format!("{one}/attempts"), "", Value::Null, 202).await;
    }
}

#[tokio::test]
async fn every_body_fits_githubs_schema() {
    let hook = |id, scope: &str| Webhook {
        id,
        scope: scope.to_owned(),
        url: "http://127.0.0.1:1/".to_owned(),
        ..Webhook::default()
    };
    let webhooks = vec![hook(1, REPOSITORY), hook(2, "owner"), hook(3, "app")];
    let usage = json!({ "date": "2026-01-01T00:00:00Z", "product": "Actions", "sku": "Linux",
        "quantity": 3, "unitType": "minutes", "pricePerUnit": 0.006, "grossAmount": 0.018,
        "discountAmount": 0.0, "netAmount": 0.018, "organizationName": "owner",
        "repositoryName": REPOSITORY });
    let settings = Settings { busy_lag: 0.0, webhooks, usage: vec![usage], ..Settings::default() };
    let github = FakeGithub::start(settings).await;
    let mut caller = Caller { github: &github, schemas: Schemas::load(), ids: Vec::new() };
    for (name, id) in [
        ("owner", "owner"),
        ("repo", "name"),
        ("org", "owner"),
        ("installation_id", "2"),
        ("workflow_id", "ci.yml"),
        ("enterprise", "acme"),
        ("attempt_number", "1"),
    ] {
        caller.set(name, id);
    }
    caller
        .call("POST", "/app/installations/{installation_id}/access_tokens", "", json!({}), 201)
        .await;
    caller.call("GET", "/rate_limit", "", Value::Null, 200).await;

    let new = json!({ "name": "e", "scope": "enterprises/acme", "labels": ["x"] });
    let new: NewRunner = serde_json::from_value(new).unwrap();
    caller.set("runner_id", github.with(|sim, now| sim.register(&new, now)).id);
    for path in ["", "/{runner_id}"] {
        let path = format!("/enterprises/{{enterprise}}/actions/runners{path}");
        caller.call("GET", &path, "", Value::Null, 200).await;
    }
    for start in ["/repos/{owner}/{repo}", "/orgs/{org}"] {
        let scope = if start.contains("org}") { "owner" } else { REPOSITORY };
        let new = |name: &str| -> NewRunner {
            let new =
                json!({ "name": name, "scope": scope, "labels": ["x"], "ephemeral": name == "b" });
            serde_json::from_value(new).unwrap()
        };
        let a = github.with(|sim, now| sim.register(&new("a"), now));
        github.with(|sim, now| sim.register(&new("b"), now));
        caller.set("runner_id", a.id);
        caller.set("name", "x");
        let runners = format!("{start}/actions/runners");
        let runner = format!("{runners}/{{runner_id}}");
        let labels = format!("{runner}/labels");
        let label = format!("{labels}/{{name}}");
        for (method, path, query, body, want) in [
            ("GET", &runners, "", Value::Null, 200),
            ("GET", &runners, "?per_page=1&page=2", Value::Null, 200),
            ("GET", &runner, "", Value::Null, 200),
            ("GET", &labels, "", Value::Null, 200),
            ("POST", &labels, "", json!({ "labels": ["y"] }), 200),
            ("POST", &labels, "", json!({ "labels": [] }), 422),
            ("PUT", &labels, "", json!({ "labels": ["x", "z"] }), 200),
            ("DELETE", &label, "", Value::Null, 200),
            ("DELETE", &label, "", Value::Null, 404),
            ("DELETE", &labels, "", Value::Null, 200),
        ] {
            caller.call(method, path, query, body, want).await;
        }
        caller.set("name", "linux");
        caller.call("DELETE", &label, "", Value::Null, 422).await;
        // Once in contact it has a version; busy, it cannot be removed.
        let job = json!({ "repository": REPOSITORY, "count": 2, "concurrency": "ci" });
        let job = serde_json::from_value(job).unwrap();
        let (run, _) = github.with(|sim, now| sim.queue(&job, "push", now));
        let job = github.with(|sim, now| sim.poll(a.id, &a.token, now)).unwrap().unwrap();
        caller.set("run_id", run);
        caller.set("job_id", job.id);
        caller.call("GET", &runners, "", Value::Null, 200).await;
        caller.call("DELETE", &runner, "", Value::Null, 422).await;
        jobs(&mut caller).await;
        let end = |job| github.with(|sim, now| sim.complete(a.id, &a.token, job, "failure", now));
        end(job.id).unwrap();
        caller.call("POST", RERUN, "", Value::Null, 403).await;
        let job = github.with(|sim, now| sim.poll(a.id, &a.token, now)).unwrap().unwrap();
        end(job.id).unwrap();
        jobs(&mut caller).await;
        caller.call("POST", RERUN, "", Value::Null, 201).await;
        jobs(&mut caller).await;
        let job = github.with(|sim, now| sim.poll(a.id, &a.token, now)).unwrap().unwrap();
        end(job.id).unwrap();
        caller.call("DELETE", &runner, "", Value::Null, 204).await;
        caller.call("GET", &runner, "", Value::Null, 404).await;
    }
    let dispatch = "/repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches";
    caller.call("POST", dispatch, "", json!({ "ref": "main" }), 204).await;
    let detailed = json!({ "ref": "main", "return_run_details": true });
    caller.call("POST", dispatch, "", detailed, 200).await;
    caller.call("POST", dispatch, "", json!({}), 422).await;
    issues(&mut caller).await;
    deliveries(&mut caller).await;
    for (path, query) in [
        ("/orgs/{org}/repos", ""),
        ("/installation/repositories", ""),
        ("/organizations/{org}/settings/billing/usage", "?year=2026&month=1&day=1"),
    ] {
        caller.call("GET", path, query, Value::Null, 200).await;
    }
    let runners = "/repos/{owner}/{repo}/actions/runners";
    caller.call_as("Bearer wrong", "GET", runners, "", Value::Null, 401).await;
    github.with(|sim, _| sim.settings.rate_limit = 1);
    caller.call("GET", runners, "", Value::Null, 403).await;

    let seen = &caller.schemas.seen;
    let missing: Vec<_> = ENDPOINTS
        .iter()
        .filter(|known| !seen.contains(&(known.method.to_owned(), known.path.to_owned())))
        .map(|known| format!("{} {}", known.method, known.path))
        .collect();
    assert!(missing.is_empty(), "not compared with GitHub's description: {missing:#?}");
}

const RERUN: &str = "/repos/{owner}/{repo}/actions/jobs/{job_id}/rerun";

/// All that concerns runs and jobs, as they stand.
async fn jobs(caller: &mut Caller<'_>) {
    let runs = "/repos/{owner}/{repo}/actions/runs";
    for query in ["", "?status=queued", "?status=in_progress", "?status=completed&per_page=1"] {
        caller.call("GET", runs, query, Value::Null, 200).await;
    }
    caller.call("GET", "/repos/{owner}/{repo}/actions/runs/{run_id}", "", Value::Null, 200).await;
    for (path, query) in [
        ("jobs", ""),
        ("jobs", "?filter=all"),
        ("attempts/{attempt_number}", ""),
        ("attempts/{attempt_number}/jobs", ""),
        ("concurrency_groups", ""),
    ] {
        let path = format!("/repos/{{owner}}/{{repo}}/actions/runs/{{run_id}}/{path}");
        caller.call("GET", &path, query, Value::Null, 200).await;
    }
    caller.call("GET", "/repos/{owner}/{repo}/actions/jobs/{job_id}", "", Value::Null, 200).await;
}

#[test]
fn a_wrong_body_does_not_fit() {
    let mut schemas = Schemas::load();
    let mut wrong = |body: Value| {
        let path = "/repos/{owner}/{repo}/actions/runners";
        let body = body.to_string();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            schemas.check("GET", path, 200, &body)
        }))
        .is_err()
    };
    let runner = json!({
        "id": 1, "name": "a", "os": "linux", "status": "online", "busy": false, "labels": [],
        "version": null,
    });
    assert!(!wrong(json!({ "total_count": 1, "runners": [runner] })));
    for (field, value) in
        [("busy", json!("no")), ("id", Value::Null), ("labels", json!([{}])), ("version", json!(1))]
    {
        let mut runner = runner.clone();
        runner[field] = value;
        assert!(wrong(json!({ "total_count": 1, "runners": [runner] })), "{field}");
    }
    assert!(wrong(json!({ "runners": [] })));
}
