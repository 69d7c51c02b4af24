//! A secret that never prints itself, read from a file that only its owner can read.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const MAX_BYTES: u64 = 64 * 1024;

#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read secret file {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("secret file {path}: expected mode 0600 or 0400, found {mode:04o}")]
    Mode { path: PathBuf, mode: u32 },
    #[error("secret file {path}: expected one secret of at most {MAX_BYTES} bytes, found {found}")]
    Content { path: PathBuf, found: &'static str },
}

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Reads the file, drops white space at the end, and refuses one that others may read.
    ///
    /// Group-readable is refused too, but for files that systemd hands over as credentials.
    pub fn read(path: &Path) -> Result<Secret, SecretError> {
        let read = |source| SecretError::Read { path: path.into(), source };
        let file = File::open(path).map_err(read)?;
        let mode = file.metadata().map_err(read)?.mode() & 0o777;
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
        if mode & 0o077 != 0 && !is_credential(path, credentials.as_deref()) {
            return Err(SecretError::Mode { path: path.into(), mode });
        }
        let mut text = String::new();
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(read)?;
        let content = |found| SecretError::Content { path: path.into(), found };
        match text.trim_end() {
            _ if text.len() as u64 > MAX_BYTES => Err(content("more")),
            "" => Err(content("nothing")),
            secret => Ok(Secret(secret.to_owned())),
        }
    }

    /// The secret itself, for the one place that sends or compares it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(Secret)
    }
}

/// Whether systemd made the file; every path begins with an empty folder's name, which is none.
fn is_credential(path: &Path, folder: Option<&OsStr>) -> bool {
    folder.is_some_and(|folder| !folder.is_empty() && path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn credentials_lie_in_systemds_folder() {
        let path = Path::new("/run/credentials/a.service/token");
        for (folder, want) in [
            (None, false),
            (Some(""), false),
            (Some("/run/credentials/a"), false),
            (Some("/run/credentials/a.service"), true),
        ] {
            assert_eq!(is_credential(path, folder.map(OsStr::new)), want, "{folder:?}");
        }
    }

    #[test]
    fn refuses_what_others_can_read_and_never_prints() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "hunter2\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Secret::read(&path), Err(SecretError::Mode { mode: 0o644, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let secret = Secret::read(&path).unwrap();
        assert_eq!((secret.reveal(), format!("{secret:?}").as_str()), ("hunter2", "<secret>"));
        fs::write(&path, "\n").unwrap();
        assert!(matches!(Secret::read(&path), Err(SecretError::Content { .. })));
    }
}
