//! Real fake-runner processes, seen through the exporter: from registration to kill -9.

use std::collections::VecDeque;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use pitcrew_exporter::app::App;
use pitcrew_exporter::config::Config;
use pitcrew_exporter::exposition::Format;
use pitcrew_tests::fake_runner::protocol::Assigned;
use pitcrew_tests::fake_runner::{FakeHost, Options};
use pitcrew_tests::wait;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);

/// Just enough of the other side: hands each queued job to whoever polls next.
#[derive(Clone, Default)]
struct Jobs(Arc<Mutex<(VecDeque<Assigned>, Vec<String>)>>);

impl Jobs {
    fn queue(&self, id: u64, name: &str, duration_ms: u64, result: &str) {
        let job = Assigned {
            id,
            name: name.to_owned(),
            run_id: id,
            job_guid: format!("{id:08}-0000-5000-8000-000000000000"),
            duration_ms,
            result: result.to_owned(),
        };
        self.0.lock().unwrap().0.push_back(job);
    }

    fn results(&self) -> Vec<String> {
        self.0.lock().unwrap().1.clone()
    }

    async fn serve(&self) -> String {
        let register = || async { Json(json!({ "id": 7, "token": "t" })) };
        let poll = |State(jobs): State<Jobs>| async move {
            let job = jobs.0.lock().unwrap().0.pop_front();
            if job.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Json(json!({ "job": job }))
        };
        let act = |State(jobs): State<Jobs>,
                   Path((_, _, what)): Path<(u64, u64, String)>,
                   Json(body): Json<Value>| async move {
            if what == "complete" {
                jobs.0.lock().unwrap().1.push(body["result"].as_str().unwrap().to_owned());
            }
            StatusCode::NO_CONTENT
        };
        let router = Router::new()
            .route("/_sim/runners", post(register))
            .route("/_sim/runners/{id}/poll", post(poll))
            .route("/_sim/runners/{id}/jobs/{job}/{what}", post(act))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }
}

async fn start(jobs: &Jobs, count: usize) -> (FakeHost, Arc<App>) {
    let options = Options {
        program: env!("CARGO_BIN_EXE_fake-runner").into(),
        github: jobs.serve().await,
        name: "dell".to_owned(),
        count,
        labels: vec!["primary".to_owned()],
        scope: "owner/name".to_owned(),
        group: "Default".to_owned(),
    };
    let host = FakeHost::start(options).await.unwrap();
    let app = exporter_of(&host);
    (host, app)
}

fn exporter_of(host: &FakeHost) -> Arc<App> {
    let mut config = Config::default();
    config.collectors.runner.roots = vec![host.roots()];
    App::new(&config, None)
}

async fn page(app: &App) -> String {
    app.page(&HeaderMap::new(), Format::Text004).await
}

async fn shows(app: &App, line: &str) -> bool {
    page(app).await.lines().any(|found| found == line)
}

