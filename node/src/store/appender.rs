//! The end of the newest segment: entries are written there, take effect on order and index, and become visible.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use anode_shared::codec;

use super::disk::Disk;
use super::entry::{self, Head, Kind};
use super::index::Index;
use super::loaded::Loaded;
use super::options::StoreOptions;
use super::order::{Arrival, Order, Place};
use super::replay::{self, JumpEntry};
use super::segment::{Checkpoint, FORMAT, Segment, place_of};
use super::shared::{Refused, Shared};
use super::tail;

mod backfill;

/// What appends.
#[derive(Debug)]
pub(crate) struct Appender {
    shared: Arc<Shared>,
    active: Arc<Segment>,
    index: Arc<RwLock<Index>>,
    backfill: Option<Written>,
    /// A segment was sealed since this was looked at last.
    rolled: bool,
}

/// A segment that is written to, and its index.
pub(crate) type Written = (Arc<Segment>, Arc<RwLock<Index>>);

impl Appender {
    /// Goes on at the end of a segment, and of one of backfill.
    pub(crate) fn new(shared: Arc<Shared>, active: Written, backfill: Option<Written>) -> Self {
        let (active, index) = active;
        Self { shared, active, index, backfill, rolled: false }
    }

    /// Whether a segment was sealed since this was asked last.
    pub(crate) fn has_rolled(&mut self) -> bool {
        std::mem::take(&mut self.rolled)
    }

    /// The segment that is written to.
    pub(crate) fn active(&self) -> &Segment {
        &self.active
    }

