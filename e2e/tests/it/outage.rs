//! Cassandra slow, frozen or gone for a while: nobody but the archive notices, and what waited is written soon.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cassandra_dev::{Plan as CassandraPlan, unique_keyspace};
use e2e::cassandra::{connect, shared, start};
use e2e::detour::{Detour, Way};
use e2e::http::Http;
use e2e::mesh::{Mesh, until_event};
use e2e::node::{Node, Plan};
use e2e::reader::key_of;
use e2e::scale::{pick, say};
use e2e::socket::Frame;
use scylla::client::session::Session;
use serde_json::{Value, json};
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{Instant, interval, sleep};

use crate::archive::{component, until, until_archived};

/// How long the archive may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Between two records that are published while Cassandra is hurt.
const BETWEEN: Duration = Duration::from_millis(20);

/// Waits until a node has a connection to Cassandra.
pub(crate) async fn until_connected(node: &Node) -> Result<Value> {
    until(node, "connected", |archive| archive["state"] == "ok").await
}

/// How many different records Cassandra has.
async fn count(session: &Session, keyspace: &str) -> Result<u64> {
    let query = format!("SELECT count(*) FROM {keyspace}.records");
    let rows = session.query_unpaged(query, ()).await?.into_rows_result()?;
    Ok(u64::try_from(rows.first_row::<(i64,)>()?.0)?)
}

/// The median and the longest of some times.
fn spread(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |place: usize| times.get(place).copied().unwrap_or_default();
    (at(times.len() / 2), at(times.len().saturating_sub(1)))
}

/// Someone who publishes a record after the other and times what becomes of each.
struct Load {
    over: Arc<AtomicBool>,
    acks: JoinSet<Result<Vec<Duration>>>,
    arrivals: JoinSet<Result<Vec<Duration>>>,
}

impl Load {
    /// Publishes at one node and follows the feed of another.
    async fn start(name: &'static str, publish: &Node, follow: &Node) -> Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let mut socket = follow.door()?.open("/feed?topic=load.a").await?;
        socket.expect("caught_up").await?;
        let began = Instant::now();
        let (mut acks, mut arrivals) = (JoinSet::new(), JoinSet::new());
        arrivals.spawn(async move {
            let (mut times, mut seen) = (Vec::new(), BTreeSet::new());
            loop {
                let Frame::Json(frame) = socket.next().await? else { anyhow::bail!("the feed was cut") };
                ensure!(frame["type"] != "gap", "{frame}");
                if frame["type"] != "record" {
                    continue;
                }
                if frame["payload"]["k"] == "end" {
                    return Ok(times);
                }
                ensure!(seen.insert(key_of(&frame)), "twice: {frame}");
                let sent = frame["payload"]["at"].as_u64().context("no time")?;
                times.push(began.elapsed().saturating_sub(Duration::from_micros(sent)));
            }
        });
        let (http, stop) = (publish.http()?.clone(), over.clone());
        acks.spawn(async move {
            let (mut times, mut ticks, mut number) = (Vec::new(), interval(BETWEEN), 0);
            while !stop.load(Ordering::Relaxed) {
                ticks.tick().await;
                let (before, at) = (Instant::now(), u64::try_from(began.elapsed().as_micros())?);
                let payload = json!({ "k": format!("{name}-{number}"), "at": at });
                let answer = http.publish(&json!({ "topic": "load.a", "payload": payload })).await?;
                ensure!(answer["ack"] == "durable", "{answer}");
                times.push(before.elapsed());
                number += 1;
            }
            http.publish(&json!({ "topic": "load.a", "payload": { "k": "end" } })).await?;
            Ok(times)
        });
        Ok(Self { over, acks, arrivals })
    }

