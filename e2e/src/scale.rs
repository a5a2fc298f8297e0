//! How large the tests run, and the seed that makes a run repeatable.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// Whether the full scale is asked for (`ANODE_E2E_FULL=1`).
#[must_use]
pub fn is_full() -> bool {
    std::env::var("ANODE_E2E_FULL").is_ok_and(|value| value == "1")
}

/// Takes `full` in the full run and `quick` in the everyday one.
#[must_use]
pub fn pick<T>(quick: T, full: T) -> T {
    if is_full() { full } else { quick }
}

/// Makes the random numbers of a test from `ANODE_SEED`, or from the clock, and prints the seed.
#[must_use]
pub fn random(test: &str) -> StdRng {
    let seed = std::env::var("ANODE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| u64::from(since.subsec_nanos()))
    });
    say(&format!("{test}: ANODE_SEED={seed}"));
    StdRng::seed_from_u64(seed)
}

/// Tells the person who runs the tests something; shown with `--nocapture` and when a test fails.
#[expect(clippy::print_stderr, reason = "a test's output is for people, and the test runner captures it")]
pub fn say(line: &str) {
    eprintln!("{line}");
}
