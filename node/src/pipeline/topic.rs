//! The topics of a source's records: literal text with expressions in it.

use anode_shared::publish::check_topic;
use anode_shared::source::{LIMITS, Stage};
use anode_shared::topic::Topic;
use cel::common::types::Kind as CelKind;

use super::compile::{compile, compile_leaf};
use super::emit::{Emitted, Trouble};
use super::names::{Names, Payload};
use super::plan::{Leaf, Path, Plan};
use super::{PipelineError, words, write};
use crate::expression::json::Kind;
use crate::expression::{ExpressionError, fuel, text};

/// Units of fuel for the topic of one record, 1 ms: so one that is slow on a value leaves enough for the others.
const UNITS: u64 = 3_000;

/// A topic, or how to make it.
#[derive(Debug)]
pub(super) enum Template {
    Fixed(Topic),
    Made(Box<str>, Vec<Part>),
}

#[derive(Debug)]
pub(super) enum Part {
    Text(Box<str>),
    Path(Path),
    Cel(Leaf),
}

impl Template {
    /// Compiles a template.
    pub(super) fn compile(template: &str) -> Result<Self, ExpressionError> {
        if template.len() > LIMITS.expression {
            let (has, most) = (template.len(), LIMITS.expression);
            return Err(ExpressionError::whole(format!(
                "the topic has {has} bytes; at most {most} are taken"
            )));
        }
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some(begin) = rest.find("${") {
            let at = template.len() - rest.len() + begin;
            if begin > 0 {
                parts.push(Part::Text(rest[..begin].into()));
            }
            let inner = &rest[begin + 2..];
            let Some(end) = closing(inner) else {
                let position = Some(position(template, at));
                return Err(ExpressionError {
                    detail: "this ${ has no } that closes it".to_owned(),
                    position,
                });
            };
            parts.push(expression(&inner[..end], position(template, at + 2))?);
            rest = &inner[end + 1..];
        }
        if parts.is_empty() {
            return check_topic(template)
                .map(Self::Fixed)
                .map_err(|error| ExpressionError::whole(error.to_string()));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        check_literal(template, &parts)?;
        Ok(Self::Made(template.into(), parts))
    }

    /// The topic, where it is always the same.
    pub(super) fn fixed(&self) -> Option<&Topic> {
        match self {
            Self::Fixed(topic) => Some(topic),
            Self::Made(..) => None,
        }
    }

    /// The topic of a record.
    pub(super) fn of(&self, part: &Emitted, source: &str) -> Result<Topic, PipelineError> {
        let (template, parts) = match self {
            Self::Fixed(topic) => return Ok(topic.clone()),
            Self::Made(template, parts) => (template, parts),
        };
        let payload = part.payload();
        let names = Names { payload: &payload, source, locals: Vec::new() };
        let mut made = String::with_capacity(64);
        for part in parts {
            fill(part, &names, &mut made).map_err(|trouble| trouble.error("topic"))?;
        }
        check_topic(&made).map_err(|error| refused(template, parts, &names, &error.to_string()))
    }
}

/// Reads the expression of a `${…}`, which begins at `base` of the template.
fn expression(text: &str, base: (usize, usize)) -> Result<Part, ExpressionError> {
    let refuse = |detail: &str| Err(ExpressionError { detail: detail.to_owned(), position: Some(base) });
    if text.trim_start().starts_with("secret:") {
        return refuse("a topic holds no secret: everybody reads it");
    }
    match compile(text, base)? {
        Plan::Path(path) => Ok(Part::Path(path)),
        Plan::Cel(leaf) => Ok(Part::Cel(leaf)),
        Plan::List(_) | Plan::Object(_) | Plan::Each(_) => {
            refuse("a part of a topic is a string or a whole number, not a list or a map")
        }
        Plan::Choice(..) | Plan::Literal(_) => compile_leaf(text, base).map(Part::Cel),
    }
}

/// Where a `${…}` ends: at its brace, past those of maps and within strings.
fn closing(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            b'"' | b'\'' => {
                at = text::end_of_string(text, at)?;
                continue;
            }
            b'/' if text[at..].starts_with("//") => {
                at += text[at..].find('\n').unwrap_or(bytes.len() - at);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The literal text can be part of a topic at least.
fn check_literal(template: &str, parts: &[Part]) -> Result<(), ExpressionError> {
    let probe: String =
        parts.iter().map(|part| if let Part::Text(text) = part { text } else { "x" }).collect();
    match check_topic(&probe) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(ExpressionError::whole(format!("with x for each expression of {template:?}: {error}")))
        }
    }
}

/// Line and column of a byte of a template.
fn position(template: &str, at: usize) -> (usize, usize) {
    text::position(template, template[..at].chars().count())
}

fn fill(part: &Part, names: &Names<'_>, made: &mut String) -> Result<(), Trouble> {
    match part {
        Part::Text(text) => made.push_str(text),
        Part::Path(path) => {
            if let (Payload::Other(bytes), true) = (names.payload, path.steps.is_empty()) {
                made.push_str(&String::from_utf8_lossy(&bytes[..bytes.len().min(256)]));
                return Ok(());
            }
            let json = write::find(path, names)?;
            if !matches!(json.kind(), Kind::List | Kind::Map) {
                write::look_at(&json).map_err(|why| Trouble::new(&path.place, why, names))?;
            }
            match json.kind() {
                Kind::Text => made.push_str(&json.characters()),
                Kind::Number if json.text().iter().all(|byte| byte.is_ascii_digit()) => {
                    made.push_str(&String::from_utf8_lossy(json.text()));
                }
                Kind::Bool => made.push_str(&String::from_utf8_lossy(json.text())),
                kind => return Err(Trouble::new(&path.place, unfit(kind.name()), names)),
            }
        }
        Part::Cel(leaf) => {
            let given = fuel::part(UNITS, || leaf.program.evaluate(names, topic_text));
            let given = given.unwrap_or_else(|| Ok(Err("it takes too long".to_owned())));
            let given = given.map_err(|error| words::execution(&error)).and_then(|text| text);
            made.push_str(&given.map_err(|why| Trouble::new(&leaf.place, why, names))?);
        }
    }
    Ok(())
}

fn topic_text(value: &dyn cel::common::value::Val) -> Result<String, String> {
    match value.get_type().kind() {
        CelKind::String | CelKind::Int | CelKind::UInt | CelKind::Boolean => write::text(value),
        _ => Err(unfit(value.get_type().name())),
    }
}

fn unfit(kind: &str) -> String {
    format!("a part of a topic is a string or a whole number, not {kind}")
}

/// Why what was made is no topic: the expression whose value does not fit is named.
fn refused(template: &str, parts: &[Part], names: &Names<'_>, why: &str) -> PipelineError {
    let fits = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b))
    };
    let mut detail = format!("{template} makes no topic: {why}");
    for part in parts {
        let place = match part {
            Part::Text(_) => continue,
            Part::Path(path) => &path.place,
            Part::Cel(leaf) => &leaf.place,
        };
        let mut made = String::new();
        if fill(part, names, &mut made).is_ok() && !fits(&made) {
            let hint = if made.chars().any(|c| c.is_ascii_uppercase()) {
                "; lowerAscii() makes it lower case"
            } else {
                ""
            };
            detail = format!(
                "line {}, column {}: {} gives {:?}, which makes no topic of {template}: {why}{hint}",
                place.line,
                place.column,
                place.text,
                words::short(made.as_bytes()),
            );
            break;
        }
    }
    PipelineError { stage: Stage::Expression, field: Some("topic"), detail }
}
