//! What an honest node once said is said again by others, however often: nothing of what was comes back, and nobody hears the honest
//! node worse for that.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::forge::Forger;
use e2e::guest::{Guest, refusing};
use e2e::{mesh, scale};
use rand::seq::SliceRandom as _;
use serde_cbor::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{CUT, Scene, payloads};

/// Beacons that were recorded of each of its two starts.
const RECORDED: usize = 5_000;
/// How many are replayed every 50 ms: below what one sender may say, far above what one origin may.
const AT_ONCE: usize = 40;
/// How long they are replayed: longer than a silent peer counts as there.
const REPLAYED: Duration = Duration::from_secs(12);

/// A beacon that says other things of the node than the next, and now and then that it leaves.
fn beacon(speaker: &mut Forger, head: u64, name: &str, address: &str, leaves: bool) -> Vec<u8> {
    let heads = [(speaker.log, head, 1)];
    let text = |text: &str| Value::Text(text.to_owned());
    let changes = [(7, text(name)), (10, Value::Array(vec![text(address)])), (18, Value::Bool(leaves))];
    speaker.beacon_with(&heads, &[[5; 32]; 20], &changes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_learns_nothing_from_what_others_replay() -> Result<()> {
    let scene = Scene::begin("replays").await?;
    let mut speaker = Forger::random("replays");
    let victim = TcpListener::bind("127.0.0.1:0")?;
    victim.set_nonblocking(true)?;
    let old = format!("/ip4/127.0.0.1/tcp/{}", victim.local_addr()?.port());
    let mut recorded = Vec::new();
    for _ in 0..2 {
        recorded.extend((0..RECORDED).map(|n| beacon(&mut speaker, 2, "old", &old, n % 20 == 19)));
        sleep(Duration::from_millis(1_100)).await;
        if recorded.len() == RECORDED {
            speaker.restart();
        }
    }
    recorded.shuffle(&mut rand::rng());
    let honest = Guest::join(&speaker, &scene.addresses, refusing()).await?;
    let replayer = Guest::join(&Forger::random("replays"), &scene.addresses, refusing()).await?;
    honest.gossip(&speaker.say("replays.a", &payloads("now", 5)).bytes).await?;
    honest.beacon(&beacon(&mut speaker, 5, "now-0", "/ip4/127.0.0.1/tcp/9", false)).await?;
    for node in &scene.mesh.nodes {
        mesh::until_state(node, &speaker.id(), "alive", CUT).await?;
    }
    let over = Arc::new(AtomicBool::new(false));
    let ends = over.clone();
    let mut replays = JoinSet::new();
    replays.spawn(async move {
        for few in recorded.chunks(AT_ONCE) {
            for beacon in few {
                let _ = replayer.beacon(beacon).await;
            }
            sleep(Duration::from_millis(50)).await;
            if ends.load(Ordering::Relaxed) {
                break;
            }
        }
        replayer
    });
    let began = Instant::now();
    let mut spoken = 0;
    while began.elapsed() < REPLAYED {
        spoken += 1;
        let name = format!("now-{spoken}");
        honest.beacon(&beacon(&mut speaker, 5, &name, "/ip4/127.0.0.1/tcp/9", false)).await?;
        for node in &scene.mesh.nodes {
            ensure_says(node, &speaker, &name)
                .await
                .with_context(|| format!("after {:?}", began.elapsed()))?;
        }
        sleep(Duration::from_millis(200)).await;
    }
    over.store(true, Ordering::Relaxed);
    for (node, id) in scene.mesh.nodes.iter().zip(&scene.ids) {
        ensure!(honest.cuts(id)? == 0, "who speaks as it should was cut off");
        let events = node.http()?.get("/api/v1/events?limit=1000").await?;
        for event in events["events"].as_array().context("no events")? {
            let of = event["detail"].as_str().is_some_and(|detail| detail.contains(&speaker.id()));
            ensure!(!of || event["kind"] == "peer_joined", "{event}");
        }
    }
    ensure!(victim.accept().is_err(), "an address that the node left was dialled");
    scale::say(&format!("{spoken} beacons were heard while {} a second were replayed", AT_ONCE * 20));
    scene.end().await
}

/// A node hears the newest that the speaker says, and shows nothing that it once said.
async fn ensure_says(node: &e2e::node::Node, speaker: &Forger, name: &str) -> Result<()> {
    let (began, id) = (Instant::now(), speaker.id());
    loop {
        let peers = mesh::peers(node).await?;
        let peer = peers.iter().find(|peer| peer["id"] == id).context("it is not known")?;
        ensure!(peer["state"] == "alive" && peer["name"] != "old", "{peer}");
        ensure!(
            peer["heads"].as_object().is_some_and(|heads| heads.values().all(|head| *head == 5)),
            "{peer}"
        );
        let address = format!("/ip4/127.0.0.1/tcp/9/p2p/{id}");
        ensure!(peer["addresses"] == serde_json::json!([address]), "{peer}");
        if peer["name"] == name {
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_secs(4), "{name} is not heard: {peer}");
        sleep(Duration::from_millis(50)).await;
    }
}
