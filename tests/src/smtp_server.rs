//! Debian's aiosmtpd, running from where it was unpacked, with the mails that it took.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::peers;
use crate::process::free_address;
use crate::programs::workspace;

/// Who may log in.
pub const USER: &str = "crew";
pub const PASSWORD: &str = "hunter2";

pub struct SmtpServer {
    pub port: u16,
    out: PathBuf,
    _child: Child,
}

/// One message that the server took.
#[derive(Debug, Clone, Deserialize)]
pub struct Taken {
    pub from: String,
    pub to: Vec<String>,
    /// Head and body.
    pub text: String,
    pub hello: String,
    pub encrypted: bool,
    /// The mechanism, for PLAIN with the identity behind it.
    pub login: Option<String>,
}

impl SmtpServer {
    /// Starts it with these arguments (`tests/smtp_server.py` lists them), and its mails in `folder`.
    pub async fn start(folder: &Path, arguments: &[&str]) -> SmtpServer {
        let address = free_address();
        let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
        let out = folder.join(format!("mails-{port}"));
        let log = out.with_extension("log");
        let mut child = Command::new("python3")
            .env("PYTHONPATH", peers::mail())
            .args(["-W", "ignore"])
            .arg(workspace().join("tests/smtp_server.py"))
            .arg(port.to_string())
            .arg(&out)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next_line().await.unwrap();
        let said = || std::fs::read_to_string(&log).unwrap();
        assert_eq!(first.as_deref(), Some("ready"), "{arguments:?}: {}", said());
        SmtpServer { port, out, _child: child }
    }

    pub fn mails(&self) -> Vec<Taken> {
        let text = std::fs::read_to_string(&self.out).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Taken {
    /// The value of a header, with folded lines joined; nothing without it.
    pub fn header(&self, name: &str) -> String {
        let head = self.text.replace("\r\n", "\n");
        let head = head.split("\n\n").next().unwrap_or("").replace("\n ", " ").replace("\n\t", " ");
        let found = head.lines().find_map(|line| {
            line.split_once(": ").filter(|(have, _)| have.eq_ignore_ascii_case(name))
        });
        found.map_or(String::new(), |(_, value)| value.to_owned())
    }

    /// Both parts as people read them: plain text first, then HTML.
    pub fn parts(&self) -> Vec<String> {
        let text = self.text.replace("\r\n", "\n");
        let boundary = text.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
        let between = format!("--{boundary}");
        let parts = text.split(&between).skip(1);
        let parts = parts.filter_map(|part| part.trim_start_matches('\n').split_once("\n\n"));
        parts.map(|(head, body)| decoded(head, body)).collect()
    }
}

fn decoded(head: &str, body: &str) -> String {
    let head = head.to_ascii_lowercase();
    let bytes = if head.contains("base64") {
        BASE64_STANDARD.decode(body.replace('\n', "")).unwrap()
    } else if head.contains("quoted-printable") {
        let mut bytes = Vec::new();
        let text = body.replace("=\n", "");
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            match byte {
                b'=' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    let digits = String::from_utf8(digits.to_vec()).unwrap();
                    bytes.push(u8::from_str_radix(&digits, 16).unwrap());
                }
                other => bytes.push(other),
            }
        }
        bytes
    } else {
        body.as_bytes().to_vec()
    };
    String::from_utf8(bytes).unwrap()
}
