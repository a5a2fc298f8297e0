//! Who left, died, fell silent or came back is known in time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::ledger::Ledger;
use e2e::load::{self, Load};
use e2e::mesh::{Mesh, PATIENCE, until_event, until_state};
use e2e::scale;
use e2e::socket::Socket;
use rustix::process::Signal;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_knows_in_time_who_left_died_and_came_back() -> Result<()> {
    let mut mesh = Mesh::start("presence", 3, &[]).await?;
    let ids = [mesh.id(0).await?, mesh.id(1).await?, mesh.id(2).await?];

    mesh.nodes[2].kill()?;
    let killed = Instant::now();
    until_state(&mesh.nodes[0], &ids[2], "suspect", Duration::from_secs(5)).await?;
    let suspect = killed.elapsed();
    until_state(&mesh.nodes[0], &ids[2], "dead", Duration::from_secs(12)).await?;
    let dead = killed.elapsed();
    until_state(&mesh.nodes[1], &ids[2], "dead", Duration::from_secs(12)).await?;
    scale::say(&format!(
        "detection after kill -9, which closes connections: suspect {suspect:?}, dead {dead:?} (promised: 3 s)"
    ));
    ensure!(suspect < Duration::from_secs(3), "suspect only after {suspect:?}");
    // Exact times are the pure core's to prove; a busy machine adds to them here. By silence alone it would take seven at least.
    ensure!(dead < Duration::from_secs(6), "dead only after {dead:?}");
    until_event(&mesh.nodes[0], "peer_dead", &ids[2], PATIENCE).await?;

    mesh.nodes[2].start().await?;
    let back = until_state(&mesh.nodes[0], &ids[2], "alive", PATIENCE).await?;
    scale::say(&format!("back: alive {back:?} after it was ready"));
    ensure!(back < Duration::from_secs(5), "alive only after {back:?}");
    mesh.until_whole(PATIENCE).await?;

    mesh.nodes[2].signal(Signal::TERM)?;
    let told = Instant::now();
    until_state(&mesh.nodes[0], &ids[2], "left", Duration::from_secs(5)).await?;
    until_state(&mesh.nodes[1], &ids[2], "left", Duration::from_secs(5)).await?;
    scale::say(&format!("SIGTERM: left after {:?}", told.elapsed()));
    ensure!(mesh.nodes[2].wait_exit().await?.success(), "SIGTERM did not end the node cleanly");
    // It does not count as dead later.
    let events = mesh.http(0)?.get("/api/v1/events").await?;
    let dead = events["events"].as_array().into_iter().flatten().filter(|event| event["kind"] == "peer_dead");
    ensure!(dead.count() == 1, "{events}");
    mesh.nodes[2].start().await?;
    until_state(&mesh.nodes[1], &ids[2], "alive", PATIENCE).await?;
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_knows_in_time_who_fell_silent() -> Result<()> {
    let mut mesh = Mesh::start("silent", 2, &[]).await?;
    let id = mesh.id(1).await?;
    mesh.nodes[1].signal(Signal::STOP)?;
    let stopped = Instant::now();
    let suspect = until_state(&mesh.nodes[0], &id, "suspect", Duration::from_secs(9)).await;
    let suspect = suspect.map(|_| stopped.elapsed());
    let dead = until_state(&mesh.nodes[0], &id, "dead", Duration::from_secs(14)).await;
    let dead = dead.map(|_| stopped.elapsed());
    mesh.nodes[1].signal(Signal::CONT)?;
    let (suspect, dead) = (suspect?, dead?);
    scale::say(&format!(
        "detection of silence (SIGSTOP): suspect {suspect:?}, dead {dead:?} (promised: 10 s)"
    ));
    ensure!(dead < Duration::from_secs(12), "dead only after {dead:?}");
    let back = until_state(&mesh.nodes[0], &id, "alive", PATIENCE).await?;
    scale::say(&format!("SIGCONT: alive after {back:?}"));
    mesh.until_whole(PATIENCE).await?;
    mesh.stop().await
}

/// All nodes take as much as they can for a while: nobody is thought silent, and nobody's connection ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_thinks_nobody_silent_under_full_load() -> Result<()> {
    let mut mesh = Mesh::start("flaps", 3, &[]).await?;
    let ledger = Ledger::default();
    let (mut loads, mut tells) = (Vec::new(), Vec::new());
    for number in 0..3 {
        let (tell, target) = mesh.target(number)?;
        let plan =
            load::Plan { name: format!("flap{number}"), sockets: 2, posters: 1, ..load::Plan::default() };
        loads.push(Load::start(&plan, &target, &ledger));
        tells.push(tell);
    }
    let began = Instant::now();
    tokio::time::sleep(scale::pick(Duration::from_secs(12), Duration::from_secs(60))).await;
    let mut told = Vec::new();
    for number in 0..3 {
        let events = mesh.http(number)?.get("/api/v1/events").await?;
        for event in events["events"].as_array().into_iter().flatten() {
            if ["peer_suspect", "peer_dead", "peer_cut"].iter().any(|kind| event["kind"] == *kind) {
                told.push(format!("node {number}: {event}"));
            }
        }
    }
    let rate = ledger.acked_count() as f64 / began.elapsed().as_secs_f64();
    scale::say(&format!(
        "{rate:.0} records/s on three nodes for {:?}: {} flaps",
        began.elapsed(),
        told.len()
    ));
    for load in loads {
        load.stop().await;
    }
    ledger.ensure_sound()?;
    ensure!(told.is_empty(), "{}", told.join("\n"));
    mesh.stop().await
}

