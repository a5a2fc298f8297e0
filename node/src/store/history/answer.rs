//! Answering a question about history: along each log, always on in the one whose next record comes first.

use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use anode_shared::cursor::{Cursor, Seen};
use anode_shared::frames::{Gap, GapReason};
use anode_shared::ids::LogKey;
use anode_shared::time::Micros;

use super::walk::{Key, Lies, Walk};
use super::{Direction, History, HistoryError, Token, VERSION};
use crate::store::index::Stored;
use crate::store::loaded::Loaded;
use crate::store::order::FINISHED_AFTER;
use crate::store::read::{Flags, is_wanted};
use crate::store::segment::Segment;
use crate::store::shared::Shared;

/// About how many bytes of batches one page may show.
const PAGE_BYTES: usize = 16 << 20;

/// How many batches and records a page passes at least, however slow the disk is: else a question might never end.
const LEAST_STEPS: u32 = 1_024;

/// The seqs of a log that are to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) low: u64,
    pub(super) high: u64,
    /// A time that does not come behind what is left to be shown.
    pub(super) bound: Micros,
}

/// What became of a walk that stood at a batch.
pub(super) enum Entered {
    /// It goes on, or is at its end.
    On(Option<Walk>),
    /// A peer is to lend the batch, and did not in time.
    Late(Walk),
}

/// Records: their batch, and their place in it.
pub(super) type Shown = Vec<(Arc<Loaded>, usize)>;

/// A question being answered.
pub(super) struct Answer<'a> {
    pub(super) shared: &'a Shared,
    pub(super) ask: &'a History<'a>,
    /// The moment that all pages show, and the same as a cursor.
    moment: u64,
    pub(super) cursor: Cursor,
    /// The seqs of each log that are to be shown.
    pub(super) ranges: BTreeMap<LogKey, Range>,
    /// Since when pages have waited for peers in vain.
    pub(super) waits: Option<Micros>,
    flags: Flags,
    pub(super) gaps: BTreeMap<(LogKey, u64), Gap>,
}

impl<'a> Answer<'a> {
    /// A question's first page.
    pub(super) fn begin(shared: &'a Shared, ask: &'a History<'a>) -> io::Result<Self> {
        shared.await_archive();
        let now = (shared.options.clock)();
        let mut cursor = Cursor::new(now);
        let beyond = shared.beyond();
        let (moment, mut heads) = {
            let order = shared.order();
            let heads = order.heads();
            heads.iter().for_each(|(key, head)| cursor.set(*key, order.shard(*key), *head));
            // Elsewhere logs may be kept that are finished and forgotten here.
            let finished = order.finished(now).into_iter();
            finished.for_each(|((origin, shard), mark)| cursor.set_done(origin, shard, mark));
            (order.next, heads)
        };
        for (key, kept) in &beyond {
            heads.insert(*key, kept.last);
            cursor.set(*key, shared.shard(*key), kept.last);
        }
        shared.pass_archived(&mut cursor, &beyond, now.saturating_sub(FINISHED_AFTER));
        let mut answer = Self {
            shared,
            ask,
            moment,
            cursor,
            ranges: BTreeMap::new(),
            waits: None,
            flags: None,
            gaps: BTreeMap::new(),
        };
        for (key, head) in heads {
            answer.name_fork(key, head);
            let range = answer.range(key, head)?;
            answer.ranges.extend(range.map(|range| (key, range)));
        }
        Ok(answer)
    }

    /// A page behind another.
    pub(super) fn go_on(shared: &'a Shared, ask: &'a History<'a>, token: Token) -> Self {
        // Clients may make tokens up: nothing is looked for behind what this node has heard of.
        let known = |key: &LogKey, high: u64| {
            let archived = shared.options.archiver.kept_of(*key).map_or(0, |kept| kept.last);
            let head = shared.order().logs.get(key).map(|log| log.head);
            high.min(head.map_or(u64::MAX - 1, |head| head.max(archived)))
        };
        let ranges = token
            .ranges
            .into_iter()
            .map(|(key, bound, low, high)| (key, Range { low: low.max(1), high: known(&key, high), bound }));
        let ranges = ranges.filter(|(_, range)| range.low <= range.high).collect();
        Self {
            shared,
            ask,
            moment: token.moment,
            cursor: token.cursor,
            ranges,
            waits: token.waits,
            flags: None,
            gaps: BTreeMap::new(),
        }
    }

