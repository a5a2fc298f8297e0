//! What only Cassandra still has is read back: pages, feeds and proofs know no seam between it and the store.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use cassandra_dev::{Plan as CassandraPlan, unique_keyspace};
use e2e::cassandra::{connect, shared, start};
use e2e::checker::{Owed, Seen, ensure_sound};
use e2e::history;
use e2e::node::{Node, Plan};
use e2e::place::{Form, Place};
use e2e::reader::{Reader, read_until_live};
use e2e::scale::{self, say};
use e2e::words::percent;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::archive::until_archived;
use crate::proof::verify;

/// A row of `batches`: origin, log, part, first, bytes.
type BatchRow = (Vec<u8>, Vec<u8>, i64, i64, Vec<u8>);

/// How long the archive may take to catch up, and a reader to get what it holds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that keeps little and archives all.
fn small(address: &str, keyspace: &str) -> Plan {
    let keep = ["--segment-bytes", "1MiB", "--retain-bytes", "8MiB"];
    Plan::new().args(&keep).args(&["--cassandra", address, "--cassandra-keyspace", keyspace])
}

/// Publishes so many times 1 MB of records, each archived before the store may have to drop it.
async fn fill(node: &Node, owed: &mut Owed, name: &str, megabytes: usize) -> Result<()> {
    for part in 0..megabytes {
        let numbers = part * 1_000..(part + 1) * 1_000;
        let topic = format!("fill.{}", part % 3);
        owed.acked.extend(node.http()?.publish_numbered(&topic, name, numbers, 1_000).await?);
        if part % 4 == 3 {
            until_archived(node).await?;
        }
    }
    until_archived(node).await.map(drop)
}

fn ensure_no_gap(what: &str, seen: &[Seen]) -> Result<()> {
    let gap = seen.iter().find(|one| matches!(one, Seen::Gap { .. }));
    ensure!(gap.is_none(), "{what}: {gap:?}");
    Ok(())
}

/// Every record once, over pages of both orders.
async fn ensure_pages(node: &Node, owed: &Owed) -> Result<()> {
    for order in ["asc", "desc"] {
        let began = Instant::now();
        let paged = history::read(node.http()?, &format!("limit=3000&order={order}")).await?;
        say(&format!("archived: {} records {order} in {:.1?}", paged.records.len(), began.elapsed()));
        paged.ensure_order(order == "desc")?;
        let seen = paged.seen()?;
        ensure_no_gap(order, &seen)?;
        ensure_sound(order, owed, &seen)?;
        ensure!(paged.records.len() == owed.acked.len(), "{} records {order}", paged.records.len());
    }
    ensure_ranges(node, owed).await
}

/// Ranges of time that lie in the archive, across the seam, or nowhere.
async fn ensure_ranges(node: &Node, owed: &Owed) -> Result<()> {
    let all = history::read(node.http()?, "limit=10000").await?.records;
    let time = |at: usize| percent(all[at]["time"].as_str().unwrap_or(""));
    let end = all.len() - 1;
    for (from, to) in [(10, 700), (end / 3, end / 2), (end / 2, end), (end / 4, end / 4 + 3), (0, end)] {
        let range = |from: &str, to: &str| {
            let times = all.iter().filter_map(|record| record["time"].as_str());
            times.filter(|time| *time >= from && *time < to).count()
        };
        let text = |at: usize| all[at]["time"].as_str().unwrap_or("");
        let count = range(text(from), text(to));
        for order in ["asc", "desc"] {
            let query = format!("since={}&until={}&limit=900&order={order}", time(from), time(to));
            let began = Instant::now();
            let paged = history::read(node.http()?, &query).await?;
            paged.ensure_order(order == "desc")?;
            ensure!(
                paged.records.len() == count,
                "{from} to {to} {order}: {} of {count}",
                paged.records.len()
            );
            ensure!(paged.gaps.is_empty(), "{from} to {to} {order}: {:?}", paged.gaps);
            ensure!(
                began.elapsed() < Duration::from_secs(20),
                "{from} to {to} {order}: {:?}",
                began.elapsed()
            );
        }
    }
    let paged = history::read(node.http()?, "topic=fill.1&limit=10000").await?;
    let expected = all.iter().filter(|record| record["topic"] == "fill.1").count();
    ensure!(
        paged.records.len() == expected && paged.gaps.is_empty(),
        "{} of {expected}",
        paged.records.len()
    );
    let last = (owed.acked.len() / 2).min(9_000);
    let mut socket = node.door()?.open(&format!("/feed?start=last:{last}")).await?;
    let mut place = Place::new(Form::Opaque);
    read_until_live(&mut socket, &mut place).await?;
    let ids: Vec<String> = place.seen().iter().map(id_of).collect();
    let newest: Vec<&str> =
        all[all.len() - last..].iter().filter_map(|record| record["id"].as_str()).collect();
    ensure!(ids == newest, "last:{last} gave {} records", ids.len());
    Ok(())
}

