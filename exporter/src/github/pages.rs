//! Lists over many pages, by the `Link` headers that GitHub gives.

use serde::de::DeserializeOwned;

use super::client::Client;
use super::error::GithubError;
use super::rate_limit::Urgency;
use super::transport::Ask;

/// GitHub's own largest list here has 10,000 entries, 100 a page.
const MAX_PAGES: usize = 100;

impl Client {
    /// All pages from `first` on, in order.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        first: Ask,
        urgency: Urgency,
    ) -> Result<Vec<T>, GithubError> {
        let mut pages = Vec::new();
        let mut ask = first;
        loop {
            let (page, next) = self.read(&ask, urgency).await?;
            pages.push(page);
            let Some(path) = next else { return Ok(pages) };
            ask.path = path;
            if pages.len() == MAX_PAGES {
                let found = "more".to_owned();
                return Err(GithubError::Malformed {
                    call: ask.call(),
                    expected: "at most 100 pages",
                    found,
                });
            }
        }
    }
}

/// The target of `rel="next"` in a `Link` header.
pub(super) fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, from)) = rest.split_once('<') {
        let (target, after) = from.split_once('>')?;
        let (params, _) = after.split_once('<').unwrap_or((after, ""));
        let is_next = |param: &str| {
            param.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"').split(' ').any(|rel| rel == "next")
            })
        };
        if params.split([';', ',']).any(is_next) {
            return Some(target);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::next_link;

    #[test]
    fn finds_only_next() {
        for (header, next) in [
            (
                r#"<https://a/b?page=2>; rel="next", <https://a/b?page=5>; rel="last""#,
                "https://a/b?page=2",
            ),
            (r#"<https://a/1>; rel="prev", <https://a/3>; rel="next""#, "https://a/3"),
            ("<https://a/3,4>; title=x; rel=next", "https://a/3,4"),
            (r#"<https://a/3>; rel="last next""#, "https://a/3"),
        ] {
            assert_eq!(next_link(header), Some(next), "{header}");
        }
        for header in
            ["", "<", "<https://a", "rel=next", r#"<a>; rel="last""#, r#"<a>; x="rel=next""#]
        {
            assert_eq!(next_link(header), None, "{header}");
        }
    }
}
