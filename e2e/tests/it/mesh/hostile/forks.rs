//! An origin that says two things: its log ends on every node at one place, and both headers prove it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::forge::{Forger, fork, forks};
use e2e::guest::{Guest, refusing};
use e2e::mesh::{PATIENCE, until_event};
use e2e::scale;
use e2e::words::Id;

use super::super::until_there;
use super::{Scene, payloads};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_a_forked_log_on_every_node_at_one_place() -> Result<()> {
    let scene = Scene::begin("forks").await?;
    let mut forger = Forger::random("forks");
    // One identity with a link to each of two nodes, so that it can tell them two stories.
    let one = Guest::join(&forger, &scene.addresses[..1], refusing()).await?;
    let other = Guest::join(&forger, &scene.addresses[1..2], refusing()).await?;
    let start = forger.say("fork.a", &payloads("start", 5));
    one.gossip(&start.bytes).await?;
    for node in &scene.mesh.nodes {
        until_there(node, &Id::new(&forger.log_name(), 5)).await?;
    }
    let stories = [
        forger.draft("fork.a", e2e::forge::now(), &payloads("one", 3)).sign(),
        forger.draft("fork.a", e2e::forge::now(), &payloads("other", 2)).sign(),
    ];
    one.gossip(&stories[0].bytes).await?;
    other.gossip(&stories[1].bytes).await?;
    let began = Instant::now();
    let mut headers = stories.map(|story| story.header).to_vec();
    headers.sort();
    let witness = Guest::join(&Forger::random("forks"), &scene.addresses, refusing()).await?;
    for (node, id) in scene.mesh.nodes.iter().zip(&scene.ids) {
        let until = Instant::now() + PATIENCE;
        let proof = loop {
            let proof = forks(&witness.ask(id, &fork(forger.origin(), forger.log)).await?)?;
            if let Some(proof) = proof {
                break proof;
            }
            ensure!(Instant::now() < until, "a node never knows of the fork");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let mut proof = vec![proof.0, proof.1];
        proof.sort();
        ensure!(proof == headers, "the proof is of other headers");
        ensure_ended(node, &forger).await?;
        ensure_shown(node, &forger, &headers).await?;
    }
    scale::say(&format!("a fork ended its log on three nodes within {:?}", began.elapsed()));
    scene.end().await
}

/// The node tells of the fork, shows what proves it, and names it where a record beyond it is asked for.
async fn ensure_shown(node: &e2e::node::Node, forger: &Forger, headers: &[Vec<u8>]) -> Result<()> {
    let log = forger.log_name();
    until_event(node, "log_forked", &format!("{log} ends before seq 6"), PATIENCE).await?;
    let shown = node.http()?.get("/api/v1/forks?limit=10").await?;
    let fork = &shown["forks"][0];
    ensure!(fork["log"] == log.as_str() && fork["from"] == 6 && shown["forks"][1].is_null(), "{shown}");
    let mut both = Vec::new();
    for signed in fork["headers"].as_array().context("no headers")? {
        both.push(STANDARD.decode(signed["header"].as_str().context("no header")?)?);
        ensure!(STANDARD.decode(signed["signature"].as_str().context("no signature")?)?.len() == 64);
    }
    both.sort();
    ensure!(both == headers, "other headers are shown than those that prove the fork");
    let answer = node.http()?.send("GET", &format!("/api/v1/records/{log}/6"), &[], "").await?;
    ensure!(answer.status == 410 && answer.text().contains("forked"), "{}: {}", answer.status, answer.text());
    Ok(())
}

/// A new subscriber gets what was before the fork, and is told that there is no more.
async fn ensure_ended(node: &e2e::node::Node, forger: &Forger) -> Result<()> {
    let mut feed = node.open("/feed?start=earliest&topic=fork.%3E").await?;
    let mut seqs = Vec::new();
    loop {
        let frame = feed.json().await?;
        match frame["type"].as_str() {
            Some("record") => seqs.push(Id::of(&frame, "id")?.seq),
            Some("gap") => {
                ensure!(frame["log"] == forger.log_name() && frame["from"] == 6, "{frame}");
                ensure!(frame["reason"] == "forked", "{frame}");
                ensure!(seqs == [1, 2, 3, 4, 5], "records before the gap: {seqs:?}");
                return Ok(());
            }
            Some("caught_up" | "cursor") => {}
            _ => Err(anyhow::anyhow!("an unexpected frame: {frame}")).context("fork")?,
        }
    }
}
