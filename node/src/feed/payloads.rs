//! What subscribers look at in a record, made once for all of them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anode_shared::frames::RECORD_FRAME_START;

use crate::expression::json::Json;
use crate::store::Loaded;

/// How many batches' parsed payloads are kept: live subscribers all look at the newest few, and a batch of 256 KiB
/// can take twenty times its size once parsed.
const KEPT: usize = 8;

/// The parsed payloads of one batch, each parsed when it is first looked at.
#[derive(Debug)]
pub struct Parsed(Box<[OnceLock<Option<Json>>]>);

impl Parsed {
    /// Nothing parsed yet.
    pub fn new(batch: &Loaded) -> Self {
        Self((0..batch.len()).map(|_| OnceLock::new()).collect())
    }

    /// A record's payload, where it is JSON.
    pub fn get(&self, batch: &Loaded, index: usize) -> Option<&Json> {
        let parse = || {
            let record = batch.record(index);
            if record.is_json() { Json::parse(record.payload) } else { None }
        };
        self.0.get(index)?.get_or_init(parse).as_ref()
    }
}

/// The parsed payloads of the newest batches.
#[derive(Debug, Default)]
pub struct Payloads(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    kept: Vec<(Arc<Loaded>, Arc<Parsed>)>,
    oldest: usize,
}

impl Payloads {
    /// Those of a batch.
    pub fn of(&self, batch: &Arc<Loaded>) -> Arc<Parsed> {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, parsed)) = ring.kept.iter().find(|(kept, _)| Arc::ptr_eq(kept, batch)) {
            return Arc::clone(parsed);
        }
        let parsed = Arc::new(Parsed::new(batch));
        let entry = (Arc::clone(batch), Arc::clone(&parsed));
        if ring.kept.len() < KEPT {
            ring.kept.push(entry);
        } else {
            let oldest = ring.oldest;
            ring.kept[oldest] = entry;
            ring.oldest = (oldest + 1) % KEPT;
        }
        parsed
    }
}

/// The topic of a record, read out of its frame: a tenth of what decoding the record costs, once per subscriber.
pub(super) fn topic_of(frame: &[u8]) -> Option<&str> {
    const ID: &[u8] = b"\"id\":\"";
    const TOPIC: &[u8] = b"\",\"topic\":\"";
    let id = frame.strip_prefix(RECORD_FRAME_START)?.strip_prefix(ID)?;
    let rest = id.get(id.iter().position(|byte| *byte == b'"')?..)?.strip_prefix(TOPIC)?;
    let topic = &rest[..rest.iter().position(|byte| *byte == b'"')?];
    std::str::from_utf8(topic).ok()
}

#[cfg(test)]
mod tests {
    use anode_shared::frames::record_json;
    use anode_shared::record::RecordRef;

    use super::*;

    #[test]
    fn it_reads_a_topic_out_of_a_frame() {
        let record = RecordRef {
            topic: "a.b-c",
            time: 5,
            payload: b"\"\\\"topic\\\":\\\"x\\\"\"",
            content_type: None,
            source: None,
            publisher: Some("\"topic\":\"x"),
            publisher_signature: None,
            dedupe: None,
        };
        let mut frame = Vec::new();
        record_json(&mut frame, "12D3KooW/692273a45f3a9c01", 7, &record);
        assert_eq!(topic_of(&frame), Some("a.b-c"));
        for broken in ["", "{}", r#"{"type":"record","id":"x"#, r#"{"type":"record","id":"x","topic":"y"#] {
            assert_eq!(topic_of(broken.as_bytes()), None, "{broken}");
        }
    }
}
