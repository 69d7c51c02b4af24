//! The real binary: help, configuration, one exposition, signals.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be made is a failed test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use pitcrew_exporter::clock;
use rustix::process::{Pid, Signal, kill_process};

const LONG: Duration = Duration::from_secs(20);

#[expect(clippy::disallowed_methods, reason = "a test has no runtime for command.rs")]
fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pitcrew-exporter"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = program(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn help_teaches() {
    let (code, help, _) = output(&["--help"]);
    assert_eq!(code, Some(0));
    for want in
        ["run", "once", "check", "Examples:", "exporter.yaml", "SIGHUP", "--insecure-listen"]
    {
        assert!(help.contains(want), "{want} is not in {help}");
    }
    for command in ["run", "once", "check"] {
        let (code, help, _) = output(&[command, "--help"]);
        assert_eq!(code, Some(0));
        assert!(help.contains("--config") && help.contains("PITCREW_EXPORTER_CONFIG"), "{help}");
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

#[test]
fn bad_configuration_ends_with_2_and_says_where() {
    let folder = Folder::new();
    let secret = folder.file("open", "hunter2\n");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let user = format!("web: {{ users: {{ ann: {{ password_file: {} }} }} }}", secret.display());
    for (text, want) in [
        ("lisen: 127.0.0.1:1\n", "did you mean `listen`?"),
        ("listen: [\n", "line"),
        ("collectors:\n  timeout: soon\n", "line 2"),
        ("collectors: { off: [cpus] }\n", "such as cpu"),
        ("\u{0}\u{1}\u{ff}", "exporter.yaml"),
        (&user, "expected mode 0600"),
    ] {
        let file = folder.file("exporter.yaml", text);
        let (code, stdout, stderr) = output(&["check", "--config", file.to_str().unwrap()]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{text}: {stderr}");
        assert!(stderr.contains(want), "{text}: {want} is not in {stderr}");
        assert!(!stderr.contains("hunter2") && !stderr.contains("panicked"), "{stderr}");
    }
    let (code, _, stderr) = output(&["run", "--config", "/no/such/file.yaml"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("cannot read /no/such/file.yaml: No such file"), "{stderr}");
    // What `run` refuses, `check` refuses in the same words.
    let open = folder.file("exporter.yaml", &user);
    let open = open.to_str().unwrap();
    for (args, want) in [
        (["--listen", "0.0.0.0:0"], "refusing to listen on 0.0.0.0"),
        (["--listen", "9610:nowhere:0"], "listen: expected an address and port"),
        (["--config", open], "web.users.ann: secret file"),
    ] {
        let run = output(&["run", args[0], args[1], "--log", "off"]);
        let check = output(&["check", args[0], args[1], "--log", "off"]);
        assert_eq!(run, check, "{args:?}");
        assert!(run.0 == Some(2) && run.2.contains(want), "{run:?}");
    }
    let (code, _, stderr) = output(&["check", "--listen", "0.0.0.0:0", "--insecure-listen"]);
    assert_eq!(code, Some(0), "{stderr}");
    let mut by_environment = program(&["check", "--listen", "0.0.0.0:0"]);
    let status =
        by_environment.env("PITCREW_EXPORTER_INSECURE_LISTEN", "1").output().unwrap().status;
    assert_eq!(status.code(), Some(0));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (code, _, stderr) = output(&["run", "--listen", &taken]);
    assert_eq!(code, Some(1), "the configuration is good");
    assert!(stderr.contains("cannot listen on 127.0.0.1") && stderr.contains("in use"), "{stderr}");
    let (code, _, stderr) = output(&["once", "--log", "=,=,"]);
    assert_eq!(code, Some(2), "{stderr}");
}

#[test]
fn check_tells_what_would_run() {
    let folder = Folder::new();
    let file = folder.file("exporter.yaml", "collectors: { off: [cpu] }\n");
    let (code, stdout, stderr) = output(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("memory") && !stdout.contains("cpu "), "{stdout}");
}

#[test]
fn once_prints_a_page() {
    let (code, page, stderr) = output(&["once"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for want in ["node_memory_MemTotal_bytes ", "node_cpu_seconds_total{cpu=\"", "node_load1 "] {
        assert!(page.contains(want), "{want} is not in {page}");
    }
    let (_, page, _) = output(&["once", "--format", "openmetrics"]);
    assert!(page.ends_with("# EOF\n"), "{page}");
}

/// A running exporter and the lines that it logs.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    address: SocketAddr,
}

impl Running {
    fn start(args: &[&str]) -> Running {
        let args = [&["run", "--listen", "127.0.0.1:0", "--log-json"], args].concat();
        let mut child = program(&args).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let log = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                sender.send(line).ok();
            }
        });
        let line = wait_for(&lines, "\"listening\"");
        let address = line.split("\"address\":\"").nth(1).unwrap().split('"').next().unwrap();
        let address = address.parse().unwrap();
        Running { child, lines, address }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let rest = "host: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(format!("{request}\r\n{rest}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[track_caller]
    fn end(&mut self) -> Option<i32> {
        let start = clock::monotonic();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < Duration::from_secs(5), "runs five seconds after SIGTERM");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[track_caller]
fn wait_for(lines: &mpsc::Receiver<String>, what: &str) -> String {
    let mut seen = Vec::new();
    while let Ok(line) = lines.recv_timeout(LONG) {
        if line.contains(what) {
            return line;
        }
        seen.push(line);
    }
    panic!("{what} is not in {seen:?}");
}

#[test]
fn serves_and_ends_on_sigterm_with_a_collector_that_hangs() {
    let folder = Folder::new();
    let fifo = folder.0.path().join("loadavg");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let root = folder.0.path().display();
    let text = format!("collectors: {{ timeout: 100ms, host: {{ proc_root: {root} }} }}\n");
    let file = folder.file("exporter.yaml", &text);
    let mut exporter = Running::start(&["--config", file.to_str().unwrap()]);
    for _ in 0..3 {
        let page = exporter.ask("GET /metrics HTTP/1.1");
        for (name, success) in [("loadavg", 0), ("memory", 0), ("uname", 1), ("time", 1)] {
            let line = format!("collector_success{{collector=\"{name}\"}} {success}\n");
            assert!(page.contains(&line), "{line} is not in {page}");
        }
    }
    let page = exporter.ask("GET /metrics HTTP/1.1\r\naccept: application/openmetrics-text");
    assert!(page.contains("collector_skipped_total{collector=\"loadavg\"} 3"), "{page}");
    assert!(page.contains("application/openmetrics-text; version=1.0.0"), "{page}");
    assert!(exporter.ask("GET /-/ready HTTP/1.1").starts_with("HTTP/1.1 200"));
    assert!(exporter.ask("GET /nothing HTTP/1.1").starts_with("HTTP/1.1 404"));
    let _idle = TcpStream::connect(exporter.address).unwrap();
    exporter.signal(Signal::TERM);
    assert_eq!(exporter.end(), Some(0));
}

#[test]
fn reloads_and_keeps_the_old_configuration_when_the_new_one_is_bad() {
    let folder = Folder::new();
    let token = folder.file("token", "s3cret\n");
    let users = format!(
        "web: {{ users: {{ ann: {{ token_file: {}, role: operator }} }} }}\n",
        token.display()
    );
    let write = |text: &str| folder.file("exporter.yaml", &format!("{users}{text}"));
    let file = write("");
    let exporter = Running::start(&["--config", path(&file)]);
    let page = || exporter.ask("GET /metrics HTTP/1.1");
    assert!(page().contains("reload_successful 1\n"));
    write("collectors: { off: [loadavg] }\n");
    exporter.signal(Signal::HUP);
    wait_for(&exporter.lines, "configuration reloaded");
    assert!(!page().contains("node_load1"));
    folder.file("exporter.yaml", "collectors: { off: [loadavg] }\n");
    exporter.signal(Signal::HUP);
    // The users stay as they were at the start, and the log says so.
    wait_for(&exporter.lines, "takes effect at the next start");
    write("colectors: {}\n");
    exporter.signal(Signal::HUP);
    let line = wait_for(&exporter.lines, "reload failed");
    assert!(line.contains("did you mean `collectors`"), "{line}");
    assert!(page().contains("reload_successful 0\n") && !page().contains("node_load1"));
    write("");
    let reload = |header: &str| exporter.ask(&format!("POST /-/reload HTTP/1.1{header}"));
    assert!(reload("").starts_with("HTTP/1.1 401"));
    assert!(reload("\r\nauthorization: Bearer wrong").starts_with("HTTP/1.1 401"));
    assert!(reload("\r\nauthorization: Bearer s3cret").starts_with("HTTP/1.1 200"));
    assert!(page().contains("node_load1 ") && page().contains("reload_successful 1\n"));
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
