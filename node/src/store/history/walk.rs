//! A walk along one log, and which of several goes on first.

use std::cmp::Ordering;
use std::sync::Arc;

use anode_shared::ids::LogKey;
use anode_shared::time::Micros;

use super::Direction;
use super::answer::Range;
use crate::store::halves::Halves;
use crate::store::index::Stored;
use crate::store::loaded::Loaded;
use crate::store::segment::Segment;

/// A place between records, by time, log and seq.
pub(super) type Key = (Micros, LogKey, u64);

/// Where a batch lies.
pub(super) enum Lies {
    /// In a segment: its number there.
    Here(Arc<Segment>, u32, Stored),
    /// With peers, who may lend it; where the range of times begins is looked for first, if it does not there.
    Lent(Option<Halves>),
}

/// The walk along one log: the batch it stands at, and the record in it.
pub(super) struct Walk {
    pub(super) key: LogKey,
    /// What is to be looked at next, as a sort key: of a record, or of a batch that is not loaded yet. Of a batch that peers have
    /// the time is not known: it is one that does not come behind it.
    pub(super) at: Key,
    pub(super) batch: Option<(Arc<Loaded>, usize)>,
    /// Whether the page holds its batch already.
    pub(super) counted: bool,
    pub(super) lies: Lies,
    pub(super) direction: Direction,
}

impl Walk {
    /// Whether it stands at what a peer is still to lend.
    pub(super) fn is_lent(&self) -> bool {
        self.batch.is_none() && matches!(self.lies, Lies::Lent(_))
    }

    /// What of a range is left for the next page.
    pub(super) fn left(&self, range: Range) -> Range {
        let Range { low, high, .. } = range;
        let (bound, _, at) = self.at;
        let (from, to) = match self.lies {
            Lies::Lent(Some(halves)) => (halves.low, halves.newer.saturating_sub(1)),
            _ => (at, at),
        };
        match self.direction {
            Direction::Asc => Range { low: low.max(from), high, bound },
            Direction::Desc => Range { low, high: high.min(to), bound },
        }
    }

    fn rank(&self) -> (Key, bool) {
        (self.at, self.batch.is_some())
    }
}

impl PartialEq for Walk {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Walk {}

impl PartialOrd for Walk {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Walk {
    /// The heap gives its greatest first: the earliest when ascending, the latest when descending; and a batch that must be
    /// loaded before a record of the same place.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = match self.direction {
            Direction::Asc => other.at.cmp(&self.at),
            Direction::Desc => self.at.cmp(&other.at),
        };
        by_key.then_with(|| other.batch.is_some().cmp(&self.batch.is_some()))
    }
}
