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
use super::order::Heads;
use super::read::{Flags, is_wanted};
use super::segment::Segment;
use super::shared::{Shared, place_in};

/// About how many bytes of batches one page may show.
const PAGE_BYTES: usize = 16 << 20;

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

/// A place between records, by time, log and seq.
type Key = (Micros, LogKey, u64);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Token {
    version: u8,
    fingerprint: u64,
    /// The moment: the number of the next arrival when the first page was asked for.
    moment: u64,
    last: Key,
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
    /// For each log the newest seq at the moment.
    heads: Heads,
    moment: u64,
    last: Option<Key>,
    flags: Flags,
    gaps: BTreeMap<(LogKey, u64), Gap>,
}

impl Shared {
    /// Answers a question about history. Blocks.
    pub(crate) fn history(&self, ask: &History<'_>) -> Result<Page, HistoryError> {
        let token = ask.page.map(|page| Token::parse(page, ask.fingerprint)).transpose()?;
        let (moment, heads) = self.moment(token.as_ref().map(|token| token.moment))?;
        let last = token.map(|token| token.last);
        let mut answer =
            Answer { shared: self, ask, heads, moment, last, flags: None, gaps: BTreeMap::new() };
        let (records, next) = answer.walk()?;
        let mut cursor = Cursor::new((self.options.clock)());
        answer.heads.iter().for_each(|(key, head)| cursor.set(*key, *head));
        Ok(Page { records, gaps: answer.gaps.into_values().collect(), next, cursor })
    }

    /// A moment in the arrival order and the heads at it.
    fn moment(&self, wanted: Option<u64>) -> io::Result<(u64, Heads)> {
        let (next, now) = {
            let order = self.order();
            (order.next, order.heads())
        };
        let Some(moment) = wanted.filter(|moment| *moment < next) else { return Ok((next, now)) };
        for segment in self.all_segments().into_iter().rev() {
            if segment.first_arrival()? <= moment {
                return Ok((moment, segment.heads_at(moment)?));
            }
        }
        // The moment's segment expired; what is left was all there at that moment, or is older than the oldest checkpoint.
        let oldest = self.all_segments().first().map(|segment| segment.base());
        Ok((moment, oldest.map(|base| base.as_ref().clone()).unwrap_or_default()))
    }
}

impl Answer<'_> {
    fn walk(&mut self) -> Result<(Vec<(Arc<Loaded>, usize)>, Option<String>), HistoryError> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut heap = BinaryHeap::new();
        for (key, head) in self.heads.clone() {
            heap.extend(self.begin(key, head)?);
        }
        while let Some(mut walk) = heap.pop() {
            if self.is_beyond(&walk) {
                continue;
            }
            if records.len() >= self.ask.limit || bytes >= PAGE_BYTES || Instant::now() >= self.ask.deadline {
                return Ok((records, Some(self.token(walk.at))));
            }
            match walk.batch.take() {
                None => heap.extend(self.load(walk)?),
                Some((batch, index)) => {
                    if self.is_shown(&batch, index) {
                        bytes += batch.layout().records[index].len();
                        records.push((batch.clone(), index));
                    }
                    heap.extend(self.step(walk, batch, index)?);
                }
            }
        }
        Ok((records, None))
    }

    /// The token of a page that begins with what stands at a key: all before it was looked at.
    fn token(&self, (time, log, seq): Key) -> String {
        let last = (time, log, if self.asc() { seq - 1 } else { seq + 1 });
        let token = Token { version: 1, fingerprint: self.ask.fingerprint, moment: self.moment, last };
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

    /// The lowest and the highest seq that may be shown of a log.
    fn bounds(&self, key: LogKey, head: u64) -> Option<(u64, u64)> {
        let order = self.shared.order();
        let log = order.logs.get(&key);
        let after = match self.ask.after.map(|cursor| cursor.seen(key)) {
            None => 0,
            Some(Seen::UpTo(seq)) => seq,
            Some(Seen::Done | Seen::FromHead) => return None,
        };
        let low = after + 1;
        let high = log.and_then(|log| log.forked).map_or(head, |end| head.min(end - 1));
        (low <= high).then_some((low, high))
    }

    /// Where the walk along a log begins.
    fn begin(&mut self, key: LogKey, head: u64) -> io::Result<Option<Walk>> {
        let Some((low, high)) = self.bounds(key, head) else { return Ok(None) };
        if self.asc() {
            let from = self.last.map(|(time, ..)| time).max(self.ask.since);
            let seq = from.map_or(Ok(Some(low)), |time| self.seq_at(key, time))?;
            match seq {
                Some(seq) => self.next(key, seq.max(low), high, from.is_none()),
                None => Ok(None),
            }
        } else {
            let until = [self.last.map(|(time, ..)| time.saturating_add(1)), self.ask.until]
                .into_iter()
                .flatten()
                .min();
            let seq = until.map_or(Ok(None), |time| self.seq_at(key, time))?;
            // The batch in which that time lies may begin before it.
            let seq = match seq {
                Some(seq) => self.shared.find(key, seq)?.map_or(high, |(.., stored)| stored.last.min(high)),
                None => high,
            };
            self.previous(key, seq, low)
        }
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

    fn high(&self, key: LogKey) -> u64 {
        self.heads.get(&key).and_then(|head| self.bounds(key, *head)).map_or(0, |(_, high)| high)
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
    fn next(&mut self, key: LogKey, seq: u64, high: u64, name_gap: bool) -> io::Result<Option<Walk>> {
        if seq > high {
            return Ok(None);
        }
        let found = self.shared.find(key, seq)?.filter(|(.., stored)| stored.first <= high);
        let missing_to = found.as_ref().map_or(high, |(.., stored)| stored.first.saturating_sub(1));
        if name_gap && seq <= missing_to {
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
        let (low, high) =
            self.heads.get(&walk.key).and_then(|head| self.bounds(walk.key, *head)).unwrap_or((1, 0));
        let seen = self.last.is_some_and(|last| if self.asc() { key <= last } else { key >= last });
        if seen || key.2 < low || key.2 > high {
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
        let head = self.heads.get(&walk.key).copied().unwrap_or(0);
        let Some((low, high)) = self.bounds(walk.key, head) else { return Ok(None) };
        if self.asc() {
            self.next(walk.key, walk.stored.last + 1, high.min(self.high(walk.key)), true)
        } else {
            walk.stored.first.checked_sub(1).map_or(Ok(None), |seq| self.previous(walk.key, seq, low))
        }
    }
}
