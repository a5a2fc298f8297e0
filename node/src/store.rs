//! The store: everything that a node holds, in the order in which it became visible here, and its readers.
//!
//! One thread appends ([`writer`]), one makes stable ([`sync`]), any number read. The way of a record: [`Store::publish`] →
//! [`own`] (batch, Merkle root, signature) → [`entry`] in a [`segment`] → [`order`] and [`index`] → [`tail`] → [`Reader`].

mod disk;
mod entry;
mod options;
mod own;
mod dedupe;
mod acceptance;
pub(crate) mod order;
mod index;
mod segment;
mod replay;
mod forks;
mod recovery;
mod sync;
mod in_flight;
mod shared;
mod appender;
mod writer;
mod retention;
mod tail;
mod topics;
mod loaded;
pub(crate) mod place;
mod read;
mod reader;
mod halves;
mod opening;
mod history;
mod peers;
mod borrowed;
mod lending;
mod damage;
mod archiving;

#[cfg(test)]
pub(crate) mod driven;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::task::{Context, Poll};

use anode_shared::batch::Proof;
use anode_shared::cursor::Cursor;
use anode_shared::frames::GapReason;
use anode_shared::ids::{Origin, RecordId};
use anode_shared::status::TopicStatus;
use anode_shared::time::Micros;
use anode_shared::topic::Topics;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tokio::sync::{oneshot, watch};

pub use acceptance::Verdict;
pub use archiving::{Archived, Archiver, Kept, Newest, NoArchive};
pub use disk::memory::Memory;
pub use disk::{Disk, DiskFile, Folder};
pub use history::{Direction, History, HistoryError, Page};
pub use loaded::{Loaded, Slice};
pub use opening::{Opening, OpeningError};
pub use options::{Holders, Nobody, StoreOptions, system_time};
pub use own::{NewRecord, Source};
pub use peers::{Change, LogView, OwnLogHead, Wish};
pub use reader::{Item, Lag, Reader, Step, Then};
pub use replay::ForkEntry;
pub use shared::{Counters, Refused};

use in_flight::Queued;
use shared::Shared;
use writer::{Command, Reply, Writer};

/// How long a record is waited for that is not stored here and the archive or a peer may have.
const LENDING: std::time::Duration = std::time::Duration::from_secs(3);

/// Where a reader begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With what comes next.
    Live,
    /// With the oldest record that is retained.
    Earliest,
    /// With the newest so many records that match, all logs together.
    Last(usize),
    /// With the newest record of each topic.
    Latest,
    /// With the first record at or after a time.
    Time(Micros),
    /// Behind a cursor.
    After(Cursor),
}

/// A record found by its id.
#[derive(Debug, Clone)]
pub struct Found {
    /// The batch that holds it.
    pub batch: Arc<Loaded>,
    /// Its place there.
    pub index: usize,
    /// What proves it.
    pub proof: Proof,
}

/// Why there is no record of that id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nobody here heard of it.
    Unknown,
    /// It was here, or should be.
    Gone(GapReason),
}

/// Figures of the store.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "each is named for what it counts")]
pub struct StoreStatus {
    pub failed: Option<String>,
    pub full: bool,
    pub draining: bool,
    pub bytes: u64,
    pub segments: u64,
    pub logs: u64,
    pub waiting_batches: u64,
    pub topics: u64,
    pub next_arrival: u64,
    pub unsynced_bytes: u64,
    pub in_flight_bytes: u64,
    pub fdatasyncs: u64,
    pub damaged: u64,
    pub early: u64,
}

/// The store. Clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
    commands: SyncSender<Command>,
    origin: Origin,
}

/// Records on their way to stable storage.
#[derive(Debug)]
pub struct Publishing(oneshot::Receiver<Result<Vec<RecordId>, Refused>>);

impl Future for Publishing {
    type Output = Result<Vec<RecordId>, Refused>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(Refused::Draining)))
    }
}

/// A batch on its way into the store.
#[derive(Debug)]
pub struct Accepting(Result<oneshot::Receiver<Verdict>, Verdict>);

impl Future for Accepting {
    type Output = Verdict;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(answer) => Pin::new(answer)
                .poll(context)
                .map(|verdict| verdict.unwrap_or(Verdict::Unable(Refused::Draining))),
            Err(verdict) => Poll::Ready(verdict.clone()),
        }
    }
}