    /// Whether the segment holds no batch yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.index.read().unwrap_or_else(PoisonError::into_inner).batches.is_empty()
    }

    /// Appends a batch and makes visible what follows.
    pub(crate) fn batch(&mut self, kind: Kind, batch: &Arc<Loaded>) -> Result<(), Refused> {
        let arrival = if kind == Kind::Waiting { 0 } else { self.shared.order().next };
        let (head, place) = self.append(kind, arrival, batch.bytes())?;
        let arrivals = {
            let mut order = self.shared.order();
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            replay::apply_batch(&mut order, &mut index, head, batch.layout(), batch.bytes(), place)
        };
        self.shared.for_peers().touch(batch.key());
        self.show(&arrivals, Some(batch));
        Ok(())
    }

    /// Goes on without a range.
    pub(crate) fn jump(&mut self, jump: &JumpEntry) -> Result<(), Refused> {
        let arrival = self.shared.order().next;
        self.append(Kind::Jump, arrival, &codec::encode(jump))?;
        let arrivals = {
            let mut order = self.shared.order();
            let arrivals = order.take_jump(jump.key, jump.to);
            self.index.write().unwrap_or_else(PoisonError::into_inner).arrive(&arrivals);
            arrivals
        };
        self.shared.for_peers().touch(jump.key);
        self.show(&arrivals, None);
        Ok(())
    }

    /// Appends an entry.
    pub(crate) fn append(&mut self, kind: Kind, arrival: u64, body: &[u8]) -> Result<(Head, Place), Refused> {
        if self.shared.commit.failure().is_some() {
            return Err(Refused::Failed);
        }
        if self.active.bytes() >= self.shared.options.segment_bytes
            && !matches!(kind, Kind::Floors | Kind::Closing)
        {
            self.roll().map_err(|error| self.failed(&error))?;
        }
        let offset = self.active.bytes();
        let synced = offset.saturating_sub(self.shared.commit.unsynced());
        let salt = self.active.salt.load(Ordering::SeqCst);
        let head = Head { kind, arrival, synced, when: (self.shared.options.clock)(), salt };
        let bytes = entry::encode(head, body, offset);
        self.active.file.write_at(&bytes, offset).map_err(|error| self.failed(&error))?;
        self.active.length.store(offset + bytes.len() as u64, Ordering::SeqCst);
        self.shared.commit.wrote(bytes.len() as u64);
        self.shared.counters.bytes_written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let (offset, length) =
            (u32::try_from(offset).unwrap_or(u32::MAX), u32::try_from(body.len()).unwrap_or(u32::MAX));
        Ok((head, Place { segment: self.active.id, offset, length }))
    }

    /// What a failed write means: a full disk is waited out (the next append writes over what was torn), anything else
    /// leaves the disk untrusted.
    pub(crate) fn failed(&self, error: &io::Error) -> Refused {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            self.shared.full.store(true, Ordering::SeqCst);
            tracing::warn!(%error, "The disk is full; publishes are refused until there is room");
            return Refused::Full;
        }
        tracing::error!(%error, "Failed to write; nothing is acknowledged any more");
        self.shared.commit.fail(&format!("a write failed: {error}"));
        Refused::Failed
    }

    /// Seals the segment and begins the next with a checkpoint.
    pub(crate) fn roll(&mut self) -> io::Result<()> {
        let order = self.shared.order().clone();
        let id = self.active.id + 1;
        let before = Arc::downgrade(&self.active);
        let segment = Arc::new(begin_segment(&self.shared.disk, &self.shared.options, id, &order, before)?);
        let index = segment.activate(Index::beginning(&order));
        self.shared.commit.roll(segment.file.clone());
        let sealed = std::mem::replace(&mut self.active, segment.clone());
        self.index = index;
        self.shared.segments().insert(id, segment);
        self.rolled = true;
        seal(&sealed);
        Ok(())
    }

    /// Makes arrivals visible: into the tail, and known to all who wait.
    fn show(&self, arrivals: &[Arrival], batch: Option<&Arc<Loaded>>) {
        if arrivals.is_empty() {
            return;
        }
        let items: Vec<tail::Item> = arrivals
            .iter()
            .map(|arrival| {
                let same =
                    batch.filter(|batch| batch.key() == arrival.key && batch.header().first == arrival.first);
                let place = place_of(arrival.what);
                // What came late is read by seq: nobody looks for it here.
                let batch = place.and_then(|place| same.cloned().or_else(|| self.shared.load(place).ok()));
                tail::Item { arrival: *arrival, batch, segment: self.active.clone() }
            })
            .collect();
        items.iter().filter_map(|item| item.batch.as_ref()).for_each(|batch| self.shared.count_topics(batch));
        let mut tail = self.shared.tail.write().unwrap_or_else(PoisonError::into_inner);
        items.into_iter().for_each(|item| tail.push(item));
        let next = tail.next();
        drop(tail);
        self.shared.newest.send_replace(next);
    }
}

/// What is written to no more: its index goes to the disk.
pub(super) fn seal(segment: &Segment) {
    if let Err(error) = segment.write_index() {
        // It is derived: the next who wants it makes it anew.
        tracing::warn!(%error, "Failed to write an index");
    }
    segment.sealed.store(true, Ordering::SeqCst);
    segment.unload();
}

/// Makes a segment that begins with a checkpoint of `order`, both on stable storage.
pub(crate) fn begin_segment(
    disk: &Arc<dyn Disk>,
    options: &StoreOptions,
    id: u64,
    order: &Order,
    before: Weak<Segment>,
) -> io::Result<Segment> {
    let when = (options.clock)();
    let segment = Segment::open(disk, id, when, before)?;
    segment.file.truncate(0)?;
    let checkpoint = codec::encode(&Checkpoint { format: FORMAT, order: order.clone() });
    let salt = (options.random)();
    let head = Head { kind: Kind::Checkpoint, arrival: order.next, synced: 0, when, salt };
    let bytes = entry::encode(head, &checkpoint, 0);
    segment.file.write_at(&bytes, 0)?;
    segment.file.sync()?;
    disk.sync_names()?;
    segment.length.store(bytes.len() as u64, Ordering::SeqCst);
    segment.salt.store(salt, Ordering::SeqCst);
    Ok(segment)
}
