//! Ranges that the order went on without: jumped over, or held once and found damaged; and what fills them.

use std::collections::BTreeMap;

use anode_shared::ids::{Hash, LogKey};
use anode_shared::time::Micros;
use serde::{Deserialize, Serialize};

use super::{Arrival, Fit, Lineage, Log, Order, Piece, What};

/// The most holes that a log may have: as many as some seconds of bad gossip leave before repair fills them. Their number is what
/// a log costs beside its batches, each time that anything of it changes.
pub(crate) const MOST_HOLES: usize = 4_096;

/// A range that the order went on without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Jump {
    pub(crate) to: u64,
    /// The hash of the batch before it, where that is known.
    pub(super) before: Option<Hash>,
    /// What the batch behind it names as its previous.
    pub(super) after: Option<Hash>,
    /// What repair brought since.
    pub(super) pieces: BTreeMap<u64, Piece>,
    /// It was held once, and its bytes were found damaged.
    pub(crate) damaged: bool,
}

impl Jump {
    /// The first missing range at or behind `seq`.
    pub(crate) fn missing(&self, seq: u64) -> Option<(u64, u64)> {
        self.holes(seq).next()
    }

    /// The missing ranges at or behind `seq`, rising.
    pub(crate) fn holes(&self, seq: u64) -> impl Iterator<Item = (u64, u64)> {
        let end = self.to.saturating_add(1);
        let held = self.pieces.values().filter(move |piece| piece.last >= seq);
        let held = held.map(|piece| (piece.first, piece.last + 1)).chain([(end, end)]);
        let holes = held.scan(seq, |next, (first, behind)| {
            let from = std::mem::replace(next, behind.max(*next));
            Some((from, first))
        });
        holes.filter(|(from, first)| from < first).map(|(from, first)| (from, first - 1))
    }

    /// Without what is filled at its ends: where it begins now, unless it is whole. So a jump that is filled from one end
    /// keeps few pieces, however long it is.
    fn trimmed(mut self, from: u64) -> Option<(u64, Self)> {
        let mut from = from;
        while let Some(piece) = self.pieces.remove(&from) {
            from = piece.last + 1;
            self.before = Some(piece.hash);
        }
        while let Some((first, piece)) =
            self.pieces.last_key_value().filter(|(_, piece)| piece.last == self.to)
        {
            (self.to, self.after) = (first - 1, Some(piece.previous));
            self.pieces.pop_last();
        }
        (from <= self.to).then_some((from, self))
    }
}

impl Order {
    /// Takes a batch that fills part of a jump.
    pub(crate) fn take_late(
        &mut self,
        key: LogKey,
        piece: Piece,
        lineage: Lineage,
        when: Micros,
    ) -> Vec<Arrival> {
        self.next += 1;
        let arrivals = vec![Arrival { key, first: piece.first, last: piece.last, what: What::Late }];
        let log = self.log(key);
        log.grew = when;
        log.descend(lineage, piece.first);
        let found = log.jumps.range(..=piece.first).next_back().filter(|(_, jump)| piece.last <= jump.to);
        if let Some(from) = found.map(|(from, _)| *from)
            && let Some(mut jump) = log.jumps.remove(&from)
        {
            jump.pieces.insert(piece.first, piece);
            jump.trimmed(from).into_iter().for_each(|(from, jump)| _ = log.jumps.insert(from, jump));
        }
        arrivals
    }

    /// Goes on without what is missing before the first waiting batch of the log.
    pub(crate) fn take_jump(&mut self, key: LogKey, to: u64) -> Vec<Arrival> {
        let log = self.log(key);
        let first = log.head + 1;
        let mut arrivals = vec![Arrival { key, first, last: to, what: What::Jump }];
        let after = log.waiting.get(&(to + 1)).map(|piece| piece.previous);
        let before = log.head_hash;
        log.jumps.insert(first, Jump { to, before, after, pieces: BTreeMap::new(), damaged: false });
        log.head = to;
        log.head_hash = None;
        self.follow(key, &mut arrivals);
        self.next += arrivals.len() as u64;
        arrivals
    }

    /// Passes a range whose bytes were found damaged. Its number is one that the order has passed already.
    pub(crate) fn take_damage(&mut self, key: LogKey, to: u64) -> Arrival {
        let log = self.log(key);
        let first = log.head + 1;
        log.waiting = log.waiting.split_off(&(to + 1));
        let after = log.waiting.get(&(to + 1)).map(|piece| piece.previous);
        let lost = Jump { to, before: log.head_hash, after, pieces: BTreeMap::new(), damaged: true };
        if to >= log.floor {
            log.jumps.insert(first, lost);
        }
        log.head = to;
        log.head_hash = None;
        Arrival { key, first, last: to, what: What::Damage }
    }

