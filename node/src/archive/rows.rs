//! How batches lie in the keyspace: rows, in groups that each go to one partition with one statement. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use anode_shared::ids::{LogId, LogKey, Origin};
use anode_shared::time::Micros;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::plan::Range;
use crate::store::Loaded;

/// Writes a row of `batches`.
pub const INSERT_BATCH: &str = "INSERT INTO $keyspace.batches (origin, log, part, first, last, bytes) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
/// Writes a row of `records`.
pub const INSERT_RECORD: &str = "INSERT INTO $keyspace.records (topic, slot, time, origin, log, seq, bytes) VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
/// How many seqs share a partition of `batches`: a few MiB of ordinary records.
const PART: u64 = 4_096;
/// How long a partition of `records` is: 10 minutes.
const SLOT: Micros = 600 * 1_000_000;
/// How many slots share a partition of `topic_slots`.
const SLOTS_AN_HOUR: i64 = 6;
/// Into how many partitions topics are spread in `latest`.
pub const TOPIC_SLICES: i16 = 64;
/// Into how many partitions logs are spread in `positions` and `holes`.
pub const LOG_SLICES: i16 = 16;
/// About how many bytes go into one statement: writes are fastest between 10 and 100 KB
/// (R. Svihla, "Cassandra batch best practices", 2016).
const GROUP_BYTES: usize = 64 << 10;
/// What a row takes beside its bytes, about.
const ROW: usize = 120;

/// The partition of `batches` in which a batch lies that begins with this seq.
pub fn part(first: u64) -> i64 {
    signed(first / PART)
}

/// The lowest seq of a part.
pub fn first_of_part(part: i64) -> u64 {
    unsigned(part).saturating_mul(PART)
}

/// The slot of a time.
pub fn slot(time: Micros) -> i64 {
    signed(time / SLOT)
}

/// The hour of a slot.
pub fn hour(slot: i64) -> i64 {
    slot / SLOTS_AN_HOUR
}

/// The partition of `latest` in which a topic lies.
pub fn topic_slice(topic: &str) -> i16 {
    i16::from(Sha256::digest(topic.as_bytes())[0]) % TOPIC_SLICES
}

/// The partition of `positions` and `holes` in which an origin's logs lie.
pub fn log_slice(origin: Origin) -> i16 {
    i16::from(Sha256::digest(origin.0)[0]) % LOG_SLICES
}

/// A number as Cassandra has it. None of ours reaches 2^63.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The same back.
pub fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A log id as it stands in a row.
pub fn log_bytes(log: LogId) -> [u8; 8] {
    log.0.to_be_bytes()
}

/// The log that a row names.
pub fn read_key(origin: &[u8], log: &[u8]) -> Option<LogKey> {
    let (origin, log) = (Origin(origin.try_into().ok()?), LogId(u64::from_be_bytes(log.try_into().ok()?)));
    Some(LogKey { log, origin })
}

/// A row of `records`, without what its group says.
#[derive(Debug, Clone)]
pub struct RecordRow {
    /// The record's time.
    pub time: i64,
    /// Its seq.
    pub seq: i64,
    /// Its bytes, as they stand in its batch.
    pub bytes: Bytes,
}

/// Rows of one partition of `records`.
#[derive(Debug)]
pub struct RecordGroup {
    /// Their topic.
    pub topic: Arc<str>,
    /// Their slot.
    pub slot: i64,
    /// The rows.
    pub rows: Vec<RecordRow>,
}

/// A row of `batches`, without what its group says.
#[derive(Debug, Clone)]
pub struct BatchRow {
    /// Its first seq.
    pub first: i64,
    /// Its last seq.
    pub last: i64,
    /// The time of its last record.
    pub time: i64,
    /// The batch as it was signed.
    pub bytes: Bytes,
}

/// Rows of one partition of `batches`.
#[derive(Debug)]
pub struct BatchGroup {
    /// The part of the log.
    pub part: i64,
    /// The rows.
    pub rows: Vec<BatchRow>,
}

