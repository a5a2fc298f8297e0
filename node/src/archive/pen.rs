//! Writing rows: prepared statements, single-partition batches, and as many tries as it takes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anode_shared::ids::LogKey;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use scylla::serialize::batch::BatchValues;
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use tokio::sync::Semaphore;

use super::Shared;
use super::plan::{Mending, Range};
use super::rows::{self, Newest, RecordGroup, Rows, signed};
use super::seen::Lacks;
use super::session::Session;
use super::trouble::Trouble;

/// How many statements are under way at once: twice as many as Cassandra's default of 32 writers.
const STATEMENTS: usize = 64;
/// How many of them one piece may have under way, so that a slow partition holds up its own log only.
const OF_A_PIECE: usize = 16;
/// The first and the longest pause before a statement is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How much longer than records positions and holes live: a store may keep records for longer than the archive.
const KEPT_LONGER: u64 = 90 * 86_400;
/// The longest time to live that Cassandra knows.
const LONGEST_TTL: u64 = 20 * 365 * 86_400;
/// What `first` is written at, less itself: so the lowest wins.
const TOP: i64 = 1 << 62;

/// The statements that write and read back where logs stand.
#[derive(Debug)]
struct Statements {
    batch: PreparedStatement,
    record: PreparedStatement,
    topic_slot: PreparedStatement,
    topic_hour: PreparedStatement,
    latest: PreparedStatement,
    position: PreparedStatement,
    first: PreparedStatement,
    fork: PreparedStatement,
    hole: PreparedStatement,
    no_hole: PreparedStatement,
    position_of: PreparedStatement,
    holes_of: PreparedStatement,
    holes_in: PreparedStatement,
}

/// Where a log stands, as the keyspace says.
#[derive(Debug, Default)]
pub(super) struct Stand {
    pub(super) archived_to: u64,
    pub(super) first: Option<u64>,
    pub(super) holes: Vec<Range>,
}

/// Where a log is to stand.
#[derive(Debug, Clone)]
pub(super) struct Position {
    pub(super) key: LogKey,
    pub(super) archived_to: u64,
    /// The time of the record there.
    pub(super) time: u64,
    /// The lowest seq that is archived and its time, where that is news.
    pub(super) first: Option<(u64, u64)>,
    /// Where the log ends, where that is news.
    pub(super) fork: Option<u64>,
}

/// Writes into one keyspace.
#[derive(Debug)]
pub(super) struct Pen {
    session: Arc<Session>,
    statements: Statements,
    permits: Semaphore,
    shared: Arc<Shared>,
    node: String,
    /// How long positions and holes live, seconds; 0 for ever.
    ttl: i32,
}

impl Pen {
    pub(super) async fn new(
        session: Arc<Session>,
        shared: Arc<Shared>,
        node: String,
    ) -> Result<Self, Trouble> {
        let prepare = |cql| session.prepare(cql);
        let statements = Statements {
            batch: prepare(rows::INSERT_BATCH).await?,
            record: prepare(rows::INSERT_RECORD).await?,
            topic_slot: prepare("INSERT INTO $keyspace.topic_slots (hour, topic, slot) VALUES (?, ?, ?)").await?,
            topic_hour: prepare("INSERT INTO $keyspace.topic_hours (topic, hour) VALUES (?, ?)").await?,
            latest: prepare("INSERT INTO $keyspace.latest (slice, topic, newest) VALUES (?, ?, ?) USING TIMESTAMP ?").await?,
            position: prepare("INSERT INTO $keyspace.positions (slice, origin, log, archived_to, time_to, node) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?").await?,
            first: prepare("INSERT INTO $keyspace.positions (slice, origin, log, first, first_time) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?").await?,
            fork: prepare("INSERT INTO $keyspace.positions (slice, origin, log, fork) VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?").await?,
            hole: prepare("INSERT INTO $keyspace.holes (slice, origin, log, first, last, since) VALUES (?, ?, ?, ?, ?, ?) USING TTL ?").await?,
            no_hole: prepare("DELETE FROM $keyspace.holes WHERE slice = ? AND origin = ? AND log = ? AND first = ? AND last = ?").await?,
            position_of: prepare("SELECT archived_to, first FROM $keyspace.positions WHERE slice = ? AND origin = ? AND log = ?").await?,
            holes_of: prepare("SELECT first, last FROM $keyspace.holes WHERE slice = ? AND origin = ? AND log = ?").await?,
            holes_in: prepare("SELECT origin, log, first, last, since FROM $keyspace.holes WHERE slice = ?").await?,
        };
        let ttl = session.ttl().map_or(0, |ttl| (ttl.as_secs() + KEPT_LONGER).min(LONGEST_TTL));
        let ttl = i32::try_from(ttl).unwrap_or(0);
        Ok(Self { session, statements, permits: Semaphore::new(STATEMENTS), shared, node, ttl })
    }

