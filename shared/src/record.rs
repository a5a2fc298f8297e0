//! Records: the bytes that are hashed, signed and kept.

use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError};
use crate::ids::Hash;
use crate::time::Micros;

/// The longest payload, in bytes.
pub const MAX_PAYLOAD: usize = 128 << 10;
/// The longest record as encoded: a payload with its surroundings at their longest.
pub const MAX_RECORD: usize = MAX_PAYLOAD + (8 << 10);

/// A record, borrowed from the bytes that hold it. The order of the fields is the format: see `FORMAT.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRef<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// When its origin accepted it; never less than that of the record before it in its log.
    pub time: Micros,
    /// The payload as it came, JSON unless `content_type` says otherwise.
    #[serde(with = "serde_bytes")]
    pub payload: &'a [u8],
    /// What the payload is, where it is not JSON.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'a str>,
    /// The source that it was read from; none for a pushed record.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRef<'a>>,
    /// The wallet address or token name that pushed it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<&'a str>,
    /// The publisher's own signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher_signature: Option<PublisherSignature>,
    /// The key by which its publisher makes repeated publishing harmless.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub dedupe: Option<&'a str>,
}

/// Where a record was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRef<'a> {
    /// The source's name on its node.
    pub name: &'a str,
    /// SHA-256 of the source's definition.
    pub definition: Hash,
    /// The upstream's HTTP status; 0 where there is none.
    pub status: u16,
    /// When it was fetched.
    pub fetched: Micros,
}

/// What a publisher signed with its own key, kept as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PublisherSignature {
    /// `eip712` or `eip191`.
    pub scheme: String,
    /// The wallet's address.
    pub address: String,
    /// When it was signed, RFC 3339.
    pub time: String,
    /// What makes the signed text unique.
    pub nonce: String,
    /// The signature, in hex.
    pub signature: String,
}

impl<'a> RecordRef<'a> {
    /// Encodes the record behind what `out` holds.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        codec::encode_into(self, out);
    }

    /// Reads a record out of its bytes.
    ///
    /// # Errors
    /// When they are not one record.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }

    /// Whether the payload is JSON.
    pub fn is_json(&self) -> bool {
        self.content_type.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_every_field() {
        let full = RecordRef {
            topic: "a.b",
            time: 5,
            payload: b"{\"x\": 1}",
            content_type: Some("text/plain"),
            source: Some(SourceRef { name: "s", definition: Hash([3; 32]), status: 200, fetched: 4 }),
            publisher: Some("p"),
            publisher_signature: Some(PublisherSignature {
                scheme: "eip191".into(),
                address: "0x0".into(),
                time: "t".into(),
                nonce: "n".into(),
                signature: "0x".into(),
            }),
            dedupe: Some("k"),
        };
        let lone = RecordRef {
            content_type: None,
            source: None,
            publisher: None,
            publisher_signature: None,
            dedupe: None,
            ..full.clone()
        };
        for record in [full, lone] {
            let mut bytes = Vec::new();
            record.encode_into(&mut bytes);
            assert_eq!(RecordRef::decode(&bytes).unwrap(), record);
        }
    }

    #[test]
    fn it_passes_over_fields_that_newer_nodes_add() {
        // {0: "a", 1: 1, 2: h'31', 99: true}
        let bytes = [0xa4, 0, 0x61, b'a', 1, 1, 2, 0x41, b'1', 0x18, 99, 0xf5];
        let record = RecordRef::decode(&bytes).unwrap();
        assert_eq!((record.topic, record.time, record.payload), ("a", 1, &b"1"[..]));
    }
}
