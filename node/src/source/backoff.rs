//! How long to wait after failures: exponential, capped, with full jitter above a floor.

use std::time::Duration;

/// The first wait is drawn up to this: a lone failure is retried soon.
const BASE: Duration = Duration::from_secs(1);
/// No wait is drawn above this: an upstream that comes back is read again within half a minute.
const CAP: Duration = Duration::from_secs(30);
/// No wait is shorter: an upstream that closes at once must not be asked hundreds of times a second.
const FLOOR: Duration = Duration::from_millis(250);
/// The longest that `Retry-After` is obeyed: an hour, as a wrong header must not silence a source for days.
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// How long to wait after the `failures`-th failure in a row, from 1. `random` is drawn evenly from 0 to 1.
///
/// "Full jitter" of M. Brooker, "Exponential Backoff And Jitter" (AWS, 2015), with a floor.
pub(super) fn wait(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let most = BASE.saturating_mul(1 << doublings).min(CAP);
    FLOOR + (most - FLOOR).mul_f64(random.clamp(0.0, 1.0))
}

/// How long to wait where the upstream said `Retry-After`. It is never shortened but for the bound.
pub(super) fn obey(retry_after: Duration, random: f64) -> Duration {
    // What comes back at the same second for all that were turned away would be turned away again.
    retry_after.min(LONGEST_RETRY_AFTER).max(FLOOR) + BASE.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_doubles_to_the_cap() {
        let most: Vec<u64> = (0..9).map(|failures| wait(failures, 1.0).as_secs()).collect();
        assert_eq!(most, [1, 1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(wait(u32::MAX, 1.0), CAP);
    }

    #[test]
    fn it_obeys_within_an_hour() {
        assert_eq!(obey(Duration::from_secs(7), 0.0), Duration::from_secs(7));
        assert_eq!(obey(Duration::from_secs(86_400), 0.0), LONGEST_RETRY_AFTER);
        assert_eq!(obey(Duration::ZERO, 0.0), FLOOR);
    }

    proptest! {
        #[test]
        fn it_stays_between_floor_and_cap(failures: u32, random in 0.0..=1.0) {
            let waited = wait(failures, random);
            prop_assert!((FLOOR..=CAP).contains(&waited));
            prop_assert!(wait(failures.saturating_add(1), random) >= waited);
        }
    }
}
