//! The Cassandra that the archive's tests stand on: it answers, keeps what it has, and can be hurt.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cassandra_dev::{Login, Plan};
use e2e::cassandra::{connect, keyspace, shared, start};
use e2e::detour::{Detour, Way};
use e2e::process;
use e2e::scale::say;
use scylla::client::session::Session;
use scylla::statement::Statement;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

/// By time windows, and gone after an hour, as an archive's tables are.
const TABLE: &str = "CREATE TABLE record (bucket int, seq bigint, bytes blob, PRIMARY KEY (bucket, seq)) \
     WITH compaction = {'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': 'HOURS', \
     'compaction_window_size': 6} AND default_time_to_live = 3600 AND gc_grace_seconds = 10800";
const WRITE: &str = "INSERT INTO record (bucket, seq, bytes) VALUES (0, ?, ?) USING TIMESTAMP ?";
const READ: &str = "SELECT bytes FROM record WHERE bucket = 0 AND seq = ?";

async fn write(session: &Session, seq: i64, bytes: &[u8], timestamp: i64) -> Result<()> {
    session.query_unpaged(WRITE, (seq, bytes, timestamp)).await?;
    Ok(())
}

async fn read(session: &Session, seq: i64) -> Result<Option<Vec<u8>>> {
    let rows = session.query_unpaged(READ, (seq,)).await?.into_rows_result()?;
    Ok(rows.maybe_first_row::<(Vec<u8>,)>()?.map(|(bytes,)| bytes))
}

async fn ensure_row(session: &Session, expected: &[u8]) -> Result<()> {
    let found = read(session, 1).await?;
    ensure!(found.as_deref() == Some(expected), "{found:?} in place of {expected:?}");
    Ok(())
}

/// Waits until the driver has found its way back by itself.
async fn until_back(session: &Session) -> Result<Duration> {
    let began = Instant::now();
    loop {
        match read(session, 1).await {
            Ok(_) => return Ok(began.elapsed()),
            Err(error) => {
                ensure!(began.elapsed() < Duration::from_secs(60), "the driver stays away: {error:#}");
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_rows_over_a_kill_and_answers_nothing_while_frozen() -> Result<()> {
    let began = Instant::now();
    let mut cassandra = start(Plan::new().login()).await?;
    let first = began.elapsed();
    let session = connect(&cassandra.address(), cassandra.login()).await?;
    keyspace(&session, "keeps").await?;
    session.query_unpaged(TABLE, ()).await?;
    write(&session, 1, b"new", 2_000).await?;
    write(&session, 1, b"old", 1_000).await?;
    ensure_row(&session, b"new").await?;
    let short = "INSERT INTO record (bucket, seq, bytes) VALUES (0, 2, 0x00) USING TTL 2";
    session.query_unpaged(short, ()).await?;
    ensure!(read(&session, 2).await?.is_some(), "a row was gone at once");

    cassandra.freeze()?;
    let mut question = Statement::new(READ);
    question.set_request_timeout(Some(Duration::from_millis(500)));
    ensure!(session.query_unpaged(question, (1_i64,)).await.is_err(), "it answers while frozen");
    cassandra.thaw()?;
    until_back(&session).await?;
    ensure_row(&session, b"new").await?;
    let memory = process::resident_bytes(cassandra.pid()?)? >> 20;

    write(&session, 1, b"last", 3_000).await?;
    let address = cassandra.address();
    cassandra.freeze()?;
    cassandra.kill()?;
    ensure!(cassandra.ask().is_err(), "it answers while dead");
    let again = block_in_place(|| cassandra.restart())?;
    ensure!(cassandra.address() == address, "it moved to {}", cassandra.address());
    let back = until_back(&session).await?;
    ensure_row(&session, b"last").await?;
    ensure!(read(&session, 2).await?.is_none(), "a row outlived its TTL");
    say(&format!(
        "Cassandra answered {first:?} after its first start and {again:?} after the second, the driver {back:?} \
         later; {memory} MiB resident"
    ));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_lets_in_who_knows_the_password_and_nobody_else() -> Result<()> {
    let cassandra = start(Plan::new().login()).await?;
    let superuser = cassandra.login().context("no login")?;
    let root = connect(&cassandra.address(), Some(superuser)).await?;
    root.query_unpaged("CREATE ROLE guest WITH PASSWORD = 'guest' AND LOGIN = true", ()).await?;
    for login in [None, Some(Login { user: "guest", password: "wrong" })] {
        let refused = connect(&cassandra.address(), login).await.err().context("a stranger was let in")?;
        ensure!(format!("{refused:#}").to_lowercase().contains("auth"), "{login:?}: {refused:#}");
    }
    let guest = connect(&cassandra.address(), Some(Login { user: "guest", password: "guest" })).await?;
    let refused = keyspace(&guest, "refused").await.err().context("a guest made a keyspace")?;
    ensure!(format!("{refused:#}").contains("has no CREATE permission"), "{refused:#}");
    root.query_unpaged("GRANT CREATE ON ALL KEYSPACES TO guest", ()).await?;
    let began = Instant::now();
    while let Err(error) = keyspace(&guest, "granted").await {
        ensure!(began.elapsed() < Duration::from_secs(10), "{error:#}");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_shared_by_tests_with_a_keyspace_each() -> Result<()> {
    let (one, other) = (shared().await?, shared().await?);
    ensure!(one == other, "{one} and {other}");
    for (number, name) in [(1, "one"), (2, "other")] {
        let session = connect(&one, None).await?;
        keyspace(&session, name).await?;
        session.query_unpaged(TABLE, ()).await?;
        write(&session, 1, name.as_bytes(), number).await?;
        ensure_row(&session, name.as_bytes()).await?;
    }
    Ok(())
}

/// The driver reaches a node only by the address that it was given, so what lies before it can be slow or away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_reached_only_by_the_detour_that_the_driver_was_given() -> Result<()> {
    let detour = Detour::to(&shared().await?).await?;
    let session = connect(&detour.address(), None).await?;
    keyspace(&session, "detour").await?;
    session.query_unpaged(TABLE, ()).await?;
    write(&session, 1, b"row", 1).await?;
    let late = Duration::from_millis(300);
    detour.set(Way::Slow(late));
    let began = Instant::now();
    ensure_row(&session, b"row").await?;
    ensure!(began.elapsed() >= late, "an answer came after {:?}", began.elapsed());
    detour.set(Way::Closed);
    ensure!(read(&session, 1).await.is_err(), "an answer came by another way");
    detour.set(Way::Open);
    until_back(&session).await?;
    ensure_row(&session, b"row").await
}
