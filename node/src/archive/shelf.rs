//! What the archive can lend: the logs of the keyspace, and what turned out to be missing there. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::ids::LogKey;
use anode_shared::time::Micros;

use crate::store::Kept;

/// The most logs that are remembered, as in the store; of more, those that ended last.
const MOST_LOGS: usize = 65_536;
/// How many missing ranges of a log are remembered; of more, the last ones found.
const MOST_LACKS: usize = 64;
/// How long a range counts as missing: whoever has it may still archive it.
const LACKING: Duration = Duration::from_secs(60);
/// What a row of a log takes that nothing was read of yet: an ordinary batch.
const ROW: usize = 64 << 10;

/// Missing seqs of a log: from, to, and since when that is known.
type Lack = (u64, u64, Instant);

/// What was found out of a log by reading it.
#[derive(Debug, Default)]
struct Found {
    lacks: VecDeque<Lack>,
    /// Those of them that are there, and are not what was archived.
    spoilt: VecDeque<Lack>,
    /// About how many bytes a row takes.
    row: usize,
}

/// What is known of all logs of the keyspace.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    kept: Option<Arc<BTreeMap<LogKey, Kept>>>,
    found: BTreeMap<LogKey, Found>,
}

impl Shelf {
    /// What the keyspace holds, by log; none while it was never asked.
    pub(super) fn kept(&self) -> Option<&Arc<BTreeMap<LogKey, Kept>>> {
        self.kept.as_ref()
    }

    /// The keyspace holds these logs. What ended before `expired` is gone.
    pub(super) fn stand(&mut self, logs: impl Iterator<Item = (LogKey, Kept)>, expired: Micros) {
        let mut kept: BTreeMap<LogKey, Kept> =
            logs.filter(|(_, kept)| kept.time_last >= expired && kept.first <= kept.last).collect();
        if kept.len() > MOST_LOGS {
            let mut times: Vec<Micros> = kept.values().map(|kept| kept.time_last).collect();
            times.sort_unstable();
            let oldest = times[times.len() - MOST_LOGS];
            kept.retain(|_, kept| kept.time_last >= oldest);
        }
        self.found.retain(|key, _| kept.contains_key(key));
        self.kept = Some(Arc::new(kept));
    }

    /// The first and the last seq of a range that it holds, as far as is known. `done` is up to where this node archived the log.
    pub(super) fn ends_of(
        &self,
        key: LogKey,
        from: u64,
        to: u64,
        done: u64,
        now: Instant,
    ) -> Option<(u64, u64)> {
        let kept = self.kept.as_ref().and_then(|kept| kept.get(&key));
        let (first, last) = kept.map_or((1, 0), |kept| (kept.first, kept.last));
        let (mut from, mut to) = (from.max(first), to.min(last.max(done)));
        let Some(found) = self.found.get(&key) else { return (from <= to).then_some((from, to)) };
        let lacks = || found.lacks.iter().filter(|(.., since)| *since + LACKING > now);
        while let Some((_, end, _)) = lacks().find(|(start, end, _)| *start <= from && from <= *end) {
            from = end + 1;
        }
        while let Some((start, ..)) = lacks().find(|(start, end, _)| *start <= to && to <= *end) {
            to = start.saturating_sub(1);
        }
        (from <= to).then_some((from, to))
    }

    /// A range was looked for and is not there.
    pub(super) fn lacks(&mut self, key: LogKey, from: u64, to: u64, now: Instant) {
        let lacks = &mut self.found.entry(key).or_default().lacks;
        lacks.retain(|(start, end, since)| *since + LACKING > now && !(from <= *start && *end <= to));
        if lacks.len() >= MOST_LACKS {
            lacks.pop_front();
        }
        lacks.push_back((from, to, now));
    }

    /// A batch is not what was archived.
    pub(super) fn spoils(&mut self, key: LogKey, from: u64, to: u64, now: Instant) {
        self.lacks(key, from, to, now);
        let spoilt = &mut self.found.entry(key).or_default().spoilt;
        if spoilt.len() >= MOST_LACKS {
            spoilt.pop_front();
        }
        spoilt.push_back((from, to, now));
    }

