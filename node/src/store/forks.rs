//! Proofs that logs forked: of each log the one that ends it first, and of so many logs that anybody's made-up ones find an end.

use std::collections::BTreeMap;

use anode_shared::ids::LogKey;

use super::replay::ForkEntry;

/// Of how many logs proofs are kept, each of some kilobytes. Of more, the one that was found first goes: by then all have it.
const MOST: usize = 4_096;

/// The proofs.
#[derive(Debug, Default)]
pub(crate) struct Forks {
    by_log: BTreeMap<LogKey, (u64, ForkEntry)>,
    by_age: BTreeMap<u64, LogKey>,
    count: u64,
}

impl Forks {
    /// Keeps a proof, unless one is kept that ends the log as early. Says whether another had to go for it.
    pub(crate) fn keep(&mut self, fork: ForkEntry) -> bool {
        let key = fork.key;
        let known = self.by_log.get(&key);
        if known.is_some_and(|(_, known)| known.end <= fork.end) {
            return false;
        }
        known.map(|(age, _)| *age).map(|age| self.by_age.remove(&age));
        self.count += 1;
        self.by_age.insert(self.count, key);
        self.by_log.insert(key, (self.count, fork));
        let goes = (self.by_log.len() > MOST).then(|| self.by_age.pop_first()).flatten();
        goes.and_then(|(_, oldest)| self.by_log.remove(&oldest)).is_some()
    }

    /// The proof that a log forked.
    pub(crate) fn get(&self, key: LogKey) -> Option<&ForkEntry> {
        self.by_log.get(&key).map(|(_, fork)| fork)
    }

    /// All, by log.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ForkEntry> {
        self.by_log.values().map(|(_, fork)| fork)
    }
}

impl FromIterator<ForkEntry> for Forks {
    fn from_iter<I: IntoIterator<Item = ForkEntry>>(forks: I) -> Self {
        let mut all = Self::default();
        forks.into_iter().for_each(|fork| _ = all.keep(fork));
        all
    }
}

#[cfg(test)]
mod tests {
    use anode_shared::ids::{LogId, Origin};

    use super::*;

    fn fork(log: usize, end: u64) -> ForkEntry {
        let key = LogKey { log: LogId(log as u64), origin: Origin([1; 32]) };
        ForkEntry { key, end, proof: Vec::new() }
    }

    #[test]
    fn it_keeps_of_each_log_what_ends_it_first() {
        let forks: Forks =
            [(1, 9), (2, 5), (1, 7), (1, 8), (2, 5)].map(|(log, end)| fork(log, end)).into_iter().collect();
        let kept: Vec<u64> = forks.iter().map(|fork| fork.end).collect();
        assert_eq!((kept, forks.by_age.len()), (vec![7, 5], 2));
    }

    #[test]
    fn it_lets_the_oldest_go_where_there_are_too_many() {
        let mut forks = Forks::default();
        (0..MOST).for_each(|log| assert!(!forks.keep(fork(log, 9))));
        assert!(!forks.keep(fork(0, 8)), "an earlier end of one that is known is news of today");
        assert!(forks.keep(fork(MOST, 9)));
        let has = |log| forks.get(fork(log, 0).key).is_some();
        assert_eq!((has(0), has(1), has(MOST), forks.iter().count()), (true, false, true, MOST));
    }
}
