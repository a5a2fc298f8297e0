//! `docker-compose.yml` as it is, on a real Docker engine: the demo mesh from its first start to its end.

mod project;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::browser::roles::Name;
use e2e::browser::{Browser, SCREENS};
use e2e::http::Http;
use e2e::words::percent;
use serde_json::{Value, json};
use tokio::time::sleep;

use project::Project;

/// What the issue of the demo mesh promises: all sources are live so long after the images are there.
const LIVE: Duration = Duration::from_secs(120);
/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Sources of the demo, one topic each.
const SOURCES: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it needs a Docker engine: `cargo xtask demo-mesh`, or `cargo xtask test --all`"]
async fn it_runs_the_demo_mesh() -> Result<()> {
    let project = Project::new()?;
    let nodes = start(&project).await?;
    closed(&project, &nodes).await?;
    everywhere(&project, &nodes).await?;
    page(&project).await?;
    archived(&project, &nodes).await?;
    heal(&project, &nodes).await?;
    archived(&project, &nodes).await?;
    grow(&project, &nodes).await?;
    project.compose(&["down", "--volumes"])?;
    let left = project.left()?;
    ensure!(left.trim().is_empty(), "left behind: {left}");
    project.tell("all is down, and nothing of it is left");
    Ok(())
}

/// Starts all, and waits until all sources are live; gives the nodes.
async fn start(project: &Project) -> Result<[Http; 3]> {
    let began = Instant::now();
    project.compose(&["up", "--detach", "--no-build"])?;
    project.tell("up");
    let printed = printed_link(project).await?;
    let link = project.compose(&["exec", "-T", "node1", "anode", "link"])?;
    ensure!(printed == link.trim(), "node1 printed {printed:?}, its link is {link:?}");
    let token = link.trim().strip_prefix("http://127.0.0.1:8081/#token=").context("another link")?;
    let node = |port: u16| Http::connect_to(port, token);
    let nodes = [node(8081).await?, node(8082).await?, node(8083).await?];
    let mut shown = 0;
    loop {
        let mut live = Vec::new();
        for node in &nodes {
            let all = node.sources().await?;
            live.extend(all.into_values().filter(|view| view["status"]["state"] == "live"));
        }
        if live.len() != shown {
            shown = live.len();
            project.tell(&format!("{shown} of {SOURCES} sources are live"));
        }
        if shown == SOURCES {
            let kinds: BTreeSet<_> = live.iter().filter_map(|view| view["kind"].as_str()).collect();
            ensure!(kinds.len() == 3, "{kinds:?}");
            return Ok(nodes);
        }
        ensure!(began.elapsed() < LIVE, "{shown} of {SOURCES} sources are live after {LIVE:?}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// The link that node1 prints as its last line.
async fn printed_link(project: &Project) -> Result<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = project.compose(&["logs", "--no-log-prefix", "node1"])?;
        let last = said.lines().rfind(|line| !line.is_empty());
        if let Some(link) = last.and_then(|line| line.strip_prefix("dashboard: ")) {
            return Ok(link.to_owned());
        }
        ensure!(Instant::now() < until, "node1's last line is no link:\n{said}");
        sleep(Duration::from_millis(500)).await;
    }
}

/// A small client of a published port.
trait Connect: Sized {
    async fn connect_to(port: u16, token: &str) -> Result<Self>;
}

impl Connect for Http {
    async fn connect_to(port: u16, token: &str) -> Result<Self> {
        Self::connect(&format!("127.0.0.1:{port}"), Some(token)).await
    }
}

/// What is shut stays shut: the root file system, users, ports, private addresses.
async fn closed(project: &Project, nodes: &[Http; 3]) -> Result<()> {
    for (service, port) in [("node1", "8081"), ("node2", "8082"), ("node3", "8083")] {
        let all = healthy(project, service).await?;
        let (config, host) = (&all["Config"], &all["HostConfig"]);
        ensure!(config["User"] == "65532:65532", "user {}", config["User"]);
        ensure!(host["ReadonlyRootfs"] == true && host["CapDrop"] == json!(["ALL"]), "{host}");
        ensure!(host["SecurityOpt"] == json!(["no-new-privileges:true"]), "{host}");
        let published = json!({"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]});
        ensure!(host["PortBindings"] == published, "{}", host["PortBindings"]);
        let version = &config["Labels"]["org.opencontainers.image.version"];
        ensure!(version == env!("CARGO_PKG_VERSION"), "labelled as {version}");
    }
    let shell = project.compose(&["exec", "-T", "node1", "sh", "-c", "true"]);
    ensure!(shell.is_err(), "the image has a shell");
    for address in ["cassandra:9042", "node2:8080", "169.254.169.254", "feed:8091"] {
        let source = json!({"name": "x", "kind": "rest", "url": format!("http://{address}/"), "topic": "x"});
        let answer = nodes[0].send("POST", "/api/v1/sources/test", &[], &source.to_string()).await?;
        ensure!(answer.text().contains("--allow-private-sources"), "{address}: {}", answer.text());
    }
    project.tell("no shell, nothing writable, loopback only, no private address but the feed's");
    Ok(())
}

/// What the engine knows of a service's container, once its own health check says that it is well.
async fn healthy(project: &Project, service: &str) -> Result<Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let all = project.inspect(service)?;
        if all["State"]["Health"]["Status"] == "healthy" {
            return Ok(all);
        }
        ensure!(Instant::now() < until, "{service}: {}", all["State"]);
        sleep(Duration::from_millis(500)).await;
    }
}

/// Waits until every node serves records of every source, and what is pushed to each.
async fn everywhere(project: &Project, nodes: &[Http]) -> Result<()> {
    for (number, node) in nodes.iter().enumerate() {
        topics(node, number).await?;
        let record = json!({"topic": format!("pushed.{number}"), "payload": {"from": number}});
        let answer = node.send("POST", "/api/v1/records?ack=replicated", &[], &record.to_string()).await?;
        ensure!(answer.ensure(200)?.json()?["ack"] == "replicated", "not replicated");
    }
    for node in nodes {
        for number in 0..nodes.len() {
            wait_record(node, &format!("pushed.{number}")).await?;
        }
    }
    project.tell(&format!(
        "every one of {} nodes serves all {SOURCES} topics, and what was pushed to each",
        nodes.len()
    ));
    Ok(())
}

/// Waits until a node knows the topics of all sources, each from the source of its name.
async fn topics(node: &Http, number: usize) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let list = node.get("/api/v1/topics?limit=1000").await?;
        let names =
            list["topics"].as_array().context("no topics")?.iter().filter_map(|one| one["topic"].as_str());
        let market = ["quotes.", "ticks.", "trades."];
        let count = names.filter(|name| market.iter().any(|start| name.starts_with(start))).count();
        if count == SOURCES {
            return Ok(());
        }
        ensure!(Instant::now() < until, "node {number} knows {count} of {SOURCES} topics");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until a node serves a record of a topic, and gives the newest.
async fn wait_record(node: &Http, topic: &str) -> Result<Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let path = format!("/api/v1/records?order=desc&limit=1&topic={}", percent(topic));
        let page = node.get(&path).await?;
        if let Some(record) = page["records"].as_array().and_then(|records| records.first()) {
            return Ok(record.clone());
        }
        ensure!(Instant::now() < until, "no record of {topic}: {page}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until each node's records are in Cassandra, and compares all that one of them holds with it.
async fn archived(project: &Project, nodes: &[Http]) -> Result<()> {
    let until = Instant::now() + LIVE;
    for (number, node) in nodes.iter().enumerate() {
        let record = json!({"topic": format!("archived.{number}"), "payload": {"from": number}});
        loop {
            let answer = node.send("POST", "/api/v1/records?ack=archived", &[], &record.to_string()).await?;
            if answer.status == 200 && answer.json()?["ack"] == "archived" {
                break;
            }
            ensure!(Instant::now() < until, "node {number} archives nothing: {}", answer.text());
        }
    }
    // It fails where anything differs.
    let said = project.compose(&["exec", "-T", "node1", "anode", "archive", "verify"])?;
    let last = said.lines().rfind(|line| !line.is_empty()).unwrap_or_default();
    project.tell(&format!("what is pushed to each node is in Cassandra; node1 compares: {last}"));
    Ok(())
}

/// The first page that a person sees, by the link that node1 printed.
async fn page(project: &Project) -> Result<()> {
    let link = project.compose(&["exec", "-T", "node1", "anode", "link"])?;
    let browser = Browser::start().await?;
    browser.show_as(SCREENS[0], false).await?;
    browser.open(link.trim()).await?;
    browser.says("status", Name::Any, &["Live"]).await?;
    // Links to both other nodes, and records that are counted as they come.
    browser.until(r"return /links\s+2\b/.test(document.body.innerText)", PATIENCE).await?;
    moves(&browser, r"(document.body.innerText.match(/arrivals\s+[0-9,]+/) || []).join()", 10).await?;
    if let Some(file) = std::env::var_os("ANODE_E2E_PICTURE") {
        browser.picture(Path::new(&file)).await?;
    }
    // One click away they are all there.
    browser.click("link", "Records").await?;
    moves(
        &browser,
        r"(document.body.innerText.match(/(quotes|ticks|trades)\.[a-z0-9-]+/g) || []).join()",
        100,
    )
    .await?;
    browser.close().await?;
    project.tell("the dashboard opens by the link, with sources, mesh and moving records");
    Ok(())
}

/// Waits until a text on the page has so many characters, and then until it is another one.
async fn moves(browser: &Browser, text: &str, least: usize) -> Result<()> {
    let some = format!("const text = {text}; return text.length >= {least} && text");
    let before = browser.until(&some, PATIENCE).await?;
    browser.until(&format!("return {text} != {before}"), PATIENCE).await?;
    Ok(())
}

/// Kills a node, starts it again, and waits until nothing is missing anywhere.
async fn heal(project: &Project, nodes: &[Http; 3]) -> Result<()> {
    project.compose(&["kill", "node2"])?;
    let began = Instant::now();
    let meanwhile = json!({"topic": "meanwhile.one", "payload": {"node2": "away"}});
    nodes[0].publish(&meanwhile).await?;
    let moving = wait_record(&nodes[0], "quotes.*").await?;
    until(nodes, "node2 counts as gone", |peers| peers != 2).await?;
    project.tell(&format!("the others say that node2 is gone after {:.1} s", began.elapsed().as_secs_f64()));
    while wait_record(&nodes[2], "quotes.*").await?["id"] == moving["id"] {
        ensure!(began.elapsed() < PATIENCE, "the others' records stand still");
        sleep(Duration::from_millis(100)).await;
    }
    let began = Instant::now();
    project.compose(&["start", "node2"])?;
    ready(&nodes[1]).await?;
    wait_record(&nodes[1], "meanwhile.one").await?;
    project.tell(&format!("node2 has what it missed {:.1} s after its start", began.elapsed().as_secs_f64()));
    let live = |_: &str, status: &Value| status["state"] == "live";
    nodes[1].sources_when("live again", PATIENCE, |_| true, live).await?;
    until(nodes, "all are linked again", |peers| peers == 2).await?;
    project.tell(&format!(
        "its sources are live and all are linked after {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    everywhere(project, nodes).await
}

/// Waits until a node takes records.
async fn ready(node: &Http) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        if node.send_unchecked("GET", "/readyz", &[], "").await.is_ok_and(|answer| answer.status == 200) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "node2 is not ready");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until node1 and node3 have so many peers that are alive.
async fn until(nodes: &[Http; 3], what: &str, is_so: impl Fn(usize) -> bool) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut all = true;
        for node in [&nodes[0], &nodes[2]] {
            let list = node.get("/api/v1/peers").await?;
            let peers = list["peers"].as_array().context("no peers")?;
            all &= is_so(peers.iter().filter(|peer| peer["state"] == "alive").count());
        }
        if all {
            return Ok(());
        }
        ensure!(Instant::now() < until, "not in {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Adds two nodes, which get all that the others have.
async fn grow(project: &Project, nodes: &[Http; 3]) -> Result<()> {
    let began = Instant::now();
    project.compose(&["up", "--detach", "--no-build", "--no-recreate", "--scale", "node=2"])?;
    let link = project.compose(&["exec", "-T", "node1", "anode", "link"])?;
    let token = link.trim().split_once("#token=").context("no token")?.1.to_owned();
    for index in ["1", "2"] {
        let bound = project.compose(&["port", "--index", index, "node", "8080"])?;
        let port = bound.trim().rsplit_once(':').context("no port")?.1.parse()?;
        ensure!(bound.starts_with("127.0.0.1:"), "published on {bound}");
        let until = Instant::now() + PATIENCE;
        let node = loop {
            match Http::connect_to(port, &token).await {
                Ok(node) => break node,
                Err(error) => ensure!(Instant::now() < until, "{error:#}"),
            }
            sleep(Duration::from_millis(100)).await;
        };
        topics(&node, port.into()).await?;
        wait_record(&node, "meanwhile.one").await?;
    }
    until(nodes, "four peers each", |peers| peers == 4).await?;
    project.tell(&format!("two nodes more have everything after {:.1} s", began.elapsed().as_secs_f64()));
    Ok(())
}
