//! A batch in memory, shared by all who read it, with the frames that are made from it once.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use anode_shared::batch::{BatchError, Header, Layout, Proof};
use anode_shared::frames::{record_cbor, record_json};
use anode_shared::ids::{LogKey, RecordId};
use anode_shared::record::RecordRef;
use bytes::Bytes;

/// A batch as it was signed, with where its parts lie.
#[derive(Debug)]
pub struct Loaded {
    bytes: Bytes,
    layout: Layout,
    json: OnceLock<Frames>,
    cbor: OnceLock<Frames>,
}

/// The frames of all records of a batch, in one piece of memory.
#[derive(Debug)]
struct Frames {
    each: Vec<Bytes>,
    bytes: usize,
}

impl Frames {
    fn held(&self) -> usize {
        self.bytes + size_of_val(self.each.as_slice())
    }
}

impl Loaded {
    /// Takes a batch whose records were checked when it was accepted.
    ///
    /// # Errors
    /// When the bytes are no batch.
    pub fn new(bytes: Bytes) -> Result<Self, BatchError> {
        let layout = Layout::parse(&bytes)?;
        Ok(Self { bytes, layout, json: OnceLock::new(), cbor: OnceLock::new() })
    }

    /// What its origin signed.
    pub fn header(&self) -> &Header {
        &self.layout.header
    }

    /// Its log.
    pub fn key(&self) -> LogKey {
        self.layout.header.key()
    }

    /// The whole batch, as it was signed.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where its parts lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How many records it holds.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.layout.records.len()
    }

    /// The seq of a record.
    pub fn seq(&self, index: usize) -> u64 {
        self.layout.header.first + index as u64
    }

    /// The id of a record.
    pub fn id(&self, index: usize) -> RecordId {
        RecordId { key: self.key(), seq: self.seq(index) }
    }

    /// A record, borrowed from the batch's bytes.
    pub fn record(&self, index: usize) -> RecordRef<'_> {
        // Decoding cannot fail for what was accepted; a record that nobody can read is shown empty rather than not at all.
        RecordRef::decode(&self.bytes[self.layout.records[index].clone()]).unwrap_or(RecordRef {
            topic: "$unreadable",
            time: self.layout.header.time_first,
            payload: b"null",
            content_type: None,
            source: None,
            publisher: None,
            publisher_signature: None,
            dedupe: None,
        })
    }

    /// The topic of a record.
    pub fn topic(&self, index: usize) -> &str {
        self.record(index).topic
    }

    /// The proof of a record.
    pub fn proof(&self, index: usize) -> Option<Proof> {
        self.layout.proof(&self.bytes, index)
    }

    /// How many bytes of memory it holds, with the frames that were made of it so far.
    pub fn held(&self) -> usize {
        let frames = |made: &OnceLock<Frames>| made.get().map_or(0, Frames::held);
        let layout = size_of_val(self.layout.records.as_slice());
        self.bytes.len() + layout + frames(&self.json) + frames(&self.cbor)
    }

    /// A record's frame `{"type":"record",…}`, made once for all who read it.
    pub fn json(&self, index: usize) -> &Bytes {
        &self.json.get_or_init(|| self.encode(256, record_json)).each[index]
    }

    /// The same as CBOR.
    pub fn cbor(&self, index: usize) -> &Bytes {
        let encode = |out: &mut Vec<u8>, log: &str, seq: u64, record: &RecordRef<'_>| {
            out.extend(record_cbor(log, seq, record));
        };
        &self.cbor.get_or_init(|| self.encode(256, encode)).each[index]
    }

    /// Encodes all records into one piece of memory.
    fn encode(&self, beside: usize, one: impl Fn(&mut Vec<u8>, &str, u64, &RecordRef<'_>)) -> Frames {
        let log = self.key().to_string();
        let mut out = Vec::with_capacity(self.bytes.len() + self.len() * beside);
        let ends: Vec<usize> = (0..self.len())
            .map(|index| {
                one(&mut out, &log, self.seq(index), &self.record(index));
                out.len()
            })
            .collect();
        out.shrink_to_fit();
        let out = Bytes::from(out);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let each = starts.zip(&ends).map(|(start, end)| out.slice(start..*end)).collect();
        Frames { each, bytes: out.len() }
    }
}

/// Consecutive records of one batch.
#[derive(Debug, Clone)]
pub struct Slice {
    batch: Arc<Loaded>,
    range: Range<usize>,
}

impl Slice {
    /// The records of a batch from `seq` to `last`, as far as it holds them.
    pub fn of(batch: Arc<Loaded>, seq: u64, last: u64) -> Self {
        let first = batch.header().first;
        let place =
            |seq: u64| usize::try_from(seq.saturating_sub(first)).unwrap_or(usize::MAX).min(batch.len());
        let range = place(seq)..place(last.saturating_add(1));
        Self { batch, range }
    }

    /// The batch.
    pub fn batch(&self) -> &Arc<Loaded> {
        &self.batch
    }

    /// The places of the records in it.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}
