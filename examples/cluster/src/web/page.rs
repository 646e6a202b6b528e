//! The page for operators. It needs nothing from elsewhere.

use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::IntoResponse;

use super::error::ApiError;
use super::parameters::Id;

/// Allows only what this server itself sends, and no page around this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Includes scripts of the page, with their names.
macro_rules! scripts {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("page/js/", $name)))),*]
    };
}

/// The modules of the page. `app.js` imports the others.
const SCRIPTS: [(&str, &str); 13] = scripts![
    "app.js",
    "bars.js",
    "chart.js",
    "details.js",
    "dom.js",
    "live.js",
    "refresh.js",
    "server.js",
    "slots.js",
    "state.js",
    "text.js",
    "verdicts.js",
    "view.js",
];

pub async fn index() -> impl IntoResponse {
    asset("text/html; charset=utf-8", include_str!("page/index.html"))
}

pub async fn style() -> impl IntoResponse {
    asset("text/css; charset=utf-8", include_str!("page/style.css"))
}

pub async fn script(Id(name): Id) -> Result<impl IntoResponse, ApiError> {
    let found = SCRIPTS.into_iter().find(|(script, _)| *script == name);
    let (_, text) = found.ok_or_else(|| ApiError::NotFound(format!("there is no script {name:?}")))?;
    Ok(asset("text/javascript; charset=utf-8", text))
}

fn asset(content_type: &'static str, text: &'static str) -> ([(HeaderName, &'static str); 4], &'static str) {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // A newer program has a newer page.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
