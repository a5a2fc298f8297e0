//! A reader that begins at the earliest record, hops between nodes with its cursor, and keeps account.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anode_shared::cursor::Cursor;
use anode_shared::ids::LogKey;

use super::store::Store;
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
}

impl Reader {
    pub(super) fn attach(cursor: Cursor, store: &Store, before: Option<Self>) -> Self {
        let heads = store.order.heads();
        let kept = |key| store.order.logs.get(&key).is_some_and(|log| log.floor <= log.head);
        let place = Place::attach(cursor, store.order.next, &heads, &kept);
        let (next, records, gaps) =
            before.map_or_else(Default::default, |old| (old.next, old.records, old.gaps));
        Self { place, heads, next, records, gaps }
    }

    pub(super) fn cursor(&self) -> Cursor {
        let cursor = self.place.cursor(&self.heads, BTreeMap::new());
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

    /// Reads all that is there. `may_have` says whether waiting is worth while.
    pub(super) fn read(
        &mut self,
        store: &Store,
        now: Instant,
        may_have: &dyn Fn(LogKey, Span) -> bool,
    ) -> Result<(), String> {
        loop {
            if let Behind::Read(key) = self.place.behind(now) {
                self.read_owed(key, store, now, may_have)?;
                continue;
            }
            if self.place.position >= store.order.next {
                return Ok(());
            }
            let arrival = *store.arrival(self.place.position).ok_or("an arrival is gone")?;
            let take = self.place.pass(&arrival);
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
        now: Instant,
        may_have: &dyn Fn(LogKey, Span) -> bool,
    ) -> Result<(), String> {
        let Some((next, upto)) = self.place.owed(key) else { return Ok(()) };
        let log = store.order.logs.get(&key);
        let (floor, forked) = log.map_or((1, None), |log| (log.floor, log.forked));
        let forked = forked.unwrap_or(u64::MAX);
        if let Some(batch) = store.holding(key, next).filter(|_| next < forked && next >= floor) {
            let span = Span { from: next, to: batch.span.to.min(upto).min(forked - 1) };
            self.records += span.count();
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
        let gone = next < floor || next >= forked;
        let hopeful = !gone && may_have(key, Span { from: next, to });
        if !(hopeful && self.place.wait(key, to, now, GAP_AFTER)) {
            self.gaps += to - next + 1;
            self.take(key, Span { from: next, to }, "a gap")?;
            self.place.read(key, to + 1);
        }
        Ok(())
    }

    /// What it waits for.
    pub(super) fn owed(&self, store: &Store) -> Vec<(LogKey, Span)> {
        let keys = store.order.logs.keys();
        keys.filter_map(|key| self.place.owed(*key).and_then(|(from, to)| Some((*key, Span::new(from, to)?))))
            .collect()
    }
}
