//! What an honest node once said is said again by others, however often: nobody hears it worse for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::forge::Forger;
use e2e::guest::{Guest, refusing};
use e2e::{mesh, scale};
use tokio::task::JoinSet;

use super::Scene;

/// Beacons that were recorded of the one that goes on to speak.
const RECORDED: usize = 10_000;
/// How long they are replayed: longer than a silent peer counts as there.
const REPLAYED: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_hears_who_speaks_though_others_replay_what_it_said() -> Result<()> {
    let scene = Scene::begin("replays").await?;
    let mut speaker = Forger::random("replays");
    let recorded: Vec<Vec<u8>> = (0..RECORDED).map(|_| speaker.beacon(&[], &[[5; 32]; 20])).collect();
    let honest = Guest::join(&speaker, &scene.addresses, refusing()).await?;
    let replayer = Guest::join(&Forger::random("replays"), &scene.addresses, refusing()).await?;
    let over = Arc::new(AtomicBool::new(false));
    let ends = over.clone();
    let mut flood = JoinSet::new();
    honest.beacon(&speaker.beacon(&[], &[])).await?;
    flood.spawn(async move {
        // Below what one sender may say, far above what one origin may.
        for few in recorded.chunks(40) {
            for beacon in few {
                let _ = replayer.beacon(beacon).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            if ends.load(Ordering::Relaxed) {
                break;
            }
        }
        replayer
    });
    let (began, id) = (Instant::now(), speaker.id());
    while began.elapsed() < REPLAYED {
        honest.beacon(&speaker.beacon(&[], &[])).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        for node in &scene.mesh.nodes {
            let peers = mesh::peers(node).await?;
            let state = peers.iter().find(|peer| peer["id"] == *id).map(|peer| peer["state"].clone());
            ensure!(state == Some("alive".into()), "after {:?} it is {state:?}", began.elapsed());
        }
    }
    over.store(true, Ordering::Relaxed);
    let cuts = scene.ids.iter().map(|id| honest.cuts(id)).sum::<Result<usize>>()?;
    ensure!(cuts == 0, "who speaks as it should was cut off {cuts} times");
    scale::say("who speaks is heard while what it once said is replayed 800 times a second");
    scene.end().await
}
