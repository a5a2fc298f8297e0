//! A token that the node does not take: clear words, nothing lost, and a way out.

use anyhow::{Result, ensure};
use e2e::browser::roles::Name;
use e2e::browser::{Browser, SCREENS};
use e2e::market::Kind;

use super::{choose, ensure_quiet, live, row, told, visit};
use crate::sources::with_market;

const REFUSED: &str = "The node does not take the token that this browser keeps.";
const NONE: &str = "This browser has no token";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_that_a_token_is_wrong_and_loses_nothing() -> Result<()> {
    let (market, mut node) = with_market(2).await?;
    node.http()?.add_source(&Kind::Rest.source("there", &market, 0)).await?;
    let browser = Browser::start().await?;
    browser.show_as(SCREENS[0], false).await?;
    browser.open(&format!("{}/sources/new#token=wrong-one", node.url())).await?;
    live(&browser).await?;
    browser.says("main", Name::Any, &[REFUSED, "anode link"]).await?;
    let fields = [("URL", Kind::Rest.url(false, market.address(), "/rest/1")), ("Name", "mine".to_owned())];
    for (label, text) in &fields {
        browser.write(label, text).await?;
    }
    for name in ["Test", "Register"] {
        let button = browser.find("button", name).await?;
        ensure!(button.is("disabled") && button.description.contains(REFUSED), "{button:?}");
        browser.click("button", name).await?;
    }
    browser.look("form-wrong-token").await?;
    ensure!(node.http()?.sources().await?.len() == 1, "registered with a wrong token");

    // The right link, opened in this very tab as a person would: another fragment of the same page.
    browser.run(&format!("location.hash = 'token={}'", node.token())).await?;
    browser.when("button", "Register", |button| !button.is("disabled")).await?;
    for (label, text) in &fields {
        let kept = browser.held(label).await?;
        ensure!(kept == *text, "{label} holds {kept:?}");
    }

    // Taken away while the form is filled: the node's answer says so, and the form stays.
    browser.run("localStorage.setItem('anode-token', 'taken-away')").await?;
    browser.click("button", "Register").await?;
    browser.says("main", Name::Any, &[REFUSED]).await?;
    browser.says("alert", Name::Any, &["token"]).await?;
    let kept = browser.held("Name").await?;
    ensure!(kept == "mine", "Name holds {kept:?}");
    // The link in another tab is enough for this one.
    let other = format!("{}/#token={}", node.url(), node.token());
    browser.devtools("Target.createTarget", &serde_json::json!({ "url": other, "background": true })).await?;
    browser.when("button", "Register", |button| !button.is("disabled")).await?;
    browser.click("button", "Register").await?;
    told(&browser, "mine is registered.").await?;
    row(&browser, "mine", &["Live"]).await?;
    ensure_quiet(&browser).await?;
    browser.close().await?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_all_and_offers_nothing_without_a_token() -> Result<()> {
    let (market, mut node) = with_market(1).await?;
    node.http()?.add_source(&Kind::Rest.source("there", &market, 0)).await?;
    let browser = Browser::start().await?;
    browser.show_as(SCREENS[0], false).await?;
    browser.open(&format!("{}/sources", node.url())).await?;
    live(&browser).await?;
    row(&browser, "there", &["Live"]).await?;
    browser.says("main", Name::Any, &[NONE, "anode link"]).await?;
    browser.click("button", "Actions for there").await?;
    for name in ["Pause", "Edit", "Duplicate", "Delete"] {
        let item = browser.find("menuitem", name).await?;
        ensure!(item.is("disabled") && item.description.contains(NONE), "{item:?}");
    }
    browser.look("sources-no-token").await?;
    browser.key("Escape").await?;
    browser.gone("menuitem", Name::Any).await?;
    choose(&browser, "there", "Delete").await?;
    choose(&browser, "there", "Live records").await?;
    browser.says("list", Name::Any, &["market.there"]).await?;
    ensure!(node.http()?.source("there").await?["status"]["state"] == "live");
    visit(&browser, "Overview").await?;
    ensure_quiet(&browser).await?;
    browser.close().await?;
    node.stop().await
}
