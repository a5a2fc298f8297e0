//! The last moments of a source: a ring of beats, a poll each, or a second each of a connection.

use anode_shared::source::Beat;

/// How many are kept: a minute of a source that is asked every second.
const KEPT: usize = 60;

/// The last beats.
#[derive(Debug, Clone, Default)]
pub(super) struct Beats {
    /// Oldest first.
    ring: Vec<Beat>,
    /// The second that the newest one stands for, where they stand for seconds.
    second: Option<u64>,
}

impl Beats {
    /// Adds a beat that stands for itself.
    pub(super) fn push(&mut self, beat: Beat) {
        if self.ring.len() == KEPT {
            self.ring.remove(0);
        }
        self.ring.push(beat);
    }

    /// Notes what happened in a second. Seconds between without a word were quiet; of several beats in one second the
    /// worst counts.
    pub(super) fn at(&mut self, second: u64, beat: Beat) {
        match self.second {
            Some(last) if second <= last => {
                if let Some(newest) = self.ring.last_mut() {
                    *newest = worse(*newest, beat);
                }
                return;
            }
            Some(last) => {
                let gap = second - last - 1;
                (0..gap.min(KEPT as u64)).for_each(|_| self.push(Beat::Quiet));
            }
            None => {}
        }
        self.push(beat);
        self.second = Some(second);
    }

    /// The beats, oldest first, as they are at a second. That second itself is not over, and no moment yet.
    pub(super) fn list(&self, second: u64) -> Vec<Beat> {
        let mut now = self.clone();
        if now.second.is_some_and(|last| last.saturating_add(1) < second) {
            now.at(second - 1, Beat::Quiet);
        }
        now.ring
    }
}

fn worse(one: Beat, other: Beat) -> Beat {
    let rank = |beat| match beat {
        Beat::Quiet => 0,
        Beat::Data => 1,
        Beat::Error => 2,
    };
    if rank(one) >= rank(other) { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Beat::{Data, Error, Quiet};

    #[test]
    fn it_keeps_the_last_polls() {
        let mut beats = Beats::default();
        (0..KEPT + 5).for_each(|place| beats.push(if place < 6 { Error } else { Data }));
        let list = beats.list(99);
        assert_eq!((list.len(), list[0], list[1]), (KEPT, Error, Data));
    }

    #[test]
    fn it_fills_seconds_in_which_nothing_came() {
        let mut beats = Beats::default();
        for (second, beat) in [(10, Data), (10, Error), (10, Data), (13, Data), (12, Quiet)] {
            beats.at(second, beat);
        }
        assert_eq!(beats.list(13), [Error, Quiet, Quiet, Data]);
        assert_eq!(beats.list(14), beats.list(13));
        assert_eq!(beats.list(16), [Error, Quiet, Quiet, Data, Quiet, Quiet]);
        assert_eq!(beats.list(u64::MAX), [Quiet; KEPT]);
    }
}
