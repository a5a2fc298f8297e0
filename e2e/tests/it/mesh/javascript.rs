//! A libp2p peer written by others, in JavaScript: it joins by WebSocket, hears batches and verifies them by the format's page.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::mesh::{Mesh, PATIENCE};
use e2e::scale;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

/// What the peer says next.
async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<Value> {
    let line = timeout(PATIENCE, lines.next_line()).await.context("the peer says nothing")??;
    Ok(serde_json::from_str(&line.context("the peer has ended")?)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_heard_and_verified_by_a_peer_in_javascript() -> Result<()> {
    let peer = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("js");
    if !peer.join("node_modules/libp2p").exists() {
        ensure!(!scale::is_full(), "no js-libp2p here: run `npm ci` in e2e/js");
        scale::say("SKIPPED: no js-libp2p here; `npm ci` in e2e/js brings it, as does `cargo xtask test`");
        return Ok(());
    }
    let mut mesh = Mesh::new("javascript");
    mesh.add(&[], &["--p2p", "/ip4/127.0.0.1/tcp/0/ws"]).await?;
    mesh.add(&[0], &[]).await?;
    mesh.until_whole(PATIENCE).await?;
    let status = mesh.http(0)?.get("/api/v1/status").await?;
    let all = status["node"]["addresses"].as_array().context("no addresses")?;
    let socket = all.iter().filter_map(Value::as_str).find(|text| text.contains("/ws"));
    let socket = socket.with_context(|| format!("no WebSocket among {all:?}"))?;
    let mut child = Command::new("node")
        .arg(peer.join("peer.mjs"))
        .args([socket, "javascript", "60"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("node")?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let first = next(&mut lines).await?;
    ensure!(first["type"] == "listening", "{first}");
    // From the node that it is linked to, and from one that it is not.
    let mut owed = BTreeMap::new();
    for number in 0..2 {
        for round in 0..5 {
            let name = format!("js-{number}-{round}");
            for (id, key) in mesh.http(number)?.publish_numbered("js.a", &name, 0..20, 40).await? {
                owed.insert(id.to_string(), key);
            }
        }
    }
    let count = owed.len();
    let mut ends: BTreeMap<String, String> = BTreeMap::new();
    while !owed.is_empty() {
        let batch = next(&mut lines).await?;
        ensure!(batch["type"] == "batch", "what nodes sent is refused: {batch}");
        ensure!(batch["spoilt"].as_array().is_some_and(Vec::is_empty), "spoilt batches are taken: {batch}");
        let log = batch["log"].as_str().context("no log")?;
        let first = batch["first"].as_u64().context("no first")?;
        for (record, seq) in batch["records"].as_array().context("no records")?.iter().zip(first..) {
            let payload: Value = serde_json::from_str(record["payload"].as_str().context("no payload")?)?;
            if let Some(key) = owed.remove(&format!("{log}/{seq}")) {
                ensure!(payload["k"] == key.as_str() && record["topic"] == "js.a", "{record} is not {key}");
            }
        }
        // The chain of a log, from the first batch that was heard.
        let (previous, hash) = (batch["previous"].as_str(), batch["hash"].as_str().unwrap_or(""));
        if let Some(end) = ends.insert(log.to_owned(), hash.to_owned()) {
            ensure!(previous == Some(end.as_str()), "{log} has no chain at {first}");
        }
    }
    scale::say(&format!("a peer in JavaScript verified {count} records of {} logs", ends.len()));
    ensure!(ends.len() == 2, "records of {} logs", ends.len());
    let gossip = mesh.http(0)?.get("/api/v1/status").await?["components"]["gossip"].clone();
    ensure!(gossip["peers_cut"] == 0, "{gossip}");
    child.start_kill()?;
    timeout(Duration::from_secs(5), child.wait()).await??;
    mesh.stop().await
}
