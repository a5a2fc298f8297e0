//! `kill -9` under load and during recovery: what was acknowledged is there, once and in order.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::checker::{Seen, ensure_sound};
use e2e::history;
use e2e::ledger::Ledger;
use e2e::load::{self, Load};
use e2e::node::{Node, Plan};
use e2e::place::Form;
use e2e::reader::Reader;
use e2e::scale;
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

/// Unacknowledged records that must be in flight at a kill for it to count.
const IN_FLIGHT: u64 = 1000;

type Tell = watch::Sender<Option<(e2e::socket::Door, e2e::http::Http)>>;

struct Killer {
    node: Node,
    tell: Tell,
    ledger: Ledger,
    random: StdRng,
    start: Duration,
    loaded: usize,
    recovering: usize,
}

impl Killer {
    /// Kills under load; counts it where enough records really stayed without an answer.
    async fn kill_loaded(&mut self) -> Result<()> {
        sleep(Duration::from_millis(self.random.random_range(10..150))).await;
        let until = Instant::now() + Duration::from_secs(20);
        while self.ledger.in_flight() < 2 * IN_FLIGHT {
            self.node.ensure_alive()?;
            ensure!(Instant::now() < until, "only {} records in flight", self.ledger.in_flight());
            sleep(Duration::from_micros(500)).await;
        }
        let before = self.ledger.unanswered();
        self.node.kill()?;
        self.tell.send(None)?;
        while self.ledger.connections() > 0 {
            ensure!(Instant::now() < until, "publishers do not notice the kill");
            sleep(Duration::from_millis(2)).await;
        }
        self.loaded += usize::from(self.ledger.unanswered() - before >= IN_FLIGHT);
        Ok(())
    }

    /// Starts and kills again before the node is ready, while it reads what the last kill left.
    async fn kill_recovering(&mut self) -> Result<()> {
        self.node.spawn()?;
        let longest = u64::try_from(self.start.as_micros())?.max(1000);
        sleep(Duration::from_micros(self.random.random_range(0..longest))).await;
        let ready = match tokio::time::timeout(Duration::from_millis(1), self.node.wait_address()).await {
            Ok(Ok(())) => self.node.is_ready().await,
            Ok(Err(error)) => return Err(error),
            Err(_) => false,
        };
        self.node.kill()?;
        self.recovering += usize::from(!ready);
        Ok(())
    }

    async fn start(&mut self) -> Result<()> {
        self.start = self.node.start().await?;
        let door = self.node.door()?.with_token(self.node.token());
        self.tell.send(Some((door, self.node.http()?.clone())))?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_every_acknowledged_record_over_kills() -> Result<()> {
    let kills = scale::pick(10, 100);
    let node = Plan::new().prepare()?;
    let (tell, target) = watch::channel(None);
    let (ledger, start) = (Ledger::default(), Duration::from_millis(300));
    let random = scale::random("kills");
    let mut killer = Killer { node, tell, ledger: ledger.clone(), random, start, loaded: 0, recovering: 0 };
    let readers = [Form::Opaque, Form::Object, Form::Seqs].map(|form| Reader::start(form, &target));
    killer.start().await?;
    let load = Load::start(&load::Plan::default(), &target, &ledger);
    let mut tries = 0;
    while killer.loaded + killer.recovering < kills || killer.recovering * 3 < kills {
        tries += 1;
        ensure!(tries < kills * 4, "{} and {} kills of {tries} count", killer.loaded, killer.recovering);
        killer.kill_loaded().await?;
        if killer.recovering * 3 < kills {
            killer.kill_recovering().await?;
        }
        killer.start().await?;
    }
    load.stop().await;
    ledger.ensure_sound()?;
    let (counts, acked) = ((killer.loaded, killer.recovering), ledger.acked_count());
    scale::say(&format!(
        "kills: {} with {IN_FLIGHT} records in flight, {} during recovery; {acked} acknowledged, {} unanswered, {} refused",
        counts.0,
        counts.1,
        ledger.unanswered(),
        ledger.refusals()
    ));
    judge(killer.node, readers, &ledger).await
}

/// What was acknowledged, or seen by any subscriber, is seen by each and found by paging.
async fn judge(mut node: Node, readers: [Reader; 3], ledger: &Ledger) -> Result<()> {
    node.http()?.publish(&json!({ "topic": "load.end", "payload": { "k": "end" } })).await?;
    let mut owed = ledger.owed();
    let mut views = Vec::new();
    for reader in readers {
        ensure!(reader.connections() > 3, "a subscriber was never cut");
        views.push(reader.finish("end", Duration::from_secs(60)).await?);
    }
    for one in views.iter().flatten() {
        if let Seen::Record(id, key) = one {
            owed.acked.entry(id.clone()).or_insert_with(|| key.clone());
        }
    }
    let paged = history::read(node.http()?, "limit=10000").await?;
    paged.ensure_order(false)?;
    ensure!(paged.gaps.is_empty(), "gaps where nothing is missing: {:?}", paged.gaps);
    ensure_sound("paging", &owed, &paged.seen()?)?;
    for (view, form) in views.iter().zip([Form::Opaque, Form::Object, Form::Seqs]) {
        ensure_sound(&format!("subscriber with {form:?}"), &owed, view)?;
        let gaps = view.iter().filter(|one| matches!(one, Seen::Gap { .. })).count();
        ensure!(gaps == 0, "subscriber with {form:?} was told {gaps} gaps");
    }
    node.stop().await
}
