//! Topics and the newest record of each, where only the archive still has them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cassandra_dev::unique_keyspace;
use e2e::cassandra::shared;
use e2e::node::{Node, Plan};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::archive::until_archived;
use crate::outage::until_connected;

/// The topics that a node lists, over pages of so many.
async fn topics(node: &Node, limit: usize) -> Result<Vec<Value>> {
    let (mut all, mut page) = (Vec::new(), String::new());
    loop {
        let list = node.http()?.get(&format!("/api/v1/topics?limit={limit}{page}")).await?;
        ensure!(list["left_out"].is_null(), "{list}");
        let topics = list["topics"].as_array().context("no topics")?;
        ensure!(topics.len() <= limit, "{} topics of {limit}", topics.len());
        all.extend(topics.iter().cloned());
        let Some(next) = list["next"].as_str() else { return Ok(all) };
        page = format!("&page={next}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_lists_topics_of_the_archive_that_the_store_does_not_hold() -> Result<()> {
    let (address, keyspace) = (shared().await?, unique_keyspace("topics"));
    let with = ["--cassandra", &address, "--cassandra-keyspace", &keyspace];
    let mut node = Plan::new().args(&with).start().await?;
    until_connected(&node).await?;
    let record = |i: usize| json!({ "topic": format!("list.t{i:04}"), "payload": i });
    for start in (0..1_200).step_by(400) {
        node.http()?.publish(&(start..start + 400).map(record).collect()).await?;
    }
    node.http()?
        .send("POST", "/api/v1/records?ack=archived", &[], r#"{"topic":"list.t0000","payload":"new"}"#)
        .await?
        .ensure(200)?;
    until_archived(&node).await?;
    // The newest records are written once a second.
    sleep(Duration::from_millis(1_500)).await;
    let expected = topics(&node, 10_000).await?;
    ensure!(expected.len() == 1_200 && expected[0]["count"] == 2, "{} topics", expected.len());
    node.stop().await?;

    // Another node with nothing of its own knows them all, and puts its own among them.
    let mut fresh = Plan::new().args(&with).start().await?;
    until_connected(&fresh).await?;
    fresh
        .http()?
        .publish(&json!([{ "topic": "list.t0500x", "payload": 1 }, { "topic": "list.t0700", "payload": 1 }]))
        .await?;
    for limit in [10_000, 100] {
        let found = topics(&fresh, limit).await?;
        let names: Vec<&str> = found.iter().filter_map(|topic| topic["topic"].as_str()).collect();
        let mut wanted: Vec<&str> = expected.iter().filter_map(|topic| topic["topic"].as_str()).collect();
        wanted.insert(501, "list.t0500x");
        ensure!(names == wanted, "{} topics instead of {}, {limit} at once", names.len(), wanted.len());
        for (number, topic) in found.iter().filter(|topic| topic["topic"] != "list.t0500x").enumerate() {
            let (here, before) = (topic["last_record"].as_str(), expected[number]["last_record"].as_str());
            if topic["topic"] == "list.t0700" {
                ensure!(topic["count"] == 1 && here > before, "{topic}, there was {before:?}");
            } else {
                ensure!(topic["count"] == 0 && here == before, "{topic} is not of {before:?}");
            }
        }
    }
    fresh.stop().await
}
