//! Batches: consecutive records of one log under one signature, and the proof of one record.

use std::ops::Range;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::codec;
use crate::ids::{Hash, LogId, LogKey, Origin};
use crate::merkle;
use crate::record::{MAX_PAYLOAD, MAX_RECORD, RecordRef};
use crate::time::Micros;
use crate::topic::Topic;

/// What a header's signature begins with, so that it can pass for nothing else that the key signs.
pub const HEADER_TAG: &[u8] = b"anode/1 batch header\n";
/// The version of the batch format.
pub const VERSION: u8 = 1;
/// The most records of a batch.
pub const MAX_RECORDS: usize = 256;
/// The longest batch as a whole, in bytes.
pub const MAX_BATCH: usize = 256 << 10;
/// The longest header, with what newer nodes may add.
pub const MAX_HEADER: usize = 2 << 10;
/// The longest network name, in bytes.
pub const MAX_NETWORK: usize = 64;
/// Where seqs end: signed 64-bit numbers, as databases have them, hold them all, and whoever counts on from one stays far from where
/// numbers themselves end.
pub const END: u64 = 1 << 63;
/// Bytes of a signature.
const SIGNATURE: usize = 64;

/// What the origin signs. The order of the fields is the format: see `FORMAT.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The batch format's version.
    pub version: u8,
    /// The network that it belongs to.
    pub network: String,
    /// Who accepted the records.
    pub origin: Origin,
    /// The origin's log.
    pub log: LogId,
    /// The seq of the first record.
    pub first: u64,
    /// How many records.
    pub count: u32,
    /// [`Header::hash`] of the origin's batch before this one, in its predecessor log where this is a log's first; zeros before the very first.
    pub previous: Hash,
    /// In a log's first header: the log before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<Predecessor>,
    /// In how many bits of SHA-256(topic) the topics of a shard agree.
    pub shard_bits: u8,
    /// Those bits, as a number.
    pub shard: u32,
    /// The time of the first record.
    pub time_first: Micros,
    /// The time of the last record.
    pub time_last: Micros,
    /// The Merkle root over the records.
    pub root: Hash,
}

/// The log that a log follows, and where that ended as far as its origin knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    /// The older log.
    pub log: LogId,
    /// Its last seq.
    pub end: u64,
}

impl Header {
    /// The log that the batch belongs to.
    pub fn key(&self) -> LogKey {
        LogKey { origin: self.origin, log: self.log }
    }

    /// The seq of the last record.
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }

    /// What the next batch names as its previous: SHA-256 over the header's bytes as they were signed.
    pub fn hash(bytes: &[u8]) -> Hash {
        Hash(Sha256::digest(bytes).into())
    }
}

/// Why bytes are no batch, or not one of this origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says itself in words")]
pub enum BatchError {
    #[error("the batch is cut short")]
    Truncated,
    #[error("the batch has {0} bytes; at most 262144 are taken")]
    TooLong(usize),
    #[error("the header is malformed: {0}")]
    Header(String),
    #[error("the header's format version is {0}; this node reads 1")]
    Version(u8),
    #[error("record {0} of the batch is malformed: {1}")]
    Record(usize, String),
    #[error("bytes follow the last record")]
    Trailing,
    #[error("the signature does not fit the header and its origin")]
    Signature,
    #[error("the Merkle root does not fit the records")]
    Root,
    #[error("record {0} has a time outside the header's range or before the record ahead of it")]
    Time(usize),
    #[error("record {0} has a topic that does not belong to the header's shard")]
    Shard(usize),
}

/// Where the parts of a batch's bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The header, decoded.
    pub header: Header,
    /// The header's bytes.
    pub header_bytes: Range<usize>,
    /// The signature's bytes.
    pub signature: Range<usize>,
    /// The records' bytes, without their lengths.
    pub records: Vec<Range<usize>>,
}

