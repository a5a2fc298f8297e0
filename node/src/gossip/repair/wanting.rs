//! Logs of which something may be wanted, and which of them are looked at now: some at a time, however many peers claim there are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use anode_shared::ids::{LogKey, Origin};

/// How many logs of each kind are looked at at once; of more, others the next time. With twenty peers a few milliseconds.
const LOOKS: usize = 256;

/// Logs that are looked at in turn, the newest first.
#[derive(Debug, Default)]
pub(super) struct Round {
    all: BTreeSet<LogKey>,
    /// The last one that was looked at.
    last: Option<LogKey>,
}

impl Round {
    pub(super) fn add(&mut self, key: LogKey) {
        self.all.insert(key);
    }

    pub(super) fn remove(&mut self, key: LogKey) {
        self.all.remove(&key);
    }

    /// Takes all out; the turn stays.
    pub(super) fn clear(&mut self) -> BTreeSet<LogKey> {
        std::mem::take(&mut self.all)
    }

    /// Those whose turn it is.
    pub(super) fn turn(&mut self) -> Vec<LogKey> {
        self.some(LOOKS)
    }

    fn some(&mut self, most: usize) -> Vec<LogKey> {
        if self.all.len() <= most {
            return self.all.iter().copied().collect();
        }
        let (before, behind) = match self.last {
            Some(last) => (self.all.range(..last), self.all.range(last..)),
            None => (self.all.range(..), self.all.range(..)),
        };
        let some: Vec<LogKey> = before.rev().chain(behind.rev()).take(most).copied().collect();
        self.last = some.last().copied();
        some
    }
}

/// What may be wanted.
#[derive(Debug, Default)]
pub(super) struct Wanting {
    /// Of logs that the store holds.
    held: Round,
    /// Of logs that it does not hold, by who brought them: they take no turn of the others, nor one of another's.
    brought: BTreeMap<Origin, Round>,
    of: BTreeMap<LogKey, Option<Origin>>,
    /// Behind whom the next turn begins.
    first: Option<Origin>,
}

impl Wanting {
    /// Adds a log, with who brought it where the store does not hold it.
    pub(super) fn add(&mut self, key: LogKey, bringer: Option<Origin>) {
        if self.of.get(&key) == Some(&bringer) {
            return;
        }
        self.remove(key);
        self.of.insert(key, bringer);
        match bringer {
            None => self.held.add(key),
            Some(bringer) => self.brought.entry(bringer).or_default().add(key),
        }
    }

    pub(super) fn remove(&mut self, key: LogKey) {
        match self.of.remove(&key) {
            None => {}
            Some(None) => self.held.remove(key),
            Some(Some(bringer)) => {
                let Some(round) = self.brought.get_mut(&bringer) else { return };
                round.remove(key);
                if round.all.is_empty() {
                    self.brought.remove(&bringer);
                }
            }
        }
    }

    /// Whether a log is among them.
    pub(super) fn has(&self, key: LogKey) -> bool {
        self.of.contains_key(&key)
    }

    /// Those whose turn it is.
    pub(super) fn turn(&mut self) -> Vec<LogKey> {
        [self.held.turn(), self.turn_of_brought()].concat()
    }

    /// Of each who brought logs some, and then as many as there is room for.
    fn turn_of_brought(&mut self) -> Vec<LogKey> {
        let behind = (self.first.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let upto = (Bound::Unbounded, self.first.map_or(Bound::Unbounded, Bound::Included));
        let mut order: Vec<Origin> = self.brought.range(behind).map(|(origin, _)| *origin).collect();
        if self.first.is_some() {
            order.extend(self.brought.range(upto).map(|(origin, _)| *origin));
        }
        // Where not all have a turn the others have the next one.
        let served = if order.len() > LOOKS { LOOKS } else { 1 };
        self.first = order.get(served - 1).copied();
        let share = (LOOKS / order.len().max(1)).max(1);
        let mut keys = Vec::new();
        for most in [share, LOOKS] {
            for origin in &order {
                let room = LOOKS.saturating_sub(keys.len()).min(most);
                let Some(round) = self.brought.get_mut(origin) else { continue };
                // Where all had their turn there is nothing to add.
                if room > 0 && (most == share || round.all.len() > share) {
                    keys.extend(round.some(room));
                }
            }
        }
        keys
    }

    /// Some of them, always the same as long as nothing changes.
    pub(super) fn sample(&self) -> Vec<LogKey> {
        let some = |round: &Round| round.all.iter().rev().take(LOOKS).copied().collect::<Vec<_>>();
        let brought = self.of.iter().rev().filter(|(_, bringer)| bringer.is_some()).map(|(key, _)| *key);
        some(&self.held).into_iter().chain(brought.take(LOOKS)).collect()
    }
}

#[cfg(test)]
mod tests {
    use anode_shared::ids::LogId;

    use super::*;

    fn who(n: u8) -> Origin {
        Origin([n; 32])
    }

    fn key(n: usize) -> LogKey {
        LogKey { log: LogId(n as u64), origin: who(1) }
    }

    #[test]
    fn it_looks_at_all_in_turn_the_newest_first() {
        for (count, turns) in [(0, 1), (LOOKS, 1), (LOOKS + 1, 2), (5 * LOOKS - 1, 5)] {
            let mut round = Round::default();
            (0..count).for_each(|n| round.add(key(n)));
            let first = round.turn();
            assert_eq!(first.contains(&key(count.wrapping_sub(1))), count > 0);
            let mut seen: BTreeSet<LogKey> = first.into_iter().collect();
            for _ in 1..turns {
                let turn = round.turn();
                assert_eq!(turn.len(), LOOKS);
                seen.extend(turn);
            }
            assert_eq!(seen, round.all, "{count}");
        }
    }

    #[test]
    fn it_lets_nobody_take_the_turn_of_others() {
        let mut wanting = Wanting::default();
        (0..100 * LOOKS).for_each(|n| wanting.add(key(1_000 + n), Some(who(1))));
        wanting.add(key(3), None);
        wanting.add(key(4), Some(who(2)));
        for _ in 0..3 {
            let turn = wanting.turn();
            assert!(turn.len() <= LOOKS + 1 && turn.len() >= LOOKS, "{}", turn.len());
            assert!(turn.contains(&key(3)) && turn.contains(&key(4)));
        }
        wanting.add(key(4), None);
        wanting.remove(key(3));
        let turn = wanting.turn();
        assert!(!turn.contains(&key(3)) && turn.contains(&key(4)) && !wanting.has(key(3)));
        assert_eq!(wanting.brought.len(), 1);
    }

    #[test]
    fn it_gives_each_of_many_a_turn() {
        let mut wanting = Wanting::default();
        let many = |n: usize| {
            let mut bytes = [7; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            Origin(bytes)
        };
        (0..4 * LOOKS).for_each(|n| wanting.add(key(n), Some(many(n))));
        let mut seen = BTreeSet::new();
        (0..4).for_each(|_| seen.extend(wanting.turn()));
        assert_eq!(seen.len(), 4 * LOOKS);
    }
}
