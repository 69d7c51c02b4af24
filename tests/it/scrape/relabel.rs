//! Relabelling, discovery by URL, and limits: the same file for Debian's Prometheus and for us.

use pitcrew_tests::fake_target::{Answer, FakeTarget, TEXT};
use pitcrew_tests::wait;

use super::peer::{agree, prometheus};
use super::{SOON, Scraper, get, settings, values};

const PAGE: &str = r#"# TYPE http_requests_total counter
http_requests_total{method="post",code="200",path="/a/b"} 1027
http_requests_total{method="get",code="400",path="/c"} 3
go_goroutines 7
node_cpu{cpu="0",mode="user"} 5
node_cpu{cpu="0",mode="idle"} 6
node_cpu{cpu="1",mode="idle"} 7
empty{a="",b="x"} 1
mixed{job="theirs",instance="there",Upper="LoWeR"} 1
"#;

/// Rules for targets with `la="foo", lb="bar", lc="Foo", __meta_x="y"`.
const TARGET_RULES: &[&str] = &[
    "[{source_labels: [la, lb], target_label: ld}]",
    "[{source_labels: [la], regex: 'f(.*)', target_label: ld, replacement: 'ch${1}-ch$1-$0-$9'}]",
    "[{source_labels: [la], regex: '(?P<x>.)oo', target_label: ld, replacement: '${x}$x$$'}]",
    "[{source_labels: [la], regex: no, target_label: ld}]",
    "[{source_labels: [la, nosuch], separator: '', target_label: '${1}', replacement: n}]",
    "[{source_labels: [nosuch], target_label: la}]",
    "[{target_label: la, replacement: ''}]",
    "[{action: keep, source_labels: [la], regex: fo}]",
    "[{action: keep, source_labels: [la], regex: fo+}]",
    "[{action: drop, source_labels: [la, lb], regex: 'foo;ba.'}]",
    "[{action: drop, source_labels: [nosuch], regex: ''}]",
    "[{action: keepequal, source_labels: [la], target_label: lb}]",
    "[{action: dropequal, source_labels: [la], target_label: lb}]",
    "[{action: lowercase, source_labels: [lc], target_label: ld}, {action: keepequal, source_labels: [la], target_label: ld}]",
    "[{action: uppercase, source_labels: [la, lc], target_label: ld}]",
    "[{action: hashmod, source_labels: [la, lb], modulus: 1000, target_label: ld}]",
    "[{action: hashmod, source_labels: [__address__], modulus: 7, target_label: __tmp}, {action: labelmap, regex: '__(tmp)'}]",
    "[{action: labelmap, regex: '__meta_(.+)'}]",
    "[{action: labelmap, regex: 'l(.)', replacement: 'n_$1'}]",
    "[{action: labelmap, regex: 'l[abc]', replacement: same}]",
    "[{action: labeldrop, regex: 'l[ab]'}]",
    "[{action: labelkeep, regex: 'case|lc|__.*'}]",
    "[{target_label: __metrics_path__, replacement: /other}]",
    "[{target_label: __param_module, replacement: new}, {target_label: __param_z, replacement: '1 2'}]",
    "[{target_label: __scrape_interval__, replacement: 2s}, {target_label: __scrape_timeout__, replacement: 500ms}]",
    "[{target_label: instance, replacement: me}, {target_label: job, replacement: other}]",
    "[{source_labels: [job, __scheme__, __metrics_path__, __meta_x, __param_module], target_label: all}]",
    "[{source_labels: [__address__], regex: '(.*):\\d+', target_label: host}]",
    "[{source_labels: [__address__], target_label: __param_target}, {source_labels: [__param_target], target_label: instance}]",
];

const METRIC_RULES: &[&str] = &[
    "[{action: drop, source_labels: [__name__], regex: 'go_.*|node_cpu'}]",
    "[{action: keep, source_labels: [__name__, code], regex: 'http_.*;2..'}]",
    "[{source_labels: [__name__], regex: '(.*)_total', target_label: __name__}]",
    "[{source_labels: [path], regex: '/([^/]*)/?.*', target_label: first}, {action: labeldrop, regex: path}]",
    "[{action: labelmap, regex: '(.)(.*)', replacement: 'x_$2'}]",
    "[{action: lowercase, source_labels: [Upper], target_label: Upper}]",
    "[{source_labels: [mode], regex: idle, target_label: cpu, replacement: ''}, {action: drop, source_labels: [mode], regex: user}]",
    "[{target_label: instance, replacement: ''}]",
    "[{action: labelkeep, regex: '__name__|case|code|cpu|mode|method'}]",
    "[{source_labels: [__name__], regex: empty, target_label: __name__, replacement: '${1}x'}]",
    "[{action: hashmod, source_labels: [path, code], modulus: 16, target_label: shard}]",
];

