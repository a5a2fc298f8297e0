//! What is published on any node is seen on all, once and in log order, and every node shows the mesh.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::ledger::Ledger;
use e2e::load::{self, Load};
use e2e::mesh::{self, Mesh};
use e2e::place::Form;
use e2e::reader::Reader;
use e2e::scale;
use serde_json::json;

use super::{EVERYWHERE, ensure_whole, publish_ends};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_brings_every_record_to_every_subscriber_on_three_nodes() -> Result<()> {
    let began = Instant::now();
    let mut mesh = Mesh::start("three", 3, &[]).await?;
    scale::say(&format!("three nodes are a mesh after {:?}", began.elapsed()));
    let ledger = Ledger::default();
    let (mut loads, mut readers, mut tells) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..3 {
        let (tell, target) = mesh.target(number)?;
        let pause = Duration::from_millis(100);
        let name = format!("n{number}");
        let plan = load::Plan { name, sockets: 1, posters: 1, window: 200, pause, ..load::Plan::default() };
        readers.extend([Form::Opaque, Form::Object].map(|form| (number, Reader::start(form, &target))));
        loads.push(Load::start(&plan, &target, &ledger));
        tells.push(tell);
    }
    let until = Instant::now() + Duration::from_secs(30);
    let wanted = scale::pick(3_000, 20_000);
    while ledger.acked_count() < wanted {
        ensure!(Instant::now() < until, "only {} records acknowledged", ledger.acked_count());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for load in loads {
        load.stop().await;
    }
    ledger.ensure_sound()?;
    let mut owed = ledger.owed();
    publish_ends(&mesh, &mut owed).await?;
    let stopped = Instant::now();
    for (number, reader) in readers {
        let seen = reader.finish_all(&owed, EVERYWHERE).await.with_context(|| format!("node {number}"))?;
        ensure_whole(&format!("a subscriber on node {number}"), &owed, &seen)?;
    }
    scale::say(&format!("{} records everywhere {:?} after the last", owed.acked.len(), stopped.elapsed()));
    ensure_quick(&mesh).await?;
    ensure_shown(&mesh).await?;
    drop(tells);
    mesh.stop().await
}

/// One record at a time, from one node to a subscriber on another; tells the times.
async fn ensure_quick(mesh: &Mesh) -> Result<()> {
    let mut feed = mesh.nodes[1].open("/feed?topic=one.%3E").await?;
    feed.expect("caught_up").await?;
    let mut times = Vec::new();
    for number in 0..50 {
        let began = Instant::now();
        mesh.http(0)?.publish(&json!({ "topic": "one.a", "payload": number })).await?;
        loop {
            let frame = feed.json().await?;
            if frame["type"] == "record" {
                ensure!(frame["payload"] == number, "{frame} instead of {number}");
                break;
            }
        }
        times.push(began.elapsed());
    }
    times.sort();
    scale::say(&format!(
        "POST on one node to subscriber on another: p50 {:?}, max {:?}",
        times[25], times[49]
    ));
    ensure!(times[25] < Duration::from_secs(1), "half of the records took longer than {:?}", times[25]);
    Ok(())
}

/// Peers, graph and status say the same on every node, and nothing is missing.
async fn ensure_shown(mesh: &Mesh) -> Result<()> {
    let mut ids = BTreeSet::new();
    for number in 0..3 {
        ids.insert(mesh.id(number).await?);
    }
    for (number, node) in mesh.nodes.iter().enumerate() {
        let me = mesh::id(node).await?;
        let until = Instant::now() + mesh::PATIENCE;
        loop {
            let wrong = wrongly_shown(mesh, number, &me, &ids).await?;
            let Some(wrong) = wrong else { break };
            ensure!(Instant::now() < until, "node {number}: {wrong}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

/// What a node shows that is not so, until it has caught up.
async fn wrongly_shown(
    mesh: &Mesh,
    number: usize,
    me: &str,
    ids: &BTreeSet<String>,
) -> Result<Option<String>> {
    let node = &mesh.nodes[number];
    let peers = mesh::peers(node).await?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("").to_owned();
    let mut known: BTreeSet<String> = peers.iter().map(|peer| text(&peer["id"])).collect();
    known.insert(me.to_owned());
    if known != *ids || peers.len() != 2 {
        return Ok(Some(format!("peers are {known:?}")));
    }
    for peer in &peers {
        let named = (0..3).any(|other| other != number && peer["name"] == format!("n{other}"));
        let reachable = peer["addresses"].as_array().is_some_and(|addresses| {
            addresses.iter().any(|address| text(address).ends_with(&format!("/p2p/{}", text(&peer["id"]))))
        });
        let heads = peer["heads"].as_object().is_some_and(|heads| !heads.is_empty());
        if !(named
            && reachable
            && heads
            && peer["lag"] == 0
            && peer["rtt_ms"].is_number()
            && peer["version"].is_string())
        {
            return Ok(Some(format!("a peer is {peer}")));
        }
    }
    let graph = node.http()?.get("/api/v1/mesh").await?;
    let nodes: BTreeSet<String> =
        graph["nodes"].as_array().context("no nodes")?.iter().map(|node| text(&node["id"])).collect();
    let edges = graph["edges"].as_array().context("no edges")?.len();
    if nodes != *ids || edges != 3 {
        return Ok(Some(format!("the graph is {graph}")));
    }
    let status = node.http()?.get("/api/v1/status").await?;
    let gossip = &status["components"]["gossip"];
    let fine = gossip["state"] == "ok"
        && gossip["peers"] == 2
        && gossip["links"] == 2
        && gossip["missing_records"] == 0;
    let reachable = status["node"]["addresses"].as_array().is_some_and(|all| !all.is_empty());
    Ok((!fine || !reachable || status["node"]["network"] != "three")
        .then(|| format!("the status is {gossip} and {}", status["node"])))
}
