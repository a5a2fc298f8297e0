//! `kill -9` of any node under load: subscribers go on at another, and nothing that was acknowledged is lost.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::checker::Seen;
use e2e::history;
use e2e::ledger::Ledger;
use e2e::load::{self, Load};
use e2e::mesh::{Mesh, PATIENCE, Tell};
use e2e::place::Form;
use e2e::reader::Reader;
use e2e::scale;
use rand::Rng as _;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::{EVERYWHERE, ensure_everywhere, ensure_whole, publish_ends};

struct Hopper {
    reader: Reader,
    tell: Tell,
    at: usize,
}

struct Killing {
    mesh: Mesh,
    loads: Vec<(Load, Tell)>,
    hoppers: Vec<Hopper>,
    ledger: Ledger,
    random: StdRng,
    hops: usize,
    down: Option<usize>,
}

impl Killing {
    async fn begin(network: &str) -> Result<Self> {
        let mesh = Mesh::start(network, 3, &[]).await?;
        let ledger = Ledger::default();
        let (mut loads, mut hoppers) = (Vec::new(), Vec::new());
        for number in 0..3 {
            let (tell, target) = mesh.target(number)?;
            let pause = Duration::from_millis(100);
            let name = format!("n{number}");
            let plan =
                load::Plan { name, sockets: 1, posters: 1, window: 150, pause, ..load::Plan::default() };
            loads.push((Load::start(&plan, &target, &ledger), tell));
            let form = [Form::Opaque, Form::Object, Form::Seqs][number];
            let (tell, target) = mesh.target(number)?;
            hoppers.push(Hopper { reader: Reader::start(form, &target), tell, at: number });
        }
        let random = scale::random("mesh kills");
        Ok(Self { mesh, loads, hoppers, ledger, random, hops: 0, down: None })
    }

    /// Waits until so many more records are acknowledged.
    async fn flow(&self, count: usize) -> Result<()> {
        let (until, goal) = (Instant::now() + PATIENCE, self.ledger.acked_count() + count);
        while self.ledger.acked_count() < goal {
            ensure!(Instant::now() < until, "the load stands still at {}", self.ledger.acked_count());
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Every subscriber moves to another node that runs, whatever is on its way to it; those of a dead node at least.
    fn hop(&mut self) -> Result<()> {
        for hopper in &mut self.hoppers {
            let open: Vec<usize> =
                (0..3).filter(|number| Some(*number) != self.down && *number != hopper.at).collect();
            hopper.at = open[self.random.random_range(0..open.len())];
            hopper.tell.send(Some(self.mesh.door(hopper.at)?))?;
            self.hops += 1;
        }
        Ok(())
    }

    fn kill(&mut self, number: usize) -> Result<()> {
        self.mesh.nodes[number].kill()?;
        self.loads[number].1.send(None)?;
        self.down = Some(number);
        self.hop()?;
        Ok(())
    }

    async fn back(&mut self) -> Result<()> {
        let Some(number) = self.down.take() else { return Ok(()) };
        self.mesh.nodes[number].start().await?;
        self.loads[number].1.send(Some(self.mesh.door(number)?))?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_loses_nothing_when_nodes_die_and_subscribers_hop() -> Result<()> {
    let mut killing = Killing::begin("kills").await?;
    let kills = scale::pick(3, 9);
    for round in 0..kills {
        killing.flow(300).await?;
        killing.kill(round % 3)?;
        killing.flow(200).await?;
        killing.hop()?;
        killing.back().await?;
        killing.flow(100).await?;
        killing.hop()?;
    }
    let Killing { mut mesh, loads, hoppers, ledger, hops, .. } = killing;
    for (load, _tell) in loads {
        load.stop().await;
    }
    ledger.ensure_sound()?;
    let mut owed = ledger.owed();
    publish_ends(&mesh, &mut owed).await?;
    let stopped = Instant::now();
    let mut views = Vec::new();
    for (number, hopper) in hoppers.into_iter().enumerate() {
        ensure!(hopper.reader.connections() > kills, "a subscriber hardly hopped");
        views.push((format!("hopper {number}"), hopper.reader.finish_all(&owed, EVERYWHERE).await?));
    }
    scale::say(&format!(
        "mesh kills: {kills} kills, {hops} hops, {} records acknowledged, {} unanswered; all seen {:?} after the last",
        owed.acked.len(),
        ledger.unanswered(),
        stopped.elapsed()
    ));
    // What any subscriber saw, all must see.
    for (_, view) in &views {
        for one in view {
            if let Seen::Record(id, key) = one {
                owed.acked.entry(id.clone()).or_insert_with(|| key.clone());
            }
        }
    }
    for (who, view) in &views {
        ensure_whole(who, &owed, view)?;
    }
    ensure_everywhere(&mesh, &owed).await?;
    for number in 0..3 {
        let paged = history::read(mesh.http(number)?, "limit=10000").await?;
        paged.ensure_order(false)?;
        ensure_whole(&format!("pages of node {number}"), &owed, &paged.seen()?)?;
    }
    mesh.stop().await
}