    pub(super) fn walk(&mut self) -> Result<(Shown, Option<String>), HistoryError> {
        let (mut records, mut bytes, mut steps) = (Vec::new(), 0, 0);
        let mut heap = BinaryHeap::new();
        for (key, Range { low, high, bound }) in self.ranges.clone() {
            heap.extend(self.go(key, if self.asc() { low } else { high }, bound)?);
        }
        while let Some(mut walk) = heap.pop() {
            if self.is_beyond(&walk) {
                continue;
            }
            let late = steps >= LEAST_STEPS && Instant::now() >= self.ask.deadline;
            steps += 1;
            if late || records.len() >= self.ask.limit || bytes >= PAGE_BYTES {
                heap.push(walk);
                return Ok((records, Some(self.token(&heap, false))));
            }
            match walk.batch.take() {
                None => match self.load(walk, &heap)? {
                    Entered::On(walk) => heap.extend(walk),
                    Entered::Late(walk) => {
                        heap.push(walk);
                        return Ok((records, Some(self.token(&heap, true))));
                    }
                },
                Some((batch, index)) => {
                    if self.is_shown(&batch, index) {
                        // A page holds whole batches in memory, however little of them it shows.
                        bytes += if walk.counted { 0 } else { batch.bytes().len() };
                        walk.counted = true;
                        records.push((batch.clone(), index));
                    }
                    heap.extend(self.step(walk, batch, index)?);
                }
            }
        }
        Ok((records, None))
    }

    /// The token of the page that goes on where these walks stand.
    fn token(&self, walks: &BinaryHeap<Walk>, late: bool) -> String {
        let left = walks.iter().filter_map(|walk| Some((walk.key, walk.left(*self.ranges.get(&walk.key)?))));
        let left: BTreeMap<LogKey, Range> = left.collect();
        // Who waits for a peer has waited since the last page, unless that one ended elsewhere.
        let since = self.waits.filter(|_| left == self.ranges);
        let waits = late.then(|| since.unwrap_or_else(|| (self.shared.options.clock)()));
        let ranges = left.into_iter().map(|(key, range)| (key, range.bound, range.low, range.high)).collect();
        let (cursor, fingerprint, moment) = (self.cursor.clone(), self.ask.fingerprint, self.moment);
        Token { version: VERSION, fingerprint, moment, cursor, waits, ranges }.text()
    }

    pub(super) fn asc(&self) -> bool {
        self.ask.direction == Direction::Asc
    }

    /// Whether a walk has left the range of times.
    fn is_beyond(&self, walk: &Walk) -> bool {
        if self.asc() {
            self.ask.until.is_some_and(|until| walk.at.0 >= until)
        } else {
            self.ask.since.is_some_and(|since| walk.at.0 < since)
        }
    }

    fn is_shown(&self, batch: &Loaded, index: usize) -> bool {
        let record = batch.record(index);
        let in_time = self.ask.since.is_none_or(|since| record.time >= since)
            && self.ask.until.is_none_or(|until| record.time < until);
        in_time && self.ask.topics.matches(record.topic) && (self.ask.keep)(batch, index)
    }

    /// Names what lies behind a fork.
    fn name_fork(&mut self, key: LogKey, head: u64) {
        let Some(end) = self.shared.order().logs.get(&key).and_then(|log| log.forked) else { return };
        let from = match self.ask.after.map(|cursor| cursor.seen(key, self.shared.shard(key))) {
            None => end,
            Some(Seen::UpTo(seq)) => end.max(seq.saturating_add(1)),
            Some(Seen::Done | Seen::FromHead) => return,
        };
        if from <= head {
            self.name(key, from, head, GapReason::Forked);
        }
    }

    /// The lowest and the highest seq of a log that may be shown.
    fn range(&self, key: LogKey, head: u64) -> io::Result<Option<Range>> {
        let after = match self.ask.after.map(|cursor| cursor.seen(key, self.shared.shard(key))) {
            None => 0,
            Some(Seen::UpTo(seq)) => seq,
            Some(Seen::Done | Seen::FromHead) => return Ok(None),
        };
        let forked = self.shared.order().logs.get(&key).and_then(|log| log.forked);
        let (mut low, mut high) = (after.saturating_add(1), forked.map_or(head, |end| head.min(end - 1)));
        if let Some(since) = self.ask.since {
            low = self.first_since(key, since, low, high)?;
        }
        if let Some(until) = self.ask.until {
            high = self.last_until(key, until, high)?;
        }
        let kept = self.shared.options.archiver.kept_of(key);
        let bound = if self.asc() {
            kept.filter(|kept| low >= kept.first).map_or(0, |kept| kept.time_first)
        } else {
            self.newest(key).unwrap_or(Micros::MAX)
        };
        Ok((low <= high && !self.is_archived_outside(key)).then_some(Range { low, high, bound }))
    }

