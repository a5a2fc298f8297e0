//! Entries: what segments are made of, each behind its length and checksum.
//!
//! An entry is a 48-byte head and a body. The head, all little-endian: magic `aNe2`, CRC-32 over all that follows it and
//! the entry's offset, body length `u32`, kind `u8` and three zeros, arrival number `u64`, the segment's offset up to which
//! all was synced when this was written `u64`, the time of writing in microseconds `u64`, and the segment's salt `u64`.
//!
//! The salt is random and leaves the node in no answer, so that no payload can be made to look like an entry behind a tear.

use anode_shared::time::Micros;

/// What every entry begins with, so that a scan finds the next one behind damage.
const MAGIC: [u8; 4] = *b"aNe2";
/// What entries of the format before began with.
const OLDER_MAGIC: [u8; 4] = *b"aNe1";
/// Bytes before an entry's body.
pub(crate) const HEAD: usize = 48;
/// The longest body: a checkpoint of many logs is the longest thing that is ever written.
const MAX_BODY: usize = 256 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All that the segments before it lead to; the first entry of every segment.
    Checkpoint = 1,
    /// A batch that became visible at once.
    Batch = 2,
    /// A batch whose predecessor was missing.
    Waiting = 3,
    /// A batch that filled part of a jump, in a segment of backfill, with the number of its [`Kind::Filled`].
    Late = 4,
    /// The order went on without a range.
    Jump = 5,
    /// Two signed headers that prove a fork.
    Fork = 6,
    /// Floors that rose because a segment was dropped.
    Floors = 7,
    /// All heads at a clean stop: so damage to what was written last shows.
    Closing = 8,
    /// Where in a segment of backfill a batch lies that filled part of a jump.
    Filled = 9,
    /// A range that was held and turned out damaged.
    Lost = 10,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        let kinds = [
            Self::Checkpoint,
            Self::Batch,
            Self::Waiting,
            Self::Late,
            Self::Jump,
            Self::Fork,
            Self::Floors,
            Self::Closing,
            Self::Filled,
            Self::Lost,
        ];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Whether the body is a batch.
    pub(crate) fn is_batch(self) -> bool {
        matches!(self, Self::Batch | Self::Waiting | Self::Late)
    }
}

/// An entry's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// The number that it got; else 0.
    pub(crate) arrival: u64,
    /// Up to where its segment was synced when it was written.
    pub(crate) synced: u64,
    /// When it was written.
    pub(crate) when: Micros,
    /// The same for all entries of a segment, and for no other.
    pub(crate) salt: u64,
}

/// Encodes an entry that is to lie at `offset`.
pub(crate) fn encode(head: Head, body: &[u8], offset: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&[head.kind as u8, 0, 0, 0]);
    bytes.extend_from_slice(&head.arrival.to_le_bytes());
    bytes.extend_from_slice(&head.synced.to_le_bytes());
    bytes.extend_from_slice(&head.when.to_le_bytes());
    bytes.extend_from_slice(&head.salt.to_le_bytes());
    bytes.extend_from_slice(body);
    let crc = checksum(&bytes[8..], offset);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn checksum(bytes: &[u8], offset: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes);
    hasher.update(&offset.to_le_bytes());
    hasher.finalize()
}

/// Whether a segment that begins like this was written in the format before.
pub(crate) fn is_older(bytes: &[u8]) -> bool {
    bytes.starts_with(&OLDER_MAGIC)
}

fn u64_at(bytes: &[u8], place: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[place..place + 8]);
    u64::from_le_bytes(number)
}

fn u32_at(bytes: &[u8], place: usize) -> u32 {
    u32::from_le_bytes([bytes[place], bytes[place + 1], bytes[place + 2], bytes[place + 3]])
}

/// Reads the entry at the start of `bytes`, which lie at `offset`: its head and its body. `None` where no whole entry with a
/// fitting checksum stands.
pub(crate) fn decode(bytes: &[u8], offset: u64) -> Option<(Head, &[u8])> {
    if bytes.len() < HEAD || bytes[..4] != MAGIC {
        return None;
    }
    let length = u32_at(bytes, 8) as usize;
    if length > MAX_BODY || bytes.len() < HEAD + length {
        return None;
    }
    if checksum(&bytes[8..HEAD + length], offset) != u32_at(bytes, 4) {
        return None;
    }
    let head = Head {
        kind: Kind::of(bytes[12])?,
        arrival: u64_at(bytes, 16),
        synced: u64_at(bytes, 24),
        when: u64_at(bytes, 32),
        salt: u64_at(bytes, 40),
    };
    Some((head, &bytes[HEAD..HEAD + length]))
}

/// An entry found by a scan, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) offset: usize,
    pub(crate) head: Head,
    pub(crate) body: &'a [u8],
}

/// What a scan of a segment found.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    /// The whole entries, in order.
    pub(crate) entries: Vec<Found<'a>>,
    /// Where damaged bytes lie that had once been synced, or that entries follow in a sealed segment.
    pub(crate) damaged: Vec<std::ops::Range<usize>>,
    /// What all entries of this segment have in common; none where there is no whole one.
    pub(crate) salt: Option<u64>,
    /// Where the good part ends; what follows was never synced.
    pub(crate) end: usize,
}

