//! All at once: sources of each kind on different nodes, publishers with acknowledgements, subscribers that move between nodes,
//! nodes that are killed, leave, fall silent, are away or come late, and a retention that drops segments meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::checker::{Owed, Seen, ensure_sound};
use e2e::history;
use e2e::load;
use e2e::market::{Kind, Market};
use e2e::mesh::{Mesh, PATIENCE, until_state};
use e2e::place::Form;
use e2e::process::folder_bytes;
use e2e::reader::Reader;
use e2e::scale;
use e2e::tap::{Tick, ensure_serials};
use e2e::words::Id;
use rand::Rng as _;
use rustix::process::Signal;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use super::EVERYWHERE;
use super::kills::{Killed, Killing};

/// What a node retains, in MiB.
const RETAINED: usize = 24;
/// Bytes of a record that fills stores.
const FILL: usize = 50_000;
/// How much sooner than it gives up the test takes what a node has for all that it will have.
const LATE: Duration = Duration::from_secs(10);
/// About what a record of the load takes in a store.
const RECORD: usize = 450;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_all_promises_at_once_on_three() -> Result<()> {
    play("whole3", 3, false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_all_promises_at_once_on_five() -> Result<()> {
    play("whole5", 4, true).await
}

/// Plays with so many nodes, and one that comes late.
async fn play(network: &str, first: usize, with_late: bool) -> Result<()> {
    let began = Instant::now();
    let market = Market::start(3, 4.0).await?;
    let (allowed, retained) = (market.allowed(), format!("{RETAINED}MiB"));
    let args = ["--segment-bytes", "1MiB", "--retain-bytes", &retained, "--allow-private-sources", &allowed];
    let mesh = Mesh::start(network, first, &args).await?;
    fill(&mesh).await?;
    for (place, kind) in Kind::ALL.into_iter().enumerate() {
        let mut source = kind.source(kind.word(), &market, place);
        source["only_changes"] = json!(false);
        mesh.http(place)?.add_source(&source).await?;
    }
    let pause = Duration::from_secs(1);
    let plan =
        load::Plan { name: network.to_owned(), sockets: 1, posters: 0, window: 100, pause, bytes: 120 };
    let mut killing = Killing::begin(mesh, plan)?;
    let mut replicated = Owed::default();
    let mut stops = 0;
    let mut rounds = 0;
    for round in 0..scale::pick(2, 10) {
        rounds += 1;
        kill_and_hop(&mut killing, &mut replicated).await?;
        match round {
            0 if with_late => late(&mut killing, &args).await?,
            1 => away(&mut killing).await?,
            _ => {}
        }
        if round % 3 == 1 {
            silent(&mut killing).await?;
            stops += 1;
        }
    }
    killing.mesh.until_whole(PATIENCE).await?;
    killing.flow(50).await?;
    // What a source says after one subscriber was ended, the others would see alone.
    for (place, kind) in Kind::ALL.into_iter().enumerate() {
        killing.mesh.http(place)?.order_source(kind.word(), "pause").await?;
    }
    let (kills, small) = (killing.kills, killing.ledger.acked_count() * RECORD < (RETAINED << 20) / 2);
    let Killed { mut mesh, mut owed, views, words } = killing.end().await?;
    owed.acked.extend(replicated.acked);
    let mut expired = 0;
    for (who, view) in &views {
        expired += ensure_kept(who, &owed, view, small)?;
    }
    let mut readers = views.len();
    let nodes = mesh.nodes.len();
    for number in 0..nodes {
        expired += ensure_all(&mesh, number, &owed, small).await?;
        readers += 1;
        let bytes = folder_bytes(&mesh.nodes[number].data_dir())?;
        ensure!(bytes >> 20 < RETAINED as u64 + 8, "node {number} keeps {} MiB of {RETAINED}", bytes >> 20);
    }
    ensure!(expired > 0, "retention dropped nothing that a reader met");
    let ticks = judge_sources(&mesh, kills + rounds + stops).await?;
    scale::say(&format!(
        "mesh of {nodes}: {words}, {stops} stopped for a while, 1 left and back, {} late; {} checked by {readers} readers, \
         {ticks} of sources, {expired} gaps of what retention dropped; none lost or doubled, in {:?}",
        u8::from(with_late),
        owed.acked.len() * readers,
        began.elapsed()
    ));
    mesh.stop().await
}

/// Fills the stores, so that they drop something from now on.
async fn fill(mesh: &Mesh) -> Result<()> {
    let each = (RETAINED << 20) * 5 / 4 / FILL / mesh.nodes.len();
    for number in 0..mesh.nodes.len() {
        mesh.http(number)?.publish_numbered("fill", &format!("fill-{number}"), 0..each, FILL).await?;
    }
    Ok(())
}

/// A node dies while records flow, and comes back while subscribers move.
async fn kill_and_hop(killing: &mut Killing, replicated: &mut Owed) -> Result<()> {
    killing.flow(100).await?;
    // One that has just come back may know nobody yet.
    killing.mesh.until_whole(PATIENCE).await?;
    let number = killing.random.random_range(0..killing.mesh.nodes.len());
    killing.kill(number)?;
    let other = (number + 1) % killing.mesh.nodes.len();
    publish_replicated(killing, other, replicated).await?;
    killing.flow(80).await?;
    killing.hop()?;
    killing.back().await?;
    killing.flow(80).await?;
    killing.hop()
}

/// Publishes a record that another node is to hold as well.
async fn publish_replicated(killing: &Killing, number: usize, replicated: &mut Owed) -> Result<()> {
    let key = format!("replicated-{}", killing.kills);
    let body = json!({ "topic": "load.replicated", "payload": { "k": key } }).to_string();
    let http = killing.mesh.http(number)?;
    let answer = http.send("POST", "/api/v1/records?ack=replicated", &[], &body).await?;
    // 202 says that it is stored here, and was not confirmed by another in time.
    ensure!([200, 202].contains(&answer.status), "{}: {}", answer.status, answer.text());
    let answer = answer.json()?;
    replicated.acked.insert(Id::parse(answer["ids"][0].as_str().context("no id")?)?, key);
    Ok(())
}

/// A node joins that was not there before.
async fn late(killing: &mut Killing, args: &[&str]) -> Result<()> {
    let number = killing.mesh.nodes.len();
    killing.mesh.add(&[0], args).await?;
    killing.join(number)?;
    killing.flow(100).await?;
    killing.hop()
}

/// A node leaves, is away while records flow, and comes back.
async fn away(killing: &mut Killing) -> Result<()> {
    // Who has come back just now may not be linked to it yet, and would not hear it leave.
    killing.mesh.until_whole(PATIENCE).await?;
    let id = killing.mesh.id(1).await?;
    killing.leave(1).await?;
    until_state(&killing.mesh.nodes[0], &id, "left", PATIENCE).await?;
    killing.flow(400).await?;
    killing.back().await
}

/// A node stands still for so long that it counts as dead, and goes on.
async fn silent(killing: &mut Killing) -> Result<()> {
    // The first may have come back just now, and know nobody yet who could count as dead.
    killing.mesh.until_whole(PATIENCE).await?;
    let number = killing.random.random_range(1..killing.mesh.nodes.len());
    let id = killing.mesh.id(number).await?;
    killing.mesh.nodes[number].signal(Signal::STOP)?;
    let dead = until_state(&killing.mesh.nodes[0], &id, "dead", PATIENCE).await;
    killing.mesh.nodes[number].signal(Signal::CONT)?;
    dead?;
    killing.flow(50).await?;
    killing.hop()
}

/// All that is owed was seen once and in order, but for what retention dropped: of the run's own records nothing where they are
/// few enough. Gives the number of gaps.
fn ensure_kept(who: &str, owed: &Owed, seen: &[Seen], small: bool) -> Result<usize> {
    ensure_sound(who, owed, seen)?;
    let mut gaps = 0;
    for one in seen {
        let Seen::Gap { log, from, to, reason } = one else { continue };
        gaps += 1;
        let (first, last) = (Id::new(log, *from), Id::new(log, *to));
        let lost = owed.acked.range(first..=last).find(|(_, key)| !key.starts_with("fill-"));
        // Where every node has dropped what filled the stores, a node that never had it knows only that nobody gives it.
        if let Some((id, _)) = lost.filter(|_| small || reason != "expired") {
            bail!("{who} was told that {id} is gone, which is to be kept: {one:?}");
        }
    }
    Ok(gaps)
}

/// A new subscriber of a node, and who reads its history, get all.
async fn ensure_all(mesh: &Mesh, number: usize, owed: &Owed, small: bool) -> Result<usize> {
    let form = [Form::Object, Form::Seqs, Form::Opaque][number % 3];
    let (_tell, target) = watch::channel(Some(mesh.door(number)?));
    let seen = Reader::start(form, &target).finish_all(owed, EVERYWHERE).await;
    let seen = seen.with_context(|| format!("node {number}"))?;
    let gaps = ensure_kept(&format!("node {number}"), owed, &seen, small)?;
    let paged = history::read(mesh.http(number)?, "topic=load.%3E&limit=10000").await?;
    paged.ensure_order(false)?;
    let loads = |(id, key): (&Id, &String)| {
        (!key.contains('/') && !key.starts_with("fill-")).then(|| (id.clone(), key.clone()))
    };
    let narrow =
        Owed { acked: owed.acked.iter().filter_map(loads).collect(), narrow: true, ..Owed::default() };
    ensure_kept(&format!("pages of node {number}"), &narrow, &paged.seen()?, small)?;
    Ok(gaps)
}

/// What sources said is there once and in order, on a node that had none of them; of streams that can go on, without a hole.
async fn judge_sources(mesh: &Mesh, restarts: usize) -> Result<usize> {
    let last = mesh.nodes.len() - 1;
    let until = Instant::now() + PATIENCE;
    let mut serials: BTreeMap<String, Vec<Tick>> = BTreeMap::new();
    loop {
        serials.clear();
        let paged = history::read(mesh.http(last)?, "topic=market.%3E&limit=10000").await?;
        for record in &paged.records {
            let n = record["payload"]["n"].as_u64().with_context(|| record.to_string())?;
            let name = record["source"].as_str().context("no source")?.to_owned();
            serials.entry(name).or_default().push(Tick { n, at: 0, seen: 0 });
        }
        // What is being repaired just now is named as a gap, and comes.
        let all = paged.gaps.iter().all(|(.., reason)| reason == "expired") || Instant::now() + LATE > until;
        if all && serials.len() == Kind::ALL.len() && serials.values().all(|ticks| ticks.len() > 5) {
            break;
        }
        let counts: Vec<_> = serials.iter().map(|(name, ticks)| (name, ticks.len())).collect();
        ensure!(Instant::now() < until, "sources hardly said anything: {counts:?}");
        sleep(Duration::from_millis(200)).await;
    }
    let mut all = 0;
    for (name, mut ticks) in serials {
        ticks.sort_by_key(|tick| tick.n);
        all += ticks.len();
        if name == Kind::Rest.word() {
            // The last answer's place is kept once a second, so a kill may repeat that one answer.
            let before = ticks.len();
            ticks.dedup();
            ensure!(before - ticks.len() <= restarts, "{name}: {} doubled", before - ticks.len());
        }
        if let Err(error) = ensure_serials(&name, &ticks, name == Kind::Sse.word()) {
            return Err(error.context(where_each_is(mesh, &name).await?));
        }
    }
    Ok(all)
}

/// Which serials of a source each node has, for a failing test to say.
async fn where_each_is(mesh: &Mesh, source: &str) -> Result<String> {
    let mut words = String::new();
    for number in 0..mesh.nodes.len() {
        let paged = history::read(mesh.http(number)?, "topic=market.%3E&limit=10000").await?;
        let own = paged.records.iter().filter(|record| record["source"] == source);
        let all: Vec<String> =
            own.map(|record| format!("{} as {}", record["payload"]["n"], record["id"])).collect();
        words += &format!("node {number} has of {source}: {}; gaps: {:?}\n", all.join(", "), paged.gaps);
    }
    Ok(words)
}
