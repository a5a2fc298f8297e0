//! From an upstream's answer to records: decode it, take out of it what is wanted, name each part's topic, leave out what
//! has not changed.
//!
//! All of it is pure and runs within the source's own task. An error costs the record that it befell, and no other.

use std::fmt;

use anode_shared::record::MAX_PAYLOAD;
use anode_shared::source::{FieldError, SourceDefinition, SourceError, Stage};
use anode_shared::time::{Micros, to_rfc3339};
use anode_shared::topic::Topic;
use bytes::Bytes;

use crate::expression::fuel;
use crate::store::{NewRecord, Source};

mod decode;
mod names;
mod plan;
mod compile;
mod emit;
mod write;
mod topic;
mod changes;
mod words;

use changes::Changes;
pub use changes::Said;
use decode::Decoded;
use emit::{Emit, Emitted};
use topic::Template;

/// The most records of one answer: about 8 MiB of memory beside the answer itself.
pub const MAX_RECORDS: usize = 20_000;
/// Units of fuel for the expressions of one answer (about 50 ms), …
const TANK: u64 = 150_000;
/// … and one more for so many bytes of it: what an expression does for each element of a long list is no slowness.
const BYTES_PER_UNIT: usize = 16;

/// How one source's answers become records. Compiled once.
#[derive(Debug)]
pub struct Pipeline {
    source: String,
    definition: [u8; 32],
    emit: Emit,
    topic: Template,
    changes: Option<Changes>,
}

/// An upstream's answer, or one message of it.
#[derive(Debug, Clone)]
pub struct Raw<'a> {
    /// Its bytes, decompressed.
    pub bytes: Bytes,
    /// What the upstream says that they are; none for messages, which are looked at.
    pub content_type: Option<&'a str>,
    /// The upstream's HTTP status; 0 where there is none.
    pub status: u16,
    /// When it was fetched.
    pub fetched: Micros,
}

/// What became of an answer.
#[derive(Debug, Default)]
pub struct Processed {
    /// The records that it made, in their order.
    pub records: Vec<NewRecord>,
    /// Its first error.
    pub error: Option<PipelineError>,
    /// How many errors there were.
    pub errors: u64,
    /// How many records were left out because nothing had changed.
    pub left_out: usize,
    /// What counts as said from now on: give it to [`Pipeline::forget`] when the records were not taken.
    pub said: Said,
}

/// Why an answer, or a part of it, made no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineError {
    /// Where it went wrong.
    pub stage: Stage,
    /// The definition's field to blame, where one is.
    pub field: Option<&'static str>,
    /// What went wrong, where, and with which value.
    pub detail: String,
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            Some(field) => write!(f, "{field}: {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

impl PipelineError {
    /// The same, as a source shows it.
    pub fn at(self, time: Micros) -> SourceError {
        SourceError {
            stage: self.stage,
            detail: self.detail,
            time: to_rfc3339(time),
            field: self.field.map(str::to_owned),
        }
    }
}

impl Pipeline {
    /// Compiles what a definition says of records.
    ///
    /// # Errors
    /// With everything that is wrong with `emit` and `topic`, and where.
    pub fn compile(definition: &SourceDefinition) -> Result<Self, Vec<FieldError>> {
        let emit = Emit::compile(definition.emit.as_deref());
        let topic = Template::compile(&definition.topic);
        let field_error = |field: &str, detail: String| FieldError { field: field.to_owned(), detail };
        match (emit, topic) {
            (Ok(emit), Ok(topic)) => Ok(Self {
                source: definition.name.clone(),
                definition: definition.hash().0,
                emit,
                topic,
                changes: definition.only_changes.then(Changes::default),
            }),
            (emit, topic) => {
                let emit = emit.err().map(|error| field_error("emit", error.to_string()));
                let topic = topic.err().map(|error| field_error("topic", error.to_string()));
                Err(emit.into_iter().chain(topic).collect())
            }
        }
    }

    /// SHA-256 of the definition, as records carry it.
    pub fn definition_hash(&self) -> [u8; 32] {
        self.definition
    }

    /// Makes records of an answer. Takes about 2 µs for each, and at most some 50 ms, or 20 ms for each MiB of a long answer.
    pub fn process(&mut self, raw: &Raw<'_>) -> Processed {
        let mut processed = Processed::default();
        let decoded = match decode::decode(raw) {
            Ok(decoded) => decoded,
            Err(error) => {
                processed.fail(error);
                return processed;
            }
        };
        let tank = TANK + (raw.bytes.len() / BYTES_PER_UNIT) as u64;
        fuel::run(tank, 1, || self.fill(&decoded, raw, &mut processed));
        processed
    }

    fn fill(&mut self, decoded: &Decoded, raw: &Raw<'_>, processed: &mut Processed) {
        if matches!(decoded, Decoded::Nothing) {
            return;
        }
        let emitted = self.emit.run(decoded, &self.source);
        processed.errors += emitted.errors;
        processed.error = emitted.first;
        for part in emitted.parts {
            if processed.records.len() == MAX_RECORDS {
                processed.fail(PipelineError {
                    stage: Stage::Expression,
                    field: Some("emit"),
                    detail: format!(
                        "one answer makes more than {MAX_RECORDS} records; the others are left out"
                    ),
                });
                break;
            }
            match self.record(&part, raw) {
                Ok(record) => self.keep(record, processed),
                Err(error) => processed.fail(error),
            }
        }
    }

    fn record(&self, part: &Emitted, raw: &Raw<'_>) -> Result<NewRecord, PipelineError> {
        let payload = part.bytes();
        if payload.len() > MAX_PAYLOAD {
            return Err(PipelineError {
                stage: Stage::Decode,
                field: None,
                detail: format!(
                    "a record's payload would have {} bytes, more than the {MAX_PAYLOAD} that it may; \
                     let emit choose less of it: {}",
                    payload.len(),
                    words::short(&payload)
                ),
            });
        }
        Ok(NewRecord {
            topic: self.topic.of(part, &self.source)?,
            payload,
            content_type: part.content_type().map(str::to_owned),
            publisher: None,
            publisher_signature: None,
            dedupe: None,
            source: Some(Source {
                name: self.source.clone(),
                definition: self.definition,
                status: raw.status,
                fetched: raw.fetched,
            }),
        })
    }

    fn keep(&mut self, record: NewRecord, processed: &mut Processed) {
        let is_new = match &mut self.changes {
            Some(changes) => changes.is_new(
                &record.topic,
                &record.payload,
                record.content_type.as_deref(),
                &mut processed.said,
            ),
            None => true,
        };
        if is_new {
            processed.records.push(record);
        } else {
            processed.left_out += 1;
        }
    }

    /// Takes back that records were said, because the store did not take them: the same values count as new again.
    pub fn forget(&mut self, said: &Said) {
        if let Some(changes) = &mut self.changes {
            changes.forget(said);
        }
    }

    /// The topic, where it is the same for all records.
    pub fn fixed_topic(&self) -> Option<&Topic> {
        self.topic.fixed()
    }
}

impl Processed {
    fn fail(&mut self, error: PipelineError) {
        self.errors += 1;
        self.error.get_or_insert(error);
    }
}

#[cfg(test)]
mod tests;
