//! The folder that GitHub's agent leaves on a host once it is configured.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::json;

use super::protocol::{Registered, Registration};

/// The version the fake claims to be.
pub const VERSION: &str = "2.336.0";

/// Makes the folders, and puts `program` under the agent's names into `bin`.
///
/// # Errors
/// When something cannot be made.
pub fn folders(folder: &Path, program: &Path) -> io::Result<()> {
    for name in ["_diag/pages", "_diag/blocks", "_work", "bin", "externals"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let listener = folder.join("bin/Runner.Listener");
    for path in [listener.as_path(), &folder.join("bin/Runner.Worker")] {
        if path.exists() {
            fs::remove_file(path)?;
        }
    }
    // A hard link takes no room; the test's folder may lie on another file system.
    if fs::hard_link(program, &listener).is_err() {
        fs::copy(program, &listener)?;
    }
    fs::hard_link(&listener, folder.join("bin/Runner.Worker"))
}

/// Writes what `config.sh` and `svc.sh install` write.
///
/// # Errors
/// When a file cannot be written.
pub fn configure(
    folder: &Path,
    github: &str,
    wanted: &Registration,
    registered: &Registered,
) -> anyhow::Result<()> {
    let runner = json!({
        "agentId": registered.id,
        "agentName": wanted.name,
        "poolId": 1,
        "poolName": wanted.group,
        "serverUrl": github,
        "gitHubUrl": format!("https://github.com/{}", wanted.scope),
        "workFolder": "_work",
    });
    let credentials = json!({
        "scheme": "OAuth",
        "data": { "clientId": registered.token, "requireFipsCryptography": "True" },
    });
    for (name, content) in [(".runner", runner), (".credentials", credentials)] {
        // The agent's files begin with a byte order mark.
        let text = format!("\u{feff}{}", serde_json::to_string_pretty(&content)?);
        // Replaced as a whole, so that a reader never sees half of one.
        let new = folder.join(format!("{name}.new"));
        fs::write(&new, text)?;
        fs::rename(new, folder.join(name))?;
    }
    let scope = wanted.scope.replace('/', "-");
    fs::write(
        folder.join(".service"),
        format!("actions.runner.{scope}.{}.service\n", wanted.name),
    )?;
    Ok(())
}

/// What a listener needs of [`configure`]'s files.
#[derive(Debug, Clone)]
pub struct Configured {
    pub id: u64,
    pub name: String,
    pub github: String,
    pub scope_url: String,
    pub token: String,
}

/// Reads them back.
///
/// # Errors
/// When the folder is not a configured runner's.
pub fn read(folder: &Path) -> anyhow::Result<Configured> {
    let load = |name: &str| -> anyhow::Result<serde_json::Value> {
        let text = fs::read_to_string(folder.join(name))?;
        Ok(serde_json::from_str(text.trim_start_matches('\u{feff}'))?)
    };
    let (runner, credentials) = (load(".runner")?, load(".credentials")?);
    let text = |value: &serde_json::Value| {
        value.as_str().map(str::to_owned).ok_or_else(|| anyhow::anyhow!("not a configured runner"))
    };
    Ok(Configured {
        id: runner["agentId"].as_u64().ok_or_else(|| anyhow::anyhow!("no agentId"))?,
        name: text(&runner["agentName"])?,
        github: text(&runner["serverUrl"])?,
        scope_url: text(&runner["gitHubUrl"])?,
        token: text(&credentials["data"]["clientId"])?,
    })
}
