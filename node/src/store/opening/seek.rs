//! Where a start by time lies in what is not stored here: looked for in what the archive and peers have, by halves.

use std::time::{Duration, Instant};

use anode_shared::cursor::{Cursor, Seen, Shard};
use anode_shared::ids::LogKey;
use anode_shared::time::Micros;

use crate::store::halves::Halves;
use crate::store::shared::Shared;

/// How often what was asked for is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// A log in which the place of a time is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seek {
    key: LogKey,
    shard: Shard,
    halves: Halves,
}

impl Shared {
    /// The logs whose dropped part may hold the time behind which a cursor was to stand.
    pub(super) fn seeks(&self, cursor: &Cursor, time: Micros) -> Vec<Seek> {
        let beyond = self.beyond();
        let dropped: Vec<(LogKey, Shard, u64)> = {
            let order = self.order();
            let archived = beyond.iter().filter_map(|(key, kept)| {
                let Seen::UpTo(seq) = cursor.seen(*key, order.shard(*key)) else { return None };
                let within = kept.time_first < time && time <= kept.time_last && seq == kept.last;
                within.then_some((*key, order.shard(*key), seq + 1))
            });
            let logs = order.logs.iter().filter_map(|(key, log)| {
                let Seen::UpTo(seq) = cursor.seen(*key, log.shard) else { return None };
                let gone = log.floor > log.head && log.grew < time;
                (log.floor > 1 && seq < log.floor && !gone).then_some((*key, log.shard, seq + 1))
            });
            logs.filter(|(key, ..)| !beyond.contains_key(key)).chain(archived).collect()
        };
        let seek = |(key, shard, high): (LogKey, Shard, u64)| {
            let low = self.lent_first(key, 1, high.checked_sub(1).filter(|last| *last > 0)?)?;
            Some(Seek { key, shard, halves: Halves::new(time, low, high) })
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
        while let Some(seq) = seek.halves.probe() {
            let Some(next) = self.next_of(seek.key, seq, seek.halves.high - 1) else {
                seek.halves.lacks();
                continue;
            };
            if let Some(batch) = self.lent(seek.key, next) {
                seek.halves.saw(&batch);
            } else {
                self.for_peers().wishes.wish(seek.key, next, next, self.moment());
                return Some(next);
            }
        }
        None
    }
}

/// Sets a cursor before what was found. Where it was not found in time, what may hold it is owed.
pub(super) fn place(cursor: &mut Cursor, seeks: &[Seek]) {
    seeks.iter().for_each(|seek| cursor.set(seek.key, seek.shard, seek.halves.low - 1));
}
