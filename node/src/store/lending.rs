//! What others can lend of what is not stored here: the archive, and peers of what this node dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anode_shared::cursor::{Cursor, WHOLE};
use anode_shared::frames::GapReason;
use anode_shared::ids::{LogId, LogKey, Origin};
use anode_shared::time::Micros;

use super::Store;
use super::archiving::Kept;
use super::history::Direction;
use super::loaded::Loaded;
use super::order::Order;
use super::peers::Wish;
use super::read::Missing;
use super::shared::Shared;

/// How often a reader looks for what the archive is to lend: it answers within milliseconds.
pub(crate) const LOOK: Duration = Duration::from_millis(20);
/// How long a log that is here must not have grown in the archive for the archive to be read beyond its head: what is younger
/// comes by itself.
const QUIET: Micros = 60 * 1_000_000;

/// Logs of which the archive holds more than this node's order has passed.
pub(crate) type Beyond = BTreeMap<LogKey, Kept>;

impl Shared {
    /// What the archive holds of logs that are not here, or beyond their heads. `order` is not to be locked.
    pub(crate) fn beyond(&self) -> Beyond {
        let archiver = &self.options.archiver;
        let Some(kept) = archiver.any().then(|| archiver.kept()).flatten() else { return Beyond::new() };
        let quiet = (self.options.clock)().saturating_sub(QUIET);
        let order = self.order();
        let more = |key: &LogKey, kept: &Kept| match order.logs.get(key) {
            None => true,
            Some(log) => kept.last > log.head && kept.time_last < quiet && log.forked.is_none(),
        };
        kept.iter().filter(|(key, kept)| more(key, kept)).map(|(key, kept)| (*key, *kept)).collect()
    }

    /// Waits, just after the start, until it is known what the archive holds: else logs that only it has would be passed in
    /// silence. Blocks.
    pub(crate) fn await_archive(&self) {
        while self.options.archiver.opens() {
            std::thread::sleep(LOOK);
        }
    }

    /// The first and the last seq of a range not stored here that somebody may lend.
    pub(crate) fn lent_ends(&self, key: LogKey, from: u64, to: u64) -> Option<(u64, u64)> {
        let archived = self.options.archiver.ends_of(key, from, to);
        let dropped = self.dropped(key).map(|last| last.min(to)).filter(|last| from <= *last);
        let peers = dropped.and_then(|last| self.holders.ends_of(key, from, last));
        archived.into_iter().chain(peers).reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    }

    /// The first seq of such a range.
    pub(crate) fn lent_first(&self, key: LogKey, from: u64, to: u64) -> Option<u64> {
        let archived = self.options.archiver.ends_of(key, from, to).map(|(first, _)| first);
        let dropped = self.dropped(key).map(|last| last.min(to)).filter(|last| from <= *last);
        let peers = dropped.and_then(|last| self.holders.first_of(key, from, last));
        archived.into_iter().chain(peers).min()
    }

    /// The highest seq of a log that this node dropped.
    pub(crate) fn dropped(&self, key: LogKey) -> Option<u64> {
        self.order().logs.get(&key)?.floor.checked_sub(1).filter(|last| *last > 0)
    }

    /// How soon to look again for what is to be lent.
    pub(crate) fn look(&self, key: LogKey, seq: u64) -> Duration {
        let archiver = &self.options.archiver;
        let soon = archiver.answers() && archiver.ends_of(key, seq, seq).is_some();
        let often = self.options.gap_after / 100;
        if soon { often.min(LOOK) } else { often }
    }

    /// Why what nobody lends is missing: what lies in an archive that does not answer has not expired.
    pub(crate) fn not_lent(&self, key: LogKey, from: u64, mut missing: Missing) -> Missing {
        let archiver = &self.options.archiver;
        if missing.reason != GapReason::Expired || !archiver.any() {
            return missing;
        }
        if let Some(end) = archiver.spoilt(key, from) {
            return Missing { to: missing.to.min(end), reason: GapReason::Corrupt };
        }
        if archiver.answers() {
            return missing;
        }
        match (archiver.kept(), archiver.kept_of(key)) {
            (None, _) => missing.reason = GapReason::Unreachable,
            (Some(_), Some(kept)) if from <= kept.last && missing.to >= kept.first => {
                if from < kept.first {
                    missing.to = kept.first - 1;
                } else {
                    missing = Missing { to: missing.to.min(kept.last), reason: GapReason::Unreachable };
                }
            }
            _ => {}
        }
        missing
    }

