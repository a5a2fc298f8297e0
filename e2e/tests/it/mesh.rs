//! The mesh from outside: several nodes that lose, find and repair each other while records flow.

mod spread;
mod shapes;
mod kills;
mod whole;
mod replicated;
mod late;
mod below;
mod healing;
mod presence;
mod apart;
mod discovery;
mod addresses;
mod nat;
mod twins;
mod versions;
mod sources;
mod hostile;
mod javascript;
mod many;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::checker::{Owed, Seen, ensure_sound};
use e2e::mesh::Mesh;
use e2e::node::Node;
use e2e::place::Form;
use e2e::reader::Reader;
use e2e::words::Id;
use serde_json::json;
use tokio::sync::watch;

/// How long records may take to be everywhere; generous, for machines that do much beside.
const EVERYWHERE: Duration = Duration::from_secs(45);

/// Publishes a last record on each node.
async fn publish_ends(mesh: &Mesh, owed: &mut Owed) -> Result<()> {
    for number in 0..mesh.nodes.len() {
        let key = format!("end-{number}");
        let answer =
            mesh.http(number)?.publish(&json!({ "topic": "load.end", "payload": { "k": key } })).await?;
        owed.acked.insert(Id::parse(answer["ids"][0].as_str().context("no id")?)?, key);
    }
    Ok(())
}

/// Every node gives a new subscriber all that is owed, in order and without a gap.
async fn ensure_everywhere(mesh: &Mesh, owed: &Owed) -> Result<()> {
    for (number, form) in
        (0..mesh.nodes.len()).zip([Form::Object, Form::Opaque, Form::Seqs].into_iter().cycle())
    {
        let (_tell, target) = watch::channel(Some(mesh.door(number)?));
        let seen = Reader::start(form, &target)
            .finish_all(owed, EVERYWHERE)
            .await
            .with_context(|| format!("node {number}"))?;
        ensure_whole(&format!("node {number}"), owed, &seen)?;
    }
    Ok(())
}

/// All that is owed was seen once, in order, and no gap was told of.
fn ensure_whole(who: &str, owed: &Owed, seen: &[Seen]) -> Result<()> {
    ensure_sound(who, owed, seen)?;
    let gap = seen.iter().find(|one| matches!(one, Seen::Gap { .. }));
    ensure!(gap.is_none(), "{who} was told a gap where nothing is missing: {gap:?}");
    Ok(())
}

/// Waits until a node has a record.
async fn until_there(node: &Node, id: &Id) -> Result<()> {
    let until = Instant::now() + EVERYWHERE;
    while node.http()?.send("GET", &format!("/api/v1/records/{id}"), &[], "").await?.status != 200 {
        ensure!(Instant::now() < until, "{id} never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
