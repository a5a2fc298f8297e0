//! The executable ceiling: the same rows, by the same statements, from a bare loop around the driver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::ids::LogKey;
use anyhow::Context as _;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, TryStreamExt as _};
use scylla::serialize::batch::BatchValues;
use scylla::statement::Statement;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use crate::archive::Session;
use crate::archive::plan::Range;
use crate::archive::rows::{self, BatchGroup, RecordGroup, Rows};
use crate::store::Loaded;

/// How many statements are under way at once, as in a node.
const STATEMENTS: usize = 64;
/// About how many bytes of batches a node lays out at once.
const PIECE: usize = 512 << 10;

/// How many batches are read at once: 5,000, the driver's own page, fill the memory of a small Cassandra.
const PAGE: i32 = 50;

/// What a loop wrote.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) rows: u64,
    pub(super) records: u64,
    pub(super) took: Duration,
}

/// The rows that a node wrote for these seqs of its logs, laid out as it does.
pub(super) async fn rows_of(session: &Session, records: u64) -> anyhow::Result<Vec<Rows>> {
    let all =
        Statement::new(format!("SELECT bytes FROM {}.batches", session.keyspace())).with_page_size(PAGE);
    let mut found = session.driver().query_iter(all, ()).await?.rows_stream::<(Vec<u8>,)>()?;
    let mut logs: BTreeMap<LogKey, BTreeMap<u64, Arc<Loaded>>> = BTreeMap::new();
    let mut count = 0;
    while let Some((bytes,)) = found.try_next().await? {
        let batch = Loaded::new(Bytes::from(bytes)).context("Cassandra holds a batch that is none")?;
        count += batch.len() as u64;
        logs.entry(batch.key()).or_default().insert(batch.header().first, Arc::new(batch));
        if count >= records {
            break;
        }
    }
    let mut all = Vec::new();
    for (key, batches) in logs {
        let mut piece = Vec::new();
        let mut bytes = 0;
        let mut batches = batches.into_values().peekable();
        while let Some(batch) = batches.next() {
            bytes += batch.bytes().len();
            piece.push(batch);
            if bytes >= PIECE || batches.peek().is_none() {
                all.push(Rows::of(key, &piece, Range::new(1, u64::MAX - 1)));
                (piece, bytes) = (Vec::new(), 0);
            }
        }
    }
    Ok(all)
}

/// Writes rows of pieces, as fast as Cassandra takes them.
pub(super) async fn write(session: &Session, pieces: &[Rows]) -> anyhow::Result<Written> {
    let batch = &session.prepare(rows::INSERT_BATCH).await?;
    let record = &session.prepare(rows::INSERT_RECORD).await?;
    let began = Instant::now();
    let mut writes: Vec<BoxFuture<'_, anyhow::Result<u64>>> = Vec::new();
    for piece in pieces {
        writes.extend(piece.batches.iter().map(|group| {
            Box::pin(batches(session, batch, piece.key, group)) as BoxFuture<'_, anyhow::Result<u64>>
        }));
        writes.extend(piece.records.iter().map(|group| {
            Box::pin(records(session, record, piece.key, group)) as BoxFuture<'_, anyhow::Result<u64>>
        }));
    }
    let mut running = futures_util::stream::iter(writes).buffer_unordered(STATEMENTS);
    let mut written = Written { records: pieces.iter().map(|piece| piece.count).sum(), ..Written::default() };
    while let Some(rows) = running.try_next().await? {
        written.rows += rows;
    }
    written.took = began.elapsed();
    Ok(written)
}

async fn batches(
    session: &Session,
    statement: &PreparedStatement,
    key: LogKey,
    group: &BatchGroup,
) -> anyhow::Result<u64> {
    let (origin, log) = (&key.origin.0[..], &rows::log_bytes(key.log)[..]);
    let values = group
        .rows
        .iter()
        .map(|row| (origin, log, group.part, row.first, row.last, row.bytes.as_ref(), row.time));
    send(session, statement, group.rows.len(), values.collect::<Vec<_>>()).await
}

async fn records(
    session: &Session,
    statement: &PreparedStatement,
    key: LogKey,
    group: &RecordGroup,
) -> anyhow::Result<u64> {
    let (origin, log) = (&key.origin.0[..], &rows::log_bytes(key.log)[..]);
    let values = group
        .rows
        .iter()
        .map(|row| (&*group.topic, group.slot, row.time, origin, log, row.seq, row.bytes.as_ref(), row.time));
    send(session, statement, group.rows.len(), values.collect::<Vec<_>>()).await
}

async fn send(
    session: &Session,
    statement: &PreparedStatement,
    count: usize,
    values: impl BatchValues,
) -> anyhow::Result<u64> {
    let mut batch = Batch::new(BatchType::Unlogged);
    (0..count).for_each(|_| batch.append_statement(statement.clone()));
    batch.set_is_idempotent(true);
    session.driver().batch(&batch, values).await?;
    Ok(count as u64)
}
