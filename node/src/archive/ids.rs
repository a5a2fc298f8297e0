//! The id of a keyspace, as text.

use std::fmt::Write as _;

use anode_shared::ids::Hash;

/// 32 random bytes in hex.
pub(super) fn random_id() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads such an id.
pub(super) fn read_id(text: &str) -> Option<Hash> {
    let mut id = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(Hash(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_the_ids_that_it_makes() {
        let id = random_id();
        assert_eq!(format!("{:?}", read_id(&id).unwrap()), id);
        for bad in ["", "zz", &id[1..], &id.replace(|_: char| true, "g"), &"ü".repeat(32)] {
            assert_eq!(read_id(bad), None, "{bad}");
        }
    }
}
