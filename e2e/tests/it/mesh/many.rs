//! More nodes than the gossip mesh of each has places: everything arrives everywhere all the same.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::checker::Owed;
use e2e::mesh::{self, Mesh, PATIENCE};
use e2e::place::Form;
use e2e::reader::Reader;
use e2e::scale;
use tokio::sync::watch;

use super::{EVERYWHERE, ensure_whole, publish_ends};

const NODES: usize = 14;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_brings_everything_everywhere_among_fourteen() -> Result<()> {
    let began = Instant::now();
    let mut mesh = Mesh::new("fourteen");
    for number in 0..NODES {
        // Each knows one that came before it.
        let knows = (number > 0).then_some(number / 3);
        mesh.add(knows.as_slice(), &[]).await?;
    }
    let started = began.elapsed();
    mesh.until_whole(PATIENCE).await?;
    let whole = Instant::now();
    scale::say(&format!(
        "{NODES} nodes started within {started:?} and are a mesh after {:?}",
        began.elapsed()
    ));
    let mut readers = Vec::new();
    for number in 0..NODES {
        let (tell, target) = watch::channel(Some(mesh.door(number)?));
        let form = [Form::Opaque, Form::Object, Form::Seqs][number % 3];
        readers.push((number, Reader::start(form, &target), tell));
    }
    let mut owed = Owed::default();
    for round in 0..scale::pick(3, 10) {
        for number in 0..NODES {
            let name = format!("m{number}-{round}");
            owed.acked.extend(mesh.http(number)?.publish_numbered("many.a", &name, 0..20, 60).await?);
        }
    }
    publish_ends(&mesh, &mut owed).await?;
    let published = Instant::now();
    for (number, reader, _tell) in readers {
        let seen = reader.finish_all(&owed, EVERYWHERE).await.with_context(|| format!("node {number}"))?;
        ensure_whole(&format!("node {number}"), &owed, &seen)?;
    }
    scale::say(&format!(
        "{} records on {NODES} nodes {:?} after the last",
        owed.acked.len(),
        published.elapsed()
    ));
    // Links stay, also those that are in no gossip mesh and carry nothing: the library's own limit is ten seconds.
    tokio::time::sleep(Duration::from_secs(11).saturating_sub(whole.elapsed())).await;
    for (number, node) in mesh.nodes.iter().enumerate() {
        let peers = mesh::peers(node).await?;
        let linked =
            peers.iter().filter(|peer| peer["connected"] == true && peer["state"] == "alive").count();
        let gossip = node.http()?.get("/api/v1/status").await?["components"]["gossip"].clone();
        ensure!(linked == NODES - 1, "node {number} is linked to {linked}");
        ensure!(gossip["links_renewed"] == 0 && gossip["peers_cut"] == 0, "node {number}: {gossip}");
    }
    mesh.stop().await
}

/// What gossip cannot take, for nobody is there or a peer is too slow, repair brings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_brings_by_repair_what_gossip_could_not_take() -> Result<()> {
    let mut mesh = Mesh::new("queues");
    mesh.add(&[], &[]).await?;
    // Nobody listens yet.
    let mut owed = Owed::default();
    owed.acked.extend(mesh.http(0)?.publish_numbered("queue.a", "early", 0..50, 50).await?);
    mesh.add(&[0], &[]).await?;
    mesh.until_whole(PATIENCE).await?;
    // A peer takes nothing while more batches than its queue holds are published, one record each.
    mesh.nodes[1].signal(rustix::process::Signal::STOP)?;
    for number in 0..400 {
        let name = format!("stopped-{number}");
        owed.acked.extend(mesh.http(0)?.publish_numbered("queue.a", &name, 0..1, 8_000).await?);
    }
    mesh.nodes[1].signal(rustix::process::Signal::CONT)?;
    publish_ends(&mesh, &mut owed).await?;
    let went_on = Instant::now();
    super::ensure_everywhere(&mesh, &owed).await?;
    scale::say(&format!("all that a stopped peer missed is there {:?} after it went on", went_on.elapsed()));
    mesh.stop().await
}
