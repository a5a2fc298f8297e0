//! The arrival order: which batch becomes visible when, what waits, what was jumped over.
//!
//! Pure: the same entries in the same order always lead to the same state, live and in recovery.

use std::collections::BTreeMap;

use anode_shared::batch::Predecessor;
use anode_shared::ids::{Hash, LogId, LogKey, Origin};
use anode_shared::time::Micros;
use serde::{Deserialize, Serialize};

mod jumps;

pub(crate) use jumps::Jump;
use jumps::{fit_late, overlap};

/// How long nothing more of a log must have come for it to count as finished (10 min: repair from any live peer takes less).
const FINISHED_AFTER: Micros = 600 * 1_000_000;

/// For each log the newest seq that the order has passed.
pub(crate) type Heads = BTreeMap<LogKey, u64>;

/// Where a batch's bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// What the order needs to know of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) hash: Hash,
    pub(crate) previous: Hash,
    pub(crate) place: Place,
}

/// One log as this node knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Log {
    /// The newest seq that the order has passed.
    pub(crate) head: u64,
    /// The hash of the batch that ends there; none behind a jump or damage.
    pub(crate) head_hash: Option<Hash>,
    /// The oldest seq that is still held or wanted.
    pub(crate) floor: u64,
    /// Batches whose predecessor is missing.
    pub(crate) waiting: BTreeMap<u64, Piece>,
    /// Ranges that were jumped over and are not whole yet.
    pub(crate) jumps: BTreeMap<u64, Jump>,
    /// Where the log ends because it forked: the first seq that does not count.
    pub(crate) forked: Option<u64>,
    /// When it last grew.
    pub(crate) grew: Micros,
    /// What its first header named.
    pub(crate) predecessor: Option<Predecessor>,
}

/// What became of the order at one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arrival {
    pub(crate) key: LogKey,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) what: What,
}

/// What an arrival is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    /// A batch, and where it lies.
    Batch(Place),
    /// A range that the order went on without.
    Jump,
    /// A range whose bytes were found damaged.
    Damage,
    /// Part of an earlier jump came late: no head moves, but whoever waits for it is woken, and pages begun before leave it out.
    Late,
}

impl Arrival {
    /// A number whose entry was damaged, before it shows whose it was.
    pub(crate) const LOST: Self = Self {
        key: LogKey { origin: Origin([0; 32]), log: LogId(0) },
        first: 1,
        last: 0,
        what: What::Damage,
    };

    /// Moves the heads on past this arrival.
    pub(crate) fn advance(&self, heads: &mut Heads) {
        if self.what != What::Late && self.last >= self.first {
            heads.insert(self.key, self.last);
        }
    }

    /// Moves the heads back before this arrival.
    pub(crate) fn retreat(&self, heads: &mut Heads) {
        if self.what == What::Late || self.last < self.first {
            return;
        }
        match self.first {
            1 => _ = heads.remove(&self.key),
            first => _ = heads.insert(self.key, first - 1),
        }
    }
}

/// How a batch fits what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It follows the head.
    Next,
    /// Its predecessor is missing.
    Ahead,
    /// It fills part of a jump.
    Late,
    /// Its seqs are held already; whether by the same bytes is to be looked up at this seq.
    Held(u64),
    /// It lies below the floor.
    Old,
    /// It does not follow, or is not followed by, the batch at this seq, so one of them proves a fork.
    Fork(u64),
    /// The log ended before it.
    Ended,
}

/// The order and all logs in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The number of the next arrival.
    pub(crate) next: u64,
    pub(crate) logs: BTreeMap<LogKey, Log>,
    /// Per origin the newest log that was finished, expired and forgotten: none up to it is taken again.
    forgotten: BTreeMap<Origin, LogId>,
}