    /// Whether a log lies outside the range of times as a whole, and only in the archive.
    fn is_archived_outside(&self, key: LogKey) -> bool {
        let Some(kept) = self.shared.options.archiver.kept_of(key) else { return false };
        let outside = self.ask.since.is_some_and(|since| kept.time_last < since)
            || self.ask.until.is_some_and(|until| kept.time_first >= until);
        outside && !self.shared.order().logs.contains_key(&key)
    }

    /// The lowest seq that may lie at or behind a time. What is missing just before it may lie there too.
    fn first_since(&self, key: LogKey, since: Micros, low: u64, high: u64) -> io::Result<u64> {
        let Some(seq) = self.seq_at(key, since)? else {
            // What is left is older. Where nothing is left, what was dropped may not be.
            return Ok(if self.newest(key).is_some_and(|newest| newest >= since) { low } else { high + 1 });
        };
        let here = self.shared.find(key, seq, Direction::Asc)?;
        if here.is_some_and(|(.., stored)| stored.first <= seq && stored.time_first < since) {
            return Ok(seq.max(low));
        }
        let before = seq.checked_sub(1).filter(|before| *before >= low);
        let ends = before
            .map_or(Ok(None), |before| self.shared.find(key, before, Direction::Desc))?
            .map(|(.., stored)| stored.last);
        Ok(ends.map_or(low, |end| end + 1).max(low).min(seq.max(low)))
    }

    /// The highest seq that may lie before a time: the batch in which that time lies may begin before it.
    fn last_until(&self, key: LogKey, until: Micros, high: u64) -> io::Result<u64> {
        let Some(seq) = self.seq_at(key, until)? else { return Ok(high) };
        Ok(self.shared.find(key, seq, Direction::Asc)?.map_or(high, |(.., stored)| stored.last.min(high)))
    }

    /// The first seq of the first batch of a log that ends at `time` or later.
    fn seq_at(&self, key: LogKey, time: Micros) -> io::Result<Option<u64>> {
        let mut best = None;
        for segment in self.shared.all_segments() {
            if segment
                .with_summary(|summary| summary.spans.get(&key).is_some_and(|span| span.time_last >= time))?
            {
                let seq = segment.with_index(|index| index.seq_at(key, time))?;
                best = [best, seq].into_iter().flatten().min();
            }
        }
        Ok(best)
    }

    fn walk_at(&self, segment: Arc<Segment>, number: u32, stored: Stored) -> Walk {
        let at = if self.asc() {
            (stored.time_first, stored.key, stored.first)
        } else {
            (stored.time_last, stored.key, stored.last)
        };
        let (direction, lies) = (self.ask.direction, Lies::Here(segment, number, stored));
        Walk { key: stored.key, at, batch: None, counted: false, lies, direction }
    }

    /// Goes along the log from `seq` on; nothing there comes before `bound`.
    pub(super) fn go(&mut self, key: LogKey, seq: u64, bound: Micros) -> io::Result<Option<Walk>> {
        let Some(Range { low, high, .. }) = self.ranges.get(&key).copied() else { return Ok(None) };
        if self.asc() { self.next(key, seq, high, bound) } else { self.previous(key, seq, low, bound) }
    }

    /// Goes up the log to the batch that holds `seq`, or the next one that is here or that somebody may lend, and names what is
    /// missing between.
    fn next(&mut self, key: LogKey, seq: u64, high: u64, bound: Micros) -> io::Result<Option<Walk>> {
        if seq > high {
            return Ok(None);
        }
        let found = self.shared.find(key, seq, Direction::Asc)?.filter(|(.., stored)| stored.first <= high);
        let missing_to = found.as_ref().map_or(high, |(.., stored)| stored.first.saturating_sub(1));
        if seq <= missing_to
            && let Some(walk) = self.lent(key, seq, missing_to, bound)
        {
            return Ok(Some(walk));
        }
        Ok(found.map(|(segment, number, stored)| self.walk_at(segment, number, stored)))
    }

