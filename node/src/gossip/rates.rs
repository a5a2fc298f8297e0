//! Byte rates: what each origin may send a second. Who exceeds it waits, and nobody else does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anode_shared::ids::Origin;

/// How much may come at once after a silence: a second's worth, so that a burst is no offence.
const BURST: Duration = Duration::from_secs(1);
/// How many origins are remembered: above it those that used least are forgotten, which only helps them.
const MOST: usize = 4_096;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Bytes that may come now; below 0 where the last take exceeded the rest.
    level: i64,
    filled: Instant,
}

/// Token buckets, one an origin, or one of whatever else is to be bounded.
#[derive(Debug)]
pub struct Rates<K = Origin> {
    bytes_per_s: u64,
    burst: Duration,
    buckets: BTreeMap<K, Bucket>,
}

impl<K: Copy + Ord> Rates<K> {
    /// So many bytes a second for each.
    pub fn new(bytes_per_s: u64) -> Self {
        Self::bursting(bytes_per_s, BURST)
    }

    /// So many bytes a second for each, and as many as in some time at once.
    pub fn bursting(bytes_per_s: u64, burst: Duration) -> Self {
        Self { bytes_per_s, burst, buckets: BTreeMap::new() }
    }

    fn full(&self) -> i64 {
        i64::try_from(self.bytes_per_s.saturating_mul(self.burst.as_secs())).unwrap_or(i64::MAX)
    }

    fn level(&self, bucket: &Bucket, now: Instant) -> i64 {
        let since = now.saturating_duration_since(bucket.filled).as_micros();
        let more = since.saturating_mul(u128::from(self.bytes_per_s)) / 1_000_000;
        bucket.level.saturating_add(i64::try_from(more).unwrap_or(i64::MAX)).min(self.full())
    }

    /// Whether an origin may send anything now.
    pub fn open(&self, origin: K, now: Instant) -> bool {
        self.buckets.get(&origin).is_none_or(|bucket| self.level(bucket, now) > 0)
    }

    /// Takes bytes of an origin's rate; says no where it is used up. The last take may exceed the rest, so that what is larger
    /// than a second's worth passes too; what it exceeds is waited for.
    pub fn take(&mut self, origin: K, bytes: u64, now: Instant) -> bool {
        let level = self.buckets.get(&origin).map_or(self.full(), |bucket| self.level(bucket, now));
        if level <= 0 {
            return false;
        }
        if self.buckets.len() >= MOST && !self.buckets.contains_key(&origin) {
            self.forget(now);
        }
        let level = level.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.buckets.insert(origin, Bucket { level, filled: now });
        true
    }

    /// Forgets whoever has used the least.
    fn forget(&mut self, now: Instant) {
        let fullest =
            self.buckets.iter().max_by_key(|(_, bucket)| self.level(bucket, now)).map(|(origin, _)| *origin);
        fullest.map(|origin| self.buckets.remove(&origin));
    }
}

/// Something that may happen every so often, and a few times at once after a silence.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    at_once: u32,
    /// Up to when what happened counts.
    due: Option<Instant>,
}

impl Pace {
    /// Once in so long, or so often at once.
    pub fn new(every: Duration, at_once: u32) -> Self {
        Self { every, at_once, due: None }
    }

    /// Lets it happen; says no where it is too soon.
    pub fn take(&mut self, now: Instant) -> bool {
        let due = self.due.map_or(now, |due| due.max(now));
        let may = due <= now + self.every * self.at_once.saturating_sub(1);
        if may {
            self.due = Some(due + self.every);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(n: u64) -> Origin {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Origin(bytes)
    }

    #[test]
    fn it_limits_each_origin_alone() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut rates = Rates::new(1_000);
        for (origin, bytes, millis, allowed) in [
            (1, 600, 0, true),
            (1, 600, 0, true),
            (1, 1, 0, false),
            (2, 5_000, 0, true),
            (2, 1, 0, false),
            (1, 1, 200, false),
            (1, 100, 201, true),
            (1, 1, 201, false),
            (2, 1, 4_000, false),
            (2, 1, 4_001, true),
            (1, 1_000, 60_000, true),
            (1, 1, 60_000, false),
        ] {
            assert_eq!(rates.take(who(origin), bytes, at(millis)), allowed, "{origin}: {bytes} at {millis}");
        }
        assert!(!rates.open(who(1), at(60_000)) && rates.open(who(3), at(0)));
    }

    #[test]
    fn it_lets_happen_what_is_not_too_often() {
        let (mut pace, start) = (Pace::new(Duration::from_secs(5), 8), Instant::now());
        let mut taken =
            |seconds| (0..100).filter(|_| pace.take(start + Duration::from_secs(seconds))).count();
        assert_eq!([0, 1, 5, 6, 15, 1_000].map(&mut taken), [8, 0, 1, 0, 2, 8]);
    }

    #[test]
    fn it_stays_small_and_keeps_the_greedy() {
        let now = Instant::now();
        let mut rates = Rates::new(1_000);
        assert!(rates.take(who(u64::MAX), 1_000, now));
        (0..2 * MOST as u64).for_each(|n| assert!(rates.take(who(n), 1, now)));
        assert!(rates.buckets.len() <= MOST && !rates.take(who(u64::MAX), 1, now));
    }
}
