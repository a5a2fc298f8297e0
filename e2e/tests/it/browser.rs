//! The dashboard in a real browser, by roles and accessible names alone: what people see, and what they can do.

mod start;
mod life;
mod form;
mod access;
mod trouble;
mod components;
mod mesh;
mod happened;

use anyhow::{Context as _, Result, ensure};
use e2e::browser::roles::{Element, Name};
use e2e::browser::{Browser, SCREENS};
use e2e::node::Node;

/// A browser on a desk that shows the node's page at a path, with the node's token.
async fn at(node: &Node, path: &str) -> Result<Browser> {
    let browser = Browser::start().await?;
    browser.show_as(SCREENS[0], false).await?;
    browser.open(&format!("{}{path}#token={}", node.url(), node.token())).await?;
    live(&browser).await?;
    Ok(browser)
}

/// Waits until the page follows the node.
async fn live(browser: &Browser) -> Result<()> {
    browser.says("status", Name::Any, &["Live"]).await.map(drop)
}

/// Goes to a page by the navigation.
async fn visit(browser: &Browser, page: &str) -> Result<()> {
    let pages = browser.find("navigation", "Pages").await?;
    browser.click_in(Some(&pages), "link", page).await?;
    let title = if page == "Records" { "Live records" } else { page };
    let heading = browser.all(None, "heading", title).await?;
    if heading.is_empty() {
        browser.says("heading", title, &[]).await?;
    }
    Ok(())
}

/// Waits until the row of a source says all of these words, and gives its text.
async fn row(browser: &Browser, source: &str, words: &[&str]) -> Result<String> {
    // Rows have no names of their own: the first line is the source's.
    let first = format!("{source}\n");
    let words: Vec<&str> = [first.as_str()].iter().chain(words).copied().collect();
    browser.says("row", Name::Any, &words).await.with_context(|| format!("the row of {source}"))
}

/// Waits until there is no row of a source.
async fn no_row(browser: &Browser, source: &str) -> Result<()> {
    browser.gone("rowheader", Name::Begins(&format!("{source} "))).await
}

/// Chooses what is to be done with a source.
async fn choose(browser: &Browser, source: &str, item: &str) -> Result<()> {
    browser.click("button", Name::Is(&format!("Actions for {source}"))).await?;
    browser.click("menuitem", item).await
}

/// Waits until the page says what an order came to.
async fn told(browser: &Browser, words: &str) -> Result<()> {
    browser.says("status", Name::Any, &[words]).await.map(drop)
}

/// Waits until a field is said to be wrong, with these words.
async fn is_wrong(browser: &Browser, label: &str, words: &str) -> Result<()> {
    let is_so = |field: &Element| field.is("invalid") && field.description.contains(words);
    browser.when("textbox", label, is_so).await.with_context(|| format!("{label}: {words:?}")).map(drop)
}

/// Nothing was thrown or refused by the browser; what the node refused or its absence may be complained about.
async fn ensure_quiet(browser: &Browser) -> Result<()> {
    let log = browser.log().await?;
    let expected = ["ERR_CONNECTION", "WebSocket connection to", "the server responded with a status of"];
    let bad = log.iter().filter(|(level, message)| {
        ["error", "warning"].contains(&level.as_str())
            && !expected.iter().any(|words| message.contains(words))
    });
    let bad: Vec<_> = bad.collect();
    ensure!(bad.is_empty(), "the browser complains: {bad:?}");
    Ok(())
}
