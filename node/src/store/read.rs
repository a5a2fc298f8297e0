//! Reading a log by seq, and saying why something of it is missing.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::frames::GapReason;
use anode_shared::ids::LogKey;
use anode_shared::topic::Topics;

use super::history::Direction;
use super::index::Stored;
use super::loaded::{Loaded, Slice};
use super::order::Log;
use super::segment::Segment;
use super::shared::Shared;

/// How often somebody who waits for a batch of a peer looks for it.
const LOOK: Duration = Duration::from_millis(10);

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
    /// Where some of it was lent: up to where nothing is stored.
    pub(crate) lent: Option<u64>,
}

/// Which batches of a segment hold wanted topics: (segment, flags).
pub(crate) type Flags = Option<(u64, Vec<bool>)>;

/// A stored batch: its segment, and its number there.
type Found = (Arc<Segment>, u32, Stored);

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

/// What retention dropped of a range.
fn below_floor(log: &Log, from: u64, to: u64) -> Option<Missing> {
    (from < log.floor).then(|| Missing { to: to.min(log.floor - 1), reason: GapReason::Expired })
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
            looked += 1;
            let (segment, number, stored) = match self.stored_at(&mut near, key, read.next, upto)? {
                Ok(found) => found,
                Err((missing, _)) if missing.reason == GapReason::Forked => {
                    read.missing = Some(missing);
                    return Ok(read);
                }
                Err((missing, to)) => match self.lent(key, read.next) {
                    Some(batch) => {
                        bytes += batch.bytes().len();
                        let next = batch.header().last() + 1;
                        read.slices.push(Slice::of(batch, read.next, to));
                        read.next = next.min(to + 1);
                        read.lent = Some(to);
                        continue;
                    }
                    None => {
                        read.missing = Some(missing);
                        return Ok(read);
                    }
                },
            };
            if is_wanted(&segment, number, topics, flags)? {
                match self.load_stored(&segment, &stored) {
                    Ok(batch) => {
                        bytes += batch.bytes().len();
                        let end = self.order().logs.get(&key).and_then(|log| log.forked).unwrap_or(u64::MAX);
                        read.slices.push(Slice::of(batch, read.next, stored.last.min(upto).min(end - 1)));
                        read.next = (stored.last + 1).min(end);
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
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

    /// The batch that holds a seq; or why there is none, and up to where nothing is stored.
    fn stored_at(
        &self,
        near: &mut Option<Arc<Segment>>,
        key: LogKey,
        seq: u64,
        upto: u64,
    ) -> io::Result<Result<Found, (Missing, u64)>> {
        if let Some(missing) = self.missing_before_reading(key, seq, upto) {
            return Ok(Err((missing, missing.to)));
        }
        Ok(match self.find_near(near, key, seq)? {
            Some(found) if found.2.first <= seq => Ok(found),
            other => {
                let to = other.map_or(upto, |(.., stored)| upto.min(stored.first - 1));
                Err((self.missing(key, seq, to), to))
            }
        })
    }

    /// A batch that somebody lent.
    pub(crate) fn lent(&self, key: LogKey, seq: u64) -> Option<Arc<Loaded>> {
        self.for_peers().borrowed.holding(key, seq).cloned()
    }

    /// The first seq of a range that lies here because somebody lent it, or that somebody has.
    pub(crate) fn next_of(&self, key: LogKey, from: u64, to: u64) -> Option<u64> {
        let lent = self.lent(key, from).map(|_| from);
        lent.or_else(|| self.lent_first(key, from, to))
    }

    /// Keeps a batch for who waits for it where it lies below the floor. Says no where nobody does, or it does not.
    pub(crate) fn borrow(&self, batch: &Arc<Loaded>) -> bool {
        let (key, first, last) = (batch.key(), batch.header().first, batch.header().last());
        let below = {
            let order = self.order();
            let log = order.logs.get(&key);
            log.is_some_and(|log| last < log.floor && log.forked.is_none_or(|end| last < end))
        };
        let mut peers = self.for_peers();
        let wanted = below && peers.wishes.has(key, first, last);
        if wanted {
            peers.borrowed.put(batch, self.moment());
        }
        wanted
    }

    /// The batch not stored here that holds a seq, from whoever has it still. Blocks until then, unless nobody has it.
    pub(crate) fn fetch(&self, key: LogKey, seq: u64, until: Instant) -> Option<Arc<Loaded>> {
        loop {
            if let Some(batch) = self.lent(key, seq) {
                return Some(batch);
            }
            let now = Instant::now();
            if now >= until || self.lent_first(key, seq, seq) != Some(seq) {
                return None;
            }
            self.for_peers().wishes.wish(key, seq, seq, self.moment());
            std::thread::sleep(LOOK);
        }
    }

    /// Whether a seq lies below its log's floor, or the log is not known here.
    pub(crate) fn is_expired(&self, key: LogKey, seq: u64) -> bool {
        self.order().logs.get(&key).is_none_or(|log| seq < log.floor)
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
        below_floor(log, next, upto).map(|missing| {
            drop(order);
            self.not_lent(key, next, missing)
        })
    }

    /// Why a range that no segment holds is missing.
    pub(crate) fn missing(&self, key: LogKey, from: u64, to: u64) -> Missing {
        let mut missing = self.missing_here(key, from, to);
        // Where it never came here and its own origin has dropped it, that is why.
        let floor = self.holders.floor(key);
        if missing.reason == GapReason::Unreachable && from < floor {
            missing = Missing { to: missing.to.min(floor - 1), reason: GapReason::Expired };
        }
        self.not_lent(key, from, missing)
    }

    fn missing_here(&self, key: LogKey, from: u64, to: u64) -> Missing {
        let order = self.order();
        let Some(log) = order.logs.get(&key) else { return Missing { to, reason: GapReason::Expired } };
        // Retention may have come between the look and the question.
        if let Some(missing) = below_floor(log, from, to) {
            return missing;
        }
        if from > log.head {
            // Only the archive has heard of it.
            return Missing { to, reason: GapReason::Unreachable };
        }
        match log.jumps.range(..=from).next_back() {
            Some((_, jump)) if jump.to >= from => {
                let (_, end) = jump.missing(from).unwrap_or((from, jump.to));
                let reason = if jump.damaged { GapReason::Corrupt } else { GapReason::Unreachable };
                Missing { to: to.min(end), reason }
            }
            _ => {
                let jump = log.jumps.range(from..=to).next().map(|(first, _)| first - 1);
                let to = jump.unwrap_or(to).min(log.head);
                self.report_lost(key, from, to);
                Missing { to, reason: GapReason::Corrupt }
            }
        }
    }
}
