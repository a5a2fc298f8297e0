//! What repair did and which log forked, as the page and the API tell it; and the sources of all nodes on one page.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::browser::Browser;
use e2e::browser::roles::Name;
use e2e::forge::{Claim, Forger, batches, summaries};
use e2e::guest::{self, Answers, Guest, refusing};
use e2e::market::{Kind, Market};
use e2e::mesh::{Mesh, PATIENCE, until_event};

use super::{at, ensure_quiet, row, visit};

/// How long what is missing stays so: what is repaired sooner is no event.
const MISSING: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_what_was_repaired_and_which_log_forked() -> Result<()> {
    let mesh = Mesh::start("happened", 2, &[]).await?;
    let browser = at(&mesh.nodes[0], "/mesh").await?;
    let repaired = repair(&mesh).await?;
    for node in &mesh.nodes {
        until_event(node, "records_repaired", "nothing is missing now", PATIENCE).await?;
    }
    told(&browser, &["peers gave 40 records that were missing here", "nothing is missing now"]).await?;
    let (log, guests) = fork(&mesh).await?;
    for node in &mesh.nodes {
        until_event(node, "log_forked", &format!("{log} ends before seq 3"), PATIENCE).await?;
    }
    told(&browser, &["Error", &log, "ends before seq 3: its origin signed two different continuations"])
        .await?;
    browser.look("mesh-forked").await?;
    drop((repaired, guests));
    ensure_quiet(&browser).await?;
    browser.close().await?;
    let mut mesh = mesh;
    mesh.stop().await
}

async fn told(browser: &Browser, words: &[&str]) -> Result<()> {
    browser.says("region", "Recent events", words).await.map(drop)
}

fn payloads(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{{\"k\":\"{name}-{n}\"}}")).collect()
}

/// Somebody says that it has records, and gives them only after a while.
async fn repair(mesh: &Mesh) -> Result<Guest> {
    let mut forger = Forger::random("happened");
    let batch = forger.say("happened.late", &payloads("late", 40)).bytes;
    let (origin, log) = (forger.origin(), forger.log);
    let claim = Claim { origin, log, head: 40, floor: 1, forked: None, proof: None };
    let from = Instant::now() + MISSING;
    let answers: Answers = Arc::new(move |question: &[u8]| match question.first() {
        Some(1) => Some(summaries(std::slice::from_ref(&claim))),
        Some(2) if Instant::now() > from => Some(batches(Some(&claim), false, std::slice::from_ref(&batch))),
        _ => Some(vec![0]),
    });
    let addresses = [guest::address(&mesh.nodes[0]).await?, guest::address(&mesh.nodes[1]).await?];
    let guest = Guest::join(&forger, &addresses, answers).await?;
    let beacon = forger.beacon(&[(log, 40, 1)], &[]);
    guest.beacon(&beacon).await?;
    Ok(guest)
}

/// Somebody tells each of two nodes another story; gives the log.
async fn fork(mesh: &Mesh) -> Result<(String, [Guest; 2])> {
    let mut forger = Forger::random("happened");
    let mut guests = Vec::new();
    for node in &mesh.nodes {
        guests.push(Guest::join(&forger, &[guest::address(node).await?], refusing()).await?);
    }
    let start = forger.say("happened.fork", &payloads("start", 2));
    let stories = ["one", "other"]
        .map(|name| forger.draft("happened.fork", e2e::forge::now(), &payloads(name, 2)).sign());
    for (guest, story) in guests.iter().zip(&stories) {
        guest.gossip(&start.bytes).await?;
        guest.gossip(&story.bytes).await?;
    }
    let guests = <[Guest; 2]>::try_from(guests).map_err(|_| anyhow::anyhow!("not two nodes"))?;
    Ok((forger.log_name(), guests))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_lists_the_sources_of_all_nodes() -> Result<()> {
    let market = Market::start(3, 4.0).await?;
    let mut mesh = Mesh::start("allsources", 3, &["--allow-private-sources", &market.allowed()]).await?;
    for (number, name) in ["zero", "one", "two"].into_iter().enumerate() {
        mesh.http(number)?.add_source(&Kind::Sse.source(name, &market, number)).await?;
    }
    let browser = at(&mesh.nodes[0], "/").await?;
    visit(&browser, "Sources").await?;
    row(&browser, "zero", &["Live"]).await?;
    browser.click("link", "Of all nodes").await?;
    for (name, node) in [("zero", "n0"), ("one", "n1"), ("two", "n2")] {
        browser.says("row", Name::Any, &[name, node, "Live"]).await?;
    }
    browser.look("sources-all").await?;
    // One that comes meanwhile is shown too, and the page leads to those of one node.
    mesh.http(2)?.add_source(&Kind::Sse.source("later", &market, 0)).await?;
    browser.says("row", Name::Any, &["later", "n2"]).await?;
    browser.click("link", "This node").await?;
    row(&browser, "zero", &["Live"]).await?;
    ensure_quiet(&browser).await?;
    browser.close().await?;
    mesh.stop().await
}
