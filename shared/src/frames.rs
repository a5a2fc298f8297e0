//! The frames that a feed sends, and the records in them.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ids::LogKey;
use crate::publish::Ack;
use crate::record::{PublisherSignature, RecordRef};
use crate::time::to_rfc3339;

/// Why a reader will not get a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// Dropped by retention, everywhere.
    Expired,
    /// Nobody who is there has it.
    Unreachable,
    /// The log ended before it: its origin signed two versions.
    Forked,
    /// Damaged on disk, and nobody else has it.
    Corrupt,
}

/// A range of one log that a reader does not get; both ends are inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The log.
    pub log: LogKey,
    /// The first missing seq.
    pub from: u64,
    /// The last missing seq.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

/// A gap as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GapBody {
    /// `<origin>/<log>`.
    pub log: String,
    /// The first missing seq.
    pub from: u64,
    /// The last missing seq.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

impl From<&Gap> for GapBody {
    fn from(gap: &Gap) -> Self {
        Self { log: gap.log.to_string(), from: gap.from, to: gap.to, reason: gap.reason }
    }
}

/// A record as JSON, as the dashboard and clients read it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordBody {
    /// `<origin>/<log>/<seq>`.
    pub id: String,
    /// Its topic.
    pub topic: String,
    /// When its origin accepted it, RFC 3339 with microseconds.
    pub time: String,
    /// The source's name, or none for a pushed record.
    pub source: Option<String>,
    /// The wallet address or token name that pushed it.
    pub publisher: Option<String>,
    /// The payload where it is JSON, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// The payload where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    /// What `payload_base64` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The publisher's own signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher_signature: Option<PublisherSignature>,
}

/// Every frame but records, which are encoded once for all by [`record_json`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Frame {
    /// Stored records end and live ones begin.
    CaughtUp {
        /// Where the reader stands.
        cursor: String,
    },
    /// Where the reader stands.
    Cursor {
        /// The place.
        cursor: String,
    },
    /// What the reader does not get.
    Gap(GapBody),
    /// The new subscription stands; only it sends from now on.
    Subscribed {
        /// Where it begins.
        cursor: String,
    },
    /// A record was taken.
    Published {
        /// What the client called it.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<serde_json::Value>,
        /// The number of the frame that brought it, from 1 (on `/publish`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<u64>,
        /// The record's id.
        id: String,
        /// The promise that was reached.
        ack: Ack,
    },
    /// Something was wrong. Without `ref` and `n` the node closes the socket after it.
    Error {
        /// What the client called the record that was refused.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<serde_json::Value>,
        /// The number of the frame that was refused, from 1 (on `/publish`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<u64>,
        /// The error's word, the same as in REST answers.
        code: String,
        /// What to change.
        detail: String,
    },
}

/// What every record frame begins with; behind it the record's own members follow.
pub const RECORD_FRAME_START: &[u8] = br#"{"type":"record","#;

fn push_text(out: &mut Vec<u8>, text: &str) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Writes the frame of a record behind what `out` holds. `log` is `<origin>/<log>`, written once for a batch.
pub fn record_json(out: &mut Vec<u8>, log: &str, seq: u64, record: &RecordRef<'_>) {
    out.extend_from_slice(RECORD_FRAME_START);
    // Log, topic and time hold nothing that JSON escapes.
    out.extend_from_slice(b"\"id\":\"");
    out.extend_from_slice(log.as_bytes());
    let _ = write!(out, "/{seq}");
    out.extend_from_slice(b"\",\"topic\":\"");
    out.extend_from_slice(record.topic.as_bytes());
    out.extend_from_slice(b"\",\"time\":\"");
    out.extend_from_slice(to_rfc3339(record.time).as_bytes());
    out.extend_from_slice(b"\",\"source\":");
    match &record.source {
        Some(source) => push_text(out, source.name),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"publisher\":");
    match record.publisher {
        Some(publisher) => push_text(out, publisher),
        None => out.extend_from_slice(b"null"),
    }
    match record.content_type {
        None => {
            out.extend_from_slice(b",\"payload\":");
            out.extend_from_slice(record.payload);
        }
        Some(content_type) => {
            out.extend_from_slice(b",\"payload_base64\":\"");
            out.extend_from_slice(STANDARD.encode(record.payload).as_bytes());
            out.extend_from_slice(b"\",\"content_type\":");
            push_text(out, content_type);
        }
    }
    if let Some(signature) = &record.publisher_signature {
        out.extend_from_slice(b",\"publisher_signature\":");
        let _ = serde_json::to_writer(&mut *out, signature);
    }
    out.push(b'}');
}

/// A record as CBOR (`format=cbor`): the same members, the payload always as bytes, with its content type.
#[derive(Debug, Serialize)]
struct CborRecord<'a> {
    r#type: &'static str,
    id: String,
    topic: &'a str,
    time: String,
    source: Option<&'a str>,
    publisher: Option<&'a str>,
    content_type: &'a str,
    #[serde(with = "serde_bytes")]
    payload: &'a [u8],
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher_signature: Option<&'a PublisherSignature>,
}

/// The frame of a record in CBOR.
pub fn record_cbor(log: &str, seq: u64, record: &RecordRef<'_>) -> Vec<u8> {
    crate::codec::encode_named(&CborRecord {
        r#type: "record",
        id: format!("{log}/{seq}"),
        topic: record.topic,
        time: to_rfc3339(record.time),
        source: record.source.as_ref().map(|source| source.name),
        publisher: record.publisher,
        content_type: record.content_type.unwrap_or("application/json"),
        payload: record.payload,
        publisher_signature: record.publisher_signature.as_ref(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: &'static [u8], content_type: Option<&'static str>) -> RecordRef<'static> {
        RecordRef {
            topic: "a.b",
            time: 1_795_402_020_123_456,
            payload,
            content_type,
            source: None,
            publisher: Some("t\"1"),
            publisher_signature: None,
            dedupe: None,
        }
    }

    #[test]
    fn it_writes_a_record_as_the_contract_says() {
        let mut out = Vec::new();
        record_json(&mut out, "o/l", 7, &record(br#"{"x" : 1.50}"#, None));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"type":"record","id":"o/l/7","topic":"a.b","time":"2026-11-23T02:47:00.123456Z","source":null,"publisher":"t\"1","payload":{"x" : 1.50}}"#
        );
    }

    #[test]
    fn it_writes_other_payloads_as_base64() {
        let mut out = Vec::new();
        record_json(&mut out, "o/l", 7, &record(&[0, 255], Some("image/png")));
        let body: RecordBody = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (body.payload_base64.as_deref(), body.content_type.as_deref()),
            (Some("AP8="), Some("image/png"))
        );
    }

    #[test]
    fn it_reads_and_writes_every_other_frame() {
        for json in [
            r#"{"type":"caught_up","cursor":"c"}"#,
            r#"{"type":"cursor","cursor":"c"}"#,
            r#"{"type":"gap","log":"o/l","from":1,"to":2,"reason":"expired"}"#,
            r#"{"type":"subscribed","cursor":"c"}"#,
            r#"{"type":"published","ref":5,"id":"o/l/1","ack":"durable"}"#,
            r#"{"type":"published","n":1,"id":"o/l/1","ack":"durable"}"#,
            r#"{"type":"error","code":"bad_filter","detail":"d"}"#,
        ] {
            let frame: Frame = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&frame).unwrap(), json);
        }
    }
}
