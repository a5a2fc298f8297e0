//! The newest arrivals, in memory, for all who read live.

use std::collections::VecDeque;
use std::sync::Arc;

use super::loaded::Loaded;
use super::order::{Arrival, Heads};
use super::segment::Segment;

/// The most arrivals that are kept, however small.
const MOST_ARRIVALS: usize = 16_384;

/// One arrival with what it brought.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) arrival: Arrival,
    pub(crate) batch: Option<Arc<Loaded>>,
    pub(crate) segment: Arc<Segment>,
}

/// An arrival in the tail with the bytes of memory that it held when it was last measured.
#[derive(Debug)]
struct Kept {
    item: Item,
    held: usize,
}

/// The newest arrivals.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    first: u64,
    /// For each log the newest seq before the next arrival.
    heads: Heads,
    items: VecDeque<Kept>,
    held: usize,
    most_held: usize,
}

impl Tail {
    /// An empty tail whose next arrival has this number, behind these heads, and that holds about so many bytes of memory at most.
    pub(crate) fn new(next: u64, heads: Heads, most_held: usize) -> Self {
        Self { first: next, heads, most_held, ..Self::default() }
    }

    /// The number of the next arrival.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// Whether what arrived from there on is all in it.
    pub(crate) fn holds(&self, position: u64) -> bool {
        position >= self.first
    }

    /// Adds the next arrival.
    pub(crate) fn push(&mut self, item: Item) {
        item.arrival.advance(&mut self.heads);
        self.items.push_back(Kept { item, held: 0 });
        self.measure();
        while self.items.len() > MOST_ARRIVALS || (self.held > self.most_held && self.items.len() > 1) {
            let Some(oldest) = self.items.pop_front() else { break };
            self.held -= oldest.held;
            self.first += 1;
        }
    }

    /// Measures the newest, and anew what came 1, 3, 7, 15, … before it: frames are made some time after a batch arrived.
    fn measure(&mut self) {
        let mut behind = 1;
        while let Some(kept) = self.items.len().checked_sub(behind).and_then(|at| self.items.get_mut(at)) {
            let held = kept.item.batch.as_ref().map_or(0, |batch| batch.held());
            self.held = self.held - kept.held + held;
            kept.held = held;
            behind *= 2;
        }
    }

    /// For each log the newest seq before `position`; `None` where that lies before the tail, or behind an arrival that is in the
    /// order and not in the tail yet.
    pub(crate) fn heads_at(&self, position: u64) -> Option<Heads> {
        let place = usize::try_from(position.checked_sub(self.first)?).ok()?;
        let mut heads = self.heads.clone();
        let behind = (place <= self.items.len()).then(|| self.items.range(place..))?;
        behind.rev().for_each(|kept| kept.item.arrival.retreat(&mut heads));
        Some(heads)
    }

    /// Up to `most` arrivals from `position`, of about `bytes` at most; `None` where it lies before the tail.
    pub(crate) fn from(&self, position: u64, most: usize, bytes: usize) -> Option<Vec<Item>> {
        let place = usize::try_from(position.checked_sub(self.first)?).ok()?;
        let mut room = bytes;
        let within = |kept: &&Kept| {
            let fits = room > 0;
            room = room.saturating_sub(kept.item.batch.as_ref().map_or(0, |batch| batch.bytes().len()));
            fits
        };
        let behind = self.items.range(place.min(self.items.len())..);
        Some(behind.take(most).take_while(within).map(|kept| kept.item.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use anode_shared::ids::{LogId, LogKey, Origin};

    use super::*;
    use crate::store::order::{Place, What};
    use crate::store::{Disk, Memory};

    #[test]
    fn it_knows_the_heads_at_each_of_its_places() {
        let disk: Arc<dyn Disk> = Arc::new(Memory::default());
        let segment = Arc::new(Segment::open(&disk, 1, 0, Weak::new()).unwrap());
        let batch = What::Batch(Place { segment: 1, offset: 0, length: 0 });
        let arrivals = [
            (1, 1, 4, batch),
            (2, 8, 9, batch),
            (1, 5, 7, What::Jump),
            (1, 5, 6, What::Late),
            (1, 8, 8, batch),
            (2, 1, 0, What::Damage),
            (2, 10, 12, What::Damage),
        ];
        let key = |log| LogKey { log: LogId(log), origin: Origin([1; 32]) };
        let mut heads = Heads::from([(key(2), 7)]);
        let (mut tail, mut at) = (Tail::new(50, heads.clone(), 1 << 20), vec![heads.clone()]);
        for (log, first, last, what) in arrivals {
            let arrival = Arrival { key: key(log), first, last, what };
            arrival.advance(&mut heads);
            at.push(heads.clone());
            tail.push(Item { arrival, batch: None, segment: segment.clone() });
        }
        for (position, heads) in (50..).zip(at) {
            assert_eq!(tail.heads_at(position), Some(heads), "at {position}");
        }
        assert_eq!((tail.heads_at(49), tail.heads_at(58)), (None, None));
    }
}
