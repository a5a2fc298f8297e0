//! The commands against a running node, with no option at all.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::node::{Node, Plan, binary, clean_command};
use serde_json::Value;

fn command(node: &Node, args: &[&str]) -> Result<Command> {
    let mut command = clean_command(&binary()?);
    command
        .args(args)
        .current_dir(node.dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

fn run(node: &Node, args: &[&str]) -> Result<Output> {
    Ok(command(node, args)?.output()?)
}

/// Runs a command that must succeed and gives its output.
fn good(node: &Node, args: &[&str]) -> Result<String> {
    let output = run(node, args)?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "anode {args:?}: {}\n{out}{err}", output.status);
    Ok(out.into_owned())
}

fn json_of(node: &Node, args: &[&str]) -> Result<Value> {
    let text = good(node, &[args, &["--json"]].concat())?;
    serde_json::from_str(&text).with_context(|| format!("anode {args:?} --json: {text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_without_an_option() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let said = good(&node, &["publish", "cli.a", r#"{"n":1}"#])?;
    ensure!(said.contains("12D3KooW"), "publish names no id: {said}");
    let answer = json_of(&node, &["publish", "cli.a", r#"{"n":2}"#])?;
    let id = find_text(&answer, "12D3KooW").with_context(|| format!("no id in {answer}"))?;
    ensure!(
        good(&node, &["verify", &id])?.to_lowercase().contains("ok")
            || !good(&node, &["verify", &id])?.is_empty()
    );
    json_of(&node, &["verify", &id])?;

    let mut child = {
        let mut command = command(&node, &["publish", "cli.b", "-"])?;
        command.stdin(Stdio::piped()).spawn()?
    };
    child.stdin.take().context("no stdin")?.write_all(b"{\"n\":3}\n{\"n\":4}\n")?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "publish -: {}", String::from_utf8_lossy(&output.stderr));

    for (args, word) in [
        (&["topics"][..], "cli.a"),
        (&["history", "cli.>"], "cli.b"),
        (&["status"], "store"),
        (&["link"], "#token="),
        (&["config", "show"], "retain"),
        (&["config", "check"], ""),
        (&["health"], ""),
    ] {
        let text = good(&node, args)?;
        ensure!(text.contains(word), "anode {args:?} lacks {word:?}:\n{text}");
        ensure!(
            serde_json::from_str::<Value>(&text).is_err(),
            "anode {args:?} shows JSON to people:\n{text}"
        );
    }
    ensure!(good(&node, &["link"])?.contains(node.token()), "link without the token");
    let topics = json_of(&node, &["topics"])?;
    ensure!(topics["topics"].as_array().map(Vec::len) == Some(2), "{topics}");
    ensure!(json_of(&node, &["status"])?["node"]["id"].is_string(), "status --json");
    let lines = good(&node, &["history", "cli.>", "--json"])?;
    ensure!(lines.matches("\"topic\"").count() == 4, "history --json: {lines}");
    ensure_tail(&node).await?;
    node.stop().await
}

fn find_text(value: &Value, start: &str) -> Option<String> {
    match value {
        Value::String(text) if text.starts_with(start) => Some(text.clone()),
        Value::Array(values) => values.iter().find_map(|value| find_text(value, start)),
        Value::Object(values) => values.values().find_map(|value| find_text(value, start)),
        _ => None,
    }
}

/// `anode tail` shows stored records with `--since` and live ones as they come.
async fn ensure_tail(node: &Node) -> Result<()> {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let mut command =
        tokio::process::Command::from(command(node, &["tail", "cli.>", "--since", "1h", "--json"])?);
    let mut child = command.kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    for expected in 1..=5 {
        if expected == 5 {
            node.http()?.publish(&serde_json::json!({ "topic": "cli.c", "payload": { "n": 5 } })).await?;
        }
        let line = loop {
            let next = tokio::time::timeout(Duration::from_secs(10), lines.next_line()).await;
            let line = next
                .with_context(|| format!("tail does not show record {expected}"))??
                .context("tail ended")?;
            if line.contains("\"topic\"") {
                break line;
            }
        };
        let record: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        ensure!(record["payload"]["n"] == expected, "{line}");
    }
    child.kill().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_exits_with_an_error_where_it_fails() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let other = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/0000000000000001/1";
    for (args, word) in [
        (&["publish", "Bad.Topic", "1"][..], "topic"),
        (&["publish", "a", "{"], ""),
        (&["publish", "a", "1", "--token", "wrong"], ""),
        (&["history", "a..b"], "topic"),
        (&["verify", "nonsense"], ""),
        (&["verify", other], ""),
        (&["status", "--node", "http://127.0.0.1:1"], "127.0.0.1:1"),
        (&["health", "--node", "http://127.0.0.1:1"], ""),
        (&["topcis"], "topics"),
        (&["topics", "--jsn"], "--json"),
    ] {
        let output = run(&node, args)?;
        let err = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "anode {args:?} succeeded");
        ensure!(err.len() > 8 && err.contains(word), "anode {args:?} does not name {word:?}: {err}");
        ensure!(!err.contains("panicked"), "anode {args:?}: {err}");
    }
    node.stop().await?;
    ensure!(!run(&node, &["health"])?.status.success(), "health of a stopped node");
    ensure!(!run(&node, &["topics"])?.status.success(), "topics of a stopped node");
    Ok(())
}
