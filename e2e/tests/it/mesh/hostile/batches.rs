//! Batches and beacons that are none, replayed ones, and such from the future.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::forge::{Forger, Signed, number, octets};
use e2e::guest::{Guest, ensure_cut, refusing};
use e2e::mesh::until_event;
use e2e::scale;
use e2e::words::Id;
use serde_cbor::Value;

use super::super::until_there;
use super::{CUT, Scene, payloads};

/// Makes a message of a kind, each time another one.
type Make = fn(&mut Forger, [u8; 32]) -> Vec<u8>;

fn fresh(forger: &mut Forger) -> Signed {
    forger.say("bad.a", &payloads(&rand::random::<u64>().to_string(), 3))
}

fn changed(forger: &mut Forger, key: u64, value: Value) -> Vec<u8> {
    let payloads = payloads(&rand::random::<u64>().to_string(), 3);
    forger.draft("bad.a", e2e::forge::now(), &payloads).with(key, value).sign().bytes
}

/// What is no batch of its origin, by what is wrong with it.
const BATCHES: [(&str, Make); 12] = [
    ("oversize", |forger, _| {
        let long = format!("\"{}{}\"", rand::random::<u64>(), "x".repeat(100_000));
        forger.draft("bad.a", e2e::forge::now(), &[long.clone(), long.clone(), long]).sign().bytes
    }),
    ("truncated", |forger, _| {
        let mut bytes = fresh(forger).bytes;
        bytes.truncate(bytes.len() - 1);
        bytes
    }),
    ("with bytes behind it", |forger, _| [fresh(forger).bytes, vec![0]].concat()),
    ("with a bad signature", |forger, _| {
        let mut batch = fresh(forger);
        let place = 4 + batch.header.len() + 10;
        batch.bytes[place] ^= 1;
        batch.bytes
    }),
    ("in another's name", |forger, honest| changed(forger, 2, octets(&honest))),
    ("with a bad root", |forger, _| {
        let mut batch = fresh(forger);
        // A digit within the last payload, which ends with `"}`.
        let place = batch.bytes.len() - 3;
        batch.bytes[place] ^= 1;
        batch.bytes
    }),
    ("of another network", |forger, _| changed(forger, 1, Value::Text("elsewhere".to_owned()))),
    ("of another shard", |forger, _| {
        let shard = rand::random_range(0..4);
        let draft =
            forger.draft("bad.a", e2e::forge::now(), &payloads(&rand::random::<u64>().to_string(), 1));
        draft.with(8, number(2)).with(9, number(shard)).sign().bytes
    }),
    ("with times that fall", |forger, _| {
        let now = e2e::forge::now();
        changed(forger, 10, number(now + 5_000_000))
    }),
    ("with payloads that are no JSON", |forger, _| {
        forger.draft("bad.a", e2e::forge::now(), &[format!("{{{}", rand::random::<u64>())]).sign().bytes
    }),
    ("with seqs beyond 64 bits", |forger, _| changed(forger, 4, number(u64::MAX))),
    ("nothing but noise", |_, _| rand::random::<[u8; 32]>().repeat(30)),
];

/// What is no beacon.
const BEACONS: [(&str, Make); 4] = [
    ("a beacon with a head beyond 64 bits", |forger, _| forger.beacon(&[(5, u64::MAX, 1)], &[])),
    ("a garbled beacon", |forger, _| {
        let mut bytes = forger.beacon(&[], &[]);
        bytes[20] ^= 0x40;
        bytes
    }),
    ("an overlong beacon", |forger, _| forger.seal(rand::random::<[u8; 32]>().repeat(1_000))),
    ("a beacon of another network", |forger, _| {
        let network = std::mem::replace(&mut forger.network, "elsewhere".to_owned());
        let bytes = forger.beacon(&[], &[]);
        forger.network = network;
        bytes
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_cuts_off_who_sends_what_is_no_batch_or_beacon() -> Result<()> {
    let scene = Scene::begin("forged").await?;
    let honest = Forger::random("forged").origin();
    let kinds = BATCHES.iter().map(|kind| (kind, false)).chain(BEACONS.iter().map(|kind| (kind, true)));
    let mut guests = Vec::new();
    for ((what, make), beacon) in kinds {
        let mut forger = Forger::random("forged");
        let guest = Guest::join(&forger, &scene.addresses, refusing()).await?;
        for _ in 0..4 {
            let bytes = make(&mut forger, honest);
            if beacon { guest.beacon(&bytes).await? } else { guest.gossip(&bytes).await? }
        }
        guests.push((*what, forger, guest));
    }
    for (what, _, guest) in &guests {
        let took = ensure_cut(guest, &scene.ids, CUT).await;
        took.map_err(|error| error.context(format!("who sent what is {what}")))?;
    }
    // Who comes again is cut off again at once.
    let (_, forger, guest) = &guests[0];
    guest.again(&scene.addresses[0]).await?;
    let until = std::time::Instant::now() + CUT;
    while guest.cuts(&scene.ids[0])? < 2 {
        ensure!(std::time::Instant::now() < until, "who was cut off is let in again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let words = until_event(&scene.mesh.nodes[0], "peer_cut", &forger.id(), CUT).await?;
    ensure!(words.contains("cut off"), "{words}");
    for number in 0..3 {
        let gossip = scene.gossip(number).await?;
        let (rejected, cut) = (gossip["messages_rejected"].as_u64(), gossip["peers_cut"].as_u64());
        ensure!(rejected >= Some(3 * guests.len() as u64) && cut >= Some(guests.len() as u64), "{gossip}");
    }
    // What was forged is nowhere.
    for (_, forger, _) in &guests {
        let path = format!("/api/v1/records/{}/1", forger.log_name());
        scene.mesh.http(1)?.send("GET", &path, &[], "").await?.ensure(404)?;
    }
    scene.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_replays_for_nothing_new_and_sets_the_future_aside() -> Result<()> {
    let scene = Scene::begin("replays").await?;
    let mut forger = Forger::random("replays");
    let guest = Guest::join(&forger, &scene.addresses, refusing()).await?;
    let heard = guest.until_heard(30, CUT).await?;
    for batch in heard.iter().chain(&heard).chain(&heard) {
        guest.gossip(batch).await?;
    }
    // A batch that is an hour early is set aside: no record of it, and no gap for it.
    let early = Forger::random("replays");
    let ahead = |seconds: u64| e2e::forge::now() + seconds * 1_000_000;
    guest.gossip(&early.draft("early.a", ahead(3_600), &payloads("early", 3)).sign().bytes).await?;
    // One that is a minute early is taken, as are those of now.
    let minute = forger.draft("early.b", ahead(60), &payloads("minute", 2)).sign();
    forger.follow(&minute, 2);
    guest.gossip(&minute.bytes).await?;
    for node in &scene.mesh.nodes {
        until_there(node, &Id::new(&forger.log_name(), 2)).await?;
        let path = format!("/api/v1/records/{}/1", early.log_name());
        node.http()?.send("GET", &path, &[], "").await?.ensure(404)?;
    }
    for id in &scene.ids {
        ensure!(guest.cuts(id)? == 0, "who repeats and who is early is cut off");
    }
    scale::say(&format!("replayed {} batches three times", heard.len()));
    scene.end().await
}
