//! Peers that mean harm: the honest go on without loss, and whoever breaks the rules is refused or cut off, and counted.

mod batches;
mod claims;
mod crowds;
mod floods;
mod forks;
mod frames;
mod replays;
mod silence;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::checker::{Owed, Seen};
use e2e::guest;
use e2e::ledger::Ledger;
use e2e::load::{self, Load};
use e2e::mesh::{Mesh, PATIENCE, Tell};
use e2e::place::Form;
use e2e::process::resident_bytes;
use e2e::reader::Reader;
use serde_json::{Value, json};

use super::{EVERYWHERE, ensure_sound, publish_ends};

/// Within which time who breaks the rules is cut off.
const CUT: Duration = Duration::from_secs(10);
/// How much a node may grow while it is attacked and records flow: its own caches fill meanwhile.
const GROWTH: u64 = 64 << 20;

/// Three nodes among which records flow, a subscriber at each.
struct Scene {
    mesh: Mesh,
    addresses: Vec<String>,
    ids: Vec<String>,
    ledger: Ledger,
    loads: Vec<(Load, Tell)>,
    readers: Vec<(Reader, Tell)>,
    resident: Vec<u64>,
}

impl Scene {
    async fn begin(network: &str) -> Result<Self> {
        let mesh = Mesh::start(network, 3, &[]).await?;
        let ledger = Ledger::default();
        let (mut addresses, mut ids, mut loads, mut readers) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for number in 0..3 {
            addresses.push(guest::address(&mesh.nodes[number]).await?);
            ids.push(mesh.id(number).await?);
            let plan = load::Plan {
                name: format!("honest{number}"),
                sockets: 1,
                posters: 0,
                window: 20,
                pause: Duration::from_millis(200),
                ..load::Plan::default()
            };
            let (tell, target) = mesh.target(number)?;
            loads.push((Load::start(&plan, &target, &ledger), tell));
            let (tell, target) = mesh.target(number)?;
            readers.push((Reader::start([Form::Opaque, Form::Object, Form::Seqs][number], &target), tell));
        }
        let mut scene = Self { mesh, addresses, ids, ledger, loads, readers, resident: Vec::new() };
        scene.flow(300).await?;
        scene.resident = scene.resident()?;
        Ok(scene)
    }

    fn resident(&self) -> Result<Vec<u64>> {
        self.mesh.nodes.iter().map(|node| resident_bytes(node.pid()?)).collect()
    }

    /// Waits until so many more records are acknowledged.
    async fn flow(&self, count: usize) -> Result<()> {
        let (until, goal) = (Instant::now() + PATIENCE, self.ledger.acked_count() + count);
        while self.ledger.acked_count() < goal {
            ensure!(Instant::now() < until, "the honest load stands still at {}", self.ledger.acked_count());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// What gossip says of itself at a node.
    async fn gossip(&self, number: usize) -> Result<Value> {
        Ok(self.mesh.http(number)?.get("/api/v1/status").await?["components"]["gossip"].clone())
    }

    /// Publishes a record on one node and waits until the others have it; gives the longest time.
    async fn reach(&self, key: &str) -> Result<Duration> {
        let body = json!({ "topic": "load.reach", "payload": { "k": key } });
        let answer = self.mesh.http(0)?.publish(&body).await?;
        let id = e2e::words::Id::parse(answer["ids"][0].as_str().context("no id")?)?;
        let began = Instant::now();
        self.ledger.sent(1);
        self.ledger.acked(id.clone(), key.to_owned());
        for node in &self.mesh.nodes[1..] {
            super::until_there(node, &id).await?;
        }
        Ok(began.elapsed())
    }

    /// The honest records are all there, once, in order and without a gap, on every node; no node grew, ended or panicked.
    async fn end(mut self) -> Result<()> {
        self.flow(100).await?;
        let resident = self.resident()?;
        for (load, _tell) in self.loads {
            load.stop().await;
        }
        self.ledger.ensure_sound()?;
        let mut owed = self.ledger.owed();
        publish_ends(&self.mesh, &mut owed).await?;
        for (number, (reader, _tell)) in self.readers.into_iter().enumerate() {
            let seen =
                reader.finish_all(&owed, EVERYWHERE).await.with_context(|| format!("node {number}"))?;
            ensure_honest(&format!("node {number}"), &self.ids, &owed, &seen)?;
        }
        e2e::scale::say(&format!(
            "{} honest records everywhere; nodes grew by {:?} KiB",
            owed.acked.len(),
            self.resident
                .iter()
                .zip(&resident)
                .map(|(old, new)| (*new as i64 - *old as i64) / 1024)
                .collect::<Vec<_>>()
        ));
        for (old, new) in self.resident.iter().zip(&resident) {
            ensure!(*new < old + GROWTH, "a node grew from {old} to {new} bytes");
        }
        self.mesh.stop().await
    }
}

/// All that honest nodes said was seen once and in order, and no gap was told of in what they said.
fn ensure_honest(who: &str, honest: &[String], owed: &Owed, seen: &[Seen]) -> Result<()> {
    let theirs = |log: &str| honest.iter().any(|id| log.starts_with(id.as_str()));
    let seen: Vec<Seen> = seen
        .iter()
        .filter(|one| match one {
            Seen::Record(id, _) => theirs(&id.log),
            Seen::Gap { log, .. } => theirs(log),
        })
        .cloned()
        .collect();
    ensure_sound(who, owed, &seen)?;
    let gap = seen.iter().find(|one| matches!(one, Seen::Gap { .. }));
    ensure!(gap.is_none(), "{who} was told a gap where nothing is missing: {gap:?}");
    Ok(())
}

/// Payloads that say who made them.
fn payloads(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| json!({ "k": format!("{name}-{number}") }).to_string()).collect()
}
