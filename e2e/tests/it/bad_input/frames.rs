//! Filters, subscriptions and frames that are refused.

use anyhow::{Context as _, Result, ensure};
use e2e::node::Plan;
use e2e::words::percent;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::ensure_healthy;

/// Expressions that a reader's filter may not hold, or that are none.
fn bad_filters() -> Vec<(String, &'static str)> {
    let nested = |depth: usize| format!("{}true{}", "[1].all(x, ".repeat(depth), ")".repeat(depth));
    vec![
        ("payload.".to_owned(), ""),
        ("(".to_owned(), ""),
        ("unknown_name == 1".to_owned(), "unknown_name"),
        ("topic.replace('a', 'bb') == 'x'".to_owned(), "replace"),
        ("[topic].join(',') == 'x'".to_owned(), "join"),
        ("'%s'.format([topic]) == 'x'".to_owned(), "format"),
        ("topic + 'a' == 'x'".to_owned(), "+"),
        ("topic.matches(topic)".to_owned(), "matches"),
        ("topic.matches('(')".to_owned(), "pattern"),
        ("topic.matches('((((a{100}){100}){100}){100})')".to_owned(), "pattern"),
        (nested(2), ""),
        (nested(60), ""),
        ("(".repeat(5000), ""),
        ("true".to_owned() + &" || true".repeat(3000), ""),
        ("nofunction(payload)".to_owned(), "nofunction"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_refuses_filters_that_may_cost_too_much() -> Result<()> {
    let mut node = Plan::new().start().await?;
    for (filter, word) in bad_filters() {
        let shown: String = filter.chars().take(60).collect();
        let path = format!("/feed?filter={}", percent(&filter));
        let (status, body) = node.door()?.refusal(&path).await.context(shown.clone())?;
        ensure!([400, 422].contains(&status), "{shown}: {status}");
        let problem: Value = serde_json::from_str(&body).with_context(|| format!("{shown}: {body}"))?;
        let detail = problem["detail"].as_str().unwrap_or("");
        ensure!(detail.len() > 8 && detail.contains(word), "{shown}: {detail:?} does not name {word:?}");
        let mut feed = node.open("/feed").await?;
        feed.expect("caught_up").await?;
        feed.send(&json!({ "type": "subscribe", "topics": [">"], "filter": filter, "start": "live" }))
            .await?;
        let refused = feed.expect("error").await?;
        ensure!(refused["detail"].as_str().is_some_and(|detail| detail.contains(word)), "{shown}: {refused}");
    }
    for good in [
        "payload.a == 1",
        "topic.startsWith('a')",
        "topic.matches('^a.*')",
        "has(payload.x)",
        "payload.exists(x, x > 1)",
    ] {
        let mut socket = node.door()?.open(&format!("/feed?filter={}", percent(good))).await.context(good)?;
        socket.expect("caught_up").await?;
    }
    ensure_healthy(&mut node).await?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_refuses_bad_subscriptions() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let stranger = "{\"cursor\":\"AAAA\"}";
    for query in [
        "topic=A".to_owned(),
        "start=never".to_owned(),
        "start=last:0".to_owned(),
        "start=last:-1".to_owned(),
        "start=last:99999999999999999999".to_owned(),
        "start=after:".to_owned(),
        "start=after:!!".to_owned(),
        "start=after:AAAA".to_owned(),
        format!("start=after:{}", "A".repeat(50_000)),
        format!("start=after:{}", percent(stranger)),
        format!("start=after:{}", percent("{\"12D3KooWx/692273a45f3a9c01\":-1}")),
        format!("start=after:{}", percent(&"[".repeat(9000))),
        "format=xml".to_owned(),
        "colour=red".to_owned(),
        "start=2026-13-01T00:00:00Z".to_owned(),
    ] {
        let shown: String = query.chars().take(60).collect();
        let (status, body) = node.door()?.refusal(&format!("/feed?{query}")).await.context(shown.clone())?;
        ensure!([400, 414, 422].contains(&status), "{shown}: {status} {body}");
        let problem: Value = serde_json::from_str(&body).with_context(|| format!("{shown}: {body}"))?;
        ensure!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 8), "{shown}: {problem}");
    }
    ensure_healthy(&mut node).await?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_explains_frames_that_it_cannot_take_and_closes() -> Result<()> {
    let mut node = Plan::new().start().await?;
    for text in [
        "",
        "{",
        "{}",
        "[]",
        "5",
        r#"{"type":"subscrib"}"#,
        r#"{"type":"subscribe","topics":"a"}"#,
        r#"{"type":"subscribe","topics":["A"]}"#,
        r#"{"type":"subscribe","topics":["a"],"start":"never"}"#,
        r#"{"type":"subscribe","topics":["a"],"start":"after:AAAA"}"#,
        r#"{"type":"subscribe","topics":["a"],"more":1}"#,
        r#"{"type":"cursor","cursor":"a"}"#,
    ] {
        let mut feed = node.open("/feed").await?;
        feed.expect("caught_up").await?;
        feed.send_message(Message::text(text)).await?;
        let answer = feed.expect("error").await.context(text)?;
        ensure!(answer["detail"].as_str().is_some_and(|detail| detail.len() > 8), "{text}: {answer}");
        let (code, _) = feed.closed().await.context(text)?;
        ensure!(code == 1008, "{text}: closed with {code}");
    }
    ensure_healthy(&mut node).await?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_refuses_bad_publishes_and_keeps_the_socket() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let mut feed = node.open("/feed").await?;
    feed.expect("caught_up").await?;
    for frame in [
        json!({ "type": "publish", "ref": "x", "topic": "A", "payload": 1 }),
        json!({ "type": "publish", "ref": "x", "payload": 1 }),
        json!({ "type": "publish", "ref": "x", "topic": "a" }),
        json!({ "type": "publish", "ref": "x", "topic": "a", "payload": 1, "colour": "red" }),
        json!({ "type": "publish", "ref": "x", "topic": "a", "payload": 1, "ack": "never" }),
        json!({ "type": "publish", "ref": "x", "topic": "a", "payload": 1, "ack": "replicated" }),
        json!({ "type": "publish", "ref": "x", "topic": "a", "payload": "x".repeat(200_000) }),
    ] {
        let shown: String = frame.to_string().chars().take(80).collect();
        feed.send(&frame).await?;
        let answer = feed.expect("error").await.context(shown.clone())?;
        ensure!(answer["detail"].as_str().is_some_and(|detail| detail.len() > 8), "{shown}: {answer}");
        ensure!(answer["ref"] == "x", "{shown}: {answer} has no ref");
    }
    feed.send(&json!({ "type": "publish", "ref": "good", "topic": "a", "payload": 1 })).await?;
    let mut kinds: Vec<String> = Vec::new();
    for _ in 0..2 {
        kinds.push(feed.json().await?["type"].as_str().unwrap_or("").to_owned());
    }
    kinds.sort();
    ensure!(kinds == ["published", "record"], "after all that: {kinds:?}");

    let mut publish = node.open("/publish?topic=a.b").await?;
    for (n, text, good) in
        [(1, "{", false), (2, "{\"a\":", false), (3, "3", true), (4, "\"x", false), (5, "", false)]
    {
        publish.send_message(Message::text(text)).await?;
        let answer = publish.json().await?;
        ensure!((answer["type"] == "published") == good && answer["n"] == n, "{text}: {answer}");
    }
    ensure_healthy(&mut node).await?;
    node.stop().await
}
