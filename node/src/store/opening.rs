//! Opening a reader: where it begins, and what `last:N` and `latest` give first.
//!
//! Looking for that may go through the whole store, so it is done in rounds, between which others have their turn. Only
//! places are kept; the records are read when the reader comes to them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::cursor::{Cursor, Seen, Shard, WHOLE};
use anode_shared::frames::{Gap, GapReason};
use anode_shared::ids::LogKey;
use anode_shared::time::Micros;
use anode_shared::topic::Topics;

use super::Start;
use super::archiving::Newest;
use super::history::{Direction, History, HistoryError};
use super::index::Stored;
use super::loaded::Loaded;
use super::place::Place;
use super::reader::Reader;
use super::segment::Segment;
use super::shared::{Shared, place_in};

mod seek;

use seek::Seek;

/// How long a round goes on: some tens of megabytes.
const ROUND: Duration = Duration::from_millis(250);
/// The most topics whose newest record `latest` gives: some 15 MB while they are looked for.
pub(super) const MOST_TOPICS: usize = 100_000;

/// Why a reader cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// More topics match than `latest` can give.
    #[error(
        "start=latest gives the newest record of at most {MOST_TOPICS} topics, and more match; name narrower topics, or start at a time"
    )]
    TooManyTopics,
    /// Storage failed.
    #[error("storage cannot be read: {0}")]
    Storage(#[from] io::Error),
}

/// Consecutive records of a log that a reader is given first; those that are missing become gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) key: LogKey,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Whether peers did not lend them in time: it is not tried again.
    pub(crate) lost: bool,
}

/// A record's place in the order in which first records are given, and the last seq where it is a range.
type Spot = (Micros, LogKey, u64, u64);

/// What is being looked for.
#[derive(Debug)]
enum Search {
    Nothing,
    /// The newest so many, from this page of history on; peers are asked for what is not here until then.
    Last {
        count: usize,
        page: Option<String>,
        until: Instant,
    },
    /// The place of a time, in logs of which this node has dropped it, as long as peers may have it.
    Time {
        seeks: Vec<Seek>,
        until: Instant,
    },
    /// The newest of each topic, in these segments too.
    Latest {
        segments: VecDeque<Arc<Segment>>,
        newest: HashMap<Box<str>, (Micros, LogKey, u64)>,
    },
}

/// A reader that is being opened.
#[derive(Debug)]
pub struct Opening {
    shared: Arc<Shared>,
    topics: Topics,
    /// Where it goes on behind what it is given first.
    cursor: Cursor,
    /// The shards of logs that do not hold all topics.
    shards: BTreeMap<LogKey, Shard>,
    search: Search,
    found: Vec<Spot>,
    /// What is missing among that.
    missing: Vec<(LogKey, u64, u64)>,
    /// What peers have and did not lend in time.
    lost: VecDeque<First>,
}

impl Opening {
    pub(crate) fn new(shared: Arc<Shared>, start: &Start, topics: Topics) -> io::Result<Self> {
        shared.await_archive();
        let live = || shared.live_cursor((shared.options.clock)());
        let cursor = match start {
            Start::Live | Start::Last(_) | Start::Latest => live(),
            Start::Earliest => Cursor::new(0),
            Start::After(cursor) => cursor.clone(),
            Start::Time(time) => shared.cursor_at(*time)?,
        };
        let until = Instant::now() + shared.options.gap_after;
        let search = match start {
            Start::Last(count) => Search::Last { count: *count, page: None, until },
            Start::Time(time) => Search::Time { seeks: shared.seeks(&cursor, *time), until },
            Start::Latest => {
                Search::Latest { segments: shared.all_segments().into(), newest: HashMap::new() }
            }
            Start::Live | Start::Earliest | Start::After(_) => Search::Nothing,
        };
        let shards = shared.order().shards();
        Ok(Self {
            shared,
            topics,
            cursor,
            shards,
            search,
            found: Vec::new(),
            missing: Vec::new(),
            lost: VecDeque::new(),
        })
    }

    /// The archive holds these records of topics, for `latest`: whatever is newer, here or there, is given.
    pub fn archived(&mut self, archived: Newest) {
        let Search::Latest { newest, .. } = &mut self.search else { return };
        // What lies behind the cursor comes later by itself.
        let before =
            archived.into_iter().filter(|(_, (_, key, seq))| is_seen(&self.cursor, &self.shards, *key, *seq));
        newest.extend(before);
    }

    /// How many places it holds by now.
    pub fn held(&self) -> usize {
        let newest = if let Search::Latest { newest, .. } = &self.search { newest.len() } else { 0 };
        self.found.len() + self.missing.len() + self.lost.len() + newest
    }

