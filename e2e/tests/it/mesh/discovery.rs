//! Nodes that were told of nobody find each other: on one machine by their ports, on one network by mDNS, after a restart by
//! what they know from before.
//!
//! The first two look for neighbours, so they run in network namespaces of their own, which only root can make.

use std::time::Instant;

use anyhow::{Result, ensure};
use e2e::mesh::{Mesh, Namespace, PATIENCE, ip, is_inside, run_inside, until_whole};
use e2e::node::Plan;
use e2e::process::is_root;
use e2e::scale;

/// Runs a test in a network namespace of its own, unless this is that run; says whether the test is over for the caller.
pub(super) fn alone(test: &str) -> Result<bool> {
    if is_inside() {
        return Ok(false);
    }
    if is_root() {
        run_inside(test)?;
    } else {
        scale::say(&format!("SKIPPED {test}: only root makes network namespaces"));
    }
    Ok(true)
}

/// A node with none of the settings that keep tests apart.
fn plain() -> Plan {
    ["ANODE_NETWORK", "ANODE_P2P", "ANODE_NO_MDNS"].into_iter().fold(Plan::new(), Plan::without_env)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_neighbours_on_one_machine_by_their_ports() -> Result<()> {
    if alone("mesh::discovery::it_finds_neighbours_on_one_machine_by_their_ports")? {
        return Ok(());
    }
    let (mut one, mut other, mut third) =
        (plain().start().await?, plain().start().await?, plain().start().await?);
    let took = until_whole(&[&one, &other, &third], PATIENCE).await?;
    scale::say(&format!("three nodes on trial found each other {took:?} after the last was ready"));
    let answer = one.http()?.publish_numbered("trial", "t", 0..10, 10).await?;
    super::until_there(&third, &answer[9].0).await?;
    third.stop().await?;
    other.stop().await?;
    one.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_neighbours_on_one_network_by_mdns() -> Result<()> {
    if alone("mesh::discovery::it_finds_neighbours_on_one_network_by_mdns")? {
        return Ok(());
    }
    let there = Namespace::new()?;
    ip(&format!("link add here type veth peer name there netns {}", there.pid()))?;
    ip("addr add 10.77.0.1/24 dev here")?;
    ip("link set here up")?;
    there.run(&["ip", "addr", "add", "10.77.0.2/24", "dev", "there"])?;
    there.run(&["ip", "link", "set", "there", "up"])?;
    // Multicast goes by the default route.
    ip("route add default dev here")?;
    there.run(&["ip", "route", "add", "default", "dev", "there"])?;
    let wrapper = there.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let mut one = plain().args(&["--network", "mdns"]).start().await?;
    let other = plain().args(&["--network", "mdns", "--http", "10.77.0.2:0"]).wrapper(&wrapper).start();
    let mut other = other.await?;
    let began = Instant::now();
    until_whole(&[&one, &other], PATIENCE).await?;
    scale::say(&format!("two nodes found each other by mDNS {:?} after the last was ready", began.elapsed()));
    let answer = one.http()?.publish_numbered("mdns", "t", 0..10, 10).await?;
    super::until_there(&other, &answer[9].0).await?;
    other.stop().await?;
    one.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_its_peers_again_by_itself() -> Result<()> {
    let mut mesh = Mesh::start("known", 2, &[]).await?;
    for node in &mut mesh.nodes {
        node.stop().await?;
        ensure!(node.data_dir().join("peers.json").exists(), "no file of known peers");
    }
    // Nobody is told of anybody any more.
    mesh.forget_bootstrap();
    for node in &mut mesh.nodes {
        node.start().await?;
    }
    let took = mesh.until_whole(PATIENCE).await?;
    scale::say(&format!(
        "two nodes that know each other from before found each other {took:?} after both were ready"
    ));
    mesh.stop().await
}
