//! Replay: what a segment's entries lead to. The writer, recovery and making an index anew all go through [`apply`].

use std::ops::Range;

use anode_shared::batch::{Header, Layout, Predecessor};
use anode_shared::codec;
use anode_shared::cursor::Shard;
use anode_shared::ids::{Hash, LogKey};
use anode_shared::record::RecordRef;
use anode_shared::repair::SignedHeader;
use serde::{Deserialize, Serialize};

use super::entry::{self, Found, Head, Kind};
use super::index::{Index, Stored};
use super::order::{Arrival, Lineage, Order, Piece, Place, What};

/// The body of a jump's entry.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct JumpEntry {
    pub(crate) key: LogKey,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// The body of the entry that says where a batch lies that filled part of a jump.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct FilledEntry {
    pub(crate) key: LogKey,
    pub(crate) piece: Piece,
    pub(crate) predecessor: Option<Predecessor>,
    #[serde(default)]
    pub(crate) shard: Shard,
}

/// The body of the entry that says that a range was found damaged.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct LostEntry {
    pub(crate) key: LogKey,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// The hash of the batch before it, and what the one behind it names as its previous.
    pub(crate) before: Option<Hash>,
    pub(crate) after: Option<Hash>,
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
    /// Logs that are not known any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gone: Vec<LogKey>,
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

/// Applies a batch that is part of the arrival order to order and index.
pub(crate) fn apply_batch(
    order: &mut Order,
    index: &mut Index,
    head: Head,
    layout: &Layout,
    bytes: &[u8],
    place: Place,
) -> Vec<Arrival> {
    let header = &layout.header;
    let (key, piece) = (header.key(), piece_of(layout, bytes, place));
    let arrivals = if head.kind == Kind::Waiting {
        order.take_waiting(key, piece, header.into(), head.when);
        Vec::new()
    } else {
        order.take_next(key, piece, header.into(), head.when)
    };
    add_to_index(index, head, layout, bytes, place);
    index.arrive(&arrivals);
    arrivals
}

/// Adds a batch to the index of the segment in which it lies.
pub(crate) fn add_to_index(index: &mut Index, head: Head, layout: &Layout, bytes: &[u8], place: Place) {
    let header = &layout.header;
    let records: Vec<RecordRef<'_>> =
        layout.records.iter().filter_map(|range| RecordRef::decode(&bytes[range.clone()]).ok()).collect();
    let stored = Stored {
        key: header.key(),
        first: header.first,
        last: header.last(),
        offset: place.offset,
        length: place.length,
        time_first: header.time_first,
        time_last: header.time_last,
        late: (head.kind == Kind::Late).then_some(head.arrival),
        keyed: records.iter().any(|record| record.dedupe.is_some()),
    };
    index.add(stored, records.iter().map(|record| (record.topic, record.time)), head.when);
}

/// Applies to order and index that a batch in a segment of backfill filled part of a jump.
pub(crate) fn apply_filled(
    order: &mut Order,
    index: &mut Index,
    head: Head,
    filled: &FilledEntry,
) -> Vec<Arrival> {
    let lineage = Lineage { shard: filled.shard, predecessor: filled.predecessor };
    let arrivals = order.take_late(filled.key, filled.piece, lineage, head.when);
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
    /// What its entries have in common.
    pub(crate) salt: Option<u64>,
    /// Proofs of forks in it.
    pub(crate) forks: Vec<ForkEntry>,
    /// What it names in the newest segment of backfill that it names: those before were synced with what came before.
    pub(crate) filled: Vec<FilledEntry>,
}

/// Replays a segment from the order that its checkpoint gives, or else the segment before it. Without either its own entries
/// say where numbers and logs begin.
pub(crate) fn replay(segment: u64, bytes: &[u8], order: Option<Order>, sealed: bool) -> Replayed {
    let scan = entry::scan(bytes, sealed);
    let order = order.unwrap_or_else(|| first_seen(&scan.entries));
    let index = Index::beginning(&order);
    let mut replayed = Replayed {
        order,
        index,
        damaged: scan.damaged,
        end: scan.end,
        salt: scan.salt,
        forks: Vec::new(),
        filled: Vec::new(),
    };
    replayed.index.summary.damaged = replayed.damaged.len() as u64;
    for found in &scan.entries {
        replayed.one(segment, found);
    }
    replayed
}

