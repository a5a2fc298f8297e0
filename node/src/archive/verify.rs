//! Whether Cassandra holds what a log holds: batch for batch, record for record.

use std::sync::Arc;

use anode_shared::archive::{Difference, Flaw, Verified};
use anode_shared::ids::LogKey;
use futures_util::StreamExt as _;
use scylla::statement::prepared::PreparedStatement;

use super::plan::Range;
use super::rows::{self, Rows};
use super::session::Session;
use super::trouble::Trouble;
use crate::store::{Loaded, Store};

/// About how many bytes of batches are compared at once.
const AT_ONCE: usize = 512 << 10;
/// How many records one answer compares at most.
const MOST: u64 = 10_000;
/// How many differences one answer names.
const NAMED: usize = 100;
/// How many rows are read at once.
const READS: usize = 32;

/// Compares records of a log, as far as one answer goes.
pub(super) async fn verify(
    session: &Session,
    store: &Store,
    key: LogKey,
    from: u64,
    to: u64,
) -> Result<Verified, Trouble> {
    let batch = session.prepare("SELECT last, bytes FROM $keyspace.batches WHERE origin = ? AND log = ? AND part = ? AND first = ?").await?;
    let record = session.prepare("SELECT bytes FROM $keyspace.records WHERE topic = ? AND slot = ? AND time = ? AND origin = ? AND log = ? AND seq = ?").await?;
    let mut verified = Verified { from, to: from.saturating_sub(1), ..Verified::default() };
    let end = to.min(from.saturating_add(MOST - 1));
    while verified.to < end && verified.differences.len() < NAMED {
        let next = verified.to + 1;
        let reading = store.clone();
        let read = tokio::task::spawn_blocking(move || reading.run_of_batches(key, next, end, AT_ONCE)).await;
        let read = read.map_err(std::io::Error::other).flatten();
        match read.map_err(|error| Trouble::Failed(format!("the store cannot be read: {error}")))? {
            Ok(batches) => {
                let last = batches.last().map_or(end, |batch| batch.header().last()).min(end);
                let range = Range::new(next, last);
                compare_batches(session, &batch, key, &batches, &mut verified).await?;
                compare_records(session, &record, &Rows::of(key, &batches, range), &mut verified).await?;
                verified.records += range.count();
                verified.to = last;
            }
            Err(last) => {
                verified.differences.push(Difference { from: next, to: last, flaw: Flaw::NotHere });
                verified.to = last;
            }
        }
    }
    verified.differences.sort_by_key(|difference| difference.from);
    Ok(verified)
}

async fn compare_batches(
    session: &Session,
    statement: &PreparedStatement,
    key: LogKey,
    batches: &[Arc<Loaded>],
    verified: &mut Verified,
) -> Result<(), Trouble> {
    let reads = batches.iter().map(|batch| async move {
        let (first, last) = (batch.header().first, batch.header().last());
        let (origin, log) = (&key.origin.0[..], rows::log_bytes(key.log));
        let values = (origin, &log[..], rows::part(first), rows::signed(first));
        let answer = session.driver().execute_unpaged(statement, values).await;
        let answer = answer.map_err(|error| session.trouble(&error))?;
        let answer = answer.into_rows_result().map_err(|error| session.broken(&error))?;
        let row = answer.maybe_first_row::<(Option<i64>, Option<&[u8]>)>();
        let flaw = match row.map_err(|error| session.broken(&error))? {
            None => Some(Flaw::BatchMissing),
            Some((end, bytes)) => (end != Some(rows::signed(last)) || bytes != Some(batch.bytes().as_ref()))
                .then_some(Flaw::BatchDiffers),
        };
        Ok(flaw.map(|flaw| Difference { from: first, to: last, flaw }))
    });
    let reads = reads.collect::<Vec<_>>();
    let found: Vec<Result<_, Trouble>> =
        futures_util::stream::iter(reads).buffer_unordered(READS).collect().await;
    for difference in found {
        verified.batches += 1;
        verified.differences.extend(difference?);
    }
    Ok(())
}

async fn compare_records(
    session: &Session,
    statement: &PreparedStatement,
    held: &Rows,
    verified: &mut Verified,
) -> Result<(), Trouble> {
    let (origin, log) = (&held.key.origin.0[..], rows::log_bytes(held.key.log));
    let log = &log[..];
    let all = held.records.iter().flat_map(|group| group.rows.iter().map(move |row| (group, row)));
    let reads = all.map(|(group, row)| async move {
        let values = (&*group.topic, group.slot, row.time, origin, log, row.seq);
        let answer = session.driver().execute_unpaged(statement, values).await;
        let answer = answer.map_err(|error| session.trouble(&error))?;
        let answer = answer.into_rows_result().map_err(|error| session.broken(&error))?;
        let found = answer.maybe_first_row::<(Option<&[u8]>,)>().map_err(|error| session.broken(&error))?;
        let flaw = match found {
            None => Some(Flaw::RecordMissing),
            Some((bytes,)) => (bytes != Some(row.bytes.as_ref())).then_some(Flaw::RecordDiffers),
        };
        let seq = rows::unsigned(row.seq);
        Ok(flaw.map(|flaw| Difference { from: seq, to: seq, flaw }))
    });
    let reads = reads.collect::<Vec<_>>();
    let found: Vec<Result<_, Trouble>> =
        futures_util::stream::iter(reads).buffer_unordered(READS).collect().await;
    for difference in found {
        verified.differences.extend(difference?);
    }
    Ok(())
}
