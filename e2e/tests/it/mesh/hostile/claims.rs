//! Heads, floors and ranges that are claimed and not proved, however absurd: they move nobody's start, cursor or jump.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::forge::{Claim, Forger, batches, held_answer, open, summaries};
use e2e::guest::{Answers, Guest, ensure_cut};
use e2e::words::Id;
use e2e::{forge, scale};
use serde_json::json;

use super::{CUT, Scene, payloads};

/// The key and the log id in an honest batch.
fn named(batch: &[u8]) -> Result<([u8; 32], u64)> {
    let (header, _) = open(batch)?;
    let (Some(serde_cbor::Value::Bytes(origin)), Some(serde_cbor::Value::Integer(log))) =
        (header.get(&2), header.get(&3))
    else {
        anyhow::bail!("no origin or log: {header:?}")
    };
    Ok((origin.clone().try_into().map_err(|_| anyhow::anyhow!("no key"))?, u64::try_from(*log)?))
}

/// Says of every log that it reaches absurdly far, with proofs that prove nothing, and gives nothing of it.
fn liar(claims: Vec<Claim>) -> Answers {
    Arc::new(move |question: &[u8]| match question.first() {
        Some(1) => Some(summaries(&claims)),
        Some(2) => Some(batches(claims.first(), true, &[])),
        Some(5) => Some(held_answer(true)),
        _ => Some(vec![0]),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_moves_nothing_by_what_is_claimed_and_not_proved() -> Result<()> {
    let scene = Scene::begin("claims").await?;
    let listener = Guest::join(&Forger::random("claims"), &scene.addresses, e2e::guest::refusing()).await?;
    let heard = listener.until_heard(30, CUT).await?;
    let mut claims = Vec::new();
    for batch in &heard {
        let (origin, log) = named(batch)?;
        let (_, proof) = open(batch)?;
        let far = |head, floor, proof| Claim { origin, log, head, floor, forked: None, proof };
        // A head without proof, one with the proof of another head, one whose floor is above all, one that says: forked.
        claims.push(match claims.len() % 4 {
            0 => far(1_000_000_000_000, 1, None),
            1 => far(u64::MAX - 1, 1, Some(proof)),
            2 => far(1_000_000_000_000, 999_999_999_999, None),
            _ => Claim { forked: Some(1), ..far(5, 1, None) },
        });
    }
    // Logs that nobody ever heard of, of honest origins and of nobody.
    let (origin, log) = named(&heard[0])?;
    claims.extend((1..50).map(|n| Claim {
        origin,
        log: log + n,
        head: 1 << 50,
        floor: 1,
        forked: None,
        proof: None,
    }));
    let mut forger = Forger::random("claims");
    let guest = Guest::join(&forger, &scene.addresses, liar(claims)).await?;
    // Its own beacons are signed, so of its own logs they may say anything.
    let own = forger.log;
    let most = u64::MAX - 1;
    for heads in [[(own, most, 1), (own + 1, 1 << 60, u64::MAX)], [(own + 2, 1, 5), (u64::MAX, most, most)]] {
        guest.beacon(&forger.beacon(&heads, &[[9; 32]])).await?;
    }
    let began = Instant::now();
    while guest.questions() < 6 {
        ensure!(began.elapsed() < CUT, "nobody asks the liar anything");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for number in 0..3 {
        ensure_live(&scene, number).await?;
    }
    scale::say(&format!("the liar was asked {} questions", guest.questions()));
    scene.end().await
}

/// Who starts live at a node gets the next record of every other, and so does who goes on from its cursor at another node.
async fn ensure_live(scene: &Scene, number: usize) -> Result<()> {
    let mut feed = scene.mesh.nodes[number].open("/feed?start=live&topic=claim.%3E").await?;
    let caught_up = feed.expect("caught_up").await?;
    let mut ids = Vec::new();
    for at in 0..3 {
        let body = json!({ "topic": "claim.a", "payload": { "k": format!("claim-{number}-{at}") } });
        let answer = scene.mesh.http(at)?.publish(&body).await?;
        let id = Id::parse(answer["ids"][0].as_str().context("no id")?)?;
        scene.ledger.sent(1);
        scene.ledger.acked(id.clone(), format!("claim-{number}-{at}"));
        ids.push(id);
    }
    ids.sort();
    let began = Instant::now();
    ensure!(records(&mut feed, scene, 3).await? == ids, "not the three that were published");
    ensure!(began.elapsed() < CUT, "live is {:?} late", began.elapsed());
    let cursor = caught_up["cursor"].as_str().context("no cursor")?;
    let path = format!("/feed?start=after:{}&topic=claim.%3E", e2e::words::percent(cursor));
    let mut again = scene.mesh.nodes[(number + 1) % 3].open(&path).await?;
    ensure!(records(&mut again, scene, 3).await? == ids, "another node gives others from the same cursor");
    Ok(())
}

async fn records(feed: &mut e2e::socket::Socket, scene: &Scene, count: usize) -> Result<Vec<Id>> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let frame = feed.json().await?;
        match frame["type"].as_str() {
            Some("record") => ids.push(Id::of(&frame, "id")?),
            Some("gap") => {
                let log = frame["log"].as_str().unwrap_or("");
                ensure!(!scene.ids.iter().any(|id| log.starts_with(id.as_str())), "a gap: {frame}");
            }
            _ => {}
        }
    }
    ids.sort();
    Ok(ids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_cuts_off_who_answers_with_what_is_not_valid() -> Result<()> {
    let scene = Scene::begin("answers").await?;
    let mut kinds: Vec<(&str, Answers, Forger, Guest)> = Vec::new();
    for what in ["forged batches", "batches of another log", "noise"] {
        let mut forger = Forger::random("answers");
        let (origin, log) = (forger.origin(), forger.log);
        let mut batch = forger.say("answers.a", &payloads(what, 3)).bytes;
        if what == "forged batches" {
            let last = batch.len() - 3;
            batch[last] ^= 1;
        } else {
            batch = Forger::random("answers").say("answers.a", &payloads(what, 3)).bytes;
        }
        let claim = Claim { origin, log, head: 1_000_000, floor: 1, forked: None, proof: None };
        let noise = what == "noise";
        let answers: Answers = Arc::new(move |question: &[u8]| match question.first() {
            Some(1) if !noise => Some(summaries(std::slice::from_ref(&claim))),
            Some(2) if !noise => Some(batches(Some(&claim), true, std::slice::from_ref(&batch))),
            _ => Some(forge::lead(&[0xff; 40])),
        });
        let guest = Guest::join(&forger, &scene.addresses, answers.clone()).await?;
        // Its signed beacon names its log, so that nodes ask for it.
        guest.beacon(&forger.beacon(&[(log, 1_000_000, 1)], &[])).await?;
        kinds.push((what, answers, forger, guest));
    }
    for (what, _, _, guest) in &kinds {
        let took =
            ensure_cut(guest, &scene.ids, CUT).await.with_context(|| format!("who answers with {what}"))?;
        scale::say(&format!("who answers with {what} is cut off after {took:?}"));
    }
    scene.end().await
}
