//! `anode bench archive`: rows a second into Cassandra beside a bare driver loop, and what its absence does to the feed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::fanout::{Pace, Progress, disperse, gather, run};
use super::ingest::publish_post;
use super::report::Report;
use super::samples::Samples;
use super::subject::{Subject, metric};
use super::{Setup, per_second};
use crate::archive::{Door, Session};
use crate::config::archive::{ArchiveConfig, Host, Replication};

mod bare;
mod detour;

use bare::Written;
use detour::Detour;

/// The options of `anode bench archive`.
#[derive(Debug, Args)]
pub struct ArchiveArgs {
    /// A Cassandra of a single node, on which the benchmark makes keyspaces of its own and drops them again
    #[arg(long, value_name = "HOST[:PORT]", default_value = "127.0.0.1:9042")]
    cassandra: Host,
    /// How many records are drained into it, each time
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(10_000..=5_000_000))]
    records: u64,
    /// Over how many topics
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    topics: u16,
    /// Records a second while the feed is measured
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    #[command(flatten)]
    pub(super) setup: Setup,
}

/// Records of one request.
const POST: usize = 1_000;
/// How long a drain may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often it is looked how far a drain is.
const LOOK: Duration = Duration::from_millis(50);
/// The share of a drain that is left out at its beginning: what was tried while nothing answered is tried again then.
const RAMP: u64 = 10;
/// How often each side is measured, in turn.
const ROUNDS: usize = 2;
/// The network and so the keyspaces' owner.
const NETWORK: &str = "bench-archive";

