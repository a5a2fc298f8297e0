//! Where a start by time lies in what this node has dropped: looked for in what peers have still, by halves.

use std::time::{Duration, Instant};

use anode_shared::cursor::{Cursor, Seen, Shard};
use anode_shared::ids::LogKey;
use anode_shared::time::Micros;

use crate::store::loaded::Loaded;
use crate::store::shared::Shared;

/// How often what was asked for is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// A log in which the place of a time is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seek {
    key: LogKey,
    shard: Shard,
    time: Micros,
    /// All before it is older, or nobody has it.
    low: u64,
    /// It and all behind is not older.
    high: u64,
}

impl Seek {
    /// The seq to look at; none once the place is found.
    fn probe(&self) -> Option<u64> {
        (self.low < self.high).then(|| self.low + (self.high - self.low) / 2)
    }

    /// The batch that holds the probe.
    fn saw(&mut self, batch: &Loaded) {
        let records = (0..batch.len()).map(|index| (batch.record(index).time, batch.seq(index)));
        let (mut before, mut first) = (false, None);
        for (time, seq) in records {
            before |= time < self.time;
            first = first.or((time >= self.time).then_some(seq));
        }
        match first {
            None => self.low = batch.header().last() + 1,
            Some(seq) if before => (self.low, self.high) = (seq, seq),
            Some(seq) => self.high = seq.max(self.low),
        }
        self.low = self.low.min(self.high);
    }
}

impl Shared {
    /// The logs whose dropped part may hold the time behind which a cursor was to stand.
    pub(super) fn seeks(&self, cursor: &Cursor, time: Micros) -> Vec<Seek> {
        let dropped: Vec<(LogKey, Shard, u64)> = {
            let order = self.order();
            let logs = order.logs.iter().filter_map(|(key, log)| {
                let Seen::UpTo(seq) = cursor.seen(*key, log.shard) else { return None };
                let gone = log.floor > log.head && log.grew < time;
                (log.floor > 1 && seq < log.floor && !gone).then_some((*key, log.shard, seq + 1))
            });
            logs.collect()
        };
        let seek = |(key, shard, high): (LogKey, Shard, u64)| {
            let low = self.holders.first_of(key, 1, high.checked_sub(1).filter(|last| *last > 0)?)?;
            Some(Seek { key, shard, time, low, high })
        };
        dropped.into_iter().filter_map(seek).collect()
    }

    /// Goes on with all seeks until a deadline; says whether all are done.
    pub(super) fn seek(&self, seeks: &mut [Seek], deadline: Instant) -> bool {
        loop {
            let waiting = seeks.iter_mut().filter_map(|seek| self.narrow(seek)).count();
            if waiting == 0 {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Narrows a seek as far as is known; gives what it waits for.
    fn narrow(&self, seek: &mut Seek) -> Option<u64> {
        while let Some(seq) = seek.probe() {
            if let Some(batch) = self.lent(seek.key, seq) {
                seek.saw(&batch);
            } else if self.holders.first_of(seek.key, seq, seq).is_none() {
                seek.low = seq + 1;
            } else {
                self.for_peers().wishes.wish(seek.key, seq, seq, self.moment());
                return Some(seq);
            }
        }
        None
    }
}

/// Sets a cursor before what was found. Where it was not found in time, what may hold it is owed.
pub(super) fn place(cursor: &mut Cursor, seeks: &[Seek]) {
    seeks.iter().for_each(|seek| cursor.set(seek.key, seek.shard, seek.low - 1));
}

#[cfg(test)]
mod tests {
    use anode_shared::cursor::WHOLE;

    use super::*;
    use crate::store::tests::kit::{NOW, foreign};

    #[test]
    fn it_finds_the_first_record_at_a_time_by_halves() {
        let batches: Vec<Loaded> =
            foreign(9, 5, &[3, 2, 4, 1, 7, 3]).into_iter().map(|bytes| Loaded::new(bytes).unwrap()).collect();
        let key = batches[0].key();
        // Record n was made at n; peers have those from `kept` on.
        for kept in [1, 6] {
            for time in 1..=18_u64 {
                let mut seek = Seek { key, shard: WHOLE, time: NOW + time, low: kept, high: 18 };
                let mut steps = 0;
                while let Some(seq) = seek.probe() {
                    let holds =
                        |batch: &&Loaded| (batch.header().first..=batch.header().last()).contains(&seq);
                    seek.saw(batches.iter().find(holds).unwrap());
                    steps += 1;
                }
                assert_eq!(seek.low, time.clamp(kept, 18), "from {kept}, at {time}");
                assert!(steps <= 6);
            }
        }
    }
}
