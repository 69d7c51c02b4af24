//! Where runners are registered: one repository, an organization, or an enterprise.

use std::fmt;

use serde::Deserialize;

use super::config::Auth;

/// In YAML `{ repository: owner/name }`, `{ organization: name, repositories: [owner/name] }` or
/// `{ enterprise: name, repositories: [owner/name] }`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "ScopeKeys")]
pub enum Scope {
    Repository(Repository),
    /// GitHub has no list of an organization's jobs: they are read from `repositories`, and are
    /// unknown when that is empty.
    Organization {
        name: String,
        repositories: Vec<Repository>,
    },
    /// The same, and GitHub lets only a person's token read it.
    Enterprise {
        name: String,
        repositories: Vec<Repository>,
    },
}

/// `owner/name`, checked: both parts hold only letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Repository {
    owner: String,
    name: String,
}

impl Scope {
    /// The repositories whose jobs its runners take, as far as they are known.
    pub fn repositories(&self) -> &[Repository] {
        match self {
            Scope::Repository(repository) => std::slice::from_ref(repository),
            Scope::Organization { repositories, .. } | Scope::Enterprise { repositories, .. } => {
                repositories
            }
        }
    }

    /// Whether such a credential can read it; the error is what was expected.
    pub fn check(&self, auth: &Auth) -> Result<(), &'static str> {
        match (self, auth) {
            (Scope::Enterprise { .. }, Auth::App { .. }) => {
                Err("auth.token_file, since a GitHub App cannot read an enterprise's runners")
            }
            _ => Ok(()),
        }
    }

    /// The start of the path of its runner calls: `/repos/owner/name`, `/orgs/name` or
    /// `/enterprises/name`.
    pub(super) fn path(&self) -> String {
        match self {
            Scope::Repository(repository) => repository.path(),
            Scope::Organization { name, .. } => format!("/orgs/{name}"),
            Scope::Enterprise { name, .. } => format!("/enterprises/{name}"),
        }
    }
}

impl Repository {
    pub fn owner(&self) -> &str {
        &self.owner
    }

    pub(super) fn path(&self) -> String {
        format!("/repos/{}/{}", self.owner, self.name)
    }
}

impl fmt::Display for Scope {
    /// `owner/name`, the organization's name, or `enterprises/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Repository(repository) => repository.fmt(f),
            Scope::Organization { name, .. } => f.write_str(name),
            Scope::Enterprise { name, .. } => write!(f, "enterprises/{name}"),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl std::str::FromStr for Repository {
    type Err = String;

    fn from_str(text: &str) -> Result<Repository, String> {
        match text.split_once('/') {
            Some((owner, name)) if is_name(owner) && is_name(name) => {
                Ok(Repository { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(format!("expected a repository as owner/name, found {text:?}")),
        }
    }
}

impl TryFrom<String> for Repository {
    type Error = String;

    fn try_from(text: String) -> Result<Repository, String> {
        text.parse()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeKeys {
    repository: Option<Repository>,
    organization: Option<String>,
    enterprise: Option<String>,
    #[serde(default)]
    repositories: Vec<Repository>,
}

impl TryFrom<ScopeKeys> for Scope {
    type Error = String;

    fn try_from(keys: ScopeKeys) -> Result<Scope, String> {
        let ScopeKeys { repository, organization, enterprise, repositories } = keys;
        let named = |what: &str, name: String| match is_name(&name) {
            true => Ok(name),
            false => Err(format!("expected {what} name, found {name:?}")),
        };
        match (repository, organization, enterprise) {
            (Some(repository), None, None) if repositories.is_empty() => {
                Ok(Scope::Repository(repository))
            }
            (None, Some(name), None) => {
                Ok(Scope::Organization { name: named("an organization's", name)?, repositories })
            }
            (None, None, Some(name)) => {
                Ok(Scope::Enterprise { name: named("an enterprise's", name)?, repositories })
            }
            _ => {
                Err("expected either repository, or organization or enterprise (with repositories)"
                    .to_owned())
            }
        }
    }
}

/// Whether GitHub could have given this name; such a name is safe in a path.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 100 && text.chars().all(plain) && !matches!(text, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::parse;

    #[test]
    fn reads_each_kind_and_refuses_paths() {
        let scope = |text: &str| parse::<Scope>(std::path::Path::new("a"), text);
        let repository = scope("repository: octo/hello-world").unwrap();
        assert_eq!(repository.path(), "/repos/octo/hello-world");
        assert_eq!(repository.repositories().len(), 1);
        let organization = scope("{organization: octo, repositories: [octo/a, octo/b]}").unwrap();
        assert_eq!(organization.path(), "/orgs/octo");
        assert_eq!(organization.to_string(), "octo");
        assert_eq!(organization.repositories()[1].to_string(), "octo/b");
        let enterprise = scope("{enterprise: acme, repositories: [octo/a]}").unwrap();
        assert_eq!(enterprise.path(), "/enterprises/acme");
        assert_eq!(enterprise.to_string(), "enterprises/acme");
        let app = Auth::App { app_id: 1, installation_id: 2, private_key_file: "/k".into() };
        assert!(enterprise.check(&app).is_err() && organization.check(&app).is_ok());
        assert!(enterprise.check(&Auth::Token { token_file: "/t".into() }).is_ok());
        for text in [
            "{}",
            "enterprise: a/b",
            "{enterprise: a, organization: b}",
            "repository: octo",
            "repository: ../..",
            "repository: octo/a/b",
            "repository: octo/a?b",
            "organization: ''",
            "organization: a/b",
            "{repository: octo/a, organization: octo}",
            "{repository: octo/a, repositories: [octo/b]}",
        ] {
            assert!(scope(text).is_err(), "{text}");
        }
    }
}
