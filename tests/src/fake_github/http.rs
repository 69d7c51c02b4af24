//! The REST API over HTTP: sign-in, limits, paging, validators, faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use http_body_util::{Full, Limited};
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::Shared;
use super::auth::{check_app, holder};
use super::budget::{Budget, Exceeded};
use super::fault::{Fault, Kind};
use super::json::http_date;
use super::ledger::{Event, What};
use super::rest::{Answer, Ask, ENDPOINTS, Endpoint, RATE_LIMIT};
use super::sim::Sim;

/// Where GitHub Enterprise Server has its API; both places work here.
const ENTERPRISE: &str = "/api/v3";

/// An answer with everything that its headers will say.
struct Reply {
    answer: Answer,
    headers: Vec<(&'static str, String)>,
    budget: Option<Budget>,
    /// The simulator's clock, which may be another than the machine's.
    date: String,
}

pub(super) async fn handle(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let fault = shared.with(|sim, _, faults| {
        let latency = sim.settings.latency;
        (faults.take(method.as_str(), uri.path()), latency)
    });
    let (fault, latency) = fault;
    tokio::time::sleep(Duration::from_secs_f64(latency.clamp(0.0, 600.0))).await;
    let call = Call { method: &method, uri: &uri, headers: &headers, body: &body };
    let spoils = matches!(
        fault,
        Some(Fault {
            effect: false,
            kind: Kind::Status { .. }
                | Kind::Hang
                | Kind::Close
                | Kind::Html(_)
                | Kind::Redirect(_),
            ..
        })
    );
    let note = |sim: &mut Sim, now, status| {
        let what = What {
            call: Some(format!("{method} {uri}")),
            caller: holder(sim, call.header(header::AUTHORIZATION), now),
            status: Some(status),
            ..What::default()
        };
        sim.ledger.add(now, Event::Call, what);
    };
    let reply = shared.with(|sim, now, _| {
        let reply = match spoils {
            true => Reply::new(Answer::error(500, ""), now),
            false => call.answer(sim, &shared.url, now),
        };
        // In one moment: whoever sees the effect of a call finds the call.
        if fault.is_none() {
            note(sim, now, reply.answer.status);
        }
        reply
    });
    let response = match fault {
        Some(fault) => {
            let response = spoil(fault, reply).await;
            shared.with(|sim, now, _| note(sim, now, response.status().as_u16()));
            response
        }
        None => render(reply),
    };
    shared.wake.notify_waiters();
    response
}

impl Reply {
    fn new(answer: Answer, now: f64) -> Reply {
        Reply { answer, headers: Vec::new(), budget: None, date: http_date(now) }
    }
}

struct Call<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    body: &'a [u8],
}