    /// Looks on for what comes first; gives the reader once it is found, or none after about a quarter of a second.
    /// `keep` is the filter, for `last:N`. Blocks.
    ///
    /// # Errors
    /// When storage cannot be read, or too much is asked for.
    pub fn round(&mut self, keep: &dyn Fn(&Loaded, usize) -> bool) -> Result<Option<Reader>, OpeningError> {
        let deadline = Instant::now() + ROUND;
        let done = match &mut self.search {
            Search::Nothing => true,
            Search::Last { count, page, until } => {
                let (count, page, until) = (*count, page.take(), *until);
                self.look_back(count, page.as_deref(), keep, deadline, until)?
            }
            Search::Latest { .. } => self.look_for_newest(deadline)?,
            Search::Time { seeks, until } => {
                let done = self.shared.seek(seeks, deadline.min(*until)) || Instant::now() >= *until;
                seek::place(&mut self.cursor, seeks);
                done
            }
        };
        Ok(done.then(|| self.reader()))
    }

    /// Looks through one page of history, newest first; says whether all is found.
    fn look_back(
        &mut self,
        count: usize,
        page: Option<&str>,
        keep: &dyn Fn(&Loaded, usize) -> bool,
        deadline: Instant,
        until: Instant,
    ) -> Result<bool, OpeningError> {
        let page = self.shared.history(&History {
            topics: &self.topics,
            since: None,
            until: None,
            after: None,
            direction: Direction::Desc,
            limit: count - self.found.len(),
            page,
            fingerprint: 0,
            keep,
            deadline,
            lend_until: Some(until),
        });
        let page = page.map_err(|error| match error {
            HistoryError::Storage(error) => error,
            HistoryError::Page => io::Error::other(error),
        })?;
        self.found.extend(page.records.iter().map(|(batch, index)| {
            let seq = batch.seq(*index);
            (batch.record(*index).time, batch.key(), seq, seq)
        }));
        // What retention dropped everywhere is not among the newest of what is there.
        for gap in page.gaps.iter().filter(|gap| gap.reason != GapReason::Expired) {
            let Gap { log: key, from, to, .. } = *gap;
            if self.shared.is_expired(key, to) {
                self.lost.push_back(First { key, from, to, lost: true });
            } else {
                self.missing.push((key, from, to));
            }
        }
        let done = self.found.len() >= count || page.next.is_none();
        self.search = Search::Last { count, page: page.next, until };
        Ok(done)
    }

