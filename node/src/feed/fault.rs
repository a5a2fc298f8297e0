//! What went wrong, in the words that REST answers and socket frames share.

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

/// The words for what can go wrong between a client and the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is explained by the sentence beside it")]
pub enum Code {
    BadRequest,
    BadTopic,
    BadFilter,
    BadStart,
    BadCursor,
    BadRecord,
    TooBig,
    Unauthorized,
    Forbidden,
    Overloaded,
    Draining,
    StorageFull,
    StorageFailed,
    NoPeers,
    NoArchive,
    NotFound,
    Gone,
    Conflict,
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
            Self::TooBig => "too_big",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::StorageFull => "storage_full",
            Self::StorageFailed => "storage_failed",
            Self::NoPeers => "no_peers",
            Self::NoArchive => "no_archive",
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::Conflict => "conflict",
        }
    }

    /// The HTTP status that says the same.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest
            | Self::BadTopic
            | Self::BadFilter
            | Self::BadStart
            | Self::BadCursor
            | Self::BadRecord => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::NoPeers | Self::NoArchive | Self::Conflict => 409,
            Self::Gone => 410,
            Self::TooBig => 413,
            Self::Overloaded => 429,
            Self::Draining | Self::StorageFailed => 503,
            Self::StorageFull => 507,
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