    /// Goes down the log to the batch that holds `seq`, or the one before.
    fn previous(&mut self, key: LogKey, seq: u64, low: u64, bound: Micros) -> io::Result<Option<Walk>> {
        if seq < low {
            return Ok(None);
        }
        let found = self.shared.find(key, seq, Direction::Desc)?.filter(|(.., stored)| stored.last >= low);
        let missing_from = found.as_ref().map_or(low, |(.., stored)| stored.last.saturating_add(1));
        if missing_from <= seq
            && let Some(walk) = self.lent(key, missing_from, seq, bound)
        {
            return Ok(Some(walk));
        }
        Ok(found.map(|(segment, number, stored)| self.walk_at(segment, number, stored)))
    }

    pub(super) fn name_gaps(&mut self, key: LogKey, from: u64, to: u64) {
        let mut from = from;
        while from <= to && to < u64::MAX {
            let missing = self.shared.missing(key, from, to);
            self.name(key, from, missing.to, missing.reason);
            from = missing.to + 1;
        }
    }

    /// Names a gap.
    pub(super) fn name(&mut self, log: LogKey, from: u64, to: u64, reason: GapReason) {
        self.gaps.insert((log, from), Gap { log, from, to, reason });
    }

    /// Loads the batch that a walk stands at, or passes it where it holds nothing that is wanted.
    fn load(&mut self, walk: Walk, others: &BinaryHeap<Walk>) -> io::Result<Entered> {
        match &walk.lies {
            Lies::Here(segment, number, stored) => {
                let (segment, number, stored) = (segment.clone(), *number, *stored);
                self.load_stored(walk, &segment, number, stored).map(Entered::On)
            }
            Lies::Lent(seeking) => {
                let seeking = *seeking;
                self.borrow(walk, seeking, others)
            }
        }
    }

    fn load_stored(
        &mut self,
        walk: Walk,
        segment: &Segment,
        number: u32,
        stored: Stored,
    ) -> io::Result<Option<Walk>> {
        let Stored { key, first, last, .. } = stored;
        let archived = || self.shared.options.archiver.ends_of(key, first, last) == Some((first, last));
        if stored.late.is_some_and(|late| late >= self.moment) && !archived() {
            // It came after the first page: what that did not have, the later ones have not either.
            self.name(key, first, last, GapReason::Unreachable);
            return self.beyond_batch(&walk, first, last);
        }
        if !is_wanted(segment, number, self.ask.topics, &mut self.flags)? {
            return self.beyond_batch(&walk, first, last);
        }
        let batch = match self.shared.load_stored(segment, &stored) {
            Ok(batch) => batch,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.name(key, first, last, GapReason::Corrupt);
                return self.beyond_batch(&walk, first, last);
            }
            Err(error) => return Err(error),
        };
        let place = if self.asc() { Some(0) } else { batch.len().checked_sub(1) };
        match place {
            Some(index) => self.settle(walk, batch, index),
            None => Ok(None),
        }
    }

    /// Stands at a record, or the next one in the walk's direction that this page may show.
    pub(super) fn settle(
        &mut self,
        mut walk: Walk,
        batch: Arc<Loaded>,
        index: usize,
    ) -> io::Result<Option<Walk>> {
        let key: Key = (batch.record(index).time, walk.key, batch.seq(index));
        let shown = self.ranges.get(&walk.key).is_some_and(|range| (range.low..=range.high).contains(&key.2));
        if !shown {
            return self.step(walk, batch, index);
        }
        walk.at = key;
        walk.batch = Some((batch, index));
        Ok(Some(walk))
    }

    /// Goes on behind a record.
    fn step(&mut self, walk: Walk, batch: Arc<Loaded>, index: usize) -> io::Result<Option<Walk>> {
        let next = if self.asc() {
            Some(index + 1).filter(|next| *next < batch.len())
        } else {
            index.checked_sub(1)
        };
        match next {
            Some(next) => self.settle(walk, batch, next),
            None => self.beyond_batch(&walk, batch.header().first, batch.header().last()),
        }
    }

    /// Goes on behind a batch.
    fn beyond_batch(&mut self, walk: &Walk, first: u64, last: u64) -> io::Result<Option<Walk>> {
        let (bound, ..) = walk.at;
        self.go(walk.key, if self.asc() { last + 1 } else { first.saturating_sub(1) }, bound)
    }
}
