//! How often each endpoint was asked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::Serialize;

use super::board::{MOST, lock};

/// How often each endpoint was asked.
#[derive(Debug, Default)]
pub struct Counts {
    paths: Mutex<BTreeMap<String, Arc<Count>>>,
}

/// One endpoint's count.
#[derive(Debug, Default)]
pub struct Count {
    /// Requests, also those of open streams.
    pub requests: AtomicU64,
    /// Streams and answers that are under way.
    pub open: AtomicU64,
    statuses: Mutex<BTreeMap<u16, u64>>,
}

/// One endpoint's count as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Requests, also those of open streams.
    pub requests: u64,
    /// Streams and answers that are under way.
    pub open: u64,
    /// Answers by status; 0 where the connection was closed instead.
    pub statuses: BTreeMap<u16, u64>,
}

/// Endpoints that are counted apart; what comes later is counted as `other`.
const COUNTED: usize = 3 * MOST;

impl Counts {
    /// The count of a path.
    pub fn of(&self, path: &str) -> Arc<Count> {
        let mut paths = lock(&self.paths);
        if let Some(count) = paths.get(path) {
            return Arc::clone(count);
        }
        let path = if paths.len() < COUNTED { path } else { "other" };
        Arc::clone(paths.entry(path.to_owned()).or_default())
    }

    /// All counts.
    pub fn all(&self) -> BTreeMap<String, Counted> {
        let shown = |(path, count): (&String, &Arc<Count>)| {
            let counted = Counted {
                requests: count.requests.load(Ordering::Relaxed),
                open: count.open.load(Ordering::Relaxed),
                statuses: lock(&count.statuses).clone(),
            };
            (path.clone(), counted)
        };
        lock(&self.paths).iter().map(shown).collect()
    }
}

impl Count {
    /// Counts an answer; 0 is none.
    pub fn answered(&self, status: u16) {
        *lock(&self.statuses).entry(status).or_default() += 1;
    }

    /// Counts something as open until the guard is dropped.
    pub fn open(self: Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }
}

/// Something that is under way.
#[derive(Debug)]
pub struct Open(Arc<Count>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
