//! The nodes of a mesh that is measured, each a process of its own on loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anode_shared::mesh::{PeerList, PeerState};
use anode_shared::status::Status;
use anyhow::{Context as _, bail};

use crate::bench::subject::{Subject, metric};
use crate::bench::whole;
use crate::client::{Client, Query};

/// How long the nodes may take to find each other, and to settle after too much.
const PATIENCE: Duration = Duration::from_secs(120);

/// The nodes; gone with what they wrote when dropped.
pub(super) struct Nodes {
    nodes: Vec<Subject>,
    dir: PathBuf,
}

/// What all nodes together had used at a moment, or between two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    at: Instant,
    pub(super) seconds: f64,
    /// CPU seconds.
    pub(super) cpu: f64,
    /// Resident bytes of one node, the mean.
    pub(super) memory: f64,
    /// Bytes sent to peers.
    pub(super) sent: f64,
    /// Bytes of own batches.
    pub(super) published: f64,
    /// Own batches.
    pub(super) batches: f64,
    /// Batches that repair stored.
    pub(super) repaired: f64,
}

impl Spent {
    /// What was used since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            seconds: self.at.duration_since(earlier.at).as_secs_f64(),
            cpu: self.cpu - earlier.cpu,
            sent: self.sent - earlier.sent,
            published: self.published - earlier.published,
            batches: self.batches - earlier.batches,
            repaired: self.repaired - earlier.repaired,
            ..*self
        }
    }
}

impl Nodes {
    /// None yet.
    pub(super) fn none(beside: &Path) -> anyhow::Result<Self> {
        let dir = Subject::folder(beside)?;
        Ok(Self { nodes: Vec::new(), dir })
    }

    /// Starts more, which know those addresses, or else the first of them, and waits until these know each other. Says how long
    /// that took.
    pub(super) async fn join(&mut self, count: u16, known: &[String]) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let (first, mut known) = (self.nodes.len(), known.to_vec());
        for _ in 0..count {
            let dir = self.dir.join(format!("n{}", self.nodes.len()));
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            let bootstrap: Vec<&str> =
                known.iter().flat_map(|known| ["--bootstrap", known.as_str()]).collect();
            let network = format!("bench-{}", std::process::id());
            self.nodes.push(Subject::start_in(dir, &network, &bootstrap).await?);
            if known.is_empty() {
                known.push(self.address(first).await?);
            }
        }
        until_whole(&self.nodes[first..], began).await?;
        Ok(began.elapsed())
    }

    /// Where peers reach a node.
    pub(super) async fn address(&self, number: usize) -> anyhow::Result<String> {
        let node = self.nodes.get(number).context("there is no such node")?;
        let status: Status = node.client.get("/api/v1/status", &Query::new()).await?;
        status.node.addresses.into_iter().next().context("a node has no address")
    }

    /// Waits until no node lacks a record of another.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        for node in &self.nodes {
            loop {
                let list: PeerList = node.client.get("/api/v1/peers", &Query::new()).await?;
                if list.peers.iter().all(|peer| peer.lag == 0) {
                    break;
                }
                if began.elapsed() > PATIENCE {
                    bail!("the nodes did not have the same again within {} s", PATIENCE.as_secs());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// How many there are.
    pub(super) fn count(&self) -> f64 {
        whole(self.nodes.len() as u64)
    }

    /// A client of each.
    pub(super) fn clients(&self) -> impl Iterator<Item = &Client> {
        self.nodes.iter().map(|node| &node.client)
    }

    /// What they have used up to now.
    pub(super) async fn spent(&self) -> anyhow::Result<Spent> {
        let mut spent = Spent {
            at: Instant::now(),
            seconds: 0.0,
            cpu: 0.0,
            memory: 0.0,
            sent: 0.0,
            published: 0.0,
            batches: 0.0,
            repaired: 0.0,
        };
        for node in &self.nodes {
            let usage = node.usage().await?;
            let metrics = node.client.text("/metrics").await?;
            let read = |name: &str| metric(&metrics, name).with_context(|| format!("/metrics has no {name}"));
            spent.cpu += usage.node_cpu.unwrap_or(f64::NAN);
            spent.memory += usage.memory.unwrap_or(f64::NAN) / self.count();
            spent.sent += read("anode_gossip_sent_bytes_total")?;
            spent.published += read("anode_gossip_published_bytes_total")?;
            spent.batches += read("anode_gossip_published_batches_total")?;
            spent.repaired += read("anode_repair_batches_total")?;
        }
        Ok(spent)
    }

    /// Stops them.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.nodes.drain(..).try_for_each(Subject::finish)
    }
}

/// Waits until each of some knows the others.
async fn until_whole(nodes: &[Subject], began: Instant) -> anyhow::Result<()> {
    for node in nodes {
        loop {
            let list: PeerList = node.client.get("/api/v1/peers", &Query::new()).await?;
            let there = list.peers.iter().filter(|peer| peer.state == PeerState::Alive).count();
            if there + 1 >= nodes.len() {
                break;
            }
            if began.elapsed() > PATIENCE {
                bail!("the nodes did not find each other within {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.nodes.clear();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
