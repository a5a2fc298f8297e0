//! Floods of beacons, of questions and of answers that are never read: the honest hardly notice.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::forge::{Forger, compare, holds, lead, range};
use e2e::guest::{Guest, ensure_cut, refusing};
use e2e::process::resident_bytes;
use e2e::{raw, scale};
use libp2p::futures::AsyncWriteExt as _;
use serde_json::Value;
use tokio::task::JoinSet;

use super::{CUT, Scene};

/// How long an honest record may take to the other nodes meanwhile, on a machine that the flood itself keeps busy.
const LATE: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_cuts_off_who_floods_with_beacons_or_questions() -> Result<()> {
    let scene = Scene::begin("floods").await?;
    let chatter = Forger::random("floods");
    let talker = Guest::join(&chatter, &scene.addresses, refusing()).await?;
    let asker = Guest::join(&Forger::random("floods"), &scene.addresses, refusing()).await?;
    let mut floods = JoinSet::new();
    let ids = scene.ids.clone();
    let (talker, asker) = (std::sync::Arc::new(talker), std::sync::Arc::new(asker));
    let (talks, asks) = (talker.clone(), asker.clone());
    floods.spawn(async move {
        let mut chatter = chatter;
        let links: Vec<[u8; 32]> = (0..40).map(|n| [n; 32]).collect();
        while talks.beacon(&chatter.beacon(&[], &links)).await.is_ok() {}
    });
    floods.spawn(async move {
        let origin = [5; 32];
        let questions = [compare(true), range(origin, 7, 1, 1 << 40, 2 << 20), holds(origin, 7, 1, 5)];
        'flood: loop {
            for id in &ids {
                for question in &questions {
                    if asks.press(id, question).await.is_err() {
                        break 'flood;
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    });
    let mut longest = Duration::ZERO;
    for number in 0..3 {
        longest = longest.max(scene.reach(&format!("flooded-{number}")).await?);
    }
    let talked = ensure_cut(&talker, &scene.ids, CUT).await.context("who floods with beacons")?;
    let asked = ensure_cut(&asker, &scene.ids, CUT).await.context("who floods with questions")?;
    floods.abort_all();
    scale::say(&format!(
        "cut off: talker after {talked:?}, asker after {asked:?}; honest records took {longest:?}"
    ));
    ensure!(longest < LATE, "honest records took {longest:?}");
    for number in 0..3 {
        let gossip: Value = scene.gossip(number).await?;
        ensure!(gossip["peers_cut"].as_u64() >= Some(2), "{gossip}");
    }
    scene.end().await
}

/// Who asks for much and reads nothing holds no more of a node's memory than a few answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_no_heap_of_answers_for_who_reads_none() -> Result<()> {
    let scene = Scene::begin("unread").await?;
    // Two megabytes and more in one log.
    let pad = "x".repeat(60_000);
    let mut last = None;
    for number in 0..60 {
        let body = serde_json::json!({ "topic": "load.big", "payload": { "k": format!("big-{number}"), "pad": pad } });
        let answer = scene.mesh.http(0)?.publish(&body).await?;
        let id = e2e::words::Id::parse(answer["ids"][0].as_str().context("no id")?)?;
        scene.ledger.sent(1);
        scene.ledger.acked(id.clone(), format!("big-{number}"));
        last = Some(id);
    }
    let last = last.context("nothing published")?;
    let log =
        last.log.split('/').nth(1).and_then(|log| u64::from_str_radix(log, 16).ok()).context("no log")?;
    let listener = Guest::join(&Forger::random("unread"), &scene.addresses[..1], refusing()).await?;
    let origin: [u8; 32] = scene.ids[0].parse::<libp2p::PeerId>()?.to_bytes()[6..].try_into()?;
    let question = range(origin, log, 1, last.seq, 2 << 20);
    ensure!(
        listener.ask(&scene.ids[0], &question).await?.len() > 1 << 20,
        "the range is too small for this test"
    );
    let before = resident_bytes(scene.mesh.nodes[0].pid()?)?;
    let mut streams = Vec::new();
    let who = Forger::random("unread").keypair().context("no key")?;
    let connection = raw::many(&scene.addresses[0], &who, "/anode/1/unread/repair", 60).await?;
    for mut stream in connection.streams {
        stream.write_all(&lead(&question)).await?;
        stream.flush().await?;
        streams.push(stream);
    }
    let until = Instant::now() + Duration::from_secs(3);
    let mut most = before;
    while Instant::now() < until {
        most = most.max(resident_bytes(scene.mesh.nodes[0].pid()?)?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scale::say(&format!(
        "60 answers of 2 MiB that nobody reads: {} KiB more",
        most.saturating_sub(before) / 1024
    ));
    ensure!(most < before + (48 << 20), "the node grew from {before} to {most} bytes");
    scene.end().await
}
