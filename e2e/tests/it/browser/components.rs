//! Components that break: state, reason and recovery on the page, as `status` says them.

use std::fs;
use std::io::Write as _;

use anyhow::{Result, ensure};
use e2e::browser::Browser;
use e2e::browser::roles::Name;
use e2e::market::Kind;
use e2e::mesh::Mesh;
use e2e::node::Node;
use rustix::process::Signal;
use serde_json::json;

use super::{at, ensure_quiet};
use crate::disk::on_a_small_disk;
use crate::sources::with_market;

/// Waits until the card of a component says its state and these words, and holds `status` to the same.
async fn card(browser: &Browser, node: &Node, component: &str, state: &str, words: &str) -> Result<()> {
    let title = component[..1].to_uppercase() + &component[1..];
    browser.says("article", Name::Any, &[&title, state, "since", words]).await?;
    let said = node.http()?.get("/api/v1/status").await?;
    let said = &said["components"][component];
    ensure!(said["state"] == state, "the page says {state}, status {said}");
    ensure!(
        words.is_empty() || said["detail"].as_str().is_some_and(|detail| detail.contains(words)),
        "{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_that_the_disk_is_full_and_has_room_again() -> Result<()> {
    let Some(mut node) = on_a_small_disk(&["--reserve-disk", "16MiB", "--segment-bytes", "4MiB"]).await?
    else {
        return Ok(());
    };
    let publish =
        |i: usize| json!({ "topic": "disk.a", "payload": { "k": i, "pad": "x".repeat(30_000) } }).to_string();
    node.http()?.send("POST", "/api/v1/records", &[], &publish(0)).await?.ensure(200)?;
    let browser = at(&node, "/").await?;
    card(&browser, &node, "store", "ok", "").await?;
    let filler = node.data_dir().join("filler");
    let mut file = fs::File::create(&filler)?;
    while file.write_all(&vec![0; 1 << 20]).is_ok() {}
    drop(file);
    card(&browser, &node, "store", "degraded", "less room than its reserve").await?;
    browser.says("status", Name::Any, &["Store is degraded:"]).await?;
    browser.look("overview-full-disk").await?;
    // What is refused because of it is said where it was tried.
    super::visit(&browser, "Records").await?;
    browser.click("button", "Publish").await?;
    browser.says("alert", Name::Any, &["Publishing", "reserve"]).await?;
    browser.look("records-refused").await?;
    fs::remove_file(&filler)?;
    super::visit(&browser, "Overview").await?;
    card(&browser, &node, "store", "ok", "").await?;
    browser.says("status", Name::Any, &["Everything that exists works:"]).await?;
    ensure_quiet(&browser).await?;
    browser.close().await?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_that_a_peer_is_silent_and_speaks_again() -> Result<()> {
    let mut mesh = Mesh::start("browser", 2, &[]).await?;
    let browser = at(&mesh.nodes[0], "/").await?;
    card(&browser, &mesh.nodes[0], "gossip", "ok", "").await?;
    mesh.nodes[1].signal(Signal::STOP)?;
    let silent = card(&browser, &mesh.nodes[0], "gossip", "degraded", "1 of 1 peers are silent").await;
    let seen = browser.says("status", Name::Any, &["Gossip is degraded:"]).await;
    mesh.nodes[1].signal(Signal::CONT)?;
    silent.and(seen)?;
    card(&browser, &mesh.nodes[0], "gossip", "ok", "").await?;
    ensure_quiet(&browser).await?;
    browser.close().await?;
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_that_an_expression_fails_and_works_again() -> Result<()> {
    let (market, mut node) = with_market(1).await?;
    let mut source = Kind::Sse.source("spoiled", &market, 0);
    node.http()?.add_source(&source).await?;
    let browser = at(&node, "/").await?;
    card(&browser, &node, "pipeline", "ok", "").await?;
    source["emit"] = json!("payload.nothing");
    let path = "/api/v1/sources/spoiled";
    node.http()?.send("PUT", path, &[], &source.to_string()).await?.ensure(200)?;
    card(&browser, &node, "pipeline", "degraded", "expression fails on all that comes: spoiled:").await?;
    browser.says("status", Name::Any, &["ipeline"]).await?;
    source["emit"] = json!("payload.price");
    node.http()?.send("PUT", path, &[], &source.to_string()).await?.ensure(200)?;
    card(&browser, &node, "pipeline", "ok", "").await?;
    ensure_quiet(&browser).await?;
    browser.close().await?;
    node.stop().await
}
