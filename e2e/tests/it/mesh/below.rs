//! Readers from below a node's floor are served through a peer that has the range still.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::checker::{Owed, Seen, ensure_sound};
use e2e::http::Http;
use e2e::mesh::{Mesh, PATIENCE};
use e2e::node::Node;
use e2e::place::{Form, Place};
use e2e::process::folder_bytes;
use e2e::reader::{key_of, note_gap, read_until_live};
use e2e::scale;
use e2e::words::{Id, percent};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{EVERYWHERE, ensure_whole};

const SMALL: [&str; 4] = ["--segment-bytes", "1MiB", "--retain-bytes", "4MiB"];

/// Reads from a start until all that is owed has come, or was named in a gap.
async fn read_on(node: &Node, start: &str, place: &mut Place, owed: &Owed) -> Result<()> {
    let mut ends: BTreeMap<&str, u64> = owed.acked.keys().map(|id| (id.log.as_str(), id.seq)).collect();
    let mut socket = node.door()?.with_token(node.token()).open(&format!("/feed?start={start}")).await?;
    let read = async {
        while !ends.is_empty() {
            let frame = socket.json().await?;
            match frame["type"].as_str() {
                Some("record") => {
                    let id = Id::of(&frame, "id")?;
                    ends.retain(|log, end| *log != id.log || *end > id.seq);
                    place.record(id, key_of(&frame));
                }
                Some("gap") => {
                    let (log, to) = (frame["log"].as_str().unwrap_or(""), frame["to"].as_u64().unwrap_or(0));
                    ends.retain(|other, end| *other != log || *end > to);
                    note_gap(place, &frame);
                }
                Some("cursor" | "caught_up") => place.cursor(frame["cursor"].as_str().unwrap_or("")),
                _ => bail!("an unexpected frame: {frame}"),
            }
        }
        Ok(())
    };
    timeout(EVERYWHERE, read).await.with_context(|| format!("{start} did not come to its end"))?
}

