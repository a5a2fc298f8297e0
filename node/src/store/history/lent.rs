//! What a question about history gets from the archive and from peers: records that are not stored here, as far as somebody has them.

use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::frames::GapReason;
use anode_shared::ids::LogKey;
use anode_shared::time::Micros;

use super::Direction;
use super::answer::{Answer, Entered};
use super::walk::{Lies, Walk};
use crate::store::acceptance::MOST_AHEAD;
use crate::store::halves::Halves;
use crate::store::loaded::Loaded;
use crate::store::peers::Wish;

/// How often what a peer is to lend is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// How many other logs are asked for beside the one that holds all up: about as much as what is lent may take in memory.
const BESIDE: usize = 8;

impl Answer<'_> {
    /// The walk to the next of a range missing here that a peer may lend. What lies before it is named, or all where there is none.
    pub(super) fn lent(&mut self, key: LogKey, from: u64, to: u64, bound: Micros) -> Option<Walk> {
        let Some((first, last)) = self.lenders(key, from, to) else {
            self.name_gaps(key, from, to);
            return None;
        };
        let (asc, waits) = (self.asc(), self.may_wait());
        if from < first && (asc || !waits) {
            self.name_gaps(key, from, first - 1);
        }
        if last < to && (!asc || !waits) {
            self.name_gaps(key, last + 1, to);
        }
        if waits {
            let at = (bound, key, if asc { first } else { last });
            let (lies, direction) = (Lies::Lent(None), self.ask.direction);
            return Some(Walk { key, at, batch: None, counted: false, lies, direction });
        }
        self.name(key, first, last, GapReason::Unreachable);
        None
    }

    /// The first and the last seq of a range that is not here and somebody may lend.
    fn lenders(&self, key: LogKey, from: u64, to: u64) -> Option<(u64, u64)> {
        let ends = self.shared.lent_ends(key, from, to);
        // What was lent lies here for a while, whoever is there.
        let here = self.shared.lent(key, if self.asc() { from } else { to });
        let here = here.map(|batch| (batch.header().first.max(from), batch.header().last().min(to)));
        ends.into_iter().chain(here).reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    }

    /// Whether peers are asked: not once nothing came for as long as a reader waits.
    fn may_wait(&self) -> bool {
        if self.ask.lend_until.is_some_and(|until| until <= Instant::now()) {
            return false;
        }
        let patience = Micros::try_from(self.shared.options.gap_after.as_micros()).unwrap_or(Micros::MAX);
        let now = (self.shared.options.clock)();
        self.waits.is_none_or(|since| now.saturating_sub(since) < patience)
    }

    /// Of a log of which nothing is left here a time that none of its records comes behind.
    pub(super) fn newest(&self, key: LogKey) -> Option<Micros> {
        let archived = self.shared.options.archiver.kept_of(key);
        let order = self.shared.order();
        let Some(log) = order.logs.get(&key) else { return archived.map(|kept| kept.time_last) };
        // Of some it is not known when they grew.
        let grew = if log.grew == 0 { Micros::MAX } else { log.grew.saturating_add(MOST_AHEAD) };
        let beyond = archived.filter(|kept| kept.last >= log.head);
        (log.floor > log.head).then(|| beyond.map_or(grew, |kept| grew.min(kept.time_last)))
    }

    /// Gets the batch that a walk stands at from a peer, or goes on where nobody has it.
    pub(super) fn borrow(
        &mut self,
        mut walk: Walk,
        seeking: Option<Halves>,
        others: &BinaryHeap<Walk>,
    ) -> io::Result<Entered> {
        let (bound, key, seq) = walk.at;
        let to = seeking.map_or(seq, |halves| halves.high.saturating_sub(1).max(seq));
        let mut first = true;
        loop {
            let Some(next) = self.shared.next_of(key, seq, to) else {
                let Some(mut halves) = seeking else { return self.go(key, seq, bound).map(Entered::On) };
                halves.lacks();
                return self.seek_on(walk, halves).map(Entered::On);
            };
            if let Some(batch) = self.shared.lent(key, next) {
                if seeking.is_none() {
                    self.wish_on(key, next, &batch);
                }
                return self.enter(walk, seeking, batch).map(Entered::On);
            }
            walk.at = (bound, key, next);
            self.wish(&walk, seeking.is_some());
            if std::mem::take(&mut first) {
                self.wish_beside(others);
            }
            if Instant::now() >= self.ask.deadline {
                return Ok(Entered::Late(walk));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Asks for what a walk stands at, and for what follows.
    fn wish(&self, walk: &Walk, seeking: bool) {
        let (_, key, seq) = walk.at;
        let Some(range) = self.ranges.get(&key) else { return };
        let floor = self.shared.dropped(key).map_or(1, |last| last + 1);
        let mut peers = self.shared.for_peers();
        let now = self.shared.moment();
        if seeking {
            return peers.wishes.wish(key, seq, seq, now);
        }
        if self.asc() {
            return peers.wishes.wish(key, seq, range.high.max(seq), now);
        }
        // Where no batch is known to end there, it may end above.
        if seq + 1 < floor && peers.borrowed.holding(key, seq + 1).is_none() {
            peers.wishes.wish(key, seq, seq, now);
        }
        let from = range.low.min(seq);
        peers.wishes.add(Wish { log: key, from, to: seq, newest_first: true }, now);
    }

    /// Asks for what follows a batch, while that is being read.
    fn wish_on(&self, key: LogKey, seq: u64, batch: &Loaded) {
        let Some(range) = self.ranges.get(&key) else { return };
        let (first, last) = (batch.header().first, batch.header().last());
        let direction = self.ask.direction;
        let next = if self.asc() { last + 1 } else { first.saturating_sub(1) };
        // What is stored behind the seam nobody has to lend.
        let Ok(stored) = self.shared.find(key, next, direction) else { return };
        let stored = stored.map(|(.., stored)| stored);
        let wish = if self.asc() {
            let to = stored.map_or(range.high, |stored| range.high.min(stored.first.saturating_sub(1)));
            Wish { log: key, from: next, to, newest_first: false }
        } else {
            let from = stored.map_or(range.low, |stored| range.low.max(stored.last.saturating_add(1)));
            Wish { log: key, from, to: next, newest_first: true }
        };
        let (now, mut peers) = (self.shared.moment(), self.shared.for_peers());
        peers.wishes.go_on(seq, wish, now);
    }

    /// Asks for what other walks stand at too: which goes on first is known once all have it.
    fn wish_beside(&self, others: &BinaryHeap<Walk>) {
        let mut lent: Vec<&Walk> = others.iter().filter(|walk| walk.is_lent()).collect();
        lent.sort_unstable_by(|one, other| other.cmp(one));
        let now = self.shared.moment();
        let mut peers = self.shared.for_peers();
        for (_, key, seq) in lent.into_iter().take(BESIDE).map(|walk| walk.at) {
            if peers.borrowed.holding(key, seq).is_none() {
                peers.wishes.wish(key, seq, seq, now);
            }
        }
    }

    /// Stands at the batch that a peer lent, unless the range of times begins elsewhere.
    fn enter(&mut self, walk: Walk, seeking: Option<Halves>, batch: Arc<Loaded>) -> io::Result<Option<Walk>> {
        let (_, key, seq) = walk.at;
        if let Some(mut halves) = seeking {
            halves.saw(&batch);
            return self.seek_on(walk, halves);
        }
        if let Some(halves) = self.halves(key, &batch) {
            return self.seek_on(walk, halves);
        }
        let index = usize::try_from(seq - batch.header().first).unwrap_or(usize::MAX);
        self.settle(walk, batch, index)
    }

    /// Where to look for the beginning of the range of times, if a batch lies before it as a whole.
    fn halves(&self, key: LogKey, batch: &Loaded) -> Option<Halves> {
        let (range, header) = (self.ranges.get(&key)?, batch.header());
        match self.ask.direction {
            Direction::Asc => {
                let since = self.ask.since.filter(|since| header.time_last < *since)?;
                let next = self.shared.find(key, header.last() + 1, Direction::Asc).ok()?;
                let end = next.map_or(range.high, |(.., stored)| range.high.min(stored.first - 1));
                Some(Halves::new(since, header.last() + 1, end.max(header.last()) + 1))
            }
            Direction::Desc => {
                let until = self.ask.until.filter(|until| header.time_first >= *until)?;
                Some(Halves::new(until, range.low.min(header.first), header.first))
            }
        }
    }

    /// Looks on for where the range of times begins, or goes on from there.
    fn seek_on(&mut self, mut walk: Walk, halves: Halves) -> io::Result<Option<Walk>> {
        let (bound, key, _) = walk.at;
        match halves.probe() {
            Some(probe) => {
                walk.at = (bound, key, probe);
                walk.lies = Lies::Lent(Some(halves));
                Ok(Some(walk))
            }
            None if self.asc() => self.go(key, halves.low, bound),
            None => self.go(key, halves.newer.saturating_sub(1), bound),
        }
    }
}
