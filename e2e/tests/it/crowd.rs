//! A hundred clients of which some never read: the others and the node do not notice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::checker::{Owed, ensure_sound};
use e2e::node::{Node, Plan};
use e2e::place::{Form, Place};
use e2e::process::resident_bytes;
use e2e::reader::{key_of, note_gap, read_until_live};
use e2e::scale;
use e2e::socket::{Frame, Socket};
use e2e::words::Id;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

const READING: usize = 70;
const STALLED: usize = 30;
/// Subscribers of a feed in which nothing happens.
const WAITING: usize = 200;

/// The median and the 99th percentile in milliseconds of publish → seen, over all that read.
fn percentiles(mut waits: Vec<f64>) -> (f64, f64) {
    waits.sort_by(f64::total_cmp);
    let at = |part: usize| waits.get(waits.len() * part / 100).copied().unwrap_or(f64::MAX);
    (at(50), at(99))
}

#[test]
fn it_computes_percentiles() {
    assert_eq!(percentiles((0..100).map(f64::from).collect()), (50.0, 99.0));
    assert_eq!(percentiles(vec![]).0, f64::MAX);
}

async fn crowd(node: &Node, count: usize, buffer: Option<u32>) -> Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        let mut door = node.door()?;
        door.receive_buffer = buffer;
        let mut socket = door.open("/feed?topic=crowd.%3E&start=live").await?;
        // Those that will not read hold the cursor of their beginning.
        socket.expect("caught_up").await?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Publishes while all readers read; gives each record's waits.
async fn measure(
    node: &Node,
    readers: &mut [Socket],
    name: &str,
    count: usize,
    pad: usize,
) -> Result<Vec<f64>> {
    let began = Instant::now();
    let http = node.http()?.clone();
    let name = name.to_owned();
    let mut publishing: JoinSet<Result<()>> = JoinSet::new();
    publishing.spawn(async move {
        for i in 0..count {
            let sent = began.elapsed().as_secs_f64();
            let payload = json!({ "k": format!("{name}-{i}"), "sent": sent, "pad": "x".repeat(pad) });
            http.publish(&json!({ "topic": "crowd.a", "payload": payload })).await?;
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    });
    let mut waits = Vec::new();
    let mut reading = Vec::new();
    for socket in readers.iter_mut() {
        reading.push(async move {
            let mut waits = Vec::new();
            while waits.len() < count {
                let record = socket.expect("record").await?;
                let sent = record["payload"]["sent"].as_f64().context("no time")?;
                waits.push((began.elapsed().as_secs_f64() - sent) * 1000.0);
            }
            Ok::<_, anyhow::Error>(waits)
        });
    }
    for part in futures_util::future::join_all(reading).await {
        waits.extend(part?);
    }
    while let Some(done) = publishing.join_next().await {
        done??;
    }
    Ok(waits)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_slowed_by_clients_that_never_read() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let mut readers = crowd(&node, READING, None).await?;
    // All of it must take well under the 30 s after which the node closes whoever accepts nothing.
    let (count, pad) = (scale::pick(150, 300), 200);
    measure(&node, &mut readers, "warm", 50, pad).await?;
    let before = percentiles(measure(&node, &mut readers, "before", count, pad).await?);
    let mut stalled = crowd(&node, STALLED, Some(4096)).await?;
    // More than the kernel's buffers hold for each of them.
    let mut owed = Owed::default();
    let resident = resident_bytes(node.pid()?)?;
    let mut peak = resident;
    for part in 0..scale::pick(12, 16) {
        let published =
            node.http()?.publish_numbered("crowd.b", "flood", part * 80..(part + 1) * 80, 12_000).await?;
        owed.acked.extend(published);
        for socket in &mut readers {
            for _ in 0..80 {
                socket.expect("record").await?;
            }
        }
        peak = peak.max(resident_bytes(node.pid()?)?);
    }
    let after = percentiles(measure(&node, &mut readers, "after", count, pad).await?);
    let grown = peak.saturating_sub(resident) >> 20;
    scale::say(&format!(
        "crowd: p50 {:.1} → {:.1} ms, p99 {:.1} → {:.1} ms, {grown} MiB more at the peak",
        before.0, after.0, before.1, after.1
    ));
    ensure!(after.0 < 3.0 * before.0 + 20.0, "the median went from {before:?} to {after:?}");
    ensure!(after.1 < 5.0 * before.1 + 200.0, "the 99th percentile went from {before:?} to {after:?}");
    ensure!(grown < 64, "the node grew by {grown} MiB for clients that do not read");
    let behind = node.http()?.get("/api/v1/subscribers").await?;
    let lags = behind["subscribers"].as_array().context("no subscribers")?;
    let lagging = lags.iter().filter(|one| one["lag"].as_u64() > Some(0)).count();
    ensure!(lagging >= STALLED / 2, "{lagging} of {} lag: {:?}", lags.len(), lags.last());
    come_back(&mut stalled, &owed).await?;
    node.stop().await
}

/// A subscriber that waits costs its buffers, which are small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_spends_little_on_subscribers_that_wait() -> Result<()> {
    let mut node = Plan::new().start().await?;
    // What the node allocates once.
    let warm = crowd(&node, 50, None).await?;
    let before = resident_bytes(node.pid()?)?;
    let waiting = crowd(&node, WAITING, None).await?;
    let grown = resident_bytes(node.pid()?)?.saturating_sub(before) / WAITING as u64;
    scale::say(&format!("a subscriber that waits takes {} KiB", grown >> 10));
    // The budget is 12 KiB; the library's own read buffer alone is 128.
    ensure!(grown < 64 << 10, "{grown} bytes a subscriber");
    drop((warm, waiting));
    node.stop().await
}

