//! `emit`: which parts of an answer become records.

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};

use anode_shared::source::{LIMITS, Stage};
use bytes::Bytes;

use super::compile::compile;
use super::decode::Decoded;
use super::names::{Names, Payload};
use super::plan::{Each, Place, Plan};
use super::{MAX_RECORDS, PipelineError, words, write};
use crate::expression::json::{Json, JsonList, JsonMap, Kind};
use crate::expression::{ExpressionError, fuel};

/// The most bytes that the records of one answer may have where they are put together anew: as much as an answer.
pub(super) const MAX_MADE: usize = 8 << 20;

/// A source's `emit`.
#[derive(Debug)]
pub(super) struct Emit(Option<Plan>);

/// One part of an answer that becomes a record.
#[derive(Debug)]
pub(super) enum Emitted {
    /// A part as it stands in the answer.
    Part(Json),
    /// JSON put together anew.
    Made(Bytes),
    /// The whole of an answer that is no JSON, and what it is.
    Other(Bytes, String),
}

/// What `emit` made of an answer.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) parts: Vec<Emitted>,
    pub(super) errors: u64,
    pub(super) first: Option<PipelineError>,
}

/// Why a part of an expression gives nothing.
#[derive(Debug)]
pub(super) struct Trouble {
    /// None where it is the whole that is too much.
    pub(super) place: Option<Place>,
    pub(super) why: String,
    /// The value that it was looking at, cut short.
    pub(super) value: String,
}

impl Emit {
    /// Compiles an `emit`; none takes the answer as it is.
    pub(super) fn compile(text: Option<&str>) -> Result<Self, ExpressionError> {
        let Some(text) = text else {
            return Ok(Self(None));
        };
        if text.len() > LIMITS.expression {
            let (has, most) = (text.len(), LIMITS.expression);
            return Err(ExpressionError::whole(format!(
                "the expression has {has} bytes; at most {most} are taken"
            )));
        }
        compile(text, (1, 1)).map(|plan| Self(Some(plan)))
    }

    /// Takes the parts out of an answer.
    pub(super) fn run(&self, decoded: &Decoded, source: &str) -> Outcome {
        let Some(plan) = &self.0 else {
            return Outcome { parts: whole(decoded).into_iter().collect(), ..Outcome::default() };
        };
        let payload = Payload::of(decoded);
        let mut names = Names { payload: &payload, source, locals: Vec::new() };
        let mut run = Run { decoded, made: Vec::new(), found: Vec::new(), errors: 0, first: None };
        run.emit(plan, &mut names);
        if fuel::is_dry() {
            run.errors = run.errors.max(1);
            run.first = Some(PipelineError {
                stage: Stage::Expression,
                field: Some("emit"),
                detail: "the expression takes too long on this answer; let it choose less, or in fewer turns"
                    .to_owned(),
            });
        }
        run.finish()
    }
}

fn whole(decoded: &Decoded) -> Option<Emitted> {
    match decoded {
        Decoded::Nothing => None,
        Decoded::Json(json) => Some(Emitted::Part(json.clone())),
        Decoded::Other(bytes, kind) => Some(Emitted::Other(bytes.clone(), kind.clone())),
    }
}

impl Emitted {
    /// The record's payload.
    pub(super) fn bytes(&self) -> Bytes {
        match self {
            Self::Part(json) => json.bytes(),
            Self::Made(bytes) | Self::Other(bytes, _) => bytes.clone(),
        }
    }

    /// What the payload is, where it is not JSON.
    pub(super) fn content_type(&self) -> Option<&str> {
        match self {
            Self::Part(_) | Self::Made(_) => None,
            Self::Other(_, kind) => Some(kind),
        }
    }

    /// The part as a template sees it.
    pub(super) fn payload(&self) -> Payload {
        match self {
            Self::Part(json) => Payload::Json(json.clone()),
            Self::Made(bytes) => {
                Json::read(bytes.clone()).map_or_else(|_| Payload::Other(bytes.clone()), Payload::Json)
            }
            Self::Other(bytes, _) => Payload::Other(bytes.clone()),
        }
    }
}

/// What was found so far: parts, and what was put together, by its place in one buffer.
#[derive(Debug)]
enum Found {
    Part(Json),
    Made(Range<usize>),
    Whole,
}

struct Run<'a> {
    decoded: &'a Decoded,
    made: Vec<u8>,
    found: Vec<Found>,
    errors: u64,
    first: Option<PipelineError>,
}

