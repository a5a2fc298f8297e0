//! The newest record of each topic, gathered so that each is written once a second at most. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rows::Newest;

/// How many bytes are gathered before they must be written: what a burst over many topics may hold in memory.
const MOST_BYTES: usize = 16 << 20;
/// What an entry takes beside topic and bytes, about.
const ENTRY: usize = 200;

/// What is to be written of the newest records.
#[derive(Debug, Default)]
pub(super) struct Latest {
    pending: BTreeMap<Arc<str>, Newest>,
    bytes: usize,
}

impl Latest {
    /// Records of these topics are archived.
    pub(super) fn note(&mut self, newest: BTreeMap<Arc<str>, Newest>) {
        for (topic, newest) in newest {
            let place = |newest: &Newest| (newest.time, newest.key, newest.seq);
            let known = self.pending.get(&topic);
            if known.is_some_and(|known| place(known) >= place(&newest)) {
                continue;
            }
            self.bytes -= known.map_or(0, |known| size(&topic, known));
            self.bytes += size(&topic, &newest);
            self.pending.insert(topic, newest);
        }
    }

    /// Whether they must be written before more is archived.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MOST_BYTES
    }

    /// Gives all that is to be written.
    pub(super) fn take(&mut self) -> BTreeMap<Arc<str>, Newest> {
        self.bytes = 0;
        std::mem::take(&mut self.pending)
    }
}

fn size(topic: &str, newest: &Newest) -> usize {
    topic.len() + newest.bytes.len() + ENTRY
}

#[cfg(test)]
mod tests {
    use anode_shared::ids::{LogId, LogKey, Origin};

    use super::*;

    fn newest(time: u64, seq: u64, bytes: usize) -> Newest {
        let key = LogKey { log: LogId(1), origin: Origin([1; 32]) };
        Newest { time, key, seq, bytes: vec![7; bytes].into() }
    }

    #[test]
    fn it_keeps_the_newest_of_each_topic_and_knows_its_size() {
        let mut latest = Latest::default();
        for (topic, time, seq) in [("a", 5, 5), ("b", 1, 1), ("a", 4, 9), ("a", 6, 6), ("a", 6, 5)] {
            latest.note(BTreeMap::from([(Arc::from(topic), newest(time, seq, 10))]));
        }
        assert_eq!(latest.bytes, 2 * (1 + 10 + ENTRY));
        let taken = latest.take();
        let seqs: Vec<_> = taken.iter().map(|(topic, newest)| (&**topic, newest.seq)).collect();
        assert_eq!((seqs, latest.bytes), (vec![("a", 6), ("b", 1)], 0));
        latest.note(BTreeMap::from([(Arc::from("c"), newest(1, 1, MOST_BYTES))]));
        assert!(latest.is_full());
    }
}