impl Layout {
    /// Reads where the parts of a batch lie, and nothing more: no record is decoded, no signature checked.
    ///
    /// # Errors
    /// When the bytes are not laid out as a batch, or over a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() > MAX_BATCH {
            return Err(BatchError::TooLong(bytes.len()));
        }
        let header_bytes = sized(bytes, 0, MAX_HEADER)?;
        let header: Header = codec::decode(&bytes[header_bytes.clone()])
            .map_err(|error| BatchError::Header(error.to_string()))?;
        check_header(&header)?;
        let signature = header_bytes.end..header_bytes.end + SIGNATURE;
        if signature.end > bytes.len() {
            return Err(BatchError::Truncated);
        }
        let mut records = Vec::with_capacity(header.count as usize);
        let mut place = signature.end;
        for _ in 0..header.count {
            let record = sized(bytes, place, MAX_RECORD)?;
            place = record.end;
            records.push(record);
        }
        if place == bytes.len() {
            Ok(Self { header, header_bytes, signature, records })
        } else {
            Err(BatchError::Trailing)
        }
    }

    /// Checks all that the origin vouches for: signature, root, times, topics and their shard.
    ///
    /// # Errors
    /// With the first thing that does not fit.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), BatchError> {
        verify_header(
            &self.header.origin,
            &bytes[self.header_bytes.clone()],
            &bytes[self.signature.clone()],
        )?;
        if merkle::root(&self.leaves(bytes)) != self.header.root {
            return Err(BatchError::Root);
        }
        let mut earliest = self.header.time_first;
        for (place, range) in self.records.iter().enumerate() {
            let wrong = |error: String| BatchError::Record(place, error);
            let record =
                RecordRef::decode(&bytes[range.clone()]).map_err(|error| wrong(error.to_string()))?;
            record.topic.parse::<Topic>().map_err(|error| wrong(error.to_string()))?;
            check_payload(&record).map_err(wrong)?;
            if record.time < earliest || record.time > self.header.time_last {
                return Err(BatchError::Time(place));
            }
            if shard_of(record.topic, self.header.shard_bits) != self.header.shard {
                return Err(BatchError::Shard(place));
            }
            earliest = record.time;
        }
        Ok(())
    }

    /// The leaves of the batch's tree.
    pub fn leaves(&self, bytes: &[u8]) -> Vec<Hash> {
        self.records.iter().map(|range| merkle::leaf(&bytes[range.clone()])).collect()
    }

    /// The proof of one record, or `None` where the batch does not hold its place.
    pub fn proof(&self, bytes: &[u8], index: usize) -> Option<Proof> {
        Some(Proof {
            record_bytes: bytes[self.records.get(index)?.clone()].to_vec(),
            header: bytes[self.header_bytes.clone()].to_vec(),
            signature: bytes[self.signature.clone()].to_vec(),
            index: u32::try_from(index).ok()?,
            path: merkle::path(&self.leaves(bytes), index),
        })
    }
}

/// Checks that a payload is what it says: readers put JSON into their frames as it is.
fn check_payload(record: &RecordRef<'_>) -> Result<(), String> {
    if record.payload.len() > MAX_PAYLOAD {
        return Err(format!("its payload has {} bytes", record.payload.len()));
    }
    if record.is_json() {
        serde_json::from_slice::<serde::de::IgnoredAny>(record.payload)
            .map_err(|error| format!("its payload is no JSON: {error}"))?;
    }
    Ok(())
}

fn sized(bytes: &[u8], place: usize, most: usize) -> Result<Range<usize>, BatchError> {
    let length = bytes.get(place..place + 4).ok_or(BatchError::Truncated)?;
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    if length > most || place + 4 + length > bytes.len() {
        return Err(BatchError::Truncated);
    }
    Ok(place + 4..place + 4 + length)
}

