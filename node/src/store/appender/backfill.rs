//! The end of the newest segment of backfill: what fills jumps lies there, apart from the arrival order, so that retention can
//! drop it before what is newer. The order only notes where.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};

use anode_shared::codec;

use super::{Appender, Written, begin_segment, seal};
use crate::store::entry::{self, Head, Kind};
use crate::store::index::Index;
use crate::store::loaded::Loaded;
use crate::store::order::{Order, Place};
use crate::store::replay::{self, FilledEntry};
use crate::store::segment::{BACKFILL, Segment};
use crate::store::shared::Refused;

impl Appender {
    /// Appends a batch that fills part of a jump, and notes in the order where it lies.
    pub(crate) fn late(&mut self, batch: &Arc<Loaded>) -> Result<(), Refused> {
        let (segment, index) = self.backfill()?;
        let arrival = self.shared.order().next;
        let (head, place) = self.write_late(&segment, arrival, batch.bytes())?;
        let header = batch.header();
        let piece = replay::piece_of(batch.layout(), batch.bytes(), place);
        let (predecessor, shard) = (header.predecessor, (header.shard_bits, header.shard));
        let filled = FilledEntry { key: batch.key(), piece, predecessor, shard };
        let noted = self.append(Kind::Filled, arrival, &codec::encode(&filled));
        // What the order does not name is written over.
        let (noted, _) =
            noted.inspect_err(|_| segment.length.store(u64::from(place.offset), Ordering::SeqCst))?;
        replay::add_to_index(
            &mut index.write().unwrap_or_else(PoisonError::into_inner),
            head,
            batch.layout(),
            batch.bytes(),
            place,
        );
        let arrivals = {
            let mut order = self.shared.order();
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            replay::apply_filled(&mut order, &mut index, noted, &filled)
        };
        self.shared.for_peers().touch(batch.key());
        self.show(&arrivals, Some(batch));
        Ok(())
    }

    fn write_late(&self, segment: &Segment, arrival: u64, body: &[u8]) -> Result<(Head, Place), Refused> {
        if self.shared.commit.failure().is_some() {
            return Err(Refused::Failed);
        }
        let offset = segment.bytes();
        let (salt, when) = (segment.salt.load(Ordering::SeqCst), (self.shared.options.clock)());
        let head = Head { kind: Kind::Late, arrival, synced: 0, when, salt };
        let bytes = entry::encode(head, body, offset);
        segment.file.write_at(&bytes, offset).map_err(|error| self.failed(&error))?;
        segment.length.store(offset + bytes.len() as u64, Ordering::SeqCst);
        self.shared.commit.wrote_backfill(&segment.file);
        self.shared.counters.bytes_written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok((head, Place { segment: segment.id, offset: small(offset), length: small(body.len() as u64) }))
    }

    /// The segment of backfill that is written to; begun where there is none, or it is full.
    fn backfill(&mut self) -> Result<Written, Refused> {
        if let Some((segment, index)) = &self.backfill {
            if segment.bytes() < self.shared.options.segment_bytes {
                return Ok((segment.clone(), index.clone()));
            }
            self.seal_backfill();
        }
        let last = self.shared.segments().range(BACKFILL..).next_back().map_or(BACKFILL, |(id, _)| *id);
        let order = Order::beginning(self.shared.order().next);
        let segment = begin_segment(&self.shared.disk, &self.shared.options, last + 1, &order, Weak::new());
        let segment = Arc::new(segment.map_err(|error| self.failed(&error))?);
        let index = segment.activate(Index::beginning(&order));
        self.shared.segments().insert(segment.id, segment.clone());
        self.backfill = Some((segment.clone(), index.clone()));
        Ok((segment, index))
    }

    /// Seals the segment of backfill that is written to: the next batch that comes late begins another.
    pub(crate) fn seal_backfill(&mut self) {
        if let Some((segment, _)) = self.backfill.take() {
            self.shared.commit.sync_now();
            seal(&segment);
            self.rolled = true;
        }
    }

    /// The segment of backfill that is written to.
    pub(crate) fn active_backfill(&self) -> Option<&Segment> {
        self.backfill.as_ref().map(|(segment, _)| segment.as_ref())
    }
}
