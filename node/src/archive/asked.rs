//! What the store asks of the archive.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anode_shared::ids::{LogKey, RecordId};
use anode_shared::topic::Topics;

use super::Shared;
use crate::store::{Archived, Archiver, Kept, Newest};

/// How long readers wait after the start until it is known what the archive holds.
const OPENING: Duration = Duration::from_secs(5);
/// How long Cassandra must have been lost for readers not to wait for what it holds.
const MISSED: Duration = Duration::from_secs(20);

/// The archive as the store asks it.
#[derive(Debug)]
pub(super) struct Asked(pub(super) Arc<Shared>);

impl Archiver for Asked {
    fn any(&self) -> bool {
        true
    }

    fn archived_of(&self, log: LogKey) -> Option<Archived> {
        self.0.board().archived_of(log)
    }

    fn newest(&self, topics: &Topics, most: usize) -> Pin<Box<dyn Future<Output = Newest> + Send>> {
        let (shared, topics) = (self.0.clone(), topics.clone());
        Box::pin(async move { shared.newest(&topics, most).await })
    }

    fn opens(&self) -> bool {
        let (shared, now) = (&self.0, Instant::now());
        let early = now.saturating_duration_since(shared.began) < OPENING;
        early && shared.shelf().kept().is_none() && shared.health.lost_for(now).is_none()
    }

    fn kept(&self) -> Option<Arc<BTreeMap<LogKey, Kept>>> {
        self.0.shelf().kept().cloned()
    }

    fn ends_of(&self, log: LogKey, from: u64, to: u64) -> Option<(u64, u64)> {
        let now = Instant::now();
        if self.0.health.lost_for(now).is_some_and(|lost| lost >= MISSED) {
            return None;
        }
        let done = self.0.board().progress.get(&log).map_or(0, |progress| progress.done);
        self.0.shelf().ends_of(log, from, to, done, now)
    }

    fn spoilt(&self, log: LogKey, from: u64) -> Option<u64> {
        self.0.shelf().spoilt(log, from, Instant::now())
    }

    fn answers(&self) -> bool {
        self.0.session.borrow().is_some() && self.0.health.lost_for(Instant::now()).is_none()
    }

    fn archived(&self, ids: &[RecordId]) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        let mut wanted: BTreeMap<LogKey, Vec<u64>> = BTreeMap::new();
        for id in ids {
            wanted.entry(id.key).or_default().push(id.seq);
        }
        Box::pin(self.0.clone().archived(wanted))
    }
}

impl Shared {
    /// Waits until the records are archived.
    async fn archived(self: Arc<Self>, last: BTreeMap<LogKey, Vec<u64>>) -> bool {
        self.waiting.fetch_add(1, Relaxed);
        let _one_less = Waiting(&self.waiting);
        let mut progress = self.progress.subscribe();
        loop {
            progress.borrow_and_update();
            let held = {
                let board = self.board();
                last.iter().all(|(key, seqs)| seqs.iter().all(|seq| board.holds(*key, *seq)))
            };
            if held {
                return true;
            }
            self.kick.notify_one();
            if progress.changed().await.is_err() {
                return false;
            }
        }
    }
}

/// Somebody who waits, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
