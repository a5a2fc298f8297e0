//! Damage to one node's files is repaired from its peer: nothing wrong is ever served, and nothing is lost.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::checker::Owed;
use e2e::mesh::{Mesh, PATIENCE};
use e2e::place::Form;
use e2e::process::files;
use e2e::reader::Reader;
use e2e::scale;
use tokio::time::sleep;

use super::{EVERYWHERE, ensure_whole};

/// The files of a node that hold records, but for the newest, which is written to.
fn sealed(mesh: &Mesh, number: usize) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = files(&mesh.nodes[number].data_dir())?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "segment"))
        .collect();
    found.sort();
    found.pop();
    Ok(found)
}

/// Flips so many bits of a file, spread over all of it.
fn flip(path: &PathBuf, count: usize, random: &mut impl rand::Rng) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let part = bytes.len() / count;
    for number in 0..count {
        let at = number * part + random.random_range(0..part);
        bytes[at] ^= 1 << random.random_range(0..8);
    }
    // In place: a running node has it open.
    let file = fs::OpenOptions::new().write(true).open(path)?;
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0)?;
    Ok(())
}

async fn ensure_all(mesh: &Mesh, number: usize, owed: &Owed, what: &str) -> Result<()> {
    let (_tell, target) = mesh.target(number)?;
    let began = Instant::now();
    let seen =
        Reader::start(Form::Seqs, &target).finish_all(owed, EVERYWHERE).await.context(what.to_owned())?;
    scale::say(&format!("{what}: all seen after {:?}", began.elapsed()));
    ensure_whole(what, owed, &seen)
}

async fn damaged(mesh: &Mesh, number: usize) -> Result<u64> {
    let status = mesh.http(number)?.get("/api/v1/status").await?;
    let store = &status["components"]["store"];
    store["damaged"].as_u64().with_context(|| format!("no count of damage in {store}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_repairs_damage_from_a_peer() -> Result<()> {
    let mut random = scale::random("healing");
    let mut mesh = Mesh::start("healing", 2, &["--segment-bytes", "1MiB"]).await?;
    let mut owed = Owed::default();
    for part in 0..3 {
        for number in 0..2 {
            let name = format!("p{part}-{number}");
            owed.acked.extend(mesh.http(number)?.publish_numbered("heal.a", &name, 0..1_000, 1_000).await?);
        }
    }
    for number in 0..2 {
        ensure_all(&mesh, number, &owed, "before").await?;
    }
    mesh.nodes[1].stop().await?;
    let hurt = sealed(&mesh, 1)?;
    ensure!(hurt.len() >= 4, "{hurt:?}");
    flip(&hurt[0], 3, &mut random)?;
    flip(&hurt[1], 1, &mut random)?;
    mesh.nodes[1].start().await?;
    mesh.until_whole(PATIENCE).await?;
    ensure_all(&mesh, 1, &owed, "after damage to a stopped node").await?;
    let found = damaged(&mesh, 1).await?;
    ensure!(found > 0, "the damage is not counted");
    // Of its own log too, and while it runs.
    for number in [1, 0] {
        flip(&sealed(&mesh, number)?[2], 3, &mut random)?;
        ensure_all(&mesh, number, &owed, &format!("after damage to node {number} while it runs")).await?;
        ensure!(
            damaged(&mesh, number).await? > if number == 1 { found } else { 0 },
            "new damage is not counted"
        );
    }
    // What was repaired is here for good.
    until_synced(&mesh).await?;
    mesh.nodes[0].stop().await?;
    mesh.nodes[1].stop().await?;
    mesh.nodes[1].start().await?;
    ensure_all(&mesh, 1, &owed, "alone, after a restart").await?;
    mesh.nodes[1].stop().await?;
    Ok(())
}

/// Waits until nothing is missing on either node.
async fn until_synced(mesh: &Mesh) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    for number in 0..2 {
        loop {
            let status = mesh.http(number)?.get("/api/v1/status").await?;
            let gossip = &status["components"]["gossip"];
            if gossip["missing_records"] == 0 {
                break;
            }
            ensure!(Instant::now() < until, "node {number} still lacks records: {gossip}");
            sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}
