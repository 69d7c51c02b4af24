//! Webhooks of repositories, organizations and the App itself, and what became of their deliveries.

use http::Method;
use serde::Deserialize;

use super::Github;
use super::error::GithubError;
use super::scope::Scope;
use super::time;
use super::transport::Ask;

/// Pages of deliveries that one reading follows; a hundred each, the newest first.
const MAX_PAGES: usize = 20;

/// A webhook that the credential can look into.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Of a repository or an organization.
    Of(Scope, u64),
    /// The GitHub App's own.
    App,
}

/// One attempt to deliver an event.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Delivery {
    pub id: u64,
    /// Of the event: the same for each attempt, and what arrives as `X-GitHub-Delivery`.
    pub guid: String,
    /// Seconds since the Unix epoch.
    #[serde(deserialize_with = "time::required")]
    pub delivered_at: f64,
    /// What the receiver answered; 0 where nothing came back.
    #[serde(default)]
    pub status_code: u16,
    #[serde(default)]
    pub event: String,
}

#[derive(Deserialize)]
struct Listed {
    id: u64,
    #[serde(default)]
    active: bool,
    #[serde(default)]
    config: HookConfig,
}

#[derive(Default, Deserialize)]
struct HookConfig {
    #[serde(default)]
    url: Option<String>,
}

impl Delivery {
    pub fn arrived(&self) -> bool {
        (200..300).contains(&self.status_code)
    }
}

impl Github {
    /// The scope's active webhooks whose address ends in `path`. An enterprise's cannot be read.
    pub async fn hooks(&self, scope: &Scope, path: &str) -> Result<Vec<Hook>, GithubError> {
        if matches!(scope, Scope::Enterprise { .. }) {
            return Ok(Vec::new());
        }
        let ask = Ask::get("{scope}/hooks", format!("{}/hooks?per_page=100", scope.path()));
        let pages: Vec<Vec<Listed>> = self.client.pages(ask, self.urgency).await?;
        let ours = pages.into_iter().flatten().filter(|hook| hook.active && hook.config.ends(path));
        Ok(ours.map(|hook| Hook::Of(scope.clone(), hook.id)).collect())
    }

    /// The App's own webhook, if its address ends in `path`; `NoApp` for a person's token.
    pub async fn app_hook(&self, path: &str) -> Result<Option<Hook>, GithubError> {
        let ask = Ask { as_app: true, ..Ask::get("/app/hook/config", "/app/hook/config".into()) };
        let (config, _): (HookConfig, _) = self.client.read(&ask, self.urgency).await?;
        Ok(config.ends(path).then_some(Hook::App))
    }

    /// The hook's deliveries since `since`, in seconds since the Unix epoch, the newest first.
    pub async fn deliveries(&self, hook: &Hook, since: f64) -> Result<Vec<Delivery>, GithubError> {
        let path = format!("{}/deliveries?per_page=100", hook.path());
        let endpoint = match hook {
            Hook::Of(..) => "{scope}/hooks/{hook_id}/deliveries",
            Hook::App => "/app/hook/deliveries",
        };
        let mut ask = Ask { as_app: *hook == Hook::App, ..Ask::get(endpoint, path) };
        let mut found: Vec<Delivery> = Vec::new();
        for _ in 0..MAX_PAGES {
            let (page, next): (Vec<Delivery>, _) = self.client.read(&ask, self.urgency).await?;
            let more = page.last().is_some_and(|oldest| oldest.delivered_at >= since);
            found.extend(page.into_iter().filter(|one| one.delivered_at >= since));
            match next {
                Some(path) if more => ask.path = path,
                _ => break,
            }
        }
        Ok(found)
    }

    /// Asks GitHub to deliver it once more.
    pub async fn redeliver(&self, hook: &Hook, delivery: u64) -> Result<(), GithubError> {
        let endpoint = match hook {
            Hook::Of(..) => "{scope}/hooks/{hook_id}/deliveries/{delivery_id}/attempts",
            Hook::App => "/app/hook/deliveries/{delivery_id}/attempts",
        };
        let ask = Ask {
            method: Method::POST,
            path: format!("{}/deliveries/{delivery}/attempts", hook.path()),
            endpoint,
            body: None,
            as_app: *hook == Hook::App,
        };
        self.client.write(&ask).await.map(drop)
    }
}

impl Hook {
    fn path(&self) -> String {
        match self {
            Hook::Of(scope, id) => format!("{}/hooks/{id}", scope.path()),
            Hook::App => "/app/hook".to_owned(),
        }
    }
}

impl HookConfig {
    fn ends(&self, path: &str) -> bool {
        let url = self.url.as_deref().unwrap_or("").split(['?', '#']).next().unwrap_or("");
        url.trim_end_matches('/').ends_with(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_hooks_are_known_by_their_path() {
        for (url, ours) in [
            (Some("https://ci.example.org/webhooks/github"), true),
            (Some("https://ci.example.org/a/webhooks/github/?x=1"), true),
            (Some("https://ci.example.org/webhooks/github2"), false),
            (Some(""), false),
            (None, false),
        ] {
            let config = HookConfig { url: url.map(str::to_owned) };
            assert_eq!(config.ends("/webhooks/github"), ours, "{url:?}");
        }
    }

    #[test]
    fn deliveries_as_github_lists_them() {
        let text = r#"{"id": 12345678, "guid": "0b989ba4-242f-11e5-81e1-c7b6966d2516",
            "delivered_at": "2019-06-03T00:57:16Z", "redelivery": false, "duration": 0.27,
            "status": "OK", "status_code": 200, "event": "workflow_job", "action": "queued",
            "installation_id": null, "repository_id": 1, "throttled_at": null}"#;
        let delivery: Delivery = serde_json::from_str(text).unwrap();
        assert!(delivery.arrived() && delivery.delivered_at == 1_559_523_436.0);
        let lost = text.replace(": 200", ": 0");
        assert!(!serde_json::from_str::<Delivery>(&lost).unwrap().arrived());
    }
}