    /// Takes a range for missing that was held and is damaged: repair may fill it like one that was jumped over. `before` and
    /// `after` are what its neighbours say of it. Says whether that is news.
    pub(crate) fn lose(
        &mut self,
        key: LogKey,
        range: (u64, u64),
        before: Option<Hash>,
        after: Option<Hash>,
    ) -> bool {
        let Some(log) = self.logs.get_mut(&key) else { return false };
        log.waiting.retain(|_, piece| piece.last < range.0 || piece.first > range.1);
        let (mut next, last, mut news) = (range.0.max(log.floor), range.1.min(log.head), false);
        while next <= last {
            let known = log.jumps.range_mut(..=next).next_back().filter(|(_, jump)| jump.to >= next);
            if let Some((_, jump)) = known {
                let held = jump.pieces.len();
                jump.pieces.retain(|_, piece| piece.last < next || piece.first > last);
                news |= jump.pieces.len() < held;
                next = jump.to + 1;
                continue;
            }
            let to = log.jumps.range(next..=last).next().map_or(last, |(from, _)| from - 1);
            let before = before.filter(|_| next == range.0);
            let after = after.filter(|_| to == range.1);
            log.jumps.insert(next, Jump { to, before, after, pieces: BTreeMap::new(), damaged: true });
            news = true;
            next = to + 1;
        }
        news
    }
}

impl Log {
    /// Whether it has as many holes as it may have.
    pub(super) fn is_torn(&self) -> bool {
        let kept = self.waiting.len() + self.jumps.len();
        let pieces = self.jumps.values().map(|jump| jump.pieces.len()).sum::<usize>();
        // Pieces may lie side by side: their holes are counted where there could be so many.
        kept + pieces >= MOST_HOLES
            && self.jumps.iter().map(|(from, jump)| jump.holes(*from).count()).sum::<usize>()
                + apart(&self.waiting)
                >= MOST_HOLES
    }

    /// Whether nothing that is held lies beside a batch.
    pub(super) fn lies_apart(&self, piece: &Piece) -> bool {
        if piece.first > self.head {
            return piece.first != self.head + 1 && !is_beside(&self.waiting, piece);
        }
        self.jumps.range(..=piece.first).next_back().is_some_and(|(from, jump)| {
            piece.first != *from && piece.last != jump.to && !is_beside(&jump.pieces, piece)
        })
    }
}

/// Whether one of some pieces ends just before a batch, or begins just behind it.
fn is_beside(pieces: &BTreeMap<u64, Piece>, piece: &Piece) -> bool {
    let before = pieces.range(..piece.first).next_back();
    before.is_some_and(|(_, before)| before.last + 1 == piece.first)
        || pieces.contains_key(&piece.last.saturating_add(1))
}

/// How many of some pieces do not begin where one ends.
fn apart(pieces: &BTreeMap<u64, Piece>) -> usize {
    let ends = std::iter::once(0).chain(pieces.values().map(|piece| piece.last + 1));
    pieces.keys().zip(ends).filter(|(first, end)| *first != end).count()
}

/// A piece that holds some of the same seqs: its first.
pub(super) fn overlap(pieces: &BTreeMap<u64, Piece>, piece: &Piece) -> Option<u64> {
    pieces
        .range(..=piece.last)
        .next_back()
        .filter(|(_, other)| other.last >= piece.first)
        .map(|(first, _)| *first)
}

pub(super) fn fit_late(from: u64, jump: &Jump, piece: &Piece) -> Fit {
    if let Some(first) = overlap(&jump.pieces, piece) {
        return Fit::Held(first);
    }
    let before = if piece.first == from {
        jump.before
    } else {
        let other = jump.pieces.range(..piece.first).next_back().map(|(_, other)| other);
        other.filter(|other| other.last + 1 == piece.first).map(|other| other.hash)
    };
    if before.is_some_and(|hash| hash != piece.previous) {
        return Fit::Fork(piece.first - 1);
    }
    let after = if piece.last == jump.to {
        jump.after
    } else {
        jump.pieces.get(&(piece.last + 1)).map(|other| other.previous)
    };
    if after.is_some_and(|hash| hash != piece.hash) { Fit::Fork(piece.last + 1) } else { Fit::Late }
}
