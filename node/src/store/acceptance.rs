//! What becomes of a batch of another origin.

use std::collections::BTreeMap;

use anode_shared::batch::{BatchError, Header};
use anode_shared::ids::LogKey;
use anode_shared::time::Micros;

use super::shared::Refused;

/// How far ahead of our clock a batch may be and still be taken.
pub(crate) const MOST_AHEAD: Micros = 600 * 1_000_000;
/// How many batches from the future are remembered.
const MOST_EARLY: usize = 4_096;

/// What became of a batch that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was written; it is visible, or will be once its predecessor is.
    Taken,
    /// The same bytes are held already.
    Held,
    /// It lies below the log's floor.
    Old,
    /// It is too far ahead of our clock; worth asking for again at that time.
    Early {
        /// When it is due.
        due: Micros,
    },
    /// There is no room for it now: its log has too many holes, or there are too many logs of origins that the mesh does not know.
    Crowded,
    /// It contradicts what is held: the log is ended, both headers are kept.
    Forked,
    /// Its log forked before it.
    Ended,
    /// It is of another network.
    OtherNetwork,
    /// It is no batch, or not one of its origin.
    Invalid(BatchError),
    /// It could not be written.
    Unable(Refused),
}

/// When a batch is due that is too far ahead of our clock.
pub(crate) fn due(header: &Header, now: Micros) -> Option<Micros> {
    (header.time_last > now.saturating_add(MOST_AHEAD)).then(|| header.time_last - MOST_AHEAD)
}

/// Ranges that were set aside because they come from the future: no jump passes them before they are due.
#[derive(Debug, Default)]
pub(crate) struct Early {
    ranges: BTreeMap<(LogKey, u64), (u64, Micros)>,
}

impl Early {
    /// Remembers a range until it is due.
    pub(crate) fn set_aside(&mut self, key: LogKey, first: u64, last: u64, due: Micros) {
        if self.ranges.len() >= MOST_EARLY {
            // The one that is due last is the least likely to be honest.
            let furthest = self.ranges.iter().max_by_key(|(_, (_, due))| *due).map(|(at, _)| *at);
            furthest.map(|at| self.ranges.remove(&at));
        }
        self.ranges.insert((key, first), (last, due));
    }

    /// Whether some of the range is not due yet.
    pub(crate) fn covers(&mut self, key: LogKey, from: u64, to: u64, now: Micros) -> bool {
        self.ranges.retain(|_, (_, due)| *due > now);
        self.ranges.range((key, 0)..=(key, to)).any(|(_, (last, _))| *last >= from)
    }

    /// How many ranges are set aside.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anode_shared::ids::{LogId, Origin};

    fn key(log: u64) -> LogKey {
        LogKey { log: LogId(log), origin: Origin([1; 32]) }
    }

    #[test]
    fn it_holds_a_range_back_until_it_is_due() {
        let mut early = Early::default();
        early.set_aside(key(1), 5, 9, 100);
        for (log, from, to, now, covered) in [
            (1, 1, 4, 0, false),
            (1, 1, 5, 0, true),
            (1, 9, 12, 0, true),
            (1, 10, 12, 0, false),
            (2, 5, 9, 0, false),
            (1, 5, 9, 100, false),
        ] {
            assert_eq!(early.covers(key(log), from, to, now), covered, "{log} {from}..{to} at {now}");
        }
    }

    #[test]
    fn it_stays_small() {
        let mut early = Early::default();
        (0..2 * MOST_EARLY as u64).for_each(|n| early.set_aside(key(n), 1, 1, 100 + n));
        assert!(early.len() <= MOST_EARLY && early.covers(key(0), 1, 1, 0));
    }
}
