//! A small model of the store on the real arrival order: a journal whose unsynced end a crash takes, retention, jumps.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anode_shared::cursor::WHOLE;
use anode_shared::ids::{Hash, LogKey};
use anode_shared::time::Micros;

use crate::gossip::repair::{Outcome, Own};
use crate::gossip::spans::{Span, Spans};
use crate::store::order::{Arrival, Fit, Lineage, Order, Piece, Place, Waits};

/// How long a batch waits for its predecessor.
const JUMP_AFTER: Duration = Duration::from_secs(1);

/// About how much a store with little room may hold too much or too little: as a segment in life.
pub(super) const SEGMENT: u64 = 8_000;

/// A batch without its records: seqs, chain, time and size are what matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) key: LogKey,
    pub(super) span: Span,
    pub(super) hash: Hash,
    pub(super) previous: Hash,
    pub(super) time: Micros,
    pub(super) bytes: u64,
}

#[derive(Debug, Clone)]
enum Entry {
    Next(Rc<Batch>),
    Waiting(Rc<Batch>),
    Late(Rc<Batch>),
    Jump(LogKey, u64),
    Floor(LogKey, u64),
    Fork(LogKey, u64),
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) order: Order,
    pub(super) batches: BTreeMap<(LogKey, u64), Rc<Batch>>,
    /// The arrivals since the number `base`.
    pub(super) arrivals: Vec<Arrival>,
    base: u64,
    journal: Vec<Entry>,
    pub(super) synced: usize,
    /// What came above a hole and is not noted in `waits` yet.
    ahead: Vec<(LogKey, u64)>,
    waits: Waits,
    pub(super) retain: Micros,
    /// The most bytes that it keeps; 0: all.
    pub(super) room: u64,
    /// It drops what came first, as a test's flaw, and not what is oldest.
    pub(super) by_arrival: bool,
}

fn piece(batch: &Batch) -> Piece {
    Piece {
        first: batch.span.from,
        last: batch.span.to,
        hash: batch.hash,
        previous: batch.previous,
        place: Place { segment: 0, offset: 0, length: 0 },
    }
}

impl Store {
    pub(super) fn new(retain: Micros, room: u64, by_arrival: bool) -> Self {
        Self { retain, room, by_arrival, ..Self::default() }
    }

    /// What a crash leaves: everything up to `kept` entries of the journal.
    pub(super) fn crash(self, kept: usize) -> Self {
        let mut fresh = Self::new(self.retain, self.room, self.by_arrival);
        for entry in self.journal.into_iter().take(kept) {
            fresh.apply(entry);
        }
        fresh.synced = fresh.journal.len();
        fresh.base = fresh.order.next;
        fresh.arrivals.clear();
        fresh
    }

    pub(super) fn written(&self) -> usize {
        self.journal.len()
    }

    fn apply(&mut self, entry: Entry) {
        let arrivals = match &entry {
            Entry::Next(batch) => {
                self.order.take_next(batch.key, piece(batch), Lineage::default(), batch.time)
            }
            Entry::Waiting(batch) => {
                self.order.take_waiting(batch.key, piece(batch), Lineage::default(), batch.time);
                self.ahead.push((batch.key, batch.span.from));
                Vec::new()
            }
            Entry::Late(batch) => {
                self.order.take_late(batch.key, piece(batch), Lineage::default(), batch.time)
            }
            Entry::Jump(key, to) => self.order.take_jump(*key, *to),
            Entry::Floor(key, floor) => {
                self.order.take_floor(*key, *floor);
                self.batches.retain(|(of, _), batch| of != key || batch.span.to >= *floor);
                Vec::new()
            }
            Entry::Fork(key, end) => {
                self.order.take_fork(*key, *end);
                Vec::new()
            }
        };
        if let Entry::Next(batch) | Entry::Waiting(batch) | Entry::Late(batch) = &entry {
            self.batches.insert((batch.key, batch.span.from), batch.clone());
        }
        self.arrivals.extend(arrivals);
        self.journal.push(entry);
    }

    /// Takes a batch; says what became of it, and whether its log is another now.
    pub(super) fn accept(&mut self, batch: &Rc<Batch>) -> (Outcome, bool) {
        let entry = match self.order.fit(batch.key, WHOLE, &piece(batch)) {
            Fit::Next => Entry::Next(batch.clone()),
            Fit::Ahead if self.order.logs.get(&batch.key).is_none_or(|log| log.head == 0) => {
                self.apply(Entry::Jump(batch.key, batch.span.from - 1));
                Entry::Next(batch.clone())
            }
            Fit::Ahead => Entry::Waiting(batch.clone()),
            Fit::Late if batch.time < self.squeezed() => {
                return (Outcome::Old, self.raise(batch.key, batch.span.to + 1));
            }
            Fit::Late => Entry::Late(batch.clone()),
            Fit::Old => return (Outcome::Old, false),
            Fit::Ended => return (Outcome::Stored, false),
            Fit::Held(seq) | Fit::Fork(seq) => {
                let Some(held) = self.holding(batch.key, seq) else { return (Outcome::Old, false) };
                if held.hash == batch.hash {
                    return (Outcome::Stored, false);
                }
                let end = held.span.from.min(batch.span.from);
                return (Outcome::Stored, self.fork(batch.key, end));
            }
        };
        self.apply(entry);
        if let Some(broken) = self.order.broken(batch.key) {
            let before =
                self.holding(batch.key, broken.first - 1).map_or(broken.first, |before| before.span.from);
            self.fork(batch.key, before);
        }
        (Outcome::Stored, true)
    }

