//! Topics and the newest record of each, read back from the table `latest`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::ids::LogKey;
use anode_shared::time::Micros;
use anode_shared::topic::Topics;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;

use super::rows::{self, TOPIC_SLICES, unsigned};
use super::session::Session;
use super::trouble::Trouble;
use super::{Archive, Shared};
use crate::store::Newest;

/// How long an answer may take: whoever asks gets what the store has instead.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// How many look for topics at once: what each has read lies in memory.
pub(super) const LOOKING: usize = 4;
/// How many slices of the table are read at once.
const AT_ONCE: usize = 8;
/// How many names are read of a slice at once at most.
const NAMES: usize = 512;
/// How many newest records are read of a slice at once: their bytes come with them, up to 128 KiB each.
const RECORDS: usize = 32;

/// The statements that read the table.
#[derive(Debug)]
pub(super) struct Statements {
    names: PreparedStatement,
    records: PreparedStatement,
    record: PreparedStatement,
}

impl Statements {
    async fn new(session: &Session) -> Result<Self, Trouble> {
        Ok(Self {
            // When a newest record was written is its time.
            names: session.prepare("SELECT topic, WRITETIME(newest) FROM $keyspace.latest WHERE slice = ? AND topic > ? LIMIT ?").await?,
            records: session.prepare("SELECT topic, newest FROM $keyspace.latest WHERE slice = ? AND topic > ? LIMIT ?").await?,
            record: session.prepare("SELECT topic, newest FROM $keyspace.latest WHERE slice = ? AND topic = ?").await?,
        })
    }
}

/// A topic and the time of its newest record.
pub type Named = (String, Micros);
/// A newest record as its cell holds it: time, origin, log, seq, bytes.
type Cell = (i64, Vec<u8>, Vec<u8>, i64, Vec<u8>);
/// A topic with its newest record.
type Row = (String, Option<Cell>);

impl Archive {
    /// So many topics behind a name that the archive holds a record of, by name. Answers soon.
    ///
    /// # Errors
    /// When Cassandra does not.
    pub async fn topics_after(&self, name: &str, limit: usize) -> Result<Vec<Named>, Trouble> {
        let Some(shared) = &self.0 else { return Ok(Vec::new()) };
        let asked = async { names_after(&*shared.answering().await?, name, limit).await };
        shared.soon(asked).await
    }
}

impl Shared {
    /// Where the newest record of each topic that matches is, of at most so many; none where Cassandra does not answer soon.
    pub(super) async fn newest(&self, topics: &Topics, most: usize) -> Newest {
        let asked = async { newest(&*self.answering().await?, topics, most).await };
        self.soon(asked).await.unwrap_or_else(|trouble| {
            tracing::debug!(%trouble, "Looked in vain for the newest records of the archive");
            Newest::new()
        })
    }

    /// The session, as far as Cassandra answers at present; a node that has just started may not have it yet.
    async fn answering(&self) -> Result<Arc<Session>, Trouble> {
        let none = || Trouble::Failed("there is no connection to Cassandra".to_owned());
        if self.health.lost_for(Instant::now()).is_some() {
            return Err(none());
        }
        let mut session = self.session.subscribe();
        let session = session.wait_for(Option::is_some).await.map_err(|_| none())?;
        session.clone().ok_or_else(none)
    }

    /// Waits for an answer that somebody waits for, but not for long.
    async fn soon<T>(&self, answer: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        let answer = async {
            let _turn = self.looking.acquire().await;
            answer.await
        };
        let late = |_| Trouble::Failed("Cassandra does not answer in time".to_owned());
        tokio::time::timeout(PATIENCE, answer).await.map_err(late).flatten()
    }
}

/// So many topics behind a name, by name.
async fn names_after(session: &Session, name: &str, limit: usize) -> Result<Vec<Named>, Trouble> {
    let statements = session.topics.get_or_try_init(|| Statements::new(session)).await?;
    merge(name, limit, &|slice, after, count| Box::pin(names(session, statements, slice, after, count))).await
}

