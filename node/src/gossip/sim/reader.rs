//! A reader that begins at the earliest record, hops between nodes with its cursor, and keeps account.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anode_shared::cursor::{Cursor, Marks, WHOLE};
use anode_shared::ids::LogKey;

use super::store::{Batch, Store};
use crate::gossip::repair::Owed;
use crate::gossip::spans::Span;
use crate::store::order::Heads;
use crate::store::place::{Behind, Place, Take};

/// How long a reader waits for a range that somebody might have: less than in life, so that stories are short.
const GAP_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) place: Place,
    heads: Heads,
    /// For each log the seq that must come next: by a record, or by a gap.
    pub(super) next: BTreeMap<LogKey, u64>,
    pub(super) records: u64,
    pub(super) gaps: u64,
    /// How many records peers lent.
    pub(super) lent: u64,
}

/// Batches that peers lent for a node's readers.
pub(super) type Lent = BTreeMap<(LogKey, u64), Rc<Batch>>;

fn holding(lent: &Lent, key: LogKey, seq: u64) -> Option<&Rc<Batch>> {
    let (_, batch) = lent.range((key, 0)..=(key, seq)).next_back()?;
    (batch.span.to >= seq).then_some(batch)
}

impl Reader {
    pub(super) fn attach(cursor: Cursor, store: &Store, before: Option<Self>) -> Self {
        let heads = store.order.heads();
        let kept = |key| store.order.logs.get(&key).is_some_and(|log| log.floor <= log.head);
        let place = Place::attach(cursor, store.order.next, &heads, &kept, &|_| WHOLE);
        let (next, records, gaps, lent) =
            before.map_or_else(Default::default, |old| (old.next, old.records, old.gaps, old.lent));
        Self { place, heads, next, records, gaps, lent }
    }

    pub(super) fn cursor(&self) -> Cursor {
        let cursor = self.place.cursor(&self.heads, &Marks::new(), &|_| WHOLE);
        Cursor::parse(&cursor.to_string()).unwrap()
    }

    fn take(&mut self, key: LogKey, span: Span, what: &str) -> Result<(), String> {
        let next = self.next.entry(key).or_insert(1);
        if span.from != *next {
            return Err(format!("a reader came to {what} {span:?} of {key} where {next} comes next"));
        }
        *next = span.to + 1;
        Ok(())
    }

    /// Reads all that is there, and what peers lent. `first_of` says what of a range is worth while waiting for.
    pub(super) fn read(
        &mut self,
        store: &Store,
        lent: &Lent,
        now: Instant,
        first_of: &dyn Fn(LogKey, Span) -> Option<u64>,
    ) -> Result<(), String> {
        loop {
            if let Behind::Read(key) = self.place.behind(now) {
                self.read_owed(key, store, lent, now, first_of)?;
                continue;
            }
            if self.place.position >= store.order.next {
                return Ok(());
            }
            let arrival = *store.arrival(self.place.position).ok_or("an arrival is gone")?;
            let take = self.place.pass(&arrival, &|_| WHOLE);
            arrival.advance(&mut self.heads);
            if let Take::From(seq) = take {
                let forked = store
                    .order
                    .logs
                    .get(&arrival.key)
                    .and_then(|log| log.forked)
                    .is_some_and(|end| end <= arrival.last);
                if store.holding(arrival.key, seq).is_none() || forked {
                    self.place.owe(arrival.key, seq, arrival.last);
                    continue;
                }
                self.records += arrival.last - seq + 1;
                self.take(arrival.key, Span { from: seq, to: arrival.last }, "records")?;
            }
        }
    }

    fn read_owed(
        &mut self,
        key: LogKey,
        store: &Store,
        lent: &Lent,
        now: Instant,
        first_of: &dyn Fn(LogKey, Span) -> Option<u64>,
    ) -> Result<(), String> {
        let Some((next, upto)) = self.place.owed(key) else { return Ok(()) };
        let log = store.order.logs.get(&key);
        let (floor, forked) = log.map_or((1, None), |log| (log.floor, log.forked));
        let forked = forked.unwrap_or(u64::MAX);
        let dropped = next < floor;
        let held = if dropped { holding(lent, key, next) } else { store.holding(key, next) };
        if let Some(batch) = held.filter(|_| next < forked) {
            let span = Span { from: next, to: batch.span.to.min(upto).min(forked - 1) };
            self.records += span.count();
            self.lent += if dropped { span.count() } else { 0 };
            self.take(key, span, "owed records")?;
            self.place.read(key, span.to + 1);
            return Ok(());
        }
        let behind = store.batches.range((key, next)..=(key, upto)).next().map(|((_, first), _)| first - 1);
        let to = if next >= forked {
            upto
        } else if next < floor {
            (floor - 1).min(upto)
        } else {
            behind.unwrap_or(upto)
        };
        let first = first_of(key, Span { from: next, to }).filter(|_| next < forked);
        let hopeful = if dropped { first == Some(next) } else { first.is_some() };
        let to = first.filter(|first| dropped && *first > next).map_or(to, |first| first - 1);
        if !(hopeful && self.place.wait(key, now, GAP_AFTER, (GAP_AFTER / 100, false))) {
            self.gaps += to - next + 1;
            self.take(key, Span { from: next, to }, "a gap")?;
            self.place.read(key, to + 1);
        }
        Ok(())
    }

    /// What it waits for, but for what was lent to it.
    pub(super) fn owed(&self, store: &Store, lent: &Lent) -> Vec<Owed> {
        let lacks = |key: &LogKey| {
            let (mut from, to) = self.place.owed(*key)?;
            while let Some(batch) = holding(lent, *key, from) {
                from = batch.span.to + 1;
            }
            Some(Owed { log: *key, span: Span::new(from, to)?, newest_first: false })
        };
        store.order.logs.keys().filter_map(lacks).collect()
    }
}
