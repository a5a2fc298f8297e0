//! Questions and answers as frames: one kind byte and a body. The length before them is the stream's.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{
    BUCKETS, Digest, ForkProof, MAX_ANSWER, MAX_QUESTION, MAX_SUMMARIES, RepairError, Summary, wrong,
};
use crate::batch::MAX_BATCH;
use crate::codec;
use crate::ids::LogKey;

/// The longest name of a source.
const MAX_NAME: usize = 64;

/// A range of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The log.
    pub log: LogKey,
    /// The first seq.
    pub from: u64,
    /// The last seq.
    pub to: u64,
    /// How many bytes of batches to send at most; one batch is sent whatever its size.
    pub most: u32,
}

/// Which of a node's sources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcesAsk {
    /// Those behind this name; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many at most.
    pub most: u32,
    /// This one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What one node asks another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// What do you hold, where it is not what I think?
    Compare {
        /// What the asker knows of the asked, or else holds itself.
        digest: Digest,
        /// The first part to compare.
        from: u16,
        /// Whether heads come with proof.
        proofs: bool,
    },
    /// The batches whose last seq lies in a range.
    Range(Ask),
    /// The proof that a log forked.
    Fork(LogKey),
    /// The asker proves that a log forked.
    Forked(ForkProof),
    /// Do you hold all of the range, synced? The answer may be long in coming.
    Holds(Ask),
    /// Which sources do you read, and how are they?
    Sources(SourcesAsk),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Compare`].
    Summaries(Summaries),
    /// To [`Question::Range`]: where the batches lie in the frame.
    Batches {
        /// What the asked holds of the log.
        held: Option<Summary>,
        /// Whether more of the range would have come, had there been room.
        more: bool,
        /// The batches' places in the frame.
        batches: Vec<Range<usize>>,
    },
    /// To [`Question::Fork`].
    Fork(Option<ForkProof>),
    /// To [`Question::Forked`]: noted.
    Noted,
    /// To [`Question::Holds`].
    Holds(bool),
    /// To [`Question::Sources`]: the list as JSON, masked as for readers without the admin right.
    Sources(Vec<u8>),
    /// The question was not understood, or is one too many.
    Refused,
}

/// What somebody holds, in the parts that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summaries {
    /// The parts that differ, with their digests; all logs in them are told.
    pub parts: Vec<(u16, u64)>,
    /// The logs in them.
    pub logs: Vec<Summary>,
    /// The part to go on from, where this was not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u16>,
}

#[derive(Serialize, Deserialize)]
struct CompareBody {
    #[serde(with = "serde_bytes")]
    digest: Vec<u8>,
    from: u16,
    proofs: bool,
}

#[derive(Serialize, Deserialize)]
struct BatchesBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<Summary>,
    more: bool,
}

#[derive(Serialize, Deserialize)]
struct ForkBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<ForkProof>,
}

fn frame<T: Serialize>(kind: u8, body: &T) -> Vec<u8> {
    let mut bytes = vec![kind];
    codec::encode_into(body, &mut bytes);
    bytes
}

fn body<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, RepairError> {
    codec::decode(bytes).map_err(|error| RepairError::Malformed(error.to_string()))
}

impl Question {
    /// The frame, without its length.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Compare { digest, from, proofs } => {
                frame(1, &CompareBody { digest: digest.to_bytes(), from: *from, proofs: *proofs })
            }
            Self::Range(ask) => frame(2, ask),
            Self::Fork(log) => frame(3, log),
            Self::Forked(proof) => frame(4, proof),
            Self::Holds(ask) => frame(5, ask),
            Self::Sources(ask) => frame(6, ask),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When it is no question.
    pub fn decode(bytes: &[u8]) -> Result<Self, RepairError> {
        if bytes.len() > MAX_QUESTION {
            return Err(RepairError::TooLong(bytes.len()));
        }
        let (kind, rest) = bytes.split_first().ok_or_else(|| wrong("it is empty"))?;
        Ok(match kind {
            1 => {
                let CompareBody { digest, from, proofs } = body(rest)?;
                let digest = Digest::from_bytes(&digest).filter(|_| usize::from(from) < BUCKETS);
                Self::Compare { digest: digest.ok_or_else(|| wrong("a digest has 256 parts"))?, from, proofs }
            }
            2 => Self::Range(ask(rest)?),
            3 => Self::Fork(body(rest)?),
            4 => Self::Forked(body(rest)?),
            5 => Self::Holds(ask(rest)?),
            6 => Self::Sources(sources(rest)?),
            other => return Err(RepairError::Kind(*other)),
        })
    }
}

fn sources(bytes: &[u8]) -> Result<SourcesAsk, RepairError> {
    let ask: SourcesAsk = body(bytes)?;
    if ask.after.iter().chain(&ask.name).any(|name| name.len() > MAX_NAME) {
        return Err(wrong("a source's name has at most 64 bytes"));
    }
    Ok(ask)
}

fn ask(bytes: &[u8]) -> Result<Ask, RepairError> {
    let ask: Ask = body(bytes)?;
    if ask.from == 0 || ask.from > ask.to || ask.to == u64::MAX {
        return Err(wrong("a range runs from 1 and ends before 2^64 - 1"));
    }
    Ok(ask)
}

/// The frame of [`Answer::Batches`], without its length.
pub fn encode_batches<B: AsRef<[u8]>>(held: Option<&Summary>, more: bool, batches: &[B]) -> Vec<u8> {
    let head = codec::encode(&BatchesBody { held: held.cloned(), more });
    let size: usize = batches.iter().map(|batch| 4 + batch.as_ref().len()).sum();
    let mut bytes = Vec::with_capacity(5 + head.len() + size);
    bytes.push(2);
    push_sized(&mut bytes, &head);
    batches.iter().for_each(|batch| push_sized(&mut bytes, batch.as_ref()));
    bytes
}

fn push_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn sized(bytes: &[u8], place: usize, most: usize) -> Result<Range<usize>, RepairError> {
    let length = bytes.get(place..place + 4).ok_or_else(|| wrong("it is cut short"))?;
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    let range = place + 4..place + 4 + length;
    if length > most || range.end > bytes.len() {
        return Err(wrong("a length exceeds the frame"));
    }
    Ok(range)
}

impl Answer {
    /// The frame, without its length. [`Answer::Batches`] has [`encode_batches`]; here it is one without any.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Summaries(summaries) => frame(1, summaries),
            Self::Batches { held, more, .. } => encode_batches::<&[u8]>(held.as_ref(), *more, &[]),
            Self::Fork(proof) => frame(3, &ForkBody { proof: proof.clone() }),
            Self::Noted => vec![4],
            Self::Holds(synced) => frame(5, synced),
            Self::Sources(json) => [&[6], &json[..]].concat(),
            Self::Refused => vec![0],
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When it is no answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, RepairError> {
        if bytes.len() > MAX_ANSWER {
            return Err(RepairError::TooLong(bytes.len()));
        }
        let (kind, rest) = bytes.split_first().ok_or_else(|| wrong("it is empty"))?;
        match kind {
            0 => Ok(Self::Refused),
            1 => summaries(rest),
            2 => batches(bytes),
            3 => Ok(Self::Fork(body::<ForkBody>(rest)?.proof)),
            4 => Ok(Self::Noted),
            5 => Ok(Self::Holds(body(rest)?)),
            6 => Ok(Self::Sources(rest.to_vec())),
            other => Err(RepairError::Kind(*other)),
        }
    }
}

fn summaries(bytes: &[u8]) -> Result<Answer, RepairError> {
    let summaries: Summaries = body(bytes)?;
    summaries.logs.iter().try_for_each(Summary::check)?;
    let parts = summaries.parts.iter().map(|(part, _)| *part).chain(summaries.next);
    if summaries.logs.len() > MAX_SUMMARIES || parts.clone().any(|part| usize::from(part) >= BUCKETS) {
        return Err(wrong("there are 256 parts, and at most 2048 summaries at once"));
    }
    Ok(Answer::Summaries(summaries))
}

fn batches(bytes: &[u8]) -> Result<Answer, RepairError> {
    let head = sized(bytes, 1, MAX_ANSWER)?;
    let BatchesBody { held, more } = body(&bytes[head.clone()])?;
    held.as_ref().map_or(Ok(()), Summary::check)?;
    let (mut batches, mut place) = (Vec::new(), head.end);
    while place < bytes.len() {
        let batch = sized(bytes, place, MAX_BATCH)?;
        place = batch.end;
        batches.push(batch);
    }
    Ok(Answer::Batches { held, more, batches })
}
