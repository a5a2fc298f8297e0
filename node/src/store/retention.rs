//! Which segments go, and what that does to the floors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anode_shared::ids::LogKey;
use anode_shared::time::Micros;

use super::archiving;
use super::options::StoreOptions;
use super::replay::FloorsEntry;
use super::segment::{Segment, file_name, index_name};
use super::shared::Shared;

/// In how many steps records expire by age: a segment is sealed when it is this part of the retention old.
const STEPS: u64 = 16;

fn micros(duration: std::time::Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

/// Whether the active segment is old enough to be sealed, so that what it holds can expire in time.
pub(crate) fn is_old(active: &Segment, options: &StoreOptions, now: Micros) -> bool {
    now.saturating_sub(active.made) > micros(options.retain_age) / STEPS
}

/// A segment that may go: the oldest one of the arrival order, once it is sealed, or one of backfill.
#[derive(Debug)]
struct Next {
    segment: Arc<Segment>,
    newest: Micros,
}

/// What may go, the one first whose newest record is the oldest. So backfill goes before what is newer, however late it came.
fn candidates(shared: &Shared) -> Vec<Next> {
    let oldest = shared.segments().first_key_value().map(|(_, segment)| segment.clone());
    let oldest = oldest.filter(|oldest| oldest.sealed.load(Ordering::SeqCst));
    let newest = |segment: &Segment| segment.with_summary(|summary| summary.newest).unwrap_or(0);
    let all = oldest.into_iter().chain(shared.backfill_segments());
    let mut all: Vec<Next> = all.map(|segment| Next { newest: newest(&segment), segment }).collect();
    all.sort_by_key(|next| (next.newest, next.segment.id));
    all
}

/// The bytes of all segments.
fn bytes(shared: &Shared) -> u64 {
    shared.segments().values().map(|segment| segment.bytes()).sum()
}

/// The segment that is to go: the first to go where the store is too big, else one that is too old as a whole and that the
/// archive does not wait for.
pub(crate) fn next_to_drop(shared: &Shared, now: Micros) -> Option<Arc<Segment>> {
    let mut candidates = candidates(shared).into_iter();
    if bytes(shared) > shared.options.retain_bytes {
        return candidates.next().map(|next| next.segment);
    }
    let limit = now.saturating_sub(micros(shared.options.retain_age));
    let old = candidates.take_while(|next| next.newest < limit);
    old.map(|next| next.segment).find(|segment| archiving::unarchived(shared, segment) == 0)
}

/// Records before this time would go next because the store is full; 0 while there is room.
pub(crate) fn squeezed(shared: &Shared, now: Micros) -> Micros {
    let options = &shared.options;
    if bytes(shared) + options.segment_bytes <= options.retain_bytes {
        return 0;
    }
    candidates(shared).first().map_or(0, |next| next.newest.min(now))
}

/// The time below which records would not be kept: too old, or as old as those that go next because the store is full.
pub(crate) fn horizon(shared: &Shared, squeezed: Micros, now: Micros) -> Micros {
    now.saturating_sub(micros(shared.options.retain_age)).max(squeezed)
}

/// The floors once a segment is gone: one above the highest seq of each log in it.
pub(crate) fn floors_after(shared: &Shared, segment: &Segment) -> FloorsEntry {
    let mut floors: BTreeMap<LogKey, u64> = BTreeMap::new();
    let _ = segment.with_summary(|summary| {
        summary.spans.iter().for_each(|(key, span)| _ = floors.insert(*key, span.last + 1));
    });
    // What was damaged in it, or given a number there, goes with it; what still waits for its number does not raise the floor
    // above the head.
    let order = shared.order();
    let floors =
        floors.into_iter().filter_map(|(key, floor)| Some((key, floor.min(order.logs.get(&key)?.head + 1))));
    FloorsEntry { floors: floors.collect(), gone: Vec::new() }
}

/// Drops a segment whose floors are on stable storage. Readers that stand in it read on from its open file.
pub(crate) fn drop_segment(shared: &Shared, segment: &Arc<Segment>, floors: &FloorsEntry, now: Micros) {
    let lost = archiving::unarchived(shared, segment);
    shared.counters.dropped_unarchived.fetch_add(lost, Ordering::Relaxed);
    shared.uncount_topics(segment);
    segment.dropped.store(true, Ordering::SeqCst);
    {
        let mut order = shared.order();
        let mut peers = shared.for_peers();
        for (key, floor) in &floors.floors {
            order.take_floor(*key, *floor);
            peers.touch(*key);
        }
        drop(peers);
        order.forget_expired(now);
    }
    shared.segments().remove(&segment.id);
    for name in [file_name(segment.id), index_name(segment.id)] {
        if let Err(error) = shared.disk.remove(&name) {
            tracing::debug!(%error, name, "Failed to remove a file of a dropped segment");
        }
    }
    shared.counters.segments_dropped.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(segment = segment.id, "Dropped a segment");
}
