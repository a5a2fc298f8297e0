//! A subscriber's place: a position in the arrival order, and the logs that it is owed.
//!
//! [`Place`] decides, without I/O; [`Reader`] fetches what it wants from the tail or from storage.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::cursor::{Cursor, Marks};
use anode_shared::frames::{Gap, GapReason};
use anode_shared::ids::{LogId, LogKey};
use anode_shared::topic::Topics;

use super::loaded::{Loaded, Slice};
use super::opening::First;
use super::order::{Heads, What};
use super::peers::Wish;
use super::place::{Behind, Place, ShardOf, Take};
use super::read::{Flags, LogRead, Missing};
use super::segment::{BACKFILL, Segment};
use super::shared::Shared;
use super::tail::Item as TailItem;

/// How many arrivals are taken from the tail at once.
const FROM_TAIL: usize = 1_024;
/// About how many bytes of batches one step hands on: what a subscriber that stalls holds in memory.
const STEP_BYTES: usize = 256 << 10;
/// About how many bytes of batches are read from storage at once.
const FROM_STORAGE: usize = 512 << 10;
/// How often a reader that waits for repair looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What a reader hands on.
#[derive(Debug, Clone)]
pub enum Item {
    /// Records, in order; those of other topics may be among them.
    Records(Slice),
    /// Records that it will not hand on.
    Gap(Gap),
    /// Stored records end and live ones begin.
    CaughtUp,
}

/// What to do after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Call [`Reader::poll`] again.
    More,
    /// Call [`Reader::poll_storage`] on a thread that may block.
    Blocking,
    /// Wait for an arrival.
    Live,
    /// Wait for an arrival, or until then.
    Until(Instant),
}

/// One step of a reader.
#[derive(Debug)]
pub struct Step {
    /// What it hands on.
    pub items: Vec<Item>,
    /// What to do next.
    pub then: Then,
}

/// How far a reader is behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// Arrivals that it has not passed.
    pub arrivals: u64,
    /// Logs that it is owed something of.
    pub owed_logs: usize,
    /// The number of the next arrival that it will pass.
    pub position: u64,
}

/// A reader of the store. Nothing is queued for it: it stands where it stands.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    topics: Topics,
    place: Place,
    segment: Arc<Segment>,
    /// What `last:N` and `latest` give before all else, as far as it is still to be read.
    first: VecDeque<First>,
    /// What of that a peer is to lend: since when it is waited for, and when to look again.
    lending: Option<(Instant, Instant)>,
    live: bool,
    /// Which batches of the segment that was last read by seq hold wanted topics.
    flags: Flags,
}

impl Reader {
    pub(crate) fn new(
        shared: Arc<Shared>,
        topics: Topics,
        place: Place,
        segment: Arc<Segment>,
        first: VecDeque<First>,
    ) -> Self {
        Self { shared, topics, place, segment, first, lending: None, live: false, flags: None }
    }

    /// What comes next, as far as it is in memory. Never blocks.
    pub fn poll(&mut self) -> Step {
        let now = self.shared.moment();
        if let Some((_, look)) = self.lending.filter(|(_, look)| *look > now) {
            return Step { items: Vec::new(), then: Then::Until(look) };
        }
        if !self.first.is_empty() || matches!(self.place.behind(now), Behind::Read(_)) {
            return Step { items: Vec::new(), then: Then::Blocking };
        }
        let (items, end) = {
            let tail = self.shared.read_tail();
            let Some(items) = tail.from(self.place.position, FROM_TAIL, STEP_BYTES) else {
                self.live = false;
                return Step { items: Vec::new(), then: Then::Blocking };
            };
            (items, tail.next())
        };
        let mut out = Vec::new();
        for item in items {
            self.segment = item.segment.clone();
            self.pass(&item, &mut out);
        }
        if self.place.position < end {
            return Step { items: out, then: Then::More };
        }
        match self.place.behind(now) {
            Behind::Read(_) => Step { items: out, then: Then::Blocking },
            Behind::Wait { look, lent } => {
                if !lent {
                    self.caught_up(&mut out);
                }
                Step { items: out, then: Then::Until(look.min(now + LOOK_AGAIN)) }
            }
            Behind::Nothing => {
                self.caught_up(&mut out);
                Step { items: out, then: Then::Live }
            }
        }
    }

    fn caught_up(&mut self, out: &mut Vec<Item>) {
        if !self.live {
            self.live = true;
            out.push(Item::CaughtUp);
        }
    }

