//! `anode run --demo`: a living node at once, and nothing left of it afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::node::{Node, Plan};
use serde_json::Value;
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(15);

async fn sources(node: &Node) -> Result<Vec<Value>> {
    let answer = reqwest::get(format!("{}/api/v1/sources", node.url())).await?;
    let list: Value = answer.error_for_status()?.json().await?;
    Ok(list["sources"].as_array().context("no list")?.clone())
}

/// Waits until every source of the demo is live and has made records.
async fn wait_live(node: &Node) -> Result<Vec<Value>> {
    let until = Instant::now() + PATIENCE;
    loop {
        let all = sources(node).await?;
        let good =
            |one: &Value| one["status"]["state"] == "live" && one["status"]["records"].as_u64() > Some(0);
        if !all.is_empty() && all.iter().all(good) {
            return Ok(all);
        }
        ensure!(Instant::now() < until, "not all are live: {all:#?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_a_living_node_for_one_run() -> Result<()> {
    let mut node = Plan::new().args(&["--demo"]).start().await?;
    let first = wait_live(&node).await?;
    let kinds: std::collections::BTreeSet<_> = first.iter().filter_map(|one| one["kind"].as_str()).collect();
    ensure!(kinds.len() == 3, "{kinds:?}");
    // Another port of the same machine stays closed to sources.
    let other = serde_json::json!({"name": "x", "kind": "rest", "url": format!("{}/livez", node.url()), "topic": "x"});
    let client = reqwest::Client::new();
    let post = client.post(format!("{}/api/v1/sources", node.url())).bearer_auth(node.token());
    let refused = post.json(&other).send().await?;
    ensure!(refused.status() == 422, "{}", refused.status());
    // Changed and paused ones are of this run too.
    let pause = client.post(format!("{}/api/v1/sources/demo-btc-usd/pause", node.url()));
    ensure!(pause.bearer_auth(node.token()).send().await?.status().is_success(), "pause");
    node.signal(rustix::process::Signal::TERM)?;
    ensure!(node.wait_exit().await?.success(), "SIGTERM");
    let kept: Vec<_> =
        std::fs::read_dir(node.data_dir().join("sources"))?.flatten().map(|file| file.path()).collect();
    ensure!(kept.is_empty(), "{kept:?}");
    node.start().await?;
    let second = wait_live(&node).await?;
    ensure!(second.len() == first.len(), "{second:?}");
    ensure!(second[0]["url"] != first[0]["url"], "the port is the same: {}", second[0]["url"]);
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_empty_without_it() -> Result<()> {
    let mut node = Plan::new().start().await?;
    ensure!(sources(&node).await?.is_empty(), "sources from nowhere");
    node.stop().await
}
