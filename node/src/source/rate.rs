//! How many a second, over about the last minute.

/// How long a bucket is, seconds.
const BUCKET: u64 = 5;
/// How many make the window.
const BUCKETS: usize = 12;

/// Counts of the last minute.
#[derive(Debug, Clone, Default)]
pub(super) struct Rate {
    counts: [u32; BUCKETS],
    /// The bucket that is counted in, as a number since the clock's beginning.
    newest: u64,
    /// The second of the first count.
    first: Option<u64>,
}

impl Rate {
    /// Counts at a second.
    pub(super) fn add(&mut self, second: u64, count: u32) {
        self.first.get_or_insert(second);
        self.turn(second / BUCKET);
        let place = &mut self.counts[index(self.newest)];
        *place = place.saturating_add(count);
    }

    /// Empties the buckets that have passed.
    fn turn(&mut self, bucket: u64) {
        let passed = bucket.saturating_sub(self.newest).min(BUCKETS as u64);
        for ago in 0..passed {
            self.counts[index(bucket - ago)] = 0;
        }
        self.newest = self.newest.max(bucket);
    }

    /// How many a second, as of a second.
    pub(super) fn per_second(&self, second: u64) -> f64 {
        let Some(first) = self.first else { return 0.0 };
        let mut now = self.clone();
        now.turn(second / BUCKET);
        let sum: u64 = now.counts.iter().map(|count| u64::from(*count)).sum();
        // The window begins where its oldest bucket does, or with the first count.
        let begins = (now.newest.saturating_sub(BUCKETS as u64 - 1) * BUCKET).max(first);
        let seconds = u32::try_from(second.saturating_sub(begins) + 1).unwrap_or(u32::MAX);
        let rate = f64::from(u32::try_from(sum).unwrap_or(u32::MAX)) / f64::from(seconds);
        (rate * 100.0).round() / 100.0
    }
}

fn index(bucket: u64) -> usize {
    usize::try_from(bucket % BUCKETS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_over_about_a_minute() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(1_000), 0.0);
        for second in 1_000..1_010 {
            rate.add(second, 3);
        }
        assert_eq!(rate.per_second(1_009), 3.0);
        for second in 1_010..1_200 {
            rate.add(second, 7);
        }
        assert_eq!(rate.per_second(1_199), 7.0);
        assert!((3.0..4.0).contains(&rate.per_second(1_229)), "{}", rate.per_second(1_229));
        assert_eq!(rate.per_second(1_300), 0.0);
        assert_eq!(rate.per_second(u64::MAX), 0.0);
    }
}
