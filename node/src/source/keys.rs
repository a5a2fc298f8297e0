//! How many dedupe keys one source may use: the node's table of them is for all. Pure.

use std::time::{Duration, Instant};

/// A tenth of what the node remembers.
const MOST: usize = 100_000;
/// How long the node remembers a key.
const SPAN: Duration = Duration::from_secs(120);

/// The keys that a source was given in the present span.
#[derive(Debug, Default)]
pub(super) struct Keys {
    began: Option<Instant>,
    given: usize,
}

impl Keys {
    /// Whether so many more may be given.
    pub(super) fn admit(&mut self, more: usize, now: Instant) -> bool {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= SPAN) {
            (self.began, self.given) = (Some(now), 0);
        }
        let fits = self.given + more <= MOST;
        if fits {
            self.given += more;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_admits_so_many_in_each_span() {
        let start = Instant::now();
        let mut keys = Keys::default();
        for (second, more, expected) in [
            (0, 1, true),
            (1, MOST, false),
            (2, MOST - 1, true),
            (119, 1, false),
            (120, MOST, true),
            (121, 1, false),
        ] {
            assert_eq!(keys.admit(more, start + Duration::from_secs(second)), expected, "{second}");
        }
    }
}
