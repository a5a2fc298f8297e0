//! Readers' filters: CEL expressions over one record, bounded so that a hostile one costs nobody else anything.
//!
//! | variable | type |
//! |---|---|
//! | `topic` | string |
//! | `source`, `publisher` | string, or null |
//! | `time` | timestamp: `time > timestamp("2026-11-23T02:47:00Z")`, `time.getHours() == 3` |
//! | `payload` | the JSON value; whole numbers are `int` (`uint` above 2^63), others `double` |
//!
//! A payload that is not JSON is absent: a filter that touches it errs. One that errs on a record does not match it.
//! Functions are those of CEL and its string extension but for what [`check`](crate::expression::check) refuses; what an evaluation may cost
//! is counted by [`fuel`](crate::expression::fuel).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anode_shared::record::RecordRef;
use anode_shared::time::{Micros, to_rfc3339};
use cel::common::types::{CelBool, CelNull, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, IdedExpr, Value};

use super::payloads::Parsed;
use crate::expression::check::{self, Findings, Refusal, Rules};
use crate::expression::guards::{self, Pattern};
use crate::expression::json::Json;
use crate::expression::words::Gives;
use crate::expression::{ExpressionError, fuel, rewrite, text};
use crate::store::Loaded;

/// The longest filter, in bytes.
pub const MAX_BYTES: usize = 4_096;

/// Units of fuel for one record: 20 ms at most.
const TANK: u64 = 60_000;

/// A filter, compiled once for a subscription; a clone shares it.
#[derive(Debug, Clone)]
pub struct Filter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    text: Box<str>,
    root: IdedExpr,
    patterns: Vec<Pattern>,
    per_element: u64,
    nodes: u64,
}

/// What a filter says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It matches.
    Match,
    /// It does not.
    Pass,
    /// It cannot be said; the record is not delivered.
    Erred,
}

/// A record as a filter sees it.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The record, of which the payload's bytes are not looked at.
    pub record: &'a RecordRef<'a>,
    /// Its payload, where it is JSON.
    pub payload: Option<&'a Json>,
}

impl Filter {
    /// Compiles a filter.
    ///
    /// # Errors
    /// With the place, and what is not allowed there.
    pub fn compile(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > MAX_BYTES {
            return Err(ExpressionError::whole(format!(
                "the filter has {} bytes; at most {MAX_BYTES} are taken",
                text.len()
            )));
        }
        let (mut root, places) = text::parse(text)?;
        let locate = |refusal: Refusal| ExpressionError {
            detail: refusal.detail,
            position: text::place_of(refusal.node, &places, text),
        };
        let findings = check_filter(&root).map_err(locate)?;
        let patterns = rewrite::rewrite(&mut root, true).map_err(locate)?;
        let Findings { nodes, per_element } = findings;
        Ok(Self(Arc::new(Inner { text: text.into(), root, patterns, per_element, nodes })))
    }

    /// The filter as it was given.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether the payload is looked at, and so has to be parsed.
    pub fn needs_payload(&self) -> bool {
        self.0.text.contains("payload")
    }

    /// Holds the filter against a record.
    pub fn judge(&self, facts: Facts<'_>) -> Verdict {
        // The evaluator is not ours, its input not our friends': a panic in it must not end the subscriber's task.
        let verdict = catch_unwind(AssertUnwindSafe(|| {
            fuel::run(TANK, self.0.per_element, || self.evaluate(facts)).unwrap_or(Verdict::Erred)
        }));
        verdict.unwrap_or(Verdict::Erred)
    }

    /// What the last record cost that was judged on this thread, in units of 50 to 300 ns.
    pub fn last_cost(&self) -> u64 {
        self.0.nodes + (TANK - fuel::left())
    }

    /// Holds the filter against a record of a batch; `parsed` holds its payload where the filter needs it.
    pub fn judge_in(&self, batch: &Loaded, index: usize, parsed: Option<&Parsed>) -> Verdict {
        let payload = parsed.and_then(|parsed| parsed.get(batch, index));
        self.judge(Facts { record: &batch.record(index), payload })
    }

    /// Whether a record of a batch matches.
    pub fn matches(&self, batch: &Loaded, index: usize) -> bool {
        let record = batch.record(index);
        let needed = self.needs_payload() && record.is_json();
        let payload = if needed { Json::parse(record.payload) } else { None };
        self.judge(Facts { record: &record, payload: payload.as_ref() }) == Verdict::Match
    }

    fn evaluate(&self, facts: Facts<'_>) -> Verdict {
        let Ok(env) = guards::env() else {
            return Verdict::Erred;
        };
        let names = Names { facts, patterns: &self.0.patterns };
        let mut context = Context::with_env(Arc::clone(env));
        context.set_variable_resolver(&names);
        let value = Value::resolve_val(&self.0.root, &context);
        match value.ok().and_then(|value| value.downcast_ref::<CelBool>().map(|it| *it.inner())) {
            Some(true) => Verdict::Match,
            Some(false) => Verdict::Pass,
            None => Verdict::Erred,
        }
    }
}

/// Readers are strangers: what they write is held to the strict rules, and has to be true or false.
fn check_filter(root: &IdedExpr) -> Result<Findings, Refusal> {
    const RULES: Rules = Rules {
        called: "a filter",
        variables: &["topic", "source", "publisher", "time", "payload"],
        strict: true,
    };
    let findings = check::check(root, RULES)?;
    match check::gives(root) {
        Some(Gives::Bool) | None => Ok(findings),
        Some(_) => Err(check::refuse(root, "a filter is true or false; compare this with something")),
    }
}

/// Finds the variables of a filter in a record.
struct Names<'a> {
    facts: Facts<'a>,
    patterns: &'a [Pattern],
}

static NULL: CelNull = CelNull;

fn text_or_null<'b>(text: Option<&'b str>) -> CowVal<'b, 'b> {
    text.map_or(CowVal::Borrowed(&NULL), |text| CowVal::owned(CelString::from(text)))
}

impl VariableResolver for Names<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let record = self.facts.record;
        match name {
            "payload" => self.facts.payload?.taken().ok(),
            "topic" => Some(CowVal::owned(CelString::from(record.topic))),
            "source" => Some(text_or_null(record.source.as_ref().map(|source| source.name))),
            "publisher" => Some(text_or_null(record.publisher)),
            "time" => timestamp(record.time),
            _ => {
                let place: usize = name.strip_prefix(rewrite::PATTERN_PREFIX)?.parse().ok()?;
                Some(CowVal::Borrowed(self.patterns.get(place)?))
            }
        }
    }
}

/// A time as CEL's own function makes it.
fn timestamp<'b>(time: Micros) -> Option<CowVal<'b, 'b>> {
    let text: [CowVal<'b, 'b>; 1] = [CowVal::owned(CelString::from(to_rfc3339(time)))];
    let make = guards::env().ok()?.find_overload("timestamp", &text)?;
    make(text.into()).ok()
}

#[cfg(test)]
mod tests;