/// A rule or several, made up.
fn random_rules(random: &mut fastrand::Rng) -> String {
    let labels = ["la", "lb", "lc", "ld", "nosuch", "__meta_x", "__tmp_a", "le"];
    let label = |random: &mut fastrand::Rng| labels[random.usize(..labels.len())];
    let regexes = [
        "(.*)",
        "f(.+)",
        "(b|f)(.*)",
        "(.)(.)(.)?",
        ".*o",
        "[a-f]+;?.*",
        "(?i)foo",
        "x?",
        "\\w+",
        "(foo|bar);(.*)",
        "[^o]+(o*)",
        "(.+?)(o{1,2})",
        "",
    ];
    let mut rules = Vec::new();
    for _ in 0..random.usize(1..5) {
        let sources: Vec<_> = (0..random.usize(1..4)).map(|_| label(random)).collect();
        let sources = format!("source_labels: [{}]", sources.join(", "));
        let regex = format!("regex: '{}'", regexes[random.usize(..regexes.len())]);
        let target = ["la", "lb", "ld", "le", "__tmp_a"][random.usize(..5)];
        let replacement = ["$1", "$2$1", "x", "${1}_${2}", "", "$$1", "a$0"][random.usize(..7)];
        rules.push(match random.usize(..12) {
            0..5 => format!(
                "{{{sources}, {regex}, target_label: {target}, replacement: '{replacement}'}}"
            ),
            5 => format!("{{action: keep, {sources}, {regex}, separator: ''}}"),
            6 => format!("{{action: drop, {sources}, {regex}}}"),
            7 => format!(
                "{{action: hashmod, {sources}, modulus: {}, target_label: {target}}}",
                random.u64(1..100)
            ),
            8 => format!(
                "{{action: labelmap, regex: 'l([a-d])', replacement: '{}'}}",
                ["n_$1", "ld", "l$1"][random.usize(..3)]
            ),
            9 => format!(
                "{{action: labeldrop, regex: 'l[{}]'}}",
                ["ab", "cd", "b-e"][random.usize(..3)]
            ),
            10 => format!("{{action: uppercase, {sources}, target_label: {target}}}"),
            _ => format!("{{action: dropequal, {sources}, target_label: {target}}}"),
        });
    }
    format!("[{}]", rules.join(", "))
}

#[tokio::test]
async fn the_same_rules_give_the_same_targets_and_series() {
    let target = FakeTarget::page(PAGE).await;
    let folder = tempfile::tempdir().unwrap();
    let mut text =
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n".to_owned();
    let mut random = fastrand::Rng::with_seed(7);
    let made_up: Vec<_> = (0..60).map(|_| random_rules(&mut random)).collect();
    let fixed = TARGET_RULES.iter().map(|rules| (*rules).to_owned());
    for (at, rules) in fixed.chain(made_up).enumerate() {
        text.push_str(&format!(
            "- job_name: target-{at}\n  params: {{module: [a, b]}}\n  relabel_configs: {rules}\n  \
             static_configs: [{{targets: ['{}'], labels: {{case: '{at}', la: foo, lb: bar, lc: Foo, __meta_x: y}}}}]\n",
            target.address
        ));
    }
    for (at, rules) in METRIC_RULES.iter().enumerate() {
        text.push_str(&format!(
            "- job_name: metric-{at}\n  metric_relabel_configs: {rules}\n  \
             static_configs: [{{targets: ['{}'], labels: {{case: 'm{at}'}}}}]\n",
            target.address
        ));
    }
    let (_process, theirs) = prometheus(folder.path(), &text).await;
    let ours = Scraper::start(settings(&folder.path().join("prometheus.yml"), &text)).await;
    agree("at first", &ours.url, &theirs).await;
    let (_, targets) = get(&ours.url, "/api/v1/targets", &[]).await;
    assert!(targets["data"]["droppedTargets"].as_array().unwrap().len() >= 4, "{targets}");
    assert!(values(&ours.url, "up == 1").await.len() >= 30);
    for target in ours.targets.snapshot().iter().filter(|t| t.job_name.starts_with("target-")) {
        let known = ["la", "lb", "lc", "__meta_x"].map(|name| target.discovered.get(name));
        assert_eq!(known, ["foo", "bar", "Foo", "y"].map(Some), "{target:?}");
    }
}

