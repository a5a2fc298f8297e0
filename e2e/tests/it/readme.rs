//! The README's snippets, run as they stand there.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::browser::Browser;
use e2e::node::{Node, Plan, binary, clean_command};
use e2e::snippets::{Snippet, find};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::{sleep, timeout};

/// Where the README has its demo feed.
const FEED: &str = "127.0.0.1:8090";
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_runs_the_readmes_snippets() -> Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let page = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let mut snippets = find(&page);
    for language in ["sh", "js"] {
        ensure!(
            snippets.iter().any(|one| one.language == language),
            "no `{language} test` block in the README"
        );
    }
    let feed = Feed::start().await?;
    let mut node = Plan::new().args(&["--allow-private-sources", &feed.address]).start().await?;
    for snippet in &mut snippets {
        snippet.text = snippet.text.replace(FEED, &feed.address);
        let what = format!("README line {}", snippet.line);
        match snippet.language.as_str() {
            "sh" => shell(&node, snippet).await.context(what)?,
            "js" => script(&node, snippet).await.context(what)?,
            other => anyhow::bail!("{what}: no way to run {other:?}"),
        }
    }
    node.stop().await
}

/// A demo feed beside the node; killed when dropped.
struct Feed {
    child: Child,
    address: String,
    _dir: TempDir,
}

impl Feed {
    async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("feed.json");
        let mut command = clean_command(&binary()?);
        command.args(["demo-feed", "--http", "127.0.0.1:0", "--address-file"]).arg(&file);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut feed = Self { child, address: String::new(), _dir: dir };
        let reading = async {
            while feed.address.is_empty() {
                sleep(Duration::from_millis(10)).await;
                let said: Option<Value> =
                    fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
                feed.address =
                    said.and_then(|said| said["http"].as_str().map(str::to_owned)).unwrap_or_default();
            }
        };
        timeout(PATIENCE, reading).await.context("the demo feed does not start")?;
        Ok(feed)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a block by bash in the node's folder, with `anode` on the path; one that streams is ended once it
/// printed something.
async fn shell(node: &Node, snippet: &Snippet) -> Result<()> {
    let tools = node.dir().join("bin");
    fs::create_dir_all(&tools)?;
    let anode = tools.join("anode");
    if !anode.exists() {
        std::os::unix::fs::symlink(binary()?, anode)?;
    }
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = clean_command(Path::new("bash"));
    let text = snippet.at(node.address());
    command.args(["-euo", "pipefail", "-c", &text]).current_dir(node.dir()).env("PATH", path);
    command.env("ANODE", node.url()).env("TOKEN", node.token());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    if snippet.streams() {
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let first = with_records(node, lines.next_line()).await?.context("it printed nothing")?;
        ensure!(!first.is_none_or(|line| line.is_empty()), "it ended without a line");
        child.kill().await?;
        return Ok(());
    }
    let output = timeout(PATIENCE, child.wait_with_output()).await.context("it goes on")??;
    let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{}:\n{text}\n{words}", output.status);
    Ok(())
}

/// Waits for something that records bring, while records are pushed.
async fn with_records<T>(node: &Node, wait: impl Future<Output = T>) -> Result<T> {
    let push = async {
        loop {
            for topic in ["prices.btc-usd", "sensors.kitchen", "demo.a"] {
                let _ = node.http()?.publish_numbered(topic, "readme", 0..1, 10).await?;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        got = timeout(PATIENCE, wait) => got.context("nothing came"),
        ended = push => ended,
    }
}

/// Runs a block in a page of the node; it must print something by `console.log` and complain of nothing.
async fn script(node: &Node, snippet: &Snippet) -> Result<()> {
    let browser = Browser::start().await?;
    // A page without scripts of its own that could print.
    browser.open(&format!("{}/livez", node.url())).await?;
    let text = snippet.at(node.address());
    let run = format!(
        "window.printed = []; window.failed = []; \
         const log = console.log; console.log = (...a) => {{ window.printed.push(a.map(String).join(' ')); log(...a); }}; \
         window.addEventListener('error', e => window.failed.push(e.message)); \
         window.addEventListener('unhandledrejection', e => window.failed.push(String(e.reason))); \
         (async () => {{\n{text}\n}})().catch(e => window.failed.push(String(e))); return true"
    );
    browser.run(&run).await?;
    let waiting = browser.until("return window.printed.length + window.failed.length > 0", PATIENCE);
    with_records(node, waiting).await??;
    let failed = browser.run("return window.failed").await?;
    ensure!(failed == serde_json::json!([]), "{failed}");
    browser.close().await
}