/// Waits until a node keeps no more than its room.
async fn until_small(node: &Node) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while folder_bytes(&node.data_dir())? > 6 << 20 {
        ensure!(Instant::now() < until, "{} bytes with 4 MiB retained", folder_bytes(&node.data_dir())?);
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_readers_below_a_floor_through_a_peer() -> Result<()> {
    let mut mesh = Mesh::new("below");
    mesh.add(&[], &["--segment-bytes", "1MiB"]).await?;
    mesh.add(&[0], &SMALL).await?;
    mesh.until_whole(PATIENCE).await?;
    let mut owed = Owed::default();
    for number in 0..2 {
        owed.acked.extend(
            mesh.http(number)?.publish_numbered("below.a", &format!("first{number}"), 0..300, 100).await?,
        );
    }
    let mut places = [Form::Opaque, Form::Object, Form::Seqs].map(Place::new);
    for place in &mut places {
        let mut socket = mesh.door(1)?.0.open("/feed?start=earliest").await?;
        read_until_live(&mut socket, place).await?;
        place.cut();
        ensure!(!place.is_empty(), "nothing seen before");
    }
    for part in 0..scale::pick(6, 30) {
        for number in 0..2 {
            let name = format!("p{part}-{number}");
            owed.acked.extend(mesh.http(number)?.publish_numbered("below.a", &name, 0..1_000, 1_000).await?);
        }
    }
    until_small(&mesh.nodes[1]).await?;
    // Nodes tell each other about once a second what they hold: before, nobody is known to have it.
    sleep(Duration::from_secs(3)).await;
    let began = Instant::now();
    for place in &mut places {
        let start = place.start();
        read_on(&mesh.nodes[1], &start, place, &owed).await?;
        ensure_whole(&format!("from {start}"), &owed, &place.seen())?;
    }
    scale::say(&format!(
        "three readers from below the floor had {} records after {:?}",
        owed.acked.len(),
        began.elapsed()
    ));
    ensure_pages(&mut mesh, &owed).await?;
    ensure_times(&mesh, &owed).await?;
    ensure_one(&mesh, &owed).await?;
    ensure_gaps_alone(&mut mesh, &owed).await
}

/// A start at a time below the floor gives what the peer that has it gives.
async fn ensure_times(mesh: &Mesh, owed: &Owed) -> Result<()> {
    for part in ["p0-0", "p1-1", "p3-0"] {
        let key = format!("{part}-500");
        let known = owed.acked.iter().find(|(_, known)| **known == key || known.ends_with(&key));
        let (id, _) = known.with_context(|| format!("no {key} among {:?}", owed.acked.values().next()))?;
        let record = mesh.http(0)?.get(&format!("/api/v1/records/{id}")).await?;
        let time = time_of(&record)?;
        let mut seen = Vec::new();
        let began = Instant::now();
        for number in 0..2 {
            let mut place = Place::new(Form::Object);
            read_on(&mesh.nodes[number], &time, &mut place, owed).await?;
            let mut ids: Vec<Id> = Vec::new();
            for one in place.seen() {
                match one {
                    Seen::Record(id, _) => ids.push(id),
                    gap @ Seen::Gap { .. } => bail!("node {number} told of {gap:?} from {time} on"),
                }
            }
            ids.sort();
            seen.push(ids);
        }
        ensure!(seen[0].contains(id), "{id} of that time is not among it");
        ensure!(seen[0] == seen[1], "{} and {} records from {time} on", seen[0].len(), seen[1].len());
        scale::say(&format!(
            "both gave {} records from {time} on after {:?}",
            seen[0].len(),
            began.elapsed()
        ));
    }
    Ok(())
}

/// When a record was made, as a query has it.
fn time_of(record: &Value) -> Result<String> {
    let time = record["time"].as_str().or_else(|| record["record"]["time"].as_str());
    Ok(percent(time.with_context(|| format!("no time in {record}"))?))
}

/// One record that this node dropped comes with its proof.
async fn ensure_one(mesh: &Mesh, owed: &Owed) -> Result<()> {
    let first = owed.acked.keys().next().context("none")?;
    let path = format!("/api/v1/records/{first}");
    let answers = [mesh.http(0)?.get(&path).await?, mesh.http(1)?.get(&path).await?];
    ensure!(answers[0] == answers[1], "{} is not {}", answers[1], answers[0]);
    Ok(())
}

/// Once nobody else is there, what was dropped is a gap, and nothing else is.
async fn ensure_gaps_alone(mesh: &mut Mesh, owed: &Owed) -> Result<()> {
    mesh.nodes[0].stop().await?;
    // What was lent lies in memory for a while.
    mesh.nodes[1].stop().await?;
    mesh.nodes[1].start().await?;
    ensure_pages_alone(mesh, owed).await?;
    let mut place = Place::new(Form::Seqs);
    read_on(&mesh.nodes[1], "earliest", &mut place, owed).await?;
    let seen = place.seen();
    ensure_sound("alone", owed, &seen)?;
    let expired =
        seen.iter().filter(|one| matches!(one, Seen::Gap { reason, .. } if reason == "expired")).count();
    let gaps = seen.iter().filter(|one| matches!(one, Seen::Gap { .. })).count();
    ensure!(gaps > 0 && gaps == expired, "{gaps} gaps, {expired} of them expired");
    mesh.nodes[1].stop().await?;
    Ok(())
}

/// All pages of a history: each record's id in the order in which it came, and the gaps.
async fn pages(http: &Http, query: &str) -> Result<(Vec<Id>, Vec<Value>)> {
    let (mut ids, mut gaps, mut next) = (Vec::new(), Vec::new(), None::<String>);
    loop {
        let page = next.as_ref().map_or(String::new(), |next| format!("&page={}", percent(next)));
        let began = Instant::now();
        let page = http.get(&format!("/api/v1/records?{query}{page}")).await?;
        ensure!(began.elapsed() < PATIENCE / 4, "a page of {query} took {:?}", began.elapsed());
        for record in page["records"].as_array().context("no records")? {
            ids.push(Id::of(record, "id")?);
        }
        gaps.extend(page["gaps"].as_array().context("no gaps")?.iter().cloned());
        next = page["next"].as_str().map(str::to_owned);
        if next.is_none() {
            return Ok((ids, gaps));
        }
    }
}

/// Pages of history give on both nodes the same, in both orders, though one of them keeps little.
async fn ensure_pages(mesh: &mut Mesh, owed: &Owed) -> Result<()> {
    let large = mesh.http(0)?.clone();
    let (all, gaps) = pages(&large, "limit=10000").await?;
    ensure!(all.len() == owed.acked.len() && gaps.is_empty(), "{} records, {gaps:?}", all.len());
    let [early, late] = [all.len() / 8, all.len() / 3].map(|place| format!("/api/v1/records/{}", all[place]));
    let (early, late) = (large.get(&early).await?, large.get(&late).await?);
    let times = format!("since={}&until={}", time_of(&early)?, time_of(&late)?);
    for query in [
        "limit=700".to_owned(),
        "limit=10000".to_owned(),
        format!("limit=900&{times}"),
        "limit=900&topic=below.*&filter=payload.k.endsWith(%2277%22)".to_owned(),
    ] {
        let mut orders = Vec::new();
        for order in ["asc", "desc"] {
            let (query, began) = (format!("{query}&order={order}"), Instant::now());
            let (there, _) = pages(&large, &query).await?;
            forget_lent(mesh).await?;
            let (here, gaps) = pages(mesh.http(1)?, &query).await?;
            ensure!(!here.is_empty() && here == there, "{query}: {} of {}", here.len(), there.len());
            ensure!(gaps.is_empty(), "{query}: {gaps:?}");
            scale::say(&format!("{} records of {query} after {:?}", here.len(), began.elapsed()));
            orders.push(here);
        }
        orders[1].reverse();
        ensure!(orders[0] == orders[1], "{query} gives not the same in both orders");
    }
    // The first records are long gone here: each comes with its proof.
    for id in all.iter().step_by(all.len() / 5) {
        let path = format!("/api/v1/records/{id}");
        ensure!(mesh.http(1)?.get(&path).await? == large.get(&path).await?, "{id} is not the same on both");
    }
    ensure_last(mesh, &all).await
}

/// The small node starts again: what was lent lies in memory for a while.
async fn forget_lent(mesh: &mut Mesh) -> Result<()> {
    mesh.nodes[1].stop().await?;
    mesh.nodes[1].start().await?;
    mesh.until_whole(PATIENCE).await?;
    Ok(())
}

/// `last:N` gives the newest of what anybody has.
async fn ensure_last(mesh: &mut Mesh, all: &[Id]) -> Result<()> {
    for count in [5, 3_000, 10_000] {
        forget_lent(mesh).await?;
        let began = Instant::now();
        let door = mesh.nodes[1].door()?.with_token(mesh.nodes[1].token());
        let mut socket = door.open(&format!("/feed?start=last:{count}")).await?;
        let mut place = Place::new(Form::Object);
        timeout(EVERYWHERE, read_until_live(&mut socket, &mut place))
            .await
            .context("last:N never ended")??;
        let mut ids = Vec::new();
        for one in place.seen() {
            match one {
                Seen::Record(id, _) => ids.push(id),
                gap @ Seen::Gap { .. } => bail!("last:{count} told of {gap:?}"),
            }
        }
        ensure!(ids == all[all.len().saturating_sub(count)..], "last:{count} gave {} records", ids.len());
        scale::say(&format!("last:{count} after {:?}", began.elapsed()));
    }
    Ok(())
}

/// Without the other one a page names what is gone, at once.
async fn ensure_pages_alone(mesh: &Mesh, owed: &Owed) -> Result<()> {
    for order in ["asc", "desc"] {
        let (here, gaps) = pages(mesh.http(1)?, &format!("limit=10000&order={order}")).await?;
        let seq = |gap: &Value, end: &str| gap[end].as_u64().unwrap_or(0);
        let gone: u64 = gaps.iter().map(|gap| seq(gap, "to") - seq(gap, "from") + 1).sum();
        ensure!(gaps.iter().all(|gap| gap["reason"] == "expired"), "{gaps:?}");
        let total = here.len() as u64 + gone;
        ensure!(gone > 0 && total == owed.acked.len() as u64, "{} records and {gaps:?}", here.len());
    }
    Ok(())
}
