//! Dedupe keys of the last two minutes, so that publishing a record again stores nothing.

use std::collections::{HashMap, VecDeque};

use anode_shared::ids::RecordId;
use anode_shared::time::Micros;

/// How long a key counts.
pub(crate) const WINDOW: Micros = 120 * 1_000_000;
/// The most keys that are remembered; more in two minutes is refused as overload rather than forgotten early.
const MOST: usize = 1_000_000;
/// How many may be there before whoever can do without gives none: what is left is for those who cannot.
const SPARE: usize = MOST / 4 * 3;

/// A topic and a key of it.
type Key = (Box<str>, Box<str>);

/// The keys that were used, by topic.
#[derive(Debug, Default)]
pub(crate) struct Dedupe {
    known: HashMap<Key, (RecordId, Micros)>,
    order: VecDeque<(Key, Micros)>,
}

impl Dedupe {
    /// The record that used the key within the window.
    pub(crate) fn get(&self, topic: &str, key: &str, now: Micros) -> Option<RecordId> {
        let (id, time) = self.known.get(&(topic.into(), key.into()))?;
        (time.saturating_add(WINDOW) > now).then_some(*id)
    }

    /// Whether another key can be remembered.
    pub(crate) fn has_room(&mut self, now: Micros) -> bool {
        while let Some((key, time)) = self.order.front() {
            if time.saturating_add(WINDOW) > now {
                break;
            }
            if self.known.get(key).is_some_and(|(_, newest)| newest == time) {
                self.known.remove(key);
            }
            self.order.pop_front();
        }
        self.order.len() < MOST
    }

    /// Whether so many leave room for keys that could be done without.
    pub(crate) fn can_spare(count: usize) -> bool {
        count < SPARE
    }

    /// How many keys are remembered.
    pub(crate) fn count(&self) -> usize {
        self.order.len()
    }

    /// Remembers a key.
    pub(crate) fn insert(&mut self, topic: &str, key: &str, id: RecordId, time: Micros) {
        let key = (Box::from(topic), Box::from(key));
        self.order.push_back((key.clone(), time));
        self.known.insert(key, (id, time));
    }

    /// Forgets a key whose record was not written after all.
    pub(crate) fn remove(&mut self, topic: &str, key: &str) {
        self.known.remove(&(topic.into(), key.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anode_shared::ids::{LogId, LogKey, Origin};

    fn id(seq: u64) -> RecordId {
        RecordId { key: LogKey { log: LogId(1), origin: Origin([1; 32]) }, seq }
    }

    #[test]
    fn it_remembers_a_key_for_two_minutes_and_by_topic() {
        let mut dedupe = Dedupe::default();
        dedupe.insert("a", "k", id(1), 1_000);
        assert_eq!(dedupe.get("a", "k", 1_000 + WINDOW - 1), Some(id(1)));
        assert_eq!(dedupe.get("a", "k", 1_000 + WINDOW), None);
        assert_eq!(dedupe.get("b", "k", 1_000), None);
        assert_eq!(dedupe.get("a", "l", 1_000), None);
    }

    #[test]
    fn it_forgets_what_is_old_and_keeps_what_was_renewed() {
        let mut dedupe = Dedupe::default();
        dedupe.insert("a", "k", id(1), 0);
        dedupe.insert("a", "k", id(2), WINDOW + 5);
        assert!(dedupe.has_room(WINDOW + 10));
        assert_eq!(dedupe.get("a", "k", WINDOW + 10), Some(id(2)));
        assert_eq!((dedupe.order.len(), dedupe.known.len()), (1, 1));
    }
}
