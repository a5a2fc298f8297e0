//! Several nodes of one network on this machine, which know of each other only what they are told.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rand::Rng as _;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::http::Http;
use crate::load::Target;
use crate::node::{Node, Plan};
use crate::process;
use crate::socket::Door;

/// How long nodes may take to find each other on a machine that does much beside.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Nodes of one network, each with a port for peers that stays its own over restarts.
#[derive(Debug)]
pub struct Mesh {
    /// The nodes, in the order in which they were added.
    pub nodes: Vec<Node>,
    ports: Vec<u16>,
    network: String,
}

/// The variable that a test run again in its namespace has.
const INSIDE: &str = "ANODE_E2E_INSIDE";

/// Whoever is told where a node is now: load and subscribers.
pub type Tell = watch::Sender<Option<(Door, Http)>>;

impl Mesh {
    /// A mesh without nodes.
    #[must_use]
    pub fn new(network: &str) -> Self {
        Self { nodes: Vec::new(), ports: Vec::new(), network: network.to_owned() }
    }

    /// Starts so many nodes, each of which but the first knows the first, and waits until all know all.
    ///
    /// # Errors
    /// Fails where a node does not start, or they do not find each other.
    pub async fn start(network: &str, count: usize, args: &[&str]) -> Result<Self> {
        let mut mesh = Self::new(network);
        for number in 0..count {
            let knows = if number == 0 { &[][..] } else { &[0] };
            mesh.add(knows, args).await?;
        }
        mesh.until_whole(PATIENCE).await?;
        Ok(mesh)
    }

    /// Starts one more node, which knows these.
    ///
    /// # Errors
    /// Fails where it does not start.
    pub async fn add(&mut self, knows: &[usize], args: &[&str]) -> Result<()> {
        let port = free_port()?;
        self.ports.push(port);
        let mut plan = Plan::new()
            .args(&["--network", &self.network, "--no-mdns", "--p2p", &address(port)])
            .args(&["--name", &format!("n{}", self.nodes.len())])
            .args(args);
        for other in knows {
            plan = plan.args(&["--bootstrap", &address(self.ports[*other])]);
        }
        self.nodes.push(plan.start().await?);
        Ok(())
    }

    /// Leaves all bootstrap peers out at the next starts.
    pub fn forget_bootstrap(&mut self) {
        for node in &mut self.nodes {
            node.without_option("--bootstrap");
        }
    }

    /// The client of a node.
    ///
    /// # Errors
    /// Fails before its first start.
    pub fn http(&self, number: usize) -> Result<&Http> {
        self.nodes[number].http()
    }

    /// What tells load and subscribers where a node is.
    ///
    /// # Errors
    /// Fails before its first start.
    pub fn door(&self, number: usize) -> Result<(Door, Http)> {
        let node = &self.nodes[number];
        Ok((node.door()?.with_token(node.token()), node.http()?.clone()))
    }

    /// A target that begins at a node.
    ///
    /// # Errors
    /// Fails before its first start.
    pub fn target(&self, number: usize) -> Result<(Tell, Target)> {
        Ok(watch::channel(Some(self.door(number)?)))
    }

    /// The peer id of a node.
    ///
    /// # Errors
    /// Fails where its status has none.
    pub async fn id(&self, number: usize) -> Result<String> {
        id(&self.nodes[number]).await
    }

    /// Waits until every node sees every other as alive and connected; gives the time.
    ///
    /// # Errors
    /// Fails with what each sees where that does not come.
    pub async fn until_whole(&self, patience: Duration) -> Result<Duration> {
        let nodes: Vec<&Node> = self.nodes.iter().collect();
        until_whole(&nodes, patience).await
    }

    /// Stops all nodes in order.
    ///
    /// # Errors
    /// Fails where one does not end cleanly.
    pub async fn stop(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.stop().await?;
        }
        Ok(())
    }
}

/// The peer id of a node.
///
/// # Errors
/// Fails where its status has none.
pub async fn id(node: &Node) -> Result<String> {
    let status = node.http()?.get("/api/v1/status").await?;
    Ok(status["node"]["id"].as_str().context("no id")?.to_owned())
}

/// The peers that a node knows.
///
/// # Errors
/// Fails where it does not answer.
pub async fn peers(node: &Node) -> Result<Vec<Value>> {
    let list = node.http()?.get("/api/v1/peers").await?;
    Ok(list["peers"].as_array().context("no peers")?.clone())
}

