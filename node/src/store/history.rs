//! History: stored records by time, in pages that all show the same moment.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use anode_shared::codec;
use anode_shared::cursor::{Cursor, Seen};
use anode_shared::frames::Gap;
use anode_shared::ids::LogKey;
use anode_shared::time::Micros;
use anode_shared::topic::Topics;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::index::Stored;
use super::loaded::Loaded;
use super::read::{Flags, is_wanted};
use super::segment::Segment;
use super::shared::{Shared, place_in};

/// About how many bytes of batches one page may show.
const PAGE_BYTES: usize = 16 << 20;

/// How many batches and records a page passes at least, however slow the disk is: else a question might never end.
const LEAST_STEPS: u32 = 1_024;

/// In which order a page shows records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Direction {
    /// Oldest first.
    #[default]
    Asc,
    /// Newest first.
    Desc,
}

/// What history is asked for.
pub struct History<'a> {
    /// Records of these topics.
    pub topics: &'a Topics,
    /// At or after this time.
    pub since: Option<Micros>,
    /// Before this time.
    pub until: Option<Micros>,
    /// Beyond this cursor.
    pub after: Option<&'a Cursor>,
    /// In which order, by time.
    pub direction: Direction,
    /// How many at most.
    pub limit: usize,
    /// Where the last page ended.
    pub page: Option<&'a str>,
    /// What of the question's text a page's token is bound to.
    pub fingerprint: u64,
    /// The filter.
    pub keep: &'a dyn Fn(&Loaded, usize) -> bool,
    /// When to stop scanning.
    pub deadline: Instant,
}

impl std::fmt::Debug for History<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History")
            .field("topics", self.topics)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// The records: a batch, and a place in it.
    pub records: Vec<(Arc<Loaded>, usize)>,
    /// What is missing in the range.
    pub gaps: Vec<Gap>,
    /// Where the next page begins; none where this is the last.
    pub next: Option<String>,
    /// The moment that all pages show, to go on live from.
    pub cursor: Cursor,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The page's token is none, or belongs to another question.
    #[error("`page` is not what this query's last answer gave as `next`; begin again without it")]
    Page,
    /// Storage failed.
    #[error("storage could not be read: {0}")]
    Storage(#[from] io::Error),
}

/// Records: their batch, and their place in it.
type Shown = Vec<(Arc<Loaded>, usize)>;

/// A place between records, by time, log and seq.
type Key = (Micros, LogKey, u64);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Token {
    version: u8,
    fingerprint: u64,
    /// The moment: the number of the next arrival when the first page was asked for.
    moment: u64,
    /// The same moment as a cursor.
    cursor: Cursor,
    /// The logs that are not finished, with the seqs still to be shown: so what expires between two pages is named.
    ranges: Vec<(LogKey, u64, u64)>,
}

impl Token {
    fn parse(text: &str, fingerprint: u64) -> Result<Self, HistoryError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| HistoryError::Page)?;
        let token: Self = codec::decode(&bytes).map_err(|_| HistoryError::Page)?;
        if token.version == 1 && token.fingerprint == fingerprint {
            Ok(token)
        } else {
            Err(HistoryError::Page)
        }
    }
}

/// The walk along one log: the batch it stands at, and the record in it.
struct Walk {
    key: LogKey,
    /// What is to be looked at next, as a sort key: of a record, or of a batch that is not loaded yet.
    at: Key,
    batch: Option<(Arc<Loaded>, usize)>,
    stored: Stored,
    segment: Arc<Segment>,
    number: u32,
    direction: Direction,
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

/// A question being answered.
struct Answer<'a> {
    shared: &'a Shared,
    ask: &'a History<'a>,
    /// The moment that all pages show, and the same as a cursor.
    moment: u64,
    cursor: Cursor,
    /// The seqs of each log that are to be shown.
    ranges: BTreeMap<LogKey, (u64, u64)>,
    flags: Flags,
    gaps: BTreeMap<(LogKey, u64), Gap>,
}

impl Shared {
    /// Answers a question about history. Blocks.
    pub(crate) fn history(&self, ask: &History<'_>) -> Result<Page, HistoryError> {
        let mut answer = match ask.page {
            Some(page) => Answer::go_on(self, ask, Token::parse(page, ask.fingerprint)?),
            None => Answer::begin(self, ask)?,
        };
        let (records, next) = answer.walk()?;
        let Answer { gaps, cursor, .. } = answer;
        Ok(Page { records, gaps: gaps.into_values().collect(), next, cursor })
    }
}

