//! What peers and the archive lent: batches that are not stored here, for readers who come from further back than this node keeps.
//! In memory, and for a short while.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::ids::LogKey;

use super::loaded::Loaded;
use super::peers::Wish;

/// The most bytes that are kept; of more, the first that came go, and are asked for again by who still wants them.
const MOST_BYTES: usize = 16 << 20;
/// How many bytes lie ready for one reader before more is asked for: what comes while it reads them. Of many readers each has a
/// share, but a batch or two.
const AHEAD: (usize, usize) = (512 << 10, 2 << 20);
/// How long a batch is kept: several readers often come for the same.
const KEPT: Duration = Duration::from_secs(30);

/// Batches that peers lent.
#[derive(Debug, Default)]
pub(crate) struct Borrowed {
    batches: BTreeMap<(LogKey, u64), Arc<Loaded>>,
    came: VecDeque<(Instant, LogKey, u64)>,
    bytes: usize,
}

impl Borrowed {
    /// Keeps a batch for a while.
    pub(crate) fn put(&mut self, batch: &Arc<Loaded>, now: Instant) {
        let (key, first) = (batch.key(), batch.header().first);
        if self.batches.insert((key, first), batch.clone()).is_some() {
            return;
        }
        self.bytes += batch.bytes().len();
        self.came.push_back((now, key, first));
        while self.bytes > MOST_BYTES {
            self.forget_first();
        }
    }

    /// Forgets what came too long ago.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        while self.came.front().is_some_and(|(when, ..)| *when + KEPT <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((_, key, first)) = self.came.pop_front() else { return };
        if let Some(batch) = self.batches.remove(&(key, first)) {
            self.bytes -= batch.bytes().len();
        }
    }

    /// The batch of a log that holds a seq.
    pub(crate) fn holding(&self, key: LogKey, seq: u64) -> Option<&Arc<Loaded>> {
        let (_, batch) = self.batches.range((key, 0)..=(key, seq)).next_back()?;
        (batch.header().last() >= seq).then_some(batch)
    }

    /// What is still to be asked for of a range that one of so many readers wants: nothing while enough lies ready.
    pub(crate) fn lacks(&self, wish: Wish, readers: usize) -> Option<Wish> {
        let (mut wish, mut ready) = (wish, 0);
        let enough = (MOST_BYTES / 2 / readers.max(1)).clamp(AHEAD.0, AHEAD.1);
        while wish.from <= wish.to && ready < enough {
            let next = if wish.newest_first { wish.to } else { wish.from };
            let Some(batch) = self.holding(wish.log, next) else { return Some(wish) };
            ready += batch.bytes().len();
            if wish.newest_first {
                wish.to = batch.header().first.saturating_sub(1);
            } else {
                wish.from = batch.header().last() + 1;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::kit::foreign;

    #[test]
    fn it_asks_for_what_is_not_ready_and_keeps_little() {
        let batches =
            foreign(9, 5, &[3, 2, 4]).into_iter().map(|bytes| Arc::new(Loaded::new(bytes).unwrap()));
        let batches: Vec<_> = batches.collect();
        let (mut borrowed, now, key) = (Borrowed::default(), Instant::now(), batches[0].key());
        let lacks = |borrowed: &Borrowed, from, to, newest_first| {
            let wish = borrowed.lacks(Wish { log: key, from, to, newest_first }, 1);
            wish.map(|wish| (wish.from, wish.to))
        };
        assert_eq!(lacks(&borrowed, 1, 9, false), Some((1, 9)));
        borrowed.put(&batches[0], now);
        borrowed.put(&batches[0], now);
        borrowed.put(&batches[2], now + KEPT / 2);
        for (from, to, lacked) in
            [(1, 9, Some((4, 9))), (2, 3, None), (6, 9, None), (5, 9, Some((5, 9))), (7, 12, Some((10, 12)))]
        {
            assert_eq!(lacks(&borrowed, from, to, false), lacked, "{from} to {to}");
        }
        for (from, to, lacked) in [
            (1, 9, Some((1, 5))),
            (2, 3, None),
            (2, 5, Some((2, 5))),
            (4, 8, Some((4, 5))),
            (7, 12, Some((7, 12))),
        ] {
            assert_eq!(lacks(&borrowed, from, to, true), lacked, "{to} down to {from}");
        }
        assert_eq!(borrowed.holding(key, 7).map(|batch| batch.header().first), Some(6));
        borrowed.forget_old(now + KEPT);
        assert_eq!((borrowed.holding(key, 2).is_some(), borrowed.holding(key, 7).is_some()), (false, true));
        borrowed.forget_old(now + 2 * KEPT);
        assert_eq!(borrowed.bytes, 0);
        borrowed.put(&batches[0], now);
        borrowed.bytes += MOST_BYTES;
        borrowed.put(&batches[1], now);
        assert!(borrowed.holding(key, 1).is_none(), "what came first goes first");
    }
}
