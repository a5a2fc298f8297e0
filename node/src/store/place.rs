//! The pure part of a reader: its position, what it is owed, and what that makes of each arrival.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anode_shared::cursor::{Cursor, Marks, Seen, Shard};
use anode_shared::ids::{LogId, LogKey};

use super::order::{Arrival, Heads, What};

/// From how many logs that are in the archive only a reader is lent at once: those that follow have their turn later.
const MOST_LENT: usize = 4;

/// A log that a reader does not stand at the head of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owed {
    /// The reader's own next seq. Beyond `upto + 1` where its cursor is ahead of this node.
    next: u64,
    /// The log's head at the reader's position.
    upto: u64,
    /// Waits for what is missing.
    waits: Option<Waits>,
    /// Whether `upto` is what the archive has, beyond what this node's order had at the reader's position.
    beyond: bool,
}

/// How a missing range is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waits {
    since: Instant,
    look: Instant,
    /// Whether somebody is to lend it; else repair is to bring it.
    lent: bool,
}

/// What to do with an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// Nothing: it was seen, or is read by seq later.
    Nothing,
    /// Hand it on from this seq.
    From(u64),
}

/// What a reader should read by seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// This log.
    Read(LogKey),
    /// No log before this moment: all wait. `lent` says whether for what somebody is to lend, so that stored records have not ended.
    Wait { look: Instant, lent: bool },
    /// No log.
    Nothing,
}

/// Says of which shard a log is.
pub(crate) type ShardOf<'a> = &'a dyn Fn(LogKey) -> Shard;

/// A reader's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of the next arrival to pass.
    pub(crate) position: u64,
    owed: BTreeMap<LogKey, Owed>,
    /// Logs of which nothing was left when it came, and its own next seq: no word of them unless more comes.
    silent: BTreeMap<LogKey, u64>,
    /// The cursor with which it came.
    came: Cursor,
}

impl Place {
    /// A reader that came with a cursor to a node that stands at `position` with these heads. `kept` says whether
    /// anything of a log is retained.
    pub(crate) fn attach(
        came: Cursor,
        position: u64,
        heads: &Heads,
        kept: &dyn Fn(LogKey) -> bool,
        shard: ShardOf<'_>,
    ) -> Self {
        let (mut owed, mut silent) = (BTreeMap::new(), BTreeMap::new());
        let named: BTreeMap<LogKey, u64> = came.logs().collect();
        for (key, head) in heads {
            let Seen::UpTo(seq) = came.seen(*key, shard(*key)) else { continue };
            if !named.contains_key(key) && !kept(*key) {
                silent.insert(*key, seq.saturating_add(1));
            } else if seq != *head {
                owed.insert(
                    *key,
                    Owed { next: seq.saturating_add(1), upto: *head, waits: None, beyond: false },
                );
            }
        }
        for (key, seq) in named {
            if !heads.contains_key(&key) {
                owed.insert(key, Owed { next: seq.saturating_add(1), upto: 0, waits: None, beyond: false });
            }
        }
        Self { position, owed, silent, came }
    }

    /// The archive has more of these logs than the heads with which it was attached.
    pub(crate) fn reach_beyond(&mut self, archived: impl Iterator<Item = (LogKey, u64)>, shard: ShardOf<'_>) {
        for (key, upto) in archived {
            match self.came.seen(key, shard(key)) {
                Seen::UpTo(seq) if seq < upto => {
                    self.silent.remove(&key);
                    self.owed.insert(key, Owed { next: seq + 1, upto, waits: None, beyond: true });
                }
                Seen::UpTo(_) | Seen::Done | Seen::FromHead => {}
            }
        }
    }

    /// Passes the arrival at its position.
    pub(crate) fn pass(&mut self, arrival: &Arrival, shard: ShardOf<'_>) -> Take {
        self.position += 1;
        let Arrival { key, first, last, what } = *arrival;
        if self.came.is_done(key, || shard(key)) || last < first {
            return Take::Nothing;
        }
        if what == What::Late {
            // Perhaps it is what this reader waits for.
            if let Some(waits) = self.owed.get_mut(&key) {
                waits.waits = None;
            }
            return Take::Nothing;
        }
        if let Some(next) = self.silent.remove(&key) {
            self.owe(key, next, last);
            return Take::Nothing;
        }
        let next = match self.owed.get_mut(&key) {
            Some(owed) if owed.next <= owed.upto || last < owed.next => {
                owed.upto = owed.upto.max(last);
                let met = owed.next == owed.upto + 1;
                if met {
                    self.owed.remove(&key);
                }
                return Take::Nothing;
            }
            Some(owed) => owed.next,
            None => first,
        };
        self.owed.remove(&key);
        match what {
            What::Batch(_) => Take::From(next),
            // A reader that never heard of the log's origin counts from the head first heard.
            What::Jump if first == 1 && self.came.seen(key, shard(key)) == Seen::FromHead => Take::Nothing,
            _ => {
                self.owe(key, next, last);
                Take::Nothing
            }
        }
    }

