//! What Grafana's Prometheus data source asks, asked of alertd and of Debian's Prometheus.

mod calls;
mod limits;
mod shape;

use std::path::Path;

use pitcrew_tests::fake_target::{Answer, FakeTarget, OPEN_METRICS};
use pitcrew_tests::live::{Live, PATIENCE};
use pitcrew_tests::process::free_address;
use pitcrew_tests::{peers, programs, wait};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Url};
use serde_json::Value;

/// Series of the page, without the five about the scrape.
const SERIES: usize = 2 * 3 + 4;

const RULES: &str = r#"
groups:
- name: one
  interval: 200ms
  rules:
  - { record: "job:up:sum", expr: "sum by (job) (up)" }
  - { record: "job:up:max", expr: "max by (job) (up)", labels: { kind: max } }
  - alert: Always
    expr: up == 1
    labels: { severity: info }
    annotations: { summary: "{{ $labels.instance }} is up" }
  - { alert: Never, expr: up == 5, for: 1m }
- name: two
  interval: 200ms
  rules: [{ alert: Pending, expr: up == 1, for: 1h }]
"#;

/// Two that hold the same samples, scrape the same page and evaluate the same rules.
struct Pair {
    alertd: Live,
    prometheus: Live,
    _target: FakeTarget,
    /// The time of the newest sample, in seconds.
    end: i64,
}

/// One request as the data source makes it; parameters go into the form of a POST.
#[derive(Debug, Clone)]
struct Call {
    method: Method,
    path: String,
    params: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, &'static str)>,
}

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        let text = || String::from_utf8_lossy(&self.body).into_owned();
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, text()))
    }

    fn kind(&self) -> &str {
        self.headers.get(CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap())
    }
}

fn get(path: impl Into<String>, params: &[(&'static str, &str)]) -> Call {
    let params = params.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Call { method: Method::GET, path: path.into(), params, headers: Vec::new() }
}

fn post(path: &str, params: &[(&'static str, &str)]) -> Call {
    Call { method: Method::POST, ..get(path, params) }
}

async fn ask(server: &Live, call: &Call) -> Reply {
    let mut request = server.request(call.method.clone(), &call.path);
    request = match call.method {
        Method::POST => {
            let form = Url::parse_with_params("http://form/", &call.params).unwrap();
            let body = form.query().unwrap_or("").to_owned();
            request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
        }
        _ => request.query(&call.params),
    };
    for (name, value) in &call.headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Reply { status, headers, body: answer.bytes().await.unwrap().into() }
}

/// A page with ten minutes of history, all of it on whole seconds.
fn page(end: i64) -> String {
    let mut page = String::from(
        "# TYPE fake_work_seconds counter\n# UNIT fake_work_seconds seconds\n\
         # HELP fake_work_seconds Time spent, with a \\\\ and a\\nnew line.\n",
    );
    let times: Vec<i64> = (0..40).map(|at| end - (39 - at) * 15).collect();
    for (zone, mode) in
        ["a", "b"].into_iter().flat_map(|zone| ["idle", "user", "sys"].map(|mode| (zone, mode)))
    {
        for (at, time) in times.iter().enumerate() {
            let value = 3.5 * at as f64 + mode.len() as f64;
            page += &format!(
                "fake_work_seconds_total{{zone=\"{zone}\",mode=\"{mode}\"}} {value} {time}\n"
            );
        }
    }
    page += "# TYPE fake_size_bytes gauge\n# HELP fake_size_bytes How much.\n";
    for (size, value) in
        [("tiny", "1e-9"), ("huge", "1.5e300"), ("inf", "+Inf"), ("none \\\"é\\\"", "NaN")]
    {
        page += &format!("fake_size_bytes{{size=\"{size}\"}} {value} {end}\n");
    }
    page + "# TYPE fake_state stateset\n# EOF\n"
}

fn now() -> i64 {
    pitcrew_exporter::clock::unix_seconds() as i64
}

impl Pair {
    async fn start(folder: &Path) -> Pair {
        // Behind now, so that no answer depends on when it is asked.
        let end = now() - 60;
        let target = FakeTarget::start(Answer::Page(OPEN_METRICS, page(end))).await;
        let configured = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
             rule_files: ['{}/rules.yml']\n\
             scrape_configs: [{{ job_name: fake, static_configs: [{{ targets: ['{}'], labels: {{ site: x }} }}] }}]\n",
            folder.display(),
            target.address,
        );
        std::fs::write(folder.join("rules.yml"), RULES).unwrap();
        let (one, two) = (folder.join("alertd"), folder.join("prometheus"));
        for folder in [&one, &two] {
            std::fs::create_dir(folder).unwrap();
        }
        let (ours, theirs) = (free_address(), free_address());
        let (config, other) = (one.join("alertd.yaml"), two.join("prometheus.yml"));
        std::fs::write(&config, format!("listen: '{ours}'\ndata_dir: data\n{configured}")).unwrap();
        std::fs::write(&other, configured).unwrap();
        let arguments = ["run", "--config", config.to_str().unwrap()];
        let alertd = Live::ready(&programs::alertd(), &arguments, &ours, &one).await;
        let arguments = [
            format!("--config.file={}", other.display()),
            format!("--storage.tsdb.path={}", two.join("data").display()),
            format!("--web.listen-address={theirs}"),
        ];
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let prometheus = Live::ready(&peers::prometheus(), &arguments, &theirs, &two).await;
        let pair = Pair { alertd, prometheus, _target: target, end };
        for server in [&pair.alertd, &pair.prometheus] {
            pair.filled(server).await;
        }
        pair
    }

    async fn filled(&self, server: &Live) {
        wait::until(PATIENCE, "samples and alerts", async || {
            let query = [("query", "fake_work_seconds_total or fake_size_bytes")];
            let at = (self.end as f64 + 0.5).to_string();
            let call = get("/api/v1/query", &[query[0], ("time", &at)]);
            let there = ask(server, &call).await.json()["data"]["result"].as_array().map(Vec::len);
            let alerts = server.json("/api/v1/alerts").await;
            let alerts = alerts["data"]["alerts"].as_array().unwrap().len();
            there == Some(SERIES) && alerts == 2 && server.value("job:up:max").await == Some(1.0)
        })
        .await;
    }

    async fn both(&self, call: &Call) -> (Reply, Reply) {
        (ask(&self.alertd, call).await, ask(&self.prometheus, call).await)
    }
}
