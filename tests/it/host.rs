//! The host's figures beside the real node_exporter's, and both text formats beside strict readers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use pitcrew_tests::process::{Process, free_address, tls};
use pitcrew_tests::{peers, programs, wait};
use regex::Regex;

const LONG: Duration = Duration::from_secs(20);

/// What those collectors of node_exporter have beside the names of Pitcrew; some of it only on real
/// hardware or beside udev.
const LEFT_OUT: &[&str] = &[
    "node_cpu_core_throttles_total",
    "node_cpu_isolated",
    "node_cpu_package_throttles_total",
    "node_disk_ata_rotation_rate_rpm",
    "node_disk_ata_write_cache",
    "node_disk_ata_write_cache_enabled",
    "node_disk_device_mapper_info",
    "node_disk_filesystem_info",
    "node_network_receive_nohandler_total",
    "node_time_clocksource_available_info",
    "node_time_clocksource_current_info",
    "node_time_zone_offset_seconds",
    "node_scrape_collector_duration_seconds",
    "node_scrape_collector_success",
    "node_exporter_build_info",
];

/// What node_exporter itself leaves out; Debian's package leaves out more: `lo`, `/run`, `/mnt`, `/media`.
const EXCLUDED: [&str; 2] = [
    "--collector.netdev.device-exclude=^$",
    "--collector.filesystem.mount-points-exclude=\
     ^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)",
];

/// At least this many families must have been compared.
const COMPARED: usize = 90;

/// Series by name and sorted labels; types by family.
#[derive(Default)]
struct Page {
    series: BTreeMap<String, f64>,
    types: BTreeMap<String, String>,
}

