//! A record goes in by each way and comes out by each way.

use anyhow::{Context as _, Result, ensure};
use e2e::node::{Node, Plan};
use e2e::socket::{Frame, Socket};
use e2e::sse;
use e2e::words::Id;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// A payload whose bytes a careless node would change.
const ODD: &str =
    r#"{"price" : 97312.50, "big":12345678901234567890123, "same":1, "t":"\u00e9\/", "e":1E5 }"#;

/// Publishes one record by each way and gives topics with ids.
async fn push(node: &Node) -> Result<Vec<(String, Id)>> {
    let http = node.http()?;
    let mut pushed = Vec::new();

    let body = format!(r#"{{"topic":"way.post","payload":{ODD}}}"#);
    let one = http.send("POST", "/api/v1/records", &[], &body).await?.ensure(200)?.json()?;
    ensure!(one["ack"] == "durable", "{one}");
    pushed.push(("way.post".to_owned(), Id::parse(one["ids"][0].as_str().context("no id")?)?));

    let array = json!([{ "topic": "way.array", "payload": [1] }, { "topic": "way.bytes", "payload_base64": "AP+A", "content_type": "image/png" }]);
    let many = http.publish(&array).await?;
    for (topic, id) in ["way.array", "way.bytes"].into_iter().zip(many["ids"].as_array().context("no ids")?) {
        pushed.push((topic.to_owned(), Id::parse(id.as_str().unwrap_or(""))?));
    }

    let mut publish = node.open("/publish?topic=way.socket").await?;
    for message in [Message::text("{\"s\":1}"), Message::text("null"), Message::binary(vec![1, 2, 3])] {
        publish.send_message(message).await?;
    }
    for n in 1..=3 {
        let answer = publish.json().await?;
        ensure!(answer["type"] == "published" && answer["n"] == n && answer["ack"] == "durable", "{answer}");
        pushed.push(("way.socket".to_owned(), Id::of(&answer, "id")?));
    }

    let mut feed = node.open("/feed?topic=none.at.all").await?;
    feed.expect("caught_up").await?;
    for reference in [json!("r1"), json!(2)] {
        feed.send(&json!({ "type": "publish", "ref": reference, "topic": "way.feed", "payload": "text" }))
            .await?;
        let answer = feed.expect("published").await?;
        ensure!(answer["ref"] == reference && answer["ack"] == "durable", "{answer}");
        pushed.push(("way.feed".to_owned(), Id::of(&answer, "id")?));
    }
    Ok(pushed)
}

fn ensure_same(what: &str, pushed: &[(String, Id)], records: &[Value]) -> Result<()> {
    ensure!(
        pushed.len() == records.len(),
        "{what}: {} of {} records: {records:?}",
        records.len(),
        pushed.len()
    );
    for ((topic, id), record) in pushed.iter().zip(records) {
        ensure!(
            *id == Id::of(record, "id")? && record["topic"] == topic.as_str(),
            "{what}: {record} is not {id}"
        );
        ensure!(
            record["source"].is_null() && record["time"].as_str().is_some_and(|time| time.len() == 27),
            "{record}"
        );
    }
    let bytes = &records[2];
    ensure!(bytes["payload_base64"] == "AP+A" && bytes["content_type"] == "image/png", "{what}: {bytes}");
    ensure!(
        records[3]["payload"] == json!({ "s": 1 }) && records[4].get("payload") == Some(&Value::Null),
        "{what}"
    );
    ensure!(records[5]["payload_base64"] == "AQID", "{what}: {}", records[5]);
    Ok(())
}

async fn take(socket: &mut Socket, count: usize) -> Result<Vec<Value>> {
    let mut records = Vec::new();
    while records.len() < count {
        records.push(socket.expect("record").await?);
    }
    Ok(records)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_streams_what_is_pushed_by_each_way_to_each_reader() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let mut live = node.door()?.open("/feed?topic=way.%3E").await?;
    live.expect("caught_up").await?;
    let mut odd = node.door()?.open("/feed?topic=way.post").await?;
    odd.expect("caught_up").await?;
    let mut events = sse::open(&format!("{}/feed?topic=way.%3E", node.url()), &[]).await?;
    ensure!(
        events.next().await?.kind()? == "caught_up",
        "an event stream that is live begins with caught_up"
    );

    let pushed = push(&node).await?;
    let records = take(&mut live, pushed.len()).await?;
    ensure_same("live feed", &pushed, &records)?;

    let mut told = Vec::new();
    while told.len() < pushed.len() {
        let event = events.next().await?;
        if event.kind()? == "record" {
            e2e::socket::check_frame(node.http()?.api(), &event.json()?)?;
            told.push(event.json()?);
        }
    }
    ensure_same("event stream", &pushed, &told)?;

    let mut replay = node.door()?.open("/feed?topic=way.%3E&start=earliest").await?;
    replay.expect("cursor").await?;
    let records = take(&mut replay, pushed.len()).await?;
    ensure_same("replay", &pushed, &records)?;
    replay.expect("caught_up").await?;

    let page = e2e::history::read(node.http()?, "topic=way.%3E&limit=3").await?;
    page.ensure_order(false)?;
    ensure!(page.pages >= 3 && page.gaps.is_empty(), "{} pages", page.pages);
    ensure_same("history", &pushed, &page.records)?;

    ensure_bytes_kept(&node, odd).await?;
    node.stop().await
}

/// A JSON payload comes out byte for byte as it went in.
async fn ensure_bytes_kept(node: &Node, live: Socket) -> Result<()> {
    use futures_util::StreamExt as _;
    let text = node.http()?.send("GET", "/api/v1/records?topic=way.post", &[], "").await?.text();
    ensure!(text.contains(&format!("\"payload\":{ODD}")), "history changed the payload: {text}");
    let mut stream = live.into_stream();
    loop {
        let message = stream.next().await.context("the feed ended")??;
        let Message::Text(text) = message else { continue };
        if text.contains("\"type\":\"record\"") {
            ensure!(text.contains(&format!("\"payload\":{ODD}")), "the feed changed the payload: {text}");
            return Ok(());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_the_same_key_with_the_first_record() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let record = |key: &str, topic: &str| json!({ "topic": topic, "payload": 1, "dedupe": key });
    let ids = |answer: Value| answer["ids"].clone();
    let first = ids(node.http()?.publish(&record("k1", "dedupe.a")).await?);
    ensure!(
        first == ids(node.http()?.publish(&record("k1", "dedupe.a")).await?),
        "the same key was stored twice"
    );
    ensure!(first != ids(node.http()?.publish(&record("k2", "dedupe.a")).await?), "another key");
    ensure!(first != ids(node.http()?.publish(&record("k1", "dedupe.b")).await?), "another topic");
    let both =
        ids(node.http()?.publish(&json!([record("k3", "dedupe.a"), record("k3", "dedupe.a")])).await?);
    ensure!(both[0] == both[1], "twice in one array: {both}");
    node.kill()?;
    node.start().await?;
    ensure!(first == ids(node.http()?.publish(&record("k1", "dedupe.a")).await?), "forgotten over a restart");
    let page = e2e::history::read(node.http()?, "topic=dedupe.a").await?;
    ensure!(page.records.len() == 3, "{} records stored", page.records.len());
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_changes_a_subscription_on_the_open_socket() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let mut feed = node.open("/feed?topic=sub.a").await?;
    feed.expect("caught_up").await?;
    node.http()?.publish(&json!({ "topic": "sub.a", "payload": 1 })).await?;
    ensure!(feed.expect("record").await?["topic"] == "sub.a", "the first subscription");
    feed.send(
        &json!({ "type": "subscribe", "topics": ["sub.b"], "filter": "payload.i > 1", "start": "live" }),
    )
    .await?;
    feed.expect("subscribed").await?;
    for record in [
        json!({ "topic": "sub.a", "payload": 2 }),
        json!({ "topic": "sub.b", "payload": { "i": 1 } }),
        json!({ "topic": "sub.b", "payload": { "j": 2 } }),
        json!({ "topic": "sub.b", "payload": { "i": 2 } }),
    ] {
        node.http()?.publish(&record).await?;
    }
    loop {
        let frame = feed.json().await?;
        match frame["type"].as_str() {
            Some("record") => {
                ensure!(frame["payload"] == json!({ "i": 2 }), "not the new subscription: {frame}");
                break;
            }
            Some("cursor" | "caught_up") => {}
            _ => anyhow::bail!("{frame}"),
        }
    }
    feed.send(&json!({ "type": "subscribe", "topics": ["sub.b"], "filter": "payload.i >" })).await?;
    let refused = feed.expect("error").await?;
    ensure!(refused["detail"].as_str().is_some_and(|detail| detail.len() > 8), "{refused}");
    // A subscription that cannot stand ends the socket: the client would wait for what never comes.
    let ended = feed.closed().await?;
    ensure!(ended.0 == 1008, "closed with {ended:?}");
    ensure!(feed.next().await? == Frame::Cut, "open after the end");
    node.stop().await
}