/// Those that stalled begin to read and get everything, on the same connection.
async fn come_back(stalled: &mut [Socket], owed: &Owed) -> Result<()> {
    let expected: BTreeSet<&Id> = owed.acked.keys().collect();
    for socket in stalled {
        let mut got = BTreeSet::new();
        while got.len() < expected.len() {
            let record = socket.expect("record").await?;
            if key_of(&record).starts_with("flood") {
                got.insert(Id::of(&record, "id")?);
            }
        }
        ensure!(got.iter().eq(expected.iter().copied()), "a client that came back got others");
    }
    Ok(())
}

/// Reads what is left of a feed that the node closes, or until it is live again.
async fn drain(socket: &mut Socket, place: &mut Place) -> Result<Option<u16>> {
    while let Some(frame) = socket.next_within(Duration::from_secs(2)).await? {
        match frame {
            Frame::Json(value) => note(place, &value)?,
            Frame::Closed(code, _) => return Ok(Some(code)),
            Frame::Cut => return Ok(None),
            Frame::Binary(_) => anyhow::bail!("a binary frame"),
        }
    }
    Ok(None)
}

fn note(place: &mut Place, frame: &Value) -> Result<()> {
    match frame["type"].as_str() {
        Some("record") => place.record(Id::of(frame, "id")?, key_of(frame)),
        Some("gap") => note_gap(place, frame),
        Some("cursor" | "caught_up") => place.cursor(frame["cursor"].as_str().unwrap_or("")),
        Some("error") => {}
        _ => anyhow::bail!("{frame}"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_gives_those_that_stalled_past_retention_each_record_or_its_gap() -> Result<()> {
    let args = ["--segment-bytes", "1MiB", "--retain-bytes", "8MiB"];
    let mut node = Plan::new().args(&args).start().await?;
    let mut owed = Owed::default();
    let mut stalled = Vec::new();
    for index in 0..6 {
        let mut door = node.door()?;
        door.receive_buffer = Some(4096);
        let mut place = Place::new([Form::Opaque, Form::Object, Form::Seqs][index % 3]);
        let mut socket = door.open("/feed?start=earliest").await?;
        read_until_live(&mut socket, &mut place).await?;
        stalled.push((socket, place));
    }
    for part in 0..scale::pick(20, 60) {
        owed.acked.extend(
            node.http()?.publish_numbered("crowd.c", "over", part * 60..(part + 1) * 60, 16_000).await?,
        );
    }
    if scale::is_full() {
        // A socket that accepts nothing for 30 s is closed; its client comes back with what it has.
        sleep(Duration::from_secs(40)).await;
    }
    for (mut socket, mut place) in stalled {
        let code = drain(&mut socket, &mut place).await?;
        ensure!(!scale::is_full() || matches!(code, Some(1013) | None), "closed with {code:?}");
        drop(socket);
        place.cut();
        let mut again = node.door()?.open(&format!("/feed?start={}", place.start())).await?;
        read_until_live(&mut again, &mut place).await?;
        ensure_sound(&format!("stalled, then {}", place.start()), &owed, &place.seen())?;
    }
    node.stop().await
}