impl Page {
    fn parse(text: &str) -> Page {
        let line = Regex::new(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$").unwrap();
        let label = Regex::new(r#"(\w+)="((?:[^"\\]|\\.)*)",?"#).unwrap();
        let mut page = Page::default();
        for text in text.lines() {
            if let Some((name, kind)) =
                text.strip_prefix("# TYPE ").and_then(|text| text.split_once(' '))
            {
                page.types.insert(name.to_owned(), kind.to_owned());
            }
            if text.starts_with('#') {
                continue;
            }
            let parts = line.captures(text).unwrap_or_else(|| panic!("not a sample: {text}"));
            let labels = parts.get(2).map_or("", |labels| labels.as_str());
            let labels: BTreeSet<_> = label.find_iter(labels).map(|found| found.as_str()).collect();
            let labels: Vec<_> = labels.iter().map(|label| label.trim_end_matches(',')).collect();
            let series = format!("{}{{{}}}", &parts[1], labels.join(","));
            let value = parts[3].parse().unwrap_or_else(|_| panic!("not a number: {text}"));
            assert!(page.series.insert(series, value).is_none(), "twice: {text}");
        }
        page
    }
}

async fn get(url: &str, accept: &str) -> reqwest::Result<String> {
    let client = reqwest::Client::builder().timeout(LONG).build()?;
    client.get(url).header("accept", accept).send().await?.error_for_status()?.text().await
}

/// A program that serves /metrics.
struct Exporter {
    url: String,
    _process: Process,
}

impl Exporter {
    async fn start(program: &std::path::Path, arguments: &[String], address: &str) -> Exporter {
        tls();
        let url = format!("http://{address}/metrics");
        let process = Process::start(program, arguments);
        wait::until(LONG, &url, async || get(&url, "*/*").await.is_ok()).await;
        Exporter { url, _process: process }
    }

    async fn ours(settings: &[String]) -> Exporter {
        let address = free_address();
        let mut arguments =
            ["run", "--listen", &address, "--log", "warn"].map(str::to_owned).to_vec();
        arguments.extend_from_slice(settings);
        Exporter::start(&programs::exporter(), &arguments, &address).await
    }

    async fn theirs() -> Exporter {
        let address = free_address();
        let mut arguments = peers::node_exporter_arguments(&address);
        arguments.extend(EXCLUDED.map(str::to_owned));
        Exporter::start(&peers::node_exporter(), &arguments, &address).await
    }

    async fn page(&self) -> Page {
        Page::parse(&get(&self.url, "text/plain").await.unwrap())
    }
}

/// How far their gauge may lie outside our two readings around it, in the gauge's own unit.
///
/// `None`: it is constant. The machine is busy with other tests: what moves may move a lot.
fn tolerance(family: &str, memory: f64) -> Option<f64> {
    Some(match family {
        "node_boot_time_seconds" | "node_filefd_maximum" => return None,
        _ if family.ends_with("_info") => return None,
        "node_filesystem_size_bytes" | "node_filesystem_files" | "node_filesystem_readonly" => {
            return None;
        }
        "node_filesystem_device_error" => return None,
        "node_memory_MemTotal_bytes" | "node_memory_SwapTotal_bytes" => return None,
        "node_memory_Hugepagesize_bytes" | "node_memory_HugePages_Total" => return None,
        "node_memory_VmallocTotal_bytes" | "node_memory_CommitLimit_bytes" => return None,
        "node_time_seconds" => 0.001,
        "node_load1" | "node_load5" | "node_load15" => 0.0,
        "node_procs_running" | "node_procs_blocked" | "node_disk_io_now" => 16.0,
        "node_filefd_allocated" => 512.0,
        "node_filesystem_free_bytes" | "node_filesystem_avail_bytes" => 64e6,
        "node_filesystem_files_free" => 2000.0,
        _ if family.starts_with("node_memory_") => 0.01 * memory,
        _ => panic!("{family}: a new gauge needs a tolerance"),
    })
}

/// What does not agree, and the families that were compared.
fn differences(before: &Page, theirs: &Page, after: &Page) -> (Vec<String>, BTreeSet<String>) {
    let (mut wrong, mut compared) = (Vec::new(), BTreeSet::new());
    let memory = before.series["node_memory_MemTotal_bytes{}"];
    for (series, value) in &theirs.series {
        let family = series.split('{').next().unwrap();
        if !family.starts_with("node_") || LEFT_OUT.contains(&family) {
            continue;
        }
        let kind = &theirs.types[family];
        if before.types.get(family) != Some(kind) {
            wrong.push(format!("{family}: {kind} there, {:?} here", before.types.get(family)));
            continue;
        }
        let (Some(first), Some(last)) = (before.series.get(series), after.series.get(series))
        else {
            wrong.push(format!("{series}: not here"));
            continue;
        };
        let (low, high) = (first.min(*last), first.max(*last));
        let slack = match kind.as_str() {
            // The kernel itself lets idle and iowait go back a little; the rest is rounding.
            "counter" if family == "node_cpu_seconds_total" => 0.05,
            "counter" | "untyped" => 1e-9 * high,
            _ => tolerance(family, memory).unwrap_or(0.0),
        };
        if *value < low - slack || *value > high + slack {
            wrong.push(format!("{series}: {value} there, {first} and then {last} here"));
        }
        compared.insert(family.to_owned());
    }
    // Nothing either that they leave out, such as partitions and pseudo file systems.
    let family = |series: &str| series.split('{').next().unwrap_or("").to_owned();
    let more = after.series.keys().filter(|series| compared.contains(&family(series)));
    let more = more.filter(|series| !theirs.series.contains_key(*series));
    wrong.extend(more.map(|series| format!("{series}: not there")));
    (wrong, compared)
}

#[tokio::test]
async fn figures_agree_with_node_exporter() {
    let (ours, theirs) = (Exporter::ours(&[]).await, Exporter::theirs().await);
    let mut wrong = Vec::new();
    // A device or mount may come or go in between, and the load average jump: a few chances.
    for _ in 0..5 {
        let (before, there, after) = (ours.page().await, theirs.page().await, ours.page().await);
        let (differences, compared) = differences(&before, &there, &after);
        assert!(compared.len() >= COMPARED, "compared only {}: {compared:?}", compared.len());
        wrong = differences;
        if wrong.is_empty() {
            return;
        }
    }
    panic!("{}", wrong.join("\n"));
}

/// Complaints of promtool about a page; the format itself must be right.
async fn lint(page: &str) -> Vec<String> {
    use tokio::io::AsyncWriteExt;
    let mut child = tokio::process::Command::new(peers::promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(page.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}

/// promtool objects to node_exporter's own spelling of the kernel's memory fields, which Pitcrew
/// must share; there must be no word more than it has for node_exporter.
#[tokio::test]
async fn promtool_has_no_complaint_of_our_own() {
    let (ours, theirs) = (Exporter::ours(&[]).await, Exporter::theirs().await);
    let page = get(&ours.url, "text/plain").await.unwrap();
    let known: BTreeSet<_> =
        lint(&get(&theirs.url, "text/plain").await.unwrap()).await.into_iter().collect();
    let complaints = lint(&page).await;
    let own: Vec<_> = complaints.iter().filter(|line| !known.contains(*line)).collect();
    assert!(own.is_empty(), "{own:?}");
    let without_memory: String = page
        .lines()
        .filter(|line| !line.contains("node_memory_"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(lint(&without_memory).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_hanging_and_a_failing_collector_hurt_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    // The real files, but for one that is nonsense and one that never answers.
    for name in ["stat", "meminfo", "diskstats", "vmstat", "mounts", "net", "sys", "pressure"] {
        std::os::unix::fs::symlink(format!("/proc/{name}"), root.join(name)).unwrap();
    }
    fs::remove_file(root.join("meminfo")).unwrap();
    fs::write(root.join("meminfo"), "nonsense\n").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("loadavg"), rustix::fs::Mode::RWXU).unwrap();
    let config = root.join("exporter.yaml");
    let text =
        format!("collectors: {{ timeout: 200ms, host: {{ proc_root: {} }} }}\n", root.display());
    fs::write(&config, text).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let settings = ["--config".to_owned(), config.display().to_string()];
    let ours = Exporter::ours(&settings).await;
    for _ in 0..2 {
        let page = ours.page().await;
        let success = |name: &str| {
            page.series[&format!("pitcrew_exporter_collector_success{{collector=\"{name}\"}}")]
        };
        assert_eq!((success("loadavg"), success("memory")), (0.0, 0.0));
        for name in ["cpu", "disk", "filesystem", "network", "vmstat", "stat", "uname", "time"] {
            assert_eq!(success(name), 1.0, "{name}");
        }
        assert!(page.series.contains_key("node_forks_total{}"));
    }
}

/// The rules of OpenMetrics 1.0 that a page of counters, gauges and histograms can break.
#[tokio::test]
async fn the_openmetrics_page_is_strict() {
    let ours = Exporter::ours(&[]).await;
    let text = get(&ours.url, "application/openmetrics-text;version=1.0.0").await.unwrap();
    let body = text.strip_suffix("# EOF\n").expect("ends with # EOF");
    assert!(!body.contains("# EOF") && !body.contains("\n\n"), "one end, no empty line");
    let (mut kinds, mut family) = (BTreeMap::new(), String::new());
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram", "unknown"].contains(&kind), "{line}");
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            assert!(kind != "counter" || !name.ends_with("_total"), "{line}");
            family = name.to_owned();
        } else if !line.starts_with("# HELP ") {
            let name = line.split(['{', ' ']).next().unwrap();
            let suffixes: &[&str] = match kinds[&family].as_str() {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            let fits = suffixes.iter().any(|suffix| format!("{family}{suffix}") == name);
            assert!(fits, "{line} within {family}");
        }
    }
    assert!(kinds.len() > COMPARED, "only {} families", kinds.len());
    // The same series and values as in the older format, but for what moved.
    let older = ours.page().await;
    assert_eq!(
        Page::parse(&text).series.keys().collect::<Vec<_>>(),
        older.series.keys().collect::<Vec<_>>()
    );
}
