//! Who is asked whether records are held elsewhere, while their publishers wait: three at a time, and another for each who is
//! silent, says no or goes. One who holds them is enough, whoever was asked beside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anode_shared::ids::Origin;

use super::dice::Dice;

/// How many are asked for the same at once.
pub const ASKED: usize = 3;
/// How long one may be silent before another is asked beside it: longer than a busy disk takes to sync, and short enough that
/// several threes have their turn before a publisher has its answer.
const SILENT: Duration = Duration::from_secs(2);
/// How long one who was silent is asked after all others.
const DOUBTED: Duration = Duration::from_secs(60);
/// How long one who said no, or could not be asked, is left alone: it may have what it lacked by then.
const AGAIN: Duration = Duration::from_secs(1);
/// For how much one may be asked at once; what is more is not held elsewhere, as far as its publisher is told.
const MOST: usize = 4_096;

/// One range that somebody waits for.
#[derive(Debug, Default)]
struct Watch {
    /// Who was asked and has not answered, and when.
    asked: BTreeMap<Origin, Instant>,
    /// Until when those are left alone who did not say yes.
    resting: BTreeMap<Origin, Instant>,
}

/// All questions whether something is held.
#[derive(Debug)]
pub struct Witnesses {
    dice: Dice,
    watches: BTreeMap<u64, Watch>,
    last: u64,
    /// Since when those are doubted who were silent.
    silent: BTreeMap<Origin, Instant>,
}

