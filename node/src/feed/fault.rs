//! What went wrong, in the words that REST answers and socket frames share.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::Refused;

/// A refusal: a word for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Fault {
    /// The word, the same over every protocol.
    pub code: Code,
    /// What to change.
    pub detail: String,
}

/// The words for what can go wrong between a client and the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is explained by the sentence beside it")]
pub enum Code {
    BadRequest,
    BadTopic,
    BadFilter,
    BadStart,
    BadCursor,
    BadRecord,
    BadSource,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    Timeout,
    NoPeers,
    NoArchive,
    Conflict,
    Gone,
    TooBig,
    UnsupportedMediaType,
    UpgradeRequired,
    Overloaded,
    Internal,
    NotImplemented,
    Draining,
    Starting,
    StorageFailed,
    StorageFull,
}

impl Code {
    /// The word as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::BadTopic => "bad_topic",
            Self::BadFilter => "bad_filter",
            Self::BadStart => "bad_start",
            Self::BadCursor => "bad_cursor",
            Self::BadRecord => "bad_record",
            Self::BadSource => "bad_source",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NotAcceptable => "not_acceptable",
            Self::Timeout => "timeout",
            Self::NoPeers => "no_peers",
            Self::NoArchive => "no_archive",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::TooBig => "too_big",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::UpgradeRequired => "upgrade_required",
            Self::Overloaded => "overloaded",
            Self::Internal => "internal",
            Self::NotImplemented => "not_implemented",
            Self::Draining => "draining",
            Self::Starting => "starting",
            Self::StorageFailed => "storage_failed",
            Self::StorageFull => "storage_full",
        }
    }

    /// The HTTP status that says the same.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest
            | Self::BadTopic
            | Self::BadFilter
            | Self::BadStart
            | Self::BadCursor
            | Self::BadRecord => StatusCode::BAD_REQUEST,
            Self::BadSource => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::NoPeers | Self::NoArchive | Self::Conflict => StatusCode::CONFLICT,
            Self::Gone => StatusCode::GONE,
            Self::TooBig => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Draining | Self::Starting | Self::StorageFailed => StatusCode::SERVICE_UNAVAILABLE,
            Self::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

impl Fault {
    /// A refusal with this word and sentence.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        let code = match refused {
            Refused::Overloaded => Code::Overloaded,
            Refused::Draining => Code::Draining,
            Refused::Full => Code::StorageFull,
            Refused::Failed => Code::StorageFailed,
        };
        Self::new(code, refused.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_the_same_word_in_answers_and_frames() {
        for (code, status) in [
            (Code::BadStart, 400),
            (Code::MethodNotAllowed, 405),
            (Code::NoPeers, 409),
            (Code::UnsupportedMediaType, 415),
            (Code::StorageFull, 507),
        ] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert_eq!(code.status().as_u16(), status, "{code:?}");
        }
    }
}
