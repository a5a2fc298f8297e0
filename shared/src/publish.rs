//! What a client sends to publish one record: the same object everywhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::record::{MAX_PAYLOAD, PublisherSignature};
use crate::topic::Topic;

/// The longest dedupe key, in bytes.
pub const MAX_DEDUPE: usize = 64;
/// The longest content type, in bytes.
pub const MAX_CONTENT_TYPE: usize = 128;

/// Which promise an acknowledgement gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// On stable storage of this node.
    #[default]
    Durable,
    /// On stable storage of another node too.
    Replicated,
    /// In Cassandra at `LOCAL_QUORUM`.
    Archived,
}

impl Ack {
    /// The promise's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Replicated => "replicated",
            Self::Archived => "archived",
        }
    }
}

/// A record to publish, as JSON, with what some of the ways to send it add.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishObject<'a> {
    /// `publish` on a feed's socket.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// What the client calls this record, echoed in the answer (a feed's socket).
    #[serde(rename = "ref", borrow, default, deserialize_with = "given")]
    pub reference: Option<&'a RawValue>,
    /// The promise that the answer shall give (a feed's socket).
    #[serde(default)]
    pub ack: Option<Ack>,
    /// The record's topic.
    pub topic: String,
    /// Its payload as JSON.
    #[serde(borrow, default, deserialize_with = "given")]
    pub payload: Option<&'a RawValue>,
    /// Its payload as base64, where it is not JSON.
    #[serde(default)]
    pub payload_base64: Option<String>,
    /// What `payload_base64` holds.
    #[serde(default)]
    pub content_type: Option<String>,
    /// The key that makes repeated publishing harmless for 2 minutes.
    #[serde(default)]
    pub dedupe: Option<String>,
    /// The publisher's own signature.
    #[serde(default)]
    pub publisher_signature: Option<PublisherSignature>,
}

/// Reads a member that is there, `null` included.
///
/// # Errors
/// When it is no JSON.
pub fn given<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A record to publish, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishable {
    /// Its topic, not reserved.
    pub topic: Topic,
    /// Its payload.
    pub payload: Vec<u8>,
    /// What the payload is, where it is not JSON.
    pub content_type: Option<String>,
    /// The dedupe key.
    pub dedupe: Option<String>,
    /// The publisher's own signature.
    pub publisher_signature: Option<PublisherSignature>,
}

/// Why an object is no record to publish, in words for its sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says itself in words")]
pub enum PublishError {
    #[error("{0}")]
    Malformed(String),
    #[error("the payload has {0} bytes; a record takes at most 131072")]
    TooBig(usize),
}

impl PublishObject<'_> {
    /// Checks the record.
    ///
    /// # Errors
    /// With what to change.
    pub fn check(self) -> Result<Publishable, PublishError> {
        let malformed = |why: &str| PublishError::Malformed(why.to_owned());
        let topic = check_topic(&self.topic)?;
        let (payload, content_type) = match (self.payload, self.payload_base64, self.content_type) {
            (Some(json), None, None) => (json.get().as_bytes().to_vec(), None),
            (None, Some(text), Some(kind)) => {
                let payload = STANDARD
                    .decode(text)
                    .map_err(|error| malformed(&format!("payload_base64 is not base64: {error}")))?;
                (payload, Some(check_content_type(kind)?))
            }
            (Some(_), Some(_), _) => return Err(malformed("payload and payload_base64 exclude each other")),
            (Some(_), None, Some(_)) => {
                return Err(malformed("content_type goes with payload_base64; a payload is JSON"));
            }
            (None, Some(_), None) => return Err(malformed("payload_base64 needs content_type")),
            (None, None, _) => {
                return Err(malformed("payload is missing (or payload_base64 with content_type)"));
            }
        };
        if payload.len() > MAX_PAYLOAD {
            return Err(PublishError::TooBig(payload.len()));
        }
        if self.dedupe.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_DEDUPE) {
            return Err(malformed("dedupe has 1 to 64 bytes"));
        }
        if let Some(signature) = &self.publisher_signature {
            let fields = [
                &signature.scheme,
                &signature.address,
                &signature.time,
                &signature.nonce,
                &signature.signature,
            ];
            if fields.iter().any(|field| field.len() > 512) {
                return Err(malformed("the fields of publisher_signature have at most 512 bytes each"));
            }
        }
        Ok(Publishable {
            topic,
            payload,
            content_type,
            dedupe: self.dedupe,
            publisher_signature: self.publisher_signature,
        })
    }
}

/// Reads a topic that somebody wants to publish to.
///
/// # Errors
/// When it is none, or one of the node's own.
pub fn check_topic(text: &str) -> Result<Topic, PublishError> {
    let topic: Topic =
        text.parse().map_err(|error: crate::topic::TopicError| PublishError::Malformed(error.to_string()))?;
    if topic.is_reserved() {
        return Err(PublishError::Malformed(format!(
            "topic \"{topic}\" is reserved: a first token that begins with $ is the node's own"
        )));
    }
    Ok(topic)
}

fn check_content_type(kind: String) -> Result<String, PublishError> {
    let good = (1..=MAX_CONTENT_TYPE).contains(&kind.len())
        && kind.bytes().all(|b| (0x20..0x7f).contains(&b))
        && kind.contains('/');
    if good {
        Ok(kind)
    } else {
        Err(PublishError::Malformed(
            "content_type is a media type such as text/plain, at most 128 bytes".to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<Publishable, String> {
        let object: PublishObject<'_> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        object.check().map_err(|error| error.to_string())
    }

    #[test]
    fn it_keeps_a_payload_byte_for_byte() {
        let record = check(r#"{"topic":"a.b","payload": {"x" : 1.0,  "y":"\u00e4"} }"#).unwrap();
        assert_eq!(record.payload, br#"{"x" : 1.0,  "y":"\u00e4"}"#);
        assert_eq!(check(r#"{"topic":"a","payload":null}"#).map(|r| r.payload), Ok(b"null".to_vec()));
        let binary = check(
            r#"{"topic":"a","payload_base64":"AAE=","content_type":"application/octet-stream","dedupe":"k"}"#,
        )
        .unwrap();
        assert_eq!((binary.payload, binary.dedupe), (vec![0, 1], Some("k".to_owned())));
    }

    #[test]
    fn it_says_what_to_change() {
        for (json, words) in [
            (r#"{"payload":1}"#, "topic"),
            (r#"{"topic":"a"}"#, "payload is missing"),
            (r#"{"topic":"A","payload":1}"#, "tokens hold a-z"),
            (r#"{"topic":"$a","payload":1}"#, "reserved"),
            (r#"{"topic":"a","payload":1,"payload_base64":"AA=="}"#, "exclude"),
            (r#"{"topic":"a","payload":1,"content_type":"a/b"}"#, "goes with"),
            (r#"{"topic":"a","payload_base64":"AA=="}"#, "needs content_type"),
            (r#"{"topic":"a","payload_base64":"*","content_type":"a/b"}"#, "not base64"),
            (r#"{"topic":"a","payload_base64":"","content_type":"ab"}"#, "media type"),
            (r#"{"topic":"a","payload":1,"dedupe":""}"#, "dedupe"),
            (r#"{"topic":"a","payload":1,"colour":"red"}"#, "colour"),
            (r#"{"topic":"a","payload":}"#, "expected value"),
        ] {
            let error = check(json).unwrap_err();
            assert!(error.contains(words), "{json}: {error}");
        }
    }
}
