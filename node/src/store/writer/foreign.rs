//! Batches of other origins: taken, compared with what is held, and jumped over where they stay away.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anode_shared::batch::Header;
use anode_shared::codec;
use anode_shared::ids::{Hash, LogKey};

use super::Writer;
use crate::store::acceptance::{self, Verdict};
use crate::store::entry::Kind;
use crate::store::loaded::Loaded;
use crate::store::order::{Fit, Piece, Place};
use crate::store::peers::signed_header;
use crate::store::replay::{self, ForkEntry, JumpEntry, LostEntry};
use crate::store::shared::Refused;

/// The most batches of a log that wait behind what is from the future, which may be for years.
const MOST_BEHIND_EARLY: usize = 64;

fn hash_of(batch: &Loaded) -> Hash {
    Header::hash(&batch.bytes()[batch.layout().header_bytes.clone()])
}

impl Writer {
    /// Takes a batch of another origin.
    pub(super) fn accept(&mut self, batch: &Arc<Loaded>) -> Verdict {
        let (key, header) = (batch.key(), batch.header());
        let piece =
            replay::piece_of(batch.layout(), batch.bytes(), Place { segment: 0, offset: 0, length: 0 });
        if let Some(due) = acceptance::due(header, (self.shared.options.clock)()) {
            self.shared.early().set_aside(key, piece.first, piece.last, due);
            return Verdict::Early { due };
        }
        let fit = self.shared.order().fit(key, (header.shard_bits, header.shard), &piece);
        if self.own.is_open(key) && matches!(fit, Fit::Next | Fit::Ahead) {
            // Another node writes with this node's key (a copied data directory): this one goes on in a new log.
            let _ = self.write_open();
            self.own.close(key);
            return self.accept(batch);
        }
        match self.is_crowded(key, fit, &piece) {
            Ok(false) => {}
            Ok(true) => {
                self.shared.counters.crowded.fetch_add(1, Ordering::Relaxed);
                return Verdict::Crowded;
            }
            Err(refused) => return Verdict::Unable(refused),
        }
        let written = match fit {
            Fit::Next => self.appender.batch(Kind::Batch, batch),
            Fit::Ahead => self.ahead(key, piece.first, batch),
            Fit::Late if header.time_last < self.shared.squeezed.load(Ordering::Relaxed) => {
                // It would go again at once, and so would all that is older.
                self.raise_floor(key, piece.last + 1);
                return Verdict::Old;
            }
            Fit::Late => self.appender.late(batch),
            Fit::Old => return Verdict::Old,
            Fit::Ended => return Verdict::Ended,
            Fit::Held(seq) | Fit::Fork(seq) => return self.compare(key, seq, &piece, batch),
        };
        match written {
            Ok(()) => {
                self.shared.counters.foreign_batches.fetch_add(1, Ordering::Relaxed);
                self.check_chain(key, batch);
                Verdict::Taken
            }
            Err(refused) => Verdict::Unable(refused),
        }
    }

    /// Whether there is no room for a batch: its log would have too many holes, or it would begin one log too many.
    fn is_crowded(&mut self, key: LogKey, fit: Fit, piece: &Piece) -> Result<bool, Refused> {
        let (known, tears) = {
            let order = self.shared.order();
            (order.logs.contains_key(&key), order.tears(key, piece))
        };
        match fit {
            Fit::Next | Fit::Ahead if !known => Ok(!self.has_room_for(key)?),
            Fit::Ahead | Fit::Late => Ok(tears),
            Fit::Next | Fit::Held(_) | Fit::Old | Fit::Fork(_) | Fit::Ended => Ok(false),
        }
    }

    /// Takes a batch whose predecessor is missing. A log that is met for the first time begins with it at once: what comes
    /// before is as old as it may be, and is no part of the arrival order here.
    fn ahead(&mut self, key: LogKey, first: u64, batch: &Arc<Loaded>) -> Result<(), Refused> {
        let met = self.shared.order().logs.get(&key).is_some_and(|log| log.head > 0);
        let clock = (self.shared.options.clock)();
        if met || self.shared.early().covers(key, 1, first - 1, clock) {
            self.appender.batch(Kind::Waiting, batch)?;
            let waiting = self.shared.order().waiting(key);
            self.waits.add(key, first, waiting, self.shared.moment());
            return Ok(());
        }
        self.appender.jump(&JumpEntry { key, from: 1, to: first - 1 })?;
        self.shared.counters.jumps.fetch_add(1, Ordering::Relaxed);
        self.appender.batch(Kind::Batch, batch)
    }

