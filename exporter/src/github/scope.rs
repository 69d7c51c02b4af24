//! Where runners are registered: one repository, or an organization.

use std::fmt;

use serde::Deserialize;

/// In YAML `{ repository: owner/name }` or `{ organization: name, repositories: [owner/name] }`.
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
            Scope::Organization { repositories, .. } => repositories,
        }
    }

    /// The start of the path of its runner calls: `/repos/owner/name` or `/orgs/name`.
    pub(super) fn path(&self) -> String {
        match self {
            Scope::Repository(repository) => repository.path(),
            Scope::Organization { name, .. } => format!("/orgs/{name}"),
        }
    }
}

impl Repository {
    pub(super) fn path(&self) -> String {
        format!("/repos/{}/{}", self.owner, self.name)
    }
}

impl fmt::Display for Scope {
    /// `owner/name`, or the organization's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Repository(repository) => repository.fmt(f),
            Scope::Organization { name, .. } => f.write_str(name),
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
    #[serde(default)]
    repositories: Vec<Repository>,
}

impl TryFrom<ScopeKeys> for Scope {
    type Error = String;

    fn try_from(keys: ScopeKeys) -> Result<Scope, String> {
        match (keys.repository, keys.organization) {
            (Some(repository), None) if keys.repositories.is_empty() => {
                Ok(Scope::Repository(repository))
            }
            (None, Some(name)) if is_name(&name) => {
                Ok(Scope::Organization { name, repositories: keys.repositories })
            }
            (None, Some(name)) => Err(format!("expected an organization's name, found {name:?}")),
            _ => Err("expected either repository, or organization (with repositories)".to_owned()),
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
    fn reads_both_kinds_and_refuses_paths() {
        let scope = |text: &str| parse::<Scope>(std::path::Path::new("a"), text);
        let repository = scope("repository: octo/hello-world").unwrap();
        assert_eq!(repository.path(), "/repos/octo/hello-world");
        assert_eq!(repository.repositories().len(), 1);
        let organization = scope("{organization: octo, repositories: [octo/a, octo/b]}").unwrap();
        assert_eq!(organization.path(), "/orgs/octo");
        assert_eq!(organization.to_string(), "octo");
        assert_eq!(organization.repositories()[1].to_string(), "octo/b");
        for text in [
            "{}",
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
