//! Limits: sizes, slow senders, and pressure that is answered instead of stored in memory.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::http::Answer;
use e2e::node::Plan;
use e2e::process::resident_bytes;
use e2e::scale;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

fn record(bytes: usize) -> Value {
    // Two quotes belong to the payload's bytes.
    json!({ "topic": "big", "payload": "x".repeat(bytes - 2) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_what_fits_and_refuses_what_does_not() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let many =
        |count: usize| Value::Array((0..count).map(|i| json!({ "topic": "n", "payload": i })).collect());
    for (what, body, status) in [
        ("128 KiB", record(128 << 10), 200),
        ("128 KiB and a byte", record((128 << 10) + 1), 413),
        ("a body of 10,000", many(10_000), 200),
        ("a body of 10,001", many(10_001), 413),
        ("15 MiB in parts", Value::Array((0..120).map(|_| record(128 << 10)).collect()), 200),
        ("17 MiB in parts", Value::Array((0..136).map(|_| record(128 << 10)).collect()), 413),
        ("one too big among small", json!([{ "topic": "a", "payload": 1 }, record(200 << 10)]), 413),
    ] {
        let answer =
            node.http()?.send("POST", "/api/v1/records", &[], &body.to_string()).await.context(what)?;
        ensure!(answer.status == status, "{what}: {} instead of {status}", answer.status);
    }
    let kept = e2e::history::read(node.http()?, "topic=big&topic=a&limit=10000").await?;
    ensure!(kept.records.len() == 121, "{} big ones stored", kept.records.len());

    let mut publish = node.open("/publish?topic=big").await?;
    for (n, bytes) in [(1, 128 << 10), (2, (128 << 10) + 1), (3, 10)] {
        publish.send_message(Message::binary(vec![7; bytes])).await?;
        let answer = publish.json().await?;
        ensure!(answer["n"] == n && (answer["type"] == "error") == (n == 2), "{bytes} bytes: {answer}");
    }
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_pressure_instead_of_growing() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let pid = node.pid()?;
    node.http()?.publish_numbered("warm", "w", 0..2000, 500).await?;
    let before = resident_bytes(pid)?;
    let body = Value::Array((0..90).map(|_| record(100 << 10)).collect()).to_string();
    let mut posts: JoinSet<Result<Answer>> = JoinSet::new();
    for _ in 0..scale::pick(24, 64) {
        let (http, body) = (node.http()?.clone(), body.clone());
        posts.spawn(async move { http.send("POST", "/api/v1/records", &[], &body).await });
    }
    let mut peak = before;
    let (mut taken, mut refused) = (0, 0);
    while !posts.is_empty() {
        peak = peak.max(resident_bytes(pid)?);
        match tokio::time::timeout(Duration::from_millis(20), posts.join_next()).await {
            Ok(Some(answer)) => match answer?? {
                answer if answer.status == 200 => taken += 1,
                answer if [429, 503].contains(&answer.status) => {
                    refused += 1;
                    let wait: u64 = answer.header("retry-after").parse().context("no Retry-After")?;
                    ensure!((1..=60).contains(&wait), "Retry-After: {wait}");
                }
                answer => anyhow::bail!("{}: {}", answer.status, answer.text()),
            },
            Ok(None) => break,
            Err(_) => {}
        }
    }
    let grown = peak.saturating_sub(before) >> 20;
    scale::say(&format!("pressure: {taken} taken, {refused} refused, {grown} MiB more at the peak"));
    ensure!(taken > 0, "nothing was taken");
    ensure!(grown < 400, "the node grew by {grown} MiB under {} requests of 9 MiB", taken + refused);
    let stored = e2e::history::read(node.http()?, "topic=big&limit=100").await?;
    ensure!(stored.records.len() == 90 * taken, "{} stored of {taken} taken requests", stored.records.len());
    node.http()?.publish(&json!({ "topic": "after", "payload": 1 })).await?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_connections_that_send_no_header() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let address = node.address().to_owned();
    let waits = ["", "GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "].map(|start| {
        let address = address.clone();
        std::thread::spawn(move || -> Result<Duration> {
            let mut tcp = TcpStream::connect(address)?;
            tcp.set_read_timeout(Some(Duration::from_secs(45)))?;
            tcp.write_all(start.as_bytes())?;
            let began = Instant::now();
            let mut rest = Vec::new();
            tcp.read_to_end(&mut rest).context("still open after 45 s")?;
            Ok(began.elapsed())
        })
    });
    for wait in waits {
        let waited = tokio::task::spawn_blocking(move || wait.join())
            .await?
            .map_err(|_| anyhow::anyhow!("panic"))??;
        ensure!(waited > Duration::from_secs(1), "cut after {waited:?} only");
    }
    node.http()?.publish(&json!({ "topic": "after", "payload": 1 })).await?;
    node.stop().await
}