    /// Compares a batch with what is held at `seq`: the same, or the proof of a fork.
    fn compare(&mut self, key: LogKey, seq: u64, piece: &Piece, batch: &Arc<Loaded>) -> Verdict {
        let Some(held) = self.shared.holding(key, seq) else { return Verdict::Old };
        let other = replay::piece_of(held.layout(), held.bytes(), piece.place);
        if other.hash == piece.hash {
            return Verdict::Held;
        }
        self.fork(key, &held, batch);
        Verdict::Forked
    }

    /// Looks whether what waited contradicts the batch that came before it.
    fn check_chain(&mut self, key: LogKey, batch: &Arc<Loaded>) {
        let Some(broken) = self.shared.order().broken(key) else { return };
        if let Ok(other) = self.shared.load(broken.place) {
            let before = self.shared.holding(key, broken.first - 1).unwrap_or_else(|| batch.clone());
            self.fork(key, &before, &other);
        }
    }

    /// Ends a log that two headers contradict, before the earlier of them.
    fn fork(&mut self, key: LogKey, one: &Loaded, other: &Loaded) {
        let end = one.header().first.min(other.header().first);
        self.end_forked(ForkEntry { key, end, proof: vec![signed_header(one), signed_header(other)] });
    }

    /// Ends a log where a proof says, unless an earlier one did. Where nothing of the log is known there is nothing to end: the
    /// proof is asked for again once there is.
    pub(super) fn end_forked(&mut self, fork: ForkEntry) {
        let (key, end) = (fork.key, fork.end);
        let known = self.shared.order().logs.get(&key).map(|log| log.forked);
        let news = known.is_some_and(|known| known.is_none_or(|known| end < known));
        if !news || self.appender.append(Kind::Fork, 0, &codec::encode(&fork)).is_err() {
            return;
        }
        tracing::warn!(log = %key, end, "A log forked: its origin signed two versions");
        self.shared.order().take_fork(key, end);
        self.shared.for_peers().touch(key);
        if self.shared.forks().keep(fork) {
            self.shared.counters.forks_forgotten.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.counters.forks.fetch_add(1, Ordering::Relaxed);
        self.own.close(key);
    }

    /// Takes what could not be read for missing, so that it is asked for again.
    pub(super) fn lose_damaged(&mut self) {
        let reported = self.shared.lost().take();
        for (key, from, to) in reported {
            let (floor, head) =
                self.shared.order().logs.get(&key).map_or((1, 0), |log| (log.floor, log.head));
            let holes = self.shared.not_stored(key, from.max(floor), to.min(head)).unwrap_or_default();
            for (from, to) in holes {
                let Ok((from, to)) = self.shared.whole_hole(key, (from, to), (floor, head)) else { continue };
                let held = |seq| self.shared.holding(key, seq);
                let before = from.checked_sub(1).and_then(held).map(|batch| hash_of(&batch));
                let behind = held(to + 1).filter(|batch| batch.header().first == to + 1);
                let after = behind.map(|batch| batch.header().previous);
                let lost = LostEntry { key, from, to, before, after };
                if self.shared.order().lose(key, (from, to), before, after) {
                    tracing::error!(log = %key, from, to, "What was damaged is missing now");
                    self.shared.for_peers().touch(key);
                    let _ = self.appender.append(Kind::Lost, 0, &codec::encode(&lost));
                }
            }
        }
    }

    /// Goes on without what has been missing for too long, in each log without all that is due.
    pub(super) fn jump_over_holes(&mut self) {
        let mut due = self.waits.take(self.shared.options.jump_after, self.shared.moment()).into_iter();
        while let Some((key, below)) = due.next() {
            if self.jump_below(key, below).is_err() {
                // The disk is full, or failed.
                std::iter::once((key, below)).chain(due).for_each(|(key, below)| self.waits.put(key, below));
                return;
            }
        }
    }

    fn jump_below(&mut self, key: LogKey, below: u64) -> Result<(), Refused> {
        let clock = (self.shared.options.clock)();
        loop {
            let (hole, waiting) = {
                let order = self.shared.order();
                (order.hole(key).filter(|(_, to)| *to < below), order.waiting(key))
            };
            let Some((from, to)) = hole else { return Ok(()) };
            if waiting <= MOST_BEHIND_EARLY && self.shared.early().covers(key, from, to, clock) {
                self.waits.add(key, below, waiting, self.shared.moment());
                return Ok(());
            }
            self.appender.jump(&JumpEntry { key, from, to })?;
            self.shared.counters.jumps.fetch_add(1, Ordering::Relaxed);
        }
    }
}
