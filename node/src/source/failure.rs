//! Why reading an upstream failed: where, in words that help, and what was reached before.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anode_shared::source::{Phases, Stage};

use super::guard::Refusal;

/// The most text of an error that is kept, bytes: upstreams choose part of the words.
pub(super) const WORDS: usize = 600;

/// Why reading an upstream failed. Its words name hosts, never a URL's user, path or query.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Where it went wrong.
    pub stage: Stage,
    /// What went wrong, and what to change where that is known.
    pub detail: String,
    /// The definition's field that is to blame, where one is.
    pub field: Option<String>,
    /// The upstream's status, where it answered.
    pub status: Option<u16>,
    /// How long the upstream asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether the guard refused.
    pub refused: bool,
    /// What was reached before.
    pub reached: Box<Reached>,
}

/// How far a request came.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reached {
    /// How long the phases took that were passed.
    pub phases: Phases,
    /// The address that was dialled.
    pub address: Option<SocketAddr>,
}

impl Failure {
    /// A failure with words and nothing else.
    pub fn new(stage: Stage, detail: impl Into<String>) -> Self {
        Self {
            stage,
            detail: detail.into(),
            field: None,
            status: None,
            retry_after: None,
            refused: false,
            reached: Box::default(),
        }
    }

    /// A failure that a field of the definition is to blame for.
    pub fn of_field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..Self::new(Stage::Definition, detail) }
    }

    /// The same failure, with what was reached before it.
    #[must_use]
    pub fn after(mut self, reached: Reached) -> Self {
        *self.reached = reached;
        self
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let refused = matches!(refusal, Refusal::Address { .. });
        let stage = if refused { Stage::Guard } else { Stage::Definition };
        Self { refused, field: Some("url".to_owned()), ..Self::new(stage, refusal.to_string()) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Failure {}
