//! Networks with other names or keys never mix, and both sides say why.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::mesh::{self, Mesh, PATIENCE, until_event};
use e2e::node::Node;
use serde_json::json;

/// The bootstrap address of a node.
async fn address(node: &Node) -> Result<String> {
    let status = node.http()?.get("/api/v1/status").await?;
    Ok(status["node"]["addresses"][0].as_str().context("no address")?.to_owned())
}

async fn ensure_apart(one: &Node, other: &Node) -> Result<()> {
    let answer = one.http()?.publish(&json!({ "topic": "apart", "payload": 1 })).await?;
    let id = answer["ids"][0].as_str().context("no id")?;
    other.http()?.send("GET", &format!("/api/v1/records/{id}"), &[], "").await?.ensure(404)?;
    for node in [one, other] {
        let peers = mesh::peers(node).await?;
        ensure!(peers.is_empty(), "{peers:?}");
        let status = node.http()?.get("/api/v1/status").await?;
        ensure!(status["components"]["gossip"]["peers"] == 0, "{}", status["components"]["gossip"]);
    }
    Ok(())
}

/// Waits until a node's log holds a word.
async fn until_log(node: &Node, word: &str) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while !node.log().contains(word) {
        ensure!(Instant::now() < until, "the log never says {word:?}\n{}", node.log_tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_turns_away_nodes_of_another_network() -> Result<()> {
    let mut red = Mesh::new("red");
    red.add(&[], &[]).await?;
    let mut blue = Mesh::new("blue");
    blue.add(&[], &["--bootstrap", &address(&red.nodes[0]).await?]).await?;
    let words = until_event(&red.nodes[0], "peer_refused", "blue", PATIENCE).await?;
    ensure!(words.contains("red"), "{words}");
    let words = until_event(&blue.nodes[0], "peer_refused", "red", PATIENCE).await?;
    ensure!(words.contains("blue"), "{words}");
    until_log(&red.nodes[0], "another network").await?;
    ensure_apart(&red.nodes[0], &blue.nodes[0]).await?;
    red.stop().await?;
    blue.stop().await
}

fn key(dir: &std::path::Path, name: &str, digit: char) -> Result<String> {
    let path = dir.join(name);
    let digits = String::from(digit).repeat(64);
    fs::write(&path, format!("/key/swarm/psk/1.0.0/\n/base16/\n{digits}\n"))?;
    Ok(path.display().to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_lets_only_holders_of_the_key_in() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (right, wrong) = (key(dir.path(), "right.key", 'a')?, key(dir.path(), "wrong.key", 'b')?);
    let mut mesh = Mesh::new("private");
    mesh.add(&[], &["--network-key", &right]).await?;
    mesh.add(&[0], &["--network-key", &right]).await?;
    mesh.until_whole(PATIENCE).await?;
    let (mut guest, mut bare) = (Mesh::new("private"), Mesh::new("private"));
    let bootstrap = address(&mesh.nodes[0]).await?;
    guest.add(&[], &["--network-key", &wrong, "--bootstrap", &bootstrap]).await?;
    bare.add(&[], &["--bootstrap", &bootstrap]).await?;
    for stranger in [&guest, &bare] {
        until_log(&stranger.nodes[0], "could not be reached").await?;
        let peers = mesh::peers(&stranger.nodes[0]).await?;
        ensure!(peers.is_empty(), "{peers:?}");
    }
    // Both sides say that somebody with another key tried.
    until_log(&mesh.nodes[0], "network key").await?;
    until_log(&guest.nodes[0], "network key").await?;
    for (node, words) in [
        (&mesh.nodes[0], "another network key, or none"),
        (&guest.nodes[0], "another network key, or none"),
        (&bare.nodes[0], "this node has none"),
    ] {
        until_event(node, "peer_refused", words, PATIENCE).await?;
    }
    ensure!(mesh::peers(&mesh.nodes[0]).await?.len() == 1, "a stranger is known");
    guest.stop().await?;
    bare.stop().await?;
    mesh.stop().await
}
