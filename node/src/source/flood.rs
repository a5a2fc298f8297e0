//! Keeps events of many sources that go up or down together from pushing all others out.

use anode_shared::time::Micros;

/// Over which time events are counted.
const WINDOW: Micros = 5_000_000;
/// How many are told one by one in that time: a hundredth of the events that are kept.
const MOST: u32 = 20;

/// Counts events.
#[derive(Debug, Clone, Default)]
pub(super) struct Flood {
    began: Micros,
    told: u32,
    left_out: u32,
}

impl Flood {
    /// Whether an event is told by itself.
    pub(super) fn admit(&mut self, now: Micros) -> bool {
        if self.is_over(now) && self.left_out == 0 {
            *self = Self { began: now, ..Self::default() };
        }
        let tell = self.told < MOST;
        if tell {
            self.told += 1;
        } else {
            self.left_out += 1;
        }
        tell
    }

    /// How many events of a window that is over were not told; they count as told from now on.
    pub(super) fn left_out(&mut self, now: Micros) -> Option<u32> {
        if !self.is_over(now) || self.left_out == 0 {
            return None;
        }
        let left_out = self.left_out;
        *self = Self { began: now, ..Self::default() };
        Some(left_out)
    }

    fn is_over(&self, now: Micros) -> bool {
        now.saturating_sub(self.began) >= WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_some_and_counts_the_others() {
        let mut flood = Flood::default();
        let told = (0..1_000).filter(|place| flood.admit(WINDOW + place)).count();
        assert_eq!((told, flood.left_out(WINDOW + 1_000)), (MOST as usize, None));
        assert_eq!((flood.left_out(2 * WINDOW), flood.left_out(3 * WINDOW)), (Some(980), None));
        assert!(flood.admit(3 * WINDOW) && flood.left_out(9 * WINDOW).is_none());
    }
}
