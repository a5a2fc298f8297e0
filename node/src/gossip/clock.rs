//! Whose clock is wrong: each peer's offset from its beacons, and their median.

use std::collections::{BTreeMap, VecDeque};

use anode_shared::ids::Origin;
use anode_shared::time::Micros;

/// How far off its peers' median a clock may be: above what delays and hand-set clocks bring, below what harms retention.
const MOST_OFF: i64 = 5_000_000;
/// How many beacons of a peer count. Their greatest offset does, for delays on the way only make it less; and a clock that was
/// set is believed after so many beacons.
const SAMPLES: usize = 4;
/// How many peers count.
const MOST_PEERS: usize = 4_096;

/// Offsets of the peers' clocks from ours.
#[derive(Debug, Default)]
pub struct Clock {
    offsets: BTreeMap<Origin, Offsets>,
}

/// What one peer's clock showed.
#[derive(Debug, Default)]
struct Offsets {
    samples: VecDeque<i64>,
    /// Whether the median is made of it too.
    counts: bool,
}

impl Clock {
    /// A peer said that it is `theirs` while our clock said `ours`. Only peers that are linked count for the median: of those that
    /// are not, somebody may make up any number.
    pub fn heard(&mut self, peer: Origin, theirs: Micros, ours: Micros, linked: bool) {
        if self.offsets.len() >= MOST_PEERS && !self.offsets.contains_key(&peer) {
            return;
        }
        let offset = i64::try_from(i128::from(theirs) - i128::from(ours)).unwrap_or(i64::MAX);
        let offsets = self.offsets.entry(peer).or_default();
        offsets.counts = linked;
        if offsets.samples.len() >= SAMPLES {
            offsets.samples.pop_front();
        }
        offsets.samples.push_back(offset);
    }

    /// A peer is gone: its clock does not count.
    pub fn forget(&mut self, peer: Origin) {
        self.offsets.remove(&peer);
    }

    /// How far a peer's clock is ahead of ours, microseconds.
    pub fn offset(&self, peer: Origin) -> Option<i64> {
        self.offsets.get(&peer)?.samples.iter().max().copied()
    }

    /// How far the peers' clocks are ahead of ours, microseconds: the median, of an even number the one nearer to ours.
    pub fn median(&self) -> i64 {
        let counting = self.offsets.values().filter(|offsets| offsets.counts);
        let mut all: Vec<i64> =
            counting.filter_map(|offsets| offsets.samples.iter().max().copied()).collect();
        all.sort_unstable();
        match all.len() {
            0 => 0,
            count if count % 2 == 1 => all[count / 2],
            count => {
                let (low, high) = (all[count / 2 - 1], all[count / 2]);
                if low.unsigned_abs() < high.unsigned_abs() { low } else { high }
            }
        }
    }

    /// Whether our clock is too far off to be trusted.
    pub fn is_off(&self) -> bool {
        self.median().saturating_abs() > MOST_OFF
    }

    /// The time by which others are judged: ours, or the median where ours is off.
    pub fn judge(&self, ours: Micros) -> Micros {
        if self.is_off() {
            ours.saturating_add_signed(self.median()).min(anode_shared::time::MAX)
        } else {
            ours
        }
    }

    /// Records older than this would be dropped at once: kept is what is younger than an age, and what the store keeps by our
    /// clock. A floor that is raised stays: so peers' clocks only make the horizon earlier.
    pub fn horizon(&self, ours: Micros, age: Micros, store: Micros) -> Micros {
        let judged = self.judge(ours).min(ours);
        let by_age = judged.saturating_sub(age);
        // Where our clock is ahead, what the store keeps by it says nothing.
        if judged == ours { by_age.max(store) } else { by_age }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;
    const NOW: Micros = 1_795_000_000_000_000;

    fn check(offsets: &[i64], median: i64, off: bool) {
        let mut clock = Clock::default();
        for (peer, offset) in (0..).zip(offsets) {
            clock.heard(Origin([peer; 32]), NOW.saturating_add_signed(*offset), NOW, true);
        }
        assert_eq!((clock.median(), clock.is_off()), (median, off), "{offsets:?}");
        assert_eq!(
            clock.judge(NOW),
            if off { NOW.saturating_add_signed(median) } else { NOW },
            "{offsets:?}"
        );
    }

    #[test]
    fn it_takes_the_median() {
        check(&[], 0, false);
        check(&[6 * S], 6 * S, true);
        check(&[-6 * S], -6 * S, true);
        check(&[6 * S, 0], 0, false);
        check(&[0, 0, 3_600 * S], 0, false);
        check(&[3_600 * S, 3_600 * S, 0], 3_600 * S, true);
        check(&[-9 * S, -8 * S, -7 * S, 50_000 * S], -7 * S, true);
        check(&[5 * S], 5 * S, false);
    }

    #[test]
    fn it_lets_no_crowd_of_strangers_set_the_time() {
        let mut clock = Clock::default();
        clock.heard(Origin([1; 32]), NOW, NOW, true);
        for peer in 2..200 {
            clock.heard(Origin([peer; 32]), NOW + 3_600_000_000, NOW, false);
        }
        assert!(!clock.is_off() && clock.judge(NOW) == NOW);
        assert_eq!(clock.offset(Origin([9; 32])), Some(3_600 * S), "it is shown all the same");
        clock.heard(Origin([1; 32]), NOW, NOW, false);
        assert_eq!(clock.median(), 0, "nobody counts");
    }

    #[test]
    fn it_forgives_delays_and_notices_a_clock_that_was_set() {
        let (mut clock, peer) = (Clock::default(), Origin([1; 32]));
        for (delay, skew, offset) in [
            (9 * S, 0, -9 * S),
            (0, 0, 0),
            (8 * S, 0, 0),
            (8 * S, 0, 0),
            (0, -60 * S, 0),
            (0, -60 * S, -8 * S),
            (0, -60 * S, -8 * S),
            (0, -60 * S, -60 * S),
        ] {
            clock.heard(peer, NOW.saturating_add_signed(skew - delay), NOW, true);
            assert_eq!(clock.offset(peer), Some(offset));
        }
        clock.forget(peer);
        assert_eq!((clock.offset(peer), clock.median()), (None, 0));
    }

    #[test]
    fn it_never_wants_less_for_a_wrong_clock_of_others() {
        let (age, full) = (100 * S, NOW - 10 * S.unsigned_abs());
        for (offset, store, horizon) in [
            (0, 0, -100),
            (0, full, -10),
            (30 * 86_400, 0, -100),
            (30 * 86_400, full, -10),
            (-60, 0, -160),
            (-60, full, -160),
        ] {
            let mut clock = Clock::default();
            clock.heard(Origin([1; 32]), NOW.saturating_add_signed(offset * S), NOW, true);
            let expected = NOW.saturating_add_signed(horizon * S);
            assert_eq!(clock.horizon(NOW, age.unsigned_abs(), store), expected, "{offset} s ahead, {store}");
        }
    }

    #[test]
    fn it_bears_absurd_times() {
        let mut clock = Clock::default();
        clock.heard(Origin([1; 32]), u64::MAX, 0, true);
        assert!(clock.is_off() && clock.judge(NOW) <= anode_shared::time::MAX);
        clock.heard(Origin([2; 32]), 0, u64::MAX, true);
        let _ = (clock.median(), clock.judge(0));
    }
}
