//! Segments: the files that hold everything, each with an index of its own.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};

use anode_shared::codec;
use anode_shared::time::Micros;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::disk::{Disk, DiskFile};
use super::entry::{self, HEAD, Head, Kind};
use super::index::{Index, Stored, Summary};
use super::loaded::Loaded;
use super::order::{Heads, Order, Place, What};
use super::replay;

/// The version of the store's format, in every checkpoint. A node refuses any other.
pub(crate) const FORMAT: u32 = 3;
/// The first id of segments of backfill, which hold what filled jumps. The others, below it, hold the arrival order.
pub(crate) const BACKFILL: u64 = 1 << 63;

/// What a segment begins with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) format: u32,
    pub(crate) order: Order,
}

/// One segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    disk: Arc<dyn Disk>,
    /// The segment before it, as long as it is there.
    before: Weak<Segment>,
    /// What its entries have in common, once they are known.
    pub(crate) salt: AtomicU64,
    /// Where the next entry goes.
    pub(crate) length: AtomicU64,
    /// It was dropped: its file lives only as long as somebody reads it.
    pub(crate) dropped: AtomicBool,
    pub(crate) sealed: AtomicBool,
    /// Its index was made anew, and lies on no disk.
    rebuilt: AtomicBool,
    /// When it was made.
    pub(crate) made: Micros,
    summary: OnceLock<Summary>,
    index: RwLock<Option<Arc<RwLock<Index>>>>,
    /// The last answer of [`Segment::heads_at`].
    memo: Mutex<Option<(u64, Heads)>>,
}

/// The name of a segment's file.
pub(crate) fn file_name(id: u64) -> String {
    format!("{id:016x}.segment")
}

/// The name of its index.
pub(crate) fn index_name(id: u64) -> String {
    format!("{id:016x}.index")
}

/// The id in the name of a segment's file.
pub(crate) fn id_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_suffix(".segment")?, 16).ok()
}

impl Segment {
    /// A segment that lies on the disk; `made` is when, where it does not say so itself.
    pub(crate) fn open(disk: &Arc<dyn Disk>, id: u64, made: Micros, before: Weak<Self>) -> io::Result<Self> {
        let file = disk.open(&file_name(id))?;
        let length = file.size()?;
        let made = read_checkpoint(file.as_ref(), length).map_or(made, |(head, _)| head.when);
        Ok(Self {
            id,
            length: AtomicU64::new(length),
            file,
            disk: disk.clone(),
            before,
            salt: AtomicU64::new(0),
            dropped: AtomicBool::new(false),
            sealed: AtomicBool::new(true),
            rebuilt: AtomicBool::new(false),
            made,
            summary: OnceLock::new(),
            index: RwLock::new(None),
            memo: Mutex::new(None),
        })
    }

    /// Makes it the one that is written to, with the index of what it holds.
    pub(crate) fn activate(&self, index: Index) -> Arc<RwLock<Index>> {
        self.sealed.store(false, Ordering::SeqCst);
        let index = Arc::new(RwLock::new(index));
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Some(index.clone());
        index
    }

