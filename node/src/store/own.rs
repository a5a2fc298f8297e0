//! The node's own logs: records become batches, chained and signed.

mod logs;

use anode_shared::batch::{self, Header, MAX_RECORDS, Predecessor, Sealed, VERSION};
use anode_shared::cursor::Shard;
use anode_shared::ids::{Hash, LogId, LogKey, Origin, RecordId};
use anode_shared::merkle;
use anode_shared::record::{PublisherSignature, RecordRef, SourceRef};
use anode_shared::time::Micros;
use anode_shared::topic::Topic;
use bytes::Bytes;
use ed25519_dalek::SigningKey;

/// A batch is closed at this size, so that one lost on the way costs little and one signature serves many.
const TARGET_BYTES: usize = 64 << 10;
/// A clock that falls back by more than this opens a new log rather than standing still for so long.
const CLOCK_STEP: Micros = 5_000_000;

pub(crate) use logs::OwnLogs;

/// A record that the node is about to accept.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// Its topic.
    pub topic: Topic,
    /// Its payload, JSON unless `content_type` says otherwise.
    pub payload: Bytes,
    /// What the payload is, where it is not JSON.
    pub content_type: Option<String>,
    /// The wallet address or token name that pushed it.
    pub publisher: Option<String>,
    /// The publisher's own signature.
    pub publisher_signature: Option<PublisherSignature>,
    /// The key that makes repeated publishing harmless for two minutes.
    pub dedupe: Option<String>,
    /// The source that it was read from.
    pub source: Option<Source>,
}

impl NewRecord {
    /// About how many bytes it takes in memory and on disk.
    pub(crate) fn size(&self) -> usize {
        self.payload.len() + self.topic.as_str().len() + 96
    }
}

/// The source that a record was read from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name on this node.
    pub name: String,
    /// SHA-256 of its definition.
    pub definition: [u8; 32],
    /// The upstream's HTTP status; 0 where there is none.
    pub status: u16,
    /// When it was fetched.
    pub fetched: Micros,
}

/// Where the last log ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Before {
    pub(crate) log: Option<Predecessor>,
    /// The newest log id in this data directory, even of a log that is empty.
    pub(crate) newest: Option<LogId>,
    pub(crate) hash: Hash,
}

/// A log that this start writes, and the batch that grows.
#[derive(Debug)]
pub(crate) struct OwnLog {
    network: String,
    shard: Shard,
    key: SigningKey,
    origin: Origin,
    before: Before,
    log: Option<LogId>,
    /// The next batch's first seq.
    next: u64,
    previous: Hash,
    last_time: Micros,
    open: OpenBatch,
}

#[derive(Debug, Default)]
struct OpenBatch {
    records: Vec<u8>,
    leaves: Vec<Hash>,
    time_first: Micros,
    time_last: Micros,
}

/// A batch that is signed and not yet written.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) sealed: Sealed,
    shard: Shard,
    last: u64,
    time_last: Micros,
}

impl OwnLog {
    /// A log that opens at its first record.
    pub(crate) fn new(network: String, key: SigningKey, before: Before, shard: Shard) -> Self {
        let origin = Origin(key.verifying_key().to_bytes());
        Self {
            network,
            shard,
            key,
            origin,
            before,
            log: None,
            next: 1,
            previous: Hash::default(),
            last_time: 0,
            open: OpenBatch::default(),
        }
    }

    /// The log that is open.
    fn current(&self) -> Option<LogKey> {
        self.log.map(|log| LogKey { origin: self.origin, log })
    }

    /// Whether the next record must wait until what is open was written: it would make the batch too long, or its clock
    /// demands a new log.
    pub(crate) fn must_seal(&self, record: &NewRecord, now: Micros) -> bool {
        let full = self.open.leaves.len() >= MAX_RECORDS
            || self.open.records.len() >= TARGET_BYTES
            || self.open.records.len() + record.size() > 3 * TARGET_BYTES;
        !self.is_idle() && (full || self.fell_back(now))
    }