    /// Looks through segments for each topic's newest record; says whether it was through all.
    fn look_for_newest(&mut self, deadline: Instant) -> Result<bool, OpeningError> {
        let Search::Latest { segments, newest } = &mut self.search else { return Ok(true) };
        let (cursor, shards) = (&self.cursor, &self.shards);
        let seen = |key, seq| is_seen(cursor, shards, key, seq);
        while let Some(segment) = segments.pop_front() {
            let mut found = Vec::new();
            let mut hidden = Vec::new();
            segment.with_index(|index| {
                for (topic, postings) in index.topics.iter().filter(|(topic, _)| self.topics.matches(topic)) {
                    match postings.newest {
                        Some(spot) if seen(spot.1, spot.2) => {
                            found.push((topic.clone(), spot));
                        }
                        _ => {
                            let all = postings.batches.iter().map(|number| index.batches[*number as usize]);
                            hidden.push((topic.clone(), all.collect()));
                        }
                    }
                }
            })?;
            for (topic, batches) in hidden {
                let spot = newest_seen(&segment, batches, &topic, &seen);
                found.extend(spot.map(|spot| (topic, spot)));
            }
            for (topic, spot) in found {
                let full = newest.len() >= MOST_TOPICS;
                match newest.get_mut(&topic) {
                    Some(known) => *known = (*known).max(spot),
                    None if full => return Err(OpeningError::TooManyTopics),
                    None => _ = newest.insert(topic, spot),
                }
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        if newest.len() > MOST_TOPICS {
            return Err(OpeningError::TooManyTopics);
        }
        if !segments.is_empty() {
            return Ok(false);
        }
        self.found = newest.drain().map(|(_, (time, key, seq))| (time, key, seq, seq)).collect();
        Ok(true)
    }

    fn reader(&mut self) -> Reader {
        let (found, missing) = (std::mem::take(&mut self.found), std::mem::take(&mut self.missing));
        let cursor = self.cursor.clone();
        let whole = !matches!(self.search, Search::Last { page: Some(_), .. });
        let mut first = in_order(found, missing, whole, |key, seq| is_seen(&cursor, &self.shards, key, seq));
        self.lost.drain(..).for_each(|lost| first.push_front(lost));
        let (place, segment) = self.shared.attach(cursor);
        Reader::new(self.shared.clone(), self.topics.clone(), place, segment, first)
    }
}

/// Whether a record lies before the cursor; what arrived since that was taken comes behind it.
fn is_seen(cursor: &Cursor, shards: &BTreeMap<LogKey, Shard>, key: LogKey, seq: u64) -> bool {
    match cursor.seen(key, shards.get(&key).copied().unwrap_or(WHOLE)) {
        Seen::UpTo(last) => seq <= last,
        Seen::Done | Seen::FromHead => true,
    }
}

/// The newest record of a topic before the cursor, among these batches of a segment: its newest of all lies behind.
fn newest_seen(
    segment: &Segment,
    mut batches: Vec<Stored>,
    topic: &str,
    seen: &dyn Fn(LogKey, u64) -> bool,
) -> Option<(Micros, LogKey, u64)> {
    batches.retain(|stored| seen(stored.key, stored.first));
    batches.sort_unstable_by_key(|stored| std::cmp::Reverse(stored.time_last));
    let mut newest: Option<(Micros, LogKey, u64)> = None;
    for stored in batches {
        if newest.is_some_and(|(time, ..)| time > stored.time_last) {
            break;
        }
        let Ok(batch) = segment.load(place_in(segment, &stored)) else { continue };
        let records = (0..batch.len()).map(|index| (batch.record(index), batch.seq(index)));
        let before = records.filter(|(record, seq)| record.topic == topic && seen(stored.key, *seq));
        newest = newest.max(before.map(|(record, seq)| (record.time, stored.key, seq)).max());
    }
    newest
}

/// Puts what was found in the order of time, and what is missing before what follows it in its log. Where not all was
/// looked through, what is missing before the oldest of it is of no interest.
fn in_order(
    mut found: Vec<Spot>,
    missing: Vec<(LogKey, u64, u64)>,
    whole: bool,
    seen: impl Fn(LogKey, u64) -> bool,
) -> VecDeque<First> {
    if !missing.is_empty() {
        let times: BTreeMap<(LogKey, u64), Micros> =
            found.iter().map(|(time, key, seq, _)| ((*key, *seq), *time)).collect();
        let oldest = times.values().min().copied().unwrap_or(0);
        let behind = |key: LogKey, to: u64| {
            let next = times.range((key, to)..).next().filter(|((other, _), _)| *other == key);
            next.map_or(Micros::MAX, |(_, time)| *time)
        };
        let spots = missing.into_iter().map(|(key, from, to)| (behind(key, to), key, from, to));
        found.extend(spots.filter(|(time, ..)| whole || *time > oldest));
    }
    found.retain(|(_, key, seq, _)| seen(*key, *seq));
    found.sort_unstable();
    let mut first: VecDeque<First> = VecDeque::new();
    for (_, key, from, to) in found {
        match first.back_mut() {
            Some(last) if last.key == key && last.to + 1 == from => last.to = to,
            _ => first.push_back(First { key, from, to, lost: false }),
        }
    }
    first
}

impl Shared {
    /// A reader's place at this moment, and the segment that it stands in.
    fn attach(&self, cursor: Cursor) -> (Place, Arc<Segment>) {
        // The tail and the segments move on together under the order's eyes: an arrival that comes between is passed later.
        let asked: BTreeSet<LogKey> = {
            let order = self.order();
            let gone = order.logs.iter().filter(|(_, log)| log.floor > log.head);
            gone.map(|(key, log)| (*key, log.head)).collect::<Vec<_>>()
        }
        .into_iter()
        .filter(|(key, head)| *head > 0 && self.lent_ends(*key, 1, *head).is_some())
        .map(|(key, _)| key)
        .collect();
        let beyond = self.beyond();
        let order = self.order();
        let heads = order.heads();
        // Where nothing is left here, peers may lend it.
        let kept =
            |key| asked.contains(&key) || order.logs.get(&key).is_some_and(|log| log.floor <= log.head);
        let archived = beyond.iter().map(|(key, kept)| (*key, kept.last));
        let shard = |key| order.shard(key);
        let mut place = Place::attach(cursor, order.next, &heads, &kept, &shard);
        place.reach_beyond(archived, &shard);
        let position = place.position;
        drop(order);
        let segments = self.ordered_segments();
        let here = segments
            .iter()
            .rev()
            .find(|segment| segment.first_arrival().is_ok_and(|first| first <= position));
        // There is always a segment: the one that is written to.
        let segment = here.unwrap_or(&segments[segments.len() - 1]).clone();
        (place, segment)
    }
}
