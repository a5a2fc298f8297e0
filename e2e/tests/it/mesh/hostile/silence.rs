//! Who says nothing, or promises and gives nothing, holds nobody up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::forge::{Claim, Forger, open, summaries};
use e2e::guest::{Answers, Guest};
use e2e::reader::Reader;
use e2e::{raw, scale};
use serde_cbor::Value;
use tokio::sync::watch;

use super::super::EVERYWHERE;
use super::{CUT, Scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_for_nobody_who_is_silent() -> Result<()> {
    let mut scene = Scene::begin("silence").await?;
    // Takes every stream and says nothing on it, not even who it is.
    let pair = Forger::random("silence").keypair().context("no key")?;
    let mut stranger = raw::stream(&scene.addresses[0], &pair, "/anode/1/silence/repair").await?;
    let came = Instant::now();
    // Says that it has all there is, and gives none of it.
    let mut forger = Forger::random("silence");
    let listener = Guest::join(&Forger::random("silence"), &scene.addresses, e2e::guest::refusing()).await?;
    let mut claims: Vec<Claim> = Vec::new();
    for batch in listener.until_heard(30, CUT).await? {
        let (header, _) = open(&batch)?;
        let (Some(Value::Bytes(origin)), Some(Value::Integer(log))) = (header.get(&2), header.get(&3)) else {
            continue;
        };
        let (origin, log) = (origin[..].try_into()?, u64::try_from(*log)?);
        if claims.iter().all(|claim| claim.log != log) {
            claims.push(Claim { origin, log, head: 1_000_000, floor: 1, forked: None, proof: None });
        }
    }
    let mute: Answers =
        Arc::new(move |question: &[u8]| (question.first() == Some(&1)).then(|| summaries(&claims)));
    // The late one knows nobody but the silent one's neighbours; it asks all whom it meets.
    scene.mesh.add(&[0], &[]).await?;
    scene.ids.push(scene.mesh.id(3).await?);
    let late = &scene.mesh.nodes[3];
    let mut addresses = scene.addresses.clone();
    addresses.push(e2e::guest::address(late).await?);
    let guest = Guest::join(&forger, &addresses, mute).await?;
    guest.beacon(&forger.beacon(&[], &[])).await?;
    let began = Instant::now();
    scene.flow(50).await?;
    let owed = scene.ledger.owed();
    let (_tell, target) = watch::channel(Some(scene.mesh.door(3)?));
    let reader = Reader::start(e2e::place::Form::Object, &target);
    let seen = reader.finish_all(&owed, EVERYWHERE).await.context("the late one")?;
    super::ensure_honest("the late one", &scene.ids, &owed, &seen)?;
    scale::say(&format!(
        "a late one has all {:?} after it came, one of its peers being mute",
        began.elapsed()
    ));
    ensure!(guest.questions() > 0, "nobody asked the mute one anything");
    stranger.until_closed(CUT.saturating_sub(came.elapsed()) + Duration::from_secs(2)).await?;
    scale::say(&format!("who never said what it speaks is gone {:?} after it came", came.elapsed()));
    scene.end().await
}