/// Measures a node of its own on a Cassandra that is there.
pub(super) async fn bench(args: &ArchiveArgs) -> anyhow::Result<()> {
    ensure!(args.setup.node.is_none(), "this one starts its own node: leave --node out");
    let keyspaces = [0, 1].map(|number| format!("anode_bench_{}_{number}", std::process::id()));
    let mut sessions = Vec::new();
    for keyspace in &keyspaces {
        sessions.push(Session::open(&door(args, keyspace)).await?);
    }
    let detour = Detour::to(args.cassandra.to_string()).await?;
    let (address, dir) = (detour.address(), Subject::folder(&args.setup.dir)?);
    let with = ["--cassandra", &address, "--cassandra-keyspace", &keyspaces[0]];
    let subject = Subject::start_in(dir, NETWORK, &with).await?;
    let report = tokio::select! {
        report = Box::pin(measure(args, &subject, &detour, &sessions)) => report,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    for (session, keyspace) in sessions.iter().zip(&keyspaces) {
        let mut drop = scylla::statement::Statement::new(format!("DROP KEYSPACE {keyspace}"));
        drop.set_request_timeout(Some(Duration::from_secs(60)));
        session.driver().query_unpaged(drop, ()).await?;
    }
    report?.print("archive", args.setup.json)?;
    subject.finish()
}

fn door(args: &ArchiveArgs, keyspace: &str) -> Door {
    let config = ArchiveConfig {
        hosts: vec![args.cassandra.clone()],
        keyspace: keyspace.to_owned(),
        user: None,
        password_file: None,
        tls: false,
        ca: None,
        replication: Replication::Each(1),
        ttl: None,
    };
    Door { config, tls: None, network: NETWORK.to_owned() }
}

async fn measure(
    args: &ArchiveArgs,
    subject: &Subject,
    detour: &Detour,
    sessions: &[Session],
) -> anyhow::Result<Report> {
    let mut report = Report::default();
    report.figure("optimised build", if cfg!(debug_assertions) { 0.0 } else { 1.0 }, "");
    // Cassandra and the driver get warm before anything counts.
    drain(args, subject, detour, args.records / 2).await?;
    let rows = bare::rows_of(&sessions[0], args.records / 2).await?;
    bare::write(&sessions[1], &rows).await?;
    let (mut node, mut bare) = (Written::default(), Written::default());
    for _ in 0..ROUNDS {
        add(&mut node, &drain(args, subject, detour, args.records).await?);
        let rows = bare::rows_of(&sessions[0], args.records).await?;
        add(&mut bare, &bare::write(&sessions[1], &rows).await?);
    }
    let rates = [&node, &bare].map(|written| per_second(written.rows, written.took));
    report.figure("rows through the node", rates[0], "rows/s");
    report.figure("rows of the bare loop", rates[1], "rows/s");
    report.figure("ratio to the bare loop", rates[0] / rates[1], "");
    report.figure("records through the node", per_second(node.records, node.took), "records/s");
    feeds(args, subject, detour, &mut report).await?;
    Ok(report)
}

fn add(all: &mut Written, more: &Written) {
    all.rows += more.rows;
    all.records += more.records;
    all.took += more.took;
}

/// Lets records gather while nothing gets through, and then be written, without its beginning.
async fn drain(
    args: &ArchiveArgs,
    subject: &Subject,
    detour: &Detour,
    records: u64,
) -> anyhow::Result<Written> {
    let start = counts(subject).await?;
    detour.open(false);
    publish(args, subject, records).await?;
    detour.open(true);
    let (began, mut first) = (Instant::now(), None);
    loop {
        let (rows, written) = counts(subject).await?;
        let here = (Instant::now(), rows, written);
        if written >= start.1 + records / RAMP && first.is_none() {
            first = Some(here);
        }
        if let Some((at, rows_then, then)) = first.filter(|_| written >= start.1 + records) {
            return Ok(Written { rows: rows - rows_then, records: written - then, took: here.0 - at });
        }
        if began.elapsed() > PATIENCE {
            bail!("{records} records were not archived within {} s", PATIENCE.as_secs());
        }
        sleep(LOOK).await;
    }
}

/// How many rows and records were written.
async fn counts(subject: &Subject) -> anyhow::Result<(u64, u64)> {
    let text = subject.client.text("/metrics").await?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters are whole numbers")]
    let count = |name| metric(&text, name).map_or(0, |value| value as u64);
    Ok((count("anode_archive_rows_total"), count("anode_archive_records_total")))
}

async fn publish(args: &ArchiveArgs, subject: &Subject, records: u64) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    let each = usize::try_from(records)?.div_ceil(usize::from(args.topics));
    for place in 0..args.topics {
        let (client, topic) = (subject.client.clone(), format!("bench.archive.{place}"));
        tasks.spawn(async move {
            let mut left = each;
            while left > 0 {
                let now = left.min(POST);
                publish_post(&client, &topic, now).await?;
                left -= now;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Publish to subscriber, with Cassandra there and blocked, in turn.
async fn feeds(
    args: &ArchiveArgs,
    subject: &Subject,
    detour: &Detour,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut samples = [Samples::default(), Samples::default()];
    for _ in 0..ROUNDS {
        for (stopped, samples) in [false, true].into_iter().zip(&mut samples) {
            caught_up(subject).await?;
            detour.open(!stopped);
            let progress = Arc::new(Progress::default());
            let crowd = gather(&subject.client, 1, &progress).await?;
            let time = args.setup.time() / 2;
            Box::pin(run(subject, &progress, Pace::Rate(args.rate), time)).await?;
            samples.extend(&disperse(crowd, &progress).await?);
            detour.open(true);
        }
    }
    let [running, stopped] = samples.map(Samples::sorted);
    report.percentiles("publish to subscriber, Cassandra running", &running);
    report.percentiles("publish to subscriber, Cassandra stopped", &stopped);
    let ratio = stopped.millis(99.0).zip(running.millis(99.0)).map(|(stopped, running)| stopped / running);
    report.figure("p99 stopped to running", ratio, "");
    Ok(())
}

/// Waits until nothing waits to be archived.
async fn caught_up(subject: &Subject) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        // The figure is a second old at most.
        sleep(Duration::from_millis(1_200)).await;
        let text = subject.client.text("/metrics").await?;
        if metric(&text, "anode_archive_lag_records").is_some_and(|lag| lag == 0.0) {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "the archive does not catch up");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn it_holds_what_is_said_while_the_way_is_blocked() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let detour = Detour::to(server.local_addr().unwrap().to_string()).await.unwrap();
        let mut client = tokio::net::TcpStream::connect(detour.address()).await.unwrap();
        let (mut other, _) = server.accept().await.unwrap();
        let mut said = [0; 1];
        client.write_all(b"a").await.unwrap();
        other.read_exact(&mut said).await.unwrap();
        detour.open(false);
        client.write_all(b"b").await.unwrap();
        let held = tokio::time::timeout(Duration::from_millis(100), other.read_exact(&mut said)).await;
        assert!(held.is_err(), "it came through");
        detour.open(true);
        other.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"b");
    }
}
