//! Who may do what: tokens, tickets, open publishing, and pages of other origins.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use e2e::node::{Node, Plan};
use e2e::socket::Door;
use serde_json::{Value, json};

const RECORD: &str = r#"{"topic":"a.b","payload":1}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_records_only_from_those_who_may() -> Result<()> {
    let mut node = Plan::new().start().await?;
    for (token, status) in [(None, 401), (Some("wrong"), 401), (Some(""), 401), (Some(node.token()), 200)] {
        let answer = node.http()?.with_token(token).send("POST", "/api/v1/records", &[], RECORD).await?;
        ensure!(answer.status == status, "token {token:?}: {} {}", answer.status, answer.text());
        if status == 401 {
            ensure!(answer.header("www-authenticate").starts_with("Bearer"), "{:?}", answer.headers);
        }
    }
    let basic = [("authorization", "Basic YTpi")];
    node.http()?.with_token(None).send("POST", "/api/v1/records", &basic, RECORD).await?.ensure(401)?;
    let (status, _) = node.door()?.refusal("/publish?topic=a.b").await?;
    ensure!(status == 401, "/publish without a token: {status}");

    let mut feed = node.door()?.open("/feed").await?;
    feed.expect("caught_up").await?;
    feed.send(&json!({ "type": "publish", "ref": 1, "topic": "a.b", "payload": 1 })).await?;
    let refused = feed.expect("error").await?;
    ensure!(
        refused["ref"] == 1 && refused["code"].as_str().is_some_and(|code| code.contains("unauthorized")),
        "{refused}"
    );
    node.http()?.publish(&json!({ "topic": "a.b", "payload": 2 })).await?;
    ensure!(feed.expect("record").await?["payload"] == 2, "reading went on");

    for file in ["admin.token", "identity"] {
        let found = e2e::process::files(&node.data_dir())?;
        let path = found
            .iter()
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(file)));
        let mode =
            fs::metadata(path.with_context(|| format!("no {file} in {found:?}"))?)?.permissions().mode();
        ensure!(mode & 0o777 == 0o600, "{file} has mode {mode:o}");
    }
    let token = node.token().to_owned();
    ensure!(node.log().contains(&format!("/#token={token}")), "the first start prints no link");
    node.stop().await?;
    node.start().await?;
    ensure!(node.log().matches("/#token=").count() == 1, "a later start prints the token again");
    node.http()?.publish(&json!({ "topic": "a.b", "payload": 3 })).await?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_a_ticket_once() -> Result<()> {
    let mut node = Plan::new().start().await?;
    node.http()?.with_token(None).send("POST", "/api/v1/tickets", &[], "").await?.ensure(401)?;
    for path in ["/publish?topic=a.b&", "/feed?"] {
        let answer = node.http()?.send("POST", "/api/v1/tickets", &[], "").await?;
        ensure!([200, 201].contains(&answer.status), "{}: {}", answer.status, answer.text());
        let ticket = answer.json()?["ticket"].as_str().context("no ticket")?.to_owned();
        // A page of another origin may use a ticket: it had to be handed it.
        let door = node.door()?.with_header("origin", "https://elsewhere.example");
        let mut socket = door.open(&format!("{path}ticket={ticket}")).await?;
        if path.starts_with("/feed") {
            socket.expect("caught_up").await?;
            socket.send(&json!({ "type": "publish", "topic": "a.b", "payload": 1 })).await?;
        } else {
            socket.send(&json!(1)).await?;
        }
        let mut answer = socket.json().await?;
        if answer["type"] == "record" {
            answer = socket.json().await?;
        }
        ensure!(answer["type"] == "published", "{answer}");
        let (status, _) = door.refusal(&format!("{path}ticket={ticket}")).await?;
        ensure!(status == 401, "{path}: a ticket taken twice: {status}");
    }
    let (status, _) = node.door()?.refusal("/publish?topic=a.b&ticket=made-up").await?;
    ensure!(status == 401, "a ticket that was made up: {status}");
    node.stop().await
}

