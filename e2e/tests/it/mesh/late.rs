//! Who comes late or was away gets all that the mesh retains.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::checker::{Owed, Seen, ensure_sound};
use e2e::mesh::{Mesh, PATIENCE};
use e2e::place::Form;
use e2e::process::folder_bytes;
use e2e::reader::Reader;
use e2e::scale;

use super::{EVERYWHERE, ensure_everywhere, publish_ends};

async fn fill(
    mesh: &Mesh,
    number: usize,
    owed: &mut Owed,
    name: &str,
    count: usize,
    pad: usize,
) -> Result<()> {
    let name = format!("{name}-{number}");
    owed.acked.extend(mesh.http(number)?.publish_numbered("late.a", &name, 0..count, pad).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_gives_all_to_who_comes_late_or_was_away() -> Result<()> {
    let count = scale::pick(2_000, 20_000);
    let mut mesh = Mesh::start("late", 2, &[]).await?;
    let mut owed = Owed::default();
    for number in 0..2 {
        fill(&mesh, number, &mut owed, "before", count, 100).await?;
    }
    mesh.add(&[1], &[]).await?;
    // It says what is new at once, while it fills what was before.
    let (_tell, target) = mesh.target(2)?;
    let live = Reader::start(Form::Object, &target);
    fill(&mesh, 2, &mut owed, "own", 100, 100).await?;
    let began = Instant::now();
    live.finish_all(&owed, EVERYWHERE).await.context("the late joiner")?;
    scale::say(&format!("a late joiner has {} records after {:?}", owed.acked.len(), began.elapsed()));
    mesh.until_whole(PATIENCE).await?;

    mesh.nodes[2].stop().await?;
    for number in 0..2 {
        fill(&mesh, number, &mut owed, "away", count, 100).await?;
    }
    mesh.nodes[2].start().await?;
    let began = Instant::now();
    publish_ends(&mesh, &mut owed).await?;
    ensure_everywhere(&mesh, &owed).await?;
    scale::say(&format!("one that was away for {} records has them after {:?}", 2 * count, began.elapsed()));
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_settles_with_small_segments_and_retention() -> Result<()> {
    let small = ["--segment-bytes", "1MiB", "--retain-bytes", "8MiB"];
    let mut mesh = Mesh::start("small", 2, &small).await?;
    let mut owed = Owed::default();
    let (_tell, target) = mesh.target(1)?;
    let follower = Reader::start(Form::Object, &target);
    let megabytes = scale::pick(8, 20);
    for part in 0..megabytes {
        for number in 0..2 {
            fill(&mesh, number, &mut owed, &format!("p{part}"), 1_000, 1_000).await?;
        }
    }
    mesh.add(&[0], &small).await?;
    publish_ends(&mesh, &mut owed).await?;
    let began = Instant::now();
    let seen = follower.finish_all(&owed, EVERYWHERE).await?;
    scale::say(&format!("the follower had all after {:?}", began.elapsed()));
    ensure_sound("a follower", &owed, &seen)?;
    for number in 0..3 {
        let (_tell, target) = mesh.target(number)?;
        // The late joiner fills backwards: it is asked once it has all that is left.
        let began = Instant::now();
        settle(&mesh, number).await?;
        scale::say(&format!("node {number} settled after {:?}", began.elapsed()));
        let seen = Reader::start(Form::Seqs, &target)
            .finish_all(&owed, EVERYWHERE)
            .await
            .with_context(|| format!("node {number}"))?;
        ensure_sound(&format!("node {number}"), &owed, &seen)?;
        let records = seen.iter().filter(|one| matches!(one, Seen::Record(..))).count();
        scale::say(&format!("node {number} gave {records} records after {:?}", began.elapsed()));
        let wrong = seen.iter().find(|one| matches!(one, Seen::Gap { reason, .. } if reason != "expired"));
        ensure!(wrong.is_none(), "node {number} told of {wrong:?}");
        ensure!(records >= 4_000, "node {number} has only {records} records of 8 MiB");
        let bytes = folder_bytes(&mesh.nodes[number].data_dir())?;
        ensure!(bytes < 12 << 20, "node {number} keeps {} MiB with 8 MiB retained", bytes >> 20);
    }
    mesh.stop().await
}

/// Waits until a node says that nothing is missing, and goes on saying so: nobody fetches what it would drop again.
async fn settle(mesh: &Mesh, number: usize) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut still = 0;
    let mut last = serde_json::Value::Null;
    while still < 5 {
        let status = mesh.http(number)?.get("/api/v1/status").await?;
        let gossip = &status["components"]["gossip"];
        let quiet = gossip["missing_records"] == 0 && gossip["batches_repaired"] == last;
        still = if quiet { still + 1 } else { 0 };
        last = gossip["batches_repaired"].clone();
        ensure!(Instant::now() < until, "node {number} does not settle: {gossip}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
