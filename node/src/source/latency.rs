//! How long the last answers took: a ring of samples, and its quantiles when asked.

use std::time::Duration;

use anode_shared::source::Latency;

/// How many samples are kept: enough for a 99th percentile that is not simply the worst one.
const KEPT: usize = 200;

/// The last samples.
#[derive(Debug, Clone, Default)]
pub(super) struct Latencies {
    /// Microseconds.
    ring: Vec<u32>,
    /// Where the next one goes, once the ring is full.
    next: usize,
}

impl Latencies {
    /// Adds a sample.
    pub(super) fn push(&mut self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        if self.ring.len() < KEPT {
            self.ring.push(micros);
        } else {
            self.ring[self.next] = micros;
            self.next = (self.next + 1) % KEPT;
        }
    }

    /// The quantiles of what is kept.
    pub(super) fn quantiles(&self) -> Latency {
        let mut sorted = self.ring.clone();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(place).map(|micros| f64::from(*micros) / 1_000.0)
        };
        Latency { p50: at(50), p99: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: impl IntoIterator<Item = u64>) -> (Option<f64>, Option<f64>) {
        let mut latencies = Latencies::default();
        samples.into_iter().for_each(|millis| latencies.push(Duration::from_millis(millis)));
        let Latency { p50, p99 } = latencies.quantiles();
        (p50, p99)
    }

    #[test]
    fn it_gives_quantiles_of_the_last_samples() {
        assert_eq!(of([]), (None, None));
        assert_eq!(of([7]), (Some(7.0), Some(7.0)));
        assert_eq!(of((1..=100).rev()), (Some(50.0), Some(99.0)));
        assert_eq!(of((1..=200).chain(1_001..=1_200)), (Some(1_100.0), Some(1_198.0)));
        assert_eq!(of([u64::from(u32::MAX)]), (Some(4_294_967.295), Some(4_294_967.295)));
    }
}