    /// Whether no record waits to be written.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.leaves.is_empty()
    }

    fn fell_back(&self, now: Micros) -> bool {
        self.log.is_some() && now.saturating_add(CLOCK_STEP) < self.last_time.max(self.open.time_last)
    }

    /// Adds a record and gives its id. `random` is for the id of a log that has to be opened.
    pub(crate) fn add(&mut self, record: &NewRecord, now: Micros, random: u32) -> RecordId {
        if self.is_idle() && self.fell_back(now) {
            self.close();
        }
        let apart = self.apart(random);
        let log = *self.log.get_or_insert_with(|| {
            let second = self.before.newest.map_or(0, |newest| newest.opened() + 1).max(now / 1_000_000);
            LogId(second << 32 | apart)
        });
        if self.next == 1 && self.is_idle() {
            self.previous = self.before.hash;
        }
        let time = now.max(self.last_time).max(self.open.time_last);
        let place = self.open.records.len();
        self.open.records.extend_from_slice(&[0; 4]);
        encode(record, time, &mut self.open.records);
        let length = u32::try_from(self.open.records.len() - place - 4).unwrap_or(u32::MAX);
        self.open.records[place..place + 4].copy_from_slice(&length.to_le_bytes());
        self.open.leaves.push(merkle::leaf(&self.open.records[place + 4..]));
        if self.open.leaves.len() == 1 {
            self.open.time_first = time;
        }
        self.open.time_last = time;
        RecordId {
            key: LogKey { origin: self.origin, log },
            seq: self.next + self.open.leaves.len() as u64 - 1,
        }
    }

    /// 32 random bits, of which the first name the shard: logs that are opened in one second have ids of their own.
    fn apart(&self, random: u32) -> u64 {
        let (bits, value) = self.shard;
        (u64::from(value) << 32 | u64::from(random)) >> bits
    }

    /// Signs what is open. It counts once [`OwnLog::written`] says so.
    pub(crate) fn seal(&mut self) -> Option<Ready> {
        let log = self.log?;
        let open = std::mem::take(&mut self.open);
        if open.leaves.is_empty() {
            return None;
        }
        let header = Header {
            version: VERSION,
            network: self.network.clone(),
            origin: self.origin,
            log,
            first: self.next,
            count: 0,
            previous: self.previous,
            predecessor: self.before.log.filter(|_| self.next == 1),
            shard_bits: self.shard.0,
            shard: self.shard.1,
            time_first: open.time_first,
            time_last: open.time_last,
            root: Hash::default(),
        };
        let last = self.next + open.leaves.len() as u64 - 1;
        Some(Ready {
            sealed: batch::seal(header, &open.records, &open.leaves, &self.key),
            shard: self.shard,
            last,
            time_last: open.time_last,
        })
    }

    /// The batch was written: the next one follows it.
    pub(crate) fn written(&mut self, ready: &Ready) {
        self.next = ready.last + 1;
        self.previous = ready.sealed.hash;
        self.last_time = ready.time_last;
    }

    /// Ends the log: the next record opens a new one.
    pub(crate) fn close(&mut self) {
        let Some(log) = self.log.take() else { return };
        if self.next > 1 {
            self.before = Before {
                log: Some(Predecessor { log, end: self.next - 1 }),
                newest: Some(log),
                hash: self.previous,
            };
        } else {
            self.before.newest = Some(log);
        }
        (self.next, self.last_time) = (1, 0);
    }
}

fn encode(record: &NewRecord, time: Micros, out: &mut Vec<u8>) {
    RecordRef {
        topic: record.topic.as_str(),
        time,
        payload: &record.payload,
        content_type: record.content_type.as_deref(),
        source: record.source.as_ref().map(|source| SourceRef {
            name: &source.name,
            definition: Hash(source.definition),
            status: source.status,
            fetched: source.fetched,
        }),
        publisher: record.publisher.as_deref(),
        publisher_signature: record.publisher_signature.clone(),
        dedupe: record.dedupe.as_deref(),
    }
    .encode_into(out);
}