/// The order before entries of which nothing else is known: it begins with the first number, and each log with what first
/// names its head.
fn first_seen(entries: &[Found<'_>]) -> Order {
    let numbered = |found: &&Found<'_>| {
        matches!(found.head.kind, Kind::Batch | Kind::Filled | Kind::Jump | Kind::Closing)
    };
    let next = entries.iter().find(numbered).map_or(0, |found| found.head.arrival);
    let mut order = Order::beginning(next);
    for Found { head, body, .. } in entries {
        let heads = match head.kind {
            Kind::Batch => Layout::parse(body).ok().map(|layout| vec![before(&layout)]),
            Kind::Jump => codec::decode(body).ok().map(|jump: JumpEntry| vec![(jump.key, jump.from - 1)]),
            Kind::Closing => codec::decode(body).ok().map(|closing: ClosingEntry| closing.heads),
            _ => None,
        };
        heads.into_iter().flatten().for_each(|(key, head)| order.begin(key, head));
    }
    order
}

/// A batch's log, and its head before the batch.
fn before(layout: &Layout) -> (LogKey, u64) {
    (layout.header.key(), layout.header.first - 1)
}

impl Replayed {
    fn one(&mut self, segment: u64, found: &Found<'_>) {
        match found.head.kind {
            Kind::Checkpoint => {}
            Kind::Batch | Kind::Waiting | Kind::Late => self.batch(segment, found),
            Kind::Jump => {
                if let Ok(jump) = codec::decode::<JumpEntry>(found.body) {
                    self.catch_up(found.head, &[(jump.key, jump.from - 1)]);
                    let arrivals = self.order.take_jump(jump.key, jump.to);
                    self.index.arrive(&arrivals);
                }
            }
            Kind::Filled => {
                if let Ok(filled) = codec::decode::<FilledEntry>(found.body) {
                    self.catch_up(found.head, &[]);
                    apply_filled(&mut self.order, &mut self.index, found.head, &filled);
                    let newest = self.filled.first().map_or(0, |filled| filled.piece.place.segment);
                    if filled.piece.place.segment > newest {
                        self.filled.clear();
                    }
                    self.filled.push(filled);
                }
            }
            Kind::Lost => {
                if let Ok(LostEntry { key, from, to, before, after }) = codec::decode(found.body) {
                    self.order.lose(key, (from, to), before, after);
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
                    self.catch_up(found.head, &entry.heads);
                }
            }
            Kind::Floors => {
                if let Ok(entry) = codec::decode::<FloorsEntry>(found.body) {
                    entry.floors.iter().for_each(|(key, floor)| self.order.take_floor(*key, *floor));
                    entry.gone.iter().for_each(|key| self.order.forget(*key));
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
        if found.head.kind == Kind::Late {
            return add_to_index(&mut self.index, found.head, &layout, found.body, place);
        }
        if found.head.kind == Kind::Batch {
            self.catch_up(found.head, &[before(&layout)]);
        }
        apply_batch(&mut self.order, &mut self.index, found.head, &layout, found.body, place);
    }

    /// Where entries before this one were damaged: passes their numbers, so that later ones stay as they were, and names
    /// what the heads that this one proves say is missing.
    fn catch_up(&mut self, head: Head, heads: &[(LogKey, u64)]) {
        while self.order.next < head.arrival {
            self.index.arrive(&[Arrival::LOST]);
            self.order.next += 1;
        }
        for (key, to) in heads {
            let known = self.order.logs.get(key).map_or(0, |log| log.head);
            if *to > known {
                let damage = self.order.take_damage(*key, *to);
                self.name(damage);
            }
        }
    }

    /// Puts damage where a number was lost, behind all else of its log.
    fn name(&mut self, damage: Arrival) {
        let arrivals = &mut self.index.arrivals;
        let moved = |arrival: &Arrival| arrival.key == damage.key && arrival.what != What::Late;
        let behind = arrivals.iter().rposition(moved).map_or(0, |place| place + 1);
        match arrivals[behind..].iter_mut().find(|arrival| **arrival == Arrival::LOST) {
            Some(lost) => *lost = damage,
            None => {
                self.index.arrive(&[damage]);
                self.order.next += 1;
            }
        }
    }
}