/// Finds all entries. Behind damage it goes on with the next whole entry. `sealed` says that all had been synced;
/// else only entries that say so prove it, and what lies behind a tear was never promised to anyone.
pub(crate) fn scan(bytes: &[u8], sealed: bool) -> Scan<'_> {
    let first = Reel { bytes, salt: None }.next(0);
    let reel = Reel { bytes, salt: first.map(|found| found.head.salt) };
    let mut scan = Scan { entries: Vec::new(), damaged: Vec::new(), salt: reel.salt, end: bytes.len() };
    let mut place = 0;
    while place < bytes.len() {
        if let Some(found) = reel.at(place) {
            scan.entries.push(found);
            place = found.end();
            continue;
        }
        let next = reel.next(place + 1).map(|found| found.offset);
        if sealed || next.is_some_and(|next| reel.proves(next, place)) {
            let end = next.unwrap_or(bytes.len());
            scan.damaged.push(place..end);
            place = end;
        } else {
            scan.end = place;
            return scan;
        }
    }
    scan
}

impl Found<'_> {
    fn end(&self) -> usize {
        self.offset + HEAD + self.body.len()
    }
}

/// A segment's bytes, with the salt that its entries must have once it is known.
#[derive(Clone, Copy)]
struct Reel<'a> {
    bytes: &'a [u8],
    salt: Option<u64>,
}

impl<'a> Reel<'a> {
    /// The whole entry at a place.
    fn at(self, offset: usize) -> Option<Found<'a>> {
        let (head, body) = decode(&self.bytes[offset..], offset as u64)?;
        self.salt.is_none_or(|salt| salt == head.salt).then_some(Found { offset, head, body })
    }

    /// The first whole entry at or behind a place.
    fn next(self, from: usize) -> Option<Found<'a>> {
        let mut place = from;
        while place + HEAD <= self.bytes.len() {
            let at = self.bytes[place..].windows(4).position(|window| window == MAGIC)? + place;
            if let Some(found) = self.at(at) {
                return Some(found);
            }
            place = at + 1;
        }
        None
    }

    /// Whether an entry at or behind `from` says that `place` had been synced.
    fn proves(self, from: usize, place: usize) -> bool {
        let mut from = from;
        while let Some(found) = self.next(from) {
            if found.head.synced > place as u64 {
                return true;
            }
            from = found.end();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 0x5a17;

    fn head(arrival: u64, salt: u64) -> Head {
        Head { kind: Kind::Batch, arrival, synced: 0, when: 5, salt }
    }

    fn segment(synced: &[u64]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for (place, synced) in synced.iter().enumerate() {
            starts.push(bytes.len());
            let head = Head { synced: *synced, ..head(place as u64, SALT) };
            bytes.extend(encode(head, &vec![b'x'; 20 + place], bytes.len() as u64));
        }
        (bytes, starts)
    }

    #[test]
    fn it_cuts_off_a_torn_tail() {
        let (bytes, starts) = segment(&[0, 0, 0, 0]);
        for cut in starts[3]..bytes.len() {
            let scan = scan(&bytes[..cut], false);
            assert_eq!((scan.entries.len(), scan.end, scan.damaged.len()), (3, starts[3], 0), "cut at {cut}");
        }
    }

    #[test]
    fn it_drops_unsynced_entries_behind_a_tear() {
        let (mut bytes, starts) = segment(&[0, 0, 0, 0]);
        bytes[starts[1] + 50] ^= 1;
        let scan = scan(&bytes, false);
        assert_eq!((scan.entries.len(), scan.end), (1, starts[1]));
    }

    #[test]
    fn it_passes_over_damage_in_what_had_been_synced() {
        let (mut bytes, starts) = segment(&[0, 0, 0, 400]);
        for bit in starts[1] * 8..starts[2] * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let scan = scan(&bytes, false);
            assert_eq!((scan.entries.len(), scan.end), (3, bytes.len()), "bit {bit}");
            assert_eq!((scan.damaged[0].start, scan.damaged[0].end), (starts[1], starts[2]));
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn it_takes_all_of_a_sealed_segment_for_synced() {
        let (mut bytes, starts) = segment(&[0, 0, 0]);
        bytes[starts[2] + 45] ^= 1;
        let scan = scan(&bytes, true);
        assert_eq!((scan.entries.len(), scan.damaged.len()), (2, 1));
        assert_eq!(scan.damaged[0], starts[2]..bytes.len());
    }

    /// A payload that was made to look like an entry which proves that the tear before it had been synced.
    #[test]
    fn it_takes_no_payload_for_an_entry() {
        for (salt, elsewhere, taken) in [(SALT, 0, true), (SALT ^ 1, 0, false), (SALT, 64, false)] {
            let (mut bytes, _) = segment(&[0, 0]);
            let (tear, place) = (bytes.len(), bytes.len() + HEAD + 10);
            let crafted = Head { synced: 1 << 20, ..head(9, salt) };
            let mut payload = vec![b'x'; 10];
            payload.extend(encode(crafted, b"forged", place as u64 + elsewhere));
            bytes.extend(encode(head(2, SALT), &payload, bytes.len() as u64));
            bytes[tear..tear + HEAD].fill(0);
            let scan = scan(&bytes, false);
            assert_eq!(scan.entries.len() == 3, taken, "salt {salt:x}, {elsewhere} bytes off");
        }
    }
}
