//! The query API's answers and errors beside those of Debian's Prometheus, request by request.

use super::peer::prometheus;
use super::{Scraper, get};

const EMPTY: &str = "scrape_configs: []\n";

type Request = (&'static str, &'static [(&'static str, &'static str)]);

/// Requests whose whole answer does not depend on data or time.
const REQUESTS: &[Request] = &[
    ("query", &[("query", "1e21"), ("time", "5")]),
    ("query", &[("query", "vector(1e21)"), ("time", "5.5")]),
    ("query", &[("query", "vector(1.5e-10)"), ("time", "2020-01-01T00:00:00.25Z")]),
    ("query", &[("query", "vector(-0)"), ("time", "1577836800.1234")]),
    ("query", &[("query", "NaN"), ("time", "0")]),
    ("query", &[("query", "-Inf"), ("time", "-3.5")]),
    ("query", &[("query", "\"a\\n<b>&é\""), ("time", "7")]),
    ("query", &[("query", "nothing"), ("time", "7")]),
    ("query", &[("query", "nothing[5m]"), ("time", "7")]),
    ("query", &[("query", "1"), ("time", "abc")]),
    ("query", &[("query", "1"), ("timeout", "x")]),
    ("query", &[]),
    ("query", &[("query", "1+")]),
    ("query", &[("query", "up{")]),
    ("query", &[("query", "nosuch(1)")]),
    ("query", &[("query", "sum(up[2s])")]),
    ("query", &[("query", "label_replace(vector(1), \"a\", \"x\", \"b\", \"(\")"), ("time", "1")]),
    ("query_range", &[("query", "vector(1e21)"), ("start", "1"), ("end", "2.5"), ("step", "0.5")]),
    ("query_range", &[("query", "1"), ("start", "1"), ("end", "3"), ("step", "1s")]),
    ("query_range", &[("query", "time()"), ("start", "1.2504"), ("end", "3"), ("step", "1")]),
    ("query_range", &[("query", "1"), ("start", "0"), ("end", "11000"), ("step", "1")]),
    ("query_range", &[("query", "1"), ("start", "0"), ("end", "11001"), ("step", "1")]),
    ("query_range", &[("query", "1"), ("start", "0"), ("end", "1")]),
    ("query_range", &[("query", "1"), ("start", "x"), ("end", "1"), ("step", "1")]),
    ("query_range", &[("query", "1"), ("start", "10"), ("end", "1"), ("step", "1")]),
    ("query_range", &[("query", "1"), ("start", "1"), ("end", "9"), ("step", "0")]),
    ("query_range", &[("query", "1"), ("start", "1"), ("end", "9"), ("step", "1d5x")]),
    ("query_range", &[("query", "\"a\""), ("start", "1"), ("end", "9"), ("step", "1")]),
    ("query_range", &[("query", "up[5m]"), ("start", "1"), ("end", "9"), ("step", "1")]),
    ("labels", &[]),
    ("label/nosuch/values", &[]),
    ("series", &[]),
    ("series", &[("match[]", "up")]),
    ("series", &[("match[]", "up[")]),
    ("series", &[("match[]", "{}")]),
    ("labels", &[("match[]", "up"), ("start", "1"), ("end", "2")]),
    ("targets", &[]),
];

#[tokio::test]
async fn answers_and_errors_are_those_of_prometheus() {
    let folder = tempfile::tempdir().unwrap();
    let (_process, theirs) = prometheus(folder.path(), EMPTY).await;
    let ours = Scraper::of(&[], "").await;
    let mut wording = Vec::new();
    for (path, params) in REQUESTS {
        let path = format!("/api/v1/{path}");
        let (status, mut answer) = get(&ours.url, &path, params).await;
        if let Some(data) = answer["data"].as_object_mut() {
            // Prometheus 3 has it.
            data.remove("droppedTargetCounts");
        }
        let (want_status, want) = get(&theirs, &path, params).await;
        assert_eq!(status, want_status, "{path} {params:?}: {answer} {want}");
        if status == 200 {
            assert_eq!(answer, want, "{path} {params:?}");
            continue;
        }
        assert_eq!(answer["status"], "error", "{path} {params:?}");
        assert_eq!(answer["errorType"], want["errorType"], "{path} {params:?}");
        if answer["error"] != want["error"] {
            wording.push(format!("{} / {}", answer["error"], want["error"]));
        }
    }
    // Parse errors and times are worded by us; everything else says the same.
    assert!(wording.len() <= 6, "{wording:#?}");
}

#[tokio::test]
async fn a_posted_form_is_read_like_the_url() {
    let ours = Scraper::of(&[], "").await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |kind: &str, body: &'static str| {
        let request = client.post(format!("{}/api/v1/query?time=5&query=2", ours.url));
        let answer = request.header("content-type", kind).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let form = "application/x-www-form-urlencoded";
    let (status, text) = ask(form, "query=1%2B1&time=7").await;
    let want = r#"{"status":"success","data":{"resultType":"scalar","result":[7,"2"]}}"#;
    assert_eq!((status, text.as_str()), (200, want));
    let (status, text) = ask("text/plain", "query=1").await;
    assert!(status == 400 && text.contains("\"errorType\":\"bad_data\""), "{status} {text}");
}
