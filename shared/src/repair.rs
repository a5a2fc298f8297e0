//! The repair protocol: what nodes ask one another to have the same, and what they answer.
//!
//! Each frame is one kind byte and a body. Nothing here is trusted: a summary is a hint where to ask, and only what an
//! origin signed (batches, headers) proves anything.

mod frames;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::batch::{BatchError, Header, MAX_RECORDS, open_header};
use crate::codec;
use crate::ids::LogKey;

pub use frames::{Answer, Ask, Question, SourcesAsk, Summaries, encode_batches};

/// The version of the protocol, as beacons name it.
pub const PROTOCOL: u32 = 1;
/// The longest question, in bytes: two headers of 2 KiB, or a digest, with room for what newer nodes add.
pub const MAX_QUESTION: usize = 64 << 10;
/// The longest answer, in bytes: eight of the longest batches.
pub const MAX_ANSWER: usize = 2 << 20;
/// In how many parts all logs are compared. A node with 10,000 logs then tells of 40 for each one that changed.
pub const BUCKETS: usize = 256;
/// The most missing ranges that a summary names; the lowest are named as one.
pub const MAX_MISSING: usize = 32;
/// The most summaries of an answer: with proofs they stay below half of [`MAX_ANSWER`].
pub const MAX_SUMMARIES: usize = 2_048;
/// A window of so many seqs that somebody holds without a hole holds the end of a batch.
pub const WINDOW: u64 = MAX_RECORDS as u64;

/// Bytes that are no question, or no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says itself in words")]
pub enum RepairError {
    #[error("{0} bytes are more than are taken")]
    TooLong(usize),
    #[error("the frame is malformed: {0}")]
    Malformed(String),
    #[error("the frame is of the unknown kind {0}")]
    Kind(u8),
}

fn wrong(why: &str) -> RepairError {
    RepairError::Malformed(why.to_owned())
}

/// What a node holds of one log: a hint where to ask, unless a proof stands with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The log.
    pub log: LogKey,
    /// The highest seq that it holds; 0: none.
    pub head: u64,
    /// The lowest seq that it holds or wants.
    pub floor: u64,
    /// What it lacks between them, rising, both ends inclusive.
    pub missing: Vec<(u64, u64)>,
    /// Where the log ends because it forked: the first seq that does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked: Option<u64>,
    /// The header of the batch that ends at `head`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<SignedHeader>,
}

impl Summary {
    /// What of it goes into a digest: the first 8 bytes of SHA-256 over its CBOR without the proof.
    pub fn fingerprint(&self) -> u64 {
        let bare = Self { missing: self.missing.clone(), proof: None, ..*self };
        first_eight(&codec::encode(&bare))
    }

    /// Makes the list of missing ranges short: the lowest become one.
    pub fn shorten(&mut self) {
        let excess = self.missing.len().saturating_sub(MAX_MISSING);
        if excess > 0 {
            let to = self.missing[excess].1;
            self.missing.drain(1..=excess);
            self.missing[0].1 = to;
        }
    }

    /// The head as far as the proof bears it out. Checks a signature.
    ///
    /// # Errors
    /// When the proof is none, or of another log.
    pub fn proven(&self) -> Result<Option<u64>, BatchError> {
        let Some(proof) = &self.proof else { return Ok(None) };
        let header = proof.open()?;
        if header.key() == self.log {
            Ok(Some(header.last()))
        } else {
            Err(BatchError::Header("it is of another log".to_owned()))
        }
    }

    fn check(&self) -> Result<(), RepairError> {
        let mut next = self.floor;
        let ordered = self.missing.iter().all(|(from, to)| {
            let good = *from >= next && from <= to && *to <= self.head;
            next = to.saturating_add(2);
            good
        });
        if self.floor == 0 || self.head == u64::MAX || self.missing.len() > MAX_MISSING || !ordered {
            return Err(wrong("a summary's ranges do not fit each other"));
        }
        Ok(())
    }
}

/// A header as it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHeader {
    /// The header's bytes.
    #[serde(with = "serde_bytes")]
    pub header: Vec<u8>,
    /// The origin's signature over them.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

impl SignedHeader {
    /// Reads the header and checks all of it.
    ///
    /// # Errors
    /// With what does not fit.
    pub fn open(&self) -> Result<Header, BatchError> {
        open_header(&self.header, &self.signature)
    }
}

/// Two signed headers that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkProof {
    /// One of them.
    pub one: SignedHeader,
    /// The other.
    pub other: SignedHeader,
}

impl ForkProof {
    /// Which log they prove forked, and the first seq that does not count. Checks two signatures.
    ///
    /// # Errors
    /// When a header is none, or they do not contradict each other.
    pub fn check(&self) -> Result<(LogKey, u64), BatchError> {
        let (one, other) = (self.one.open()?, self.other.open()?);
        if one.key() == other.key() && (self.overlap(&one, &other) || self.break_chain(&one, &other)) {
            Ok((one.key(), one.first.min(other.first)))
        } else {
            Err(BatchError::Header("the two do not contradict each other".to_owned()))
        }
    }

    fn overlap(&self, one: &Header, other: &Header) -> bool {
        one.first <= other.last() && other.first <= one.last() && self.one.header != self.other.header
    }

    fn break_chain(&self, one: &Header, other: &Header) -> bool {
        let breaks = |before: &Header, bytes: &[u8], behind: &Header| {
            before.last() + 1 == behind.first && behind.previous != Header::hash(bytes)
        };
        breaks(one, &self.one.header, other) || breaks(other, &self.other.header, one)
    }
}

/// Fingerprints of all logs, in [`BUCKETS`] parts.
#[derive(Clone, PartialEq, Eq)]
pub struct Digest(Vec<u64>);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({:016x})", self.whole())
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self(vec![0; BUCKETS])
    }
}

impl Digest {
    /// In which part a log is counted.
    pub fn bucket(log: LogKey) -> usize {
        usize::from(
            Sha256::new().chain_update(log.origin.0).chain_update(log.log.0.to_le_bytes()).finalize()[0],
        )
    }

    /// Adds a fingerprint to a part, or takes it out again.
    pub fn toggle(&mut self, bucket: usize, fingerprint: u64) {
        self.0[bucket] ^= fingerprint;
    }

    /// One part.
    pub fn part(&self, bucket: usize) -> u64 {
        self.0[bucket]
    }

    /// Sets one part.
    pub fn set(&mut self, bucket: usize, part: u64) {
        self.0[bucket] = part;
    }

    /// One number for all of it: the first 8 bytes of SHA-256 over the parts.
    pub fn whole(&self) -> u64 {
        first_eight(&self.to_bytes())
    }

    /// The parts, each as 8 bytes, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|part| part.to_le_bytes()).collect()
    }

    /// Reads what [`Digest::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let parts =
            bytes.chunks_exact(8).map(|part| part.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)));
        (bytes.len() == 8 * BUCKETS).then(|| Self(parts.collect()))
    }
}

fn first_eight(bytes: &[u8]) -> u64 {
    Sha256::digest(bytes).iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