/// The newest record of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Its time.
    pub time: Micros,
    /// Its log.
    pub key: LogKey,
    /// Its seq.
    pub seq: u64,
    /// Its bytes: a copy, since they outlive their batch.
    pub bytes: Box<[u8]>,
}

/// All rows of consecutive batches of one log.
#[derive(Debug)]
pub struct Rows {
    /// The log.
    pub key: LogKey,
    /// The records, by partition.
    pub records: Vec<RecordGroup>,
    /// The batches, by partition.
    pub batches: Vec<BatchGroup>,
    /// The newest record of each topic among them.
    pub newest: BTreeMap<Arc<str>, Newest>,
    /// How many records they are.
    pub count: u64,
    /// The time of the first and of the last of them.
    pub times: (Micros, Micros),
}

impl Rows {
    /// Lays out batches; of their records those whose seq is in the range.
    pub fn of(key: LogKey, batches: &[Arc<Loaded>], range: Range) -> Self {
        let mut records: BTreeMap<(Arc<str>, i64), Vec<RecordRow>> = BTreeMap::new();
        let mut last: BTreeMap<Arc<str>, (Micros, u64, Bytes)> = BTreeMap::new();
        let (mut count, mut times) = (0, (Micros::MAX, 0));
        for batch in batches {
            for index in 0..batch.len() {
                let seq = batch.seq(index);
                if !(range.first..=range.last).contains(&seq) {
                    continue;
                }
                let record = batch.record(index);
                let bytes = batch.bytes().slice(batch.layout().records[index].clone());
                let topic = match last.get_key_value(record.topic) {
                    Some((topic, _)) => topic.clone(),
                    None => Arc::from(record.topic),
                };
                count += 1;
                times = (times.0.min(record.time), times.1.max(record.time));
                let row = RecordRow { time: signed(record.time), seq: signed(seq), bytes: bytes.clone() };
                records.entry((topic.clone(), slot(record.time))).or_default().push(row);
                // Times never fall along a log.
                last.insert(topic, (record.time, seq, bytes));
            }
        }
        let newest = last.into_iter().map(|(topic, (time, seq, bytes))| {
            (topic, Newest { time, key, seq, bytes: bytes.as_ref().into() })
        });
        let groups = records.into_iter().flat_map(|((topic, slot), rows)| {
            split(rows, |row| row.bytes.len() + topic.len())
                .into_iter()
                .map(move |rows| RecordGroup { topic: topic.clone(), slot, rows })
                .collect::<Vec<_>>()
        });
        Self {
            key,
            records: groups.collect(),
            batches: batch_groups(batches),
            newest: newest.collect(),
            count,
            times,
        }
    }

    /// How many bytes they are.
    pub fn bytes(&self) -> usize {
        let records = self.records.iter().flat_map(|group| &group.rows).map(|row| row.bytes.len() + ROW);
        let batches = self.batches.iter().flat_map(|group| &group.rows).map(|row| row.bytes.len() + ROW);
        records.sum::<usize>() + batches.sum::<usize>()
    }
}

fn batch_groups(batches: &[Arc<Loaded>]) -> Vec<BatchGroup> {
    let mut parts: BTreeMap<i64, Vec<BatchRow>> = BTreeMap::new();
    for batch in batches {
        let header = batch.header();
        parts.entry(part(header.first)).or_default().push(BatchRow {
            first: signed(header.first),
            last: signed(header.last()),
            time: signed(header.time_last),
            bytes: batch.bytes().clone(),
        });
    }
    let groups = parts.into_iter().flat_map(|(part, rows)| {
        split(rows, |row| row.bytes.len()).into_iter().map(move |rows| BatchGroup { part, rows })
    });
    groups.collect()
}

/// Splits rows of one partition into groups of about [`GROUP_BYTES`].
pub(super) fn split<T>(rows: Vec<T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut groups, mut group, mut bytes) = (Vec::new(), Vec::new(), 0);
    for row in rows {
        let size = size(&row) + ROW;
        if bytes + size > GROUP_BYTES && !group.is_empty() {
            groups.push(std::mem::take(&mut group));
            bytes = 0;
        }
        bytes += size;
        group.push(row);
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

#[cfg(test)]
mod tests;