impl Order {
    /// An order whose next arrival has this number, and that knows no log.
    pub(crate) fn beginning(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// For each log the newest seq that the order has passed.
    pub(crate) fn heads(&self) -> Heads {
        self.logs.iter().filter(|(_, log)| log.head > 0).map(|(key, log)| (*key, log.head)).collect()
    }

    /// How a batch fits what is there.
    pub(crate) fn fit(&self, key: LogKey, piece: &Piece) -> Fit {
        if self.forgotten.get(&key.origin).is_some_and(|mark| key.log <= *mark)
            && !self.logs.contains_key(&key)
        {
            return Fit::Old;
        }
        let Some(log) = self.logs.get(&key) else {
            return if piece.first == 1 { Fit::Next } else { Fit::Ahead };
        };
        if log.forked.is_some_and(|end| piece.last >= end) {
            return Fit::Ended;
        }
        if piece.last < log.floor {
            return Fit::Old;
        }
        if piece.first == log.head + 1 {
            return match log.head_hash {
                Some(hash) if hash != piece.previous && log.head > 0 => Fit::Fork(log.head),
                _ => overlap(&log.waiting, piece).map_or(Fit::Next, Fit::Held),
            };
        }
        if piece.first > log.head {
            return overlap(&log.waiting, piece).map_or(Fit::Ahead, Fit::Held);
        }
        match log.jumps.range(..=piece.first).next_back() {
            Some((from, jump)) if jump.to >= piece.last => fit_late(*from, jump, piece),
            _ => Fit::Held(piece.first),
        }
    }

    /// Per origin the newest log that was forgotten.
    pub(crate) fn forgotten(&self) -> impl Iterator<Item = (Origin, LogId)> {
        self.forgotten.iter().map(|(origin, log)| (*origin, *log))
    }

    fn log(&mut self, key: LogKey) -> &mut Log {
        self.logs.entry(key).or_insert_with(|| Log { floor: 1, ..Log::default() })
    }

    /// Takes a batch that follows its log's head; what waited for it follows.
    pub(crate) fn take_next(
        &mut self,
        key: LogKey,
        piece: Piece,
        predecessor: Option<Predecessor>,
        when: Micros,
    ) -> Vec<Arrival> {
        let log = self.log(key);
        if piece.first == 1 {
            log.predecessor = predecessor;
        }
        log.head_hash = Some(piece.hash);
        log.head = piece.last;
        log.grew = when;
        let mut arrivals =
            vec![Arrival { key, first: piece.first, last: piece.last, what: What::Batch(piece.place) }];
        self.follow(key, &mut arrivals);
        self.next += arrivals.len() as u64;
        arrivals
    }

    /// Lets what waited behind the head become visible, up to where its chain breaks.
    fn follow(&mut self, key: LogKey, arrivals: &mut Vec<Arrival>) {
        let log = self.log(key);
        while let Some(piece) = log.waiting.get(&(log.head + 1)).copied() {
            if log.head_hash.is_some_and(|hash| hash != piece.previous) {
                return;
            }
            log.waiting.remove(&piece.first);
            log.head = piece.last;
            log.head_hash = Some(piece.hash);
            arrivals.push(Arrival {
                key,
                first: piece.first,
                last: piece.last,
                what: What::Batch(piece.place),
            });
        }
    }

    /// A waiting batch that follows the head by its seq and contradicts it by its hash.
    pub(crate) fn broken(&self, key: LogKey) -> Option<Piece> {
        let log = self.logs.get(&key)?;
        let piece = log.waiting.get(&(log.head + 1))?;
        (log.head_hash.is_some_and(|hash| hash != piece.previous)).then_some(*piece)
    }

    /// Keeps a batch whose predecessor is missing.
    pub(crate) fn take_waiting(&mut self, key: LogKey, piece: Piece, when: Micros) {
        let log = self.log(key);
        log.waiting.insert(piece.first, piece);
        log.grew = when;
    }

    /// Begins a log of which nothing up to `head` is left.
    pub(crate) fn begin(&mut self, key: LogKey, head: u64) {
        self.logs.entry(key).or_insert_with(|| Log { floor: head + 1, head, ..Log::default() });
    }

    /// The ranges to jump over if nothing comes: before the first waiting batch of each log.
    pub(crate) fn holes(&self) -> impl Iterator<Item = (LogKey, u64, u64)> {
        self.logs.iter().filter_map(|(key, log)| {
            let first = *log.waiting.keys().next()?;
            (first > log.head + 1).then_some((*key, log.head + 1, first - 1))
        })
    }

    /// Ends a log before `end`. Says whether that is news.
    pub(crate) fn take_fork(&mut self, key: LogKey, end: u64) -> bool {
        let log = self.log(key);
        if log.forked.is_some_and(|known| known <= end) {
            return false;
        }
        log.forked = Some(end);
        log.waiting.retain(|_, piece| piece.last < end);
        true
    }

    /// Raises a floor; it never falls.
    pub(crate) fn take_floor(&mut self, key: LogKey, floor: u64) {
        let log = self.log(key);
        log.floor = log.floor.max(floor);
        let floor = log.floor;
        log.jumps.retain(|_, jump| jump.to >= floor);
    }

    /// The newest log of an origin.
    pub(crate) fn newest(&self, origin: Origin) -> Option<(LogId, &Log)> {
        self.logs.iter().rev().find(|(key, _)| key.origin == origin).map(|(key, log)| (key.log, log))
    }

    /// The log of an origin up to which all are finished: each one's successor named it, its end was seen, and nothing
    /// more of it came for [`FINISHED_AFTER`].
    pub(crate) fn finished(&self, origin: Origin, now: Micros) -> Option<LogId> {
        let logs: Vec<(LogId, &Log)> = self
            .logs
            .iter()
            .filter(|(key, _)| key.origin == origin)
            .map(|(key, log)| (key.log, log))
            .collect();
        let done = |pair: &&[(LogId, &Log)]| {
            let (id, log) = pair[0];
            pair[1].1.predecessor.is_some_and(|before| before.log == id && before.end <= log.head)
                && log.grew.saturating_add(FINISHED_AFTER) <= now
        };
        let finished = logs.windows(2).take_while(done).last().map(|pair| pair[0].0);
        finished.max(self.forgotten.get(&origin).copied())
    }

    /// Forgets finished logs of which nothing is left. Others stay: a cursor must go on naming them.
    pub(crate) fn forget_expired(&mut self, now: Micros) {
        let origins: std::collections::BTreeSet<Origin> = self.logs.keys().map(|key| key.origin).collect();
        for origin in origins {
            let Some(finished) = self.finished(origin, now) else { continue };
            let expired = |key: &LogKey, log: &Log| {
                key.origin == origin && key.log <= finished && log.floor > log.head && log.waiting.is_empty()
            };
            let newest =
                self.logs.iter().filter(|(key, log)| expired(key, log)).map(|(key, _)| key.log).max();
            self.logs.retain(|key, log| !expired(key, log));
            if let Some(newest) = newest {
                let mark = self.forgotten.entry(origin).or_insert(newest);
                *mark = newest.max(*mark);
            }
        }
    }
}

#[cfg(test)]
mod tests;
