//! Sends events to webhooks, signed, and remembers each delivery as GitHub does. GitHub tries each
//! once; what is lost is sent again only when somebody asks for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ring::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, Key, sign};
use tokio::sync::Semaphore;
use tracing::debug;

use super::Shared;
use super::settings::Webhook;
use super::sim::Sim;
use super::webhooks::{Change, Payload};

const EVERY: Duration = Duration::from_millis(50);
/// GitHub waits this long for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Deliveries under way at a time.
const AT_ONCE: usize = 32;
/// Older deliveries are forgotten beyond this.
const MAX_KEPT: usize = 5_000;
/// A late delivery is overtaken by at most so many.
const MAX_LATE: u32 = 8;
const SEED: u64 = 7;
/// What GitHub lists for a delivery that reached nobody.
const UNREACHED: u16 = 502;

/// One attempt to deliver one event to one hook.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub id: u64,
    /// The same whenever the same event is sent, to whomever.
    pub guid: String,
    pub hook: u64,
    pub event: &'static str,
    pub action: Option<String>,
    pub repository: String,
    pub body: Arc<str>,
    pub time: f64,
    pub redelivery: bool,
    /// 0 until there is an answer.
    pub status: u16,
}

/// What was delivered, and what is late.
#[derive(Debug)]
pub struct Deliveries {
    pub all: VecDeque<Delivery>,
    /// Deliveries that go out after so many others.
    late: Vec<(u32, Delivery)>,
    /// What somebody asked for again.
    again: Vec<Delivery>,
    random: fastrand::Rng,
}

impl Default for Deliveries {
    fn default() -> Deliveries {
        let random = fastrand::Rng::with_seed(SEED);
        Deliveries { all: VecDeque::new(), late: Vec::new(), again: Vec::new(), random }
    }
}

impl Sim {
    /// What goes out now, in this order, with all that goes wrong on the way.
    pub fn take_deliveries(&mut self, base: &str, now: f64) -> Vec<Delivery> {
        let payloads = self.take_payloads(base);
        let hooks = self.settings.webhooks.clone();
        // What is late from before is overtaken by what is new, if there is any.
        let mut out = Vec::new();
        for delivery in std::mem::take(&mut self.deliveries.again) {
            self.deliveries.keep(&delivery);
            out.push(delivery);
        }
        for payload in &payloads {
            let guid = self.guid();
            let body: Arc<str> = payload.body.to_string().into();
            for hook in hooks.iter().filter(|hook| hook.wants(payload)) {
                let delivery = Delivery {
                    id: self.next_id(),
                    guid: guid.clone(),
                    hook: hook.id,
                    event: payload.event,
                    action: payload.action.clone(),
                    repository: payload.repository.clone(),
                    body: Arc::clone(&body),
                    time: now,
                    redelivery: false,
                    status: 0,
                };
                self.deliveries.send(delivery, hook, &mut out);
            }
        }
        if payloads.is_empty() {
            out.extend(self.deliveries.late.drain(..).map(|(_, delivery)| delivery));
        }
        out
    }

    /// Sends a delivery's event to its hook once more; false when it is unknown.
    pub fn redeliver(&mut self, hook: u64, id: u64, now: f64) -> bool {
        let known = |delivery: &&Delivery| delivery.id == id && delivery.hook == hook;
        let Some(old) = self.deliveries.all.iter().find(known).cloned() else { return false };
        let id = self.next_id();
        let delivery = Delivery { id, time: now, redelivery: true, status: 0, ..old };
        self.deliveries.again.push(delivery);
        true
    }

    pub fn ping(&mut self, hook: u64) {
        self.changes.push_back(Change::Ping(hook));
    }

    fn guid(&mut self) -> String {
        let id = self.next_id();
        format!("{:08x}-{:04x}-11f0-8000-{id:012x}", id & 0xffff_ffff, id & 0xffff)
    }
}