    /// Owes a range that the position has passed.
    pub(crate) fn owe(&mut self, key: LogKey, next: u64, upto: u64) {
        let owed = self.owed.entry(key).or_insert(Owed { next, upto, waits: None, beyond: false });
        owed.next = owed.next.min(next);
        owed.upto = owed.upto.max(upto);
    }

    /// What to read by seq: older logs first.
    pub(crate) fn behind(&self, now: Instant) -> Behind {
        let (mut waits, mut lending): (Option<Instant>, usize) = (None, 0);
        for (key, owed) in &self.owed {
            if owed.next > owed.upto || owed.beyond && lending >= MOST_LENT && owed.waits.is_none() {
                continue;
            }
            match owed.waits {
                Some(Waits { look, lent, .. }) if look > now => {
                    waits = Some(waits.map_or(look, |known| known.min(look)));
                    lending += usize::from(lent);
                }
                _ => return Behind::Read(*key),
            }
        }
        waits.map_or(Behind::Nothing, |look| Behind::Wait { look, lent: lending > 0 })
    }

    /// How many logs it is behind in.
    pub(crate) fn owed_behind(&self) -> usize {
        self.owed.values().filter(|owed| owed.next <= owed.upto).count()
    }

    /// The range that it is owed of a log.
    pub(crate) fn owed(&self, key: LogKey) -> Option<(u64, u64)> {
        self.owed.get(&key).filter(|owed| owed.next <= owed.upto).map(|owed| (owed.next, owed.upto))
    }

    /// A log was read by seq, up to before `next`.
    pub(crate) fn read(&mut self, key: LogKey, next: u64) {
        let Some(owed) = self.owed.get_mut(&key) else { return };
        if next > owed.next {
            owed.waits = None;
        }
        owed.next = owed.next.max(next);
        if owed.next > owed.upto && owed.beyond {
            // This node's order is still to come to it: what was read is skipped then.
            (owed.upto, owed.beyond) = (0, false);
        } else if owed.next == owed.upto + 1 {
            self.owed.remove(&key);
        }
    }

    /// Waits for what is missing at its next seq, and looks again after `look`, which says too whether it is to be lent. Says no
    /// once nothing came for `patience`.
    pub(crate) fn wait(
        &mut self,
        key: LogKey,
        now: Instant,
        patience: Duration,
        look: (Duration, bool),
    ) -> bool {
        let Some(owed) = self.owed.get_mut(&key) else { return false };
        let since = owed.waits.map_or(now, |waits| waits.since);
        let (look, lent) = look;
        owed.waits = Some(Waits { since, look: now + look, lent });
        now.duration_since(since) < patience
    }

    /// Moves on over arrivals that are not there any more: what they held is owed, log by log.
    pub(crate) fn skip_to(&mut self, position: u64, before: &Heads, after: &Heads, shard: ShardOf<'_>) {
        self.position = position;
        for (key, head) in after {
            let had = before.get(key).copied().unwrap_or(0);
            if *head <= had || self.came.is_done(*key, || shard(*key)) {
                continue;
            }
            match self.owed.get_mut(key) {
                Some(owed) => owed.upto = owed.upto.max(*head),
                None if had == 0 && self.came.seen(*key, shard(*key)) == Seen::FromHead => continue,
                None => {
                    let next = self.silent.remove(key).unwrap_or(had + 1);
                    self.owed.insert(*key, Owed { next, upto: *head, waits: None, beyond: false });
                }
            }
        }
        self.owed.retain(|_, owed| owed.next != owed.upto + 1);
    }

    /// The place as a cursor. `heads` are those at the position; `finished` the logs up to which each shard is done.
    pub(crate) fn cursor(&self, heads: &Heads, finished: &Marks, shard: ShardOf<'_>) -> Cursor {
        let mut cursor = Cursor::new(self.came.since);
        let mut marks = self.came.done_marks();
        for ((origin, of), mark) in finished {
            if !heads.keys().any(|key| key.origin == *origin) {
                continue;
            }
            let open = self.owed.keys().find(|key| key.origin == *origin && shard(**key) == *of);
            let mark = open.map_or(*mark, |open| LogId(open.log.0.saturating_sub(1)).min(*mark));
            let known = marks.entry((*origin, *of)).or_insert(mark);
            *known = mark.max(*known);
        }
        marks
            .into_iter()
            .filter(|(_, mark)| mark.0 > 0)
            .for_each(|((origin, of), mark)| cursor.set_done(origin, of, mark));
        for (key, head) in heads.iter().filter(|(key, _)| !self.silent.contains_key(key)) {
            let seq = self.owed.get(key).map_or(*head, |owed| owed.next.saturating_sub(1));
            cursor.set(*key, shard(*key), seq);
        }
        for (key, owed) in self.owed.iter().filter(|(key, _)| !heads.contains_key(key)) {
            cursor.set(*key, shard(*key), owed.next.saturating_sub(1));
        }
        cursor
    }
}

#[cfg(test)]
mod tests;