fn check_header(header: &Header) -> Result<(), BatchError> {
    let wrong = |why: &str| Err(BatchError::Header(why.to_owned()));
    if header.version != VERSION {
        return Err(BatchError::Version(header.version));
    }
    if header.count == 0 || header.count as usize > MAX_RECORDS {
        return wrong("a batch holds 1 to 256 records");
    }
    let end = header.first.checked_add(u64::from(header.count));
    if header.first == 0 || end.is_none_or(|end| end > END) {
        return wrong("seqs run from 1 and end before 2^63");
    }
    if header.network.is_empty() || header.network.len() > MAX_NETWORK {
        return wrong("a network's name has 1 to 64 bytes");
    }
    if header.time_first > header.time_last || header.time_last > crate::time::MAX {
        return wrong("the time range is empty or ends after the year 9999");
    }
    if header.shard_bits > 16 || u64::from(header.shard) >> header.shard_bits != 0 {
        return wrong("a shard has at most 16 bits, and its number fits them");
    }
    if header
        .predecessor
        .is_some_and(|before| before.log >= header.log || before.end == 0 || header.first != 1)
    {
        return wrong("only a log's first batch names a predecessor, which is older and not empty");
    }
    Ok(())
}

/// Checks an origin's signature over a header's bytes.
///
/// # Errors
/// When it does not fit.
pub fn verify_header(origin: &Origin, header: &[u8], signature: &[u8]) -> Result<(), BatchError> {
    let key = VerifyingKey::from_bytes(&origin.0).map_err(|_| BatchError::Signature)?;
    let signature = Signature::from_slice(signature).map_err(|_| BatchError::Signature)?;
    key.verify_strict(&[HEADER_TAG, header].concat(), &signature).map_err(|_| BatchError::Signature)
}

/// Reads a header and checks all that it says, and its origin's signature.
///
/// # Errors
/// With what does not fit.
pub fn open_header(header: &[u8], signature: &[u8]) -> Result<Header, BatchError> {
    if header.len() > MAX_HEADER {
        return Err(BatchError::Header(format!("it has {} bytes; at most 2048 are taken", header.len())));
    }
    let decoded: Header = codec::decode(header).map_err(|error| BatchError::Header(error.to_string()))?;
    check_header(&decoded)?;
    verify_header(&decoded.origin, header, signature)?;
    Ok(decoded)
}

/// The first `bits` bits of SHA-256(topic), as a number.
pub fn shard_of(topic: &str, bits: u8) -> u32 {
    if bits == 0 {
        return 0;
    }
    let digest: [u8; 32] = Sha256::digest(topic.as_bytes()).into();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) >> (32 - u32::from(bits.min(32)))
}

/// A batch as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The whole batch.
    pub bytes: Vec<u8>,
    /// What the next batch of the log names as its previous.
    pub hash: Hash,
}

/// Signs a batch. `records` are encoded records, each behind its length (`u32`, little-endian), `leaves` their hashes;
/// the header's root and count are set from them.
pub fn seal(mut header: Header, records: &[u8], leaves: &[Hash], key: &SigningKey) -> Sealed {
    header.root = merkle::root(leaves);
    header.count = u32::try_from(leaves.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(records.len() + 512);
    bytes.extend_from_slice(&[0; 4]);
    codec::encode_into(&header, &mut bytes);
    let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    let hash = Header::hash(&bytes[4..]);
    let signature = key.sign(&[HEADER_TAG, &bytes[4..]].concat());
    bytes.extend_from_slice(&signature.to_bytes());
    bytes.extend_from_slice(records);
    Sealed { bytes, hash }
}

/// What proves that an origin vouches for one record: enough for a stranger, without the rest of the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The record's bytes.
    pub record_bytes: Vec<u8>,
    /// The header's bytes.
    pub header: Vec<u8>,
    /// The origin's signature over the header.
    pub signature: Vec<u8>,
    /// The record's place in the batch, from 0.
    pub index: u32,
    /// The audit path from the leaf to the root.
    pub path: Vec<Hash>,
}

impl Proof {
    /// Checks the proof, and gives the header that vouches for the record: its seq there is `first + index`.
    ///
    /// # Errors
    /// With what does not fit.
    pub fn verify(&self) -> Result<Header, BatchError> {
        let header = open_header(&self.header, &self.signature)?;
        let leaf = merkle::leaf(&self.record_bytes);
        let root = merkle::root_from_path(leaf, u64::from(self.index), u64::from(header.count), &self.path);
        if root == Some(header.root) { Ok(header) } else { Err(BatchError::Root) }
    }
}

#[cfg(test)]
mod tests;
