//! Opening a store: finding the end of what is good, and where each reader may begin.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use anode_shared::batch::Predecessor;
use anode_shared::cursor::{Cursor, Shard};
use anode_shared::ids::{Hash, LogId, Origin};
use anode_shared::time::Micros;
use anyhow::{Context as _, bail};
use ed25519_dalek::SigningKey;

use super::appender::{Appender, begin_segment};
use super::dedupe::{self, Dedupe};
use super::disk::Disk;
use super::options::{Holders, StoreOptions};
use super::order::Order;
use super::own::{Before, OwnLogs};
use super::replay::{self, FilledEntry, Replayed};
use super::segment::{BACKFILL, FORMAT, Segment, id_of};
use super::shared::{Found, Shared, place_in};
use super::topics::TopicTable;
use super::writer::Writer;

mod backfill;
mod crowded;

/// The most bits of a shard: gossipsub delivers nothing to nodes of more than a hundred topics.
const MOST_SHARD_BITS: u8 = 6;

/// Opens what lies on the disk.
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    options: StoreOptions,
    key: SigningKey,
    holders: Arc<dyn Holders>,
) -> anyhow::Result<(Arc<Shared>, Writer)> {
    if options.shard_bits > MOST_SHARD_BITS {
        bail!("a network has at most 2^{MOST_SHARD_BITS} shards, and not 2^{}", options.shard_bits);
    }
    let now = (options.clock)();
    let mut segments = list(&disk, now)?;
    let replayed = replay_newest(&disk, &mut segments)?;
    let (mut found, index, filled) = match replayed {
        Some((active, replayed)) => take_up(&segments, active, replayed)?,
        None => make_first(&disk, &options, &mut segments)?,
    };
    let backfill = backfill::take_up(&segments, &mut found.order, &filled)?;
    found.damaged += missing_files(&segments);
    let uncounted: BTreeSet<u64> = segments.keys().copied().collect();
    let origin = Origin(key.verifying_key().to_bytes());
    let before = |shard| before(&found.order, origin, shard);
    let own = OwnLogs::new(&options.network, options.shard_bits, &key, &before);
    let active = found.active.clone();
    let shared = Arc::new(Shared::new(options, disk, holders, found));
    *shared.topic_table() = TopicTable::new(uncounted);
    active.with_index(|index| shared.topic_table().add_segment(active.id, index))?;
    shared.look_at_room();
    let dedupe = recall_keys(&shared, origin, now)?;
    let appender = Appender::new(shared.clone(), (active, index), backfill);
    Ok((shared.clone(), Writer::new(shared, appender, own, dedupe)))
}

/// What was found, the index of the newest segment, and what that names in the newest segment of backfill.
type Taken = (Found, Arc<std::sync::RwLock<super::index::Index>>, Vec<FilledEntry>);

fn list(disk: &Arc<dyn Disk>, now: Micros) -> anyhow::Result<BTreeMap<u64, Arc<Segment>>> {
    let names = disk.list().context("the store's folder cannot be read")?;
    let ids: BTreeSet<u64> = names.iter().filter_map(|name| id_of(name)).collect();
    let (mut segments, mut before) = (BTreeMap::new(), Weak::new());
    for id in ids {
        let segment = Segment::open(disk, id, now, before)
            .with_context(|| format!("segment {id:016x} cannot be opened"))?;
        let segment = Arc::new(segment);
        before = if id + 1 < BACKFILL { Arc::downgrade(&segment) } else { Weak::new() };
        segments.insert(id, segment);
    }
    Ok(segments)
}

/// How many segment files are missing: retention drops from the oldest on, so between two there is always each.
fn missing_files(segments: &BTreeMap<u64, Arc<Segment>>) -> u64 {
    let mut ordered = segments.range(..BACKFILL).map(|(id, _)| *id);
    let Some(first) = ordered.next() else { return 0 };
    let missing = ordered.fold((first, 0), |(before, missing), id| (id, missing + id - before - 1)).1;
    if missing > 0 {
        tracing::error!(missing, "Segment files are missing; what they held is shown as a gap");
    }
    missing
}