    /// Ends a log at a proven fork; says whether that is news.
    pub(super) fn fork(&mut self, key: LogKey, end: u64) -> bool {
        let known = self.order.logs.get(&key).map(|log| log.forked);
        let news = known.is_some_and(|known| known.is_none_or(|known| end < known));
        if news {
            self.apply(Entry::Fork(key, end));
        }
        news
    }

    pub(super) fn holding(&self, key: LogKey, seq: u64) -> Option<&Rc<Batch>> {
        let (_, batch) = self.batches.range((key, 0)..=(key, seq)).next_back()?;
        (batch.span.to >= seq).then_some(batch)
    }

    /// What repair is told of a log.
    pub(super) fn own(&self, key: LogKey) -> Own {
        let Some(log) = self.order.logs.get(&key) else { return Own { floor: 1, ..Own::default() } };
        let held = log.waiting.values().map(|piece| piece.last).max().unwrap_or(0).max(log.head);
        let mut missing = Spans::default();
        for (from, jump) in &log.jumps {
            jump.holes(*from).for_each(|(from, to)| missing.add(Span { from, to }));
        }
        let mut next = log.head + 1;
        for piece in log.waiting.values() {
            Span::new(next, piece.first - 1).into_iter().for_each(|span| missing.add(span));
            next = piece.last + 1;
        }
        Own { head: log.head, held, floor: log.floor, missing, forked: log.forked }
    }

    /// The batches whose last seq lies in a range, up to so many bytes, and whether there are more.
    pub(super) fn read(&self, key: LogKey, span: Span, most: u64) -> (Vec<Rc<Batch>>, bool) {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let floor = self.order.logs.get(&key).map_or(1, |log| log.floor);
        let end = self.order.logs.get(&key).and_then(|log| log.forked).unwrap_or(u64::MAX);
        for batch in self.batches.range((key, 0)..=(key, span.to)).map(|(_, batch)| batch) {
            let inside = batch.span.to >= span.from && batch.span.to <= span.to;
            if !inside || batch.span.to < floor || batch.span.to >= end {
                continue;
            }
            if !found.is_empty() && bytes + batch.bytes > most {
                return (found, true);
            }
            bytes += batch.bytes;
            found.push(batch.clone());
        }
        (found, false)
    }

    /// Goes on without what has been missing for too long. Gives the logs that changed.
    pub(super) fn jump(&mut self, now: Instant) -> Vec<LogKey> {
        for (key, first) in std::mem::take(&mut self.ahead) {
            self.waits.add(key, first, self.order.waiting(key), now);
        }
        let mut changed = Vec::new();
        for (key, below) in self.waits.take(JUMP_AFTER, now) {
            while let Some((_, to)) = self.order.hole(key).filter(|(_, to)| *to < below) {
                self.apply(Entry::Jump(key, to));
                changed.push(key);
            }
        }
        changed
    }

    /// Raises a floor as far as the order has come. Says whether that is news.
    pub(super) fn raise(&mut self, key: LogKey, floor: u64) -> bool {
        let Some(log) = self.order.logs.get(&key) else { return false };
        let floor = floor.min(log.head + 1);
        let news = floor > log.floor;
        if news {
            self.apply(Entry::Floor(key, floor));
        }
        news
    }

    /// Drops what is too old, and what goes next where there is too much. Gives the logs that changed.
    pub(super) fn expire(&mut self, wall: Micros) -> Vec<LogKey> {
        let limit = wall.saturating_sub(self.retain);
        let mut floors: BTreeMap<LogKey, u64> = BTreeMap::new();
        for batch in self.batches.values().filter(|batch| batch.time < limit) {
            floors.insert(batch.key, batch.span.to + 1);
        }
        let raised = floors.into_iter().filter(|(key, floor)| self.raise(*key, *floor)).map(|(key, _)| key);
        let mut changed: Vec<LogKey> = raised.collect();
        while self.room > 0 && self.bytes() > self.room {
            let Some((key, floor)) = self.goes_next().map(|batch| (batch.key, batch.span.to + 1)) else {
                break;
            };
            if !self.raise(key, floor) {
                break;
            }
            changed.push(key);
        }
        changed
    }

    fn bytes(&self) -> u64 {
        self.batches.values().map(|batch| batch.bytes).sum()
    }

    fn goes_next(&self) -> Option<&Rc<Batch>> {
        let held = |batch: &Rc<Batch>| self.batches.contains_key(&(batch.key, batch.span.from));
        let first = self.journal.iter().find_map(|entry| match entry {
            Entry::Next(batch) | Entry::Waiting(batch) | Entry::Late(batch) => {
                Some(batch).filter(|batch| held(batch))
            }
            _ => None,
        });
        let oldest = self.batches.values().min_by_key(|batch| batch.time);
        if self.by_arrival { first } else { oldest }
    }

    /// Batches before this time would go next because there is no room; 0 where there is.
    pub(super) fn squeezed(&self) -> Micros {
        let full = self.room > 0 && self.bytes() + SEGMENT > self.room;
        self.goes_next().filter(|_| full).map_or(0, |batch| batch.time)
    }

    /// The arrival of a number, if it came in this life.
    pub(super) fn arrival(&self, number: u64) -> Option<&Arrival> {
        self.arrivals.get(usize::try_from(number - self.base).unwrap())
    }
}
