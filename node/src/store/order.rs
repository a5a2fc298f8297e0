//! The arrival order: which batch becomes visible when, what waits, what was jumped over.
//!
//! Pure: the same entries in the same order always lead to the same state, live and in recovery.

use std::collections::{BTreeMap, BTreeSet};

use anode_shared::batch::{Header, Predecessor};
use anode_shared::cursor::{Marks, Shard, WHOLE};
use anode_shared::ids::{Hash, LogId, LogKey, Origin};
use anode_shared::time::Micros;
use serde::{Deserialize, Serialize};

mod jumps;
mod waits;

pub(crate) use jumps::Jump;
use jumps::{fit_late, overlap};
pub(crate) use waits::Waits;

/// How long nothing more of a log must have come for it to count as finished (10 min: repair from any live peer takes less).
pub(crate) const FINISHED_AFTER: Micros = 600 * 1_000_000;

/// Of how many origins that are gone for good, with all that they said, it is still known up to where: their marks stand in cursors
/// too, which have room for a thousand origins, and anybody can make up any number. What is older would be dropped at once if it
/// came again.
const MOST_IDLE: usize = 256;

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

/// What a batch's header says of its log as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// The shard of all its topics.
    pub(crate) shard: Shard,
    /// The log that it follows, where its first header says so.
    pub(crate) predecessor: Option<Predecessor>,
}

impl From<&Header> for Lineage {
    fn from(header: &Header) -> Self {
        Self { shard: (header.shard_bits, header.shard), predecessor: header.predecessor }
    }
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
    /// The shard of its topics, as its headers say.
    #[serde(default)]
    pub(crate) shard: Shard,
}

impl Log {
    /// Whether it ends another for good: it names it, that one's end was seen, and nothing more of that came for a while.
    fn follows(&self, id: LogId, before: &Self, now: Micros) -> bool {
        self.predecessor.is_some_and(|named| named.log == id && named.end <= before.head)
            && before.grew.saturating_add(FINISHED_AFTER) <= now
    }

    /// Notes what the header of a batch that begins at `first` says.
    fn descend(&mut self, lineage: Lineage, first: u64) {
        self.shard = lineage.shard;
        if first == 1 {
            self.predecessor = lineage.predecessor;
        }
    }
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
    /// The same for logs that hold only part of the topics: those of other shards go on.
    #[serde(default)]
    forgotten_parts: Marks,
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

    /// The shard of a log's topics; all of them where nothing of the log is known.
    pub(crate) fn shard(&self, key: LogKey) -> Shard {
        self.logs.get(&key).map_or(WHOLE, |log| log.shard)
    }

    /// The shards of logs that do not hold all topics.
    pub(crate) fn shards(&self) -> BTreeMap<LogKey, Shard> {
        let parts = self.logs.iter().filter(|(_, log)| log.shard != WHOLE);
        parts.map(|(key, log)| (*key, log.shard)).collect()
    }