    /// Ends it; says how long acknowledgements and arrivals took at most, and how many records there were.
    async fn finish(mut self, what: &str, at_most: Duration) -> Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        let acks = self.acks.join_next().await.context("nobody published")???;
        let arrivals = self.arrivals.join_next().await.context("nobody followed")???;
        let published = acks.len();
        ensure!(arrivals.len() == published, "{published} published, {} came", arrivals.len());
        let (acks, arrivals) = (spread(acks), spread(arrivals));
        say(&format!(
            "archive, Cassandra {what}: {published} records; ack p50 {:.1?}, max {:.1?}; on the other node p50 {:.1?}, max {:.1?}",
            acks.0, acks.1, arrivals.0, arrivals.1
        ));
        ensure!(acks.1 < at_most && arrivals.1 < at_most, "{what}: {acks:?} {arrivals:?}");
        Ok(published as u64 + 1)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_slows_nobody_down_while_cassandra_is_slow_frozen_or_gone() -> Result<()> {
    let mut cassandra = start(CassandraPlan::new()).await?;
    let detour = Detour::to(&cassandra.address()).await?;
    let (address, keyspace) = (detour.address(), unique_keyspace("outage"));
    let with = ["--cassandra", &address, "--cassandra-keyspace", &keyspace];
    let mut mesh = Mesh::new(&keyspace);
    mesh.add(&[], &with).await?;
    mesh.add(&[0], &with).await?;
    mesh.until_whole(CATCH_UP).await?;
    for node in &mesh.nodes {
        until_connected(node).await?;
    }
    // A machine that does much beside has its own pauses; Cassandra's are 3 s and more.
    let (at_most, long) = (Duration::from_millis(2_500), Duration::from_secs(pick(5, 20)));
    let mut published = 0;

    detour.set(Way::Slow(Duration::from_millis(700)));
    let load = Load::start("slow", &mesh.nodes[0], &mesh.nodes[1]).await?;
    sleep(long).await;
    published += load.finish("slow", at_most).await?;
    detour.set(Way::Open);
    until_archived(&mesh.nodes[0]).await?;

    let load = Load::start("frozen", &mesh.nodes[0], &mesh.nodes[1]).await?;
    cassandra.freeze()?;
    sleep(long).await;
    let archive = until(&mesh.nodes[0], "lost", |archive| archive["state"] == "degraded").await?;
    ensure!(archive["lag_ms"].as_u64() > Some(1_000), "{archive}");
    ensure!(archive["last_error"].as_str().is_some_and(|said| !said.is_empty()), "{archive}");
    let began = Instant::now();
    let topics = mesh.http(0)?.get("/api/v1/topics").await?;
    ensure!(began.elapsed() < Duration::from_secs(3), "the topics took {:?}", began.elapsed());
    ensure!(topics["left_out"].is_string() && topics["topics"][0]["topic"] == "load.a", "{topics}");
    cassandra.thaw()?;
    published += load.finish("frozen", at_most).await?;
    until_archived(&mesh.nodes[0]).await?;

    // Gone for about as long as a driver by itself would be away for 8 s more: its pauses double from 50 ms to 10 s.
    let load = Load::start("gone", &mesh.nodes[0], &mesh.nodes[1]).await?;
    cassandra.kill()?;
    sleep(Duration::from_secs(9)).await;
    block_in_place(|| cassandra.restart())?;
    let began = Instant::now();
    until_connected(&mesh.nodes[0]).await?;
    let back = began.elapsed();
    published += load.finish("gone", at_most).await?;
    until_archived(&mesh.nodes[0]).await?;
    say(&format!("archive: written to {back:.1?} after Cassandra answered again"));
    ensure!(back < Duration::from_secs(4), "it took {back:?}");

    let session = connect(&cassandra.address(), None).await?;
    let there = count(&session, &keyspace).await?;
    ensure!(there == published, "{there} of {published} records are in Cassandra");
    mesh.stop().await
}

/// How many records a request brings.
const PART: u32 = 50;

/// Publishes records of a topic for a while at a rate; gives how many.
async fn ingest(http: &Http, topic: &str, per_second: u32, time: Duration) -> Result<u64> {
    let (began, mut ticks, mut sent) =
        (Instant::now(), interval(Duration::from_secs(1) * PART / per_second), 0);
    let one = json!({ "topic": topic, "payload": { "pad": "x".repeat(250) } });
    let part = Value::from(vec![one; PART as usize]);
    while began.elapsed() < time {
        ticks.tick().await;
        http.publish(&part).await?;
        sent += u64::from(PART);
    }
    Ok(sent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_drains_three_times_as_fast_as_records_come() -> Result<()> {
    let detour = Detour::to(&shared().await?).await?;
    let (address, keyspace) = (detour.address(), unique_keyspace("drain"));
    let with = ["--cassandra", &address, "--cassandra-keyspace", &keyspace];
    let mut node = Plan::new().args(&with).start().await?;
    until_connected(&node).await?;
    let rate = 1_000;
    ingest(node.http()?, "drain.a", rate, Duration::from_secs(2)).await?;
    until_archived(&node).await?;
    let records = async || component(&node).await?["records"].as_u64().context("no records");

    let before = records().await?;
    detour.set(Way::Closed);
    let waiting = ingest(node.http()?, "drain.a", rate, Duration::from_secs(pick(10, 30))).await?;
    let (http, over) = (node.http()?.clone(), Duration::from_secs(10));
    let mut coming = JoinSet::new();
    coming.spawn(async move { ingest(&http, "drain.a", rate, over).await });
    detour.set(Way::Open);
    // The way back is part of it.
    let began = Instant::now();
    let drained = loop {
        let drained = records().await? - before;
        if drained >= waiting {
            break drained;
        }
        ensure!(began.elapsed() < CATCH_UP, "{drained} of {waiting} drained");
        sleep(Duration::from_millis(20)).await;
    };
    let speed = f64::from(u32::try_from(drained)?) / began.elapsed().as_secs_f64() / f64::from(rate);
    say(&format!("archive: {drained} records drained, {speed:.1} times as fast as others came"));
    ensure!(speed >= 3.0, "only {speed:.1} times as fast as others came");
    coming.join_next().await.context("nobody published")???;
    until_archived(&node).await?;
    node.stop().await
}

/// Whether a node gives a record.
async fn has(node: &Node, id: &str) -> Result<bool> {
    let answer = node.http()?.send("GET", &format!("/api/v1/records/{id}"), &[], "").await?;
    ensure!([200, 404, 410].contains(&answer.status), "{}", answer.text());
    Ok(answer.status == 200)
}

async fn publish(node: &Node, topic: &str, count: usize) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for _ in (0..count).step_by(500) {
        let one = json!({ "topic": topic, "payload": { "pad": "x".repeat(1_000) } });
        let answer = node.http()?.publish(&Value::from(vec![one; 500])).await?;
        let new = answer["ids"].as_array().context("no ids")?;
        ids.extend(new.iter().filter_map(|id| id.as_str().map(str::to_owned)));
    }
    Ok(ids)
}

/// How far a node says that a log is archived.
async fn archived_to(node: &Node, log: &str) -> Result<u64> {
    let archive = node.http()?.get("/api/v1/archive").await?;
    let logs = archive["logs"].as_array().context("no logs")?;
    let here = logs.iter().find(|other| other["log"] == log);
    Ok(here.and_then(|here| here["archived_to"].as_u64()).unwrap_or(0))
}

fn log_of(ids: &[String]) -> Result<&str> {
    Ok(ids.first().and_then(|id| id.rsplit_once('/')).context("no id")?.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_old_records_until_they_are_archived_its_own_and_others() -> Result<()> {
    let detour = Detour::to(&shared().await?).await?;
    let (address, keyspace) = (detour.address(), unique_keyspace("ages"));
    let with = ["--cassandra", &address, "--cassandra-keyspace", &keyspace];
    let short = ["--segment-bytes", "1MiB", "--retain-age", "3s"];
    let mut mesh = Mesh::new(&keyspace);
    mesh.add(&[], &[&with[..], &short[..]].concat()).await?;
    mesh.add(&[0], &short).await?;
    mesh.until_whole(CATCH_UP).await?;
    until_connected(&mesh.nodes[0]).await?;
    // The second node has no archive: the first one is to write its log too, as it has begun to.
    let (own, other) =
        (publish(&mesh.nodes[0], "age.a", 500).await?, publish(&mesh.nodes[1], "age.b", 500).await?);
    let began = Instant::now();
    while archived_to(&mesh.nodes[0], log_of(&other)?).await? < 500 {
        ensure!(began.elapsed() < CATCH_UP, "nobody archives the second node's log");
        sleep(Duration::from_millis(100)).await;
    }
    until_archived(&mesh.nodes[0]).await?;
    drop(own);

    detour.set(Way::Closed);
    let own = publish(&mesh.nodes[0], "age.a", 2_000).await?;
    let other = publish(&mesh.nodes[1], "age.b", 2_000).await?;
    let (mine, theirs) = (own[0].clone(), other[0].clone());
    // Some that follow, so that the segments are sealed; and far more time than retention asks for.
    for _ in 0..12 {
        publish(&mesh.nodes[0], "age.c", 500).await?;
        sleep(Duration::from_secs(1)).await;
    }
    ensure!(has(&mesh.nodes[0], &mine).await?, "its own record went before it was archived");
    ensure!(has(&mesh.nodes[0], &theirs).await?, "the other node's record went before it was archived");
    let archive = component(&mesh.nodes[0]).await?;
    ensure!(archive["state"] == "degraded" && archive["dropped_unarchived"] == 0, "{archive}");
    detour.set(Way::Open);
    until_archived(&mesh.nodes[0]).await?;
    let session = connect(&address, None).await?;
    let there = count(&session, &keyspace).await?;
    ensure!(there == 5_000 + 6_000, "{there} records are in Cassandra");
    // And then they go.
    let began = Instant::now();
    loop {
        publish(&mesh.nodes[0], "age.c", 500).await?;
        let status = mesh.http(0)?.get("/api/v1/status").await?;
        let bytes = status["components"]["store"]["bytes"].as_u64().context("no bytes")?;
        if bytes < 4 << 20 {
            break;
        }
        ensure!(began.elapsed() < CATCH_UP, "nothing was dropped: {}", status["components"]["store"]);
        sleep(Duration::from_secs(2)).await;
    }
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_what_it_dropped_unarchived_because_it_was_full() -> Result<()> {
    let detour = Detour::to(&shared().await?).await?;
    let (address, keyspace) = (detour.address(), unique_keyspace("full"));
    let with = ["--cassandra", &address, "--cassandra-keyspace", &keyspace];
    let small = ["--segment-bytes", "1MiB", "--retain-bytes", "4MiB"];
    let mut node = Plan::new().args(&with).args(&small).start().await?;
    until_connected(&node).await?;
    let mut ids = publish(&node, "full.a", 500).await?;
    until_archived(&node).await?;
    detour.set(Way::Closed);
    ids.extend(publish(&node, "full.a", 10_000).await?);
    let archive = until(&node, "down", |archive| archive["state"] == "down").await?;
    ensure!(archive["detail"].as_str().is_some_and(|said| said.contains("--retain-bytes")), "{archive}");
    until_event(&node, "unarchived_dropped", "dropped before they were archived", Duration::from_secs(5))
        .await?;
    // The archive is down, and the node is as ready as ever.
    node.http()?.send("GET", "/readyz", &[], "").await?.ensure(200)?;
    let answer = node
        .http()?
        .send("POST", "/api/v1/records?ack=archived", &[], r#"{"topic":"full.a","payload":1}"#)
        .await?
        .ensure(202)?
        .json()?;
    ensure!(answer["ack"] == "durable", "{answer}");
    detour.set(Way::Open);
    let archive = until(&node, "caught up", |archive| {
        archive["state"] == "ok"
            && archive["lag_records"] == 0
            && archive["missing_records"].as_u64() > Some(0)
    })
    .await?;
    let dropped = archive["dropped_unarchived"].as_u64().context("no figure")?;
    let session = connect(&address, None).await?;
    let there = count(&session, &keyspace).await?;
    say(&format!(
        "archive: {dropped} of {} records were dropped unarchived, {there} are in Cassandra",
        ids.len() + 1
    ));
    ensure!(
        dropped > 0 && there + dropped == ids.len() as u64 + 1,
        "{there} there, {dropped} counted: {archive}"
    );
    ensure!(archive["missing_records"] == dropped, "{archive}");
    node.stop().await
}