    /// Passes one arrival.
    fn pass(&mut self, item: &TailItem, out: &mut Vec<Item>) {
        let take = self.place.pass(&item.arrival, &|key| self.shared.shard(key));
        if let (Take::From(seq), Some(batch)) = (take, &item.batch) {
            self.hand_on(batch.clone(), seq, item.arrival.last, out);
        } else if let Take::From(seq) = take {
            // It is in the order and cannot be loaded: read by seq, storage says why.
            self.place.owe(item.arrival.key, seq, item.arrival.last);
        }
    }

    /// Hands on a batch's records from `seq`, up to where its log was found forked.
    fn hand_on(&self, batch: Arc<Loaded>, seq: u64, last: u64, out: &mut Vec<Item>) {
        let key = batch.key();
        match self.shared.order().logs.get(&key).and_then(|log| log.forked).filter(|end| *end <= last) {
            Some(end) => {
                if end > seq {
                    out.push(Item::Records(Slice::of(batch, seq, end - 1)));
                }
                out.push(Item::Gap(Gap {
                    log: key,
                    from: seq.max(end),
                    to: last,
                    reason: GapReason::Forked,
                }));
            }
            None => out.push(Item::Records(Slice::of(batch, seq, last))),
        }
    }

    /// What comes next, out of storage. Blocks.
    pub fn poll_storage(&mut self) -> Step {
        let mut out = Vec::new();
        let result = match self.place.behind(self.shared.moment()) {
            _ if !self.first.is_empty() => self.read_first(&mut out),
            Behind::Read(key) => self.read_owed(key, &mut out),
            Behind::Wait { .. } | Behind::Nothing => self.read_arrivals(&mut out),
        };
        match result {
            Ok(()) => Step { items: out, then: Then::More },
            Err(error) => {
                tracing::error!(%error, "Failed to read storage");
                Step { items: out, then: Then::Until(self.shared.moment() + LOOK_AGAIN) }
            }
        }
    }

    /// Reads on in what comes before all else.
    fn read_first(&mut self, out: &mut Vec<Item>) -> io::Result<()> {
        // Records of one batch need not stand side by side: those of other logs come between.
        let mut batches: BTreeMap<LogKey, Arc<Loaded>> = BTreeMap::new();
        let mut room = FROM_STORAGE;
        while let Some(First { key, from, to, lost }) = self.first.front().copied().filter(|_| room > 0) {
            let here = batches
                .get(&key)
                .filter(|batch| (batch.header().first..=batch.header().last()).contains(&from));
            let next = if lost {
                out.push(Item::Gap(Gap { log: key, from, to, reason: GapReason::Unreachable }));
                to + 1
            } else if let Some(batch) = here {
                out.push(Item::Records(Slice::of(batch.clone(), from, to)));
                to.min(batch.header().last()) + 1
            } else {
                let read = self.shared.read_log(key, from, to, &self.topics, &mut self.flags, room)?;
                let bytes: usize = read.slices.iter().map(|slice| slice.batch().bytes().len()).sum();
                room = room.saturating_sub(bytes.max(1));
                batches.extend(read.slices.last().map(|slice| (key, slice.batch().clone())));
                out.extend(read.slices.into_iter().map(Item::Records));
                self.lending = self.lending.filter(|_| read.next == from);
                let missing = read.missing.filter(|missing| !self.lends(key, read.next, *missing));
                if missing.is_none() && self.lending.is_some() {
                    self.first.front_mut().into_iter().for_each(|first| first.from = read.next);
                    return Ok(());
                }
                let gap = missing.map(|Missing { to, reason }| Gap { log: key, from: read.next, to, reason });
                let next = gap.as_ref().map_or(read.next, |gap| gap.to + 1);
                out.extend(gap.map(Item::Gap));
                next
            };
            match self.first.front_mut().filter(|_| next <= to) {
                Some(first) => first.from = next,
                None => _ = self.first.pop_front(),
            }
        }
        Ok(())
    }

    /// Whether somebody is to lend what is missing of what comes first: what was found there need not lie ready any more.
    fn lends(&mut self, key: LogKey, next: u64, missing: Missing) -> bool {
        let (now, patience) = (self.shared.moment(), self.shared.options.gap_after);
        let since = self.lending.map_or(now, |(since, _)| since);
        let hopeful = missing.reason != GapReason::Forked
            && self.shared.lent_first(key, next, missing.to) == Some(next)
            && now.duration_since(since) < patience;
        self.lending = hopeful.then(|| (since, now + self.shared.look(key, next)));
        if hopeful {
            let same = self.first.iter().filter(|first| first.key == key && !first.lost);
            let last = same.map(|first| first.to).max().unwrap_or(missing.to);
            self.shared.for_peers().wishes.wish(key, next, last, now);
        }
        hopeful
    }

