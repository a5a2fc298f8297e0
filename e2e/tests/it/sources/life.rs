//! The life of a source of each kind by the API: tried, registered, read, edited, paused, resumed, removed, while its
//! neighbours go on as if nothing were.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::http::Http;
use e2e::market::{Kind, Market};
use e2e::sources::{records, state};
use e2e::tap::{Tap, ensure_serials};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::with_market;

/// How long a record may take to come.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_lives_through_all_that_the_api_does_to_a_source() -> Result<()> {
    let (market, mut node) = with_market(6).await?;
    let http = node.http()?;
    let neighbours: Vec<Value> =
        Kind::ALL.iter().map(|kind| kind.source(&format!("other-{}", kind.word()), &market, 5)).collect();
    http.add_sources(&neighbours).await?;
    http.sources_when("live", SOON, |_| true, |_, status| status["state"] == "live").await?;
    let tap = Tap::open(&node, "live").await?;
    let lives = Kind::ALL.iter().enumerate().map(|(n, kind)| live_through(http, &market, &tap, *kind, n));
    futures_util::future::try_join_all(lives).await?;

    let all = http.sources().await?;
    ensure!(all.len() == 3, "left are {:?}", all.keys());
    for (name, ticks) in tap.ticks()?.iter().filter(|(name, _)| name.starts_with("other")) {
        ensure_serials(name, ticks, name != "other-rest")?;
        ensure!(ticks.len() > 4, "{name} said {} ticks only", ticks.len());
    }
    let counts = market.counts().await?;
    for path in ["/sse/5", "/ws/5"] {
        ensure!(counts[path]["requests"] == 1, "a neighbour was connected anew: {}", counts[path]);
    }
    for view in all.values() {
        ensure!(state(view) == "live" && view["status"]["errors"] == 0, "{view}");
    }
    tap.close().await;
    node.stop().await
}

async fn live_through(http: &Http, market: &Market, tap: &Tap, kind: Kind, instrument: usize) -> Result<()> {
    let name = format!("mine-{}", kind.word());
    let path = format!("/api/v1/sources/{name}");
    let source = kind.source(&name, market, instrument);
    let tested = http.test_source(&source).await?;
    ensure_tested(&tested, &source)?;
    http.send("GET", &path, &[], "").await?.ensure(404)?;

    let view = http.add_source(&source).await?;
    ensure!(view["url"] == source["url"] && view["status"]["state"] == "connecting", "{view}");
    http.source_in(&name, "live").await?;
    tap.more_than(&name, 1, SOON).await?;
    let shown = http.source(&name).await?;
    let status = &shown["status"];
    ensure!(records(&shown) > 0 && status["bytes"].as_u64() > Some(100), "{status}");
    ensure!(status["last_record"].is_string() && status["last_value"].is_string(), "{status}");
    ensure!(status["latency_ms"]["p50"].is_number(), "no latency: {status}");
    ensure!(status["beats"].as_array().is_some_and(|beats| beats.contains(&json!("data"))), "{status}");

    let mut changed = source.clone();
    changed["emit"] = json!("{'edited': payload.n}");
    changed["topic"] = json!(format!("edited.{}", kind.word()));
    let answer = http.send("PUT", &path, &[], &changed.to_string()).await?.ensure(200)?.json()?;
    ensure!(answer["emit"] == changed["emit"], "{answer}");
    let edited = |record: &Value| record["topic"] == changed["topic"] && record["payload"]["edited"].is_u64();
    until(|| tap.others().iter().any(edited)).await.context("no record of the edited source")?;

    let paused = http.order_source(&name, "pause").await?;
    ensure!(state(&paused) == "paused" && paused["paused"] == true, "{paused}");
    let before = records(&http.source(&name).await?);
    sleep(Duration::from_millis(2500)).await;
    let after = http.source(&name).await?;
    ensure!(records(&after) == before && state(&after) == "paused", "read while paused: {before}, {after}");
    http.order_source(&name, "resume").await?;
    http.source_in(&name, "live").await?;
    http.source_when(&name, "making records", |status| status["records"].as_u64() > Some(0)).await?;

    http.send("DELETE", &path, &[], "").await?.ensure(204)?;
    http.send("GET", &path, &[], "").await?.ensure(404)?;
    let topics = http.get("/api/v1/topics").await?;
    let kept =
        topics["topics"].as_array().is_some_and(|all| all.iter().any(|one| one["topic"] == changed["topic"]));
    ensure!(kept, "its records went with it: {topics}");
    if kind != Kind::Rest {
        let open = || async { market.counts().await.map(|all| all[kind.path(instrument)]["open"] == 0) };
        for _ in 0..100 {
            if open().await? {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::bail!("{name} is removed, and its connection is still open");
    }
    Ok(())
}

fn ensure_tested(tested: &Value, source: &Value) -> Result<()> {
    ensure!(tested["ok"] == true && tested["error"].is_null(), "{tested}");
    ensure!(tested["answers"][0]["text"].as_str().is_some_and(|text| text.contains("\"price\"")), "{tested}");
    let record = &tested["records"][0];
    ensure!(record["topic"] == source["topic"] && record["payload"]["price"].is_number(), "{tested}");
    // Connecting is left out where a connection to the same host is there already.
    ensure!(tested["phases"]["first_byte_ms"].is_number() && tested["address"].is_string(), "{tested}");
    Ok(())
}

async fn until(is_so: impl Fn() -> bool) -> Result<()> {
    for _ in 0..500 {
        if is_so() {
            return Ok(());
        }
        sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("not within 10 s")
}
