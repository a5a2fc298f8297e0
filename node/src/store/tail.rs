//! The newest arrivals, in memory, for all who read live.

use std::collections::VecDeque;
use std::sync::Arc;

use super::loaded::Loaded;
use super::order::Arrival;
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

/// The newest arrivals.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    first: u64,
    items: VecDeque<Item>,
    bytes: usize,
    most_bytes: usize,
}

impl Tail {
    /// An empty tail whose next arrival has this number, and that keeps at most so many bytes of batches.
    pub(crate) fn new(next: u64, most_bytes: usize) -> Self {
        Self { first: next, most_bytes, ..Self::default() }
    }

    /// The number of the next arrival.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// Adds the next arrival.
    pub(crate) fn push(&mut self, item: Item) {
        self.bytes += item.batch.as_ref().map_or(0, |batch| batch.bytes().len());
        self.items.push_back(item);
        while self.items.len() > MOST_ARRIVALS || (self.bytes > self.most_bytes && self.items.len() > 1) {
            let Some(oldest) = self.items.pop_front() else { break };
            self.bytes -= oldest.batch.map_or(0, |batch| batch.bytes().len());
            self.first += 1;
        }
    }

    /// Up to `most` arrivals from `position`, of about `bytes` at most; `None` where it lies before the tail.
    pub(crate) fn from(&self, position: u64, most: usize, bytes: usize) -> Option<Vec<Item>> {
        let place = usize::try_from(position.checked_sub(self.first)?).ok()?;
        let mut room = bytes;
        let within = |item: &&Item| {
            let fits = room > 0;
            room = room.saturating_sub(item.batch.as_ref().map_or(0, |batch| batch.bytes().len()));
            fits
        };
        Some(self.items.range(place.min(self.items.len())..).take(most).take_while(within).cloned().collect())
    }
}
