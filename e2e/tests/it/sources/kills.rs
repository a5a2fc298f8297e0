//! `kill -9` while sources of all kinds run: none is lost or doubled, streams go on behind their last event, polls ask for
//! what is new only.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::history;
use e2e::market::{Kind, Market};
use e2e::node::{Node, Plan};
use e2e::scale::{self, say};
use e2e::sources::REACHED;
use e2e::tap::{Tick, ensure_serials};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::time::sleep;

/// Sources of each kind.
const EACH: usize = 8;

fn definitions(market: &Market) -> Vec<Value> {
    let all = (0..EACH * 3).map(|place| {
        let kind = Kind::ALL[place % 3];
        let mut source = kind.source(&format!("{}-{place}", kind.word()), market, place);
        // Nothing but the place that was kept tells that an answer is known already.
        source["only_changes"] = json!(false);
        if kind == Kind::Rest {
            source["interval_ms"] = json!(100);
        }
        source
    });
    all.collect()
}

async fn live(node: &Node) -> Result<BTreeMap<String, Value>> {
    node.http()?.sources_when("live", REACHED, |_| true, |_, status| status["state"] == "live").await
}

fn without_status(all: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let bare = |mut view: Value| {
        view.as_object_mut().map(|fields| fields.remove("status"));
        view
    };
    all.into_iter().map(|(name, view)| (name, bare(view))).collect()
}

/// Kills while sources are being registered, and holds what is there afterwards to what was answered.
async fn kill_registering(node: &mut Node, market: &Market, round: usize) -> Result<()> {
    let http = node.http()?.clone();
    let sources: Vec<Value> =
        (0..20).map(|place| Kind::Sse.source(&format!("late-{round}-{place}"), market, place)).collect();
    let names: Vec<String> =
        sources.iter().filter_map(|source| source["name"].as_str().map(str::to_owned)).collect();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut answered = Vec::new();
        for source in &sources {
            match http.add_source(source).await {
                Ok(view) => answered.push(view["name"].as_str().unwrap_or_default().to_owned()),
                Err(_) => break,
            }
        }
        answered
    });
    sleep(Duration::from_millis(25)).await;
    node.kill()?;
    let answered = tasks.join_next().await.context("no task")??;
    node.start().await?;
    let all = node.http()?.sources().await?;
    for name in &answered {
        ensure!(all.contains_key(name), "{name} was registered, and is lost");
    }
    let there = names.iter().filter(|name| all.contains_key(*name)).count();
    ensure!(there <= answered.len() + 1, "{there} are there, {} were answered", answered.len());
    for name in names.iter().filter(|name| all.contains_key(*name)) {
        node.http()?.send("DELETE", &format!("/api/v1/sources/{name}"), &[], "").await?.ensure(204)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_loses_and_doubles_nothing_over_kills() -> Result<()> {
    let kills = scale::pick(3, 12);
    let mut random = scale::random("source kills");
    let market = Market::start(EACH * 3, 4.0).await?;
    let mut node = Plan::new().args(&["--allow-private-sources", &market.allowed()]).start().await?;
    node.http()?.add_sources(&definitions(&market)).await?;
    let registered = without_status(live(&node).await?);
    for round in 0..kills {
        sleep(Duration::from_millis(random.random_range(1200..2500))).await;
        node.kill()?;
        node.start().await?;
        ensure!(
            without_status(node.http()?.sources().await?) == registered,
            "other sources after kill {round}"
        );
        live(&node).await?;
        if round < 2 {
            kill_registering(&mut node, &market, round).await?;
            live(&node).await?;
        }
    }
    sleep(Duration::from_secs(2)).await;
    let counts = market.counts().await?;
    node.stop().await?;
    node.start().await?;
    judge(&node, &counts, kills + kills.min(2)).await?;
    node.stop().await
}

/// Holds what is stored to the serials of the feed.
async fn judge(node: &Node, counts: &Value, kills: usize) -> Result<()> {
    let mut serials: BTreeMap<String, Vec<Tick>> = BTreeMap::new();
    let paged = history::read(node.http()?, "topic=market.%3E&limit=10000").await?;
    ensure!(paged.gaps.is_empty(), "{:?}", paged.gaps);
    for record in &paged.records {
        let n = record["payload"]["n"].as_u64().with_context(|| record.to_string())?;
        let name = record["source"].as_str().context("no source")?;
        serials.entry(name.to_owned()).or_default().push(Tick { n, at: 0, seen: 0 });
    }
    let (mut doubled, mut unchanged) = (0, 0);
    for place in 0..EACH * 3 {
        let kind = Kind::ALL[place % 3];
        let name = format!("{}-{place}", kind.word());
        let mut ticks = serials.remove(&name).with_context(|| format!("nothing of {name}"))?;
        ticks.sort_by_key(|tick| tick.n);
        ensure!(ticks.len() > kills, "{name}: {} records", ticks.len());
        if kind == Kind::Rest {
            let all = ticks.len();
            ticks.dedup();
            // The last answer's place is kept once a second, so a kill may repeat that one answer.
            ensure!(all - ticks.len() <= kills, "{name}: {} doubled by {kills} kills", all - ticks.len());
            doubled += all - ticks.len();
            let seen = &counts[kind.path(place)]["statuses"];
            unchanged += seen["304"].as_u64().unwrap_or(0);
            ensure!(seen["304"].as_u64() > Some(0), "{name} never heard 304: {seen}");
        }
        ensure_serials(&name, &ticks, kind == Kind::Sse)?;
    }
    say(&format!(
        "source kills: {kills}; {} records, none lost or doubled of streams, {doubled} polls repeated, {unchanged} times 304",
        paged.records.len()
    ));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_where_an_etag_stands() -> Result<()> {
    let market = Market::start(1, 0.001).await?;
    let mut node = Plan::new().args(&["--allow-private-sources", &market.allowed()]).start().await?;
    let mut source = Kind::Rest.source("still", &market, 0);
    source["only_changes"] = json!(false);
    node.http()?.add_source(&source).await?;
    node.http()?.source_when("still", "making a record", |status| status["records"] == 1).await?;
    sleep(Duration::from_millis(1500)).await;
    let before = market.counts().await?["/rest/0"]["statuses"]["200"].clone();
    for _ in 0..3 {
        node.kill()?;
        node.start().await?;
        node.http()?.source_in("still", "live").await?;
    }
    let after = market.counts().await?["/rest/0"]["statuses"].clone();
    ensure!(
        after["200"] == before && after["304"].as_u64() > Some(3),
        "200 before: {before}; after: {after}"
    );
    let paged = history::read(node.http()?, "topic=market.still").await?;
    ensure!(paged.records.len() == 1, "one answer became {} records", paged.records.len());
    node.stop().await
}