impl Call<'_> {
    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn answer(&self, sim: &mut Sim, url: &str, now: f64) -> Reply {
        sim.tick(now);
        let path = self.uri.path();
        let (prefix, path) = match path.strip_prefix(ENTERPRISE) {
            Some(rest) => (ENTERPRISE, rest),
            None => ("", path),
        };
        let plain = |answer| Reply::new(answer, now);
        let Some((endpoint, params)) = find(self.method.as_str(), path) else {
            return plain(Answer::error(404, "Not Found"));
        };
        let authorization = self.header(header::AUTHORIZATION);
        let caller = if endpoint.path.starts_with("/app/") {
            match check_app(&sim.settings, authorization, now) {
                Ok(()) => "app".to_owned(),
                Err(message) => return plain(Answer::error(401, message)),
            }
        } else {
            match holder(sim, authorization, now) {
                Some(caller) => caller,
                None => return plain(Answer::error(401, "Bad credentials")),
            }
        };
        let body = serde_json::from_slice(self.body).unwrap_or(Value::Null);
        let query = query(self.uri.query().unwrap_or(""));
        let base = format!("{url}{prefix}");
        let ask = Ask { params, query, body, caller: caller.clone(), now, base: &base };
        let mut reply = self.limited(sim, endpoint, &ask);
        if let Some((page, pages)) = reply.answer.page
            && let Some(link) = links(&format!("{base}{path}"), &ask.query, page, pages)
        {
            reply.headers.push(("link", link));
        }
        if let Some(cursor) = reply.answer.cursor.take() {
            let (per_page, _) = ask.page();
            let url = format!("{base}{path}?per_page={per_page}&cursor={cursor}");
            reply.headers.push(("link", format!("<{url}>; rel=\"next\"")));
        }
        reply.budget = Some(sim.budgets.budget(&caller, &sim.settings, now));
        reply
    }

    /// Asks the endpoint, unless a limit or a validator makes that needless.
    fn limited(&self, sim: &mut Sim, endpoint: &Endpoint, ask: &Ask) -> Reply {
        let settings = sim.settings.clone();
        let plain = |answer| Reply::new(answer, ask.now);
        let write = self.method != Method::GET;
        if endpoint.path == RATE_LIMIT {
            return plain((endpoint.answer)(sim, ask));
        }
        match sim.budgets.admit(&ask.caller, write, &settings, ask.now) {
            Ok(()) => {}
            Err(Exceeded::Primary) => {
                return plain(Answer::error(403, "API rate limit exceeded for user ID 1."));
            }
            Err(Exceeded::Secondary) => {
                let message =
                    "You have exceeded a secondary rate limit. Please wait a few minutes.";
                let mut reply = plain(Answer::error(settings.secondary_status, message));
                reply.headers.push(("retry-after", "60".to_owned()));
                return reply;
            }
        }
        let known = &settings.repositories;
        let scope = ask.scope();
        let exists = known.iter().any(|name| {
            name.eq_ignore_ascii_case(&scope)
                || name.split_once('/').is_some_and(|(owner, _)| owner.eq_ignore_ascii_case(&scope))
        });
        let enterprise = ask.params.contains_key("enterprise");
        if enterprise && ask.caller.starts_with("installation ") {
            return plain(Answer::error(403, "Resource not accessible by integration"));
        }
        let denied = settings.denied.iter().find(|(part, _)| self.uri.path().contains(*part));
        if let Some((_, permission)) = denied {
            let message = "Resource not accessible by personal access token";
            let mut reply = plain(Answer::error(403, message));
            reply.headers.push(("x-accepted-github-permissions", permission.clone()));
            return reply;
        }
        let scoped = ["owner", "org"].iter().any(|name| ask.params.contains_key(name));
        let missing = !known.is_empty() && scoped && !exists;
        let answer = match missing {
            true => Answer::error(404, "Not Found"),
            false => (endpoint.answer)(sim, ask),
        };
        let mut reply = plain(answer);
        if self.method == Method::GET && reply.answer.status == 200 {
            let etag = self.etag(&reply.answer);
            if self.header(header::IF_NONE_MATCH) == Some(&etag) {
                reply.answer = Answer { status: 304, body: None, page: None, cursor: None };
            }
            reply.headers.push(("etag", etag));
            reply.headers.push(("cache-control", "private, max-age=60, s-maxage=60".to_owned()));
        }
        if reply.answer.status != 304 {
            sim.budgets.count(&ask.caller, &settings, ask.now);
        }
        reply
    }

    /// GitHub's validators hold only for the token that they were given to.
    fn etag(&self, answer: &Answer) -> String {
        let token = self.header(header::AUTHORIZATION).unwrap_or("");
        let body = answer.body.as_ref().map(Value::to_string).unwrap_or_default();
        let hash = digest(&SHA256, format!("{token}\n{body}").as_bytes());
        let hex: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("W/\"{hex}\"")
    }
}

/// The endpoint for a path, and what stands at its parameters.
fn find(method: &str, path: &str) -> Option<(&'static Endpoint, BTreeMap<&'static str, String>)> {
    let parts: Vec<_> = path.split('/').map(decode).collect();
    ENDPOINTS.iter().filter(|endpoint| endpoint.method == method).find_map(|endpoint| {
        let template: Vec<_> = endpoint.path.split('/').collect();
        if template.len() != parts.len() {
            return None;
        }
        let mut params = BTreeMap::new();
        for (part, template) in parts.iter().zip(template) {
            match template.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => drop(params.insert(name, part.clone())),
                None if part == template => {}
                None => return None,
            }
        }
        Some((endpoint, params))
    })
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(k, v)| (decode(k), decode(v)))
        .collect()
}