/// Waits until each of these nodes sees all others of them as alive, with links so far as there are not too many.
///
/// # Errors
/// Fails with what each sees where that does not come.
pub async fn until_whole(nodes: &[&Node], patience: Duration) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let mut lacking = Vec::new();
        for (number, node) in nodes.iter().enumerate() {
            let seen = peers(node).await?;
            let there =
                seen.iter().filter(|peer| peer["state"] == "alive" && peer["connected"] == true).count();
            if there + 1 < nodes.len() {
                lacking.push(format!("node {number} sees {there} of {}", nodes.len() - 1));
            }
        }
        if lacking.is_empty() {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < patience, "no whole mesh after {patience:?}: {}", lacking.join(", "));
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a node shows a peer in a state; gives the time.
///
/// # Errors
/// Fails with what it shows where that does not come.
pub async fn until_state(node: &Node, peer: &str, state: &str, patience: Duration) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let known = peers(node).await?.into_iter().find(|known| known["id"] == peer);
        if known.as_ref().is_some_and(|known| known["state"] == state) {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < patience, "{peer} not {state} after {patience:?}: {known:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for an event of a kind whose sentence holds some words; gives the sentence.
///
/// # Errors
/// Fails with all events where it does not come.
pub async fn until_event(node: &Node, kind: &str, words: &str, patience: Duration) -> Result<String> {
    let until = Instant::now() + patience;
    loop {
        let page = node.http()?.get("/api/v1/events").await?;
        let events = page["events"].as_array().context("no events")?;
        for event in events.iter().filter(|event| event["kind"] == kind) {
            let detail = event["detail"].as_str().unwrap_or("");
            if detail.contains(words) {
                return Ok(detail.to_owned());
            }
        }
        ensure!(Instant::now() < until, "no {kind} with {words:?} after {patience:?}: {events:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// A loopback port that nobody uses, outside of those that the kernel hands out, so that it is free again after a restart.
fn free_port() -> Result<u16> {
    for _ in 0..200 {
        let port = rand::rng().random_range(20_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port")
}

fn address(port: u16) -> String {
    format!("/ip4/127.0.0.1/tcp/{port}")
}

/// A network namespace in which nothing runs but what a test puts there; gone with it.
#[derive(Debug)]
pub struct Namespace(std::process::Child);

impl Namespace {
    /// Makes a namespace whose loopback is up.
    ///
    /// # Errors
    /// Fails without the rights or the tools.
    pub fn new() -> Result<Self> {
        ensure!(process::is_root(), "only root makes network namespaces");
        let child = std::process::Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .context("unshare")?;
        let mut namespace = Self(child);
        let mut out = namespace.0.stdout.take().context("no output")?;
        let mut said = [0_u8; 2];
        std::io::Read::read_exact(&mut out, &mut said).context("no namespace")?;
        Ok(namespace)
    }

    /// The words that run a program inside.
    #[must_use]
    pub fn wrapper(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.0.id())]
    }

    /// The process that keeps it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Runs a program inside and waits for its end.
    ///
    /// # Errors
    /// Fails where it does.
    pub fn run(&self, words: &[&str]) -> Result<()> {
        let wrapper = self.wrapper();
        let status = std::process::Command::new(&wrapper[0]).args(&wrapper[1..]).args(words).status()?;
        ensure!(status.success(), "{words:?}: {status}");
        Ok(())
    }
}

/// Configures the network namespace in which this runs, with the words of `ip`.
///
/// # Errors
/// Fails where `ip` does.
pub fn ip(words: &str) -> Result<()> {
    let status = std::process::Command::new("ip").args(words.split(' ')).status()?;
    ensure!(status.success(), "ip {words}: {status}");
    Ok(())
}

/// Whether this test process runs in a namespace of its own.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs one test of this test binary again in a network namespace of its own.
///
/// # Errors
/// Fails with what the test says where it fails.
pub fn run_inside(test: &str) -> Result<()> {
    let output = std::process::Command::new("unshare")
        .args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
        .arg(std::env::current_exe()?)
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .context("unshare")?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    crate::scale::say(&said);
    ensure!(output.status.success() && said.contains("1 passed"), "{test}: {}", output.status);
    Ok(())
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
