//! Damage found while reading: what is damaged leaves the index, is never served, and is missing again, so that repair brings it.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anode_shared::ids::LogKey;

use super::history::Direction;
use super::index::Stored;
use super::loaded::Loaded;
use super::order::What;
use super::segment::Segment;
use super::shared::{Shared, place_in};

/// The most ranges that wait to be looked at; what is left out is found again when it is read again.
const MOST: usize = 1_024;

/// Ranges that should be held and could not be read.
#[derive(Debug, Default)]
pub(crate) struct Lost(BTreeSet<(LogKey, u64, u64)>);

impl Lost {
    fn put(&mut self, key: LogKey, from: u64, to: u64) {
        if self.0.len() < MOST {
            self.0.insert((key, from, to));
        }
    }

    /// What was reported since this was called last.
    pub(crate) fn take(&mut self) -> BTreeSet<(LogKey, u64, u64)> {
        std::mem::take(&mut self.0)
    }
}

impl Shared {
    /// Loads a stored batch; one that is damaged is set aside.
    pub(crate) fn load_stored(&self, segment: &Segment, stored: &Stored) -> io::Result<Arc<Loaded>> {
        segment.load(place_in(segment, stored)).inspect_err(|error| {
            if error.kind() != io::ErrorKind::InvalidData || segment.dropped.load(Ordering::SeqCst) {
                return;
            }
            tracing::error!(segment = segment.id, offset = stored.offset, "Found a damaged batch");
            self.counters.damaged.fetch_add(1, Ordering::Relaxed);
            segment.lose(stored);
            self.report_lost(stored.key, stored.first, stored.last);
        })
    }

    /// Says that a range should be here and is not. The writer looks whether that is so.
    pub(crate) fn report_lost(&self, key: LogKey, from: u64, to: u64) {
        self.lost().put(key, from, to);
    }

    /// Reports what damage in a segment's own entries says is missing.
    pub(crate) fn report_damage(&self, segment: &Segment) -> io::Result<()> {
        segment.with_index(|index| {
            let damaged = index.arrivals.iter().filter(|arrival| arrival.what == What::Damage);
            damaged.for_each(|arrival| self.report_lost(arrival.key, arrival.first, arrival.last));
        })
    }

    /// Reports what files of the arrival order held that are gone from between others.
    pub(crate) fn report_missing_files(&self) -> io::Result<()> {
        for pair in self.ordered_segments().windows(2).filter(|pair| pair[0].id + 1 < pair[1].id) {
            let before = pair[0].heads_at(pair[0].end_arrival()?)?;
            let behind = pair[1].with_index(|index| index.base.clone())?;
            for (key, head) in behind {
                let had = before.get(&key).copied().unwrap_or(0);
                if had < head {
                    self.report_lost(key, had + 1, head);
                }
            }
        }
        Ok(())
    }

    /// All that is not stored around a hole, within bounds: somebody may have asked for a part of a batch, and a jump that ends
    /// within one is never filled.
    pub(crate) fn whole_hole(
        &self,
        key: LogKey,
        (from, to): (u64, u64),
        (lowest, highest): (u64, u64),
    ) -> io::Result<(u64, u64)> {
        let before = self.find(key, from, Direction::Desc)?.map(|(.., stored)| stored.last + 1);
        let behind = self.find(key, to, Direction::Asc)?.map(|(.., stored)| stored.first - 1);
        let whole = (before.unwrap_or(1).max(lowest), behind.unwrap_or(u64::MAX).min(highest));
        Ok((whole.0.min(from), whole.1.max(to)))
    }

    /// What of a range no index names.
    pub(crate) fn not_stored(&self, key: LogKey, from: u64, to: u64) -> io::Result<Vec<(u64, u64)>> {
        let (mut holes, mut next, mut near) = (Vec::new(), from, None);
        while next <= to {
            match self.find_near(&mut near, key, next)? {
                Some((.., stored)) if stored.first <= next => next = stored.last + 1,
                other => {
                    let end = other.map_or(to, |(.., stored)| to.min(stored.first - 1));
                    holes.push((next, end));
                    next = end + 1;
                }
            }
        }
        Ok(holes)
    }
}
