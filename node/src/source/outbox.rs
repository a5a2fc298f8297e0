//! Records on their way into the store: in order, bounded, with back-pressure instead of loss.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::sleep;

use super::live::Live;
use crate::store::{NewRecord, Publishing, Refused, Store};

/// How many publishes may wait for stable storage: a fast stream fills a group commit with them.
const MOST: usize = 256;
/// How often the store is asked again while the disk has no room.
const AGAIN: Duration = Duration::from_secs(1);
/// How long it is asked before the records are given up, and said so.
const PATIENCE: Duration = Duration::from_secs(10);

/// One source's records that are not on stable storage yet, each with what is true once they are.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    waiting: VecDeque<(Publishing, T)>,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

impl<T> Outbox<T> {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether nothing more should be taken before something has left.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST
    }

    /// Adds what the store has taken.
    pub(super) fn push(&mut self, publishing: Publishing, then: T) {
        self.waiting.push_back((publishing, then));
    }

    /// The next that reaches stable storage or fails to, in order; waits for ever where nothing waits. May be dropped
    /// at any time.
    pub(super) async fn next(&mut self) -> (Result<(), Refused>, T) {
        let Some((publishing, _)) = self.waiting.front_mut() else { return std::future::pending().await };
        let stored = publishing.await;
        match self.waiting.pop_front() {
            Some((_, then)) => (stored.map(drop), then),
            None => std::future::pending().await,
        }
    }
}

/// Hands records to the store, waiting while it has no room.
///
/// # Errors
/// When the store cannot take them now or ever.
pub(super) async fn hand_over(
    store: &Store,
    live: &Live,
    records: &[NewRecord],
) -> Result<Publishing, Refused> {
    let mut waited = Duration::ZERO;
    loop {
        match store.publish(records.to_vec()) {
            Ok(publishing) => return Ok(publishing),
            Err(Refused::Overloaded) => {
                live.totals().waits_for_the_store.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                store.room().await;
            }
            Err(Refused::Full) if waited < PATIENCE => {
                sleep(AGAIN).await;
                waited += AGAIN;
            }
            Err(refused) => return Err(refused),
        }
    }
}