/// Replays the newest segment from its checkpoint. One without anything in it was just being made: it goes.
fn replay_newest(
    disk: &Arc<dyn Disk>,
    segments: &mut BTreeMap<u64, Arc<Segment>>,
) -> anyhow::Result<Option<(Arc<Segment>, Replayed)>> {
    while let Some((id, segment)) =
        segments.range(..BACKFILL).next_back().map(|(id, segment)| (*id, segment.clone()))
    {
        check_format(&segment)?;
        let bytes = segment.read_all().with_context(|| format!("segment {id:016x} cannot be read"))?;
        let replayed = replay::replay(id, &bytes, segment.order_before()?, false);
        let empty = replayed.index.batches.is_empty() && replayed.index.arrivals.is_empty();
        if empty && segment.checkpoint().is_none() {
            disk.remove(&super::segment::file_name(id))?;
            segments.remove(&id);
            continue;
        }
        return Ok(Some((segment, replayed)));
    }
    Ok(None)
}

fn check_format(segment: &Segment) -> anyhow::Result<()> {
    match segment.format() {
        Some(format) if format != FORMAT => {
            let age = if format > FORMAT { "a newer" } else { "an older" };
            bail!(
                "the store was written in format {format} by {age} version of aNode; this version reads {FORMAT}. Start that version, or give another --data-dir"
            )
        }
        _ => Ok(()),
    }
}

/// Goes on writing in the newest segment, behind what is good in it.
fn take_up(
    segments: &BTreeMap<u64, Arc<Segment>>,
    active: Arc<Segment>,
    replayed: Replayed,
) -> anyhow::Result<Taken> {
    let end = replayed.end as u64;
    if end < active.bytes() {
        tracing::warn!(
            segment = active.id,
            bytes = active.bytes() - end,
            "Cut off what a crash left unfinished"
        );
    }
    active.file.truncate(end)?;
    active.file.sync().context("the newest segment cannot be synced")?;
    active.length.store(end, Ordering::SeqCst);
    if !replayed.damaged.is_empty() {
        tracing::error!(segment = active.id, ranges = ?replayed.damaged, "Found damage; what is missing is shown as a gap");
    }
    active.salt.store(replayed.salt.unwrap_or_default(), Ordering::SeqCst);
    let index = active.activate(replayed.index);
    let damaged = replayed.damaged.len() as u64;
    let found =
        Found { order: replayed.order, segments: segments.clone(), active, forks: replayed.forks, damaged };
    Ok((found, index, replayed.filled))
}

fn make_first(
    disk: &Arc<dyn Disk>,
    options: &StoreOptions,
    segments: &mut BTreeMap<u64, Arc<Segment>>,
) -> anyhow::Result<Taken> {
    let order = Order::default();
    let active = Arc::new(
        begin_segment(disk, options, 1, &order, Weak::new())
            .context("the store's first segment cannot be made")?,
    );
    let index = active.activate(super::index::Index::beginning(&order));
    segments.insert(1, active.clone());
    let found = Found { order, segments: segments.clone(), active, forks: Vec::new(), damaged: 0 };
    Ok((found, index, Vec::new()))
}

/// Where the own logs of a shard ended, and the newest of all.
fn before(order: &Order, origin: Origin, shard: Shard) -> Before {
    let own = || order.logs.iter().rev().filter(|(key, _)| key.origin == origin);
    let newest = own().next().map(|(key, _)| key.log);
    let Some((key, last)) = own().find(|(_, log)| log.shard == shard) else {
        return Before { log: None, newest, hash: Hash::default() };
    };
    let ended = (last.head > 0).then_some(Predecessor { log: key.log, end: last.head });
    Before { log: ended, newest, hash: last.head_hash.unwrap_or_default() }
}

/// The dedupe keys of the last two minutes.
fn recall_keys(shared: &Shared, origin: Origin, now: Micros) -> io::Result<Dedupe> {
    let mut keys = Dedupe::default();
    let since = now.saturating_sub(dedupe::WINDOW);
    let (mut fresh, mut sealed) = (Vec::new(), Micros::MAX);
    for segment in shared.ordered_segments().into_iter().rev() {
        // Where the next one was made before, the index of this one, which may have to be made anew, is of no interest.
        if sealed < since || segment.with_summary(|summary| summary.newest < since)? {
            break;
        }
        sealed = segment.made;
        fresh.push(segment);
    }
    for segment in fresh.into_iter().rev() {
        let recent = segment.with_index(|index| {
            let own = index
                .batches
                .iter()
                .filter(|batch| batch.key.origin == origin && batch.keyed && batch.time_last >= since);
            own.copied().collect::<Vec<_>>()
        })?;
        for stored in recent {
            let Ok(batch) = segment.load(place_in(&segment, &stored)) else { continue };
            for index in 0..batch.len() {
                let record = batch.record(index);
                if let Some(key) = record.dedupe {
                    keys.insert(record.topic, key, batch.id(index), record.time);
                }
            }
        }
    }
    Ok(keys)
}

