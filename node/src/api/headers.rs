//! What every request passes, and every answer carries: counting, security headers, and what a client accepts.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tower_http::cors::{Any, CorsLayer};

use super::problem::{Code, Problem};
use crate::metrics::Http;

/// What pages of this node may load: only what the node serves itself. Swagger UI does with it too.
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Lets pages of any origin read, and send what is theirs to send: a token, never a cookie.
pub(super) fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::RETRY_AFTER, header::WWW_AUTHENTICATE, header::ALLOW])
        .max_age(std::time::Duration::from_secs(600))
}

/// Counts a request and its answer, and gives the answer its headers.
pub(super) async fn wrap(State(http): State<Arc<Http>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = method(request.method());
    let route: Arc<str> = match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().into(),
        None => "other".into(),
    };
    let api = request.uri().path().starts_with("/api/v1/");
    let mut response = if api && !accepts_json(request.headers()) {
        not_acceptable().into_response()
    } else {
        next.run(request).await
    };
    protect(response.headers_mut());
    if api && !response.headers().contains_key(header::CACHE_CONTROL) {
        // What the node says is true for the moment only.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    http.answered(method, route, response.status().as_u16(), began.elapsed());
    response
}

fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        // Any origin may read, and every answer says so by CORS; this says the same to pages that isolate themselves.
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The method, as one of a few words: whatever a client invents counts as one.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Whether a client takes JSON, or events where a route has them (RFC 9110, 12.5.1; a weight of 0 refuses).
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut accepts = headers.get_all(header::ACCEPT).iter().peekable();
    if accepts.peek().is_none() {
        return true;
    }
    accepts.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or("").to_ascii_lowercase();
        let refused =
            parts.any(|part| matches!(part.strip_prefix("q="), Some("0" | "0." | "0.0" | "0.00" | "0.000")));
        let ours =
            ["*/*", "application/*", "application/json", "application/problem+json", "text/event-stream"];
        !refused && ours.contains(&kind.as_str())
    })
}

fn not_acceptable() -> Problem {
    Problem::new(
        Code::NotAcceptable,
        "this route answers in application/json; name it in Accept, or send no Accept",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_clients_accept() {
        for (accept, expected) in [
            (None, true),
            (Some("*/*"), true),
            (Some("application/json"), true),
            (Some("text/html, application/*;q=0.5"), true),
            (Some("text/event-stream"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("text/html"), false),
            (Some("application/json;q=0"), false),
            (Some("application/json; q=0.000, text/html"), false),
            (Some(""), false),
        ] {
            let headers: HeaderMap =
                accept.map(|value| (header::ACCEPT, value.parse().unwrap())).into_iter().collect();
            assert_eq!(accepts_json(&headers), expected, "{accept:?}");
        }
    }
}
