//! The sources of other nodes: seen on every node, by name and all together, masked, and never changed from there.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::mesh::{Mesh, PATIENCE};
use e2e::node::{binary, clean_command};
use rustix::process::Signal;
use serde_json::{Value, json};

/// What must not be seen on another node.
const CANARY: &str = "canary-of-the-source";

async fn add(mesh: &Mesh, number: usize, name: &str) -> Result<()> {
    let body = json!({
        "name": name, "kind": "rest", "url": format!("https://feed.example/{name}?key={CANARY}"),
        "topic": "t", "paused": true, "headers": { "X-Key": CANARY },
    });
    mesh.http(number)?.send("POST", "/api/v1/sources", &[], &body.to_string()).await?.ensure(201)?;
    Ok(())
}

/// Each source as `node/name`.
fn names(list: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let sources = list["sources"].as_array().into_iter().flatten();
    sources.map(|source| format!("{}/{}", word(&source["node"]["name"]), word(&source["name"]))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_the_sources_of_all_nodes() -> Result<()> {
    let mut mesh = Mesh::start("sources", 3, &[]).await?;
    for (number, name) in [(0, "zero"), (1, "one-a"), (1, "one-b"), (2, "two")] {
        add(&mesh, number, name).await?;
    }
    let ids = [mesh.id(0).await?, mesh.id(1).await?, mesh.id(2).await?];
    let http = mesh.http(0)?.with_token(None);
    let one = http.get(&format!("/api/v1/sources?node={}", ids[1])).await?;
    ensure!(names(&one) == ["n1/one-a", "n1/one-b"], "{one}");
    ensure!(one["sources"][0]["node"]["id"] == ids[1].as_str(), "{one}");
    ensure!(one["sources"][0]["status"]["state"] == "paused", "{one}");

    let mut by_id: Vec<_> =
        ids.iter().zip([&["n0/zero"][..], &["n1/one-a", "n1/one-b"], &["n2/two"]]).collect();
    by_id.sort();
    let expected: Vec<&str> = by_id.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    for (number, id) in ids.iter().enumerate() {
        let all = mesh.http(number)?.get("/api/v1/sources?node=all").await?;
        ensure!(names(&all) == expected, "node {number}: {all}");
        // A node's own secrets are its admin's to see; others' are not.
        for source in all["sources"].as_array().into_iter().flatten() {
            let own = source["node"]["id"] == id.as_str();
            ensure!(source.to_string().contains(CANARY) == own, "node {number}: {source}");
        }
    }

    let (mut seen, mut page) = (Vec::new(), String::new());
    loop {
        let part = http.get(&format!("/api/v1/sources?node=all&limit=1{page}")).await?;
        ensure!(!part.to_string().contains(CANARY), "{part}");
        seen.extend(names(&part));
        let Some(next) = part["next"].as_str() else { break };
        page = format!("&page={next}");
    }
    ensure!(seen == expected, "{seen:?}");

    let two = http.get(&format!("/api/v1/sources/two?node={}", ids[2])).await?;
    ensure!(two["node"]["name"] == "n2" && two["name"] == "two" && two.get("unreachable").is_none(), "{two}");
    http.send("GET", &format!("/api/v1/sources/zero?node={}", ids[2]), &[], "").await?.ensure(404)?;
    let mut command = clean_command(&binary()?);
    let said = command.args(["source", "list", "--peer", "all"]).current_dir(mesh.nodes[0].dir()).output()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.contains("one-b") && said.contains("n2"), "{said}");
    ensure_names_the_silent(&mut mesh, &ids).await?;
    mesh.stop().await
}

/// A node that does not answer is named in time, and the others are shown.
async fn ensure_names_the_silent(mesh: &mut Mesh, ids: &[String; 3]) -> Result<()> {
    mesh.nodes[2].signal(Signal::STOP)?;
    let began = Instant::now();
    let all = mesh.http(0)?.get("/api/v1/sources?node=all").await;
    let took = began.elapsed();
    mesh.nodes[2].signal(Signal::CONT)?;
    let all = all?;
    ensure!(took < Duration::from_secs(6), "{took:?}");
    ensure!(all["unreachable"][0]["id"] == ids[2].as_str() && names(&all).len() == 3, "{all}");
    ensure!(all["unreachable"][0]["detail"].as_str().is_some_and(|why| why.contains("3 s")), "{all}");
    mesh.until_whole(PATIENCE).await?;
    Ok(())
}