    /// How many ranges it is still to be given before all else.
    pub fn first_left(&self) -> usize {
        self.first.len()
    }

    /// Whether what comes next is read from storage, whatever arrives meanwhile.
    pub fn wants_storage(&self) -> bool {
        if self.lending.is_some() {
            return false;
        }
        !self.first.is_empty()
            || matches!(self.place.behind(self.shared.moment()), Behind::Read(_))
            || !self.shared.read_tail().holds(self.place.position)
    }

    /// Reads on in a log that it is owed.
    fn read_owed(&mut self, key: LogKey, out: &mut Vec<Item>) -> io::Result<()> {
        let Some((before, upto)) = self.place.owed(key) else { return Ok(()) };
        let LogRead { slices, next, missing, lent } =
            self.shared.read_log(key, before, upto, &self.topics, &mut self.flags, FROM_STORAGE)?;
        out.extend(slices.into_iter().map(Item::Records));
        self.place.read(key, next);
        let now = self.shared.moment();
        if let Some(to) = lent {
            // What follows is fetched while this is being sent.
            let wish = Wish { log: key, from: next, to, newest_first: false };
            self.shared.for_peers().wishes.go_on(before, wish, now);
        }
        if let Some(Missing { to, reason }) = missing {
            let first = self.hope(key, next, to, reason);
            let (hopeful, to) =
                (first == Some(next), first.filter(|first| *first > next).map_or(to, |first| first - 1));
            let lent = self.shared.lent_first(key, next, to) == Some(next);
            let (patience, look) = (self.shared.options.gap_after, (self.shared.look(key, next), lent));
            if hopeful && self.place.wait(key, now, patience, look) {
                self.shared.for_peers().wishes.wish(key, next, to, now);
            } else {
                out.push(Item::Gap(Gap { log: key, from: next, to, reason }));
                self.place.read(key, to + 1);
            }
        }
        Ok(())
    }

    /// From which seq on a missing range is worth waiting for. Below a floor, and in an archive, somebody may have it from some seq
    /// on: only what is before is a gap.
    fn hope(&self, key: LogKey, next: u64, to: u64, reason: GapReason) -> Option<u64> {
        let (shared, holders) = (&self.shared, &self.shared.holders);
        match reason {
            GapReason::Forked => None,
            _ if reason == GapReason::Expired || shared.is_expired(key, next) => {
                let peers = holders.first_of(key, next, to);
                peers.into_iter().chain(shared.lent_first(key, next, to)).min()
            }
            _ if holders.awaits(key) || holders.may_have(key, next, to) => Some(next),
            _ => shared.lent_first(key, next, to),
        }
    }

    /// Reads on in the arrival order, further back than the tail.
    fn read_arrivals(&mut self, out: &mut Vec<Item>) -> io::Result<()> {
        let position = self.place.position;
        if self.segment.dropped.load(std::sync::atomic::Ordering::SeqCst)
            || position >= self.segment.end_arrival()?
        {
            return self.next_segment();
        }
        let (arrivals, wanted) = self.segment.with_index(|index| {
            let from = usize::try_from(position - index.summary.first_arrival).unwrap_or(usize::MAX);
            let mut bytes = 0;
            let all = self.topics.is_all();
            let flags = if all { Vec::new() } else { index.with_topics(&|topic| self.topics.matches(topic)) };
            let arrivals = index.arrivals.get(from..).unwrap_or_default().iter().take_while(|arrival| {
                bytes += super::segment::place_of(arrival.what).map_or(0, |place| place.length as usize);
                bytes < FROM_STORAGE
            });
            let arrivals: Vec<_> = arrivals.take(16_384).copied().collect();
            let wanted: Vec<bool> = arrivals
                .iter()
                .map(|arrival| {
                    all || index.at_or_after(arrival.key, arrival.first).is_none_or(|(number, stored)| {
                        stored.first != arrival.first || flags.get(number as usize).copied().unwrap_or(true)
                    })
                })
                .collect();
            (arrivals, wanted)
        })?;
        for (arrival, wanted) in arrivals.into_iter().zip(wanted) {
            let take = self.place.pass(&arrival, &|key| self.shared.shard(key));
            let Take::From(seq) = take else { continue };
            if !wanted {
                continue;
            }
            let What::Batch(place) = arrival.what else { continue };
            match if place.segment == self.segment.id {
                self.segment.load(place)
            } else {
                self.shared.load(place)
            } {
                Ok(batch) => self.hand_on(batch, seq, arrival.last, out),
                // Damaged, or dropped while it waited for its number: read by seq, which says why it is missing.
                Err(_) => self.place.owe(arrival.key, seq, arrival.last),
            }
        }
        Ok(())
    }

