//! A node behind a router that lets nothing in: it is of the mesh by the way out alone, and by a forwarded port it is reached.
//!
//! The test's own network namespace is the router. It forwards no packets; what crosses it does so by relays, which make each
//! connection anew from the router's own address, as address translation does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::mesh::{self, Namespace, PATIENCE, ip, until_event, until_state, until_whole};
use e2e::node::{Node, Plan};
use e2e::relay::Relay;
use e2e::scale;
use serde_json::json;

use super::discovery::alone;
use super::until_there;

/// A network beside the router's.
fn attach(name: &str, router: &str, host: &str) -> Result<Namespace> {
    let there = Namespace::new()?;
    ip(&format!("link add {name} type veth peer name wire netns {}", there.pid()))?;
    ip(&format!("addr add {router}/24 dev {name}"))?;
    ip(&format!("link set {name} up"))?;
    there.run(&["ip", "addr", "add", &format!("{host}/24"), "dev", "wire"])?;
    there.run(&["ip", "link", "set", "wire", "up"])?;
    Ok(there)
}

async fn start(place: &Namespace, host: &str, port: u16, more: &[&str]) -> Result<Node> {
    let wrapper = place.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    Plan::new()
        .args(&["--network", "nat", "--p2p", &format!("/ip4/{host}/tcp/{port}")])
        .args(&["--http", &format!("{host}:0"), "--name", &format!("{host}:{port}")])
        .args(more)
        .wrapper(&wrapper)
        .start()
        .await
}

async fn forward(from: &str, to: &str) -> Result<Relay> {
    Relay::start(from.parse::<SocketAddr>()?, to.parse::<SocketAddr>()?).await
}

/// The addresses that a node shows of another.
async fn shown(node: &Node, peer: &str) -> Result<Vec<String>> {
    let peers = mesh::peers(node).await?;
    let known = peers.iter().find(|known| known["id"] == peer).context("not known")?;
    let all = known["addresses"].as_array().context("no addresses")?;
    Ok(all.iter().filter_map(|address| Some(address.as_str()?.to_owned())).collect())
}

/// What each says, the other has.
async fn ensure_exchange(one: &Node, other: &Node, name: &str) -> Result<()> {
    for (from, to, who) in [(one, other, "one"), (other, one, "other")] {
        let published = from.http()?.publish_numbered("nat", &format!("{name}-{who}"), 0..3, 10).await?;
        until_there(to, &published[2].0).await.with_context(|| format!("{name}: what {who} said"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_joins_from_behind_a_router_and_is_reached_by_a_forwarded_port() -> Result<()> {
    if alone("mesh::nat::it_joins_from_behind_a_router_and_is_reached_by_a_forwarded_port")? {
        return Ok(());
    }
    let inside = attach("inside", "10.1.0.1", "10.1.0.2")?;
    let outside = attach("outside", "198.51.100.1", "198.51.100.2")?;
    let mut hub = start(&outside, "198.51.100.2", 4001, &[]).await?;
    let mut far =
        start(&outside, "198.51.100.2", 4002, &["--bootstrap", "/ip4/198.51.100.2/tcp/4001"]).await?;
    // What it missed comes by a way that is so slow that it takes seconds, which are told of.
    let missed = hub.http()?.publish_numbered("nat", "missed", 0..300, 10_000).await?;
    let way_out =
        Relay::slow("10.1.0.1:4201".parse()?, "198.51.100.2:4001".parse()?, Duration::from_millis(16))
            .await?;
    let mut hidden = start(&inside, "10.1.0.2", 4001, &["--bootstrap", "/ip4/10.1.0.1/tcp/4201"]).await?;
    let me = mesh::id(&hidden).await?;

    let told = until_event(&hidden, "records_repaired", "were missing here", PATIENCE).await?;
    scale::say(&told);
    for (id, _) in [&missed[0], &missed[299]] {
        until_there(&hidden, id).await?;
    }
    let count = told.split(' ').find_map(|word| word.parse::<usize>().ok()).context("no count")?;
    ensure!(count > 100 && told.contains("nothing is missing now"), "{told}");

    // Linked to the one that it reaches, it knows and is known by the other, and nothing is missing on either.
    until_state(&far, &me, "alive", PATIENCE).await?;
    until_state(&hidden, &mesh::id(&far).await?, "alive", PATIENCE).await?;
    ensure_exchange(&hidden, &far, "by the way out").await?;
    let linked = mesh::peers(&far).await?.into_iter().find(|peer| peer["id"] == me.as_str());
    ensure!(linked.is_some_and(|peer| peer["connected"] == false), "there is another way in");

    // Where it was seen is where others try it: the router's address, with its own port.
    let observed = format!("/ip4/198.51.100.1/tcp/4001/p2p/{me}");
    let until = Instant::now() + PATIENCE;
    while !shown(&far, &me).await?.contains(&observed) {
        ensure!(Instant::now() < until, "not announced: {observed}; {:?}", shown(&far, &me).await?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let began = Instant::now();
    let way_in = forward("198.51.100.1:4001", "10.1.0.2:4001").await?;
    until_whole(&[&hidden, &far, &hub], 2 * PATIENCE).await?;
    ensure!(way_in.came() > 0, "nobody came by the forwarded port");
    scale::say(&format!("reached where it was seen {:?} after its port was forwarded", began.elapsed()));

    // With another port forwarded, it is told what to announce, and announces nothing else.
    hidden.stop().await?;
    drop(way_in);
    let way_in = forward("198.51.100.1:4101", "10.1.0.2:4001").await?;
    let announced = "/ip4/198.51.100.1/tcp/4101";
    let args = ["--network", "nat", "--p2p", "/ip4/10.1.0.2/tcp/4001", "--http", "10.1.0.2:0"];
    hidden
        .set_args(&[&args[..], &["--bootstrap", "/ip4/10.1.0.1/tcp/4201", "--announce", announced]].concat());
    hidden.start().await?;
    let began = Instant::now();
    until_whole(&[&hidden, &far, &hub], 2 * PATIENCE).await?;
    scale::say(&format!("reached where it announces {:?} after it was ready", began.elapsed()));
    ensure!(way_in.came() > 0, "nobody came by the announced address");
    let named = format!("{announced}/p2p/{me}");
    ensure!(shown(&far, &me).await? == [named.as_str()], "{:?}", shown(&far, &me).await?);
    let status = hidden.http()?.get("/api/v1/status").await?;
    ensure!(status["node"]["addresses"] == json!([named]), "{}", status["node"]);
    ensure_exchange(&hidden, &far, "by the forwarded port").await?;

    // A newcomer joins by nothing but that.
    let mut newcomer = start(&outside, "198.51.100.2", 4003, &["--bootstrap", &named]).await?;
    until_whole(&[&hidden, &far, &hub, &newcomer], 2 * PATIENCE).await?;
    ensure_exchange(&newcomer, &hidden, "a newcomer").await?;
    drop(way_out);
    for node in [&mut newcomer, &mut hidden, &mut far, &mut hub] {
        node.stop().await?;
    }
    Ok(())
}
