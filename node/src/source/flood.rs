//! Keeps events of many sources that go up or down together from pushing all others out.

use anode_shared::time::Micros;

/// Over which time events are counted.
const WINDOW: Micros = 10_000_000;
/// How many are told one by one in that time: a hundredth of the events that are kept.
const MOST: u32 = 20;

/// Counts events.
#[derive(Debug, Clone, Default)]
pub(super) struct Flood {
    began: Micros,
    told: u32,
    left_out: u32,
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Admitted {
    /// Whether it is told by itself.
    pub(super) tell: bool,
    /// How many before it were not, and are to be told of together.
    pub(super) left_out: u32,
}

impl Flood {
    /// Decides on an event.
    pub(super) fn admit(&mut self, now: Micros) -> Admitted {
        let mut left_out = 0;
        if now.saturating_sub(self.began) >= WINDOW {
            left_out = self.left_out;
            *self = Self { began: now, told: 0, left_out: 0 };
        }
        let tell = self.told < MOST;
        if tell {
            self.told += 1;
        } else {
            self.left_out += 1;
        }
        Admitted { tell, left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_some_and_counts_the_others() {
        let mut flood = Flood::default();
        let told = (0..1_000).filter(|place| flood.admit(WINDOW + place).tell).count();
        assert_eq!(told, MOST as usize);
        assert_eq!(flood.admit(3 * WINDOW), Admitted { tell: true, left_out: 980 });
        assert_eq!(flood.admit(3 * WINDOW + 1), Admitted { tell: true, left_out: 0 });
    }
}