fn id_of(seen: &Seen) -> String {
    match seen {
        Seen::Record(id, _) => id.to_string(),
        Seen::Gap { log, from, to, reason } => format!("{log}: {from} to {to} {reason}"),
    }
}

/// A feed from a start to live, all of it.
async fn read_feed(node: &Node, start: &str) -> Result<Place> {
    let mut socket = node.door()?.open(&format!("/feed?start={start}")).await?;
    let mut place = Place::new(Form::Opaque);
    let live = read_until_live(&mut socket, &mut place);
    tokio::time::timeout(PATIENCE, live).await.with_context(|| format!("start={start} hangs"))??;
    Ok(place)
}

/// Feeds of every kind of start below the floor, while new records arrive.
async fn ensure_feeds(node: &Node, owed: &mut Owed, name: &'static str) -> Result<()> {
    let http = node.http()?.clone();
    let mut publishing = JoinSet::new();
    publishing.spawn(async move {
        let mut published = Vec::new();
        for part in 0..20 {
            published.extend(http.publish_numbered("fill.live", name, part * 10..part * 10 + 10, 20).await?);
            sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(published)
    });
    let first = history::read(node.http()?, "limit=1500").await?;
    let time = first.records[first.records.len().min(1_200)]["time"].as_str().context("no time")?.to_owned();
    let log = owed.acked.keys().next().context("nothing published")?.log.clone();
    let seqs = json!({ log.as_str(): 10 }).to_string();
    let (mut after, mut from_ten) = (Place::new(Form::Opaque), owed.clone());
    from_ten.start.insert(log, 10);
    let (_tell, target) = watch::channel(Some((node.door()?, node.http()?.clone())));
    let follower = Reader::start(Form::Object, &target);
    for start in ["earliest".to_owned(), percent(&time), format!("after:{}", percent(&seqs))] {
        let place = read_feed(node, &start).await?;
        ensure_no_gap(&start, &place.seen())?;
        let mut sought = owed.clone();
        if start.starts_with("after") {
            sought = from_ten.clone();
        } else if start != "earliest" {
            let all = history::read(node.http()?, "limit=10000").await?.records;
            let old = all.iter().filter(|record| record["time"].as_str() < Some(&time));
            for id in old.filter_map(|record| record["id"].as_str()) {
                let id = e2e::words::Id::parse(id)?;
                sought.acked.remove(&id);
                sought.start.insert(id.log.clone(), id.seq);
            }
        }
        let mut sent = place.seen();
        // What was published meanwhile is judged by those who follow on.
        sent.retain(|one| !matches!(one, Seen::Record(_, key) if key.starts_with(name)));
        ensure_sound(&start, &sought, &sent)?;
        if start == "earliest" {
            after = place;
        }
    }
    owed.acked.extend(publishing.join_next().await.context("nothing publishes")???);
    // A cursor of then, and those who stayed, see all that came since, and nothing twice.
    let mut socket = node.door()?.open(&format!("/feed?start={}", after.start())).await?;
    read_until_live(&mut socket, &mut after).await?;
    ensure_sound("on from a cursor", owed, &after.seen())?;
    let seen = follower.finish_all(owed, PATIENCE).await?;
    ensure_no_gap("a follower", &seen)?;
    ensure_sound("a follower", owed, &seen)
}

async fn ensure_proofs(node: &Node, owed: &Owed) -> Result<()> {
    let count = owed.acked.len();
    for id in owed.acked.keys().step_by(count / 7) {
        let answer = node.http()?.get(&format!("/api/v1/records/{id}")).await?;
        ensure!(answer["id"] == id.to_string(), "{answer}");
        let (good, words) = verify(node, &answer)?;
        ensure!(good, "{id} is refused: {words}");
    }
    let id = owed.acked.keys().next_back().context("nothing published")?;
    let beyond = format!("{}/{}", id.log, id.seq + 1_000_000);
    node.http()?.send("GET", &format!("/api/v1/records/{beyond}"), &[], "").await?.ensure(404)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_reads_what_only_cassandra_has_without_a_seam() -> Result<()> {
    let (address, keyspace) = (shared().await?, unique_keyspace("reads"));
    let mut node = small(&address, &keyspace).start().await?;
    let mut owed = Owed::default();
    fill(&node, &mut owed, "one", scale::pick(6, 20)).await?;
    node.stop().await?;
    node.start().await?;
    fill(&node, &mut owed, "two", scale::pick(14, 30)).await?;
    ensure_pages(&node, &owed).await?;
    ensure_feeds(&node, &mut owed, "live").await?;
    ensure_proofs(&node, &owed).await?;
    until_archived(&node).await?;
    let cursor = read_feed(&node, "earliest").await?.start();
    let status = node.http()?.get("/api/v1/status").await?;
    say(&format!("archived: {}", status["components"]["archive"]));
    node.stop().await?;

    // A node that has nothing of its own serves the same.
    let mut other = small(&address, &keyspace).start().await?;
    let back = read_feed(&other, &cursor).await.context("a cursor of a node that is gone")?;
    ensure!(back.is_empty(), "a cursor of a node that is gone brought {} again", back.len());
    ensure_pages(&other, &owed).await?;
    ensure_proofs(&other, &owed).await?;
    ensure_feeds(&other, &mut owed, "later").await?;
    let live = read_feed(&other, "live").await?;
    ensure!(live.is_empty(), "live began with {} old records", live.len());
    other.stop().await
}

/// Whether a feed from the earliest on gives all, or what it says of the rest.
async fn reasons(node: &Node, owed: &Owed) -> Result<Vec<String>> {
    let place = read_feed(node, "earliest").await?;
    ensure_sound("earliest", owed, &place.seen())?;
    let gaps = place.seen().into_iter().filter_map(|one| match one {
        Seen::Gap { reason, .. } => Some(reason),
        Seen::Record(..) => None,
    });
    Ok(gaps.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_for_cassandra_and_names_what_it_does_not_get() -> Result<()> {
    let mut cassandra = start(CassandraPlan::new()).await?;
    let (address, keyspace) = (cassandra.address(), unique_keyspace("waits"));
    let mut node = small(&address, &keyspace).start().await?;
    let mut owed = Owed::default();
    fill(&node, &mut owed, "one", 16).await?;

    // Paused amid pages, and back: whoever needs it waits, and nobody else does.
    cassandra.freeze()?;
    let began = Instant::now();
    let newest = node.http()?.get("/api/v1/records?order=desc&limit=1000").await?;
    ensure!(newest["records"].as_array().is_some_and(|records| records.len() == 1_000), "{newest}");
    let live = read_feed(&node, "live").await?;
    ensure!(live.is_empty() && began.elapsed() < Duration::from_secs(2), "held up: {:?}", began.elapsed());
    let (door, http) = (node.door()?, node.http()?.clone());
    let (_tell, target) = watch::channel(Some((door, http.clone())));
    let follower = Reader::start(Form::Object, &target);
    let mut paging = JoinSet::new();
    paging.spawn(async move { history::read(&http, "limit=2000").await });
    sleep(Duration::from_secs(5)).await;
    ensure!(paging.try_join_next().is_none(), "pages ended without what Cassandra holds");
    cassandra.thaw()?;
    let paged = tokio::time::timeout(PATIENCE, paging.join_next()).await.context("pages hang")?;
    let paged = paged.context("nobody pages")???;
    ensure!(paged.gaps.is_empty(), "{:?}", paged.gaps);
    ensure_sound("pages across a pause", &owed, &paged.seen()?)?;
    let seen = follower.finish_all(&owed, PATIENCE).await?;
    ensure_no_gap("a follower across a pause", &seen)?;
    ensure_sound("a follower across a pause", &owed, &seen)?;
    until_archived(&node).await?;

    cassandra.kill()?;
    let began = Instant::now();
    let mut reasons_lost = Vec::new();
    // What was lent lies ready for half a minute.
    while reasons_lost.is_empty() {
        ensure!(began.elapsed() < PATIENCE, "no gap without Cassandra");
        sleep(Duration::from_secs(1)).await;
        reasons_lost = reasons(&node, &owed).await?;
    }
    ensure!(reasons_lost.iter().all(|reason| reason == "unreachable"), "{reasons_lost:?}");
    say(&format!("archived: without Cassandra the gap came after {:.1?}", began.elapsed()));
    let first = owed.acked.keys().next().context("none")?.clone();
    let answer = node.http()?.send("GET", &format!("/api/v1/records/{first}"), &[], "").await?.ensure(410)?;
    ensure!(answer.ensure_problem()?.contains("unreachable"), "{}", answer.text());
    let paged = history::read(node.http()?, "limit=10000").await?;
    ensure!(
        !paged.gaps.is_empty() && paged.gaps.iter().all(|gap| gap.3 == "unreachable"),
        "{:?}",
        paged.gaps
    );
    ensure_sound("pages without Cassandra", &owed, &paged.seen()?)?;
    let took = tokio::task::block_in_place(|| cassandra.restart())?;
    say(&format!("archived: Cassandra back in {took:.1?}"));
    let began = Instant::now();
    while !reasons(&node, &owed).await?.is_empty() {
        ensure!(began.elapsed() < PATIENCE, "it never came back");
        sleep(Duration::from_millis(500)).await;
    }
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_nothing_from_cassandra_that_was_not_signed_so() -> Result<()> {
    let (address, keyspace) = (shared().await?, unique_keyspace("spoilt"));
    let mut node = small(&address, &keyspace).start().await?;
    let mut owed = Owed::default();
    fill(&node, &mut owed, "one", 12).await?;
    let session = connect(&address, None).await?;
    // One batch stands in the place of another, and one has a bit changed.
    let query = format!("SELECT origin, log, part, first, bytes FROM {keyspace}.batches");
    let answer = session.query_unpaged(query, ()).await?.into_rows_result()?;
    let mut rows: Vec<BatchRow> = answer.rows()?.collect::<Result<_, _>>()?;
    rows.sort_by_key(|row| row.3);
    ensure!(rows.len() > 20, "{} batches", rows.len());
    let update = format!(
        "INSERT INTO {keyspace}.batches (origin, log, part, first, bytes) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
    );
    let later = 4_000_000_000_000_000_i64;
    let mut changed = rows[7].4.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for (place, bytes) in [(3, rows[4].4.clone()), (7, changed)] {
        let (origin, log, part, first, _) = &rows[place];
        session.query_unpaged(&*update, (origin, log, part, first, bytes, later)).await?;
    }
    let spoilt = reasons(&node, &owed).await?;
    ensure!(spoilt == ["corrupt", "corrupt"], "{spoilt:?}");
    let paged = history::read(node.http()?, "limit=2000&order=desc").await?;
    ensure!(paged.gaps.iter().all(|gap| gap.3 == "corrupt") && paged.gaps.len() == 2, "{:?}", paged.gaps);
    ensure_sound("pages without the spoilt ones", &owed, &paged.seen()?)?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_what_expired_in_cassandra_too() -> Result<()> {
    let (address, keyspace) = (shared().await?, unique_keyspace("expires"));
    let mut node = small(&address, &keyspace).start().await?;
    until_archived(&node).await?;
    let session = connect(&address, None).await?;
    // The shortest time to live that a node takes is an hour.
    session
        .query_unpaged(format!("ALTER TABLE {keyspace}.batches WITH default_time_to_live = 25"), ())
        .await?;
    let mut owed = Owed::default();
    let filled = Instant::now();
    fill(&node, &mut owed, "one", 12).await?;
    ensure!(reasons(&node, &owed).await?.is_empty(), "something is missing after {:?}", filled.elapsed());
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        let reasons = reasons(&node, &owed).await?;
        ensure!(began.elapsed() < Duration::from_secs(15), "it hangs for {:?}", began.elapsed());
        ensure!(reasons.iter().all(|reason| reason == "expired"), "{reasons:?}");
        if filled.elapsed() > Duration::from_secs(40) && !reasons.is_empty() {
            let first = owed.acked.keys().next().context("none")?;
            let answer = node.http()?.send("GET", &format!("/api/v1/records/{first}"), &[], "").await?;
            ensure!(answer.ensure(410)?.ensure_problem()?.contains("expired"), "another reason");
            return node.stop().await;
        }
    }
    bail!("nothing expired")
}
