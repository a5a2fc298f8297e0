//! Every start, both forms of cursor, every format of the feed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::checker::{Owed, ensure_sound};
use e2e::node::Plan;
use e2e::place::{Form, Place};
use e2e::reader::{key_of, read_until_live};
use e2e::socket::{Frame, Socket};
use e2e::sse;
use e2e::words::{Id, percent};
use serde_json::{Value, json};
use tokio::time::sleep;

/// The keys of what a stream holds until it is live.
async fn keys(socket: &mut Socket) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    loop {
        let frame = socket.json().await?;
        match frame["type"].as_str() {
            Some("record") => keys.push(key_of(&frame)),
            Some("cursor") => {}
            Some("caught_up") => return Ok(keys),
            _ => bail!("{frame}"),
        }
    }
}

fn named(name: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|i| format!("{name}-{i}")).collect()
}

/// The queries with what is stored for each: a-0…19, then b-0…19, then c-0…4 on a's topic from `time` on.
fn starts(time: &str) -> Vec<(String, Vec<String>)> {
    let on_a = [named("a", 0..20), named("c", 0..5)].concat();
    let all = [named("a", 0..20), named("b", 0..20), named("c", 0..5)].concat();
    vec![
        ("start=earliest".to_owned(), all.clone()),
        ("start=earliest&topic=start.a".to_owned(), on_a.clone()),
        ("start=earliest&topic=start.b&topic=start.a".to_owned(), all),
        (
            "start=earliest&topic=start.*&filter=payload.i%20%3E%3D%2019".to_owned(),
            [named("a", 19..20), named("b", 19..20)].concat(),
        ),
        ("start=live".to_owned(), vec![]),
        (String::new(), vec![]),
        ("start=last:7".to_owned(), [named("b", 18..20), named("c", 0..5)].concat()),
        ("start=last:6&topic=start.a".to_owned(), [named("a", 19..20), named("c", 0..5)].concat()),
        ("start=last:2&topic=start.a&filter=payload.i%20%3E%2017".to_owned(), named("a", 18..20)),
        ("start=last:1000&topic=start.a".to_owned(), on_a),
        ("start=latest".to_owned(), [named("b", 19..20), named("c", 4..5)].concat()),
        ("start=latest&topic=start.b".to_owned(), named("b", 19..20)),
        (format!("start={}", percent(time)), named("c", 0..5)),
        ("start=2001-01-01T00:00:00Z&topic=start.b".to_owned(), named("b", 0..20)),
        ("start=2199-01-01T00:00:00Z".to_owned(), vec![]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_begins_where_it_is_told() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let http = node.http()?;
    http.publish_numbered("start.a", "a", 0..20, 10).await?;
    http.publish_numbered("start.b", "b", 0..20, 10).await?;
    sleep(Duration::from_millis(20)).await;
    http.publish_numbered("start.a", "c", 0..5, 10).await?;
    let newest = http.get("/api/v1/records?order=desc&limit=5").await?;
    let time = newest["records"][4]["time"].as_str().context("no time")?;
    let mut open = Vec::new();
    for (query, expected) in starts(time) {
        let mut socket = node.door()?.open(&format!("/feed?{query}")).await?;
        let got = keys(&mut socket).await.with_context(|| query.clone())?;
        ensure!(got == expected, "{query}: {got:?} instead of {expected:?}");
        open.push((query, socket));
    }
    let fresh =
        ["start.a", "start.b"].map(|topic| json!({ "topic": topic, "payload": { "k": topic, "i": 99 } }));
    http.publish(&json!(fresh)).await?;
    for (query, mut socket) in open {
        let expected = if query.ends_with("topic=start.b") { "start.b" } else { "start.a" };
        let record = socket.expect("record").await.with_context(|| query.clone())?;
        ensure!(key_of(&record) == expected, "{query}: live came {record}");
    }
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_resumes_by_each_form_of_cursor_anywhere() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let mut owed = Owed::default();
    let mut places = [Form::Opaque, Form::Object, Form::Seqs].map(Place::new);
    for round in 0..6 {
        let name = format!("r{round}");
        owed.acked.extend(node.http()?.publish_numbered("cursor.a", &name, 0..120, 40).await?);
        for (index, place) in places.iter_mut().enumerate() {
            let mut socket = node.door()?.open(&format!("/feed?start={}", place.start())).await?;
            if round % 3 == index {
                // Cut in the middle of the replay, wherever that is.
                for _ in 0..=(20 + 15 * round) {
                    note(place, &socket.json().await?)?;
                }
            } else {
                read_until_live(&mut socket, place).await?;
            }
            place.cut();
        }
        if round % 2 == 1 {
            node.kill()?;
            node.start().await?;
        }
    }
    for place in &mut places {
        let mut socket = node.door()?.open(&format!("/feed?start={}", place.start())).await?;
        read_until_live(&mut socket, place).await?;
        ensure_sound(&place.start(), &owed, &place.seen())?;
    }
    node.stop().await
}

fn note(place: &mut Place, frame: &Value) -> Result<()> {
    match frame["type"].as_str() {
        Some("record") => place.record(Id::of(frame, "id")?, key_of(frame)),
        Some("cursor" | "caught_up") => place.cursor(frame["cursor"].as_str().unwrap_or("")),
        _ => bail!("{frame}"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_sends_cursors_while_anything_moves() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let mut socket = node.door()?.open("/feed?topic=never.matches").await?;
    socket.expect("caught_up").await?;
    let began = Instant::now();
    let mut cursors = 0;
    let mut i = 0;
    while began.elapsed() < Duration::from_secs(7) {
        node.http()?.publish_numbered("moving", "m", i..i + 1, 10).await?;
        i += 1;
        match socket.next_within(Duration::from_millis(200)).await? {
            Some(Frame::Json(frame)) if frame["type"] == "cursor" => cursors += 1,
            None => {}
            Some(other) => bail!("{other:?}"),
        }
    }
    ensure!(cursors >= 1, "no cursor in 7 s in which {i} records of other topics moved");
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_speaks_cbor() -> Result<()> {
    let mut node = Plan::new().start().await?;
    node.http()?.publish(&json!({ "topic": "cbor", "payload": { "i": 7 } })).await?;
    let mut socket = node.door()?.open("/feed?format=cbor&start=earliest").await?;
    let mut kinds = Vec::new();
    loop {
        let Frame::Binary(bytes) = socket.next().await? else { bail!("a frame that is not binary") };
        let serde_cbor::Value::Map(frame) = serde_cbor::from_slice(&bytes)? else { bail!("no map") };
        let field = |name: &str| frame.get(&serde_cbor::Value::Text(name.to_owned()));
        let Some(serde_cbor::Value::Text(kind)) = field("type") else { bail!("no type in {frame:?}") };
        kinds.push(kind.clone());
        if kind == "record" {
            let Some(serde_cbor::Value::Bytes(payload)) = field("payload") else {
                bail!("payload: {frame:?}")
            };
            ensure!(payload == br#"{"i":7}"#, "{frame:?}");
        }
        if kind == "caught_up" {
            break;
        }
    }
    ensure!(kinds == ["cursor", "record", "caught_up"], "{kinds:?}");
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_resumes_an_event_stream_by_its_last_id() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let url = format!("{}/feed?start=earliest", node.url());
    let mut published = node.http()?.publish_numbered("sse", "s", 0..50, 10).await?;
    let mut events = sse::open(&url, &[]).await?;
    let mut last = None;
    let mut seen = Vec::new();
    loop {
        let event = events.next().await?;
        last = event.id.clone().or(last);
        let kind = event.kind()?;
        ensure!((kind == "record") != event.id.is_some(), "an id belongs on cursors only: {event:?}");
        match kind.as_str() {
            "record" => seen.push(Id::of(&event.json()?, "id")?),
            "caught_up" => break,
            _ => {}
        }
    }
    drop(events);
    published.extend(node.http()?.publish_numbered("sse", "t", 0..50, 10).await?);
    let last = last.context("no id")?;
    let mut events = sse::open(&url, &[("last-event-id", &last)]).await?;
    while seen.len() < published.len() {
        let event = events.next().await?;
        if event.kind()? == "record" {
            let id = Id::of(&event.json()?, "id")?;
            // A resume may repeat what came since the last id; it may not skip or reorder.
            if !seen.contains(&id) {
                seen.push(id);
            }
        }
    }
    let expected: Vec<Id> = published.into_iter().map(|(id, _)| id).collect();
    ensure!(seen == expected, "the event stream skipped or reordered");
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_a_feed_cut_early_with_a_cursor_in_hand() -> Result<()> {
    let mut node = Plan::new().start().await?;
    node.http()?.publish_numbered("early", "e", 0..10, 10).await?;
    for (start, first) in
        [("earliest", "cursor"), ("last:3", "cursor"), ("latest", "cursor"), ("live", "caught_up")]
    {
        let mut socket = node.door()?.open(&format!("/feed?start={start}")).await?;
        let frame = socket.json().await?;
        ensure!(frame["type"] == first, "{start} begins with {frame}");
        let cursor = frame["cursor"].as_str().context("no cursor")?;
        ensure!(
            cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)),
            "{cursor}"
        );
        let mut resumed = node.door()?.open(&format!("/feed?start=after:{cursor}")).await?;
        let keys = keys(&mut resumed).await?;
        let expected = if start == "live" { 0 } else { keys.len().max(1) };
        ensure!(keys.len() == expected, "{start}: {keys:?}");
    }
    let answer = node.http()?.send("GET", "/feed", &[], "").await?;
    ensure!(answer.status == 426, "/feed without an upgrade: {}", answer.status);
    node.stop().await
}
