//! Where `tests/peers.sh` put the real programs and schemas that tests compare Pitcrew with.

use std::path::{Path, PathBuf};
use std::process::Command;

/// node_exporter's names of the collectors that Pitcrew has.
const NODE_COLLECTORS: [&str; 12] = [
    "cpu",
    "meminfo",
    "loadavg",
    "pressure",
    "diskstats",
    "filesystem",
    "netdev",
    "vmstat",
    "stat",
    "uname",
    "time",
    "filefd",
];

pub fn prometheus() -> PathBuf {
    program("prometheus")
}

pub fn promtool() -> PathBuf {
    program("promtool")
}

pub fn alertmanager() -> PathBuf {
    program("prometheus-alertmanager")
}

pub fn amtool() -> PathBuf {
    program("amtool")
}

pub fn node_exporter() -> PathBuf {
    program("prometheus-node-exporter")
}

/// systemd's checker of units, which finds other units in the folder given and nowhere else but in
/// systemd's own: the host need not run systemd, and its units do not matter.
#[expect(clippy::disallowed_methods, reason = "a short run of a program, in a test")]
pub fn systemd_analyze(units: &Path) -> Command {
    let systemd = root().join("systemd");
    let mut path = units.as_os_str().to_owned();
    path.push(":");
    path.push(present(systemd.join("units")));
    let mut command = Command::new(present(systemd.join("systemd-analyze")));
    command.env("LD_LIBRARY_PATH", systemd.join("lib")).env("SYSTEMD_UNIT_PATH", path);
    command
}

/// node_exporter at this address with the collectors that Pitcrew has, and no other.
pub fn node_exporter_arguments(address: &str) -> Vec<String> {
    let collectors = NODE_COLLECTORS.iter().map(|name| format!("--collector.{name}"));
    let fixed = ["--collector.disable-defaults", "--log.level=error"].map(str::to_owned);
    [format!("--web.listen-address={address}")].into_iter().chain(fixed).chain(collectors).collect()
}

/// A Redis program with its libraries: `redis-server` (which is Sentinel too) and others.
pub fn redis(program: &str) -> (PathBuf, PathBuf) {
    let folder = root().join("redis");
    (present(folder.join(program)), present(folder.join("lib")))
}

/// GitHub's published OpenAPI description of its REST API.
pub fn openapi() -> PathBuf {
    present(root().join("api.github.com.json"))
}

/// The schemas of GitHub's webhook events, as `@octokit/webhooks-schemas` publishes them.
pub fn webhook_schemas() -> PathBuf {
    present(root().join("webhooks-schemas/schema.json"))
}

/// Webhooks as GitHub has sent them, published as `@octokit/webhooks-examples`.
pub fn webhook_examples() -> PathBuf {
    present(root().join("webhooks-examples/api.github.com/index.json"))
}

/// Where Python finds Debian's mail server.
pub fn mail() -> PathBuf {
    present(root().join("mail"))
}

fn program(name: &str) -> PathBuf {
    present(root().join("usr/bin").join(name))
}

/// The folder itself.
pub fn root() -> PathBuf {
    match std::env::var_os("PITCREW_PEERS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers"),
    }
}

/// A test without its peer fails and says how to get it: a skipped comparison proves nothing.
#[track_caller]
fn present(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run `make peers` (or `make test`)", path.display());
    path
}
