//! Replay: what a segment's entries lead to. The writer, recovery and making an index anew all go through [`apply`].

use std::ops::Range;

use anode_shared::batch::{Header, Layout};
use anode_shared::codec;
use anode_shared::ids::LogKey;
use anode_shared::record::RecordRef;
use serde::{Deserialize, Serialize};

use super::entry::{self, Found, Head, Kind};
use super::index::{Index, Stored};
use super::order::{Arrival, Order, Piece, Place};

/// The body of a jump's entry.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct JumpEntry {
    pub(crate) key: LogKey,
    pub(crate) to: u64,
}

/// A header as it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHeader {
    /// The header's bytes.
    #[serde(with = "serde_bytes")]
    pub header: Vec<u8>,
    /// The origin's signature over them.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// The body of a fork's entry: the log ends before `end`, and two headers prove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkEntry {
    /// The log.
    pub key: LogKey,
    /// The first seq that does not count.
    pub end: u64,
    /// Two signed headers that contradict each other.
    pub proof: Vec<SignedHeader>,
}

/// The body of a floors' entry.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct FloorsEntry {
    pub(crate) floors: Vec<(LogKey, u64)>,
}

/// The body of the entry that a clean stop leaves.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ClosingEntry {
    pub(crate) heads: Vec<(LogKey, u64)>,
}

/// What a batch is, as far as order and index care.
pub(crate) fn piece_of(layout: &Layout, bytes: &[u8], place: Place) -> Piece {
    let header = &layout.header;
    let hash = Header::hash(&bytes[layout.header_bytes.clone()]);
    Piece { first: header.first, last: header.last(), hash, previous: header.previous, place }
}

/// Applies a batch that was written as `kind` to order and index.
pub(crate) fn apply_batch(
    order: &mut Order,
    index: &mut Index,
    head: Head,
    layout: &Layout,
    bytes: &[u8],
    place: Place,
) -> Vec<Arrival> {
    let header = &layout.header;
    let key = header.key();
    let piece = piece_of(layout, bytes, place);
    let arrivals = match head.kind {
        Kind::Batch => order.take_next(key, piece, header.predecessor, head.when),
        Kind::Waiting => {
            order.take_waiting(key, piece, head.when);
            Vec::new()
        }
        _ => order.take_late(key, piece, header.predecessor, head.when),
    };
    let records = || layout.records.iter().filter_map(|range| RecordRef::decode(&bytes[range.clone()]).ok());
    let stored = Stored {
        key,
        first: header.first,
        last: header.last(),
        offset: place.offset,
        length: place.length,
        time_first: header.time_first,
        time_last: header.time_last,
        late: (head.kind == Kind::Late).then_some(head.arrival),
        keyed: records().any(|record| record.dedupe.is_some()),
    };
    index.add(stored, records().map(|record| (record.topic, record.time)), head.when);
    index.arrive(&arrivals);
    arrivals
}

/// What a replay led to.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) order: Order,
    pub(crate) index: Index,
    /// Damaged ranges of bytes.
    pub(crate) damaged: Vec<Range<usize>>,
    /// Where the good part ends.
    pub(crate) end: usize,
    /// Proofs of forks in it.
    pub(crate) forks: Vec<ForkEntry>,
}

/// Replays a segment from the order that its checkpoint gives, or else the segment before it.
pub(crate) fn replay(segment: u64, bytes: &[u8], order: Order, sealed: bool) -> Replayed {
    let scan = entry::scan(bytes, sealed);
    let mut replayed =
        Replayed { order, index: Index::default(), damaged: scan.damaged, end: scan.end, forks: Vec::new() };
    replayed.index.summary.first_arrival = replayed.order.next;
    replayed.index.summary.damaged = replayed.damaged.len() as u64;
    for found in &scan.entries {
        replayed.one(segment, found);
    }
    replayed
}

impl Replayed {
    fn one(&mut self, segment: u64, found: &Found<'_>) {
        match found.head.kind {
            Kind::Checkpoint => {}
            Kind::Batch | Kind::Waiting | Kind::Late => self.batch(segment, found),
            Kind::Jump => {
                if let Ok(jump) = codec::decode::<JumpEntry>(found.body) {
                    self.catch_up(found.head, jump.key, None);
                    let arrivals = self.order.take_jump(jump.key, jump.to);
                    self.index.arrive(&arrivals);
                }
            }
            Kind::Fork => {
                if let Ok(fork) = codec::decode::<ForkEntry>(found.body) {
                    self.order.take_fork(fork.key, fork.end);
                    self.forks.push(fork);
                }
            }
            Kind::Closing => {
                if let Ok(entry) = codec::decode::<ClosingEntry>(found.body) {
                    entry
                        .heads
                        .iter()
                        .for_each(|(key, head)| self.catch_up(found.head, *key, Some(head + 1)));
                }
            }
            Kind::Floors => {
                if let Ok(entry) = codec::decode::<FloorsEntry>(found.body) {
                    entry.floors.iter().for_each(|(key, floor)| self.order.take_floor(*key, *floor));
                }
            }
        }
    }

    fn batch(&mut self, segment: u64, found: &Found<'_>) {
        let Ok(layout) = Layout::parse(found.body) else { return };
        let (Ok(offset), Ok(length)) = (u32::try_from(found.offset), u32::try_from(found.body.len())) else {
            return;
        };
        let place = Place { segment, offset, length };
        if found.head.kind != Kind::Waiting {
            let first = (found.head.kind == Kind::Batch).then_some(layout.header.first);
            self.catch_up(found.head, layout.header.key(), first);
        }
        apply_batch(&mut self.order, &mut self.index, found.head, &layout, found.body, place);
    }

    /// Where entries before this one were damaged: gives what is missing of its log a place in the order, and keeps later
    /// numbers as they were.
    fn catch_up(&mut self, head: Head, key: LogKey, first: Option<u64>) {
        let known = self.order.logs.get(&key).map_or(0, |log| log.head);
        if let Some(first) = first.filter(|first| *first > known + 1) {
            let arrivals = self.order.take_damage(key, first - 1);
            self.index.arrive(&arrivals);
        }
        while self.order.next < head.arrival {
            // A number whose log is unknown: an empty range of this one.
            let seq = self.order.logs.get(&key).map_or(0, |log| log.head);
            self.index.arrive(&[Arrival {
                key,
                first: seq + 1,
                last: seq,
                what: super::order::What::Damage,
            }]);
            self.order.next += 1;
        }
    }
}