/// As a value of a query.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    let one = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Undoes percent encoding.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = ahead;
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The `Link` header of one page of a list; none when there is but one page.
fn links(url: &str, query: &BTreeMap<String, String>, page: usize, pages: usize) -> Option<String> {
    let rest: String = query
        .iter()
        .filter(|(key, _)| *key != "page")
        .map(|(key, value)| format!("{key}={}&", encode(value)))
        .collect();
    let link = |rel: &str, to: usize| format!("<{url}?{rest}page={to}>; rel=\"{rel}\"");
    let mut links = Vec::new();
    if page > 1 {
        links.push(link("prev", page - 1));
    }
    if page < pages {
        links.push(link("next", page + 1));
        links.push(link("last", pages));
    }
    if page > 1 {
        links.push(link("first", 1));
    }
    (!links.is_empty()).then(|| links.join(", "))
}

fn render(reply: Reply) -> Response {
    let text = reply.answer.body.as_ref().map(Value::to_string).unwrap_or_default();
    with_body(&reply, Body::from(text))
}

fn with_body(reply: &Reply, body: Body) -> Response {
    let mut response = Response::builder()
        .status(reply.answer.status)
        .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
        .header("x-github-request-id", "SIMULATED")
        .header(header::DATE, &reply.date);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    if let Some(Budget { limit, remaining, reset }) = reply.budget {
        response = response
            .header("x-ratelimit-limit", limit)
            .header("x-ratelimit-remaining", remaining)
            .header("x-ratelimit-used", limit - remaining)
            .header("x-ratelimit-reset", reset)
            .header("x-ratelimit-resource", "core");
    }
    response.body(body).expect("these headers are plain text")
}

async fn spoil(fault: Fault, mut reply: Reply) -> Response {
    let text = reply.answer.body.as_ref().map(Value::to_string).unwrap_or_default();
    match fault.kind {
        Kind::Status { status, message, headers } => {
            let answer = Answer::error(status, &message);
            let mut response = render(Reply { answer, headers: Vec::new(), ..reply });
            for (name, value) in headers {
                let name = name.parse::<header::HeaderName>();
                if let (Ok(name), Ok(value)) = (name, value.parse()) {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        }
        Kind::Latency(ms) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            render(reply)
        }
        Kind::Hang => std::future::pending().await,
        // A body that fails after its first bytes were promised ends the connection.
        Kind::Close => with_body(&reply, Body::new(Limited::new(Full::new(Bytes::from(text)), 1))),
        Kind::Truncate => {
            let half: String = text.chars().take(text.chars().count() / 2).collect();
            with_body(&reply, Body::from(half))
        }
        Kind::Html(status) => {
            let page = "<html><body><h1>502 Bad Gateway</h1></body></html>";
            let mut response = Response::new(Body::from(page));
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            response
        }
        Kind::WrongType => {
            if let Some(body) = &mut reply.answer.body {
                swap_types(body);
            }
            render(reply)
        }
        Kind::Redirect(to) => {
            reply.answer = Answer::error(307, "Moved");
            reply.headers.push(("location", to));
            render(reply)
        }
        Kind::NextPage(to) => {
            reply.headers.retain(|(name, _)| *name != "link");
            reply.headers.push(("link", format!("<{to}>; rel=\"next\"")));
            render(reply)
        }
        Kind::Huge(bytes) => with_body(&reply, Body::from(vec![b' '; bytes])),
    }
}

fn swap_types(value: &mut Value) {
    match value {
        Value::Number(number) => *value = Value::String(number.to_string()),
        Value::String(_) => *value = Value::from(7),
        Value::Array(items) => items.iter_mut().for_each(swap_types),
        Value::Object(fields) => fields.values_mut().for_each(swap_types),
        _ => {}
    }
}
