//! Reading batches back: where one lies that holds a seq, those that follow it, and what is missing between.

use std::sync::Arc;

use anode_shared::ids::LogKey;
use bytes::Bytes;
use futures_util::StreamExt as _;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;

use super::rows::{self, signed, unsigned};
use super::session::Session;
use super::trouble::Trouble;
use crate::store::{Kept, Wish};

/// How many parts of a log are looked into at once where one is empty: its rows expired, or it was never archived.
const PARTS_AT_ONCE: usize = 16;
/// How many parts are looked into before what was found missing is said.
const PARTS: i64 = 512;
/// By how many seqs a batch may reach into the part behind its own.
const REACH: u64 = 256;

/// A batch as it lies in the keyspace.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) bytes: Bytes,
}

/// What was fetched.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) batches: Vec<Batch>,
    /// The ranges that are not there.
    pub(super) lacks: Vec<(u64, u64)>,
}

/// The statements that read batches, and which logs there are.
#[derive(Debug)]
pub(super) struct Shelves {
    session: Arc<Session>,
    up: PreparedStatement,
    down: PreparedStatement,
    /// The first or the last batch of a part.
    lowest: PreparedStatement,
    highest: PreparedStatement,
    logs: PreparedStatement,
}

impl Shelves {
    pub(super) async fn new(session: Arc<Session>) -> Result<Self, Trouble> {
        let of = "FROM $keyspace.batches WHERE origin = ? AND log = ? AND part = ?";
        let up = format!("SELECT first, last, bytes {of} AND first >= ? LIMIT ?");
        let down = format!("SELECT first, last, bytes {of} AND first <= ? ORDER BY first DESC LIMIT ?");
        let lowest = format!("SELECT first, last {of} LIMIT 1");
        let highest = format!("SELECT first, last {of} ORDER BY first DESC LIMIT 1");
        let logs = "SELECT origin, log, archived_to, time_to, first, first_time, fork FROM $keyspace.positions WHERE slice = ?";
        Ok(Self {
            up: session.prepare(&up).await?,
            down: session.prepare(&down).await?,
            lowest: session.prepare(&lowest).await?,
            highest: session.prepare(&highest).await?,
            logs: session.prepare(logs).await?,
            session,
        })
    }

    async fn read<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Vec<R>, Trouble>
    where
        R: for<'f, 'm> scylla::deserialize::row::DeserializeRow<'f, 'm>,
    {
        let answer = self.session.driver().execute_unpaged(statement, values).await;
        let answer = answer.map_err(|error| self.session.trouble(&error))?;
        let rows = answer.into_rows_result().map_err(|error| self.session.broken(&error))?;
        let rows = rows.rows::<R>().map_err(|error| self.session.broken(&error))?;
        rows.collect::<Result<Vec<R>, _>>().map_err(|error| self.session.broken(&error))
    }

    /// Which logs there are, and what of each.
    pub(super) async fn logs(&self) -> Result<Vec<(LogKey, Kept)>, Trouble> {
        type Row = (Vec<u8>, Vec<u8>, Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);
        let mut logs = Vec::new();
        for slice in 0..rows::LOG_SLICES {
            let found: Vec<Row> = self.read(&self.logs, (slice,)).await?;
            logs.extend(found.into_iter().filter_map(
                |(origin, log, to, time_to, first, time_first, fork)| {
                    let last =
                        unsigned(to?).min(fork.map_or(u64::MAX, |fork| unsigned(fork).saturating_sub(1)));
                    // Of a log that only holes are known of there is nothing to lend.
                    let kept = Kept {
                        first: unsigned(first?).max(1),
                        time_first: time_first.map_or(0, unsigned),
                        last,
                        time_last: time_to.filter(|time| *time > 0).map_or(u64::MAX, unsigned),
                    };
                    Some((rows::read_key(&origin, &log)?, kept))
                },
            ));
        }
        Ok(logs)
    }

    /// Some rows of what a reader waits for, from the end at which it reads.
    pub(super) async fn fetch(&self, wish: Wish, most: usize) -> Result<Fetched, Trouble> {
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        let mut fetched = Fetched::default();
        if wish.newest_first {
            fetched.batches = self.below(wish.log, wish.to, most).await?;
        } else {
            fetched.batches = self.above(wish.log, wish.from, most).await?;
            if fetched.batches.first().is_none_or(|batch| batch.first > wish.from) {
                let before = self.below(wish.log, wish.from, 1).await?;
                let holds = before.into_iter().filter(|batch| batch.last >= wish.from);
                fetched.batches.splice(0..0, holds);
            }
        }
        fetched.lacks = if fetched.batches.is_empty() {
            vec![self.look_on(wish).await?]
        } else {
            lacks(wish, &fetched.batches)
        };
        Ok(fetched)
    }

    async fn above(&self, key: LogKey, seq: u64, most: i32) -> Result<Vec<Batch>, Trouble> {
        self.rows(&self.up, key, rows::part(seq), seq, most).await
    }

