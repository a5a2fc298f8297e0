//! Retention with small segments: what is dropped is announced, never skipped in silence.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::checker::{Owed, Seen, ensure_sound};
use e2e::history;
use e2e::node::{Node, Plan};
use e2e::place::{Form, Place};
use e2e::process::folder_bytes;
use e2e::reader::{Reader, read_until_live};
use e2e::scale;
use e2e::words::percent;
use serde_json::json;
use tokio::sync::watch;

const SMALL: [&str; 4] = ["--segment-bytes", "1MiB", "--retain-bytes", "8MiB"];

fn expired(seen: &[Seen]) -> usize {
    seen.iter().filter(|one| matches!(one, Seen::Gap { reason, .. } if reason == "expired")).count()
}

/// Publishes so many times 1 MB of records; soon after, the folder is as small as retention says.
async fn fill(node: &Node, owed: &mut Owed, name: &str, megabytes: usize) -> Result<()> {
    for part in 0..megabytes {
        let numbers = part * 1000..(part + 1) * 1000;
        owed.acked.extend(node.http()?.publish_numbered("fill.a", name, numbers, 1000).await?);
    }
    for _ in 0..100 {
        if folder_bytes(&node.data_dir())? < 10 << 20 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("{} MiB on disk with 8 MiB retained", folder_bytes(&node.data_dir())? >> 20)
}

async fn resume(node: &Node, place: &mut Place) -> Result<()> {
    let mut socket = node.door()?.open(&format!("/feed?start={}", place.start())).await?;
    read_until_live(&mut socket, place).await?;
    place.cut();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_announces_what_it_dropped() -> Result<()> {
    let mibs = scale::pick(12, 60);
    let mut node = Plan::new().args(&SMALL).start().await?;
    let (tell, target) = watch::channel(Some((node.door()?, node.http()?.clone())));
    let follower = Reader::start(Form::Object, &target);
    let mut owed = Owed::default();
    let mut places = [Form::Opaque, Form::Object, Form::Seqs].map(Place::new);
    owed.acked.extend(node.http()?.publish_numbered("fill.a", "first", 0..500, 100).await?);
    for place in &mut places {
        resume(&node, place).await?;
    }
    fill(&node, &mut owed, "one", mibs).await?;
    resume(&node, &mut places[0]).await?;
    tell.send(None)?;
    node.kill()?;
    node.start().await?;
    tell.send(Some((node.door()?, node.http()?.clone())))?;
    fill(&node, &mut owed, "two", mibs).await?;
    let last = node.http()?.publish(&json!({ "topic": "fill.a", "payload": { "k": "end" } })).await?;
    ensure!(last["ack"] == "durable");
    for place in &mut places {
        resume(&node, place).await?;
        ensure_sound(&format!("back after retention: {}", place.start()), &owed, &place.seen())?;
        ensure!(expired(&place.seen()) > 0, "{} was told no gap", place.start());
    }
    ensure_sound("a follower", &owed, &follower.finish("end", Duration::from_secs(30)).await?)?;
    ensure_history(&node, &owed).await?;
    node.stop().await
}

/// Pages name what is gone; a record that is gone is 410 with the reason.
async fn ensure_history(node: &Node, owed: &Owed) -> Result<()> {
    let paged = history::read(node.http()?, "limit=2000").await?;
    paged.ensure_order(false)?;
    let seen = paged.seen()?;
    // A log of which nothing is left makes no gap.
    let logs: BTreeSet<&str> = seen
        .iter()
        .map(|one| match one {
            Seen::Record(id, _) => id.log.as_str(),
            Seen::Gap { log, .. } => log.as_str(),
        })
        .collect();
    let mut left = owed.clone();
    left.acked.retain(|id, _| logs.contains(id.log.as_str()));
    ensure!(!left.acked.is_empty(), "nothing left");
    ensure_sound("paging", &left, &seen)?;
    ensure!(paged.gaps.iter().any(|gap| gap.3 == "expired"), "no expired gap: {:?}", paged.gaps);

    let first = owed.acked.keys().next().context("nothing published")?;
    let answer = node.http()?.send("GET", &format!("/api/v1/records/{first}"), &[], "").await?.ensure(410)?;
    ensure!(answer.ensure_problem()?.contains("expired"), "{}", answer.text());
    let cursor = json!({ first.log.as_str(): 10 }).to_string();
    let after = history::read(node.http()?, &format!("after={}&limit=10000", percent(&cursor))).await?;
    let mut from_ten = owed.clone();
    from_ten.start.insert(first.log.clone(), 10);
    ensure_sound("paging after an old cursor", &from_ten, &after.seen()?)?;
    let status = node.http()?.get("/api/v1/status").await?;
    ensure!(status["node"]["retention"]["bytes"] == 8 << 20, "{}", status["node"]);
    ensure!(status["components"]["store"]["state"] == "ok", "{}", status["components"]["store"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_never_drops_under_a_page() -> Result<()> {
    let mut node = Plan::new().args(&SMALL).start().await?;
    let mut owed = Owed::default();
    fill(&node, &mut owed, "one", 4).await?;
    let first = node.http()?.get("/api/v1/records?limit=100").await?;
    let mut later = owed.clone();
    fill(&node, &mut later, "two", 12).await?;
    let mut seen: Vec<Seen> = Vec::new();
    let mut page = first;
    loop {
        let one = serde_json::from_value::<serde_json::Value>(page.clone())?;
        let part = history::Paged {
            records: one["records"].as_array().cloned().unwrap_or_default(),
            gaps: one["gaps"].as_array().map(Vec::as_slice).unwrap_or_default().iter().map(gap).collect(),
            ..history::Paged::default()
        };
        seen.extend(part.seen()?);
        let Some(next) = one["next"].as_str() else { break };
        page = node.http()?.get(&format!("/api/v1/records?limit=1000&page={}", percent(next))).await?;
    }
    ensure_sound("pages over expiry", &owed, &seen)?;
    ensure!(
        expired(&seen) > 0,
        "what expired between two pages is not named, but {} of 4000 are seen",
        seen.len()
    );
    node.stop().await
}

fn gap(value: &serde_json::Value) -> (String, u64, u64, String) {
    let text = |field: &str| value[field].as_str().unwrap_or("").to_owned();
    let number = |field: &str| value[field].as_u64().unwrap_or(0);
    (text("log"), number("from"), number("to"), text("reason"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_drops_by_age() -> Result<()> {
    let mut node = Plan::new().args(&["--segment-bytes", "1MiB", "--retain-age", "3s"]).start().await?;
    let mut owed = Owed::default();
    owed.acked.extend(node.http()?.publish_numbered("age", "a", 0..3000, 1000).await?);
    let first = owed.acked.keys().next().context("none")?.clone();
    for round in 0..60 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        owed.acked.extend(node.http()?.publish_numbered("age", &format!("b{round}"), 0..20, 1000).await?);
        let answer = node.http()?.send("GET", &format!("/api/v1/records/{first}"), &[], "").await?;
        if answer.status == 410 {
            let mut place = Place::new(Form::Seqs);
            resume(&node, &mut place).await?;
            ensure!(expired(&place.seen()) > 0, "no gap at {}", place.start());
            ensure_sound("after age", &owed, &place.seen())?;
            return node.stop().await;
        }
        answer.ensure(200)?;
    }
    anyhow::bail!("a record of 15 s is still there with 3 s retained")
}
