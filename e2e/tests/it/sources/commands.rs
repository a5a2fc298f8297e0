//! `anode source …`, `--sources FILE` and `anode run --demo`, as a person uses them.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::market::{Kind, Market};
use e2e::node::{Node, Plan, binary, clean_command};
use e2e::sources::REACHED;
use e2e::tap::Tap;
use serde_json::{Value, json};

use super::with_market;

/// Runs `anode …` in the node's folder; gives success, and all that it said.
fn run(node: &Node, args: &[&str]) -> Result<(bool, String)> {
    let mut command = clean_command(&binary()?);
    let output = command.args(args).current_dir(node.dir()).stdin(Stdio::null()).output()?;
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    ensure!(!said.contains("panicked"), "anode {args:?}: {said}");
    Ok((output.status.success(), said))
}

fn good(node: &Node, args: &[&str]) -> Result<String> {
    let (success, said) = run(node, args)?;
    ensure!(success, "anode {args:?}: {said}");
    Ok(said)
}

fn refused(node: &Node, args: &[&str], word: &str) -> Result<()> {
    let (success, said) = run(node, args)?;
    ensure!(!success && said.contains(word), "anode {args:?} does not fail with {word:?}: {said}");
    Ok(())
}

fn json_of(node: &Node, args: &[&str]) -> Result<Value> {
    let text = good(node, &[args, &["--json"]].concat())?;
    serde_json::from_str(&text).with_context(|| format!("anode {args:?} --json: {text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_by_command_all_that_the_api_does() -> Result<()> {
    let (market, mut node) = with_market(4).await?;
    let rest = Kind::Rest.url(false, market.address(), "/rest/0");
    let sse = Kind::Sse.url(false, market.address(), "/sse/1");
    let socket = Kind::Websocket.url(false, market.address(), "/ws/2");
    ensure!(good(&node, &["source", "test", &rest])?.contains("price"));
    ensure!(json_of(&node, &["source", "test", &sse, "--sse"])?["ok"] == true);
    refused(&node, &["source", "test", "http://127.0.0.1:1/"], "--allow-private-sources")?;
    refused(&node, &["source", "add", "Bad Name", &rest, "--topic", "a"], "name")?;
    refused(&node, &["source", "add", "a", "http://10.0.0.1/", "--topic", "a"], "--allow-private-sources")?;
    good(&node, &["source", "add", "rest", &rest, "--topic", "cli.rest", "--interval", "200ms", "--wait"])?;
    good(&node, &["source", "add", "sse", &sse, "--sse", "--topic", "cli.sse", "--wait", "--test-first"])?;
    let added = json_of(&node, &["source", "add", "socket", &socket, "--topic", "cli.socket", "--wait"])?;
    ensure!(added["kind"] == "websocket" && added["status"]["state"] == "live", "{added}");
    refused(&node, &["source", "add", "rest", &rest, "--topic", "cli.rest"], "already")?;

    let list = good(&node, &["source", "list"])?;
    for word in ["rest", "sse", "socket", "live"] {
        ensure!(list.contains(word), "the list lacks {word}:\n{list}");
    }
    ensure!(json_of(&node, &["source", "list"])?["sources"].as_array().map(Vec::len) == Some(3));
    ensure!(good(&node, &["source", "show", "rest"])?.contains("cli.rest"));
    good(&node, &["source", "edit", "rest", "--emit", "payload.price", "--topic", "cli.price"])?;
    let shown = json_of(&node, &["source", "show", "rest"])?;
    ensure!(shown["emit"] == "payload.price" && shown["topic"] == "cli.price", "{shown}");
    good(&node, &["source", "pause", "rest", "sse"])?;
    ensure!(json_of(&node, &["source", "show", "sse"])?["status"]["state"] == "paused");
    good(&node, &["source", "resume", "rest", "sse"])?;
    node.http()?.source_in("sse", "live").await?;
    refused(&node, &["source", "pause", "none"], "no source")?;
    refused(&node, &["source", "show", "none"], "no source")?;
    good(&node, &["source", "rm", "rest", "sse", "socket"])?;
    ensure!(node.http()?.sources().await?.is_empty());
    let file = json!([Kind::Rest.source("from-file", &market, 3), Kind::Sse.source("other", &market, 3)]);
    fs::write(node.dir().join("two.json"), file.to_string())?;
    good(&node, &["source", "add", "--file", "two.json", "--wait"])?;
    ensure!(node.http()?.sources().await?.len() == 2);
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_registers_what_a_file_holds_at_each_start() -> Result<()> {
    let market = Market::start(3, 5.0).await?;
    let mut node = Plan::new().prepare()?;
    let allowed = market.allowed();
    let url = |kind: Kind, path: &str| kind.url(false, market.address(), path);
    let toml = format!(
        "[[sources]]\nname = \"one\"\nkind = \"rest\"\nurl = \"{}\"\ntopic = \"file.one\"\ninterval_ms = 200\n\n\
         [[sources]]\nname = \"two\"\nkind = \"websocket\"\nurl = \"{}\"\ntopic = \"file.two\"\n",
        url(Kind::Rest, "/rest/0"),
        url(Kind::Websocket, "/ws/1"),
    );
    fs::write(node.dir().join("sources.toml"), toml)?;
    node.set_args(&["--allow-private-sources", &allowed, "--sources", "sources.toml"]);
    node.start().await?;
    let live = |_: &str, status: &Value| status["state"] == "live";
    let all = node.http()?.sources_when("live", REACHED, |_| true, live).await?;
    ensure!(all.len() == 2, "{all:?}");
    node.http()?.add_source(&Kind::Sse.source("by-hand", &market, 2)).await?;
    node.stop().await?;

    let json = json!({ "sources": [{ "name": "one", "kind": "sse", "url": url(Kind::Sse, "/sse/0"), "topic": "file.new" }] });
    fs::write(node.dir().join("sources.json"), json.to_string())?;
    node.set_args(&["--allow-private-sources", &allowed, "--sources", "sources.json"]);
    node.start().await?;
    let all = node.http()?.sources().await?;
    ensure!(all.len() == 3 && all["one"]["topic"] == "file.new" && all.contains_key("by-hand"), "{all:?}");
    node.stop().await?;

    let wrong = json!([{ "name": "bad", "kind": "rest", "url": "http://10.0.0.1/", "topic": "a" },
        { "name": "worse", "kind": "rest", "url": "http://a.example/", "topic": "a", "interval_ms": 1 }]);
    fs::write(node.dir().join("wrong.json"), wrong.to_string())?;
    node.set_args(&["--sources", "wrong.json"]);
    node.spawn()?;
    ensure!(!node.wait_exit().await?.success(), "a wrong file was taken");
    let log = node.log();
    for word in ["wrong.json", "bad", "worse", "url", "interval_ms"] {
        ensure!(log.contains(word), "the refusal lacks {word}: {}", node.log_tail());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_a_living_node_by_demo() -> Result<()> {
    let mut node = Plan::new().args(&["--demo"]).start().await?;
    let tap = Tap::open(&node, "live").await?;
    let live = |_: &str, status: &Value| status["state"] == "live";
    let all = node.http()?.sources_when("live", REACHED, |_| true, live).await?;
    for kind in Kind::ALL {
        let of_kind: Vec<_> = all.iter().filter(|(_, view)| view["kind"] == kind.word()).collect();
        ensure!(!of_kind.is_empty(), "no source of kind {}", kind.word());
        for (name, _) in of_kind {
            tap.more_than(name, 1, Duration::from_secs(20)).await?;
        }
    }
    let elsewhere =
        json!({ "name": "elsewhere", "kind": "rest", "topic": "a", "url": "http://127.0.0.1:1/" });
    node.http()?.send("POST", "/api/v1/sources", &[], &elsewhere.to_string()).await?.ensure(422)?;
    tap.close().await;
    node.stop().await?;
    node.set_args(&[]);
    node.start().await?;
    ensure!(node.http()?.sources().await?.is_empty(), "the demo's sources stayed");
    node.stop().await
}
