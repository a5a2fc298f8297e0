//! The life of a source of each kind from the form: tried, registered, watched, paused, resumed, changed, doubled, deleted.

use anyhow::{Result, ensure};
use e2e::browser::Browser;
use e2e::browser::roles::Name;
use e2e::market::{Kind, Market};
use e2e::node::Node;
use e2e::sources::records;

use super::{at, choose, ensure_quiet, live, no_row, row, told, visit};
use crate::sources::with_market;

/// What the page calls a kind.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Rest => "REST",
        Kind::Sse => "SSE",
        Kind::Websocket => "WebSocket",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_leads_a_rest_source_through_its_life() -> Result<()> {
    through_a_life(Kind::Rest).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_leads_an_sse_source_through_its_life() -> Result<()> {
    through_a_life(Kind::Sse).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_leads_a_websocket_source_through_its_life() -> Result<()> {
    through_a_life(Kind::Websocket).await
}

async fn through_a_life(kind: Kind) -> Result<()> {
    let (market, mut node) = with_market(2).await?;
    let browser = at(&node, "/").await?;
    let name = format!("mine-{}", kind.word());
    fill(&browser, &market, kind, &name).await?;
    test(&browser, kind).await?;
    register(&browser, &node, kind, &name).await?;
    watch(&browser, &node, kind, &name).await?;
    pause(&browser, &node, &name).await?;
    edit(&browser, &node, kind, &name).await?;
    double_and_delete(&browser, &node, &name).await?;
    ensure_quiet(&browser).await?;
    browser.close().await?;
    node.stop().await
}

/// Fills the form: most of it follows the URL.
async fn fill(browser: &Browser, market: &Market, kind: Kind, name: &str) -> Result<()> {
    visit(browser, "Sources").await?;
    browser.click("link", "Add a source").await?;
    browser.find("heading", "New source").await?;
    browser.write("URL", &kind.url(false, market.address(), &kind.path(0))).await?;
    ensure!(browser.find("radio", word(kind)).await?.is("checked"), "the kind does not follow the URL");
    for (label, guessed, own) in [("Name", "local", name), ("Topic", "local", "life.first")] {
        let text = browser.held(label).await?;
        ensure!(text == guessed, "{label} is guessed as {text:?}");
        browser.write(label, own).await?;
    }
    let interval = browser.all(None, "textbox", "Interval (ms)").await?;
    ensure!(interval.len() == usize::from(kind == Kind::Rest), "an interval is for what is polled");
    if kind == Kind::Rest {
        browser.write("Interval (ms)", "250").await?;
    }
    Ok(())
}

/// Tries it: the raw answer, the records it would make, and a click on a value that writes the expression.
async fn test(browser: &Browser, kind: Kind) -> Result<()> {
    browser.click("button", "Test").await?;
    browser.says("status", Name::Any, &["It works:"]).await?;
    let result = browser.find("region", "Test result").await?;
    browser.says("region", "Test result", &["life.first", "BTC/USD"]).await?;
    browser.click_in(Some(&result), "button", "Raw").await?;
    browser.says("group", "Raw answer", &[r#""symbol":"BTC/USD""#, r#""price":"#]).await?;
    browser.click_in(Some(&result), "button", "Tree").await?;
    if kind == Kind::Rest {
        browser.look("form-tested").await?;
    }
    browser.click_in(Some(&result), "button", Name::Begins("Use payload.price: ")).await?;
    let emit = browser.find("textbox", "Emit").await?;
    ensure!(
        browser.text(&emit).await? == "payload.price",
        "the click wrote {:?}",
        browser.text(&emit).await?
    );
    browser.says("region", "Test result", &["Emit is now payload.price", "test again"]).await?;
    browser.click("button", "Test").await?;
    browser.says("region", "Test result", &["It works:", "life.first"]).await?;
    Ok(())
}

async fn register(browser: &Browser, node: &Node, kind: Kind, name: &str) -> Result<()> {
    browser.click("button", "Register").await?;
    told(browser, &format!("{name} is registered.")).await?;
    row(browser, name, &["Live", word(kind), "life.first"]).await?;
    let view = node.http()?.source(name).await?;
    ensure!(view["emit"] == "payload.price" && view["topic"] == "life.first", "{view}");
    ensure!(view["kind"] == kind.word() && (kind != Kind::Rest || view["interval_ms"] == 250), "{view}");
    Ok(())
}

/// Its last value stands in its row, and its records arrive on their page.
async fn watch(browser: &Browser, node: &Node, kind: Kind, name: &str) -> Result<()> {
    let value = |text: String| {
        let number = |word: &str| word.parse::<f64>().ok().filter(|number| *number > 100.0);
        text.split_whitespace().find_map(number)
    };
    let first = value(row(browser, name, &["Live", "/s"]).await?);
    ensure!(first.is_some(), "no last value in the row");
    browser.click("button", Name::Is(&format!("Actions for {name}"))).await?;
    if kind == Kind::Rest {
        let items = browser.all(None, "menuitem", Name::Any).await?;
        let items: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
        ensure!(items == ["Live records", "Pause", "Edit", "Duplicate", "Delete"], "{items:?}");
        browser.look("sources-menu").await?;
    }
    // By keyboard: the menu has the focus on its first item.
    browser.key_at("menuitem", "Live records", "Enter").await?;
    browser.says("heading", "Live records", &[]).await?;
    let topics = browser.find("textbox", "Topics").await?;
    ensure!(browser.text(&topics).await? == "life.first", "{:?}", browser.text(&topics).await?);
    browser.says("list", Name::Any, &["life.first", name]).await?;
    let stored = records(&node.http()?.source(name).await?);
    ensure!(stored > 0, "no record is counted");
    Ok(())
}

async fn pause(browser: &Browser, node: &Node, name: &str) -> Result<()> {
    visit(browser, "Sources").await?;
    choose(browser, name, "Pause").await?;
    told(browser, &format!("{name} is paused.")).await?;
    row(browser, name, &["Paused"]).await?;
    ensure!(node.http()?.source(name).await?["status"]["state"] == "paused");
    choose(browser, name, "Resume").await?;
    told(browser, &format!("{name} is read again.")).await?;
    row(browser, name, &["Live"]).await.map(drop)
}

/// What is changed is what runs, and what the form shows when it is opened anew.
async fn edit(browser: &Browser, node: &Node, kind: Kind, name: &str) -> Result<()> {
    choose(browser, name, "Edit").await?;
    browser.find("heading", Name::Is(&format!("Edit {name}"))).await?;
    browser.write("Topic", "life.second").await?;
    if kind == Kind::Rest {
        browser.write("Interval (ms)", "500").await?;
    }
    browser.click("button", "Save").await?;
    told(browser, &format!("{name} is saved.")).await?;
    row(browser, name, &["Live", "life.second"]).await?;
    let view = node.http()?.source(name).await?;
    ensure!(view["topic"] == "life.second" && (kind != Kind::Rest || view["interval_ms"] == 500), "{view}");
    browser.open(&format!("{}/sources/{name}/edit", node.url())).await?;
    live(browser).await?;
    for (label, expected) in [("Name", name), ("Topic", "life.second"), ("Emit", "payload.price")] {
        let text = browser.held(label).await?;
        ensure!(text == expected, "{label} holds {text:?}");
    }
    browser.click("link", "Cancel").await?;
    browser.find("heading", "Sources").await.map(drop)
}

async fn double_and_delete(browser: &Browser, node: &Node, name: &str) -> Result<()> {
    let copy = format!("{name}-copy");
    choose(browser, name, "Duplicate").await?;
    browser.find("heading", "New source").await?;
    let field = browser.find("textbox", "Name").await?;
    ensure!(browser.text(&field).await? == copy, "{:?}", browser.text(&field).await?);
    browser.click("button", "Register").await?;
    row(browser, &copy, &["Live", "life.second"]).await?;
    row(browser, name, &["Live"]).await?;

    // Deleted by mistake, taken back, and deleted for good.
    choose(browser, name, "Delete").await?;
    told(browser, &format!("{name} is deleted; its records stay.")).await?;
    no_row(browser, name).await?;
    node.http()?.send("GET", &format!("/api/v1/sources/{name}"), &[], "").await?.ensure(404)?;
    browser.click("button", "Undo").await?;
    told(browser, &format!("{name} is back.")).await?;
    row(browser, name, &["Live"]).await?;
    for gone in [name, &copy] {
        choose(browser, gone, "Delete").await?;
        no_row(browser, gone).await?;
    }
    ensure!(node.http()?.sources().await?.is_empty(), "something is left");
    browser.says("main", Name::Any, &["No source yet."]).await.map(drop)
}
