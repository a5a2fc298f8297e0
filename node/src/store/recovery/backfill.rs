//! Taking up the newest segment of backfill: what the order does not name is cut off, and what it names in vain is missing again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context as _;

use crate::store::appender::Written;
use crate::store::entry::{self, HEAD, Kind};
use crate::store::order::Order;
use crate::store::replay::{self, FilledEntry};
use crate::store::segment::{BACKFILL, Segment};

/// Takes up the newest segment of backfill. Those before it were synced when it was begun. `filled` is what the newest segment
/// of the order names in it.
pub(super) fn take_up(
    segments: &BTreeMap<u64, Arc<Segment>>,
    order: &mut Order,
    filled: &[FilledEntry],
) -> anyhow::Result<Option<Written>> {
    let newest = segments.range(BACKFILL..).next_back().map(|(_, segment)| segment.clone());
    let taken = newest.map(|segment| cut_off(&segment, order).map(|index| (segment, index))).transpose()?;
    let id = taken.as_ref().map_or(0, |(segment, _)| segment.id);
    let whole: BTreeSet<u32> =
        taken.iter().flat_map(|(_, index)| index.batches.iter().map(|stored| stored.offset)).collect();
    for FilledEntry { key, piece, .. } in filled {
        let gone =
            piece.place.segment > id || piece.place.segment == id && !whole.contains(&piece.place.offset);
        if gone {
            // A crash took it before it was synced, and nobody was told that it is here; or it is damaged.
            order.lose(*key, (piece.first, piece.last), None, None);
        }
    }
    let taken = taken.filter(|(segment, _)| segment.salt.load(Ordering::SeqCst) != 0);
    Ok(taken.map(|(segment, index)| {
        let index = segment.activate(index);
        (segment, index)
    }))
}

/// Cuts off what a crash left behind the last batch that the order names; gives the index of the rest.
fn cut_off(segment: &Segment, order: &Order) -> anyhow::Result<crate::store::index::Index> {
    let bytes = segment.read_all().with_context(|| format!("segment {:016x} cannot be read", segment.id))?;
    let scan = entry::scan(&bytes, true);
    let named = scan.entries.iter().take_while(|found| {
        found.head.kind == Kind::Checkpoint
            || found.head.kind == Kind::Late && found.head.arrival < order.next
    });
    let end = named.last().map_or(0, |found| found.offset + HEAD + found.body.len());
    if end < bytes.len() {
        tracing::warn!(
            segment = segment.id,
            bytes = bytes.len() - end,
            "Cut off what a crash left unfinished"
        );
        segment.file.truncate(end as u64)?;
        segment.file.sync().context("the newest segment of backfill cannot be synced")?;
        segment.length.store(end as u64, Ordering::SeqCst);
    }
    segment.salt.store(scan.salt.unwrap_or_default(), Ordering::SeqCst);
    let mut index = replay::replay(segment.id, &bytes[..end], segment.order_before()?, true).index;
    // What is not whole need not be damage: a crash may keep later writes and not earlier ones.
    index.summary.damaged = 0;
    Ok(index)
}