impl Run<'_> {
    fn finish(self) -> Outcome {
        let made = Bytes::from(self.made);
        let parts = self.found.into_iter().filter_map(|found| match found {
            Found::Part(json) => Some(Emitted::Part(json)),
            Found::Made(range) => Some(Emitted::Made(made.slice(range))),
            Found::Whole => whole(self.decoded),
        });
        Outcome { parts: parts.collect(), errors: self.errors, first: self.first }
    }

    fn fail(&mut self, trouble: &Trouble) {
        self.errors += 1;
        self.first.get_or_insert_with(|| trouble.error("emit"));
    }

    /// Whether more could be kept.
    fn has_room(&self) -> bool {
        // One more than are kept, so that whoever counts them sees that there are more.
        self.found.len() <= MAX_RECORDS && !fuel::is_dry()
    }

    /// Emits what an expression gives: of a list each element, of `null` nothing.
    fn emit<'n>(&mut self, plan: &'n Plan, names: &mut Names<'n>) {
        match plan {
            Plan::Choice(test, yes, no) => match write::test(test, names) {
                Ok(is_so) => self.emit(if is_so { yes } else { no }, names),
                Err(trouble) => self.fail(&trouble),
            },
            Plan::List(parts) => parts.iter().for_each(|part| self.emit_one(part, names)),
            Plan::Each(each) => self.emit_each(each, names),
            Plan::Literal(json) if &**json == "null" => {}
            Plan::Path(path) => match (write::find(path, names), names.payload) {
                (Ok(json), _) => self.emit_json(&json),
                (Err(_), Payload::Other(_)) if path.steps.is_empty() => self.found.push(Found::Whole),
                (Err(trouble), _) => self.fail(&trouble),
            },
            Plan::Cel(leaf) => {
                let (found, made) = (&mut self.found, &mut self.made);
                let given = leaf.program.evaluate(names, |value| emit_value(value, found, made));
                if let Err(why) = given.map_err(|error| words::execution(&error)).and_then(|result| result) {
                    self.fail(&Trouble::new(&leaf.place, why, names));
                }
            }
            Plan::Object(_) | Plan::Literal(_) => self.emit_one(plan, names),
        }
    }

    fn emit_json(&mut self, json: &Json) {
        match json.kind() {
            Kind::List => self.found.extend(json.elements().take(MAX_RECORDS + 1).map(Found::Part)),
            Kind::Null => {}
            _ => self.found.push(Found::Part(json.clone())),
        }
    }

    fn emit_each<'n>(&mut self, each: &'n Each, names: &mut Names<'n>) {
        let walked = write::walk(&each.range, names, &mut |names, element| {
            let one = element.and_then(|element| {
                write::within(each, element, names, |names| {
                    self.emit_one(&each.give, names);
                    Ok(())
                })
            });
            if let Err(trouble) = one {
                self.fail(&trouble);
            }
            if self.has_room() && fuel::take(1) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if let Err(trouble) = walked {
            self.fail(&trouble);
        }
    }

    /// Emits one element, whatever it is.
    fn emit_one<'n>(&mut self, plan: &'n Plan, names: &mut Names<'n>) {
        if let Plan::Path(path) = plan {
            return match write::find(path, names) {
                Ok(json) => self.found.push(Found::Part(json)),
                Err(trouble) => self.fail(&trouble),
            };
        }
        let begin = self.made.len();
        match write::write(plan, names, &mut self.made, 0) {
            Ok(()) => self.found.push(Found::Made(begin..self.made.len())),
            Err(trouble) => {
                self.made.truncate(begin);
                self.fail(&trouble);
            }
        }
    }
}

/// Emits what CEL gave.
fn emit_value(
    value: &dyn cel::common::value::Val,
    found: &mut Vec<Found>,
    made: &mut Vec<u8>,
) -> Result<(), String> {
    let mut one = |value: &dyn cel::common::value::Val, found: &mut Vec<Found>| -> Result<(), String> {
        if let Some(json) = as_json(value) {
            found.push(Found::Part(json.clone()));
            return Ok(());
        }
        let begin = made.len();
        let written = write::value(value, made, 0);
        if written.is_ok() {
            found.push(Found::Made(begin..made.len()));
        } else {
            made.truncate(begin);
        }
        written
    };
    if let Some(list) = value.downcast_ref::<JsonList>() {
        found.extend(list.json().elements().take(MAX_RECORDS + 1).map(Found::Part));
        Ok(())
    } else if let Some(list) = value.downcast_ref::<cel::common::types::CelList<'_>>() {
        let mut first = Ok(());
        for element in list.inner().iter().take(MAX_RECORDS + 1) {
            first = first.and(one(element.as_ref(), found));
        }
        first
    } else if value.downcast_ref::<cel::common::types::CelNull>().is_some() {
        Ok(())
    } else {
        one(value, found)
    }
}

/// A list or an object of the answer.
pub(super) fn as_json(value: &dyn cel::common::value::Val) -> Option<&Json> {
    let list = value.downcast_ref::<JsonList>().map(JsonList::json);
    list.or_else(|| value.downcast_ref::<JsonMap>().map(JsonMap::json))
}

impl Trouble {
    /// What went wrong at a place, with the value of the innermost variable.
    pub(super) fn new(place: &Place, why: impl Into<String>, names: &Names<'_>) -> Self {
        Self { place: Some(place.clone()), ..Self::of_whole(why, names) }
    }

    /// The same of the whole expression.
    pub(super) fn of_whole(why: impl Into<String>, names: &Names<'_>) -> Self {
        let value: Cow<'_, [u8]> = match names.locals.last() {
            Some((_, json)) => Cow::Borrowed(json.text()),
            None => Cow::Borrowed(names.payload.bytes()),
        };
        Self { place: None, why: why.into(), value: words::short(&value) }
    }

    pub(super) fn error(&self, field: &'static str) -> PipelineError {
        let mut detail = format!("{} in {}", self.why, self.value);
        if let Some(Place { line, column, text }) = &self.place {
            detail = format!("line {line}, column {column}: {text}: {detail}");
        }
        PipelineError { stage: Stage::Expression, field: Some(field), detail }
    }
}
