//! Since when batches wait for what is missing below them, and which logs go on without it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use anode_shared::ids::LogKey;

use super::Order;

/// The most batches of a log that wait: of more, the log goes on at once.
const MOST_WAITING: usize = 1_024;
/// The most batches that wait in all logs, or about as many: of more, those that came first go on.
const MOST_IN_ALL: usize = 65_536;

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// As they came: when, of which log, and its first seq.
    queue: VecDeque<(Instant, LogKey, u64)>,
    /// Logs whose time has come: they go on without what is missing below a seq.
    due: BTreeMap<LogKey, u64>,
}

impl Waits {
    /// All that waits in an order, as if it had come now.
    pub(crate) fn of(order: &Order, now: Instant) -> Self {
        let waiting = order.logs.iter().flat_map(|(key, log)| log.waiting.keys().map(|first| (*key, *first)));
        Self { queue: waiting.map(|(key, first)| (now, key, first)).collect(), due: BTreeMap::new() }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.due.is_empty()
    }

    /// A batch waits from now on, as the last of so many of its log.
    pub(crate) fn add(&mut self, key: LogKey, first: u64, waiting: usize, now: Instant) {
        self.queue.push_back((now, key, first));
        if waiting > MOST_WAITING {
            self.put(key, first);
        }
    }

    /// A log could not go on yet: it is tried again.
    pub(crate) fn put(&mut self, key: LogKey, below: u64) {
        let known = self.due.entry(key).or_insert(below);
        *known = below.max(*known);
    }

    /// The logs that go on without what is missing below a seq: whatever came above it has waited long enough.
    pub(crate) fn take(&mut self, patience: Duration, now: Instant) -> BTreeMap<LogKey, u64> {
        let is_due = |since: Instant| now.saturating_duration_since(since) >= patience;
        while let Some((since, key, first)) = self.queue.front().copied() {
            if !is_due(since) && self.queue.len() <= MOST_IN_ALL {
                break;
            }
            self.queue.pop_front();
            self.put(key, first);
        }
        std::mem::take(&mut self.due)
    }
}

#[cfg(test)]
mod tests {
    use anode_shared::ids::{LogId, Origin};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn key(log: u64) -> LogKey {
        LogKey { log: LogId(log), origin: Origin([1; 32]) }
    }

    #[test]
    fn it_frees_all_that_is_due_at_once() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut waits = Waits::default();
        for (log, first, millis) in [(1, 9, 0), (1, 5, 100), (2, 7, 900), (1, 20, 900)] {
            waits.add(key(log), first, 1, at(millis));
        }
        for (millis, due) in [
            (999, vec![]),
            // What came at 0 has missed all below it for a second, also what lies below another that came later.
            (1_000, vec![(1, 9)]),
            (1_899, vec![(1, 5)]),
            (1_900, vec![(1, 20), (2, 7)]),
        ] {
            let due: Vec<(LogKey, u64)> = due.into_iter().map(|(log, below)| (key(log), below)).collect();
            assert_eq!(waits.take(PATIENCE, at(millis)).into_iter().collect::<Vec<_>>(), due, "{millis}");
        }
        assert!(waits.is_empty());
        waits.put(key(1), 9);
        assert!(!waits.is_empty());
        assert_eq!(waits.take(PATIENCE, at(1_900)), BTreeMap::from([(key(1), 9)]), "it is tried again");
    }

    #[test]
    fn it_lets_no_heap_wait() {
        let now = Instant::now();
        let mut waits = Waits::default();
        (0..MOST_WAITING).for_each(|n| waits.add(key(1), n as u64, n + 1, now));
        assert!(waits.take(PATIENCE, now).is_empty());
        waits.add(key(1), 5_000, MOST_WAITING + 1, now);
        assert_eq!(waits.take(PATIENCE, now), BTreeMap::from([(key(1), 5_000)]));
        (0..2 * MOST_IN_ALL).for_each(|n| waits.add(key(2 + n as u64), 9, 1, now));
        let due = waits.take(PATIENCE, now);
        assert!(waits.queue.len() <= MOST_IN_ALL && due.contains_key(&key(2)), "the first ones go on");
    }
}