    /// Goes on in the next segment that is there; what lies between is owed, log by log.
    fn next_segment(&mut self) -> io::Result<()> {
        let id = self.segment.id;
        let next = self.shared.segments().range(id + 1..BACKFILL).next().map(|(_, segment)| segment.clone());
        let Some(next) = next else { return Ok(()) };
        let (first, base) = next.with_index(|index| (index.summary.first_arrival, index.base.clone()))?;
        if self.place.position <= first {
            let before = self.segment.heads_at(self.place.position)?;
            self.place.skip_to(first, &before, &base, &|key| self.shared.shard(key));
        }
        self.segment = next;
        Ok(())
    }

    /// Where a client stands that was not sent these yet, nor what follows them in their logs, for every node to
    /// understand; `None` where it must be read from storage ([`Reader::read_cursor_before`]). Never blocks.
    pub fn cursor_before(&self, unsent: impl Iterator<Item = (LogKey, u64)>) -> Option<Cursor> {
        let heads = self.shared.read_tail().heads_at(self.place.position)?;
        Some(self.stand(&heads, unsent))
    }

    /// Where it stands, however far back that is. Blocks.
    pub fn read_cursor(&self) -> Cursor {
        self.read_cursor_before(std::iter::empty())
    }

    /// Where a client stands that was not sent these yet, however far back that is. Blocks.
    pub fn read_cursor_before(&self, unsent: impl Iterator<Item = (LogKey, u64)>) -> Cursor {
        let heads = self.shared.read_tail().heads_at(self.place.position);
        let heads = heads.unwrap_or_else(|| {
            self.segment.heads_at(self.place.position).unwrap_or_else(|error| {
                tracing::error!(%error, "Failed to read a segment's index");
                Heads::new()
            })
        });
        self.stand(&heads, unsent)
    }

    fn stand(&self, heads: &Heads, unsent: impl Iterator<Item = (LogKey, u64)>) -> Cursor {
        let now = (self.shared.options.clock)();
        let mut before: BTreeMap<LogKey, u64> = BTreeMap::new();
        for (key, seq) in self.first.iter().map(|first| (first.key, first.from)).chain(unsent) {
            before.entry(key).and_modify(|known| *known = seq.min(*known)).or_insert(seq);
        }
        let order = self.shared.order();
        let (at_end, shard) = (self.place.position == order.next, |key| order.shard(key));
        // A reader that is behind may not have reached logs that are finished: its marks stay where they are.
        let finished = if at_end { order.finished(now) } else { Marks::new() };
        let cursor = self.place.cursor(heads, &finished, &shard);
        if before.is_empty() { cursor } else { stand_before(&before, &cursor, heads, &shard) }
    }

    /// How far it is behind.
    pub fn lag(&self) -> Lag {
        let next = self.shared.read_tail().next();
        let position = self.place.position;
        Lag { arrivals: next.saturating_sub(position), owed_logs: self.place.owed_behind(), position }
    }
}

/// The cursor before these records: behind it they come again, and what followed them in their logs.
fn stand_before(
    oldest: &BTreeMap<LogKey, u64>,
    cursor: &Cursor,
    heads: &Heads,
    shard: ShardOf<'_>,
) -> Cursor {
    let mut before = Cursor::new(cursor.since);
    for ((origin, of), mark) in cursor.done_marks() {
        let first = oldest.keys().find(|key| key.origin == origin && shard(**key) == of);
        let first = first.map_or(mark, |key| LogId(key.log.0.saturating_sub(1)));
        before.set_done(origin, of, mark.min(first));
    }
    heads.iter().for_each(|(key, head)| before.set(*key, shard(*key), *head));
    cursor.logs().for_each(|(key, seq)| before.set(key, shard(key), seq));
    oldest.iter().for_each(|(key, seq)| before.set(*key, shard(*key), seq - 1));
    before
}