    /// Its length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.length.load(Ordering::SeqCst)
    }

    /// All its bytes.
    pub(crate) fn read_all(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.bytes()).map_err(io::Error::other)?];
        self.file.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Its checkpoint.
    pub(crate) fn checkpoint(&self) -> Option<Order> {
        let body = self.checkpoint_body()?;
        let checkpoint: Checkpoint = codec::decode(&body).ok()?;
        Some(checkpoint.order)
    }

    /// The version of the format that it was written in.
    pub(crate) fn format(&self) -> Option<u32> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let mut magic = [0; 4];
        self.file.read_at(&mut magic, 0).ok()?;
        if entry::is_older(&magic) {
            return Some(1);
        }
        codec::decode::<Version>(&self.checkpoint_body()?).ok().map(|version| version.format)
    }

    fn checkpoint_body(&self) -> Option<Vec<u8>> {
        read_checkpoint(self.file.as_ref(), self.bytes()).map(|(_, body)| body)
    }

    /// Its index, read or made anew where it is not in memory.
    pub(crate) fn index(&self) -> io::Result<Arc<RwLock<Index>>> {
        if let Some(index) = &*self.index.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(index.clone());
        }
        let mut slot = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = &*slot {
            return Ok(index.clone());
        }
        let index = match self.read_index() {
            Some(index) => index,
            None => self.rebuild()?,
        };
        let _ = self.summary.set(index.summary.clone());
        Ok(slot.insert(Arc::new(RwLock::new(index))).clone())
    }

    /// Looks into the index.
    pub(crate) fn with_index<T>(&self, look: impl FnOnce(&Index) -> T) -> io::Result<T> {
        let index = self.index()?;
        let index = index.read().unwrap_or_else(PoisonError::into_inner);
        Ok(look(&index))
    }

    /// Lets the index go from memory; it is read again when it is wanted.
    pub(crate) fn unload(&self) {
        if !self.sealed.load(Ordering::SeqCst) || self.dropped.load(Ordering::SeqCst) {
            return;
        }
        if self.rebuilt.swap(false, Ordering::SeqCst)
            && let Err(error) = self.write_index()
        {
            tracing::warn!(%error, "Failed to write an index");
        }
        // Whoever reads it now keeps it in memory a little longer.
        if let Ok(mut index) = self.index.try_write() {
            *index = None;
        }
    }

    /// Looks at the summary, which stays in memory once it was read.
    pub(crate) fn with_summary<T>(&self, look: impl FnOnce(&Summary) -> T) -> io::Result<T> {
        if !self.sealed.load(Ordering::SeqCst) {
            return self.with_index(|index| look(&index.summary));
        }
        if self.summary.get().is_none() {
            match self.read_index_part(Part::Summary).and_then(|bytes| postcard::from_bytes(&bytes).ok()) {
                Some(summary) => _ = self.summary.set(summary),
                None => {
                    let summary = self.with_index(|index| index.summary.clone())?;
                    let _ = self.summary.set(summary);
                }
            }
        }
        self.summary.get().map(look).ok_or_else(|| io::Error::other("the segment's index could not be read"))
    }

    /// The index file: two parts, each behind its length and CRC-32, bound to the segment's length.
    fn read_index_part(&self, part: Part) -> Option<Vec<u8>> {
        let file = self.disk.open(&index_name(self.id)).ok()?;
        let mut head = [0; 24];
        file.read_at(&mut head, 0).ok()?;
        let number = |place: usize| {
            u32::from_le_bytes([head[place], head[place + 1], head[place + 2], head[place + 3]])
        };
        let length = self.bytes();
        if u64::from(number(0)) != length & 0xffff_ffff || number(20) != crc32fast::hash(&head[..20]) {
            return None;
        }
        let (summary, index) = (number(4), number(12));
        let (offset, size, crc) = match part {
            Part::Summary => (24, summary, number(8)),
            Part::Index => (24 + u64::from(summary), index, number(16)),
        };
        let end = file.size().ok()?;
        if offset + u64::from(size) > end {
            return None;
        }
        let mut bytes = vec![0; size as usize];
        file.read_at(&mut bytes, offset).ok()?;
        (crc32fast::hash(&bytes) == crc).then_some(bytes)
    }

    fn read_index(&self) -> Option<Index> {
        postcard::from_bytes(&self.read_index_part(Part::Index)?).ok()
    }

    /// Takes a damaged batch out of the index, in memory and beside a sealed segment.
    pub(crate) fn lose(&self, stored: &Stored) {
        let Ok(index) = self.index() else { return };
        index.write().unwrap_or_else(PoisonError::into_inner).lose(stored);
        if self.sealed.load(Ordering::SeqCst)
            && let Err(error) = self.write_index()
        {
            tracing::warn!(%error, "Failed to write an index");
        }
    }

    /// Writes the index beside the sealed segment. It is derived, so nothing waits for it to be stable.
    pub(crate) fn write_index(&self) -> io::Result<()> {
        let (summary, index) =
            self.with_index(|index| (postcard::to_stdvec(&index.summary), postcard::to_stdvec(index)))?;
        let (summary, index) = (summary.map_err(io::Error::other)?, index.map_err(io::Error::other)?);
        let mut bytes = Vec::with_capacity(24 + summary.len() + index.len());
        let length = u32::try_from(self.bytes() & 0xffff_ffff).unwrap_or(0);
        let size = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX);
        for number in
            [length, size(&summary), crc32fast::hash(&summary), size(&index), crc32fast::hash(&index)]
        {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes.extend_from_slice(&summary);
        bytes.extend_from_slice(&index);
        let fresh = format!("{}.new", index_name(self.id));
        let file = self.disk.open(&fresh)?;
        file.truncate(0)?;
        file.write_at(&bytes, 0)?;
        self.disk.rename(&fresh, &index_name(self.id))
    }

    /// Makes the index anew from the segment itself.
    fn rebuild(&self) -> io::Result<Index> {
        let replayed = replay::replay(self.id, &self.read_all()?, self.order_before()?, true);
        self.rebuilt.store(true, Ordering::SeqCst);
        tracing::info!(segment = self.id, damaged = replayed.damaged.len(), "Made an index anew");
        Ok(replayed.index)
    }

    /// The order at its beginning: by its checkpoint, or, where that is damaged, by the segment before it.
    pub(crate) fn order_before(&self) -> io::Result<Option<Order>> {
        if let Some(order) = self.checkpoint() {
            return Ok(Some(order));
        }
        let Some(before) = self.before.upgrade().filter(|before| before.id + 1 == self.id) else {
            return Ok(None);
        };
        let replayed = replay::replay(before.id, &before.read_all()?, before.order_before()?, true);
        Ok(Some(replayed.order))
    }

    /// The number of its first arrival.
    pub(crate) fn first_arrival(&self) -> io::Result<u64> {
        self.with_summary(|summary| summary.first_arrival)
    }

    /// The number behind its last arrival.
    pub(crate) fn end_arrival(&self) -> io::Result<u64> {
        self.with_summary(|summary| summary.first_arrival + summary.arrivals)
    }

    /// For each log the newest seq at a position that lies in this segment or at its end.
    pub(crate) fn heads_at(&self, position: u64) -> io::Result<Heads> {
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        self.with_index(|index| {
            let (from, mut heads) = match memo.take() {
                Some((at, heads)) if at <= position => (at, heads),
                _ => (index.summary.first_arrival, index.base.clone()),
            };
            let place = |number: u64| {
                usize::try_from(number.saturating_sub(index.summary.first_arrival)).unwrap_or(usize::MAX)
            };
            let end = place(position).min(index.arrivals.len());
            for arrival in index.arrivals.get(place(from)..end).unwrap_or_default() {
                arrival.advance(&mut heads);
            }
            // Not beyond what is there now: what comes next belongs to a later answer.
            *memo = Some((index.summary.first_arrival + end as u64, heads.clone()));
            heads
        })
    }

    /// The batch at a place in this segment. Damage is found here at the latest.
    pub(crate) fn load(&self, place: Place) -> io::Result<Arc<Loaded>> {
        let mut bytes = vec![0; HEAD + place.length as usize];
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "damaged");
        self.file.read_at(&mut bytes, u64::from(place.offset)).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(),
            _ => error,
        })?;
        let (head, body) = entry::decode(&bytes, u64::from(place.offset)).ok_or_else(damaged)?;
        if !head.kind.is_batch() || body.len() != place.length as usize {
            return Err(damaged());
        }
        let bytes = Bytes::from(bytes).slice(HEAD..);
        Ok(Arc::new(Loaded::new(bytes).map_err(io::Error::other)?))
    }
}

/// The entry that a segment of this length begins with, where it is whole.
fn read_checkpoint(file: &dyn DiskFile, length: u64) -> Option<(Head, Vec<u8>)> {
    let mut head = [0; HEAD];
    file.read_at(&mut head, 0).ok()?;
    let body = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
    let mut bytes = vec![0; HEAD + body.min(usize::try_from(length).ok()?)];
    file.read_at(&mut bytes, 0).ok()?;
    let (head, body) = entry::decode(&bytes, 0)?;
    (head.kind == Kind::Checkpoint).then(|| (head, body.to_vec()))
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Summary,
    Index,
}

/// Whether an arrival is a batch, and where.
pub(crate) fn place_of(what: What) -> Option<Place> {
    match what {
        What::Batch(place) => Some(place),
        What::Jump | What::Damage | What::Late => None,
    }
}
