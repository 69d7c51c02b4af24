//! Debian's Alertmanager, running from where it was unpacked.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use crate::peers;
use crate::process::{Process, free_address, tls};
use crate::wait::until;

/// Where Debian's build looks for its templates, and dies without them.
const TEMPLATES: &[u8] = b"/usr/share/prometheus/alertmanager";

pub struct Alertmanager {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    process: Process,
    _folder: tempfile::TempDir,
}

impl Alertmanager {
    /// Starts it and waits until it is ready.
    pub async fn start(config: &Path) -> Alertmanager {
        Alertmanager::start_at(config, &free_address()).await
    }

    /// The same; one that is started anew with this file knows what the earlier one wrote down.
    pub async fn start_at(config: &Path, address: &str) -> Alertmanager {
        tls();
        // Right under /tmp, so that the path is no longer than the one it stands for.
        let folder = tempfile::Builder::new().prefix("am").tempdir_in("/tmp").unwrap();
        let program = unpacked(folder.path());
        let process = Process::start(
            &program,
            &[
                format!("--config.file={}", config.display()),
                format!("--web.listen-address={address}"),
                format!("--storage.path={}", config.with_extension("data").display()),
                "--cluster.listen-address=".to_owned(),
                "--log.level=warn".to_owned(),
            ],
        );
        let (url, client) = (format!("http://{address}"), reqwest::Client::new());
        until(Duration::from_secs(15), "Alertmanager is ready", async || {
            client.get(format!("{url}/-/ready")).send().await.is_ok()
        })
        .await;
        Alertmanager { url, process, _folder: folder }
    }

    pub async fn kill(self) {
        self.process.kill().await;
    }

    /// Lets it write down what it told.
    pub async fn terminate(self) {
        self.process.terminate().await;
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Panics with amtool's words when it does not accept the file.
#[expect(clippy::disallowed_methods, reason = "a short run of a program, in a test")]
pub fn check_config(file: &Path) {
    let check = std::process::Command::new(peers::amtool()).arg("check-config").arg(file).output();
    let output = check.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A copy of the program that looks for its templates beside itself: the path that is compiled in
/// is replaced by one of the same length, so nothing needs to be installed.
fn unpacked(folder: &Path) -> std::path::PathBuf {
    let original = peers::alertmanager();
    let templates = original.with_file_name("../share/prometheus/alertmanager");
    let link = folder.join("s");
    symlink(std::fs::canonicalize(templates).unwrap(), &link).unwrap();
    let mut path = link.to_str().unwrap().as_bytes().to_vec();
    assert!(path.len() <= TEMPLATES.len(), "{} is too long", link.display());
    path.resize(TEMPLATES.len(), b'/');
    let mut bytes = std::fs::read(&original).unwrap();
    let places: Vec<_> = (0..bytes.len() - TEMPLATES.len())
        .filter(|at| bytes[*at] == b'/' && bytes[*at..].starts_with(TEMPLATES))
        .collect();
    assert!(!places.is_empty(), "another build of Alertmanager: start it as it is");
    for at in places {
        bytes[at..at + path.len()].copy_from_slice(&path);
    }
    let copy = folder.join("alertmanager");
    std::fs::write(&copy, bytes).unwrap();
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
    copy
}
