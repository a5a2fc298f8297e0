//! What the writer and all readers share.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use anode_shared::cursor::Shard;
use anode_shared::ids::{LogId, LogKey};
use tokio::sync::watch;

use super::acceptance::Early;
use super::damage::Lost;
use super::disk::Disk;
use super::forks::Forks;
use super::history::Direction;
use super::in_flight::InFlight;
use super::index::{Span, Stored};
use super::loaded::Loaded;
use super::options::{Holders, StoreOptions};
use super::order::{Order, Place};
use super::peers::ForPeers;
use super::replay::ForkEntry;
use super::segment::{BACKFILL, Segment};
use super::sync::GroupCommit;
use super::tail::Tail;
use super::topics::TopicTable;

/// How many indexes of sealed segments stay in memory.
const INDEXES_IN_MEMORY: usize = 4;

/// Why records are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much is in flight.
    #[error("the node has more records in flight than it may hold; send again a little later")]
    Overloaded,
    /// The node is going down.
    #[error("the node is shutting down")]
    Draining,
    /// The disk has less room than its reserve.
    #[error("the disk has less room than its reserve; free some, or lower --reserve-disk or --retain-bytes")]
    Full,
    /// A write or an fdatasync failed.
    #[error(
        "the disk failed, so nothing can be acknowledged; look at `anode status`, mend the disk and start the node again"
    )]
    Failed,
}

/// Plain counters of what the store did since its start.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each is named for what it counts")]
pub struct Counters {
    pub own_records: AtomicU64,
    pub own_batches: AtomicU64,
    pub foreign_batches: AtomicU64,
    pub deduplicated: AtomicU64,
    pub bytes_written: AtomicU64,
    pub jumps: AtomicU64,
    pub forks: AtomicU64,
    pub forks_forgotten: AtomicU64,
    pub crowded: AtomicU64,
    pub logs_forgotten: AtomicU64,
    pub segments_dropped: AtomicU64,
    pub dropped_unarchived: AtomicU64,
    pub damaged: AtomicU64,
    pub refused_overloaded: AtomicU64,
    pub refused_full: AtomicU64,
    pub refused_failed: AtomicU64,
}

/// What the writer and all readers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: StoreOptions,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) holders: Arc<dyn Holders>,
    order: Mutex<Order>,
    segments: Mutex<BTreeMap<u64, Arc<Segment>>>,
    pub(crate) tail: RwLock<Tail>,
    pub(crate) newest: watch::Sender<u64>,
    pub(crate) commit: GroupCommit,
    pub(crate) in_flight: Arc<InFlight>,
    early: Mutex<Early>,
    forks: Mutex<Forks>,
    /// The own logs that this start opened.
    opened: Mutex<BTreeSet<LogId>>,
    lost: Mutex<Lost>,
    for_peers: Mutex<ForPeers>,
    pub(crate) topics: Mutex<TopicTable>,
    pub(crate) counters: Counters,
    /// How many dedupe keys are remembered.
    pub(crate) keys: AtomicUsize,
    pub(crate) full: AtomicBool,
    pub(crate) draining: AtomicBool,
    /// Records older than this would not be kept: what backfill stops at.
    pub(crate) horizon: AtomicU64,
    /// The same as far as the store is full; 0 while it is not.
    pub(crate) squeezed: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What recovery hands to [`Shared`].
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) order: Order,
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    pub(crate) active: Arc<Segment>,
    pub(crate) forks: Vec<ForkEntry>,
    pub(crate) damaged: u64,
}

impl Shared {
    pub(crate) fn new(
        options: StoreOptions,
        disk: Arc<dyn Disk>,
        holders: Arc<dyn Holders>,
        found: Found,
    ) -> Self {
        let next = found.order.next;
        let counters = Counters { damaged: AtomicU64::new(found.damaged), ..Counters::default() };
        Self {
            tail: RwLock::new(Tail::new(next, found.order.heads(), options.tail_bytes)),
            in_flight: Arc::new(InFlight::new(options.in_flight_bytes)),
            for_peers: Mutex::new(ForPeers::new(&found.order, options.archiver.any())),
            options,
            disk,
            holders,
            order: Mutex::new(found.order),
            segments: Mutex::new(found.segments),
            newest: watch::Sender::new(next),
            commit: GroupCommit::new(found.active.file.clone()),
            early: Mutex::default(),
            lost: Mutex::default(),
            forks: Mutex::new(found.forks.into_iter().collect()),
            opened: Mutex::default(),
            topics: Mutex::default(),
            counters,
            keys: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            horizon: AtomicU64::new(0),
            squeezed: AtomicU64::new(0),
        }
    }

    /// The moment by which it is measured how long something is waited for.
    pub(crate) fn moment(&self) -> Instant {
        (self.options.moment)()
    }

