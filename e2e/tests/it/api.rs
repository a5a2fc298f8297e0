//! The resources beside records: topics, subscribers, status, events, watch, tickets, health, metrics, docs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::node::{Node, Plan};
use e2e::sse;
use serde_json::{Value, json};
use tokio::time::sleep;

async fn with_records() -> Result<Node> {
    let node = Plan::new()
        .args(&["--name", "tested", "--retain-age", "3d", "--retain-bytes", "2GiB"])
        .start()
        .await?;
    node.http()?.publish_numbered("things.a", "a", 0..10, 10).await?;
    node.http()?.publish_numbered("things.b", "b", 0..5, 10).await?;
    Ok(node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_its_status_and_topics() -> Result<()> {
    let mut node = with_records().await?;
    let http = node.http()?.with_token(None);
    let status = http.get("/api/v1/status").await?;
    let of_node = &status["node"];
    ensure!(of_node["name"] == "tested" && of_node["network"] == "e2e", "{of_node}");
    ensure!(of_node["retention"] == json!({ "age_s": 259_200, "bytes": 2_147_483_648_u64 }), "{of_node}");
    ensure!(of_node["id"].as_str().is_some_and(|id| id.starts_with("12D3KooW")), "{of_node}");
    for name in ["sources", "pipeline", "store", "gossip", "archive", "feed"] {
        let state = status["components"][name]["state"].as_str().unwrap_or("none");
        ensure!(["ok", "off"].contains(&state), "{name} is {state}: {status}");
    }
    ensure!(status["components"]["store"]["state"] == "ok" && status["components"]["feed"]["state"] == "ok");

    let topics = http.get("/api/v1/topics").await?;
    let mut found: Vec<(String, u64)> = Vec::new();
    for topic in topics["topics"].as_array().context("no topics")? {
        found.push((topic["topic"].as_str().unwrap_or("").to_owned(), topic["count"].as_u64().unwrap_or(0)));
        ensure!(topic["rate"].as_f64().is_some() && topic["last_record"].as_str().is_some(), "{topic}");
    }
    found.sort();
    ensure!(found == [("things.a".to_owned(), 10), ("things.b".to_owned(), 5)], "{found:?}");
    node.kill()?;
    node.start().await?;
    let again = node.http()?.get("/api/v1/topics").await?;
    ensure!(again["topics"].as_array().map(Vec::len) == Some(2), "after a restart: {again}");
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_subscribers_and_hides_what_is_private() -> Result<()> {
    let mut node = with_records().await?;
    let filter = "payload.secretive%20%3E%201";
    let mut feed =
        node.door()?.open(&format!("/feed?topic=things.%3E&filter={filter}&start=earliest")).await?;
    feed.expect("caught_up").await?;
    let _events = sse::open(&format!("{}/feed?topic=things.a", node.url()), &[]).await?;
    for (token, private) in [(Some(node.token()), true), (None, false)] {
        let answer = node.http()?.with_token(token).get("/api/v1/subscribers").await?;
        let all = answer["subscribers"].as_array().context("no subscribers")?;
        ensure!(all.len() == 2, "{answer}");
        let one =
            all.iter().find(|one| one["topics"] == json!(["things.>"])).context("not the feed's topics")?;
        ensure!(
            one["lag"] == 0 && one["rate"].as_f64().is_some() && one["bytes"].as_u64().is_some(),
            "{one}"
        );
        ensure!(one["filter"].is_string() == private && one["address"].is_string() == private, "{one}");
    }
    drop(feed);
    for _ in 0..200 {
        let answer = node.http()?.get("/api/v1/subscribers").await?;
        if answer["subscribers"].as_array().map(Vec::len) == Some(1) {
            return node.stop().await;
        }
        sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("a subscriber that left is still there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_what_happened() -> Result<()> {
    let mut node = with_records().await?;
    let http = node.http()?;
    let page = http.get("/api/v1/events").await?;
    let events = page["events"].as_array().context("no events")?;
    ensure!(events.iter().any(|event| event["kind"] == "started"), "no start among {events:?}");
    let ids: Vec<u64> = events.iter().filter_map(|event| event["id"].as_u64()).collect();
    ensure!(
        ids.len() == events.len() && ids.is_sorted_by(|one, next| one > next),
        "not newest first: {ids:?}"
    );

    let mut watch = node.door()?.open("/api/v1/watch").await?;
    let first = watch.json().await?;
    ensure!(first["type"] == "status" && first["node"]["name"] == "tested", "{first}");
    let mut stream = sse::open(&format!("{}/api/v1/watch", node.url()), &[]).await?;
    let event = stream.next().await?;
    ensure!(event.kind()? == "status" && event.json()?["node"]["name"] == "tested", "{event:?}");
    http.publish_numbered("things.a", "c", 0..100, 10).await?;
    let changed = |value: &Value| {
        value["type"] == "status" && value["components"]["store"] != first["components"]["store"]
    };
    let mut told = 0;
    while !changed(&watch.json().await?) {
        told += 1;
        ensure!(told < 50, "the store's figures never changed");
    }
    node.stop().await?;
    ensure!(watch.closed().await?.0 == 1001, "watch is closed with 1001");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_pushes_at_most_once_a_second() -> Result<()> {
    let mut node = with_records().await?;
    let mut watch = node.door()?.open("/api/v1/watch").await?;
    watch.json().await?;
    let began = std::time::Instant::now();
    let mut pushed = 0;
    while began.elapsed() < Duration::from_secs(3) {
        node.http()?.publish_numbered("things.a", "d", 0..1, 10).await?;
        while let Some(frame) = watch.next_within(Duration::from_millis(20)).await? {
            let e2e::socket::Frame::Json(value) = frame else { anyhow::bail!("{frame:?}") };
            pushed += u32::from(value["type"] == "status");
        }
    }
    ensure!((1..=4).contains(&pushed), "{pushed} times status in 3 s");
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_probes_metrics_and_docs() -> Result<()> {
    let mut node = with_records().await?;
    let http = node.http()?.with_token(None);
    for route in ["/livez", "/healthz", "/readyz"] {
        http.send("GET", route, &[], "").await?.ensure(200)?;
    }
    let metrics = http.send("GET", "/metrics", &[], "").await?.ensure(200)?;
    ensure_metrics(&metrics.text_whole())?;
    let docs = http.send("GET", "/api/docs", &[], "").await?;
    ensure!([200, 303, 307, 308].contains(&docs.status), "docs: {}", docs.status);
    let page = http.send_unchecked("GET", "/", &[], "").await?.ensure(200)?;
    ensure!(
        page.header("content-type").starts_with("text/html"),
        "the dashboard is {}",
        page.header("content-type")
    );
    let policy = page.header("content-security-policy");
    ensure!(policy.contains("default-src") && !policy.contains("unsafe-inline"), "policy: {policy:?}");
    for (name, value) in [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")] {
        ensure!(page.header(name) == value, "{name}: {:?}", page.header(name));
    }
    let none = http.send_unchecked("GET", "/api/v1/none", &[], "").await?.ensure(404)?;
    none.ensure_problem()?;
    let other = http.send_unchecked("DELETE", "/api/v1/status", &[], "").await?.ensure(405)?;
    other.ensure_problem()?;
    node.stop().await
}

/// Prometheus text that parses, with something of every stage.
fn ensure_metrics(text: &str) -> Result<()> {
    let mut names = std::collections::BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, value) = line.rsplit_once(' ').with_context(|| format!("no sample: {line}"))?;
        value.parse::<f64>().with_context(|| format!("no number: {line}"))?;
        names.insert(name.split('{').next().unwrap_or(name).to_owned());
    }
    for stage in ["store", "feed", "http"] {
        ensure!(
            names.iter().any(|name| name.starts_with(&format!("anode_{stage}"))),
            "none of {stage}: {names:?}"
        );
    }
    Ok(())
}

#[test]
fn it_notices_bad_metrics() {
    let good = "# HELP anode_x y\nanode_store_a 1\nanode_feed_b{c=\"d e\"} 2.5\nanode_http_c 3e2\n# EOF\n";
    assert!(ensure_metrics(good).is_ok());
    for bad in ["", "anode_store_a 1\nanode_feed_b x\nanode_http_c 1", "anode_store_a 1\nanode_feed_b 1", "x"]
    {
        assert!(ensure_metrics(bad).is_err(), "{bad:?}");
    }
}
