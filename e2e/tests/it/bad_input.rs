//! Malformed requests, frames, expressions, cursors and settings: a clear error each, and a node that goes on.

use anyhow::{Context as _, Result, ensure};
use e2e::node::{Node, Plan};
use serde_json::json;

mod frames;
mod settings;
mod wire;

/// The node still takes and gives records, and has not panicked.
async fn ensure_healthy(node: &mut Node) -> Result<()> {
    node.ensure_alive()?;
    let published = node.http()?.publish_numbered("still.well", "w", 0..3, 10).await?;
    let last = &published[2].0;
    let page = node.http()?.get("/api/v1/records?topic=still.well&order=desc&limit=1").await?;
    ensure!(page["records"][0]["id"] == last.to_string(), "{page}");
    ensure!(!node.log().contains("panicked at"), "{}", node.log_tail());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_refuses_bad_records_by_name() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let long_token = "a".repeat(201);
    for (body, word) in [
        ("{", ""),
        ("", ""),
        ("nul", ""),
        ("7", ""),
        ("[]", ""),
        ("[[]]", ""),
        ("{}", "topic"),
        (r#"{"topic":"a"}"#, "payload"),
        (r#"{"payload":1}"#, "topic"),
        (r#"{"topic":1,"payload":1}"#, "column"),
        (r#"{"topic":"","payload":1}"#, "topic"),
        (r#"{"topic":"A","payload":1}"#, "topic"),
        (r#"{"topic":"a..b","payload":1}"#, "topic"),
        (r#"{"topic":"a.*","payload":1}"#, "topic"),
        (r#"{"topic":"$sys.a","payload":1}"#, "topic"),
        (r#"{"topic":"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q","payload":1}"#, "topic"),
        (&format!(r#"{{"topic":"{long_token}","payload":1}}"#), "topic"),
        (r#"{"topic":"a","payload":1,"payload_base64":"AA==","content_type":"a/b"}"#, "payload"),
        (r#"{"topic":"a","payload_base64":"AA=="}"#, "content_type"),
        (r#"{"topic":"a","payload_base64":"%%","content_type":"a/b"}"#, "base64"),
        (r#"{"topic":"a","payload":1,"content_type":"a/b"}"#, "content_type"),
        (r#"{"topic":"a","payload":1,"tpoic":2}"#, "tpoic"),
        (r#"{"topic":"a","payload":1,"time":"2026-01-01T00:00:00Z"}"#, "time"),
        (r#"{"topic":"a","payload":1,"dedupe":""}"#, "dedupe"),
        (&format!(r#"{{"topic":"a","payload":1,"dedupe":"{}"}}"#, "k".repeat(65)), "dedupe"),
        (r#"{"topic":"a","payload":1,"publisher_signature":{"scheme":"x"}}"#, "address"),
        (r#"{"topic":"a","topic":"b","payload":1}"#, "topic"),
        (r#"[{"topic":"a","payload":1},{"topic":"B","payload":1}]"#, "topic"),
    ] {
        let shown: String = body.chars().take(80).collect();
        let headers: &[(&str, &str)] =
            if body.is_empty() { &[("content-type", "application/json")] } else { &[] };
        let answer =
            node.http()?.send("POST", "/api/v1/records", headers, body).await.context(shown.clone())?;
        ensure!([400, 422].contains(&answer.status), "{shown}: {}", answer.status);
        let detail = answer.ensure_problem()?;
        ensure!(detail.contains(word), "{shown}: {detail:?} does not name {word:?}");
    }
    let kept = node.http()?.get("/api/v1/records").await?;
    ensure!(kept["records"] == json!([]), "of a refused array something was stored: {kept}");
    let kind = [("content-type", "text/plain")];
    let answer = node.http()?.send("POST", "/api/v1/records", &kind, "hello").await?;
    ensure!([400, 415].contains(&answer.status), "text/plain: {}", answer.status);
    ensure_healthy(&mut node).await?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_refuses_bad_queries_by_name() -> Result<()> {
    let mut node = Plan::new().start().await?;
    node.http()?.publish_numbered("q", "q", 0..3, 10).await?;
    for (query, word) in [
        ("topic=A", "topic"),
        ("topic=", "topic"),
        ("topic=a.%3E.b", "topic"),
        ("topic=a*", "topic"),
        ("since=yesterday", "since"),
        ("until=1", "until"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=xyz", "after"),
        ("after=%7B%22cursor%22%3A5%7D", ""),
        ("after=%7B%22a%2Fb%22%3A1%7D", ""),
        ("after=%7B", ""),
        ("page=xyz", "page"),
        ("filter=payload.", "filter"),
        ("filter=1%20%2B", "filter"),
        ("unknown=1", "unknown"),
        ("limit=1&limit=2", "limit"),
        ("topic=%FF", ""),
    ] {
        let path = format!("/api/v1/records?{query}");
        let answer = node.http()?.send("GET", &path, &[], "").await.with_context(|| query.to_owned())?;
        ensure!([400, 422].contains(&answer.status), "{query}: {} {}", answer.status, answer.text());
        let detail = answer.ensure_problem()?;
        ensure!(detail.contains(word), "{query}: {detail:?} does not name {word:?}");
    }
    ensure_healthy(&mut node).await?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_bears_payloads_that_are_odd_but_json() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let deep = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
    let wide = format!("[{}0]", "0,".repeat(60_000));
    for payload in [deep.as_str(), &wide, "1e400", "-0.0", "\"\\ud800\"", r#"{"a":1,"a":2}"#, " null "] {
        let shown: String = payload.chars().take(30).collect();
        let filtered = node.door()?.open("/feed?filter=has(payload.a)%20%7C%7C%20true").await?;
        let body = format!(r#"{{"topic":"odd.a","payload":{payload}}}"#);
        let answer = node.http()?.send("POST", "/api/v1/records", &[], &body).await?;
        if answer.status != 200 {
            ensure!(answer.status == 400, "{shown}: {}", answer.status);
            continue;
        }
        // What was taken comes out as it was.
        let text = node
            .http()?
            .send_unchecked("GET", "/api/v1/records?order=desc&limit=1", &[], "")
            .await?
            .text_whole();
        ensure!(text.contains(&format!("\"payload\":{}", payload.trim())), "{shown} came out changed");
        drop(filtered);
    }
    node.ensure_alive()?;
    ensure!(!node.log().contains("panicked at"), "{}", node.log_tail());
    node.stop().await
}
