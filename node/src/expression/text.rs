//! Reading the text of an expression.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::IdedExpr;
use cel::common::ast::SourceInfo;

use super::{ExpressionError, guards, syntax};

/// How deep brackets may nest in the text: the parser recurses on the thread's stack before anything is checked.
const MAX_NESTING: usize = 32;

/// Reads an expression, and where its parts stand.
pub(crate) fn parse(text: &str) -> Result<(IdedExpr, SourceInfo), ExpressionError> {
    check_nesting(text)?;
    let env = guards::env().map_err(ExpressionError::whole)?;
    let parsed = catch_unwind(AssertUnwindSafe(|| env.parser().parse_with_source_info(text)));
    let Ok(parsed) = parsed else {
        return Err(ExpressionError::whole("the expression cannot be read".to_owned()));
    };
    parsed.map_err(|errors| {
        let Some(error) = errors.errors.first() else {
            return syntax::explain(text, "", None);
        };
        let place = usize::try_from(error.pos.0).ok().zip(usize::try_from(error.pos.1).ok());
        syntax::explain(text, &error.msg, place.filter(|(line, column)| *line > 0 && *column > 0))
    })
}

/// Refuses brackets that nest too deep, and long runs of signs, before the parser meets them.
fn check_nesting(text: &str) -> Result<(), ExpressionError> {
    let (mut depth, mut run) = (0_usize, 0_usize);
    for (place, sign) in text.chars().enumerate() {
        match sign {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        run = if matches!(sign, '!' | '-' | '?') { run + 1 } else { 0 };
        if depth > MAX_NESTING || run > MAX_NESTING {
            return Err(ExpressionError {
                detail: format!("the expression nests deeper than {MAX_NESTING} levels"),
                position: Some(position(text, place)),
            });
        }
    }
    Ok(())
}

/// Where a part of an expression begins.
pub(crate) fn place_of(node: u64, places: &SourceInfo, text: &str) -> Option<(usize, usize)> {
    places.offset_for(node).map(|(start, _)| position(text, start as usize))
}

/// Line and column of a character of the text, all from 1 but for the character, which counts from 0.
pub(crate) fn position(text: &str, place: usize) -> (usize, usize) {
    let before: Vec<char> = text.chars().take(place).collect();
    let line = before.iter().filter(|c| **c == '\n').count();
    let column = before.iter().rev().take_while(|c| **c != '\n').count();
    (line + 1, column + 1)
}

/// The byte behind a string literal that begins at a quote; none where the text ends within it.
pub(crate) fn end_of_string(text: &str, begin: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let quote = &text[begin..=begin];
    let is_raw = begin > 0 && matches!(bytes[begin - 1], b'r' | b'R')
        || begin > 1 && matches!(bytes[begin - 1], b'b' | b'B') && matches!(bytes[begin - 2], b'r' | b'R');
    let triple = quote.repeat(3);
    let quotes = if text[begin..].starts_with(&triple) { &triple } else { quote };
    let mut at = begin + quotes.len();
    while at < bytes.len() {
        if bytes[at..].starts_with(quotes.as_bytes()) {
            return Some(at + quotes.len());
        }
        if bytes[at] == b'\n' && quotes.len() == 1 {
            return None;
        }
        at += if bytes[at] == b'\\' && !is_raw { 2 } else { 1 };
    }
    None
}
