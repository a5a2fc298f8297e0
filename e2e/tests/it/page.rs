//! The page in a real browser: records arrive live, a restart is shown and resumed, nothing is lost or doubled.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::browser::{Browser, SCREENS};
use e2e::node::{Node, Plan};
use serde_json::{Value, json};
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(20);
const ROWS: &str =
    "return [...document.querySelectorAll('[data-record-id]')].map(e => e.getAttribute('data-record-id'))";

fn field(label: &str) -> String {
    format!(
        "for (const l of document.querySelectorAll('label')) if (l.textContent.trim().startsWith('{label}')) \
         return l.control || l.querySelector('input'); return document.querySelector('input[aria-label^=\"{label}\"]')"
    )
}

fn click(label: &str) -> String {
    format!(
        "for (const b of document.querySelectorAll('button')) if ((b.textContent.trim() || b.ariaLabel) == '{label}' || b.ariaLabel == '{label}') \
         {{ b.click(); return true; }} return false"
    )
}

async fn rows(browser: &Browser) -> Result<Vec<String>> {
    let rows = browser.run(ROWS).await?;
    let rows = rows.as_array().context("no rows")?;
    Ok(rows.iter().map(|row| row.as_str().unwrap_or("").to_owned()).collect())
}

async fn state(browser: &Browser, state: &str) -> Result<()> {
    let script = format!(
        "return document.querySelector('.connection[data-state]')?.getAttribute('data-state') == '{state}'"
    );
    browser.until(&script, PATIENCE).await.map(drop)
}

/// Waits until exactly these ids are shown, each once, in any direction of time.
async fn shows(browser: &Browser, expected: &[String]) -> Result<()> {
    let wanted = Value::from(expected.to_vec());
    let script = format!(
        "const s = {ROWS_INLINE}; const w = {wanted}; return w.every(id => s.includes(id))",
        ROWS_INLINE = ROWS.trim_start_matches("return ")
    );
    browser.until(&script, PATIENCE).await?;
    let mut shown = rows(browser).await?;
    let count = shown.len();
    shown.sort();
    shown.dedup();
    ensure!(shown.len() == count, "a row is shown twice");
    ensure!(count == expected.len(), "{count} rows for {} records", expected.len());
    Ok(())
}

