//! `kill -9` of any node under load: subscribers go on at another, and nothing that was acknowledged is lost.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::checker::{Owed, Seen};
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

/// A mesh with a publisher and a subscriber a node, whose nodes die, and whose subscribers move.
pub(super) struct Killing {
    pub(super) mesh: Mesh,
    pub(super) ledger: Ledger,
    pub(super) random: StdRng,
    pub(super) kills: usize,
    pub(super) hops: usize,
    plan: load::Plan,
    loads: Vec<(Load, Tell)>,
    hoppers: Vec<Hopper>,
    down: Option<usize>,
}

/// What came of it, once all is quiet.
pub(super) struct Killed {
    pub(super) mesh: Mesh,
    pub(super) owed: Owed,
    pub(super) views: Vec<(String, Vec<Seen>)>,
    pub(super) words: String,
}

impl Killing {
    /// Starts load and a subscriber at each node.
    pub(super) fn begin(mesh: Mesh, plan: load::Plan) -> Result<Self> {
        let random = scale::random(&plan.name);
        let (ledger, loads, hoppers) = (Ledger::default(), Vec::new(), Vec::new());
        let nodes = mesh.nodes.len();
        let mut killing = Self { mesh, ledger, random, kills: 0, hops: 0, plan, loads, hoppers, down: None };
        (0..nodes).try_for_each(|number| killing.join(number))?;
        Ok(killing)
    }

    /// Starts load and a subscriber at a node.
    pub(super) fn join(&mut self, number: usize) -> Result<()> {
        let (tell, target) = self.mesh.target(number)?;
        let plan = load::Plan { name: format!("n{number}"), ..self.plan.clone() };
        self.loads.push((Load::start(&plan, &target, &self.ledger), tell));
        let form = [Form::Opaque, Form::Object, Form::Seqs][number % 3];
        let (tell, target) = self.mesh.target(number)?;
        self.hoppers.push(Hopper { reader: Reader::start(form, &target), tell, at: number });
        Ok(())
    }

    /// Waits until so many more records are acknowledged.
    pub(super) async fn flow(&self, count: usize) -> Result<()> {
        let (until, goal) = (Instant::now() + PATIENCE, self.ledger.acked_count() + count);
        while self.ledger.acked_count() < goal {
            ensure!(Instant::now() < until, "the load stands still at {}", self.ledger.acked_count());
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Every subscriber moves to another node that runs, whatever is on its way to it; those of a dead node at least.
    pub(super) fn hop(&mut self) -> Result<()> {
        for hopper in &mut self.hoppers {
            let open: Vec<usize> = (0..self.mesh.nodes.len())
                .filter(|number| Some(*number) != self.down && *number != hopper.at)
                .collect();
            ensure!(!open.is_empty(), "no node to move to");
            hopper.at = open[self.random.random_range(0..open.len())];
            hopper.tell.send(Some(self.mesh.door(hopper.at)?))?;
            self.hops += 1;
        }
        Ok(())
    }

    pub(super) fn kill(&mut self, number: usize) -> Result<()> {
        self.mesh.nodes[number].kill()?;
        self.kills += 1;
        self.gone(number)
    }

    /// Stops a node in order.
    pub(super) async fn leave(&mut self, number: usize) -> Result<()> {
        self.mesh.nodes[number].stop().await?;
        self.gone(number)
    }

    fn gone(&mut self, number: usize) -> Result<()> {
        self.loads[number].1.send(None)?;
        self.down = Some(number);
        self.hop()
    }

    pub(super) async fn back(&mut self) -> Result<()> {
        let Some(number) = self.down.take() else { return Ok(()) };
        self.mesh.nodes[number].start().await?;
        self.loads[number].1.send(Some(self.mesh.door(number)?))?;
        Ok(())
    }

    /// Lets all become quiet, and takes what each subscriber saw. What any of them saw, all must see.
    pub(super) async fn end(self) -> Result<Killed> {
        let Self { mesh, loads, hoppers, ledger, hops, kills, .. } = self;
        for (load, _tell) in loads {
            load.stop().await;
        }
        ledger.ensure_sound()?;
        let mut owed = ledger.owed();
        publish_ends(&mesh, &mut owed).await?;
        let stopped = Instant::now();
        let mut views = Vec::new();
        for (number, hopper) in hoppers.into_iter().enumerate() {
            ensure!(hopper.reader.connections() > 2, "subscriber {number} hardly hopped");
            views.push((format!("hopper {number}"), hopper.reader.finish_all(&owed, EVERYWHERE).await?));
        }
        let words = format!(
            "{kills} kills, {hops} hops, {} records acknowledged, {} unanswered, all seen {:?} after the last",
            owed.acked.len(),
            ledger.unanswered(),
            stopped.elapsed()
        );
        for one in views.iter().flat_map(|(_, view)| view) {
            if let Seen::Record(id, key) = one {
                owed.acked.entry(id.clone()).or_insert_with(|| key.clone());
            }
        }
        Ok(Killed { mesh, owed, views, words })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_loses_nothing_when_nodes_die_and_subscribers_hop() -> Result<()> {
    let pause = Duration::from_millis(100);
    let plan =
        load::Plan { name: "mesh kills".to_owned(), sockets: 1, posters: 1, window: 150, pause, bytes: 120 };
    let mut killing = Killing::begin(Mesh::start("kills", 3, &[]).await?, plan)?;
    for round in 0..scale::pick(3, 9) {
        killing.flow(300).await?;
        killing.kill(round % 3)?;
        killing.flow(200).await?;
        killing.hop()?;
        killing.back().await?;
        killing.flow(100).await?;
        killing.hop()?;
    }
    let Killed { mut mesh, owed, views, words } = killing.end().await?;
    for (who, view) in &views {
        ensure_whole(who, &owed, view)?;
    }
    ensure_everywhere(&mesh, &owed).await?;
    for number in 0..3 {
        let paged = history::read(mesh.http(number)?, "limit=10000").await?;
        paged.ensure_order(false)?;
        ensure_whole(&format!("pages of node {number}"), &owed, &paged.seen()?)?;
    }
    let checked = owed.acked.len() * (views.len() + 6);
    scale::say(&format!(
        "mesh kills of three: {words}; {checked} checked by 9 readers, none lost or doubled"
    ));
    mesh.stop().await
}
