//! Which values have been said already: for each topic the last one, as a hash.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::mem;

use anode_shared::topic::Topic;

/// The topics that one source's changes are followed on, in each of two generations: of more, those that were quiet for
/// longest are forgotten, and their next value counts as new. A topic takes 100 to 300 bytes.
const GENERATION: usize = 5_000;

/// The last value of each topic.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Two keys that nobody outside knows: 128 bits, so that values neither meet by chance nor by intent.
    keys: [RandomState; 2],
    recent: HashMap<Topic, Value>,
    older: HashMap<Topic, Value>,
}

type Value = [u64; 2];

/// What an answer's records said: the topics, and the hash of what was said on each.
#[derive(Debug, Default)]
pub struct Said(Vec<(Topic, Value)>);

impl Changes {
    /// Whether a value is not the last one of its topic; it is from then on.
    pub(super) fn is_new(
        &mut self,
        topic: &Topic,
        payload: &[u8],
        content_type: Option<&str>,
        said: &mut Said,
    ) -> bool {
        let [first, second] = &self.keys;
        let value = [first, second].map(|key| key.hash_one((content_type, payload)));
        if let Some(last) = self.recent.get_mut(topic) {
            if *last == value {
                return false;
            }
            *last = value;
        } else {
            let last = self.older.remove(topic);
            self.insert(topic.clone(), value);
            if last == Some(value) {
                return false;
            }
        }
        said.0.push((topic.clone(), value));
        true
    }

    fn insert(&mut self, topic: Topic, value: Value) {
        if self.recent.len() >= GENERATION {
            self.older = mem::take(&mut self.recent);
        }
        self.recent.insert(topic, value);
    }

    /// Forgets what was said, unless something else has been said since.
    pub(super) fn forget(&mut self, said: &Said) {
        for (topic, value) in &said.0 {
            for generation in [&mut self.recent, &mut self.older] {
                if generation.get(topic) == Some(value) {
                    generation.remove(topic);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        name.parse().unwrap()
    }

    #[test]
    fn it_tells_what_is_new_by_topic() {
        let mut changes = Changes::default();
        let mut said = Said::default();
        for (on, payload, kind, expected) in [
            ("a", "1", None, true),
            ("a", "1", None, false),
            ("b", "1", None, true),
            ("a", "2", None, true),
            ("a", "1", None, true),
            ("a", "1", Some("text/plain"), true),
            ("b", "1", None, false),
        ] {
            assert_eq!(
                changes.is_new(&topic(on), payload.as_bytes(), kind, &mut said),
                expected,
                "{on} {payload}"
            );
        }
        assert_eq!(said.0.len(), 5);
    }

    #[test]
    fn it_forgets_what_was_not_taken() {
        let mut changes = Changes::default();
        let mut say = |payload: &[u8]| {
            let mut said = Said::default();
            (changes.is_new(&topic("a"), payload, None, &mut said), said)
        };
        let (_, first) = say(b"1");
        let (_, second) = say(b"2");
        changes.forget(&first);
        assert!(!changes.is_new(&topic("a"), b"2", None, &mut Said::default()), "a later value stands");
        changes.forget(&second);
        assert!(changes.is_new(&topic("a"), b"2", None, &mut Said::default()));
    }

    #[test]
    fn it_keeps_the_topics_that_speak_and_no_more_than_it_may() {
        let mut changes = Changes::default();
        let mut said = Said::default();
        assert!(changes.is_new(&topic("busy"), b"1", None, &mut said));
        assert!(changes.is_new(&topic("quiet"), b"1", None, &mut said));
        for n in 0..3 * GENERATION {
            assert!(changes.is_new(&topic(&format!("t.{n}")), b"1", None, &mut said));
            assert!(changes.recent.len() + changes.older.len() <= 2 * GENERATION);
            if n % 1_000 == 0 {
                assert!(!changes.is_new(&topic("busy"), b"1", None, &mut said));
            }
        }
        assert!(changes.is_new(&topic("quiet"), b"1", None, &mut said));
    }
}
