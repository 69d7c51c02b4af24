//! Alertd in a storm of alerts: rules that fire and resolve, posted alerts, silences, all at once,
//! while something is done to it; and the account of what was told.

mod full;
mod killed;
mod silences;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::Duration;

use pitcrew_alertd::clock;
use pitcrew_tests::fake_target::{Answer, FakeTarget, TEXT};
use pitcrew_tests::fake_webhook::{self, FakeWebhook};
use pitcrew_tests::live::{Live, PATIENCE};
use pitcrew_tests::process::{free_address, tls};
use pitcrew_tests::{programs, wait};
use serde_json::{Value, json};

/// Alerts of rules, which fire and end by turns.
const RULES: usize = 12;
const FIRING: &str = "firing";
const RESOLVED: &str = "resolved";

struct Storm {
    folder: tempfile::TempDir,
    address: String,
    target: FakeTarget,
    hook: FakeWebhook,
    random: fastrand::Rng,
    on: [bool; RULES],
    /// What has to be told of each alert, in order, by its name.
    wanted: BTreeMap<String, Vec<&'static str>>,
    /// What was told, each notification once.
    told: BTreeMap<String, Vec<String>>,
    /// How often each notification came, by its id.
    arrivals: HashMap<String, usize>,
    seen: usize,
    /// Posted by name, until the answer says that it was taken: its labels, begin and end.
    doubtful: BTreeMap<String, Value>,
    posted: usize,
    silences: usize,
    /// Answers to posts that were no consent.
    refused: usize,
}

impl Storm {
    async fn new() -> Storm {
        tls();
        let storm = Storm {
            folder: tempfile::tempdir().unwrap(),
            address: free_address(),
            target: FakeTarget::page("").await,
            hook: FakeWebhook::start().await,
            random: fastrand::Rng::new(),
            on: [false; RULES],
            wanted: BTreeMap::new(),
            told: BTreeMap::new(),
            arrivals: HashMap::new(),
            seen: 0,
            doubtful: BTreeMap::new(),
            posted: 0,
            silences: 0,
            refused: 0,
        };
        storm.turn();
        let write = |name: &str, text: &str| fs::write(storm.folder.path().join(name), text);
        let rule = "{ alert: Bad, expr: bad == 1 }";
        write(
            "rules.yaml",
            &format!("groups: [ {{ name: g, interval: 200ms, rules: [ {rule} ] }} ]\n"),
        )
        .unwrap();
        write(
            "alertmanager.yaml",
            &format!(
                "route: {{ receiver: r, group_by: [alertname, n], group_wait: 0s, group_interval: 200ms, repeat_interval: 4h }}\n\
                 receivers: [ {{ name: r, webhook_configs: [ {{ url: '{}' }} ] }} ]\n",
                storm.hook.url
            ),
        )
        .unwrap();
        write(
            "alertd.yaml",
            &format!(
                "listen: {}\ndata_dir: data\nrule_files: [rules.yaml]\nnotifications: alertmanager.yaml\n\
                 global: {{ scrape_interval: 100ms, scrape_timeout: 100ms }}\n\
                 rules: {{ resend_delay: 10s, own_alerts: false, flapping: {{ changes: 0 }} }}\n\
                 delivery: {{ min_backoff: 50ms, max_backoff: 200ms }}\n\
                 scrape_configs: [ {{ job_name: j, static_configs: [ {{ targets: ['{}'] }} ] }} ]\n",
                storm.address, storm.target.address
            ),
        )
        .unwrap();
        // Long enough for a kill to come between the request and its answer.
        storm.hook.always(fake_webhook::Answer::Late(Duration::from_millis(20)));
        storm
    }

    fn config(&self) -> String {
        self.folder.path().join("alertd.yaml").to_str().unwrap().to_owned()
    }

    fn start(&self) -> Live {
        let arguments = ["run", "--config", &self.config()];
        Live::start(&programs::alertd(), &arguments, &self.address, self.folder.path())
    }

    async fn is_up(&self, live: &mut Live) {
        wait::until(PATIENCE, "it comes up", async || {
            assert_eq!(live.ended(), None, "{}", live.log());
            live.try_get("/-/ready").await.is_some_and(|(status, _)| status == 200)
        })
        .await;
    }

    /// Shows the target's state to whoever scrapes it.
    fn turn(&self) {
        let line = |(n, on): (usize, &bool)| format!("bad{{n=\"rule{n}\"}} {}\n", u8::from(*on));
        self.target.set(Answer::Page(TEXT, self.on.iter().enumerate().map(line).collect()));
    }

    /// Takes up what the receiver was told since.
    fn absorb(&mut self) {
        for request in self.hook.since(self.seen) {
            self.seen += 1;
            let id = request.header("x-pitcrew-delivery").to_owned();
            assert!(!id.is_empty(), "a notification without an id");
            let arrivals = self.arrivals.entry(id).or_default();
            *arrivals += 1;
            if *arrivals > 1 {
                continue;
            }
            let alerts = request.body["alerts"].as_array().unwrap();
            let [alert] = alerts.as_slice() else { panic!("{alerts:?}: one group an alert") };
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            // What alertd says of itself is not counted here.
            let Some(name) = alert["labels"]["n"].as_str().map(str::to_owned) else { continue };
            self.told.entry(name).or_default().push(text(&alert["status"]));
        }
    }

