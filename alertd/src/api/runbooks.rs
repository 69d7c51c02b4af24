//! `/runbooks/RunnerOffline.md`: where the bundled alerts' `runbook_url` leads.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::runbooks;

pub fn routes() -> Router {
    Router::new().route("/runbooks/{page}", get(page))
}

/// As plain text: Markdown is meant to be read as it stands, and a browser shows it.
async fn page(Path(file): Path<String>) -> Response {
    match runbooks::page(&file) {
        Some(page) => ([(CONTENT_TYPE, "text/plain; charset=utf-8")], page).into_response(),
        None => (StatusCode::NOT_FOUND, "no such runbook\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pages_by_name() {
        for (file, want) in [
            ("RunnerOffline.md", StatusCode::OK),
            ("RunnerOffline", StatusCode::NOT_FOUND),
            ("../Cargo.toml", StatusCode::NOT_FOUND),
        ] {
            assert_eq!(page(Path(file.to_owned())).await.status(), want, "{file}");
        }
    }
}