#[tokio::test]
async fn targets_from_urls_and_limits() {
    let target = FakeTarget::page(PAGE).await;
    let list = |labels: &str| {
        let groups = format!(
            "[{{\"targets\": [\"{0}\", \"{0}\"], \"labels\": {{{labels}}}}}, {{\"targets\": [\"{0}\"]}}]",
            target.address
        );
        Answer::Page("application/json; charset=utf-8", groups)
    };
    let told = FakeTarget::start(list("\"zone\": \"eu\", \"__meta_rack\": \"7\"")).await;
    let login = FakeTarget::start(list("\"zone\": \"us\"")).await;
    let wrong = FakeTarget::start(Answer::Page("text/html", "[]".to_owned())).await;
    let folder = tempfile::tempdir().unwrap();
    let file = format!("[{{\"targets\": [\"{}\"], \"labels\": {{\"x\": \"y\"}}}}]", target.address);
    std::fs::write(folder.path().join("sd.json"), file).unwrap();
    let one = format!("static_configs: [{{targets: ['{}']}}]", target.address);
    let text = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n\
         - job_name: url\n  http_sd_configs: [{{url: 'http://{told}/x?y=z', refresh_interval: 1s}}]\n  \
         relabel_configs: [{{source_labels: [__meta_rack], target_label: rack}}, \
         {{source_labels: [__meta_url], regex: '.*(/x.*)', target_label: from}}, \
         {{action: drop, source_labels: [zone], regex: gone}}]\n\
         - job_name: login\n  http_sd_configs: [{{url: 'http://{login}/', authorization: {{type: Bearer, credentials: abc}}}}]\n\
         - job_name: wrong\n  http_sd_configs: [{{url: 'http://{wrong}/'}}]\n\
         - job_name: files\n  file_sd_configs: [{{files: [sd.json]}}]\n  \
         relabel_configs: [{{source_labels: [__meta_filepath], regex: '.*(sd.json)', target_label: file}}]\n\
         - job_name: limited-targets\n  target_limit: 1\n  \
         static_configs: [{{targets: ['{0}', 'localhost:1']}}]\n\
         - job_name: enough-targets\n  target_limit: 1\n  {one}\n\
         - job_name: limited-samples\n  sample_limit: 7\n  {one}\n\
         - job_name: enough-samples\n  sample_limit: 8\n  {one}\n\
         - job_name: dropped-first\n  sample_limit: 3\n  {one}\n  \
         metric_relabel_configs: [{{action: keep, source_labels: [__name__], regex: node_cpu}}]\n\
         - job_name: limited-labels\n  label_limit: 4\n  {one}\n\
         - job_name: limited-names\n  label_name_length_limit: 7\n  {one}\n\
         - job_name: limited-values\n  label_value_length_limit: 18\n  {one}\n\
         - job_name: limited-bytes\n  body_size_limit: 50B\n  {one}\n\
         - job_name: honest\n  honor_labels: true\n  honor_timestamps: false\n  {one}\n  \
         params: {{b: ['1', '2'], a: [x y]}}\n  metrics_path: /p\n",
        target.address,
        told = told.address,
        login = login.address,
        wrong = wrong.address,
    );
    let (_process, theirs) = prometheus(folder.path(), &text).await;
    let ours = Scraper::start(settings(&folder.path().join("prometheus.yml"), &text)).await;
    agree("at first", &ours.url, &theirs).await;
    for (labels, up) in values(&ours.url, "up").await {
        assert_eq!(up, if labels.contains("limited-") { "0" } else { "1" }, "{labels}");
    }
    assert_eq!(values(&ours.url, r#"up{job="url"}"#).await.len(), 2);
    for wanted in
        ["\r\naccept: application/json\r\n", "\r\nx-prometheus-refresh-interval-seconds: 1\r\n"]
    {
        assert!(told.requests().iter().all(|head| head.contains(wanted)), "{wanted}");
    }
    for head in login.requests() {
        assert!(head.contains("\r\nauthorization: bearer abc\r\n"), "{head}");
    }

    told.set(list("\"zone\": \"gone\""));
    let gone = async || values(&ours.url, r#"up{job="url"}"#).await.len() == 1;
    wait::until(SOON, "a target leaves", gone).await;
    agree("after a change", &ours.url, &theirs).await;

    let broken =
        async |count: f64| ours.metric("pitcrew_alertd_http_sd_broken_lists") == Some(count);
    assert!(broken(1.0).await, "the wrong content type");
    for answer in [
        Answer::Status("500 Oops".to_owned()),
        Answer::Page("application/json", "[{".to_owned()),
        Answer::Page("application/json", r#"[{"targets": ["a/b"]}]"#.to_owned()),
        Answer::Page("text/plain", "[]".to_owned()),
    ] {
        told.set(answer);
        wait::until(SOON, "the failure is told", async || broken(2.0).await).await;
        assert_eq!(values(&ours.url, r#"up{job="url"}"#).await.len(), 1);
        told.set(list("\"zone\": \"gone\""));
        wait::until(SOON, "and its end", async || broken(1.0).await).await;
    }
    told.set(Answer::Page(TEXT, String::new()));
    wait::until(SOON, "it is broken again", async || broken(2.0).await).await;
    agree("with the last good targets", &ours.url, &theirs).await;
}