    /// Whether all that this alert has to be told of was told.
    fn is_settled(&self, name: &str) -> bool {
        self.wanted.get(name).map_or(0, Vec::len) == self.told.get(name).map_or(0, Vec::len)
    }

    /// One moment of the storm, which may break off at any await.
    async fn blow(&mut self, live: &Live) {
        self.absorb();
        for n in 0..RULES {
            let name = format!("rule{n}");
            if self.random.u8(..3) == 0 && self.is_settled(&name) {
                self.on[n] = !self.on[n];
                let next = if self.on[n] { FIRING } else { RESOLVED };
                self.wanted.entry(name).or_default().push(next);
            }
        }
        self.turn();
        if self.random.u8(..4) == 0 {
            self.silence(live).await;
        }
        self.post_new();
        self.end_some();
        self.post(live).await;
    }

    /// Alerts to be posted for the first time.
    fn post_new(&mut self) {
        for _ in 0..self.random.usize(1..4) {
            let name = format!("posted{}", self.posted);
            self.posted += 1;
            let alert = json!({
                "labels": { "alertname": "Posted", "n": name },
                "startsAt": clock::now().rfc3339(),
            });
            self.doubtful.insert(name, alert);
        }
    }

    /// The ends of some posted ones that were told, to be posted.
    fn end_some(&mut self) {
        let fires = |(_, wanted): &(&String, &Vec<&str>)| **wanted == [FIRING];
        let posted = self.wanted.iter().filter(|(name, _)| name.starts_with("posted"));
        let ready = posted.filter(fires).map(|(name, _)| name);
        let ready =
            ready.filter(|name| self.is_settled(name) && !self.doubtful.contains_key(*name));
        for name in ready.take(2).cloned().collect::<Vec<_>>() {
            let alert = json!({
                "labels": { "alertname": "Posted", "n": name },
                "endsAt": clock::now().rfc3339(),
            });
            self.doubtful.insert(name, alert);
        }
    }

    /// Posts what is in doubt, as Prometheus does until the answer is a consent.
    async fn post(&mut self, live: &Live) {
        if self.doubtful.is_empty() {
            return;
        }
        let body: Vec<_> = self.doubtful.values().cloned().collect();
        let request = live.request(reqwest::Method::POST, "/api/v2/alerts").json(&body);
        let Ok(answer) = self.signed(request).send().await else { return };
        if !answer.status().is_success() {
            assert!(answer.status().is_server_error(), "{answer:?}");
            self.refused += 1;
            return;
        }
        for (name, alert) in std::mem::take(&mut self.doubtful) {
            let next = if alert.get("endsAt").is_some() { RESOLVED } else { FIRING };
            self.wanted.entry(name).or_default().push(next);
        }
    }

    /// Makes a silence, and once it was taken posts the alert that nobody may hear of.
    async fn silence(&mut self, live: &Live) {
        let name = format!("silent{}", self.random.u32(..));
        let silence = json!({
            "matchers": [ { "name": "n", "value": name, "isRegex": false, "isEqual": true } ],
            "startsAt": clock::now().rfc3339(),
            "endsAt": clock::now().plus(Duration::from_secs(86_400)).rfc3339(),
            "createdBy": "storm", "comment": "nobody may hear of it",
        });
        let request = live.request(reqwest::Method::POST, "/api/v2/silences").json(&silence);
        let Ok(answer) = self.signed(request).send().await else { return };
        if answer.status().is_success() {
            self.silences += 1;
            let alert = json!([{ "labels": { "alertname": "Silent", "n": name } }]);
            let request = live.request(reqwest::Method::POST, "/api/v2/alerts").json(&alert);
            self.signed(request).send().await.ok();
        }
    }

    fn signed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let token = fs::read_to_string(self.folder.path().join("data/operator-token"));
        request.bearer_auth(token.unwrap_or_default().trim())
    }

    /// Waits until everything was told, and says what is missing or too much.
    async fn calm(&mut self, live: &Live) {
        wait::until(PATIENCE, "every post is taken", async || {
            self.post(live).await;
            self.doubtful.is_empty()
        })
        .await;
        let begun = pitcrew_exporter::clock::monotonic();
        while self.wanted.keys().any(|name| !self.is_settled(name)) {
            self.absorb();
            let left: Vec<_> = self
                .wanted
                .iter()
                .filter(|(name, _)| !self.is_settled(name))
                .map(|(name, wanted)| (name, wanted, self.told.get(name)))
                .collect();
            assert!(begun.elapsed() < 2 * PATIENCE, "told otherwise: {left:?}\n{}", live.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.check();
    }

    /// That exactly what had to be told was told.
    fn check(&self) {
        for (name, told) in &self.told {
            let wanted =
                self.wanted.get(name).unwrap_or_else(|| panic!("{name} was told: {told:?}"));
            assert_eq!(told, wanted, "{name}");
        }
    }

    /// Notifications that came again.
    fn repeats(&self) -> usize {
        self.arrivals.values().map(|count| count - 1).sum()
    }
}
