//! What the form says of what is wrong, at the field that is, and what it keeps.

use anyhow::{Result, ensure};
use e2e::browser::Browser;
use e2e::browser::roles::Name;
use e2e::market::{Kind, Market};
use serde_json::json;

use super::{at, ensure_quiet, is_wrong, row, told, visit};
use crate::sources::with_market;

/// Fills the form with a source that works.
async fn fill(browser: &Browser, market: &Market, name: &str) -> Result<()> {
    browser.write("URL", &Kind::Rest.url(false, market.address(), "/rest/0")).await?;
    browser.write("Name", name).await?;
    browser.write("Topic", "form.a").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_what_is_wrong_where_it_is() -> Result<()> {
    let (market, mut node) = with_market(1).await?;
    node.http()?.add_source(&Kind::Rest.source("taken", &market, 0)).await?;
    let browser = at(&node, "/sources/new").await?;
    browser.click("button", "Register").await?;
    for (label, words) in [("URL", "URL"), ("Name", "name"), ("Topic", "topic")] {
        is_wrong(&browser, label, words).await?;
    }
    browser.says("alert", Name::Any, &["3 fields need a look"]).await?;
    browser.when("textbox", "URL", |field| field.is("focused")).await?;
    browser.look("form-errors").await?;

    fill(&browser, &market, "mine").await?;
    for (label, text, words) in [
        ("URL", "not an address", "URL"),
        ("URL", "ftp://example.com/x", "http"),
        ("URL", "http://169.254.169.254/latest/", "--allow-private-sources 169.254.169.254"),
        ("URL", "http://127.0.0.1:9/", "--allow-private-sources 127.0.0.1:9"),
        ("Emit", "payload.(", "col"),
        ("Topic", "Not A Topic", "a-z"),
        ("Interval (ms)", "soon", "whole number"),
        ("Interval (ms)", "1", "50 to"),
        ("Name", "taken", "of this name already"),
    ] {
        let good = browser.held(label).await?;
        browser.write(label, text).await?;
        browser.click("button", "Register").await?;
        is_wrong(&browser, label, words).await?;
        let kept = browser.held(label).await?;
        ensure!(kept == text, "{label} held {text:?} and now {kept:?}");
        browser.write(label, &good).await?;
        browser.when("textbox", label, |field| !field.is("invalid")).await?;
    }
    ensure!(node.http()?.sources().await?.len() == 1, "something was registered");
    test_says_where(&browser, &market).await?;
    browser.click("button", "Register").await?;
    row(&browser, "mine", &["Live"]).await?;
    ensure_quiet(&browser).await?;
    browser.close().await?;
    node.stop().await
}

/// A test that fails says at which step, and for an expression at its field.
async fn test_says_where(browser: &Browser, market: &Market) -> Result<()> {
    market.fault("/rest/0", "500").await?;
    browser.click("button", "Test").await?;
    browser.says("region", "Test result", &["failed after", "500"]).await?;
    browser.look("form-test-failed").await?;
    market.mend().await?;
    browser.write("Emit", "payload.nothing").await?;
    browser.click("button", "Test").await?;
    is_wrong(browser, "Emit", "nothing").await?;
    browser.says("region", "Test result", &["The expression failed after"]).await?;
    browser.write("Emit", "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_asks_before_unsaved_input_is_lost() -> Result<()> {
    let (market, mut node) = with_market(1).await?;
    let browser = at(&node, "/sources").await?;
    browser.click("link", "Add a source").await?;
    visit(&browser, "Topics").await?;
    ensure!(browser.answer(false).await.is_empty(), "asked though nothing was written");

    visit(&browser, "Sources").await?;
    browser.click("link", "Add a source").await?;
    fill(&browser, &market, "kept").await?;
    browser.click("link", "Cancel").await?;
    let pages = browser.find("navigation", "Pages").await?;
    browser.click_in(Some(&pages), "link", "Overview").await?;
    browser.run("history.back()").await?;
    browser.find("heading", "New source").await?;
    let asked = browser.answer(true).await;
    ensure!(asked.len() == 3 && asked.iter().all(|words| words.contains("not saved")), "asked {asked:?}");
    let kept = browser.held("Name").await?;
    ensure!(kept == "kept", "the form holds {kept:?}");
    let address = browser.run("return location.pathname").await?;
    ensure!(address == "/sources/new", "the address is {address}");

    // What is registered is not asked about.
    browser.click("button", "Register").await?;
    told(&browser, "kept is registered.").await?;
    ensure!(browser.answer(true).await.is_empty(), "asked though it was registered");
    browser.click("link", "Add a source").await?;
    browser.write("URL", "http://example.com/").await?;
    browser.click("link", "Cancel").await?;
    browser.find("heading", "Sources").await?;
    ensure!(browser.answer(true).await.len() == 1, "not asked");
    ensure_quiet(&browser).await?;
    browser.close().await?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_leaves_what_the_form_does_not_show_as_it_is() -> Result<()> {
    let (market, mut node) = with_market(1).await?;
    let mut source = Kind::Websocket.source("rich", &market, 0);
    source["open"] = json!([{ "method": "subscribe", "params": { "channel": "trade" } }, "plain"]);
    source["headers"] = json!({ "X-Key": "${secret:K}", "X-Other": "b" });
    source["ping"] = json!({ "every_ms": 5000, "frame": { "method": "ping" } });
    source["reconnect_after_ms"] = json!(60_000);
    source["paused"] = json!(true);
    node.http()?.add_source(&source).await?;
    let before = node.http()?.source("rich").await?;
    let browser = at(&node, "/sources/rich/edit").await?;
    browser.says("note", "Secrets", &["ANODE_SECRET_K"]).await?;
    browser.look("form-edit").await?;
    browser.click("button", "Save").await?;
    told(&browser, "rich is saved.").await?;
    let mut after = node.http()?.source("rich").await?;
    after["status"] = before["status"].clone();
    ensure!(after == before, "saved unchanged, and now {after} instead of {before}");
    ensure_quiet(&browser).await?;
    browser.close().await?;
    node.stop().await
}
