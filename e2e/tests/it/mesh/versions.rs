//! Nodes of another version of the protocol are turned away, and whoever asks is told why, on the side that dials and on the other.

use anyhow::{Context as _, Result, ensure};
use e2e::checker::Owed;
use e2e::forge::Forger;
use e2e::guest::{self, Guest};
use e2e::mesh::{self, Mesh, PATIENCE, until_event};
use e2e::scale;

use super::{ensure_everywhere, publish_ends};

/// How often something happened, by the events.
async fn count(mesh: &Mesh, number: usize, kind: &str) -> Result<usize> {
    let page = mesh.http(number)?.get("/api/v1/events").await?;
    Ok(page["events"].as_array().into_iter().flatten().filter(|event| event["kind"] == kind).count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_on_both_sides_why_versions_stay_apart() -> Result<()> {
    let newer = Forger::random("versions");
    let elder = Forger::random("versions");
    let (next, last) = (
        Guest::speaking(&newer, "/anode/2/versions").await?,
        Guest::speaking(&elder, "/anode/0/versions").await?,
    );
    // The first node is dialled by one of them, the second dials the other.
    let mut mesh = Mesh::new("versions");
    mesh.add(&[], &[]).await?;
    mesh.add(&[0], &["--bootstrap", &last.address()?]).await?;
    let ids = [mesh.id(0).await?, mesh.id(1).await?];
    let address = guest::address(&mesh.nodes[0]).await?;
    next.again(&address).await?;
    for (number, guest, forger, version) in [(0, &next, &newer, 2), (1, &last, &elder, 0)] {
        let why = format!("it speaks version {version} of the protocol, this node 1");
        let said = until_event(&mesh.nodes[number], "peer_refused", &why, PATIENCE).await?;
        ensure!(said.contains(&forger.id()) && said.contains("bring both to one version"), "{said}");
        let took = guest.until_cut(&ids[number], PATIENCE).await?;
        // The other side is told enough to say the same.
        let speaks = guest.speech_of(&ids[number])?.context("the node never said what it speaks")?;
        ensure!(speaks == "/anode/1/versions", "it says that it speaks {speaks}");
        scale::say(&format!("{said} (gone {took:?} later)"));
    }
    // It may try for ever; it is told of once, and nothing that it says is taken.
    next.again(&address).await?;
    let mut owed = Owed::default();
    mesh.until_whole(PATIENCE).await?;
    publish_ends(&mesh, &mut owed).await?;
    ensure_everywhere(&mesh, &owed).await?;
    for (number, node) in mesh.nodes.iter().enumerate() {
        let peers = mesh::peers(node).await?;
        ensure!(peers.len() == 1 && peers[0]["id"] == ids[1 - number].as_str(), "{peers:?}");
        let told = count(&mesh, number, "peer_refused").await?;
        ensure!(told == 1, "node {number} told {told} times of who was turned away");
    }
    mesh.stop().await
}
