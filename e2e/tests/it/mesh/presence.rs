//! Who left, died, fell silent or came back is known in time.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::mesh::{Mesh, PATIENCE, until_event, until_state};
use e2e::scale;
use rustix::process::Signal;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_knows_in_time_who_left_died_and_came_back() -> Result<()> {
    let mut mesh = Mesh::start("presence", 3, &[]).await?;
    let ids = [mesh.id(0).await?, mesh.id(1).await?, mesh.id(2).await?];

    mesh.nodes[2].kill()?;
    let killed = Instant::now();
    until_state(&mesh.nodes[0], &ids[2], "suspect", Duration::from_secs(5)).await?;
    let suspect = killed.elapsed();
    until_state(&mesh.nodes[0], &ids[2], "dead", Duration::from_secs(12)).await?;
    let dead = killed.elapsed();
    until_state(&mesh.nodes[1], &ids[2], "dead", Duration::from_secs(12)).await?;
    scale::say(&format!("kill -9: suspect after {suspect:?}, dead after {dead:?}"));
    ensure!(suspect < Duration::from_secs(3), "suspect only after {suspect:?}");
    ensure!(dead < Duration::from_secs(10), "dead only after {dead:?}");
    until_event(&mesh.nodes[0], "peer_dead", &ids[2], PATIENCE).await?;

    mesh.nodes[2].start().await?;
    let back = until_state(&mesh.nodes[0], &ids[2], "alive", PATIENCE).await?;
    scale::say(&format!("back: alive {back:?} after it was ready"));
    ensure!(back < Duration::from_secs(5), "alive only after {back:?}");
    mesh.until_whole(PATIENCE).await?;

    mesh.nodes[2].signal(Signal::TERM)?;
    let told = Instant::now();
    until_state(&mesh.nodes[0], &ids[2], "left", Duration::from_secs(5)).await?;
    until_state(&mesh.nodes[1], &ids[2], "left", Duration::from_secs(5)).await?;
    scale::say(&format!("SIGTERM: left after {:?}", told.elapsed()));
    ensure!(mesh.nodes[2].wait_exit().await?.success(), "SIGTERM did not end the node cleanly");
    // It does not count as dead later.
    let events = mesh.http(0)?.get("/api/v1/events").await?;
    let dead = events["events"].as_array().into_iter().flatten().filter(|event| event["kind"] == "peer_dead");
    ensure!(dead.count() == 1, "{events}");
    mesh.nodes[2].start().await?;
    until_state(&mesh.nodes[1], &ids[2], "alive", PATIENCE).await?;
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_knows_in_time_who_fell_silent() -> Result<()> {
    let mut mesh = Mesh::start("silent", 2, &[]).await?;
    let id = mesh.id(1).await?;
    mesh.nodes[1].signal(Signal::STOP)?;
    let stopped = Instant::now();
    let suspect = until_state(&mesh.nodes[0], &id, "suspect", Duration::from_secs(9)).await;
    let suspect = suspect.map(|_| stopped.elapsed());
    let dead = until_state(&mesh.nodes[0], &id, "dead", Duration::from_secs(14)).await;
    let dead = dead.map(|_| stopped.elapsed());
    mesh.nodes[1].signal(Signal::CONT)?;
    let (suspect, dead) = (suspect?, dead?);
    scale::say(&format!("SIGSTOP: suspect after {suspect:?}, dead after {dead:?}"));
    ensure!(dead < Duration::from_secs(11), "dead only after {dead:?}");
    let back = until_state(&mesh.nodes[0], &id, "alive", PATIENCE).await?;
    scale::say(&format!("SIGCONT: alive after {back:?}"));
    mesh.until_whole(PATIENCE).await?;
    mesh.stop().await
}
