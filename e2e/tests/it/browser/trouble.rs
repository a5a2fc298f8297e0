//! Sources that break, and a node that is gone: state, reason and age on the page, and recovery by itself.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::browser::roles::Name;
use e2e::market::{Kind, Market};
use e2e::node::Plan;
use serde_json::json;
use tokio::time::sleep;

use super::{at, choose, ensure_quiet, live, row, told, visit};
use crate::sources::with_market;

/// A fault of the feed, and what the page says of the source that meets it.
struct Case {
    name: &'static str,
    kind: Kind,
    fault: &'static str,
    words: &'static [&'static str],
}

const CASES: [Case; 5] = [
    Case { name: "a-500", kind: Kind::Rest, fault: "500", words: &["Backing off", "500"] },
    Case { name: "b-401", kind: Kind::Sse, fault: "401", words: &["Auth failed", "401"] },
    Case {
        name: "c-malformed",
        kind: Kind::Websocket,
        fault: "malformed",
        words: &["Backing off", "no JSON"],
    },
    Case { name: "d-silence", kind: Kind::Sse, fault: "silence", words: &["Stale", "no data"] },
    Case { name: "e-429", kind: Kind::Rest, fault: "429:3", words: &["Backing off", "429", "next try in"] },
];

/// The age of a state, as the page writes it.
fn has_age(text: &str) -> bool {
    let number = |word: &str| word.parse::<u32>().is_ok();
    text.lines().any(|line| {
        line == "now" || line.split_once(' ').is_some_and(|(count, unit)| number(count) && unit == "s")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_why_a_source_broke_and_that_it_is_well_again() -> Result<()> {
    let (market, mut node) = with_market(CASES.len() + 1).await?;
    let mut sources = vec![Kind::Rest.source("well", &market, CASES.len())];
    for (place, case) in CASES.iter().enumerate() {
        let mut source = case.kind.source(case.name, &market, place);
        source["timeout_ms"] = json!(1000);
        if case.kind != Kind::Rest {
            source["stale_after_ms"] = json!(2500);
        }
        sources.push(source);
    }
    node.http()?.add_sources(&sources).await?;
    let browser = at(&node, "/sources").await?;
    for case in &CASES {
        row(&browser, case.name, &["Live", "/s"]).await?;
    }
    browser.look("sources-busy").await?;
    for (place, case) in CASES.iter().enumerate() {
        market.fault(&case.kind.path(place), case.fault).await?;
    }
    for case in &CASES {
        let text = row(&browser, case.name, case.words).await?;
        ensure!(has_age(&text), "no age in {text:?}");
    }
    row(&browser, "well", &["Live"]).await?;
    browser.click("button", Name::Begins("Auth failed")).await?;
    browser.gone("rowheader", Name::Begins("a-500 ")).await?;
    row(&browser, "b-401", &["Auth failed"]).await?;
    browser.click("button", Name::Begins("All")).await?;
    browser.look("sources-broken").await?;
    overview(&browser, true).await?;

    market.mend().await?;
    visit(&browser, "Sources").await?;
    // One that was refused is asked again a minute later, or when somebody says so.
    choose(&browser, "b-401", "Try now").await?;
    told(&browser, "b-401 is read again.").await?;
    for case in &CASES {
        // The longer one was broken, the longer its pause until it is tried again.
        node.http()?.source_in(case.name, "live").await?;
        let text = row(&browser, case.name, &["Live"]).await?;
        ensure!(!text.contains("the upstream answered") && !text.contains("no data for"), "{text:?}");
    }
    overview(&browser, false).await?;
    ensure_quiet(&browser).await?;
    browser.close().await?;
    node.stop().await
}

/// The component of the sources, in the sentence of the page and on its card.
async fn overview(browser: &e2e::browser::Browser, is_broken: bool) -> Result<()> {
    visit(browser, "Overview").await?;
    if is_broken {
        browser.says("status", Name::Any, &["Sources are degraded:", "are not live"]).await?;
        browser.says("article", Name::Any, &["Sources", "degraded", "since", "are not live"]).await?;
        browser.says("region", "Sources", &["Auth failed", "401"]).await?;
        browser.says("region", "Recent events", &["sources"]).await?;
        browser.look("overview-broken").await
    } else {
        browser.says("status", Name::Any, &["Everything that exists works:"]).await?;
        browser.says("article", Name::Any, &["Sources", "ok", "since"]).await?;
        browser.look("overview-busy").await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_that_the_node_is_gone_and_comes_back_by_itself() -> Result<()> {
    let market = Market::start(1, 2.0).await?;
    // The page comes back to the same address, so this node has a fixed one.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let http = format!("127.0.0.1:{port}");
    let options = ["--http", &http, "--allow-private-sources", &market.allowed()];
    let mut node = Plan::new().args(&options).start().await?;
    node.http()?.add_source(&Kind::Rest.source("one", &market, 0)).await?;
    let browser = at(&node, "/sources").await?;
    row(&browser, "one", &["Live"]).await?;

    node.signal(rustix::process::Signal::TERM)?;
    ensure!(node.wait_exit().await?.success(), "SIGTERM");
    browser.says("status", Name::Any, &["Offline"]).await?;
    browser.says("main", Name::Any, &["Not connected: what is shown is"]).await?;
    browser.says("banner", Name::Any, &["next try in"]).await?;
    let title = browser.run("return document.title").await?;
    ensure!(title.as_str().context("no title")?.starts_with("(offline)"), "{title}");
    // What was known is still there, and what is asked for is answered in words.
    row(&browser, "one", &["Live"]).await?;
    browser.look("sources-offline").await?;
    choose(&browser, "one", "Pause").await?;
    browser.says("status", Name::Any, &["not answer"]).await?;
    visit(&browser, "Overview").await?;
    browser.look("overview-offline").await?;

    node.start().await?;
    live(&browser).await?;
    browser.says("status", Name::Any, &["Everything that exists works:"]).await?;
    let gone = browser.run("return !document.body.innerText.includes('Not connected')").await?;
    ensure!(gone == true, "the page still says that it is not connected");
    visit(&browser, "Sources").await?;
    let before = row(&browser, "one", &["Live"]).await?;
    sleep(Duration::from_millis(1200)).await;
    ensure!(row(&browser, "one", &["Live"]).await? != before, "nothing moves: {before}");
    browser.log().await?;
    browser.close().await?;
    node.stop().await
}
