//! What the archive sees of the store: which logs changed, batches to write, and what it may not drop yet.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anode_shared::ids::{LogKey, RecordId};
use anode_shared::mesh::total;
use anode_shared::time::Micros;
use anode_shared::topic::Topics;
use tokio::sync::oneshot;

use super::loaded::Loaded;
use super::opening::MOST_TOPICS;
use super::segment::Segment;
use super::shared::Shared;
use super::{LogView, Start, Store};

/// The archive, as the store sees it. Without one nothing is archived.
pub trait Archiver: std::fmt::Debug + Send + Sync {
    /// Whether there is an archive at all.
    fn any(&self) -> bool {
        false
    }

    /// How far a log is archived, where this node is to archive it: the rest is not dropped by age.
    fn archived_of(&self, _log: LogKey) -> Option<Archived> {
        None
    }

    /// Says, once it is so, that these records are in the archive.
    fn archived(&self, _ids: &[RecordId]) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        Box::pin(std::future::ready(false))
    }

    /// Where the newest archived record of each topic is, of at most so many topics. Answers soon, with nothing where the
    /// archive does not.
    fn newest(&self, _topics: &Topics, _most: usize) -> Pin<Box<dyn Future<Output = Newest> + Send>> {
        Box::pin(std::future::ready(Newest::new()))
    }

    /// Whether it has just started, and will know in a moment what it holds.
    fn opens(&self) -> bool {
        false
    }

    /// All logs of which it holds anything, whoever made them; none while it is not known what it holds.
    fn kept(&self) -> Option<Arc<BTreeMap<LogKey, Kept>>> {
        Some(Arc::default())
    }

    /// What it holds of a log.
    fn kept_of(&self, log: LogKey) -> Option<Kept> {
        self.kept()?.get(&log).copied()
    }

    /// The first and the last seq of a range that it can lend: as of a peer, some between may turn out missing.
    fn ends_of(&self, _log: LogKey, _from: u64, _to: u64) -> Option<(u64, u64)> {
        None
    }

    /// Up to which seq on from one what it holds of a log turned out not to be what was archived.
    fn spoilt(&self, _log: LogKey, _from: u64) -> Option<u64> {
        None
    }

    /// Whether it answers at present, so that peers need not be asked for what it holds.
    fn answers(&self) -> bool {
        false
    }
}

/// What an archive holds of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The lowest seq that was ever archived, and its time.
    pub first: u64,
    /// The time of that record.
    pub time_first: Micros,
    /// The highest seq.
    pub last: u64,
    /// The time of that record.
    pub time_last: Micros,
}

/// The newest record of each topic: its time, log and seq.
pub type Newest = BTreeMap<Box<str>, (Micros, LogKey, u64)>;

/// How far a log is archived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archived {
    /// Everything up to here is, but for holes.
    pub to: u64,
    /// Ranges below that were missing then, both ends inclusive.
    pub holes: Vec<(u64, u64)>,
}

/// No archive.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoArchive;

impl Archiver for NoArchive {}

/// How many records of a segment are to be archived and are not.
pub(crate) fn unarchived(shared: &Shared, segment: &Segment) -> u64 {
    let archiver = &shared.options.archiver;
    if !archiver.any() {
        return 0;
    }
    let spans: Vec<_> = segment
        .with_summary(|summary| summary.spans.iter().map(|(key, span)| (*key, *span)).collect())
        .unwrap_or_default();
    let left = spans.into_iter().map(|(key, span)| {
        let Some(archived) = archiver.archived_of(key) else { return 0 };
        // Behind a fork nothing is archived.
        let end = shared.order().logs.get(&key).and_then(|log| log.forked).unwrap_or(u64::MAX);
        let above = span.last.min(end - 1).saturating_sub(archived.to.max(span.first.saturating_sub(1)));
        let inside = |(first, last): &&(u64, u64)| *first <= span.last && *last >= span.first;
        let holes = archived.holes.iter().filter(inside).map(|hole| held(segment, key, *hole));
        // An origin may have signed any seqs.
        total(holes.chain([above]))
    });
    total(left)
}

/// How many records of a range a segment holds.
fn held(segment: &Segment, key: LogKey, (first, last): (u64, u64)) -> u64 {
    let count = segment.with_index(|index| {
        let (mut count, mut next) = (0, first);
        while let Some((_, stored)) = index.at_or_after(key, next).filter(|(_, stored)| stored.first <= last)
        {
            count += stored.last.min(last) + 1 - stored.first.max(next);
            next = stored.last + 1;
        }
        count
    });
    count.unwrap_or(0)
}

impl Store {
    /// Where the newest archived records are that a reader which begins at `start` is given.
    pub async fn newest_archived(&self, start: &Start, topics: &Topics) -> Newest {
        match start {
            // One more than there may be, so that it shows.
            Start::Latest => self.shared.options.archiver.newest(topics, MOST_TOPICS + 1).await,
            _ => Newest::new(),
        }
    }

    /// How the logs are that changed since the archive asked last, none where it is gone; all of them at first.
    pub fn changes_to_archive(&self) -> Vec<(LogKey, Option<LogView>)> {
        let order = self.shared.order();
        let touched = self.shared.for_peers().touched_for_archive();
        touched.into_iter().map(|key| (key, order.logs.get(&key).map(LogView::of))).collect()
    }

    /// Batches of a log that follow each other, beginning with the one that holds `from`, at most so many bytes, but one at
    /// least. Where that one cannot be read: the last seq of which that is so. Blocks.
    ///
    /// # Errors
    /// When storage cannot be read.
    pub fn run_of_batches(
        &self,
        key: LogKey,
        from: u64,
        to: u64,
        most: usize,
    ) -> io::Result<Result<Vec<Arc<Loaded>>, u64>> {
        let (mut found, mut bytes, mut next, mut near) = (Vec::new(), 0, from, None);
        let mut unreadable = to;
        while next <= to && bytes < most {
            let Some((segment, _, stored)) = self.shared.find_near(&mut near, key, next)? else { break };
            if stored.first > next {
                unreadable = stored.first - 1;
                break;
            }
            let Ok(batch) = self.shared.load_stored(&segment, &stored) else {
                unreadable = stored.last;
                break;
            };
            bytes += batch.bytes().len();
            next = stored.last + 1;
            found.push(batch);
        }
        Ok(if found.is_empty() { Err(unreadable.min(to)) } else { Ok(found) })
    }

    /// When the first record at or behind a seq was accepted, as far as it is stored. Blocks.
    pub fn time_at(&self, key: LogKey, seq: u64) -> Option<Micros> {
        let found = self.shared.find_near(&mut None, key, seq).ok()??;
        Some(found.2.time_first)
    }

    /// Waits until all that is written now is on stable storage; says no where it cannot be any more.
    pub async fn synced(&self) -> bool {
        let (tell, told) = oneshot::channel();
        self.shared.commit.when_synced(Box::new(move |stable| _ = tell.send(stable)));
        told.await.unwrap_or(false)
    }

    /// How many records the store had to drop before they were archived.
    pub fn dropped_unarchived(&self) -> u64 {
        self.shared.counters.dropped_unarchived.load(Ordering::Relaxed)
    }
}
