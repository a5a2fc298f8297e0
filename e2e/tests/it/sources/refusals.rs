//! What the routes of sources refuse, in which words, and what they hide from readers.

use anyhow::{Context as _, Result, ensure};
use e2e::http::Http;
use e2e::market::Kind;
use e2e::node::Plan;
use serde_json::{Value, json};

use super::with_market;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_masks_what_readers_must_not_see() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let http = node.http()?;
    let rest = json!({ "name": "rest", "kind": "rest", "paused": true, "topic": "a", "method": "POST",
        "url": "https://user:pass-word@a.example/path?key=in-query", "headers": { "X-Key": "in-header" },
        "body": { "key": "in-body" } });
    let socket = json!({ "name": "socket", "kind": "websocket", "paused": true, "topic": "a",
        "url": "wss://a.example/path?key=in-query", "open": ["in-open", { "key": "in-open" }],
        "ping": { "every_ms": 1000, "frame": { "key": "in-ping" } } });
    http.add_sources(&[rest.clone(), socket.clone()]).await?;
    let hidden = ["pass-word", "user", "in-query", "in-header", "in-body", "in-open", "in-ping"];
    let reader = http.with_token(None);
    for path in
        ["/api/v1/sources", "/api/v1/sources/rest", "/api/v1/sources/socket", "/api/v1/sources?node=all"]
    {
        let text = reader.get(path).await?.to_string();
        for word in hidden {
            ensure!(!text.contains(word), "{path} shows {word} to readers: {text}");
        }
        ensure!(text.contains("a.example/path") && text.contains("***"), "{path}: {text}");
    }
    let all = http.sources().await?;
    for (name, given) in [("rest", &rest), ("socket", &socket)] {
        for (field, value) in given.as_object().context("no object")? {
            ensure!(all[name][field] == *value, "{name}.{field} for the admin: {}", all[name][field]);
        }
    }
    let mut watch = node.door()?.open("/api/v1/watch").await?;
    for _ in 0..3 {
        let told = watch.json().await?.to_string();
        ensure!(hidden.iter().all(|word| !told.contains(word)), "watch shows what is masked: {told}");
    }
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_changes_from_the_admin_only() -> Result<()> {
    let (market, mut node) = with_market(2).await?;
    let source = Kind::Rest.source("mine", &market, 0);
    node.http()?.add_source(&source).await?;
    for (token, status) in [(None, 401), (Some("wrong"), 401)] {
        let http = node.http()?.with_token(token);
        for (method, path, body) in [
            ("POST", "/api/v1/sources", source.to_string()),
            ("POST", "/api/v1/sources/test", source.to_string()),
            ("PUT", "/api/v1/sources/mine", source.to_string()),
            ("DELETE", "/api/v1/sources/mine", String::new()),
            ("POST", "/api/v1/sources/mine/pause", String::new()),
            ("POST", "/api/v1/sources/mine/resume", String::new()),
        ] {
            http.send(method, path, &[], &body).await?.ensure(status)?;
        }
    }
    ensure!(market.counts().await?["/rest/0"]["requests"].as_u64() > Some(0));
    ensure!(node.http()?.source("mine").await?["paused"] == false);
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_names_what_is_wrong_field_by_field() -> Result<()> {
    let (market, mut node) = with_market(2).await?;
    let http = node.http()?;
    let good = Kind::Rest.source("good", &market, 0);
    http.add_source(&good).await?;
    http.send("POST", "/api/v1/sources", &[], &good.to_string()).await?.ensure(409)?;
    for (method, path) in [
        ("GET", "/api/v1/sources/none"),
        ("DELETE", "/api/v1/sources/none"),
        ("POST", "/api/v1/sources/none/pause"),
        ("POST", "/api/v1/sources/none/resume"),
    ] {
        http.send(method, path, &[], "").await?.ensure(404)?;
    }
    let other = Kind::Rest.source("none", &market, 0).to_string();
    http.send("PUT", "/api/v1/sources/none", &[], &other).await?.ensure(404)?;
    let renamed = http.send("PUT", "/api/v1/sources/good", &[], &other).await?.ensure(422)?;
    ensure_named(&renamed.json()?, "name")?;
    http.send("POST", "/api/v1/sources", &[], "{").await?.ensure(400)?;
    each_field(http, &good).await?;
    let whole = http.sources().await?;
    ensure!(whole.len() == 1 && whole["good"]["url"] == good["url"], "{whole:?}");
    node.stop().await
}

/// Sends definitions that are wrong in one field each, to every route that takes one.
async fn each_field(http: &Http, good: &Value) -> Result<()> {
    for (field, value) in [
        ("name", json!("Not a name")),
        ("name", json!("x".repeat(65))),
        ("kind", json!("ftp")),
        ("url", json!("ftp://a.example/")),
        ("url", json!("no url")),
        ("url", json!("https://a.example/${secret:lower}")),
        ("topic", json!("Bad.Topic")),
        ("topic", json!("a.${payload.")),
        ("emit", json!("payload.(")),
        ("emit", json!("unknown_function(payload)")),
        ("interval_ms", json!(1)),
        ("interval_ms", json!("1s")),
        ("timeout_ms", json!(0)),
        ("method", json!("BREW")),
        ("headers", json!({ "Bad Name": "x" })),
        ("headers", json!({ "X-Key": "a\nb" })),
        ("open", json!(["a frame for a polled source"])),
        ("reconnect_after_ms", json!(1000)),
        ("tropic", json!("unknown")),
    ] {
        let mut wrong = good.clone();
        wrong["name"] = json!("wrong");
        wrong[field] = value.clone();
        let answer = http.send("POST", "/api/v1/sources", &[], &wrong.to_string()).await?;
        let answer = answer.ensure(422).with_context(|| format!("{field}: {value}"))?;
        ensure_named(&answer.json()?, field).with_context(|| format!("{field}: {value}"))?;
    }
    let many = json!({ "name": "UPPER", "kind": "rest", "url": "x:", "topic": "..", "interval_ms": 0 });
    let answer = http.send("POST", "/api/v1/sources", &[], &many.to_string()).await?.ensure(422)?.json()?;
    for field in ["name", "url", "topic", "interval_ms"] {
        ensure_named(&answer, field)?;
    }
    Ok(())
}

fn ensure_named(problem: &Value, field: &str) -> Result<()> {
    let errors = problem["errors"].as_array().with_context(|| format!("no errors in {problem}"))?;
    let names = |error: &Value| {
        let named = error["field"].as_str().unwrap_or_default();
        named.split(['.', '[']).next() == Some(field) && error["detail"].as_str().is_some_and(|d| d.len() > 8)
    };
    ensure!(errors.iter().any(names), "{field} is not named: {problem}");
    Ok(())
}
