//! Two nodes with one identity, as a copied data directory makes them: their peers are told, and neither's records are
//! lost.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use e2e::mesh::{self, Mesh, PATIENCE, until_event, until_state};
use e2e::node::{Node, Plan};
use e2e::scale;
use tokio::time::sleep;

use super::until_there;

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Waits until a node's gossip says that it is not well, with these words.
async fn until_degraded(node: &Node, words: &str) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let gossip = node.http()?.get("/api/v1/status").await?["components"]["gossip"].clone();
        if gossip["state"] == "degraded" && gossip["detail"].as_str().is_some_and(|said| said.contains(words))
        {
            return Ok(());
        }
        ensure!(Instant::now() < until, "gossip says {gossip}");
        sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_of_two_nodes_with_one_identity() -> Result<()> {
    let mut mesh = Mesh::start("twins", 3, &[]).await?;
    mesh.http(2)?.publish_numbered("twins", "before", 0..5, 10).await?;
    let id = mesh.id(2).await?;
    mesh.nodes[2].stop().await?;
    let bootstrap = e2e::guest::address(&mesh.nodes[0]).await?;
    let mut twin = Plan::new()
        .args(&["--network", "twins", "--name", "twin", "--p2p", "/ip4/127.0.0.1/tcp/0"])
        .args(&["--bootstrap", &bootstrap])
        .prepare()?;
    copy(&mesh.nodes[2].data_dir(), &twin.data_dir())?;
    mesh.nodes[2].start().await?;
    twin.start().await?;
    ensure!(mesh::id(&twin).await? == id, "the copy has another identity");
    let began = Instant::now();
    for number in [0, 1] {
        let said = until_event(&mesh.nodes[number], "identity_twice", &id, PATIENCE).await?;
        ensure!(said.contains("--data-dir"), "{said}");
    }
    scale::say(&format!("two others knew of the twins {:?} after both were ready", began.elapsed()));
    // To gossip both are one, so of one of them nothing comes while the other is there.
    let mut last = Vec::new();
    for (name, node) in [("one", &mesh.nodes[2]), ("twin", &twin)] {
        let published = node.http()?.publish_numbered("twins", name, 0..5, 10).await?;
        last.push(published[4].0.clone());
    }
    // Once the first is stopped the copy is heard, and learns of the other by its records.
    mesh.nodes[2].stop().await?;
    let stopped = Instant::now();
    for number in [0, 1] {
        until_there(&mesh.nodes[number], &last[1]).await.with_context(|| format!("node {number}"))?;
        until_state(&mesh.nodes[number], &id, "alive", PATIENCE).await?;
        // What both said is of two logs: no log forks.
        let events = mesh.http(number)?.get("/api/v1/events").await?;
        ensure!(!events.to_string().contains("log_forked"), "{events}");
    }
    scale::say(&format!("the copy was heard {:?} after the other was stopped", stopped.elapsed()));
    until_there(&twin, &last[0]).await?;
    let words = "another node runs with this node's identity";
    until_event(&twin, "identity_twice", words, PATIENCE).await?;
    until_degraded(&twin, words).await?;
    scale::say(&format!("and knew of the other {:?} after", stopped.elapsed()));
    twin.stop().await?;
    mesh.nodes[1].stop().await?;
    mesh.nodes[0].stop().await
}
