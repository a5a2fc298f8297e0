//! The mesh on the page: who is there and how, a picture, what happened, and the sources of others.

use anyhow::{Context as _, Result, ensure};
use e2e::browser::Browser;
use e2e::browser::roles::Name;
use e2e::market::{Kind, Market};
use e2e::mesh::{Mesh, PATIENCE, until_state};
use e2e::node::{Node, Plan};
use rustix::process::Signal;

use super::{at, ensure_quiet, visit};

/// Waits until the row of a node says all of these words, and gives its text.
async fn node(browser: &Browser, name: &str, words: &[&str]) -> Result<String> {
    let first = format!("{name}\n");
    let words: Vec<&str> = [first.as_str()].iter().chain(words).copied().collect();
    browser.says("row", Name::Any, &words).await.with_context(|| format!("the row of {name}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_a_node_that_is_alone_how_to_start_a_second() -> Result<()> {
    let mut alone = Plan::new().start().await?;
    let browser = at(&alone, "/").await?;
    let facts = browser.find("region", "Node").await?;
    browser.click_in(Some(&facts), "link", "1 alive").await?;
    browser.says("heading", "Mesh", &[]).await?;
    browser
        .says("region", "A second node", &["This node is alone.", "anode run --data-dir anode-data-2"])
        .await?;
    browser.says("row", Name::Any, &["this node", "Alive"]).await?;
    browser.look("mesh-alone").await?;
    ensure_quiet(&browser).await?;
    browser.close().await?;
    alone.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_who_is_there_who_died_and_who_left() -> Result<()> {
    let market = Market::start(2, 4.0).await?;
    let mut mesh = Mesh::start("page", 3, &["--allow-private-sources", &market.allowed()]).await?;
    let ids = [mesh.id(0).await?, mesh.id(1).await?, mesh.id(2).await?];
    mesh.http(1)?.add_source(&Kind::Sse.source("elsewhere", &market, 0)).await?;
    let browser = at(&mesh.nodes[0], "/mesh").await?;
    node(&browser, "n0", &["this node", "Alive"]).await?;
    for other in ["n1", "n2"] {
        node(&browser, other, &["Alive", "0.1.0", " ms", "up to date"]).await?;
    }
    node(&browser, "n1", &["1 source"]).await?;
    let picture = browser.find("region", "Picture").await?;
    for dot in ["n0: alive, this node", "n1: alive", "n2: alive"] {
        browser.find_in(Some(&picture), "link", dot).await?;
    }
    let links =
        "return [...document.querySelectorAll('.links title')].map(e => e.textContent.split(':')[0]).join()";
    let drawn = browser.run(links).await?;
    ensure!(drawn == "n1 – n0,n2 – n0,n2 – n1", "links: {drawn}");
    browser.says("region", "Recent events", &["n1", "joined the mesh", "ago"]).await?;
    detail(&browser, &ids[1]).await?;
    others_sources(&browser).await?;
    dies_and_comes_back(&browser, &mut mesh, &ids[2]).await?;

    mesh.nodes[1].signal(Signal::TERM)?;
    node(&browser, "n1", &["Left"]).await?;
    browser.says("region", "Recent events", &["n1", "left the mesh"]).await?;
    browser.look("mesh-left").await?;
    ensure!(mesh.nodes[1].wait_exit().await?.success(), "SIGTERM");
    until_state(&mesh.nodes[0], &ids[1], "left", PATIENCE).await?;
    ensure_quiet(&browser).await?;
    gone_and_back(&browser, &mut mesh.nodes[0]).await?;
    browser.close().await?;
    mesh.nodes[0].stop().await?;
    mesh.nodes[2].stop().await
}

/// What is said besides of a node that is chosen in the picture, by keyboard.
async fn detail(browser: &Browser, id: &str) -> Result<()> {
    browser.run(&format!("document.querySelector('.mesh a[href$=\"{id}\"]').focus()")).await?;
    browser.key_at("link", "n1: alive", "Enter").await?;
    browser.says("row", Name::Any, &[id, "/ip4/127.0.0.1/tcp/", "n0", "n2"]).await?;
    let chosen = browser.find("link", "n1").await?;
    ensure!(chosen.is("expanded"), "the row does not say that it is open");
    let focused = browser.run("return document.activeElement.textContent").await?;
    ensure!(focused == "n1", "the focus is at {focused}");
    let address = browser.run("return location.pathname + location.search").await?;
    ensure!(address == format!("/mesh?node={id}"), "{address}");
    let lines = browser
        .run("return document.querySelector('.links .chosen').getAttribute('d').split('M').length - 1")
        .await?;
    ensure!(lines == 2, "{lines} links of the chosen node stand out");
    browser.look("mesh-three").await
}

/// From a node to its sources, which are shown and cannot be changed.
async fn others_sources(browser: &Browser) -> Result<()> {
    browser.click("link", "Its sources").await?;
    browser.says("row", Name::Any, &["elsewhere", "n1", "Live"]).await?;
    let buttons = browser.all(None, "button", Name::Begins("Actions for")).await?;
    ensure!(buttons.is_empty(), "a source of another node can be changed");
    browser.look("sources-elsewhere").await?;
    visit(browser, "Mesh").await
}

async fn dies_and_comes_back(browser: &Browser, mesh: &mut Mesh, id: &str) -> Result<()> {
    mesh.nodes[2].kill()?;
    node(browser, "n2", &["Suspect"]).await?;
    browser.find("link", "n2: suspect").await?;
    browser.says("region", "Recent events", &["n2", "is silent, or its connection closed"]).await?;
    node(browser, "n2", &["Dead"]).await?;
    browser.find("link", "n2: dead").await?;
    browser.says("status", Name::Any, &["2 alive, 1 dead"]).await?;
    browser.says("region", "Recent events", &["n2", "counts as dead"]).await?;
    // It holds what it must fetch when it is back.
    mesh.http(1)?.publish_numbered("page.later", "later", 0..500, 100).await?;
    browser.look("mesh-dead").await?;
    mesh.nodes[2].start().await?;
    node(browser, "n2", &["Alive"]).await?;
    browser.says("region", "Recent events", &["n2", "is back"]).await?;
    until_state(&mesh.nodes[0], id, "alive", PATIENCE).await.map(drop)
}

/// The connection to the node is lost: what was known stays, and is said to be old.
async fn gone_and_back(browser: &Browser, seen: &mut Node) -> Result<()> {
    seen.kill()?;
    browser.says("main", Name::Any, &["Not connected: what is shown is"]).await?;
    node(browser, "n2", &["Alive"]).await?;
    browser.look("mesh-offline").await?;
    seen.start().await?;
    browser.log().await.map(drop)
}