#[tokio::test]
async fn a_runners_life_is_seen_from_its_host() {
    let jobs = Jobs::default();
    let (mut host, app) = start(&jobs, 1).await;
    let up = async || shows(&app, "runner_health{runner=\"dell\"} 1").await;
    wait::until(LIMIT, "the runner is healthy", up).await;
    let text = page(&app).await;
    for line in [
        "runner_info{runner=\"dell\",version=\"2.336.0\",group=\"Default\",scope=\"owner/name\",ephemeral=\"false\"} 1",
        "runner_listener_up{runner=\"dell\"} 1",
        "runner_busy{runner=\"dell\"} 0",
        "runner_concurrent_jobs 0",
        "runner_jobs_total{runner=\"dell\",result=\"succeeded\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    for name in ["avail_bytes", "size_bytes", "files_free"] {
        for folder in ["_work", "_diag"] {
            let want = format!("runner_filesystem_{name}{{runner=\"dell\",folder=\"{folder}\"}} ");
            assert!(text.contains(&want), "{want} in {text}");
        }
    }

    // A name that looks like the end of another job; then one of each result.
    jobs.queue(1, "x completed with result: Succeeded", 1200, "failed");
    let busy = async || shows(&app, "runner_busy{runner=\"dell\"} 1").await;
    wait::until(LIMIT, "a job runs", busy).await;
    assert!(page(&app).await.contains("\nrunner_concurrent_jobs 1\n"));
    jobs.queue(2, "build", 1, "succeeded");
    jobs.queue(3, "test", 1, "canceled");
    wait::until(LIMIT, "all jobs ended", async || jobs.results().len() == 3).await;
    assert_eq!(jobs.results(), ["failed", "succeeded", "canceled"]);
    let text = page(&app).await;
    for result in ["failed", "succeeded", "canceled"] {
        let labels = format!("{{runner=\"dell\",result=\"{result}\"}} 1\n");
        assert!(text.contains(&format!("runner_jobs_total{labels}")), "{text}");
        assert!(text.contains(&format!("runner_job_duration_seconds_count{labels}")), "{text}");
    }
    let sum = text.lines().find_map(|line| {
        line.strip_prefix("runner_job_duration_seconds_sum{runner=\"dell\",result=\"failed\"} ")
    });
    assert!((1.0..20.0).contains(&sum.unwrap().parse::<f64>().unwrap()), "{sum:?}");

    // An exporter that starts now reads the same from the logs.
    let again = page(&exporter_of(&host)).await;
    let counts = |text: &str| {
        let job = |line: &&str| line.starts_with("runner_job");
        text.lines().filter(job).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(counts(&again), counts(&text));

    // Killed: the very next scrape says so.
    host.kill_all().await;
    assert!(shows(&app, "runner_health{runner=\"dell\"} 0").await);
    host.restart().unwrap();
    wait::until(LIMIT, "it is healthy again", up).await;
}

#[tokio::test]
async fn a_job_cut_short_is_abandoned_and_a_dead_worker_fails_its_job() {
    let jobs = Jobs::default();
    let (mut host, app) = start(&jobs, 1).await;
    jobs.queue(1, "long", 60_000, "succeeded");
    let busy = async || shows(&app, "runner_busy{runner=\"dell\"} 1").await;
    wait::until(LIMIT, "a job runs", busy).await;
    host.kill_all().await;
    assert!(shows(&app, "runner_concurrent_jobs 0").await);
    assert!(shows(&app, "runner_jobs_total{runner=\"dell\",result=\"abandoned\"} 0").await);
    host.restart().unwrap();
    let line = "runner_jobs_total{runner=\"dell\",result=\"abandoned\"} 1";
    wait::until(LIMIT, "the job is given up", async || shows(&app, line).await).await;

    jobs.queue(2, "crashes", 60_000, "succeeded");
    wait::until(LIMIT, "another job runs", busy).await;
    let worker = host.runners[0].folder.join("bin/Runner.Worker");
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let exe = fs::read_link(entry.path().join("exe")).ok()?;
        (exe == worker).then(|| entry.file_name().to_str()?.parse().ok()).flatten()
    });
    for pid in pids.collect::<Vec<i32>>() {
        kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
    wait::until(LIMIT, "the job failed", async || jobs.results() == ["failed"]).await;
    assert!(shows(&app, "runner_health{runner=\"dell\"} 1").await, "its listener lives");
}

#[tokio::test]
async fn runners_of_one_host_die_one_by_one_and_stop_in_peace() {
    let jobs = Jobs::default();
    let (mut host, app) = start(&jobs, 3).await;
    let healthy = async |count: usize| {
        let text = page(&app).await;
        text.lines().filter(|it| it.starts_with("runner_health{") && it.ends_with(" 1")).count()
            == count
    };
    wait::until(LIMIT, "all are healthy", async || healthy(3).await).await;
    host.kill([1]).await;
    assert!(healthy(2).await);
    assert!(shows(&app, "runner_health{runner=\"dell-2\"} 0").await);
    host.stop_all().await;
    assert!(healthy(0).await);
    let log = fs::read_dir(host.runners[0].folder.join("_diag")).unwrap().flatten();
    let log = log.map(|entry| entry.path()).find(|path| path.extension().is_some()).unwrap();
    assert!(fs::read_to_string(log).unwrap().contains("finished with return code 0"));
}
