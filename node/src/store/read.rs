//! Reading a log by seq, and saying why something of it is missing.

use std::io;
use std::sync::Arc;

use anode_shared::frames::GapReason;
use anode_shared::ids::LogKey;
use anode_shared::topic::Topics;

use super::history::Direction;
use super::index::Stored;
use super::loaded::Slice;
use super::segment::Segment;
use super::shared::{Shared, place_in};

/// Seqs that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The last of them.
    pub(crate) to: u64,
    /// Why, unless somebody else has them.
    pub(crate) reason: GapReason,
}

/// What was read of a log.
#[derive(Debug, Default)]
pub(crate) struct LogRead {
    pub(crate) slices: Vec<Slice>,
    /// The next seq to read.
    pub(crate) next: u64,
    /// What is missing there.
    pub(crate) missing: Option<Missing>,
}

/// Which batches of a segment hold wanted topics: (segment, flags).
pub(crate) type Flags = Option<(u64, Vec<bool>)>;

/// Whether a batch of a segment may hold wanted topics.
pub(crate) fn is_wanted(
    segment: &Segment,
    number: u32,
    topics: &Topics,
    flags: &mut Flags,
) -> io::Result<bool> {
    if topics.is_all() {
        return Ok(true);
    }
    let place = number as usize;
    match flags {
        Some((id, known)) if *id == segment.id && place < known.len() => Ok(known[place]),
        _ => {
            let fresh = segment.with_index(|index| index.with_topics(&|topic| topics.matches(topic)))?;
            let wanted = fresh.get(place).copied().unwrap_or(true);
            *flags = Some((segment.id, fresh));
            Ok(wanted)
        }
    }
}

impl Shared {
    /// Reads a log from `next` up to `upto`: about `budget` bytes, or up to what is missing.
    pub(crate) fn read_log(
        &self,
        key: LogKey,
        next: u64,
        upto: u64,
        topics: &Topics,
        flags: &mut Flags,
        budget: usize,
    ) -> io::Result<LogRead> {
        let mut read = LogRead { next, ..LogRead::default() };
        let (mut bytes, mut looked, mut near) = (0, 0, None);
        while read.next <= upto && bytes < budget && looked < 16_384 {
            if let Some(missing) = self.missing_before_reading(key, read.next, upto) {
                read.missing = Some(missing);
                return Ok(read);
            }
            let (segment, number, stored) = match self.find_near(&mut near, key, read.next)? {
                Some(found) if found.2.first <= read.next => found,
                other => {
                    let to = other.map_or(upto, |(.., stored)| upto.min(stored.first - 1));
                    read.missing = Some(self.missing(key, read.next, to));
                    return Ok(read);
                }
            };
            looked += 1;
            if is_wanted(&segment, number, topics, flags)? {
                match segment.load(place_in(&segment, &stored)) {
                    Ok(batch) => {
                        bytes += batch.bytes().len();
                        let end = self.order().logs.get(&key).and_then(|log| log.forked).unwrap_or(u64::MAX);
                        read.slices.push(Slice::of(batch, read.next, stored.last.min(upto).min(end - 1)));
                        read.next = (stored.last + 1).min(end);
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        tracing::error!(
                            segment = segment.id,
                            offset = stored.offset,
                            "Found a damaged batch"
                        );
                        self.counters.damaged.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        read.missing =
                            Some(Missing { to: stored.last.min(upto), reason: GapReason::Corrupt });
                        return Ok(read);
                    }
                    Err(error) => return Err(error),
                }
            }
            read.next = stored.last + 1;
        }
        Ok(read)
    }

    /// As [`Shared::find`], but looks first where the last one was found.
    pub(crate) fn find_near(
        &self,
        near: &mut Option<Arc<Segment>>,
        key: LogKey,
        seq: u64,
    ) -> io::Result<Option<(Arc<Segment>, u32, Stored)>> {
        if let Some(segment) = near {
            let here = segment
                .with_index(|index| index.at_or_after(key, seq).map(|(number, stored)| (number, *stored)))?;
            if let Some((number, stored)) = here.filter(|(_, stored)| stored.first <= seq) {
                return Ok(Some((segment.clone(), number, stored)));
            }
        }
        let found = self.find(key, seq, Direction::Asc)?;
        *near = found.as_ref().map(|(segment, ..)| segment.clone());
        Ok(found)
    }

    /// What the log's state alone says is missing: below the floor, or behind its fork.
    fn missing_before_reading(&self, key: LogKey, next: u64, upto: u64) -> Option<Missing> {
        let order = self.order();
        let log = order.logs.get(&key)?;
        if log.forked.is_some_and(|end| next >= end) {
            return Some(Missing { to: upto, reason: GapReason::Forked });
        }
        (next < log.floor).then(|| Missing { to: upto.min(log.floor - 1), reason: GapReason::Expired })
    }

    /// Why a range that no segment holds is missing.
    pub(crate) fn missing(&self, key: LogKey, from: u64, to: u64) -> Missing {
        let missing = self.missing_here(key, from, to);
        if missing.reason != GapReason::Unreachable {
            return missing;
        }
        // It never came here. Where its own origin has dropped it, that is why.
        let floor = self.holders.floor(key);
        if from < floor {
            return Missing { to: missing.to.min(floor - 1), reason: GapReason::Expired };
        }
        missing
    }

    fn missing_here(&self, key: LogKey, from: u64, to: u64) -> Missing {
        let order = self.order();
        let Some(log) = order.logs.get(&key) else { return Missing { to, reason: GapReason::Expired } };
        match log.jumps.range(..=from).next_back() {
            Some((_, jump)) if jump.to >= from => {
                let (_, end) = jump.missing(from).unwrap_or((from, jump.to));
                let reason = if jump.damaged { GapReason::Corrupt } else { GapReason::Unreachable };
                Missing { to: to.min(end), reason }
            }
            _ => {
                let jump = log.jumps.range(from..=to).next().map(|(first, _)| first - 1);
                Missing { to: jump.unwrap_or(to), reason: GapReason::Corrupt }
            }
        }
    }
}