/// Reads the watch until something holds of what it told: all peers, and the kinds of events.
async fn watch_until(watch: &mut Socket, told: &mut Told, holds: impl Fn(&Told) -> bool) -> Result<Duration> {
    let began = Instant::now();
    while !holds(told) {
        ensure!(began.elapsed() < PATIENCE, "the watch never told it: {told:?}");
        let message = watch.json().await?;
        if message["type"] == "peers" {
            told.times.push(Instant::now());
        }
        for peer in message["peers"].as_array().into_iter().flatten() {
            told.peers.insert(peer["id"].as_str().context("no id")?.to_owned(), peer.clone());
        }
        for event in message["events"].as_array().into_iter().flatten() {
            told.events.push(event["kind"].as_str().context("no kind")?.to_owned());
        }
    }
    Ok(began.elapsed())
}

/// What a watcher was told.
#[derive(Debug, Default)]
struct Told {
    peers: BTreeMap<String, Value>,
    events: Vec<String>,
    times: Vec<Instant>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_watchers_of_peers_as_they_change() -> Result<()> {
    let mut mesh = Mesh::start("watch", 3, &[]).await?;
    let ids = [mesh.id(0).await?, mesh.id(1).await?, mesh.id(2).await?];
    let mut watch = mesh.nodes[0].door()?.open("/api/v1/watch").await?;
    let mut told = Told::default();
    let linked = |told: &Told, id: &str, other: &str| {
        let links = told.peers.get(id).and_then(|peer| peer["links"].as_array());
        links.is_some_and(|links| links.iter().any(|link| link["id"] == other))
    };
    let state =
        |told: &Told, id: &str, state: &str| told.peers.get(id).is_some_and(|peer| peer["state"] == state);
    let all = |told: &Told| linked(told, &ids[1], &ids[2]) && linked(told, &ids[2], &ids[1]);
    watch_until(&mut watch, &mut told, all).await?;
    ensure!(state(&told, &ids[1], "alive") && state(&told, &ids[2], "alive"), "{told:?}");

    // A head is told of as well, without a question.
    mesh.http(1)?.publish_numbered("watch", "w", 0..5, 5).await?;
    let head = |told: &Told| {
        let heads = told.peers.get(&ids[1]).and_then(|peer| peer["heads"].as_object());
        heads.is_some_and(|heads| heads.values().any(|head| *head == 5))
    };
    watch_until(&mut watch, &mut told, head).await?;

    mesh.nodes[2].kill()?;
    let dead =
        |told: &Told| state(told, &ids[2], "dead") && told.events.iter().any(|kind| kind == "peer_dead");
    let took = watch_until(&mut watch, &mut told, dead).await?;
    ensure!(took < Duration::from_secs(12), "told only after {took:?}");
    ensure!(told.events.iter().any(|kind| kind == "peer_suspect"), "{told:?}");
    let close = told.times.windows(2).filter(|pair| pair[1] - pair[0] < Duration::from_millis(500)).count();
    ensure!(close == 0, "{close} of {} messages came too soon after another", told.times.len());

    mesh.nodes[2].start().await?;
    watch_until(&mut watch, &mut told, |told| state(told, &ids[2], "alive")).await?;
    mesh.stop().await
}
