//! Samples and what they say: percentiles out of all of them.

/// Durations in microseconds, all kept: a percentile of a summary would hide what a tail is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples(Vec<u32>);

impl Samples {
    /// Takes one.
    pub(super) fn push(&mut self, micros: u64) {
        self.0.push(u32::try_from(micros).unwrap_or(u32::MAX));
    }

    /// Takes those of another.
    pub(super) fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Sorts them, so that percentiles can be read.
    pub(super) fn sorted(mut self) -> Sorted {
        self.0.sort_unstable();
        Sorted(self.0)
    }
}

/// Samples in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Sorted(Vec<u32>);

impl Sorted {
    /// The smallest sample that at least `percent` of all do not exceed, in milliseconds (nearest rank); none without samples.
    pub(super) fn millis(&self, percent: f64) -> Option<f64> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank is a whole number between 1 and the number of samples"
        )]
        let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        let place = rank.clamp(1, self.0.len().max(1)) - 1;
        self.0.get(place).map(|micros| f64::from(*micros) / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_the_nearest_rank() {
        let sorted = |values: &[u64]| {
            let mut samples = Samples::default();
            values.iter().for_each(|value| samples.push(*value));
            samples.sorted()
        };
        let hundred: Vec<u64> = (1..=100).rev().map(|n| n * 1_000).collect();
        for (values, percent, expected) in [
            (&[][..], 50.0, None),
            (&[7_000], 0.0, Some(7.0)),
            (&[7_000], 99.0, Some(7.0)),
            (&[1_000, 2_000], 50.0, Some(1.0)),
            (&[1_000, 2_000], 50.1, Some(2.0)),
            (&hundred, 50.0, Some(50.0)),
            (&hundred, 99.0, Some(99.0)),
            (&hundred, 100.0, Some(100.0)),
            (&[u64::MAX], 50.0, Some(4_294_967.295)),
        ] {
            assert_eq!(sorted(values).millis(percent), expected, "{percent} of {}", values.len());
        }
    }
}