fn from(node: &Node, origin: Option<&str>) -> Result<Door> {
    let door = node.door()?;
    Ok(match origin {
        Some(origin) => door.with_header("origin", origin),
        None => door,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_opens_publishing_but_not_to_every_page() -> Result<()> {
    let args = ["--open-publish", "--allow-origin", "https://friend.example"];
    let mut node = Plan::new().args(&args).start().await?;
    let open = node.http()?.with_token(None);
    open.publish(&json!({ "topic": "a.b", "payload": 1 })).await?;
    let own = node.url();
    for (origin, may) in [
        (None, true),
        (Some(own.as_str()), true),
        (Some("https://friend.example"), true),
        (Some("https://friend.example.evil.example"), false),
        (Some("http://friend.example"), false),
        (Some("https://elsewhere.example"), false),
        (Some("null"), false),
    ] {
        let publish = from(&node, origin)?.open("/publish?topic=a.b").await;
        ensure!(publish.is_ok() == may, "/publish from {origin:?}: {:?}", publish.err());
        if !may {
            let (status, _) = from(&node, origin)?.refusal("/publish?topic=a.b").await?;
            ensure!([401, 403].contains(&status), "/publish from {origin:?}: {status}");
        }
        // Any page may read; publishing on the same socket follows the rule.
        let mut feed = from(&node, origin)?.open("/feed?topic=nothing").await?;
        feed.expect("caught_up").await?;
        feed.send(&json!({ "type": "publish", "topic": "a.b", "payload": 1 })).await?;
        let answer = feed.json().await?;
        ensure!((answer["type"] == "published") == may, "feed publish from {origin:?}: {answer}");
    }
    // A page of another origin cannot POST JSON without a preflight, and that is refused a header for it.
    let elsewhere = [("origin", "https://elsewhere.example")];
    let answer = node.http()?.with_token(None).send("GET", "/api/v1/status", &elsewhere, "").await?;
    ensure!(answer.header("access-control-allow-origin") == "*", "reading is open to all pages");
    ensure!(answer.header("access-control-allow-credentials").is_empty(), "never with cookies");
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_a_token_file_and_prints_no_link() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), "a-token-of-my-own-0123456789abcdef\n")?;
    let path = file.path().display().to_string();
    let mut node = Plan::new().args(&["--admin-token-file", &path]).prepare()?;
    node.spawn()?;
    node.wait_address().await?;
    node.wait_ready().await?;
    let client = e2e::http::client()?;
    let post = |token: &str| {
        let request = client.post(format!("{}/api/v1/records", node.url())).bearer_auth(token);
        request.header("content-type", "application/json").body(RECORD).send()
    };
    ensure!(post("a-token-of-my-own-0123456789abcdef").await?.status() == 200, "the given token");
    ensure!(post("other").await?.status() == 401, "another token");
    ensure!(!node.log().contains("a-token-of-my-own"), "the token was printed");
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_wider_promises_as_the_contract_says() -> Result<()> {
    let mut node = Plan::new().start().await?;
    for (ack, status) in [("durable", 200), ("replicated", 409), ("archived", 409), ("sometimes", 400)] {
        let answer = node.http()?.send("POST", &format!("/api/v1/records?ack={ack}"), &[], RECORD).await?;
        ensure!(answer.status == status, "ack={ack}: {} {}", answer.status, answer.text());
        if status != 200 {
            let (status, body) =
                node.door()?.with_token(node.token()).refusal(&format!("/publish?topic=a&ack={ack}")).await?;
            let problem: Value = serde_json::from_str(&body)?;
            ensure!(status == answer.status && problem["detail"].is_string(), "ack={ack}: {status} {body}");
        }
    }
    let kept = e2e::history::read(node.http()?, "").await?;
    ensure!(kept.records.len() == 1, "what was refused was stored: {:?}", kept.records);
    node.stop().await
}
