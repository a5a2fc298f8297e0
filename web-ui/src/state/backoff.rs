//! How long to wait before a socket is opened again.

/// The first wait is at most this long, milliseconds: a node that restarts is back in less than a second.
const BASE_MS: f64 = 500.0;
/// No wait is longer, milliseconds: whoever looks at the page should not have to reload it.
const CAP_MS: f64 = 15_000.0;
/// No wait is shorter, milliseconds, so that a socket that fails at once makes no busy loop.
const FLOOR_MS: f64 = 50.0;

/// Exponential backoff with full jitter
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>): many pages do not come back at once.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: i32,
}

impl Backoff {
    /// Counts a failure and returns how many milliseconds to wait. `random` lies in 0..1.
    pub fn fail(&mut self, random: f64) -> f64 {
        let most = (BASE_MS * 2_f64.powi(self.failures.min(10))).min(CAP_MS);
        self.failures = self.failures.saturating_add(1);
        FLOOR_MS + random * (most - FLOOR_MS)
    }

    /// Forgets the failures: the other side answered.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_cap_and_starts_again() {
        let mut backoff = Backoff::default();
        let longest: Vec<f64> = (0..8).map(|_| backoff.fail(1.0)).collect();
        assert_eq!(longest, [500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0, 15_000.0, 15_000.0, 15_000.0]);
        backoff.reset();
        assert_eq!(backoff.fail(1.0), 500.0);
    }

    #[test]
    fn it_never_spins() {
        let mut backoff = Backoff::default();
        assert!((0..100).all(|_| backoff.fail(0.0) >= FLOOR_MS));
    }
}