impl<'a> Answer<'a> {
    /// A question's first page.
    fn begin(shared: &'a Shared, ask: &'a History<'a>) -> io::Result<Self> {
        let (moment, heads) = {
            let order = shared.order();
            (order.next, order.heads())
        };
        let mut cursor = Cursor::new((shared.options.clock)());
        heads.iter().for_each(|(key, head)| cursor.set(*key, *head));
        let mut answer =
            Self { shared, ask, moment, cursor, ranges: BTreeMap::new(), flags: None, gaps: BTreeMap::new() };
        for (key, head) in heads {
            let range = answer.range(key, head)?;
            answer.ranges.extend(range.map(|range| (key, range)));
        }
        Ok(answer)
    }

    /// A page behind another.
    fn go_on(shared: &'a Shared, ask: &'a History<'a>, token: Token) -> Self {
        let ranges = token.ranges.into_iter().map(|(key, low, high)| (key, (low, high))).collect();
        Self {
            shared,
            ask,
            moment: token.moment,
            cursor: token.cursor,
            ranges,
            flags: None,
            gaps: BTreeMap::new(),
        }
    }

    fn walk(&mut self) -> Result<(Shown, Option<String>), HistoryError> {
        let (mut records, mut bytes, mut steps) = (Vec::new(), 0, 0);
        let mut heap = BinaryHeap::new();
        for (key, (low, high)) in self.ranges.clone() {
            heap.extend(if self.asc() { self.next(key, low, high) } else { self.previous(key, high, low) }?);
        }
        while let Some(mut walk) = heap.pop() {
            if self.is_beyond(&walk) {
                continue;
            }
            let late = steps >= LEAST_STEPS && Instant::now() >= self.ask.deadline;
            steps += 1;
            if late || records.len() >= self.ask.limit || bytes >= PAGE_BYTES {
                heap.push(walk);
                return Ok((records, Some(self.token(&heap))));
            }
            match walk.batch.take() {
                None => heap.extend(self.load(walk)?),
                Some((batch, index)) => {
                    if self.is_shown(&batch, index) {
                        // A page holds whole batches in memory, however little of them it shows.
                        let again = records
                            .last()
                            .is_some_and(|(last, _): &(Arc<Loaded>, usize)| Arc::ptr_eq(last, &batch));
                        bytes += if again { 0 } else { batch.bytes().len() };
                        records.push((batch.clone(), index));
                    }
                    heap.extend(self.step(walk, batch, index)?);
                }
            }
        }
        Ok((records, None))
    }

    /// The token of the page that goes on where these walks stand.
    fn token(&self, walks: &BinaryHeap<Walk>) -> String {
        let ranges = walks.iter().filter_map(|walk| {
            let (low, high) = *self.ranges.get(&walk.key)?;
            let (_, _, next) = walk.at;
            Some(if self.asc() { (walk.key, low.max(next), high) } else { (walk.key, low, high.min(next)) })
        });
        let (ranges, cursor) = (ranges.collect(), self.cursor.clone());
        let token =
            Token { version: 1, fingerprint: self.ask.fingerprint, moment: self.moment, cursor, ranges };
        URL_SAFE_NO_PAD.encode(codec::encode(&token))
    }