    /// Keeps a batch of the archive's for who waits for it. Says no where nobody does, or its log ended before.
    fn lend(&self, batch: &Arc<Loaded>) -> bool {
        let (key, first, last) = (batch.key(), batch.header().first, batch.header().last());
        let forked = self.order().logs.get(&key).and_then(|log| log.forked);
        let mut peers = self.for_peers();
        let wanted = forked.is_none_or(|end| last < end) && peers.wishes.has(key, first, last);
        if wanted {
            peers.borrowed.put(batch, self.moment());
        }
        wanted
    }

    /// Whether the archive is to lend what a reader waits for: what it holds and this node dropped or never had, and of what is
    /// still to come what no peer has.
    fn is_for_archive(&self, wish: Wish) -> bool {
        let archiver = &self.options.archiver;
        let next = if wish.newest_first { wish.to } else { wish.from };
        if !archiver.answers() || archiver.ends_of(wish.log, next, next).is_none() {
            return false;
        }
        let coming = {
            let order = self.order();
            order.logs.get(&wish.log).is_some_and(|log| next >= log.floor && next <= log.head)
        };
        !coming || !self.is_stored(wish.log, next) && !self.holders.may_have(wish.log, next, next)
    }

    fn is_stored(&self, key: LogKey, seq: u64) -> bool {
        self.find(key, seq, Direction::Asc)
            .is_ok_and(|found| found.is_some_and(|(.., stored)| stored.first <= seq))
    }

    /// Sets a cursor behind all that the archive holds from before a time. Of each origin the oldest logs that are not here are
    /// finished; others are named.
    pub(crate) fn pass_archived(&self, cursor: &mut Cursor, beyond: &Beyond, time: Micros) {
        let order = self.order();
        let old = beyond.iter().filter(|(_, kept)| kept.time_last < time);
        old.for_each(|(key, kept)| cursor.set(*key, order.shard(*key), kept.last));
        for (origin, mark) in finished(&order, beyond, time, self.options.shard_bits) {
            cursor.set_done(origin, WHOLE, mark);
        }
    }
}

/// Per origin the log up to which all ended before a time and are only in the archive, each followed by another one.
fn finished(order: &Order, beyond: &Beyond, time: Micros, shard_bits: u8) -> BTreeMap<Origin, LogId> {
    let mut logs: BTreeMap<Origin, BTreeMap<LogId, bool>> = BTreeMap::new();
    if shard_bits > 0 {
        // Of which shard they are is not known.
        return BTreeMap::new();
    }
    for key in order.logs.keys() {
        logs.entry(key.origin).or_default().insert(key.log, false);
    }
    for (key, kept) in beyond {
        let ended = kept.time_last < time && !order.logs.contains_key(key);
        logs.entry(key.origin).or_default().insert(key.log, ended);
    }
    let mark = |logs: BTreeMap<LogId, bool>| {
        let ended = logs.len().saturating_sub(1);
        logs.into_iter().take(ended).take_while(|(_, ended)| *ended).last().map(|(log, _)| log)
    };
    logs.into_iter().filter_map(|(origin, logs)| Some((origin, mark(logs)?))).collect()
}

impl Store {
    /// What readers wait for and peers are to lend.
    pub fn wishes(&self) -> Vec<Wish> {
        let mut open = self.open_wishes();
        if self.shared.options.archiver.any() {
            open.retain(|wish| !self.shared.is_for_archive(*wish));
        }
        open
    }

    /// What readers wait for and the archive is to lend.
    pub fn wishes_to_archive(&self) -> Vec<Wish> {
        let mut open = self.open_wishes();
        open.retain(|wish| self.shared.is_for_archive(*wish));
        open
    }

    /// What readers wait for, but for what was lent already.
    fn open_wishes(&self) -> Vec<Wish> {
        let (now, mut peers) = (self.shared.moment(), self.shared.for_peers());
        peers.borrowed.forget_old(now);
        let open = peers.wishes.open(now);
        let readers = open.len();
        open.into_iter().filter_map(|wish| peers.borrowed.lacks(wish, readers)).collect()
    }

    /// Resolves once a reader waits for more than before.
    pub async fn wished(&self) {
        let wished = self.shared.for_peers().wishes.wished.clone();
        wished.notified().await;
    }

    /// Takes a checked batch that the archive lends. Says no where no reader waits for it.
    pub fn lend(&self, batch: &Arc<Loaded>) -> bool {
        self.shared.lend(batch)
    }
}