    /// How a batch of a log of this shard fits what is there.
    pub(crate) fn fit(&self, key: LogKey, shard: Shard, piece: &Piece) -> Fit {
        if self.forgotten_in(key.origin, shard).is_some_and(|mark| key.log <= mark)
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

    fn forgotten_in(&self, origin: Origin, shard: Shard) -> Option<LogId> {
        if shard == WHOLE {
            self.forgotten.get(&origin).copied()
        } else {
            self.forgotten_parts.get(&(origin, shard)).copied()
        }
    }

    /// Per origin and shard the newest log that was forgotten.
    fn forgotten(&self) -> Marks {
        let whole = self.forgotten.iter().map(|(origin, log)| ((*origin, WHOLE), *log));
        whole.chain(self.forgotten_parts.iter().map(|(of, log)| (*of, *log))).collect()
    }

    /// Per origin the log up to which all are forgotten, whatever their shard.
    pub(crate) fn forgotten_origins(&self) -> BTreeMap<Origin, LogId> {
        let (forgotten, mut origins) = (self.forgotten(), BTreeMap::new());
        for ((origin, _), mark) in &forgotten {
            let known = origins.entry(*origin).or_insert(*mark);
            *known = (*known).min(*mark);
        }
        for (key, log) in &self.logs {
            // A shard that still has all its logs.
            if !forgotten.contains_key(&(key.origin, log.shard)) {
                origins.remove(&key.origin);
            }
        }
        origins
    }

    fn log(&mut self, key: LogKey) -> &mut Log {
        self.logs.entry(key).or_insert_with(|| Log { floor: 1, ..Log::default() })
    }

    /// Takes a batch that follows its log's head; what waited for it follows.
    pub(crate) fn take_next(
        &mut self,
        key: LogKey,
        piece: Piece,
        lineage: Lineage,
        when: Micros,
    ) -> Vec<Arrival> {
        let log = self.log(key);
        log.descend(lineage, piece.first);
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
    pub(crate) fn take_waiting(&mut self, key: LogKey, piece: Piece, lineage: Lineage, when: Micros) {
        let log = self.log(key);
        log.descend(lineage, piece.first);
        log.waiting.insert(piece.first, piece);
        log.grew = when;
    }

    /// Begins a log of which nothing up to `head` is left.
    pub(crate) fn begin(&mut self, key: LogKey, head: u64) {
        self.logs.entry(key).or_insert_with(|| Log { floor: head + 1, head, ..Log::default() });
    }

    /// The range to jump over if nothing comes: before the first waiting batch of a log.
    pub(crate) fn hole(&self, key: LogKey) -> Option<(u64, u64)> {
        let log = self.logs.get(&key)?;
        let first = *log.waiting.keys().next()?;
        (first > log.head + 1).then_some((log.head + 1, first - 1))
    }

    /// How many batches of a log wait.
    pub(crate) fn waiting(&self, key: LogKey) -> usize {
        self.logs.get(&key).map_or(0, |log| log.waiting.len())
    }

    /// Whether a batch would lie apart from all that is held of a log that has too many holes already: it is left until some of
    /// them are filled. What lies beside what is held is always taken.
    pub(crate) fn tears(&self, key: LogKey, piece: &Piece) -> bool {
        self.logs.get(&key).is_some_and(|log| log.lies_apart(piece) && log.is_torn())
    }

    /// Ends a log before `end`, if anything of it is known. Says whether that is news.
    pub(crate) fn take_fork(&mut self, key: LogKey, end: u64) -> bool {
        let Some(log) = self.logs.get_mut(&key) else { return false };
        if log.forked.is_some_and(|known| known <= end) {
            return false;
        }
        log.forked = Some(end);
        log.waiting.retain(|_, piece| piece.last < end);
        true
    }

    /// Knows nothing more of a log.
    pub(crate) fn forget(&mut self, key: LogKey) {
        self.logs.remove(&key);
    }

    /// Raises a floor; it never falls.
    pub(crate) fn take_floor(&mut self, key: LogKey, floor: u64) {
        let log = self.log(key);
        log.floor = log.floor.max(floor);
        let floor = log.floor;
        log.jumps.retain(|_, jump| jump.to >= floor);
    }

    /// Per origin and shard the log up to which all are finished: each one's successor named it, its end was seen, and
    /// nothing more of it came for [`FINISHED_AFTER`].
    pub(crate) fn finished(&self, now: Micros) -> Marks {
        let mut marks = self.forgotten();
        // The log before in each shard; none behind one that is not finished.
        let mut before: BTreeMap<(Origin, Shard), Option<(LogId, &Log)>> = BTreeMap::new();
        for (key, log) in &self.logs {
            let of = (key.origin, log.shard);
            let this = Some((key.log, log));
            let Some(last) = before.get_mut(&of) else {
                before.insert(of, this);
                continue;
            };
            *last = last.filter(|(id, last)| log.follows(*id, last, now)).and_then(|(id, _)| {
                let mark = marks.entry(of).or_insert(id);
                *mark = id.max(*mark);
                this
            });
        }
        marks
    }

    /// Forgets finished logs of which nothing is left. Others stay: a cursor must go on naming them.
    pub(crate) fn forget_expired(&mut self, now: Micros) {
        for ((origin, shard), finished) in self.finished(now) {
            let expired = |key: &LogKey, log: &Log| {
                (key.origin, log.shard) == (origin, shard)
                    && key.log <= finished
                    && log.floor > log.head
                    && log.waiting.is_empty()
            };
            let newest =
                self.logs.iter().filter(|(key, log)| expired(key, log)).map(|(key, _)| key.log).max();
            let Some(newest) = newest else { continue };
            self.logs.retain(|key, log| !expired(key, log));
            let mark = match shard {
                WHOLE => self.forgotten.entry(origin).or_insert(newest),
                _ => self.forgotten_parts.entry((origin, shard)).or_insert(newest),
            };
            *mark = newest.max(*mark);
        }
        self.bound_marks();
    }

    /// Drops the oldest marks of origins of which no log is known, where there are too many.
    fn bound_marks(&mut self) {
        let there: BTreeSet<Origin> = self.logs.keys().map(|key| key.origin).collect();
        let whole = self.forgotten.iter().map(|(origin, log)| (*log, *origin));
        let parts = self.forgotten_parts.iter().map(|((origin, _), log)| (*log, *origin));
        let mut idle: Vec<(LogId, Origin)> =
            whole.chain(parts).filter(|(_, origin)| !there.contains(origin)).collect();
        let Some(over) = idle.len().checked_sub(MOST_IDLE).filter(|over| *over > 0) else { return };
        idle.sort_unstable();
        for (_, origin) in &idle[..over] {
            self.forgotten.remove(origin);
            self.forgotten_parts.retain(|(of, _), _| of != origin);
        }
    }
}

#[cfg(test)]
mod tests;
