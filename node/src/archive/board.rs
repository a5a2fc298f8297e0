//! What all parts of the archive know together: the logs, whose they are to archive, and how far each is. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Instant;

use anode_shared::archive::{ArchivedLog, Span};
use anode_shared::ids::{Hash, LogKey, Origin};
use anode_shared::time::Micros;

use super::owner::Duty;
use super::plan::{self, Range};
use crate::store::{Archived, LogView};

/// How far a log is.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Everything up to here is at a quorum, or in a hole.
    pub(super) done: u64,
    /// The same, as a position's row says, newest records of topics included: a restart goes on from here.
    pub(super) kept: u64,
    /// The ranges that were passed as missing.
    pub(super) holes: Vec<Range>,
}

/// How much is still to be archived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lag {
    pub(super) records: u64,
    pub(super) logs: usize,
    /// The time of the oldest of them.
    pub(super) oldest: Option<Micros>,
}

/// What all parts know.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) duty: Duty,
    pub(super) views: BTreeMap<LogKey, LogView>,
    pub(super) progress: BTreeMap<LogKey, Progress>,
    /// Logs that changed since the writer looked.
    touched: BTreeSet<LogKey>,
    pub(super) lag: Lag,
    /// Records that the store had dropped unarchived when the archive had last caught up.
    pub(super) dropped_then: u64,
}

impl Board {
    pub(super) fn new(me: Origin) -> Self {
        Self {
            duty: Duty::new(me),
            views: BTreeMap::new(),
            progress: BTreeMap::new(),
            touched: BTreeSet::new(),
            lag: Lag::default(),
            dropped_then: 0,
        }
    }

    /// Learns how logs are now.
    pub(super) fn change(&mut self, changes: Vec<(LogKey, Option<LogView>)>) {
        for (key, view) in changes {
            match view {
                Some(view) => _ = self.views.insert(key, view),
                None => {
                    self.views.remove(&key);
                    self.progress.remove(&key);
                }
            }
            self.touched.insert(key);
        }
    }

    /// Learns who else archives, and where.
    pub(super) fn meet(&mut self, keyspace: Option<Hash>, there: &[(Origin, Hash)], now: Instant) {
        let origins: BTreeSet<Origin> = self.views.keys().map(|key| key.origin).collect();
        let before = self.duty.ours();
        self.duty.learn(keyspace, there, origins.into_iter(), now);
        // A log that is ours from now on may have changed for the last time while it was not.
        let fresh: BTreeSet<Origin> = self.duty.ours().difference(&before).copied().collect();
        self.touched.extend(self.views.keys().filter(|key| fresh.contains(&key.origin)));
    }

    /// The logs that changed since this was asked last.
    pub(super) fn take_touched(&mut self) -> BTreeSet<LogKey> {
        std::mem::take(&mut self.touched)
    }

    /// How far a log is archived, where this node is to do so.
    pub(super) fn archived_of(&self, key: LogKey) -> Option<Archived> {
        let progress = || self.progress.get(&key).cloned().unwrap_or_default();
        self.duty.would_own(key.origin).then(progress).map(|progress| Archived {
            to: progress.kept,
            holes: progress.holes.iter().map(|hole| (hole.first, hole.last)).collect(),
        })
    }

    /// Whether a record is archived by this node.
    pub(super) fn holds(&self, key: LogKey, seq: u64) -> bool {
        self.progress.get(&key).is_some_and(|progress| {
            progress.done >= seq && !progress.holes.iter().any(|hole| hole.first <= seq && seq <= hole.last)
        })
    }

    /// How far logs are archived, so many behind one, and whether there are more.
    pub(super) fn logs(&self, after: Option<LogKey>, limit: usize) -> (Vec<ArchivedLog>, bool) {
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut logs = self.views.range((behind, Bound::Unbounded)).map(|(key, view)| self.log(*key, view));
        let page = logs.by_ref().take(limit).collect();
        (page, logs.next().is_some())
    }

    fn log(&self, key: LogKey, view: &LogView) -> ArchivedLog {
        let ours = self.duty.would_own(key.origin);
        let progress = self.progress.get(&key).filter(|_| ours).cloned().unwrap_or_default();
        ArchivedLog {
            log: key.to_string(),
            floor: view.floor,
            head: view.head,
            ours,
            archived_to: progress.done,
            holes: progress.holes.iter().map(|hole| Span { from: hole.first, to: hole.last }).collect(),
            lag: if ours { plan::lag(view, progress.done) } else { 0 },
        }
    }

    /// The logs that lag: how many records, and the first seq of them.
    pub(super) fn lagging(&self) -> Vec<(LogKey, u64, u64)> {
        let ours = self.views.iter().filter(|(key, _)| self.duty.would_own(key.origin));
        ours.filter_map(|(key, view)| {
            let done = self.progress.get(key).map_or(0, |progress| progress.done);
            let lag = plan::lag(view, done);
            (lag > 0).then_some((*key, lag, done.max(view.floor.saturating_sub(1)) + 1))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use anode_shared::ids::LogId;

    use super::*;

    fn log(origin: u8) -> LogKey {
        LogKey { log: LogId(7), origin: Origin([origin; 32]) }
    }

    fn view(head: u64) -> Option<LogView> {
        Some(LogView { head, held: head, floor: 1, missing: Vec::new(), forked: None })
    }

    #[test]
    fn it_looks_again_at_logs_that_become_its_own() {
        let (mut board, now, keyspace) = (Board::new(Origin([1; 32])), Instant::now(), Hash([9; 32]));
        board.change(vec![(log(1), view(3)), (log(2), view(5))]);
        board.meet(Some(keyspace), &[(Origin([2; 32]), keyspace)], now);
        assert_eq!(board.take_touched(), BTreeSet::from([log(1), log(2)]));
        board.meet(Some(keyspace), &[(Origin([2; 32]), keyspace)], now);
        assert!(board.take_touched().is_empty());
        assert_eq!(board.lagging(), [(log(1), 3, 1)]);
        board.meet(Some(keyspace), &[], now);
        assert_eq!(board.take_touched(), BTreeSet::from([log(2)]));
        assert_eq!(board.lagging(), [(log(1), 3, 1), (log(2), 5, 1)]);
    }

    #[test]
    fn it_keeps_what_is_to_be_archived_and_knows_what_is() {
        let mut board = Board::new(Origin([1; 32]));
        board.change(vec![(log(1), view(9)), (log(2), view(9))]);
        assert_eq!(board.archived_of(log(1)), Some(Archived::default()), "nothing is known yet: all is kept");
        let progress = Progress { done: 8, kept: 6, holes: vec![Range::new(3, 4)] };
        board.progress.insert(log(1), progress);
        assert_eq!(board.archived_of(log(1)), Some(Archived { to: 6, holes: vec![(3, 4)] }));
        for (seq, holds) in [(1, true), (3, false), (4, false), (8, true), (9, false)] {
            assert_eq!(board.holds(log(1), seq), holds, "{seq}");
        }
        board.meet(None, &[(Origin([2; 32]), Hash([1; 32]))], Instant::now());
        assert_eq!(board.archived_of(log(2)), None, "another node archives it");
        let (logs, more) = board.logs(None, 1);
        assert_eq!((logs[0].archived_to, logs[0].lag, more), (8, 1, true));
        board.change(vec![(log(1), None)]);
        assert!(board.progress.is_empty());
    }
}