impl Store {
    /// Opens the store that lies on the disk, or makes it. Blocks.
    ///
    /// # Errors
    /// When the disk cannot be read or written, or holds a newer format.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: StoreOptions,
        key: SigningKey,
        holders: Arc<dyn Holders>,
    ) -> anyhow::Result<Self> {
        let (store, writer, queue) = Self::prepare(disk, options, key, holders)?;
        let syncing = store.shared.clone();
        std::thread::Builder::new().name("store-sync".into()).spawn(move || syncing.commit.run())?;
        std::thread::Builder::new().name("store-writer".into()).spawn(move || writer.run(&queue))?;
        let indexing = store.shared.clone();
        std::thread::Builder::new()
            .name("store-index".into())
            .spawn(move || recovery::look_through(&indexing))?;
        Ok(store)
    }

    /// The store, and what its writer works with.
    fn prepare(
        disk: Arc<dyn Disk>,
        options: StoreOptions,
        key: SigningKey,
        holders: Arc<dyn Holders>,
    ) -> anyhow::Result<(Self, Writer, Receiver<Command>)> {
        let origin = Origin(key.verifying_key().to_bytes());
        let (shared, writer) = recovery::open(disk, options, key, holders)?;
        let (commands, queue) = sync_channel(in_flight::QUEUE + 1);
        Ok((Self { shared, commands, origin }, writer, queue))
    }

    /// Who signs the own logs.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// In how many bits of SHA-256(topic) the topics of a shard agree.
    pub fn shard_bits(&self) -> u8 {
        self.shared.options.shard_bits
    }

    /// Takes records into the own logs, all or none. What it gives resolves once they are on stable storage. Never blocks.
    ///
    /// # Errors
    /// When they cannot be taken now.
    pub fn publish(&self, records: Vec<NewRecord>) -> Result<Publishing, Refused> {
        self.offer(records).inspect_err(|refused| {
            let counters = &self.shared.counters;
            let counter = match refused {
                Refused::Overloaded | Refused::Draining => &counters.refused_overloaded,
                Refused::Full => &counters.refused_full,
                Refused::Failed => &counters.refused_failed,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn offer(&self, records: Vec<NewRecord>) -> Result<Publishing, Refused> {
        self.refuse(&records)?;
        let bytes = records.iter().map(NewRecord::size).sum();
        let hold = self.shared.in_flight.take(bytes).ok_or(Refused::Overloaded)?;
        let (to, answer) = oneshot::channel();
        self.send(|place| Command::Publish(records, Reply { to, hold }, place))?;
        Ok(Publishing(answer))
    }

    /// Gives the writer something to do, unless it has too much.
    fn send(&self, command: impl FnOnce(Queued) -> Command) -> Result<(), Refused> {
        let place = self.shared.in_flight.queue().ok_or(Refused::Overloaded)?;
        self.commands.try_send(command(place)).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Overloaded,
            TrySendError::Disconnected(_) => Refused::Draining,
        })
    }

    fn refuse(&self, records: &[NewRecord]) -> Result<(), Refused> {
        if self.shared.draining.load(Ordering::SeqCst) {
            return Err(Refused::Draining);
        }
        if self.shared.commit.failure().is_some() {
            return Err(Refused::Failed);
        }
        if self.shared.full.load(Ordering::SeqCst) && !records.is_empty() {
            return Err(Refused::Full);
        }
        Ok(())
    }

    /// Whether records that could do without a dedupe key may have one: those that need it must find room.
    pub fn can_spare_keys(&self) -> bool {
        dedupe::Dedupe::can_spare(self.shared.keys.load(Ordering::Relaxed))
    }

    /// Waits until a publish that was refused as [`Refused::Overloaded`] is worth another try.
    pub async fn room(&self) {
        self.shared.in_flight.room().await;
    }

    /// Takes a batch of another origin, or of an own log of an earlier start. Checks it on this thread.
    pub fn accept(&self, bytes: Bytes) -> Accepting {
        self.check(bytes).map_or_else(|verdict| Accepting(Err(verdict)), |batch| self.take(batch))
    }

    /// Checks that a batch is whole, of this network, and signed by its origin.
    ///
    /// # Errors
    /// With the verdict over one that is not.
    pub fn check(&self, bytes: Bytes) -> Result<Arc<Loaded>, Verdict> {
        let batch = Loaded::new(bytes).map_err(Verdict::Invalid)?;
        if batch.header().network != self.shared.options.network {
            return Err(Verdict::OtherNetwork);
        }
        batch.layout().verify(batch.bytes()).map_err(Verdict::Invalid)?;
        Ok(Arc::new(batch))
    }

    /// Takes a batch that was checked.
    pub fn take(&self, batch: Arc<Loaded>) -> Accepting {
        if self.shared.borrow(&batch) {
            return Accepting(Err(Verdict::Old));
        }
        let (to, answer) = oneshot::channel();
        let Some(hold) = self.shared.in_flight.take(batch.bytes().len()) else {
            return Accepting(Err(Verdict::Unable(Refused::Overloaded)));
        };
        match self.send(|place| Command::Accept(batch, to, hold, place)) {
            Ok(()) => Accepting(Ok(answer)),
            Err(refused) => Accepting(Err(Verdict::Unable(refused))),
        }
    }

    /// The number of the next arrival, as it changes.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.shared.newest.subscribe()
    }

    /// The number of the next arrival.
    pub fn next_arrival(&self) -> u64 {
        *self.shared.newest.borrow()
    }

    /// Begins to open a reader. Blocks.
    ///
    /// # Errors
    /// When storage cannot be read.
    pub fn open_reader(&self, start: &Start, topics: Topics) -> io::Result<Opening> {
        Opening::new(self.shared.clone(), start, topics)
    }

    /// A reader that begins at `start`. `keep` is its filter, for `last:N`. Blocks, however long that takes.
    ///
    /// # Errors
    /// When storage cannot be read, or too much is asked for.
    pub fn reader(
        &self,
        start: &Start,
        topics: Topics,
        keep: &dyn Fn(&Loaded, usize) -> bool,
    ) -> Result<Reader, OpeningError> {
        let mut opening = self.open_reader(start, topics)?;
        loop {
            if let Some(reader) = opening.round(keep)? {
                return Ok(reader);
            }
        }
    }

    /// Stored records by time. Blocks.
    ///
    /// # Errors
    /// When the page's token is none, or storage cannot be read.
    pub fn history(&self, ask: &History<'_>) -> Result<Page, HistoryError> {
        self.shared.history(ask)
    }

    /// A record with its proof. Blocks.
    ///
    /// # Errors
    /// With the reason why there is none.
    pub fn record(&self, id: &RecordId) -> Result<Found, Missing> {
        {
            self.shared.await_archive();
            let archived = self.shared.options.archiver.kept_of(id.key).map_or(0, |kept| kept.last);
            let order = self.shared.order();
            let log = order.logs.get(&id.key);
            if log.and_then(|log| log.forked).is_some_and(|end| id.seq >= end) {
                return Err(Missing::Gone(GapReason::Forked));
            }
            if id.seq > log.map_or(0, |log| log.head).max(archived) {
                return Err(Missing::Unknown);
            }
        }
        let kept = self.shared.holding(id.key, id.seq).filter(|_| !self.shared.is_expired(id.key, id.seq));
        let missing = || Missing::Gone(self.shared.missing(id.key, id.seq, id.seq).reason);
        let lent = || self.shared.fetch(id.key, id.seq, std::time::Instant::now() + LENDING);
        let batch = kept.or_else(lent).ok_or_else(missing)?;
        let index = usize::try_from(id.seq - batch.header().first).map_err(|_| Missing::Unknown)?;
        let proof = batch.proof(index).ok_or(Missing::Unknown)?;
        Ok(Found { batch, index, proof })
    }

    /// Each topic with its figures.
    pub fn topics(&self) -> Vec<TopicStatus> {
        self.topics_after("", usize::MAX)
    }

    /// So many topics behind a name, by name.
    pub fn topics_after(&self, name: &str, limit: usize) -> Vec<TopicStatus> {
        self.shared.topic_table().after(name, limit, (self.shared.options.clock)())
    }

    /// Proofs of all forks that were found.
    pub fn forks(&self) -> Vec<ForkEntry> {
        self.shared.forks().iter().cloned().collect()
    }

    /// What the store did since its start.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The store's figures.
    pub fn status(&self) -> StoreStatus {
        let (bytes, segments) = {
            let segments = self.shared.segments();
            (segments.values().map(|segment| segment.bytes()).sum(), segments.len() as u64)
        };
        let (logs, waiting_batches, next_arrival) = {
            let order = self.shared.order();
            (
                order.logs.len() as u64,
                order.logs.values().map(|log| log.waiting.len() as u64).sum(),
                order.next,
            )
        };
        StoreStatus {
            failed: self.shared.commit.failure(),
            full: self.shared.full.load(Ordering::SeqCst),
            draining: self.shared.draining.load(Ordering::SeqCst),
            bytes,
            segments,
            logs,
            waiting_batches,
            topics: self.shared.topic_table().len() as u64,
            next_arrival,
            unsynced_bytes: self.shared.commit.unsynced(),
            in_flight_bytes: self.shared.in_flight.bytes() as u64,
            fdatasyncs: self.shared.commit.count(),
            damaged: self.shared.counters.damaged.load(Ordering::Relaxed),
            early: self.shared.early().len() as u64,
        }
    }

    /// Refuses new records, writes and syncs what is in flight, and ends the store's threads. Reading goes on. Blocks.
    pub fn drain(&self) {
        if self.shared.draining.swap(true, Ordering::SeqCst) {
            return;
        }
        let (to, done) = sync_channel(1);
        if self.commands.send(Command::Drain(to)).is_ok() {
            // The writer answers or has ended; either way nothing is in flight any more.
            let _ = done.recv();
        }
    }
}
