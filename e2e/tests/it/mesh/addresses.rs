//! Addresses that move, that are a node's own, or that nobody reaches.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::checker::Owed;
use e2e::mesh::{self, Mesh, Namespace, PATIENCE, until_whole};
use e2e::names::Names;
use e2e::node::{Node, Plan};
use e2e::relay::Relay;
use e2e::scale;
use e2e::sniffer::Sniffer;
use e2e::spaces;
use tokio::time::sleep;

use super::discovery::alone;
use super::{ensure_everywhere, publish_ends, until_there};

/// The port of all peers where each has an address of its own.
const PORT: u16 = 4100;

/// A node that listens for peers at one address.
async fn at(ip: Ipv4Addr, more: &[&str]) -> Result<Node> {
    let listen = format!("/ip4/{ip}/tcp/{PORT}");
    Plan::new().args(&["--network", "names", "--p2p", &listen]).args(more).start().await
}

fn loopback(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

async fn ensure_joined(what: &str, newcomer: &Node, one: &Node) -> Result<()> {
    let took = until_whole(&[newcomer, one], PATIENCE).await.context(what.to_owned())?;
    let published = newcomer.http()?.publish_numbered("names", what, 0..1, 10).await?;
    until_there(one, &published[0].0).await?;
    scale::say(&format!("{what}: joined after {took:?}"));
    Ok(())
}

/// Names are looked up at each dial: what was once said of them, and for how long, does not count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_follows_a_name_to_where_its_node_moved() -> Result<()> {
    let Some(space) = spaces::enter("mesh::addresses::it_follows_a_name_to_where_its_node_moved")? else {
        return Ok(());
    };
    space.ask_name_server()?;
    let names = Names::start(SocketAddr::from(([127, 0, 0, 1], 53))).await?;
    let mut one = at(loopback(9), &["--bootstrap", &format!("/dns4/boot.example/tcp/{PORT}")]).await?;
    let until = Instant::now() + PATIENCE;
    while names.asked("boot.example") < 2 {
        ensure!(Instant::now() < until, "a name that is not known is not asked for again");
        sleep(Duration::from_millis(20)).await;
    }
    // Nobody is there yet either.
    names.say("boot.example", &[loopback(2)]);
    let asked = names.asked("boot.example");
    while names.asked("boot.example") == asked {
        ensure!(Instant::now() < until, "a name is not asked for again");
        sleep(Duration::from_millis(20)).await;
    }
    for last in [3, 4] {
        let mut newcomer = at(loopback(last), &[]).await?;
        names.say("boot.example", &[loopback(last)]);
        ensure_joined(&format!("the name server says 127.0.0.{last}"), &newcomer, &one).await?;
        newcomer.stop().await?;
    }
    let mut newcomer = at(loopback(5), &[]).await?;
    space.name([("boot.example", loopback(5).into())])?;
    ensure_joined("the file of hosts says 127.0.0.5", &newcomer, &one).await?;
    newcomer.stop().await?;
    one.stop().await
}

/// One name for all nodes, as orchestrators give: it leads each node to itself, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_passes_over_itself_behind_a_name_that_nodes_share() -> Result<()> {
    let test = "mesh::addresses::it_passes_over_itself_behind_a_name_that_nodes_share";
    let Some(space) = spaces::enter(test)? else {
        return Ok(());
    };
    space.ask_name_server()?;
    let names = Names::start(SocketAddr::from(([127, 0, 0, 1], 53))).await?;
    // The first one's own address comes first and last, and the second knows nobody.
    names.say("nodes.example", &[loopback(2), loopback(3), loopback(2)]);
    let sniffer = Sniffer::listen(PORT)?;
    let mut other = at(loopback(3), &[]).await?;
    let mut one = at(loopback(2), &["--bootstrap", &format!("/dns/nodes.example/tcp/{PORT}")]).await?;
    ensure_joined("one name for two nodes", &one, &other).await?;
    let asked = sniffer.asked();
    ensure!(!asked.contains_key(&loopback(2).into()), "a node dialled itself: {asked:?}");
    one.stop().await?;
    other.stop().await
}

