//! `ack=replicated` means it: another node has the record on stable storage, and proves it without its origin.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::forge::Forger;
use e2e::mesh::{self, Mesh, PATIENCE};
use e2e::scale;
use e2e::words::Id;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::proof::verify;
use crate::syscalls::Tampered;

const PATH: &str = "/api/v1/records?ack=replicated";

async fn publish(mesh: &Mesh, name: &str, count: usize) -> Result<(u16, Value)> {
    let record = |i: usize| json!({ "topic": "rep.a", "payload": { "k": format!("{name}-{i}") } });
    let body = Value::Array((0..count).map(record).collect()).to_string();
    let answer = mesh.http(0)?.send("POST", PATH, &[], &body).await?;
    Ok((answer.status, answer.json()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_replicated_records_when_the_origin_is_gone_for_good() -> Result<()> {
    let mut mesh = Mesh::new("replicated");
    mesh.add(&[], &[]).await?;
    let (status, problem) = publish(&mesh, "alone", 1).await?;
    ensure!(status == 409 && problem["code"] == "no_peers", "{status} {problem}");
    mesh.add(&[0], &[]).await?;
    mesh.until_whole(PATIENCE).await?;
    let mut ids = Vec::new();
    let mut times = Vec::new();
    for round in 0..scale::pick(20, 100) {
        let began = Instant::now();
        let (status, answer) = publish(&mesh, &format!("r{round}"), 10).await?;
        times.push(began.elapsed());
        ensure!(status == 200 && answer["ack"] == "replicated", "{status} {answer}");
        for id in answer["ids"].as_array().context("no ids")? {
            ids.push(Id::parse(id.as_str().unwrap_or(""))?);
        }
    }
    // Nothing between the last answer and the end of the origin and all it had.
    mesh.nodes[0].kill()?;
    fs::remove_dir_all(mesh.nodes[0].data_dir())?;
    times.sort();
    let half = times[times.len() / 2];
    scale::say(&format!("ack=replicated of 10 records: p50 {half:?}, max {:?}", times[times.len() - 1]));
    let last = ids.len() - 1;
    for (place, id) in ids.iter().enumerate() {
        let answer = mesh.http(1)?.get(&format!("/api/v1/records/{id}")).await?;
        ensure!(answer["id"] == id.to_string(), "{answer}");
        // The verifier in Python is slow; `proof` is there in any case.
        if place % scale::pick(40, 20) == 0 || place == last {
            let (good, words) = verify(&mesh.nodes[1], &answer)?;
            ensure!(good, "{id} is refused: {words}");
        }
        ensure!(answer["proof"]["signature"].is_string(), "{answer}");
    }
    mesh.nodes[1].stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_what_was_reached_where_nobody_answers() -> Result<()> {
    let mut mesh = Mesh::start("stopped", 2, &[]).await?;
    mesh.nodes[1].signal(Signal::STOP)?;
    let began = Instant::now();
    let answer = publish(&mesh, "stopped", 2).await;
    let took = began.elapsed();
    mesh.nodes[1].signal(Signal::CONT)?;
    let (status, answer) = answer?;
    ensure!(status == 202 && answer["ack"] == "durable", "{status} {answer}");
    ensure!(answer["ids"].as_array().is_some_and(|ids| ids.len() == 2), "{answer}");
    ensure!(took < Duration::from_secs(20), "the answer took {took:?}");
    scale::say(&format!("202 with durable after {took:?}, the only peer being stopped"));
    // Stored is stored: the other has it once it goes on.
    let id = answer["ids"][1].as_str().context("no id")?.to_owned();
    let until = Instant::now() + PATIENCE;
    loop {
        // It may cut connections whose deadlines passed while it stood still.
        let answer = mesh.http(1)?.send("GET", &format!("/api/v1/records/{id}"), &[], "").await;
        if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
            break;
        }
        ensure!(Instant::now() < until, "{id} never came: {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    mesh::until_state(&mesh.nodes[0], &mesh.id(1).await?, "alive", PATIENCE).await?;
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_counts_only_on_peers_that_keep_the_origin() -> Result<()> {
    let mut mesh = Mesh::new("keepers");
    mesh.add(&[], &[]).await?;
    // This one keeps somebody's records, and not those of the first.
    mesh.add(&[0], &["--origins", &Forger::random("keepers").id()]).await?;
    mesh.until_whole(PATIENCE).await?;
    let (status, answer) = publish(&mesh, "unkept", 2).await?;
    ensure!(status == 202 && answer["ack"] == "durable", "{status} {answer}");
    give_up(&mesh, 4_500).await?;
    mesh.add(&[0], &[]).await?;
    mesh.until_whole(PATIENCE).await?;
    let began = Instant::now();
    let (status, answer) = publish(&mesh, "kept", 2).await?;
    ensure!(status == 200 && answer["ack"] == "replicated", "{status} {answer}");
    scale::say(&format!(
        "replicated after {:?} by the only one of two who keeps the origin",
        began.elapsed()
    ));
    let id = answer["ids"][1].as_str().context("no id")?.to_owned();
    mesh.nodes[0].kill()?;
    for (number, expected) in [(2, 200), (1, 410)] {
        let answer = mesh.http(number)?.send("GET", &format!("/api/v1/records/{id}"), &[], "").await?;
        ensure!([expected, expected - 6].contains(&answer.status), "node {number}: {}", answer.status);
    }
    mesh.nodes[1].stop().await?;
    mesh.nodes[2].stop().await
}

/// Publishers that ask for a copy elsewhere and go before they have the answer: more than may wait at once.
async fn give_up(mesh: &Mesh, count: usize) -> Result<()> {
    let http = Arc::new(mesh.http(0)?.clone());
    let mut asked = JoinSet::new();
    for number in 0..count {
        let http = http.clone();
        asked.spawn(async move {
            let body =
                json!({ "topic": "rep.given-up", "payload": { "k": format!("up-{number}") } }).to_string();
            let asked = http.send("POST", PATH, &[], &body);
            let _ = tokio::time::timeout(Duration::from_millis(500), asked).await;
        });
        if asked.len() >= 100 {
            asked.join_next().await.context("nobody asked")??;
        }
    }
    asked.join_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_until_a_peer_has_synced() -> Result<()> {
    const SYNC: Duration = Duration::from_secs(3);
    let mut mesh = Mesh::start("slowsync", 2, &[]).await?;
    let (status, answer) = publish(&mesh, "before", 2).await?;
    ensure!(status == 200 && answer["ack"] == "replicated", "{status} {answer}");
    let slow = Tampered::attach(mesh.nodes[1].pid()?, &format!("delay_enter={}", SYNC.as_micros())).await?;
    let began = Instant::now();
    let (status, answer) = publish(&mesh, "slow", 2).await?;
    let took = began.elapsed();
    drop(slow);
    ensure!(status == 200 && answer["ack"] == "replicated", "{status} {answer} after {took:?}");
    ensure!(took >= SYNC, "it counted as replicated after {took:?}, before the peer could have synced it");
    scale::say(&format!("replicated after {took:?} where the peer's sync takes {SYNC:?}"));
    mesh.stop().await
}
