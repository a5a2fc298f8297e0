//! Pages of history: ranges, order, filters, and the way from history to live.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::checker::{Owed, Seen, ensure_sound};
use e2e::history;
use e2e::node::Plan;
use e2e::place::{Form, Place};
use e2e::reader::{key_of, read_until_live};
use e2e::words::{Id, percent};
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_reads_ranges_and_both_orders() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let http = node.http()?;
    http.publish_numbered("h.a", "a", 0..30, 10).await?;
    sleep(Duration::from_millis(20)).await;
    http.publish_numbered("h.b", "b", 0..30, 10).await?;
    sleep(Duration::from_millis(20)).await;
    http.publish_numbered("h.a", "c", 0..30, 10).await?;
    let all = history::read(http, "limit=10000").await?;
    let time = |index: usize| percent(all.records[index]["time"].as_str().unwrap_or(""));
    let (second, third) = (time(30), time(60));
    for (query, count, first) in [
        (String::new(), 90, "a-0"),
        ("limit=7".to_owned(), 90, "a-0"),
        ("limit=7&order=desc".to_owned(), 90, "c-29"),
        ("order=desc&topic=h.b".to_owned(), 30, "b-29"),
        ("topic=h.a&limit=11".to_owned(), 60, "a-0"),
        ("topic=h.a&topic=h.b".to_owned(), 90, "a-0"),
        ("topic=h.*".to_owned(), 90, "a-0"),
        ("topic=other.%3E".to_owned(), 0, ""),
        (format!("since={second}"), 60, "b-0"),
        (format!("until={second}"), 30, "a-0"),
        (format!("since={second}&until={third}&limit=4"), 30, "b-0"),
        (format!("since={second}&until={third}&order=desc&limit=4"), 30, "b-29"),
        (format!("since={third}&until={second}"), 0, ""),
        ("filter=payload.i%20%3C%203&limit=2".to_owned(), 9, "a-0"),
        ("filter=topic%20%3D%3D%20%22h.b%22".to_owned(), 30, "b-0"),
        ("filter=payload.none%20%3D%3D%201".to_owned(), 0, ""),
    ] {
        let paged = history::read(http, &query).await.with_context(|| query.clone())?;
        ensure!(paged.records.len() == count, "{query}: {} of {count} records", paged.records.len());
        ensure!(paged.records.first().map_or(String::new(), key_of) == first, "{query}: not from {first}");
        paged.ensure_order(query.contains("desc")).with_context(|| query.clone())?;
        ensure!(paged.gaps.is_empty(), "{query}: {:?}", paged.gaps);
    }
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_live_from_a_page_without_a_seam() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let http = node.http()?;
    let mut owed = Owed::default();
    owed.acked.extend(http.publish_numbered("seam", "a", 0..300, 10).await?);
    let first = http.get("/api/v1/records?limit=50").await?;
    owed.acked.extend(http.publish_numbered("seam", "b", 0..300, 10).await?);
    // Later pages hold nothing that came after the first one; the cursor of that moment does.
    let mut seen = Vec::new();
    let mut page = first.clone();
    loop {
        for record in page["records"].as_array().context("no records")? {
            seen.push(Seen::Record(Id::of(record, "id")?, key_of(record)));
        }
        let Some(next) = page["next"].as_str() else { break };
        page = http.get(&format!("/api/v1/records?limit=50&page={}", percent(next))).await?;
    }
    ensure!(seen.len() == 300, "the pages hold {} records of the 300 of their first moment", seen.len());
    let mut place = Place::new(Form::Object);
    place.cursor(first["cursor"].as_str().context("no cursor")?);
    let mut socket = node.door()?.open(&format!("/feed?start={}", place.start())).await?;
    read_until_live(&mut socket, &mut place).await?;
    seen.extend(place.seen());
    ensure_sound("history, then the feed", &owed, &seen)?;

    // The same cursor in a query for history, in both forms.
    let after = first["cursor"].as_str().context("no cursor")?;
    let Some(Seen::Record(last, _)) = seen.get(399) else { anyhow::bail!("no 400th record") };
    let object = format!("{{\"cursor\":\"{after}\",\"{}\":{}}}", last.log, last.seq);
    for (cursor, count) in [(after.to_owned(), 300), (object, 200)] {
        let rest = history::read(http, &format!("after={}", percent(&cursor))).await?;
        ensure!(rest.records.len() == count, "after {cursor}: {} of {count}", rest.records.len());
    }
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_holds_everything_over_restarts() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let mut owed = Owed::default();
    for round in 0..4 {
        let name = format!("r{round}");
        owed.acked.extend(node.http()?.publish_numbered("keep", &name, 0..500, 100).await?);
        if round % 2 == 0 {
            node.stop().await?;
        } else {
            node.kill()?;
        }
        node.start().await?;
    }
    let logs: std::collections::BTreeSet<&str> = owed.acked.keys().map(|id| id.log.as_str()).collect();
    ensure!(logs.len() == 4, "every start opens a new log: {logs:?}");
    let origins: std::collections::BTreeSet<&str> =
        logs.iter().filter_map(|log| log.split('/').next()).collect();
    ensure!(origins.len() == 1, "one node, one origin: {origins:?}");
    for query in ["limit=333", "limit=10000", "order=desc&limit=333"] {
        let paged = history::read(node.http()?, query).await?;
        paged.ensure_order(query.contains("desc"))?;
        ensure!(paged.records.len() == 2000, "{query}: {} records", paged.records.len());
        ensure_sound(query, &owed, &paged.seen()?)?;
    }
    node.stop().await
}