async fn names(
    session: &Session,
    statements: &Statements,
    slice: i16,
    after: String,
    count: usize,
) -> Result<Vec<Named>, Trouble> {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let found: Vec<(String, Option<i64>)> = read(session, &statements.names, (slice, after, count)).await?;
    Ok(found.into_iter().map(|(topic, time)| (topic, time.map_or(0, unsigned))).collect())
}

/// Reads so many topics of a slice behind a name.
type Fetch<'a, 'f> =
    &'f (dyn Fn(i16, String, usize) -> BoxFuture<'a, Result<Vec<Named>, Trouble>> + Send + Sync);

/// What is left of a slice's topics.
#[derive(Debug, Default)]
struct Slice {
    read: VecDeque<Named>,
    last: String,
    whole: bool,
}

impl Slice {
    fn take(&mut self, found: Vec<Named>, wanted: usize) {
        self.whole = found.len() < wanted;
        self.read.extend(found);
        if let Some((last, _)) = self.read.back() {
            last.clone_into(&mut self.last);
        }
    }
}

/// The first so many topics behind a name, out of slices of which each has its own in order. Names lie in slices by their
/// hash, so each slice has its share of them, more or less.
async fn merge<'a>(name: &str, limit: usize, fetch: Fetch<'a, '_>) -> Result<Vec<Named>, Trouble> {
    let share = (limit / TOPIC_SLICES.unsigned_abs() as usize + 8).min(NAMES).min(limit);
    let firsts: Vec<_> = (0..TOPIC_SLICES).map(|slice| fetch(slice, name.to_owned(), share)).collect();
    let firsts: Vec<Vec<Named>> = stream::iter(firsts).buffered(AT_ONCE).try_collect().await?;
    let mut slices: Vec<Slice> = Vec::new();
    let mut heads = BinaryHeap::new();
    for (number, found) in (0..TOPIC_SLICES).zip(firsts) {
        let mut slice = Slice::default();
        slice.take(found, share);
        heads.extend(slice.read.pop_front().map(|(topic, time)| Reverse((topic, time, number))));
        slices.push(slice);
    }
    let mut merged = Vec::new();
    while merged.len() < limit {
        let Some(Reverse((topic, time, number))) = heads.pop() else { break };
        merged.push((topic, time));
        let slice = &mut slices[usize::from(number.unsigned_abs())];
        if slice.read.is_empty() && !slice.whole {
            let found = fetch(number, slice.last.clone(), share).await?;
            slice.take(found, share);
        }
        heads.extend(slice.read.pop_front().map(|(topic, time)| Reverse((topic, time, number))));
    }
    Ok(merged)
}

/// Where the newest record of each topic that matches is, of at most so many.
async fn newest(session: &Session, topics: &Topics, most: usize) -> Result<Newest, Trouble> {
    let statements = session.topics.get_or_try_init(|| Statements::new(session)).await?;
    let mut newest = Newest::new();
    if let Some(names) = topics.by_name() {
        let reads = names.into_iter().map(|topic| {
            let place = (rows::topic_slice(topic), topic.to_owned());
            Box::pin(read(session, &statements.record, place)) as BoxFuture<'_, Result<Vec<Row>, Trouble>>
        });
        let reads = reads.collect::<Vec<_>>();
        let mut found = stream::iter(reads).buffer_unordered(AT_ONCE);
        while let Some(cells) = found.next().await {
            newest.extend(cells?.into_iter().filter_map(spot));
        }
        return Ok(newest);
    }
    let reads = (0..TOPIC_SLICES).map(|slice| {
        let newest = newest_in(session, &statements.records, slice, topics, most);
        Box::pin(newest) as BoxFuture<'_, Result<Newest, Trouble>>
    });
    let reads = reads.collect::<Vec<_>>();
    let mut found = stream::iter(reads).buffer_unordered(AT_ONCE);
    while let Some(some) = found.next().await {
        newest.extend(some?);
        if newest.len() >= most {
            break;
        }
    }
    Ok(newest)
}

