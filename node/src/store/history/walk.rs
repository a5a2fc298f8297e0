//! A walk along one log, and which of several goes on first.

use std::cmp::Ordering;
use std::sync::Arc;

use anode_shared::ids::LogKey;
use anode_shared::time::Micros;

use super::Direction;
use crate::store::index::Stored;
use crate::store::loaded::Loaded;
use crate::store::segment::Segment;

/// A place between records, by time, log and seq.
pub(super) type Key = (Micros, LogKey, u64);

/// The walk along one log: the batch it stands at, and the record in it.
pub(super) struct Walk {
    pub(super) key: LogKey,
    /// What is to be looked at next, as a sort key: of a record, or of a batch that is not loaded yet.
    pub(super) at: Key,
    pub(super) batch: Option<(Arc<Loaded>, usize)>,
    /// Whether the page holds its batch already.
    pub(super) counted: bool,
    pub(super) stored: Stored,
    pub(super) segment: Arc<Segment>,
    pub(super) number: u32,
    pub(super) direction: Direction,
}

impl Walk {
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
