//! Lending: what readers wait for and the store has not is read from the archive, a few ranges at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::ids::LogKey;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::Shared;
use super::fetch::{Batch, Fetched, Shelves};
use super::session::Session;
use super::trouble::Trouble;
use crate::store::{Loaded, Store, Wish, system_time};

/// How many ranges are fetched at once; each takes about a megabyte.
const FETCHES: usize = 4;
/// About how many bytes are fetched of a range at once.
const BYTES: usize = 1 << 20;
/// How many rows are fetched at once: of unknown size, so at least some batches, and not too many that might be large.
const ROWS: (usize, usize) = (4, 256);
/// How often it is looked what is wished for, beside when a reader says so.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is asked which logs the keyspace holds, and how often until that is known.
const ASK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How long after a failure nothing is fetched.
const PAUSE: Duration = Duration::from_millis(500);

/// The end at which a range is read: one fetch at a time reads from there.
type End = (LogKey, bool, u64);

fn end(wish: Wish) -> End {
    (wish.log, wish.newest_first, if wish.newest_first { wish.to } else { wish.from })
}

/// Lends to the readers of one store.
pub(super) struct Lender {
    shared: Arc<Shared>,
    store: Store,
    shelves: Option<(Arc<Session>, Arc<Shelves>)>,
    running: FuturesUnordered<BoxFuture<'static, (Wish, Result<Fetched, Trouble>)>>,
    busy: BTreeSet<End>,
    paused: Option<Instant>,
}

impl Lender {
    pub(super) fn new(shared: Arc<Shared>, store: Store) -> Self {
        Self {
            shared,
            store,
            shelves: None,
            running: FuturesUnordered::new(),
            busy: BTreeSet::new(),
            paused: None,
        }
    }

    /// Lends for ever.
    pub(super) async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let store = self.store.clone();
        loop {
            Box::pin(self.begin()).await;
            tokio::select! {
                Some((wish, fetched)) = self.running.next(), if !self.running.is_empty() => {
                    self.take(wish, fetched).await;
                }
                () = store.wished() => {}
                _ = looks.tick() => {}
            }
        }
    }

    /// Begins to fetch what is wished for.
    async fn begin(&mut self) {
        if self.running.len() >= FETCHES || self.paused.is_some_and(|until| until > Instant::now()) {
            return;
        }
        let wishes = self.store.wishes_to_archive();
        if wishes.is_empty() {
            return;
        }
        let Some(shelves) = self.shelves().await else { return };
        for wish in wishes {
            if self.running.len() >= FETCHES || !self.busy.insert(end(wish)) {
                continue;
            }
            let rows = self.shared.shelf().rows_in(wish.log, BYTES).clamp(ROWS.0, ROWS.1);
            let shelves = shelves.clone();
            self.running.push(Box::pin(async move { (wish, shelves.fetch(wish, rows).await) }));
        }
    }

    /// The statements of the session that there is.
    async fn shelves(&mut self) -> Option<Arc<Shelves>> {
        let session = self.shared.session.borrow().clone()?;
        if let Some((of, shelves)) = &self.shelves
            && Arc::ptr_eq(of, &session)
        {
            return Some(shelves.clone());
        }
        match Box::pin(Shelves::new(session.clone())).await {
            Ok(shelves) => Some(self.shelves.insert((session, Arc::new(shelves))).1.clone()),
            Err(trouble) => {
                self.failed(&trouble);
                None
            }
        }
    }

    fn failed(&mut self, trouble: &Trouble) {
        self.shared.failed(trouble);
        self.paused = Some(Instant::now() + PAUSE);
    }

    /// Checks what was fetched as anything foreign is checked, and lends it.
    async fn take(&mut self, wish: Wish, fetched: Result<Fetched, Trouble>) {
        self.busy.remove(&end(wish));
        let Fetched { batches, lacks } = match fetched {
            Ok(fetched) => fetched,
            Err(trouble) => return self.failed(&trouble),
        };
        self.shared.worked();
        let bytes = batches.iter().map(|batch| batch.bytes.len()).sum();
        let (rows, store) = (batches.len(), self.store.clone());
        let checked = tokio::task::spawn_blocking(move || check(&store, wish.log, batches)).await;
        let (good, bad) = checked.unwrap_or_default();
        good.iter().for_each(|batch| _ = self.store.lend(batch));
        self.shared.counts.lent.fetch_add(good.len() as u64, std::sync::atomic::Ordering::Relaxed);
        let (now, mut shelf) = (Instant::now(), self.shared.shelf());
        shelf.weigh(wish.log, rows, bytes);
        lacks.into_iter().for_each(|(from, to)| shelf.lacks(wish.log, from, to, now));
        bad.into_iter().for_each(|(from, to)| shelf.spoils(wish.log, from, to, now));
    }
}

/// The batches that are what they are said to be, and the ranges of the others. Blocks.
fn check(store: &Store, log: LogKey, batches: Vec<Batch>) -> (Vec<Arc<Loaded>>, Vec<(u64, u64)>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for Batch { first, last, bytes } in batches {
        match store.check(bytes) {
            Ok(batch)
                if batch.key() == log && batch.header().first == first && batch.header().last() == last =>
            {
                good.push(batch);
            }
            _ => {
                tracing::warn!(%log, first, last, "Cassandra holds a batch that is not what was archived");
                bad.push((first, last));
            }
        }
    }
    (good, bad)
}

impl Shared {
    /// Keeps knowing which logs the keyspace holds.
    pub(super) async fn know_logs(self: Arc<Self>) {
        let mut shelves: Option<(Arc<Session>, Shelves)> = None;
        loop {
            let session = self.session.borrow().clone();
            let known = match session {
                Some(session) => Box::pin(self.ask_for_logs(&mut shelves, session)).await,
                None => Ok(()),
            };
            if let Err(trouble) = known {
                self.failed(&trouble);
            }
            let known = self.shelf().kept().is_some();
            tokio::time::sleep(if known { ASK.1 } else { ASK.0 }).await;
        }
    }

    async fn ask_for_logs(
        &self,
        shelves: &mut Option<(Arc<Session>, Shelves)>,
        session: Arc<Session>,
    ) -> Result<(), Trouble> {
        if !shelves.as_ref().is_some_and(|(of, _)| Arc::ptr_eq(of, &session)) {
            *shelves = Some((session.clone(), Box::pin(Shelves::new(session.clone())).await?));
        }
        let Some((_, shelves)) = shelves else { return Ok(()) };
        let logs = shelves.logs().await?;
        let ttl = session.ttl().and_then(|ttl| u64::try_from(ttl.as_micros()).ok());
        let expired = ttl.map_or(0, |ttl| system_time().saturating_sub(ttl));
        self.shelf().stand(logs.into_iter(), expired);
        Ok(())
    }
}