impl Deliveries {
    fn send(&mut self, mut delivery: Delivery, hook: &Webhook, out: &mut Vec<Delivery>) {
        if self.random.f64() < hook.lost {
            delivery.status = UNREACHED;
            self.keep(&delivery);
            return;
        }
        self.keep(&delivery);
        if self.random.f64() < hook.late {
            self.late.push((self.random.u32(1..=MAX_LATE), delivery));
            return;
        }
        if self.random.f64() < hook.repeated {
            out.push(delivery.clone());
        }
        out.push(delivery);
        self.late.retain_mut(|(left, delivery)| {
            *left -= 1;
            if *left == 0 {
                out.push(delivery.clone());
            }
            *left > 0
        });
    }

    fn keep(&mut self, delivery: &Delivery) {
        self.all.push_back(delivery.clone());
        if self.all.len() > MAX_KEPT {
            self.all.pop_front();
        }
    }
}

impl Webhook {
    fn wants(&self, payload: &Payload) -> bool {
        let owner = payload.repository.split_once('/').map_or("", |(owner, _)| owner);
        let inside = match self.scope.as_str() {
            "" | "app" => true,
            scope => {
                scope.eq_ignore_ascii_case(&payload.repository) || scope.eq_ignore_ascii_case(owner)
            }
        };
        let own = payload.event != "ping" || payload.body["hook_id"] == self.id;
        let wanted = self.events.is_empty() || self.events.iter().any(|one| one == payload.event);
        own && (payload.event == "ping" || inside && wanted)
    }

    /// The body as it is sent, and all headers.
    pub fn request(&self, delivery: &Delivery) -> (Vec<(&'static str, String)>, String) {
        let (kind, body) = match self.form {
            true => ("application/x-www-form-urlencoded", form(&delivery.body)),
            false => ("application/json", delivery.body.to_string()),
        };
        let target = match self.scope.as_str() {
            "app" => "integration",
            scope if scope.contains('/') => "repository",
            _ => "organization",
        };
        let mut headers = vec![
            ("content-type", kind.to_owned()),
            ("user-agent", "GitHub-Hookshot/simulated".to_owned()),
            ("x-github-event", delivery.event.to_owned()),
            ("x-github-delivery", delivery.guid.clone()),
            ("x-github-hook-id", self.id.to_string()),
            ("x-github-hook-installation-target-type", target.to_owned()),
            ("x-github-hook-installation-target-id", super::json::number(&self.scope).to_string()),
        ];
        if !self.secret.is_empty() {
            for (name, scheme, algorithm) in [
                ("x-hub-signature", "sha1", HMAC_SHA1_FOR_LEGACY_USE_ONLY),
                ("x-hub-signature-256", "sha256", HMAC_SHA256),
            ] {
                let tag = sign(&Key::new(algorithm, self.secret.as_bytes()), body.as_bytes());
                let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                headers.push((name, format!("{scheme}={hex}")));
            }
        }
        (headers, body)
    }
}

/// Lets time pass in the simulator and sends what happened, until it is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().expect("no options can clash");
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        tokio::time::sleep(EVERY).await;
        let (hooks, deliveries) = shared.with(|sim, now, _| {
            sim.tick(now);
            (sim.settings.webhooks.clone(), sim.take_deliveries(&shared.url, now))
        });
        for delivery in deliveries {
            let Some(hook) = hooks.iter().find(|hook| hook.id == delivery.hook) else { continue };
            let (headers, body) = hook.request(&delivery);
            let mut request = client.post(&hook.url).body(body);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let (shared, places) = (Arc::clone(&shared), Arc::clone(&places));
            let place = places.acquire_owned().await.expect("never closed");
            tokio::spawn(async move {
                let status = match request.send().await {
                    Ok(answer) => answer.status().as_u16(),
                    Err(error) => {
                        debug!(%error, "webhook not delivered");
                        UNREACHED
                    }
                };
                drop(place);
                shared.with(|sim, _, _| {
                    let mut newest = sim.deliveries.all.iter_mut().rev();
                    if let Some(known) = newest.find(|known| known.id == delivery.id) {
                        known.status = status;
                    }
                });
            });
        }
    }
}

/// `payload=` and everything but letters and digits escaped.
fn form(body: &str) -> String {
    let mut text = "payload=".to_owned();
    for byte in body.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
