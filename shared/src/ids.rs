//! Who and where: origins, logs, and the ids of records.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A text that is no origin, log or record id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IdError(&'static str);

/// The node that accepted a record: its ed25519 public key, written as a libp2p peer id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(pub [u8; 32]);

/// What stands before the key in a peer id: an identity multihash over the protobuf of an ed25519 key
/// (<https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md>).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        f.write_str(&bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Origin {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 38];
        let length = if text.len() > 64 { Ok(0) } else { bs58::decode(text).onto(&mut bytes[..]) };
        if length != Ok(38) || bytes[..6] != PEER_ID_PREFIX {
            return Err(IdError("an origin is the peer id of a node with an ed25519 key: 12D3KooW…"));
        }
        let mut key = [0; 32];
        key.copy_from_slice(&bytes[6..]);
        Ok(Self(key))
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Hash::deserialize(deserializer).map(|hash| Self(hash.0))
    }
}

/// 32 bytes of SHA-256 (or of a key), as CBOR bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        bytes.as_slice().try_into().map(Self).map_err(|_| de::Error::invalid_length(bytes.len(), &"32 bytes"))
    }
}

/// One log of an origin: the Unix second of its creation above 32 random bits; written as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogId(pub u64);

impl LogId {
    /// When the log was opened, in Unix seconds, as its origin's clock said.
    pub fn opened(self) -> u64 {
        self.0 >> 32
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for LogId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let hex = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let id = if hex { u64::from_str_radix(text, 16).ok() } else { None };
        id.map(Self).ok_or(IdError("a log id has 16 hex digits in lower case"))
    }
}

/// A log in the mesh. Ordered by log id first, which begins with the time: so older logs come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogKey {
    /// The log's id.
    pub log: LogId,
    /// Whose log it is.
    pub origin: Origin,
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.origin, self.log)
    }
}

impl FromStr for LogKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (origin, log) = text.split_once('/').ok_or(IdError("a log is written <origin>/<log>"))?;
        Ok(Self { origin: origin.parse()?, log: log.parse()? })
    }
}

/// A record's place in the mesh: `<origin>/<log>/<seq>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The log that holds it.
    pub key: LogKey,
    /// Its place there, from 1.
    pub seq: u64,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key, self.seq)
    }
}

impl FromStr for RecordId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (key, seq) =
            text.rsplit_once('/').ok_or(IdError("a record id is written <origin>/<log>/<seq>"))?;
        Ok(Self { key: key.parse()?, seq: parse_seq(seq)? })
    }
}

/// Reads a sequence number: from 1, in digits without sign or leading zeros.
///
/// # Errors
/// When it is none.
pub fn parse_seq(text: &str) -> Result<u64, IdError> {
    let digits = !text.is_empty() && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    let seq = if digits { text.parse().ok() } else { None };
    seq.ok_or(IdError("a seq is a whole number from 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_what_it_writes() {
        let key = LogKey { origin: Origin([7; 32]), log: LogId(0x6922_73a4_5f3a_9c01) };
        let id = RecordId { key, seq: 1042 };
        assert!(id.to_string().starts_with("12D3KooW") && id.to_string().ends_with("/692273a45f3a9c01/1042"));
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn it_refuses_what_is_no_id() {
        let origin = Origin([7; 32]).to_string();
        for bad in ["", "x", "12D3KooW", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", &"1".repeat(5_000)]
        {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
        for bad in [
            "/1",
            "/692273a45f3a9c01/0",
            "/692273a45f3a9c01/01",
            "/692273A45f3a9c01/1",
            "/692273a45f3a9c01/-1",
            "/692273a45f3a9c01/18446744073709551616",
        ] {
            assert!(format!("{origin}{bad}").parse::<RecordId>().is_err(), "{bad}");
        }
    }
}
