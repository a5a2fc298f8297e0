//! The variables of a source's expressions.

use bytes::Bytes;
use cel::common::types::{CelBytes, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;

use super::decode::Decoded;
use crate::expression::json::Json;

/// What `payload` is.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    /// A JSON value.
    Json(Json),
    /// Text or bytes.
    Other(Bytes),
}

impl Payload {
    pub(super) fn of(decoded: &Decoded) -> Self {
        match decoded {
            Decoded::Json(json) => Self::Json(json.clone()),
            Decoded::Other(bytes, _) => Self::Other(bytes.clone()),
            Decoded::Nothing => Self::Other(Bytes::new()),
        }
    }

    pub(super) fn json(&self) -> Option<&Json> {
        match self {
            Self::Json(json) => Some(json),
            Self::Other(_) => None,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Json(json) => json.text(),
            Self::Other(bytes) => bytes,
        }
    }
}

/// The variables in force at one place of an expression.
#[derive(Debug)]
pub(super) struct Names<'a> {
    pub(super) payload: &'a Payload,
    pub(super) source: &'a str,
    /// Those of the comprehensions around, the innermost last.
    pub(super) locals: Vec<(&'a str, Json)>,
}

impl VariableResolver for Names<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if let Some((_, json)) = self.locals.iter().rev().find(|(local, _)| *local == name) {
            return json.taken().ok();
        }
        match (name, self.payload) {
            ("payload", Payload::Json(json)) => json.taken().ok(),
            ("payload", Payload::Other(bytes)) => Some(match std::str::from_utf8(bytes) {
                Ok(text) => CowVal::owned(CelString::from(text)),
                Err(_) => CowVal::owned(CelBytes::from(bytes.to_vec())),
            }),
            ("source", _) => Some(CowVal::owned(CelString::from(self.source))),
            _ => None,
        }
    }
}
