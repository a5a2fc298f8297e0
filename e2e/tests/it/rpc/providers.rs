//! viem, ethers and web3.js as they come from npm, and the client that the node serves itself, against a mesh of three of which one is killed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::mesh::{Mesh, PATIENCE};
use e2e::node::Plan;
use e2e::scale;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

/// A program that follows a topic by a library's provider.
struct Follower {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The keys that it was given, in order.
    keys: Vec<String>,
    /// The ids of what it published.
    published: Vec<String>,
}

impl Follower {
    fn start(program: &[&str], topic: &str, nodes: &[String]) -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("js");
        let mut child = Command::new("node")
            .current_dir(folder)
            .args(program)
            .arg(topic)
            .args(nodes)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .context("node")?;
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        Ok(Self { child, lines, keys: Vec::new(), published: Vec::new() })
    }

    async fn command(&mut self, words: &str) -> Result<()> {
        let input = self.child.stdin.as_mut().context("no input")?;
        Ok(input.write_all(format!("{words}\n").as_bytes()).await?)
    }

    /// Listens until it says this.
    async fn until(&mut self, said: &str) -> Result<Value> {
        self.listen(|_, what| what["said"] == said).await
    }

    /// Listens until what it said is as wanted.
    async fn listen(&mut self, mut wanted: impl FnMut(&Self, &Value) -> bool) -> Result<Value> {
        loop {
            let line = timeout(PATIENCE, self.lines.next_line()).await.context("it says nothing")??;
            let what: Value = serde_json::from_str(&line.context("it has ended")?)?;
            match what["said"].as_str() {
                Some("record") => self.keys.push(what["key"].as_str().context("no key")?.to_owned()),
                Some("published") => self.published.push(what["id"].as_str().context("no id")?.to_owned()),
                Some("gap") => anyhow::bail!("{what}"),
                _ => {}
            }
            if wanted(self, &what) {
                return Ok(what);
            }
        }
    }
}

/// Whether a library was brought from npm.
fn has(library: &str) -> Result<bool> {
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join("js/node_modules").join(library).exists() {
        ensure!(!scale::is_full(), "no {library} here: run `npm ci` in e2e/js");
        scale::say("SKIPPED: no such library here; `npm ci` in e2e/js brings it, as does `cargo xtask test`");
        return Ok(false);
    }
    Ok(true)
}

/// What a program said when it began and when it ended, and the node that it began at.
struct Seen {
    open: Value,
    ended: Value,
    first: String,
    records: usize,
}

/// Lets a program follow and publish while the node that it is at is killed; each record must come once.
async fn follow(name: &str, program: &[&str]) -> Result<Seen> {
    let mut mesh = Mesh::start(name, 3, &[]).await?;
    let first = mesh.id(0).await?;
    let topic = format!("provider.{name}");
    let nodes: Vec<String> =
        mesh.nodes.iter().map(|node| format!("{}#{}", node.url(), node.token())).collect();
    let mut follower = Follower::start(program, &topic, &nodes)?;
    let open = follower.until("open").await?;
    let mut owed = BTreeSet::new();
    let rounds = scale::pick(10, 40);
    for round in 0..rounds {
        let taken =
            mesh.http(1 + round % 2)?.publish_numbered(&topic, &format!("{name}-{round}"), 0..20, 20).await?;
        owed.extend(taken.into_iter().map(|(_, key)| key));
        let own = format!("own-{round}");
        follower.command(&format!("publish {own}")).await?;
        owed.insert(own);
        if round == rounds / 2 {
            // In the middle of it, the node that it is at.
            mesh.nodes[0].kill()?;
        }
        sleep(Duration::from_millis(20)).await;
    }
    let records = owed.len();
    let all =
        |follower: &Follower, _: &Value| follower.keys.len() >= records && follower.published.len() == rounds;
    follower.listen(all).await?;
    let got: BTreeSet<String> = follower.keys.iter().cloned().collect();
    ensure!(got.len() == follower.keys.len(), "{} came twice", follower.keys.len() - got.len());
    ensure!(got == owed, "missing: {:?}", owed.difference(&got).take(5).collect::<Vec<_>>());
    follower.command("end").await?;
    let ended = follower.until("ended").await?;
    ensure!(ended["history"]["records"].as_array().is_some_and(|all| all.len() == 1), "{ended}");
    scale::say(&format!("{name}: {records} records, each once, over a killed node"));
    mesh.nodes[0].start().await?;
    mesh.stop().await?;
    Ok(Seen { open, ended, first, records })
}

async fn provider(library: &str) -> Result<()> {
    if !has(library)? {
        return Ok(());
    }
    let Seen { open, first, .. } = follow(library, &["providers.mjs", library]).await?;
    ensure!(open["chain"] == "0x0" && open["id"] == first.as_str(), "{open}");
    ensure!(open["version"].as_str().is_some_and(|text| text.starts_with("aNode/v")), "{open}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_with_viem() -> Result<()> {
    provider("viem").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_with_ethers() -> Result<()> {
    provider("ethers").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_with_web3() -> Result<()> {
    provider("web3").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_with_the_client_that_the_node_serves() -> Result<()> {
    if !has("ws")? {
        return Ok(());
    }
    let Seen { open, ended, records, .. } = follow("sdk", &["sdk.mjs"]).await?;
    ensure!(open["refusal"] == "bad_filter", "a filter that is none was refused otherwise: {open}");
    ensure!(ended["count"] == records && ended["proven"] == true, "{records} records, and {ended}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_holds_the_node_back_where_records_are_taken_slowly() -> Result<()> {
    if !has("ws")? {
        return Ok(());
    }
    let node = Plan::new().start().await?;
    let nodes = [format!("{}#{}", node.url(), node.token())];
    let mut follower = Follower::start(&["sdk.mjs"], "slow.a", &nodes)?;
    follower.until("open").await?;
    follower.command("slow 5").await?;
    follower.until("slow").await?;
    // More than it lets wait: it closes the socket, and opens one anew where they end.
    let taken = node.http()?.publish_numbered("slow.a", "slow", 0..25_000, 1_000).await?;
    sleep(Duration::from_secs(1)).await;
    follower.command("slow 0").await?;
    let mut opened = 0;
    let all = |follower: &Follower, what: &Value| {
        opened += u32::from(what["said"] == "open");
        follower.keys.len() >= taken.len()
    };
    follower.listen(all).await?;
    ensure!(opened >= 1, "nothing held it back");
    let owed: BTreeSet<&String> = taken.iter().map(|(_, key)| key).collect();
    let got: BTreeSet<&String> = follower.keys.iter().collect();
    ensure!(got == owed && follower.keys.len() == owed.len(), "{} of {}", got.len(), owed.len());
    Ok(())
}
