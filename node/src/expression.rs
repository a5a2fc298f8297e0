//! What readers' filters and sources' expressions share of CEL: reading a text, the values of a JSON document, and
//! what keeps an evaluation bounded.

use std::fmt;

pub(crate) mod text;
mod syntax;
pub(crate) mod words;
pub(crate) mod check;
pub(crate) mod rewrite;
pub mod json;
pub(crate) mod fuel;
pub(crate) mod guards;
pub(crate) mod functions;
pub(crate) mod program;

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ExpressionError {
    /// What is not allowed or not understood.
    pub detail: String,
    /// Where: line and column, both from 1.
    pub position: Option<(usize, usize)>,
}

impl ExpressionError {
    /// An error of the text as a whole.
    pub(crate) fn whole(detail: String) -> Self {
        Self { detail, position: None }
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}