    /// Writes rows of one partition with one statement; tries until it succeeds.
    async fn write(&self, statement: &PreparedStatement, count: usize, values: &(impl BatchValues + Sync)) {
        let mut batch = Batch::new(BatchType::Unlogged);
        (0..count).for_each(|_| batch.append_statement(statement.clone()));
        batch.set_is_idempotent(true);
        let mut pause = PAUSES.0;
        loop {
            let permit = self.permits.acquire().await;
            let result = self.session.driver().batch(&batch, values).await;
            drop(permit);
            match result {
                Ok(_) => break self.shared.worked(),
                Err(error) => self.shared.failed(&self.session.trouble(&error)),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        self.shared.counts.statements.fetch_add(1, Relaxed);
        self.shared.counts.rows.fetch_add(count as u64, Relaxed);
    }

    /// Writes one row; tries until it succeeds.
    async fn put(&self, statement: &PreparedStatement, row: impl SerializeRow + Send + Sync) {
        self.write(statement, 1, &[row][..].as_ref()).await;
    }

    /// Reads all rows of a query; tries until it succeeds.
    async fn read<R>(&self, statement: &PreparedStatement, values: impl SerializeRow + Sync) -> Vec<R>
    where
        R: for<'f, 'm> scylla::deserialize::row::DeserializeRow<'f, 'm>,
    {
        let mut pause = PAUSES.0;
        loop {
            let permit = self.permits.acquire().await;
            let result = self.session.driver().execute_unpaged(statement, &values).await;
            drop(permit);
            let rows = match result {
                Ok(answer) => answer.into_rows_result().map_err(|error| self.session.broken(&error)),
                Err(error) => Err(self.session.trouble(&error)),
            };
            let rows = rows.and_then(|rows| {
                let rows = rows.rows::<R>().map_err(|error| self.session.broken(&error))?;
                rows.collect::<Result<Vec<R>, _>>().map_err(|error| self.session.broken(&error))
            });
            match rows {
                Ok(rows) => {
                    self.shared.worked();
                    return rows;
                }
                Err(trouble) => self.shared.failed(&trouble),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Writes all rows of a piece.
    pub(super) async fn rows(&self, rows: &Rows) {
        let lacks = self.lacks(rows);
        let mut left: Vec<BoxFuture<'_, ()>> = Vec::new();
        left.extend(
            rows.batches.iter().map(|group| Box::pin(self.batches(rows.key, group)) as BoxFuture<'_, ()>),
        );
        left.extend(
            rows.records.iter().map(|group| Box::pin(self.records(rows.key, group)) as BoxFuture<'_, ()>),
        );
        left.push(Box::pin(self.index(&lacks)));
        let mut left = left.into_iter();
        let mut running: FuturesUnordered<_> = left.by_ref().take(OF_A_PIECE).collect();
        while running.next().await.is_some() {
            running.extend(left.next());
        }
        drop((running, left));
        let mut seen = self.shared.seen();
        lacks.iter().for_each(|(topic, slot, _)| seen.add(topic, *slot));
        drop(seen);
        self.shared.counts.records.fetch_add(rows.count, Relaxed);
        self.shared.counts.bytes.fetch_add(rows.bytes() as u64, Relaxed);
    }

    async fn batches(&self, key: LogKey, group: &rows::BatchGroup) {
        let (origin, log) = (&key.origin.0[..], &rows::log_bytes(key.log)[..]);
        let values: Vec<_> = group
            .rows
            .iter()
            .map(|row| (origin, log, group.part, row.first, row.last, row.bytes.as_ref(), row.time))
            .collect();
        self.write(&self.statements.batch, values.len(), &values).await;
    }

    async fn records(&self, key: LogKey, group: &RecordGroup) {
        let (origin, log) = (&key.origin.0[..], &rows::log_bytes(key.log)[..]);
        let values: Vec<_> = group
            .rows
            .iter()
            .map(|row| {
                (&*group.topic, group.slot, row.time, origin, log, row.seq, row.bytes.as_ref(), row.time)
            })
            .collect();
        self.write(&self.statements.record, values.len(), &values).await;
    }

    /// The index rows that a piece needs and the keyspace may not have yet.
    fn lacks(&self, rows: &Rows) -> Vec<(Arc<str>, i64, Lacks)> {
        let seen = self.shared.seen();
        let groups = rows.records.iter().map(|group| (group.topic.clone(), group.slot));
        let mut lacks: Vec<_> = groups
            .map(|(topic, slot)| {
                let lacks = seen.lacks(&topic, slot);
                (topic, slot, lacks)
            })
            .filter(|(.., lacks)| *lacks != Lacks::Nothing)
            .collect();
        lacks.dedup_by(|one, other| (&one.0, one.1) == (&other.0, other.1));
        lacks
    }

    async fn index(&self, lacks: &[(Arc<str>, i64, Lacks)]) {
        let mut hours: Vec<(i64, &str, i64)> =
            lacks.iter().map(|(topic, slot, _)| (rows::hour(*slot), &**topic, *slot)).collect();
        hours.sort_unstable();
        for hour in hours.chunk_by(|one, other| one.0 == other.0) {
            for group in rows::split(hour.to_vec(), |(_, topic, _)| topic.len()) {
                self.write(&self.statements.topic_slot, group.len(), &group).await;
            }
        }
        let mut topics: Vec<(&str, i64)> = lacks
            .iter()
            .filter(|(.., lacks)| *lacks == Lacks::SlotAndHour)
            .map(|(topic, slot, _)| (&**topic, rows::hour(*slot)))
            .collect();
        topics.sort_unstable();
        topics.dedup();
        let mut left = topics.into_iter().map(|row| self.put(&self.statements.topic_hour, row));
        let mut running: FuturesUnordered<_> = left.by_ref().take(OF_A_PIECE).collect();
        while running.next().await.is_some() {
            running.extend(left.next());
        }
    }

    /// Writes the newest records of topics.
    pub(super) async fn latest(&self, newest: impl IntoIterator<Item = (Arc<str>, Newest)>) {
        let mut rows: Vec<_> =
            newest.into_iter().map(|(topic, newest)| (rows::topic_slice(&topic), topic, newest)).collect();
        rows.sort_by_key(|(slice, ..)| *slice);
        let groups: Vec<_> = rows
            .chunk_by(|one, other| one.0 == other.0)
            .flat_map(|slice| {
                rows::split(slice.iter().collect(), |(_, topic, newest)| topic.len() + newest.bytes.len())
            })
            .collect();
        let mut left = groups.iter().map(|group| self.latest_group(group));
        let mut running: FuturesUnordered<_> = left.by_ref().take(OF_A_PIECE).collect();
        while running.next().await.is_some() {
            running.extend(left.next());
        }
    }

    async fn latest_group(&self, group: &[&(i16, Arc<str>, Newest)]) {
        let logs: Vec<[u8; 8]> = group.iter().map(|(.., newest)| rows::log_bytes(newest.key.log)).collect();
        let values: Vec<_> = group
            .iter()
            .zip(&logs)
            .map(|((slice, topic, newest), log)| {
                let cell = (
                    signed(newest.time),
                    &newest.key.origin.0[..],
                    &log[..],
                    signed(newest.seq),
                    &newest.bytes[..],
                );
                (*slice, &**topic, cell, signed(newest.time))
            })
            .collect();
        self.write(&self.statements.latest, values.len(), &values).await;
    }

    /// Writes where a log stands.
    pub(super) async fn position(&self, position: &Position) {
        let key = position.key;
        let (slice, origin) = (rows::log_slice(key.origin), &key.origin.0[..]);
        let log = &rows::log_bytes(key.log)[..];
        let to = signed(position.archived_to);
        let row = (slice, origin, log, to, signed(position.time), &*self.node, to, self.ttl);
        self.put(&self.statements.position, row).await;
        if let Some((first, time)) = position.first {
            let first = signed(first);
            let row = (slice, origin, log, first, signed(time), TOP - first, self.ttl);
            self.put(&self.statements.first, row).await;
        }
        if let Some(fork) = position.fork {
            let fork = signed(fork);
            let row = (slice, origin, log, fork, TOP - fork, self.ttl);
            self.put(&self.statements.fork, row).await;
        }
    }

    /// Says that a range is missing.
    pub(super) async fn pass(&self, key: LogKey, hole: Range) {
        let (slice, origin) = (rows::log_slice(key.origin), &key.origin.0[..]);
        let since = signed(crate::store::system_time());
        let (first, last) = (signed(hole.first), signed(hole.last));
        let row = (slice, origin, &rows::log_bytes(key.log)[..], first, last, since, self.ttl);
        self.put(&self.statements.hole, row).await;
    }

    /// Changes rows of holes: what is left of one is named before the whole is not any more.
    pub(super) async fn mend(&self, key: LogKey, mending: &Mending) {
        for hole in &mending.write {
            self.pass(key, *hole).await;
        }
        let (slice, origin) = (rows::log_slice(key.origin), &key.origin.0[..]);
        let log = rows::log_bytes(key.log);
        for hole in &mending.delete {
            let row = (slice, origin, &log[..], signed(hole.first), signed(hole.last));
            self.put(&self.statements.no_hole, row).await;
        }
    }

    /// Where a log stands.
    pub(super) async fn stand(&self, key: LogKey) -> Stand {
        let (slice, origin) = (rows::log_slice(key.origin), key.origin.0.to_vec());
        let values = (slice, origin, rows::log_bytes(key.log).to_vec());
        let positions: Vec<(Option<i64>, Option<i64>)> =
            self.read(&self.statements.position_of, &values).await;
        let holes: Vec<(i64, i64)> = self.read(&self.statements.holes_of, &values).await;
        let (archived_to, first) = positions.into_iter().next().unwrap_or_default();
        Stand {
            archived_to: archived_to.map_or(0, rows::unsigned),
            first: first.map(rows::unsigned),
            holes: holes.into_iter().map(range).collect(),
        }
    }

    /// All holes that were there at a time, by log.
    pub(super) async fn holes_before(&self, time: u64) -> Vec<(LogKey, Range)> {
        let mut holes = Vec::new();
        for slice in 0..rows::LOG_SLICES {
            type Row = (Vec<u8>, Vec<u8>, i64, i64, Option<i64>);
            let found: Vec<Row> = self.read(&self.statements.holes_in, (slice,)).await;
            let old = found.into_iter().filter(|row| row.4.is_none_or(|since| rows::unsigned(since) < time));
            holes.extend(old.filter_map(|(origin, log, first, last, _)| {
                Some((rows::read_key(&origin, &log)?, range((first, last))))
            }));
        }
        holes
    }
}

fn range((first, last): (i64, i64)) -> Range {
    Range::new(rows::unsigned(first), rows::unsigned(last))
}
