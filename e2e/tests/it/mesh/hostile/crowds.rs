//! Crowds of visitors, and peers that take connections and close them: honest links stay, and nobody is dialled again and again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::forge::Forger;
use e2e::guest::{Guest, refusing};
use e2e::mesh::{self, Mesh};
use e2e::scale;

use super::Scene;

/// How many visitors come: three times as many as a node has links.
const VISITORS: usize = 60;
/// How long they are watched: by then several links have been dropped, one about every five seconds.
const WATCHED: Duration = Duration::from_secs(25);

/// Visitors of whom half speak of themselves, and know nobody else.
async fn visit(scene: &Scene, network: &str) -> Result<Vec<Guest>> {
    let mut visitors = Vec::new();
    for number in 0..VISITORS {
        let mut forger = Forger::random(network);
        let guest = Guest::join(&forger, &scene.addresses[..1], refusing()).await?;
        if number % 2 == 0 {
            guest.beacon(&forger.beacon(&[], &[])).await?;
        }
        visitors.push(guest);
    }
    Ok(visitors)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_honest_links_whoever_crowds_in() -> Result<()> {
    let mut scene = Scene::begin("crowds").await?;
    let visitors = visit(&scene, "crowds").await?;
    let began = Instant::now();
    while began.elapsed() < WATCHED {
        for node in &scene.mesh.nodes {
            let peers = mesh::peers(node).await?;
            let linked =
                |id: &String| peers.iter().any(|peer| peer["id"] == **id && peer["connected"] == true);
            let linked = scene.ids.iter().filter(|id| linked(id)).count();
            ensure!(linked == 2, "after {:?} a node has {linked} of its 2 honest links", began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let links = scene.gossip(0).await?["links"].as_u64().unwrap_or(0);
    scale::say(&format!("{links} links after {WATCHED:?}, of {VISITORS} visitors and 2 honest peers"));
    ensure!(links < VISITORS as u64, "no visitor was dropped");
    // One who comes late finds its place among them.
    scene.mesh.add(&[0], &[]).await?;
    scene.ids.push(scene.mesh.id(3).await?);
    scene.reach("crowded").await?;
    drop(visitors);
    scene.end().await
}

/// Who takes connections and closes them at once is dialled a few times, and ever less often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_dials_ever_less_often_who_closes_at_once() -> Result<()> {
    let other = Guest::speaking(&Forger::random("closes"), "/anode/1/another").await?;
    let mut mesh = Mesh::new("closes");
    mesh.add(&[], &["--bootstrap", &other.address()?]).await?;
    let id = mesh.id(0).await?;
    other.until_cut(&id, mesh::PATIENCE).await?;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let times = other.cuts(&id)?;
    scale::say(&format!("dialled {times} times within 15 s"));
    ensure!((2..=7).contains(&times), "it was dialled {times} times within 15 s");
    mesh.stop().await
}