async fn push(node: &Node, topic: &str, name: &str, count: usize) -> Result<Vec<String>> {
    let published = node.http()?.publish_numbered(topic, name, 0..count, 20).await?;
    Ok(published.into_iter().map(|(id, _)| id.to_string()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_live_records_and_survives_a_restart() -> Result<()> {
    // The page comes back to the same address, so this node has a fixed one.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut node = Plan::new().args(&["--http", &format!("127.0.0.1:{port}")]).start().await?;
    let browser = Browser::start().await?;
    browser.show_as(SCREENS[0], false).await?;
    browser.open(&format!("{}/records", node.url())).await?;
    state(&browser, "live").await?;
    ensure_light(&browser, &node).await?;
    browser.look("records-empty").await?;
    let mut ids = push(&node, "page.a", "a", 5).await?;
    shows(&browser, &ids).await.context("live")?;
    browser.look("records-live").await?;

    node.kill()?;
    state(&browser, "offline").await.context("after kill -9")?;
    browser.look("records-offline").await?;
    node.start().await?;
    // Pushed before the page is back: only a resume shows these.
    ids.extend(push(&node, "page.a", "b", 5).await?);
    state(&browser, "live").await.context("after the restart")?;
    ids.extend(push(&node, "page.b", "c", 5).await?);
    shows(&browser, &ids).await.context("after the restart")?;

    ensure!(browser.run(&click("Pause")).await? == true, "no pause button");
    let later = push(&node, "page.b", "d", 3).await?;
    sleep(Duration::from_millis(700)).await;
    let shown = rows(&browser).await?;
    ensure!(later.iter().all(|id| !shown.contains(id)), "rows move while paused");
    ensure!(browser.run(&click("Resume")).await? == true, "no resume button");
    ids.extend(later);
    shows(&browser, &ids).await.context("after a pause")?;

    browser.fill(&field("Topics"), "page.c").await?;
    state(&browser, "live").await?;
    sleep(Duration::from_millis(300)).await;
    push(&node, "page.a", "e", 2).await?;
    let wanted = push(&node, "page.c", "f", 2).await?;
    let only = format!(
        "const s = {}; return s.includes('{}') && s.includes('{}')",
        ROWS.trim_start_matches("return "),
        wanted[0],
        wanted[1]
    );
    browser.until(&only, PATIENCE).await.context("by pattern")?;
    browser.fill(&field("Filter"), "payload.i > ").await?;
    browser
        .until(
            "return [...document.querySelectorAll('[role=alert]')].some(a => /filter/i.test(a.textContent))",
            PATIENCE,
        )
        .await
        .context("a bad filter is explained")?;
    browser.look("records-error").await?;
    browser.fill(&field("Filter"), "payload.i >= 1").await?;
    state(&browser, "live").await?;
    sleep(Duration::from_millis(300)).await;
    let filtered = push(&node, "page.c", "g", 2).await?;
    let only = format!(
        "const s = {}; return s.includes('{}') && !s.includes('{}')",
        ROWS.trim_start_matches("return "),
        filtered[1],
        filtered[0]
    );
    browser.until(&only, PATIENCE).await.context("by filter")?;
    ensure_quiet(&browser, &ABSENT).await?;
    browser.close().await?;
    node.stop().await
}

/// The page and all that it loads is small, and comes from the node alone.
async fn ensure_light(browser: &Browser, node: &Node) -> Result<()> {
    let script = "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')] \
                  .map(e => [e.name, e.encodedBodySize])";
    let loaded = browser.run(script).await?;
    let loaded = loaded.as_array().context("nothing loaded")?;
    let foreign =
        loaded.iter().find(|entry| !entry[0].as_str().is_some_and(|url| url.starts_with(&node.url())));
    ensure!(foreign.is_none(), "loaded from elsewhere: {foreign:?}");
    let bytes: u64 = loaded.iter().filter_map(|entry| entry[1].as_u64()).sum();
    e2e::scale::say(&format!("page: {bytes} bytes in {} answers", loaded.len()));
    ensure!(loaded.len() >= 3 && bytes > 10_000, "too little to be the page: {loaded:?}");
    ensure!(bytes <= 250_000, "{bytes} bytes on the wire: {loaded:?}");
    Ok(())
}

/// What the browser says of a node that is not there, or starts and says so.
const ABSENT: [&str; 3] = ["ERR_CONNECTION_REFUSED", "WebSocket connection to", "status of 503"];

/// Nothing was blocked or thrown; only of this may be complained.
async fn ensure_quiet(browser: &Browser, but: &[&str]) -> Result<()> {
    let log = browser.log().await?;
    let bad: Vec<_> = log
        .iter()
        .filter(|(level, message)| level == "error" && !but.iter().any(|words| message.contains(words)))
        .collect();
    ensure!(bad.is_empty(), "the browser complains: {bad:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_the_token_of_the_first_link_and_stays_usable() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let browser = Browser::start().await?;
    browser.show_as(SCREENS[1], true).await?;
    browser.open(&format!("{}/records#token={}", node.url(), node.token())).await?;
    state(&browser, "live").await?;
    let hash = browser.run("return location.hash").await?;
    ensure!(
        !hash.as_str().unwrap_or("").contains(node.token()),
        "the token stays in the address bar: {hash}"
    );
    let shown = browser.run("return document.documentElement.outerHTML").await?;
    ensure!(!shown.as_str().unwrap_or("").contains(node.token()), "the token is shown on the page");
    // What a payload holds is shown, never run.
    let evil = json!({ "topic": "evil", "payload": "<img src=x onerror='document.title=1'><script>document.title=1</script>" });
    let answer = node.http()?.publish(&evil).await?;
    let id = answer["ids"][0].as_str().context("no id")?.to_owned();
    shows(&browser, &[id]).await?;
    let title = browser.run("return document.title").await?;
    ensure!(title != "1" && title.as_str().is_some_and(|title| !title.is_empty()), "title {title}");
    for (script, what) in [
        ("return document.documentElement.lang != ''", "a language"),
        ("return !!document.querySelector('main')", "a main landmark"),
        (
            "return [...document.querySelectorAll('button')].every(b => (b.textContent.trim() || b.ariaLabel || '') != '')",
            "names on buttons",
        ),
        (
            "return [...document.querySelectorAll('input,select')].every(i => (i.labels && i.labels.length > 0) || i.ariaLabel || i.type == 'hidden')",
            "labels on fields",
        ),
    ] {
        ensure!(browser.run(script).await? == true, "the page lacks {what}");
    }
    ensure_quiet(&browser, &[]).await?;
    browser.close().await?;
    node.stop().await
}
