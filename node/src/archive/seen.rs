//! Which rows of the topic indexes were written already. Pure.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::rows::hour;

/// How many topics and slots are remembered: about 10 MiB. Of more, those of the oldest slots are written once more.
const MOST: usize = 100_000;

/// Topics by slot that the keyspace's indexes name.
#[derive(Debug, Default)]
pub(super) struct Seen {
    slots: BTreeMap<i64, HashSet<Arc<str>>>,
    count: usize,
}

/// Which index rows a topic's record needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lacks {
    Nothing,
    Slot,
    SlotAndHour,
}

impl Seen {
    /// Which rows are still to be written.
    pub(super) fn lacks(&self, topic: &str, slot: i64) -> Lacks {
        let has = |slot: i64| self.slots.get(&slot).is_some_and(|topics| topics.contains(topic));
        if has(slot) {
            return Lacks::Nothing;
        }
        let first = hour(slot) * 6;
        if (first..first + 6).any(has) { Lacks::Slot } else { Lacks::SlotAndHour }
    }

    /// They are written.
    pub(super) fn add(&mut self, topic: &Arc<str>, slot: i64) {
        if self.slots.entry(slot).or_default().insert(topic.clone()) {
            self.count += 1;
        }
        while self.count > MOST
            && let Some((_, topics)) = self.slots.pop_first()
        {
            self.count -= topics.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_for_each_row_once() {
        let (mut seen, topic) = (Seen::default(), Arc::from("a.b"));
        assert_eq!(seen.lacks("a.b", 13), Lacks::SlotAndHour);
        seen.add(&topic, 13);
        for (name, slot, lacks) in [
            ("a.b", 13, Lacks::Nothing),
            ("a.b", 12, Lacks::Slot),
            ("a.b", 17, Lacks::Slot),
            ("a.b", 18, Lacks::SlotAndHour),
            ("a.b", 11, Lacks::SlotAndHour),
            ("a.c", 13, Lacks::SlotAndHour),
        ] {
            assert_eq!(seen.lacks(name, slot), lacks, "{name} {slot}");
        }
    }

    #[test]
    fn it_forgets_the_oldest_beyond_its_bound() {
        let mut seen = Seen::default();
        for number in 0..=MOST {
            seen.add(&Arc::from(number.to_string()), i64::from(number > 10) * 6);
        }
        assert_eq!((seen.lacks("5", 0), seen.count), (Lacks::SlotAndHour, MOST - 10));
        assert_eq!(seen.lacks("11", 6), Lacks::Nothing);
    }
}
