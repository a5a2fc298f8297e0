//! A secret in every place that takes one, at upstreams that fail in every stage and repeat what they were told: it comes
//! out nowhere.

use std::fs;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use e2e::canary::Canary;
use e2e::market::Kind;
use e2e::node::{Node, Plan, binary, clean_command};
use e2e::sources::REACHED;
use e2e::upstream::{Call, Upstream};
use e2e::{process, scale, sse};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// How the upstream fails; each repeats in its answer all that it was told.
const FAILURES: [&str; 7] = ["status", "malformed", "redirect", "away", "kind", "expression", "close"];

/// All that a caller said, without what would break a header.
fn told(call: &Call) -> String {
    let text = format!("{} {} {}", call.path, call.head, call.body);
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect()
}

/// The first words of what a caller said that a reason or header has room for: the secret stands in them.
fn short(call: &Call, room: usize) -> String {
    let all = told(call);
    let secret =
        ["x-key: ", "key="].iter().find_map(|mark| all.to_lowercase().find(mark).map(|at| at + mark.len()));
    all[secret.unwrap_or(0)..].chars().take(room).collect()
}

async fn fail(call: Call) -> Result<()> {
    let (all, brief) = (told(&call), short(&call, 100));
    let quoted = json!({ "told": all }).to_string();
    let headers = [("content-type", "application/json"), ("x-told", all.as_str())];
    let path = call.path.clone();
    let failure = path.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default();
    let upgrade = call.head.to_lowercase().contains("upgrade: websocket");
    let stream = call.head.to_lowercase().contains("text/event-stream");
    match failure {
        "malformed" if upgrade => {
            let mut socket = call.upgrade().await?;
            let heard = socket.next().await.context("nothing")??;
            socket.send(Message::text(format!("{{{heard}"))).await?;
        }
        "malformed" if stream => {
            let mut stream = call.events().await?;
            stream.write_all(format!("data: {{\"a\": {all}\n\n").as_bytes()).await?;
        }
        "malformed" => return call.answer("200 OK", &headers, format!("{brief}{all}").as_bytes()).await,
        "expression" if upgrade => {
            let mut socket = call.upgrade().await?;
            let heard = socket.next().await.context("nothing")??;
            socket.send(Message::text(json!({ "told": heard.to_string() }).to_string())).await?;
            tokio::time::sleep(REACHED).await;
        }
        "expression" if stream => {
            let mut stream = call.events().await?;
            stream.write_all(format!("data: {quoted}\n\n").as_bytes()).await?;
            tokio::time::sleep(REACHED).await;
        }
        "expression" => return call.answer("200 OK", &headers, quoted.as_bytes()).await,
        "redirect" => {
            let target = format!("http://127.0.0.1:9/{}", e2e::words::percent(&all));
            return call.answer("302 Found", &[("location", &target)], b"").await;
        }
        "away" => {
            let word = e2e::upstream::header(&call.head, "x-word").unwrap_or_default();
            let target = format!("http://{word}.invalid/");
            return call.answer("302 Found", &[("location", &target)], b"").await;
        }
        "kind" => return call.answer("200 OK", &[("content-type", &format!("text/{brief}"))], b"x").await,
        "close" if upgrade => {
            let mut socket = call.upgrade().await?;
            let heard = socket.next().await.context("nothing")??;
            let reason: String = heard.to_string().chars().filter(char::is_ascii).take(110).collect();
            socket.close(Some(CloseFrame { code: 4000.into(), reason: reason.into() })).await?;
        }
        _ => return call.answer(&format!("401 {brief}"), &headers, quoted.as_bytes()).await,
    }
    Ok(())
}

/// A source that holds the secret wherever its kind takes one.
fn loaded(name: &str, kind: Kind, target: &str) -> Value {
    let url = kind.url(false, &format!("${{secret:CANARY}}:${{secret:FILED}}@{target}"), "")
        + "/${secret:CANARY}?key=${secret:CANARY}&more=${secret:FILED}";
    let mut source = json!({ "name": name, "kind": kind.word(), "url": url, "topic": "secret.a", "timeout_ms": 1000,
        "headers": { "X-Key": "${secret:CANARY}", "X-Word": "${secret:WORD}", "Authorization": "Bearer ${secret:FILED}" },
        "emit": "payload.told.nothing" });
    match kind {
        Kind::Rest => {
            source["method"] = json!("POST");
            source["body"] = json!({ "key": "${secret:CANARY}", "more": "${secret:FILED}" });
        }
        Kind::Websocket => {
            source["open"] = json!([{ "key": "${secret:CANARY}" }, "${secret:FILED}"]);
            source["ping"] = json!({ "every_ms": 500, "frame": { "key": "${secret:CANARY}" } });
        }
        Kind::Sse => {}
    }
    source
}