/// Looks through the segments of earlier starts while the node serves: makes missing indexes anew, and counts topics.
pub(crate) fn look_through(shared: &Shared) {
    let mut ids: Vec<Arc<Segment>> = shared.all_segments();
    ids.reverse();
    for segment in ids {
        let counted = segment.with_index(|index| {
            shared.topic_table().add_segment(segment.id, index);
            index.summary.damaged
        });
        let counted = counted.and_then(|damaged| shared.report_damage(&segment).map(|()| damaged));
        match counted {
            Ok(damaged) if segment.sealed.load(Ordering::SeqCst) => {
                shared.counters.damaged.fetch_add(damaged, Ordering::Relaxed);
                segment.unload();
            }
            Ok(_) => {}
            Err(error) => tracing::error!(segment = segment.id, %error, "Failed to read a segment"),
        }
        if shared.draining.load(Ordering::SeqCst) {
            return;
        }
    }
    if let Err(error) = shared.report_missing_files() {
        tracing::error!(%error, "Failed to look what missing segments held");
    }
}

impl Shared {
    /// The cursor of a reader that begins now.
    pub(crate) fn live_cursor(&self, now: Micros) -> Cursor {
        let beyond = self.beyond();
        let order = self.order();
        let mut cursor = Cursor::new(now);
        let mut newest: BTreeMap<(Origin, Shard), LogId> = BTreeMap::new();
        let mut heads = order.heads();
        // What the mesh has heard of comes before the reader, also where it is still on its way here.
        for (key, heard) in &self.for_peers().heard {
            let head = heads.entry(*key).or_insert(*heard);
            *head = (*head).max(*heard);
        }
        for (key, kept) in beyond {
            let head = heads.entry(key).or_insert(kept.last);
            *head = (*head).max(kept.last);
        }
        order.logs.keys().chain(heads.keys()).for_each(|key| {
            let known = newest.entry((key.origin, order.shard(*key))).or_insert(key.log);
            *known = (*known).max(key.log);
        });
        for (key, head) in heads {
            let shard = order.shard(key);
            if self.options.shard_bits > 0 && !order.logs.contains_key(&key) {
                // Heard of, and nobody said yet of which shard it is: it ends no other.
                cursor.set(key, shard, head);
            } else if newest.get(&(key.origin, shard)) == Some(&key.log) {
                cursor.set_done(key.origin, shard, LogId(key.log.0.saturating_sub(1)));
                cursor.set(key, shard, head);
            }
        }
        crowded::bound(&mut cursor, &order);
        cursor
    }

    /// The cursor just before a time: for each log what is older is seen.
    pub(crate) fn cursor_at(&self, time: Micros) -> io::Result<Cursor> {
        let mut cursor = Cursor::new(0);
        let heads = self.order().heads();
        for (key, head) in heads {
            let mut seq = head;
            for segment in self.all_segments() {
                if !segment.with_summary(|summary| {
                    summary.spans.get(&key).is_some_and(|span| span.time_last >= time)
                })? {
                    continue;
                }
                let Some(first) = segment.with_index(|index| index.seq_at(key, time))? else { continue };
                let batch = self.holding(key, first);
                let exact = batch.and_then(|batch| {
                    (0..batch.len())
                        .find(|index| batch.record(*index).time >= time)
                        .map(|index| batch.seq(index))
                });
                seq = seq.min(exact.unwrap_or(first) - 1);
            }
            cursor.set(key, self.shard(key), seq);
        }
        let beyond = self.beyond();
        for (key, kept) in beyond.iter().filter(|(_, kept)| kept.time_first < time) {
            cursor.set(*key, self.shard(*key), kept.last);
        }
        self.pass_archived(&mut cursor, &beyond, time);
        Ok(cursor)
    }
}