    fn asc(&self) -> bool {
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

    /// The lowest and the highest seq of a log that may be shown.
    fn range(&self, key: LogKey, head: u64) -> io::Result<Option<(u64, u64)>> {
        let after = match self.ask.after.map(|cursor| cursor.seen(key)) {
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
        Ok((low <= high).then_some((low, high)))
    }

    /// The lowest seq that may lie at or behind a time. What is missing just before it may lie there too.
    fn first_since(&self, key: LogKey, since: Micros, low: u64, high: u64) -> io::Result<u64> {
        let Some(seq) = self.seq_at(key, since)? else { return Ok(high + 1) };
        let before = seq.checked_sub(1).filter(|before| *before >= low);
        let ends = before
            .map_or(Ok(None), |before| self.shared.find_before(key, before))?
            .map(|(.., stored)| stored.last);
        Ok(ends.map_or(low, |end| end + 1).max(low).min(seq.max(low)))
    }

    /// The highest seq that may lie before a time: the batch in which that time lies may begin before it.
    fn last_until(&self, key: LogKey, until: Micros, high: u64) -> io::Result<u64> {
        let Some(seq) = self.seq_at(key, until)? else { return Ok(high) };
        Ok(self.shared.find(key, seq)?.map_or(high, |(.., stored)| stored.last.min(high)))
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
        Walk { key: stored.key, at, batch: None, stored, segment, number, direction: self.ask.direction }
    }

    /// Goes up the log to the batch that holds `seq`, or the next one, and names what is missing between.
    fn next(&mut self, key: LogKey, seq: u64, high: u64) -> io::Result<Option<Walk>> {
        if seq > high {
            return Ok(None);
        }
        let found = self.shared.find(key, seq)?.filter(|(.., stored)| stored.first <= high);
        let missing_to = found.as_ref().map_or(high, |(.., stored)| stored.first.saturating_sub(1));
        if seq <= missing_to {
            self.name_gaps(key, seq, missing_to);
        }
        Ok(found.map(|(segment, number, stored)| self.walk_at(segment, number, stored)))
    }

    /// Goes down the log to the batch that holds `seq`, or the one before.
    fn previous(&mut self, key: LogKey, seq: u64, low: u64) -> io::Result<Option<Walk>> {
        if seq < low {
            return Ok(None);
        }
        let found = self.shared.find_before(key, seq)?.filter(|(.., stored)| stored.last >= low);
        let missing_from = found.as_ref().map_or(low, |(.., stored)| stored.last.saturating_add(1));
        if missing_from <= seq {
            self.name_gaps(key, missing_from, seq);
        }
        Ok(found.map(|(segment, number, stored)| self.walk_at(segment, number, stored)))
    }

    fn name_gaps(&mut self, key: LogKey, from: u64, to: u64) {
        let (mut from, floor) = (from, self.shared.order().logs.get(&key).map_or(1, |log| log.floor));
        while from <= to {
            let end = if from < floor { to.min(floor - 1) } else { to };
            let (end, reason) = if from < floor {
                (end, anode_shared::frames::GapReason::Expired)
            } else {
                let missing = self.shared.missing(key, from, to);
                (missing.to, missing.reason)
            };
            self.gaps.insert((key, from), Gap { log: key, from, to: end, reason });
            from = end + 1;
        }
    }

    /// Loads the batch that a walk stands at, or passes it where it holds nothing that is wanted.
    fn load(&mut self, walk: Walk) -> io::Result<Option<Walk>> {
        let hidden = walk.stored.late.is_some_and(|late| late >= self.moment);
        if hidden {
            self.name_gaps(walk.key, walk.stored.first, walk.stored.last);
        }
        if hidden || !is_wanted(&walk.segment, walk.number, self.ask.topics, &mut self.flags)? {
            return self.beyond_batch(&walk);
        }
        let batch = match walk.segment.load(place_in(&walk.segment, &walk.stored)) {
            Ok(batch) => batch,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let Stored { key, first, last, .. } = walk.stored;
                let reason = anode_shared::frames::GapReason::Corrupt;
                self.gaps.insert((key, first), Gap { log: key, from: first, to: last, reason });
                return self.beyond_batch(&walk);
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
    fn settle(&mut self, mut walk: Walk, batch: Arc<Loaded>, index: usize) -> io::Result<Option<Walk>> {
        let key: Key = (batch.record(index).time, walk.key, batch.seq(index));
        let (low, high) = self.ranges.get(&walk.key).copied().unwrap_or((1, 0));
        if key.2 < low || key.2 > high {
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
            None => self.beyond_batch(&walk),
        }
    }

    fn beyond_batch(&mut self, walk: &Walk) -> io::Result<Option<Walk>> {
        let Some((low, high)) = self.ranges.get(&walk.key).copied() else { return Ok(None) };
        if self.asc() {
            self.next(walk.key, walk.stored.last + 1, high)
        } else {
            walk.stored.first.checked_sub(1).map_or(Ok(None), |seq| self.previous(walk.key, seq, low))
        }
    }
}
