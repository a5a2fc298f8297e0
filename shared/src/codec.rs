//! CBOR in and out: the only file that names the library.

use serde::{Deserialize, Serialize};

/// The longest value that is decoded, in bytes: above every cap of ours, below what hurts.
pub const MAX_BYTES: usize = 16 << 20;

/// Bytes that are not the CBOR that was expected.
#[derive(Debug, thiserror::Error)]
#[error("not valid CBOR: {0}")]
pub struct DecodeError(String);

/// Encodes structs as maps with small integer keys (the field's place), so that fields can be added.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    encode_into(value, &mut bytes);
    bytes
}

/// As [`encode`], behind what `out` already holds.
pub fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    let mut serializer = serde_cbor::Serializer::new(serde_cbor::ser::IoWrite::new(out)).packed_format();
    // Writing to memory cannot fail, and our own types hold nothing that CBOR has no form for.
    let written = value.serialize(&mut serializer);
    debug_assert!(written.is_ok(), "own types are encodable: {written:?}");
}

/// Encodes with names for keys, for readers that see each value alone (`format=cbor`).
pub fn encode_named<T: Serialize>(value: &T) -> Vec<u8> {
    let encoded = serde_cbor::to_vec(value);
    debug_assert!(encoded.is_ok(), "own types are encodable: {encoded:?}");
    encoded.unwrap_or_default()
}

/// Decodes exactly one value; what follows it is an error.
///
/// # Errors
/// When the bytes are not one CBOR value of this type, nest deeper than 128 levels, or are too many.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    if bytes.len() > MAX_BYTES {
        return Err(DecodeError(format!("{} bytes, at most {MAX_BYTES} are taken", bytes.len())));
    }
    serde_cbor::from_slice(bytes).map_err(|error| DecodeError(error.to_string()))
}
