//! The operator token: whoever can read its file may change the fleet and the program.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use axum::Json;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use pitcrew_exporter::secret::{Secret, SecretError};
use pitcrew_exporter::server::gate::{Caller, Role};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

/// The file's name within the data directory.
pub const FILE: &str = "operator-token";

#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error("cannot create the operator token {path}")]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot use the operator token")]
    Read(#[from] SecretError),
    #[error("the system gives no random bytes for the operator token")]
    Random,
}

/// The token of this data directory; made with mode 0600 when there is none.
///
/// # Errors
/// Also when others can read the file, since they could then do what an operator can.
pub fn token(data_dir: &Path) -> Result<Secret, OperatorError> {
    let path = data_dir.join(FILE);
    if !path.exists() {
        create(&path)?;
    }
    Ok(Secret::read(&path)?)
}

/// Why somebody may not do what they ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAllowed {
    Credentials,
    Role,
}

impl NotAllowed {
    pub fn answer(self) -> (StatusCode, &'static str) {
        match self {
            NotAllowed::Role => (StatusCode::FORBIDDEN, "this needs the role operator"),
            NotAllowed::Credentials => (StatusCode::UNAUTHORIZED, "credentials needed"),
        }
    }
}

/// Whether the listener has checked who it is.
pub fn is_known(caller: Option<&Caller>) -> bool {
    caller.is_some_and(|caller| &*caller.name != "anonymous")
}

/// Who may change what others are told: an operator, whose name is given back, or, where it is
/// `open`, somebody without credentials.
///
/// # Errors
/// When it is neither.
pub fn may_change(caller: Option<&Caller>, open: bool) -> Result<Option<String>, NotAllowed> {
    match caller.filter(|_| is_known(caller)) {
        Some(Caller { name, role: Role::Operator }) => Ok(Some(name.to_string())),
        Some(_) => Err(NotAllowed::Role),
        None if open => Ok(None),
        None => Err(NotAllowed::Credentials),
    }
}

/// The middleware of routes that change something: passes on operators alone.
///
/// The listener's own gate has checked the credentials, in constant time. This stands behind it,
/// so that a listener without a gate lets nobody through.
pub async fn only_operators(request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    let refusal = match caller.map(|caller| caller.role) {
        Some(Role::Operator) => return next.run(request).await,
        Some(Role::Viewer) => NotAllowed::Role,
        None => NotAllowed::Credentials,
    };
    let (status, error) = refusal.answer();
    (status, Json(json!({ "status": "error", "errorType": "forbidden", "error": error })))
        .into_response()
}

/// Writes the whole file under another name first: a crash leaves no half of a token behind.
fn create(path: &Path) -> Result<(), OperatorError> {
    let failed = |source| OperatorError::Create { path: path.into(), source };
    let mut bytes = [0_u8; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| OperatorError::Random)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = path.with_extension("new");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let options = File::options().write(true).create_new(true).mode(0o600).open(&part);
    let mut file = options.map_err(failed)?;
    file.write_all(format!("{text}\n").as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&part, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn who_may_change_what_others_are_told() {
        let caller = |name: &str, role| Caller { name: name.into(), role };
        for (caller, open, want) in [
            (Some(caller("ann", Role::Operator)), false, Ok(Some("ann".to_owned()))),
            (Some(caller("bob", Role::Viewer)), true, Err(NotAllowed::Role)),
            (Some(caller("anonymous", Role::Viewer)), true, Ok(None)),
            (Some(caller("anonymous", Role::Viewer)), false, Err(NotAllowed::Credentials)),
            (None, false, Err(NotAllowed::Credentials)),
        ] {
            assert_eq!(may_change(caller.as_ref(), open), want, "{caller:?}, {open}");
        }
    }

    #[test]
    fn made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = token(folder.path()).unwrap();
        assert_eq!(first.reveal().len(), 64);
        assert_eq!(token(folder.path()).unwrap(), first);
        let path = folder.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(token(folder.path()), Err(OperatorError::Read(_))));
        let missing = folder.path().join("missing");
        assert!(matches!(token(&missing), Err(OperatorError::Create { .. })));
    }
}