/// A node's own addresses are not dialled: where it listens, what it announces, and what turned out to lead to itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_not_dial_itself() -> Result<()> {
    if alone("mesh::addresses::it_does_not_dial_itself")? {
        return Ok(());
    }
    let here = SocketAddr::from(([127, 0, 0, 1], PORT));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (announced, hidden) = (Relay::start(any, here).await?, Relay::start(any, here).await?);
    let tcp = |port: u16| format!("/ip4/127.0.0.1/tcp/{port}");
    let (listened, told, unknown) =
        (tcp(PORT), tcp(announced.address().port()), tcp(hidden.address().port()));
    let sniffer = Sniffer::listen(PORT)?;
    let mut one = Plan::new()
        .args(&["--network", "itself", "--p2p", &listened, "--announce", &told])
        .args(&["--bootstrap", &listened, "--bootstrap", &told, "--bootstrap", &unknown])
        .start()
        .await?;
    let until = Instant::now() + PATIENCE;
    while hidden.came() == 0 {
        ensure!(Instant::now() < until, "a bootstrap address is not dialled");
        sleep(Duration::from_millis(20)).await;
    }
    // A dial that failed would be tried again after one, two and four seconds.
    sleep(Duration::from_secs(6)).await;
    ensure!(announced.came() == 0, "its announced address was dialled {} times", announced.came());
    ensure!(hidden.came() == 1, "an address that leads to itself was dialled {} times", hidden.came());
    let asked: u64 = sniffer.asked().values().sum();
    // Each packet is seen twice on loopback, and the one is the relay's.
    ensure!(asked <= 2, "its own address was dialled: {asked} packets asked for a connection");
    ensure!(!one.log().contains("could not be reached"), "{}", one.log_tail());
    // What it announces is what others are told, and it leads to it.
    let named = format!("{told}/p2p/{}", mesh::id(&one).await?);
    let status = one.http()?.get("/api/v1/status").await?;
    ensure!(status["node"]["addresses"] == serde_json::json!([named]), "{}", status["node"]);
    let mut other = Plan::new()
        .args(&["--network", "itself", "--p2p", "/ip4/127.0.0.1/tcp/0", "--bootstrap", &named])
        .start()
        .await?;
    until_whole(&[&one, &other], PATIENCE).await?;
    let peers = mesh::peers(&other).await?;
    ensure!(peers[0]["addresses"] == serde_json::json!([named]), "{peers:?}");
    other.stop().await?;
    one.stop().await
}

/// A node that announces where nobody reaches it dials the others itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_lives_with_an_address_that_nobody_reaches() -> Result<()> {
    if alone("mesh::addresses::it_lives_with_an_address_that_nobody_reaches")? {
        return Ok(());
    }
    // What goes there is swallowed in silence.
    let hole = Namespace::new()?;
    mesh::ip(&format!("link add here type veth peer name there netns {}", hole.pid()))?;
    mesh::ip("addr add 10.77.0.1/24 dev here")?;
    mesh::ip("link set here up")?;
    hole.run(&["ip", "addr", "add", "10.77.0.2/24", "dev", "there"])?;
    hole.run(&["ip", "link", "set", "there", "up"])?;
    mesh::ip("route add 192.0.2.0/24 via 10.77.0.2")?;
    let sniffer = Sniffer::listen(PORT)?;
    let mut mesh = Mesh::new("unreached");
    let announce = format!("/ip4/192.0.2.1/tcp/{PORT}");
    mesh.add(&[], &[]).await?;
    mesh.add(&[0], &[]).await?;
    mesh.add(&[0], &["--announce", &announce]).await?;
    let took = mesh.until_whole(PATIENCE).await?;
    scale::say(&format!(
        "three nodes, of which one announces what nobody reaches, are a mesh after {took:?}"
    ));
    // Neither is anything late for those who go on trying.
    let mut owed = Owed::default();
    mesh.nodes[1].stop().await?;
    mesh.nodes[1].start().await?;
    mesh.until_whole(PATIENCE).await?;
    publish_ends(&mesh, &mut owed).await?;
    ensure_everywhere(&mesh, &owed).await?;
    scale::say(&format!("asked for meanwhile: {:?}", sniffer.asked()));
    mesh.stop().await
}