    pub(crate) fn order(&self) -> MutexGuard<'_, Order> {
        lock(&self.order)
    }

    /// The shard of a log's topics; all of them where nothing of the log is known.
    pub(crate) fn shard(&self, key: LogKey) -> Shard {
        self.order().shard(key)
    }

    pub(crate) fn segments(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Segment>>> {
        lock(&self.segments)
    }

    pub(crate) fn early(&self) -> MutexGuard<'_, Early> {
        lock(&self.early)
    }

    pub(crate) fn forks(&self) -> MutexGuard<'_, Forks> {
        lock(&self.forks)
    }

    pub(crate) fn opened(&self) -> MutexGuard<'_, BTreeSet<LogId>> {
        lock(&self.opened)
    }

    pub(crate) fn lost(&self) -> MutexGuard<'_, Lost> {
        lock(&self.lost)
    }

    /// Locked behind the order where both are.
    pub(crate) fn for_peers(&self) -> MutexGuard<'_, ForPeers> {
        lock(&self.for_peers)
    }

    pub(crate) fn read_tail(&self) -> RwLockReadGuard<'_, Tail> {
        self.tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn topic_table(&self) -> MutexGuard<'_, TopicTable> {
        lock(&self.topics)
    }

    /// All segments: those of the arrival order, oldest first, then those of backfill.
    pub(crate) fn all_segments(&self) -> Vec<Arc<Segment>> {
        self.segments().values().cloned().collect()
    }

    /// The segments of the arrival order, oldest first.
    pub(crate) fn ordered_segments(&self) -> Vec<Arc<Segment>> {
        self.segments().range(..BACKFILL).map(|(_, segment)| segment.clone()).collect()
    }

    /// The segments of backfill.
    pub(crate) fn backfill_segments(&self) -> Vec<Arc<Segment>> {
        self.segments().range(BACKFILL..).map(|(_, segment)| segment.clone()).collect()
    }

    /// The batch at a place.
    pub(crate) fn load(&self, place: impl Into<Option<Place>>) -> io::Result<Arc<Loaded>> {
        let place = place.into().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let segment = self.segments().get(&place.segment).cloned();
        segment.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?.load(place)
    }

    /// The batch of a log that holds `seq`, or else the next one that is stored in that direction.
    pub(crate) fn find(
        &self,
        key: LogKey,
        seq: u64,
        direction: Direction,
    ) -> io::Result<Option<(Arc<Segment>, u32, Stored)>> {
        let asc = direction == Direction::Asc;
        let mut best: Option<(Arc<Segment>, u32, Stored)> = None;
        let mut segments = self.all_segments();
        if !asc {
            segments.reverse();
        }
        for segment in segments {
            let nearest = best.as_ref().map(|(.., stored)| (stored.first, stored.last));
            if nearest.is_some_and(|(first, last)| first <= seq && seq <= last) {
                break;
            }
            // An index takes megabytes: only one that may hold something nearer is read.
            let reaches = |span: &Span| match nearest {
                _ if asc && span.last < seq || !asc && span.first > seq => false,
                None => true,
                Some((first, last)) => {
                    if asc {
                        span.first < first
                    } else {
                        span.last > last
                    }
                }
            };
            if !segment.with_summary(|summary| summary.spans.get(&key).is_some_and(reaches))? {
                continue;
            }
            let found = segment.with_index(|index| {
                let found = if asc { index.at_or_after(key, seq) } else { index.at_or_before(key, seq) };
                found.map(|(number, stored)| (number, *stored))
            })?;
            let Some((number, stored)) = found else { continue };
            let nearer = |other: u64| if asc { stored.first < other } else { stored.first > other };
            if best.as_ref().is_none_or(|(.., other)| nearer(other.first)) {
                best = Some((segment, number, stored));
            }
        }
        Ok(best)
    }

    /// The batch that holds a seq of a log, if it is stored.
    pub(crate) fn holding(&self, key: LogKey, seq: u64) -> Option<Arc<Loaded>> {
        let (segment, _, stored) = self.find(key, seq, Direction::Asc).ok()??;
        (stored.first <= seq).then(|| self.load_stored(&segment, &stored).ok())?
    }

    /// Lets indexes go that were read for a while, the newest last.
    pub(crate) fn keep_indexes_few(&self) {
        for segments in [self.ordered_segments(), self.backfill_segments()] {
            segments.iter().rev().skip(INDEXES_IN_MEMORY).for_each(|segment| segment.unload());
        }
    }

    /// Looks whether the disk has more room than its reserve.
    pub(crate) fn look_at_room(&self) {
        match self.disk.free_bytes() {
            Ok(free) => self.full.store(free < self.options.reserve_disk, Ordering::SeqCst),
            Err(error) => tracing::warn!(%error, "Failed to ask for the room on the disk"),
        }
    }

    pub(crate) fn count_topics(&self, batch: &Loaded) {
        self.topic_table().add(batch, (self.options.clock)());
    }

    pub(crate) fn uncount_topics(&self, segment: &Segment) {
        let _ = segment.with_index(|index| self.topic_table().forget(segment.id, index));
    }
}

/// Where a stored batch lies.
pub(crate) fn place_in(segment: &Segment, stored: &Stored) -> Place {
    Place { segment: segment.id, offset: stored.offset, length: stored.length }
}