async fn newest_in(
    session: &Session,
    statement: &PreparedStatement,
    slice: i16,
    topics: &Topics,
    most: usize,
) -> Result<Newest, Trouble> {
    let (mut newest, mut after) = (Newest::new(), String::new());
    let count = i32::try_from(RECORDS).unwrap_or(i32::MAX);
    while newest.len() < most {
        let found = read::<Row>(session, statement, (slice, after.clone(), count)).await?;
        let full = found.len() == RECORDS;
        let Some((last, _)) = found.last() else { break };
        last.clone_into(&mut after);
        newest.extend(found.into_iter().filter(|(topic, _)| topics.matches(topic)).filter_map(spot));
        if !full {
            break;
        }
    }
    Ok(newest)
}

fn spot((topic, cell): Row) -> Option<(Box<str>, (Micros, LogKey, u64))> {
    let (time, origin, log, seq, _) = cell?;
    Some((topic.into(), (unsigned(time), rows::read_key(&origin, &log)?, unsigned(seq))))
}

async fn read<R>(
    session: &Session,
    statement: &PreparedStatement,
    values: impl SerializeRow,
) -> Result<Vec<R>, Trouble>
where
    R: for<'f, 'm> scylla::deserialize::row::DeserializeRow<'f, 'm>,
{
    let answer = session.driver().execute_unpaged(statement, values).await;
    let answer = answer.map_err(|error| session.trouble(&error))?;
    let rows = answer.into_rows_result().map_err(|error| session.broken(&error))?;
    let rows = rows.rows::<R>().map_err(|error| session.broken(&error))?;
    rows.collect::<Result<Vec<R>, _>>().map_err(|error| session.broken(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    /// All topics, read in pages from the slices in which they lie, and how often those were asked.
    async fn pages(topics: &[String], limit: usize) -> (Vec<String>, usize) {
        let asked = AtomicUsize::new(0);
        let fetch = |slice, after: String, count| {
            asked.fetch_add(1, Relaxed);
            let here = topics.iter().filter(|topic| rows::topic_slice(topic) == slice && **topic > after);
            let mut here: Vec<Named> = here.map(|topic| (topic.clone(), 7)).collect();
            here.sort();
            here.truncate(count);
            Box::pin(std::future::ready(Ok(here))) as BoxFuture<'_, _>
        };
        let (mut all, mut name) = (Vec::new(), String::new());
        loop {
            let page = merge(&name, limit, &fetch).await.unwrap();
            assert!(page.len() <= limit);
            let Some((last, _)) = page.last() else { return (all, asked.load(Relaxed)) };
            last.clone_into(&mut name);
            all.extend(page.into_iter().map(|(topic, _)| topic));
        }
    }

    #[tokio::test]
    async fn it_gives_every_topic_once_and_in_order_however_they_lie() {
        let even: Vec<String> = (0..3_000).map(|number| format!("a.{number:05}")).collect();
        // Many that lie in one slice, as chance would hardly have it.
        let crowd = (0..).map(|number| format!("b.{number}")).filter(|topic| rows::topic_slice(topic) == 9);
        let crowd: Vec<String> = crowd.take(300).collect();
        for (topics, limit) in [(&even, 1_000), (&even, 7), (&crowd, 100), (&crowd, 1), (&Vec::new(), 10)] {
            let mut expected = topics.clone();
            expected.sort();
            let (found, asked) = pages(topics, limit).await;
            assert_eq!(found, expected, "{limit} at once");
            let slices = TOPIC_SLICES.unsigned_abs() as usize;
            let pages = topics.len() / limit + 2;
            assert!(asked <= pages * (slices + limit), "{limit} at once: asked {asked} times");
        }
    }
}