impl Witnesses {
    /// Nobody waits; a seed spreads the questions.
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), watches: BTreeMap::new(), last: 0, silent: BTreeMap::new() }
    }

    /// Somebody waits for a range; gives its number, unless too many wait.
    pub fn begin(&mut self) -> Option<u64> {
        (self.watches.len() < MOST).then(|| {
            self.last += 1;
            self.watches.insert(self.last, Watch::default());
            self.last
        })
    }

    /// Nobody waits for a range any more.
    pub fn end(&mut self, number: u64) {
        self.watches.remove(&number);
    }

    /// Who of those that are there is to be asked now for a range.
    pub fn ask(&mut self, number: u64, there: &BTreeSet<Origin>, now: Instant) -> Vec<Origin> {
        let Some(watch) = self.watches.get_mut(&number) else { return Vec::new() };
        watch.resting.retain(|_, until| *until > now);
        watch.asked.retain(|peer, _| there.contains(peer));
        self.silent.retain(|_, since| *since + DOUBTED > now);
        let late = watch.asked.iter().filter(|(_, sent)| **sent + SILENT <= now).map(|(peer, _)| *peer);
        let late: Vec<Origin> = late.collect();
        for peer in &late {
            self.silent.entry(*peer).or_insert(now);
        }
        let wanted = ASKED.saturating_sub(watch.asked.len() - late.len());
        let free = |peer: &&Origin| !watch.asked.contains_key(peer) && !watch.resting.contains_key(peer);
        let mut free: Vec<(bool, u64, Origin)> = there
            .iter()
            .filter(free)
            .map(|peer| (self.silent.contains_key(peer), self.dice.roll(), *peer))
            .collect();
        free.sort_unstable();
        let asked: Vec<Origin> = free.into_iter().take(wanted).map(|(.., peer)| peer).collect();
        watch.asked.extend(asked.iter().map(|peer| (*peer, now)));
        asked
    }

    /// A peer answered that it does not hold a range, or could not be asked.
    pub fn failed(&mut self, number: u64, peer: Origin, now: Instant) {
        if let Some(watch) = self.watches.get_mut(&number) {
            watch.asked.remove(&peer);
            watch.resting.insert(peer, now + AGAIN);
        }
    }

    /// A peer holds a range: nobody else is asked.
    pub fn held(&mut self, number: u64, peer: Origin) {
        self.silent.remove(&peer);
        self.end(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(n: u8) -> Origin {
        Origin([n; 32])
    }

    fn mesh(count: u8) -> BTreeSet<Origin> {
        (1..=count).map(who).collect()
    }

    /// When a range counts as held among peers of whom some answer after so long, and some never.
    fn held_after(
        seed: u64,
        there: &BTreeSet<Origin>,
        answers: impl Fn(Origin) -> Option<u64>,
    ) -> Option<u64> {
        let start = Instant::now();
        let mut witnesses = Witnesses::new(seed);
        let number = witnesses.begin().unwrap();
        let mut asked: BTreeMap<Origin, u64> = BTreeMap::new();
        for millis in (0..10_000).step_by(50) {
            let now = start + Duration::from_millis(millis);
            for peer in witnesses.ask(number, there, now) {
                assert!(
                    asked.insert(peer, millis).is_none(),
                    "{peer} is asked again though it has not answered"
                );
            }
            let on_time = asked.values().filter(|sent| **sent + 2_000 > millis).count();
            assert!(on_time <= ASKED, "{on_time} are asked at once");
            if asked.iter().any(|(peer, sent)| answers(*peer).is_some_and(|after| sent + after <= millis)) {
                return Some(millis);
            }
        }
        None
    }

    #[test]
    fn it_asks_others_where_those_who_were_asked_are_silent() {
        for seed in 0..200 {
            for (silent, most) in [(0, 50), (2, 50), (3, 2_050), (6, 4_050), (9, 6_050)] {
                let answers = |peer: Origin| (peer > who(silent)).then_some(50);
                let after = held_after(seed, &mesh(12), answers);
                assert!(after.is_some_and(|after| after <= most), "seed {seed}, {silent} silent: {after:?}");
            }
            assert_eq!(held_after(seed, &mesh(12), |_| None), None, "nobody holds it");
            let slow = held_after(seed, &mesh(3), |_| Some(5_000));
            assert_eq!(slow, Some(5_000), "who is slow counts all the same");
        }
    }

    #[test]
    fn it_doubts_who_was_silent() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut witnesses = Witnesses::new(1);
        let first = witnesses.begin().unwrap();
        let silent = witnesses.ask(first, &mesh(3), at(0));
        assert_eq!(silent.len(), ASKED);
        assert!(witnesses.ask(first, &mesh(6), at(1_950)).is_empty());
        assert_eq!(witnesses.ask(first, &mesh(6), at(2_000)).len(), ASKED);
        for (millis, doubted) in [(2_000, true), (61_950, true), (62_000, false)] {
            let differ = (0..50).any(|_| {
                let number = witnesses.begin().unwrap();
                let asked = witnesses.ask(number, &mesh(6), at(millis));
                witnesses.end(number);
                asked.iter().any(|peer| silent.contains(peer))
            });
            assert_eq!(differ, !doubted, "after {millis} ms");
        }
    }

    #[test]
    fn it_asks_another_for_one_who_says_no_or_goes() {
        let start = Instant::now();
        let mut witnesses = Witnesses::new(1);
        let number = witnesses.begin().unwrap();
        let asked = witnesses.ask(number, &mesh(4), start);
        witnesses.failed(number, asked[0], start);
        let next = witnesses.ask(number, &mesh(4), start);
        assert!(next.len() == 1 && !asked.contains(&next[0]), "{next:?}");
        let without: BTreeSet<Origin> = mesh(5).into_iter().filter(|peer| *peer != next[0]).collect();
        assert_eq!(witnesses.ask(number, &without, start), [who(5)], "one is gone");
        // Who said no may have it later.
        witnesses.failed(number, who(5), start);
        assert_eq!(witnesses.ask(number, &without, start + AGAIN).len(), 1);
        witnesses.end(number);
        assert!(witnesses.ask(number, &mesh(9), start + AGAIN).is_empty());
    }

    #[test]
    fn it_bounds_how_many_wait() {
        let mut witnesses = Witnesses::new(1);
        assert_eq!((0..2 * MOST).filter_map(|_| witnesses.begin()).count(), MOST);
        witnesses.end(1);
        assert!(witnesses.begin().is_some());
    }
}
