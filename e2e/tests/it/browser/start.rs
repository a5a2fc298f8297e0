//! The way of somebody who opens a new node's page: three steps to the first record, and what is there then.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use e2e::browser::roles::Name;
use e2e::market::{Kind, Market};
use e2e::node::Plan;
use e2e::scale::say;

use super::{at, ensure_quiet, row, visit};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_leads_an_empty_node_to_its_first_record() -> Result<()> {
    let market = Market::start(1, 4.0).await?;
    let mut node = Plan::new().args(&["--allow-private-sources", &market.allowed()]).start().await?;
    let browser = at(&node, "/").await?;
    browser.find("region", "Three steps to the first record").await?;
    browser.look("overview-empty").await?;
    // The checker does find what is wrong.
    browser
        .run("document.documentElement.lang = ''; document.querySelector('h1').style.color = '#ddd'")
        .await?;
    let found = browser.axe().await?.join("\n");
    ensure!(found.contains("html-has-lang") && found.contains("color-contrast"), "axe-core finds {found:?}");
    browser.run("document.documentElement.lang = 'en'").await?;
    for (page, words) in
        [("Sources", "No source yet."), ("Topics", "No topic yet"), ("Records", "No record yet.")]
    {
        visit(&browser, page).await?;
        browser.says("main", Name::Any, &[words]).await?;
        browser.look(&format!("{}-empty", page.to_lowercase())).await?;
    }

    visit(&browser, "Overview").await?;
    let steps = browser.find("region", "Three steps to the first record").await?;
    let began = Instant::now();
    browser.click_in(Some(&steps), "link", "Add a source").await?;
    browser.write("URL", &Kind::Rest.url(false, market.address(), "/rest/btc-usd")).await?;
    browser.click("button", "Test").await?;
    browser.says("region", "Test result", &["It works:"]).await?;
    // Name and topic were guessed well enough.
    browser.click("button", "Register").await?;
    row(&browser, "local-btc-usd", &["Live", "local.btc-usd"]).await?;
    visit(&browser, "Records").await?;
    browser.says("list", Name::Any, &["local.btc-usd", "BTC/USD"]).await?;
    say(&format!("from the first step to the first record on the page: {:?}", began.elapsed()));

    let all = browser.all(None, "button", Name::Any).await?;
    let record = all.iter().find(|button| button.name.contains("local.btc-usd")).context("no record")?;
    browser.click("button", "Pause").await?;
    let name = record.name.split("local.btc-usd").nth(1).context("no payload")?.to_owned();
    let all = browser.all(None, "button", Name::Any).await?;
    let record = all.iter().find(|button| button.name.contains(&name)).context("the record is gone")?;
    browser.click("button", Name::Is(&record.name)).await?;
    browser.says("group", "Payload", &["\"symbol\": \"BTC/USD\""]).await?;
    browser.look("records-busy").await?;

    visit(&browser, "Topics").await?;
    let topic = browser.says("row", Name::Any, &["local.btc-usd", "/s"]).await?;
    ensure!(topic.contains("local.btc-usd"), "{topic}");
    browser.look("topics-busy").await?;
    visit(&browser, "Overview").await?;
    browser.gone("region", "Three steps to the first record").await?;
    browser.says("status", Name::Any, &["Everything that exists works:"]).await?;
    browser.look("overview-first").await?;
    ensure_quiet(&browser).await?;
    browser.close().await?;
    node.stop().await
}