/// Everything that a node says to anyone, by where it was said.
async fn said(node: &Node) -> Result<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    for token in [None, Some(node.token())] {
        let http = node.http()?.with_token(token);
        let mut paths: Vec<String> =
            ["sources", "status", "events", "topics", "records?limit=1000", "subscribers"]
                .map(|name| format!("/api/v1/{name}"))
                .into();
        paths.push("/metrics".to_owned());
        paths.extend(node.http()?.sources().await?.keys().map(|name| format!("/api/v1/sources/{name}")));
        for path in paths {
            all.push((path.clone(), http.send("GET", &path, &[], "").await?.body));
        }
    }
    let mut watch = sse::open(&format!("{}/api/v1/watch", node.url()), &[]).await?;
    for _ in 0..3 {
        all.push(("watch".to_owned(), watch.next().await?.data.into_bytes()));
    }
    let mut feed = node.door()?.open("/feed?start=earliest").await?;
    all.push(("feed".to_owned(), feed.json().await?.to_string().into_bytes()));
    for args in [
        &["source", "list"][..],
        &["source", "list", "--json"],
        &["status"],
        &["source", "show", "rest-status"],
    ] {
        all.push((format!("{args:?}"), command(node, args)?));
    }
    Ok(all)
}

fn command(node: &Node, args: &[&str]) -> Result<Vec<u8>> {
    let output =
        clean_command(&binary()?).args(args).current_dir(node.dir()).stdin(Stdio::null()).output()?;
    Ok([output.stdout, output.stderr].concat())
}

fn files(node: &Node) -> Result<Vec<(String, Vec<u8>)>> {
    let mut all = vec![("log".to_owned(), node.log().into_bytes())];
    for path in process::files(&node.data_dir())? {
        if !path.ends_with("secrets.toml") {
            all.push((path.display().to_string(), fs::read(&path)?));
        }
    }
    Ok(all)
}

fn ensure_nowhere(canaries: &[(&str, &Canary)], all: &[(String, Vec<u8>)]) -> Result<()> {
    for (place, bytes) in all {
        for (name, canary) in canaries {
            if let Some(found) = canary.found_in(bytes) {
                bail!("{name} is in {place}, as {found:?}: {}", around(bytes, &found));
            }
        }
    }
    Ok(())
}

/// What stands around a find, to see where it came from.
fn around(bytes: &[u8], piece: &str) -> String {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let at = text.to_lowercase().find(&piece.to_lowercase()).unwrap_or(0);
    let (from, to) = (text.floor_char_boundary(at.saturating_sub(300)), text.floor_char_boundary(at + 100));
    text[from..to].to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_lets_no_secret_out() -> Result<()> {
    let mut random = scale::random("secrets");
    let (one, filed, word) = (Canary::new(&mut random), Canary::new(&mut random), Canary::new(&mut random));
    let upstream = Upstream::local(Arc::new(|call| Box::pin(fail(call))))?;
    let address = upstream.address.to_string();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let mut node = Plan::new()
        .args(&["--allow-private-sources", &format!("{address},{closed}")])
        .env("ANODE_SECRET_CANARY", &one.value())
        .env("ANODE_SECRET_WORD", &word.word()[..32])
        .env("ANODE_LOG", "debug")
        .prepare()?;
    fs::create_dir_all(node.data_dir())?;
    fs::write(node.data_dir().join("secrets.toml"), format!("FILED = {}\n", Value::from(filed.value())))?;
    node.start().await?;
    let canaries = [("the variable", &one), ("the file's", &filed), ("the host's", &word)];

    let mut sources = vec![
        json!({ "name": "host", "kind": "rest", "topic": "secret.a", "url": "http://${secret:WORD}.invalid/" }),
        json!({ "name": "missing", "kind": "sse", "topic": "secret.a", "url": "http://a.invalid/${secret:NONE}?k=${secret:CANARY}" }),
    ];
    for kind in Kind::ALL {
        sources.push(loaded(&format!("{}-dns", kind.word()), kind, "nowhere.invalid"));
        sources.push(loaded(&format!("{}-refused", kind.word()), kind, &closed));
        for failure in FAILURES {
            sources.push(loaded(
                &format!("{}-{failure}", kind.word()),
                kind,
                &format!("{address}/{failure}"),
            ));
        }
    }
    let http = node.http()?;
    http.add_sources(&sources).await?;
    let failed = |_: &str, status: &Value| {
        status["errors"].as_u64() > Some(0)
            || matches!(status["state"].as_str(), Some("invalid" | "auth_failed"))
    };
    http.sources_when("failing", REACHED, |_| true, failed).await?;
    ensure_nowhere(&canaries, &said(&node).await?)?;
    for source in &sources {
        let name = source["name"].as_str().unwrap_or_default();
        let tested = http.test_source(source).await?;
        ensure!(tested["ok"] == false, "{name}: {tested}");
        ensure_nowhere(&canaries, &[(format!("the test of {name}"), tested.to_string().into_bytes())])?;
        ensure_nowhere(
            &canaries,
            &[(format!("anode source test {name}"), command(&node, &["source", "test", name])?)],
        )?;
    }
    ensure_nowhere(&canaries, &files(&node)?)?;
    node.kill()?;
    node.start().await?;
    node.http()?.sources_when("failing again", REACHED, |_| true, failed).await?;
    ensure_nowhere(&canaries, &said(&node).await?)?;
    node.stop().await?;
    ensure_nowhere(&canaries, &files(&node)?)
}
