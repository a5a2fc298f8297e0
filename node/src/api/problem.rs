//! What every refused request is answered with: problem details (RFC 9457) with a word for programs.

use anode_shared::source::FieldError;
use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

pub use crate::feed::Code;
use crate::feed::Fault;
use crate::store::Refused;

/// How long a client should wait where the node cannot say better, in seconds: a full queue is written within one.
const RETRY_AFTER: u32 = 1;
/// How long a client should wait for a node that starts or stops, in seconds.
const RETRY_AFTER_START: u32 = 2;
/// How long a client should wait for disk space or a repaired disk, in seconds: somebody has to act.
const RETRY_AFTER_DISK: u32 = 30;
/// The media type of problem details.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Seconds after which another try may succeed, where waiting helps.
fn retry_after(code: Code) -> Option<u32> {
    match code {
        Code::Overloaded => Some(RETRY_AFTER),
        Code::Draining | Code::Starting => Some(RETRY_AFTER_START),
        Code::StorageFull | Code::StorageFailed => Some(RETRY_AFTER_DISK),
        _ => None,
    }
}

/// A refusal as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body {
    /// Always `about:blank`: `code` says more than a link could.
    pub r#type: &'static str,
    /// The status in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, as a word for programs; the same over sockets.
    pub code: Code,
    /// What to change, in a sentence.
    pub detail: String,
    /// Which record of an array it is about, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// The line of the body, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column in that line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// Each reason, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What is wrong with fields of a source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<Body>);

impl Problem {
    /// A refusal with a word and a sentence that says what to change.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let status = code.status();
        Self(Box::new(Body {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            index: None,
            line: None,
            column: None,
            reasons: Vec::new(),
            errors: Vec::new(),
        }))
    }

    /// The same with the place of a record in its array.
    #[must_use]
    pub fn at_index(mut self, index: usize) -> Self {
        self.0.index = Some(index);
        self
    }

    /// The same with a place in the body, both from 1.
    #[must_use]
    pub fn at_place(mut self, line: usize, column: usize) -> Self {
        (self.0.line, self.0.column) = (Some(line), Some(column));
        self
    }

    /// The same with several reasons.
    #[must_use]
    pub fn with_reasons(mut self, reasons: Vec<String>) -> Self {
        self.0.reasons = reasons;
        self
    }

    /// A refusal of a source, with what is wrong with its fields.
    pub fn of_source(errors: Vec<FieldError>) -> Self {
        let words: Vec<String> =
            errors.iter().take(3).map(|e| format!("{}: {}", e.field, e.detail)).collect();
        let more = if errors.len() > words.len() { "; and more, in errors" } else { "" };
        let mut problem = Self::new(Code::BadSource, format!("{}{more}", words.join("; ")));
        problem.0.errors = errors;
        problem
    }

    /// What it says, as it is sent.
    pub fn body(&self) -> &Body {
        &self.0
    }

    /// An answer to a query that cannot be read.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, detail)
    }

    /// An answer where something of the node's own failed; the cause goes to the log only.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "Request failed inside the node");
        Self::new(Code::Internal, "something failed inside the node; its log says what")
    }

    /// An answer of a route that is part of the contract and not of this version.
    pub(crate) fn later(what: &str) -> Self {
        Self::new(Code::NotImplemented, format!("{what} comes with a later version of aNode"))
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::new(fault.code, fault.detail)
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::new(problem.0.code, problem.0.detail)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Fault::from(refused).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = self.0.code;
        let mut response = (code.status(), Json(&*self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_after(code) {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"anode\""));
        }
        if code == Code::UpgradeRequired {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        response
    }
}

/// Answers a path that is no route.
pub(super) async fn not_found(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::new(
        Code::NotFound,
        format!("{path} is no route of this node; /api/openapi.json lists them, /api/docs shows them"),
    )
}

/// Answers a method that a route does not have.
pub(super) async fn method_not_allowed(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::new(
        Code::MethodNotAllowed,
        format!("{path} does not take {}; the Allow header names what it takes", request.method()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_when_to_come_back_and_how_to_sign_in() {
        for (code, status, header, value) in [
            (Code::Overloaded, 429, "retry-after", Some("1")),
            (Code::Draining, 503, "retry-after", Some("2")),
            (Code::StorageFull, 507, "retry-after", Some("30")),
            (Code::Unauthorized, 401, "www-authenticate", Some("Bearer realm=\"anode\"")),
            (Code::UpgradeRequired, 426, "upgrade", Some("websocket")),
            (Code::BadTopic, 400, "retry-after", None),
        ] {
            let response = Problem::new(code, "d").into_response();
            let found = response.headers().get(header).map(|value| value.to_str().unwrap());
            assert_eq!((response.status().as_u16(), found), (status, value), "{code:?}");
            assert_eq!(response.headers()["content-type"], MEDIA_TYPE);
        }
    }

    #[test]
    fn it_leaves_out_what_there_is_not_to_say() {
        let json = serde_json::to_string(Problem::new(Code::Gone, "expired").body()).unwrap();
        assert_eq!(
            json,
            r#"{"type":"about:blank","title":"Gone","status":410,"code":"gone","detail":"expired"}"#
        );
    }
}