    /// The batches that begin at a seq or before, the highest first.
    async fn below(&self, key: LogKey, seq: u64, most: i32) -> Result<Vec<Batch>, Trouble> {
        let part = rows::part(seq);
        let found = self.rows(&self.down, key, part, seq, most).await?;
        if found.is_empty() && part > 0 {
            return self.rows(&self.down, key, part - 1, seq, most).await;
        }
        Ok(found)
    }

    async fn rows(
        &self,
        statement: &PreparedStatement,
        key: LogKey,
        part: i64,
        seq: u64,
        most: i32,
    ) -> Result<Vec<Batch>, Trouble> {
        let (origin, log) = (&key.origin.0[..], rows::log_bytes(key.log));
        let found: Vec<(i64, Option<i64>, Option<Vec<u8>>)> =
            self.read(statement, (origin, &log[..], part, signed(seq), most)).await?;
        let batch = |(first, last, bytes): (i64, Option<i64>, Option<Vec<u8>>)| {
            Some(Batch { first: unsigned(first), last: unsigned(last?), bytes: bytes?.into() })
        };
        Ok(found.into_iter().filter_map(batch).collect())
    }

    /// The range that is missing where the parts about the end of a wish are empty: up to the next part that is not.
    async fn look_on(&self, wish: Wish) -> Result<(u64, u64), Trouble> {
        let Wish { log, from, to, newest_first } = wish;
        let (here, there) = if newest_first {
            (rows::part(to) - 1, rows::part(from))
        } else {
            (rows::part(from), rows::part(to))
        };
        let step = if newest_first { -1 } else { 1 };
        let count = ((there - here) * step).clamp(0, PARTS);
        let statement = if newest_first { &self.highest } else { &self.lowest };
        let (origin, id) = (&log.origin.0[..], &rows::log_bytes(log.log)[..]);
        let looks = (1..=count)
            .map(|n| here + n * step)
            .map(|part| async move { self.read::<(i64, Option<i64>)>(statement, (origin, id, part)).await });
        let looks = looks.collect::<Vec<_>>();
        let mut found = futures_util::stream::iter(looks).buffered(PARTS_AT_ONCE);
        while let Some(rows) = found.next().await {
            let Some((first, last)) = rows?.into_iter().next() else { continue };
            return Ok(if newest_first {
                (last.map_or(from, |last| unsigned(last) + 1).clamp(from, to), to)
            } else {
                (from, (unsigned(first).saturating_sub(1)).clamp(from, to))
            });
        }
        Ok(if newest_first {
            let low = rows::first_of_part(here - count).saturating_add(if count < PARTS { 0 } else { REACH });
            (if count < PARTS { from } else { low.clamp(from, to) }, to)
        } else {
            let high = rows::first_of_part(here + count + 1).saturating_sub(1);
            (from, if count < PARTS { to } else { high.clamp(from, to) })
        })
    }
}

/// What is missing of a range before, between and, as far as is known, behind batches that were read of it.
fn lacks(wish: Wish, batches: &[Batch]) -> Vec<(u64, u64)> {
    let mut lacks = Vec::new();
    if wish.newest_first {
        let mut next = wish.to;
        for batch in batches {
            if batch.last < next {
                lacks.push(((batch.last + 1).max(wish.from), next));
            }
            next = batch.first.saturating_sub(1);
        }
    } else {
        let mut next = wish.from;
        for batch in batches {
            if batch.first > next {
                lacks.push((next, (batch.first - 1).min(wish.to)));
            }
            next = batch.last + 1;
        }
    }
    lacks.retain(|(from, to)| from <= to && *from >= wish.from && *to <= wish.to);
    lacks
}

#[cfg(test)]
mod tests {
    use anode_shared::ids::{LogId, Origin};

    use super::*;

    #[test]
    fn it_says_what_is_missing_between_batches() {
        let log = LogKey { log: LogId(1), origin: Origin([1; 32]) };
        let batch = |(first, last): &(u64, u64)| Batch { first: *first, last: *last, bytes: Bytes::new() };
        for (from, to, newest_first, found, missing) in [
            (1, 20, false, &[(1, 5), (6, 9)][..], &[][..]),
            (4, 20, false, &[(1, 5), (8, 9)], &[(6, 7)]),
            (4, 20, false, &[(6, 9), (30, 31)], &[(4, 5), (10, 20)]),
            (4, 9, false, &[(12, 13)], &[(4, 9)]),
            (4, 20, true, &[(18, 20), (12, 15), (1, 7)], &[(16, 17), (8, 11)]),
            (4, 20, true, &[(19, 25)], &[]),
            (4, 20, true, &[(10, 12), (1, 2)], &[(13, 20), (4, 9)]),
            (4, 20, true, &[(1, 2)], &[(4, 20)]),
        ] {
            let batches: Vec<Batch> = found.iter().map(batch).collect();
            assert_eq!(lacks(Wish { log, from, to, newest_first }, &batches), missing, "{found:?}");
        }
    }
}