    /// Up to which seq on from one a batch is that was found so.
    pub(super) fn spoilt(&self, key: LogKey, from: u64, now: Instant) -> Option<u64> {
        let mut spoilt = self.found.get(&key)?.spoilt.iter();
        let found =
            spoilt.find(|(start, end, since)| *since + LACKING > now && *start <= from && from <= *end);
        found.map(|(_, end, _)| *end)
    }

    /// So many rows of a log took so many bytes.
    pub(super) fn weigh(&mut self, key: LogKey, rows: usize, bytes: usize) {
        if let Some(row) = bytes.checked_div(rows) {
            self.found.entry(key).or_default().row = row.max(1);
        }
    }

    /// About how many rows of a log take so many bytes.
    pub(super) fn rows_in(&self, key: LogKey, bytes: usize) -> usize {
        let row = self.found.get(&key).map_or(0, |found| found.row);
        bytes / if row == 0 { ROW } else { row }
    }
}

#[cfg(test)]
mod tests {
    use anode_shared::ids::{LogId, Origin};

    use super::*;

    fn log(number: u64) -> LogKey {
        LogKey { log: LogId(number), origin: Origin([1; 32]) }
    }

    fn kept(first: u64, last: u64, time_last: Micros) -> Kept {
        Kept { first, time_first: 1, last, time_last }
    }

    #[test]
    fn it_lends_what_is_there_and_was_not_found_missing() {
        let (mut shelf, now) = (Shelf::default(), Instant::now());
        assert!(shelf.kept().is_none());
        shelf.stand([(log(1), kept(5, 90, 50)), (log(2), kept(1, 9, 10))].into_iter(), 20);
        assert_eq!(shelf.kept().unwrap().keys().collect::<Vec<_>>(), [&log(1)], "the other one is too old");
        shelf.lacks(log(1), 5, 10, now);
        shelf.lacks(log(1), 20, 30, now);
        shelf.lacks(log(1), 11, 12, now);
        for (from, to, ends) in [
            (1, 100, Some((13, 90))),
            (1, 12, None),
            (13, 25, Some((13, 19))),
            (20, 30, None),
            (25, 40, Some((31, 40))),
            (15, 35, Some((15, 35))),
            (91, 99, None),
        ] {
            assert_eq!(shelf.ends_of(log(1), from, to, 0, now), ends, "{from} to {to}");
        }
        assert_eq!(shelf.ends_of(log(1), 80, 200, 120, now), Some((80, 120)), "written since it was asked");
        assert_eq!(shelf.ends_of(log(3), 1, 200, 7, now), Some((1, 7)), "and a new log");
        shelf.spoils(log(1), 40, 49, now);
        let spoilt = [39, 40, 49, 50].map(|seq| shelf.spoilt(log(1), seq, now));
        assert_eq!(spoilt, [None, Some(49), Some(49), None]);
        assert_eq!(shelf.ends_of(log(1), 40, 60, 0, now), Some((50, 60)));
        assert_eq!(shelf.ends_of(log(1), 5, 6, 0, now + LACKING), Some((5, 6)), "it may have come since");
    }

    #[test]
    fn it_bounds_what_it_remembers() {
        let (mut shelf, now) = (Shelf::default(), Instant::now());
        let many = (0..MOST_LOGS as u64 + 5).map(|number| (log(number), kept(1, 9, number)));
        shelf.stand(many, 0);
        assert_eq!(shelf.kept().unwrap().len(), MOST_LOGS);
        assert!(!shelf.kept().unwrap().contains_key(&log(4)) && shelf.kept().unwrap().contains_key(&log(5)));
        (0..500).for_each(|at| shelf.lacks(log(9), 2 * at, 2 * at, now));
        assert_eq!(shelf.found[&log(9)].lacks.len(), MOST_LACKS);
        shelf.lacks(log(9), 1, 5_000, now);
        assert_eq!(shelf.found[&log(9)].lacks.len(), 1, "one range holds them all");
        shelf.stand(std::iter::empty(), 0);
        assert!(shelf.found.is_empty());
    }

    #[test]
    fn it_reads_many_small_rows_at_once() {
        let mut shelf = Shelf::default();
        assert_eq!(shelf.rows_in(log(1), 1 << 20), 16);
        shelf.weigh(log(1), 4, 4_000);
        assert_eq!(shelf.rows_in(log(1), 1 << 20), 1_048);
    }
}
