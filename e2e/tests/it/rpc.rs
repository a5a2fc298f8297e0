//! `/rpc`: JSON-RPC as it is specified, and the libraries that people have already.

mod providers;

use anyhow::{Context as _, Result, ensure};
use e2e::node::{Node, Plan};
use e2e::socket::Socket;
use serde_json::{Value, json};

/// A node on which anyone may publish.
async fn open() -> Result<Node> {
    Plan::new().args(&["--open-publish"]).start().await
}

/// What comes next but for cursors, which come when they are due.
async fn next(socket: &mut Socket) -> Result<Value> {
    loop {
        let said = socket.json().await?;
        if said["params"]["result"]["type"] != "cursor" {
            return Ok(said);
        }
    }
}

async fn call(socket: &mut Socket, id: u64, method: &str, params: Value) -> Result<Value> {
    socket.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await?;
    let answer = next(socket).await?;
    ensure!(answer["id"] == id && answer["jsonrpc"] == "2.0", "{answer}");
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_follows_and_publishes_over_one_socket() -> Result<()> {
    let mut node = open().await?;
    let mut socket = node.open("/rpc").await?;
    let published =
        call(&mut socket, 1, "anode_publish", json!([{"topic": "rpc.a", "payload": {"k": "first"}}])).await?;
    let first = published["result"]["id"].as_str().with_context(|| published.to_string())?.to_owned();
    ensure!(published["result"]["ack"] == "durable", "{published}");
    // Its id comes before its first notification, in a batch too.
    socket.send(&json!([
        {"jsonrpc": "2.0", "id": "x", "method": "eth_subscribe", "params": ["records", {"topics": ["rpc.*"], "start": "earliest"}]},
        {"jsonrpc": "2.0", "id": "y", "method": "anode_subscribe", "params": ["records", {"topics": ["rpc.b"]}]},
        {"jsonrpc": "2.0", "method": "anode_status"},
        {"jsonrpc": "2.0", "id": null, "method": "nonsense"},
    ]))
    .await?;
    let batch = socket.json().await?;
    let ids: Vec<Value> = (0..2).map(|place| batch[place]["result"].clone()).collect();
    ensure!(batch.as_array().is_some_and(|all| all.len() == 3), "{batch}");
    ensure!(ids.iter().all(|id| id.as_str().is_some_and(|id| id.len() == 34)) && ids[0] != ids[1], "{batch}");
    ensure!(batch[2]["error"]["code"] == -32_601 && batch[2]["id"].is_null(), "{batch}");
    // The record that was there, then both are live.
    let (mut records, mut live) = (Vec::new(), 0);
    while live < 2 {
        let said = socket.json().await?;
        let frame = &said["params"]["result"];
        let of = ids.iter().position(|id| *id == said["params"]["subscription"]).context("of nothing")?;
        ensure!(said["method"] == ["eth_subscription", "anode_subscription"][of], "{said}");
        match frame["type"].as_str() {
            Some("record") => records.push(frame["id"].clone()),
            Some("caught_up") => live += 1,
            Some("cursor") => {}
            _ => anyhow::bail!("{said}"),
        }
    }
    ensure!(records == [json!(first)], "{records:?}");
    // One that was ended says nothing more.
    let ended = call(&mut socket, 2, "eth_unsubscribe", json!([ids[0]])).await?;
    ensure!(ended["result"] == true, "{ended}");
    let again = call(&mut socket, 3, "anode_unsubscribe", json!([ids[0]])).await?;
    ensure!(again["result"] == false, "{again}");
    for (topic, key) in [("rpc.a", "unheard"), ("rpc.b", "heard")] {
        node.http()?.publish(&json!({"topic": topic, "payload": {"k": key}})).await?;
    }
    let said = next(&mut socket).await?;
    ensure!(
        said["params"]["subscription"] == ids[1] && said["params"]["result"]["payload"]["k"] == "heard",
        "{said}"
    );
    // History and proofs are those of REST.
    let page =
        call(&mut socket, 4, "anode_history", json!([{"topics": ["rpc.a"], "limit": 1, "order": "desc"}]))
            .await?;
    let rest = node.http()?.get("/api/v1/records?topic=rpc.a&limit=1&order=desc").await?;
    ensure!(page["result"]["records"] == rest["records"], "{page} is not {rest}");
    let record = call(&mut socket, 5, "anode_record", json!([first])).await?;
    ensure!(record["result"] == node.http()?.get(&format!("/api/v1/records/{first}")).await?, "{record}");
    // A node that ends says where each stands.
    node.stop().await?;
    let last = socket.json().await?;
    ensure!(
        last["params"]["subscription"] == ids[1] && last["params"]["result"]["type"] == "cursor",
        "{last}"
    );
    let (code, _) = socket.closed().await?;
    ensure!(code == 1001, "closed with {code}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_posts_and_says_what_is_wrong() -> Result<()> {
    let node = open().await?;
    let http = node.http()?;
    let post = async |body: &str| http.send("POST", "/rpc", &[], body).await;
    for (body, code, words) in [
        ("{", -32_700, "no JSON"),
        ("[]", -32_600, "empty"),
        ("[1]", -32_600, ""),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}"#, -32_601, "anode_publish"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"anode_publish","params":[]}"#, -32_602, "a record to publish"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"anode_publish","params":[{"topic":"A","payload":1}]}"#,
            -32_602,
            "tokens hold",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"anode_publish","params":{"topic":"a"}}"#, -32_602, "array"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"anode_publish","params":[{"topic":"a","payload":1,"ack":"replicated"}]}"#,
            -32_002,
            "no peers",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"anode_history","params":[{"topic":"a"}]}"#, -32_602, "topics"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"anode_history","params":[{"limit":0}]}"#, -32_602, "from 1 to"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"anode_record","params":["x"]}"#, -32_602, "<origin>"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#, -32_602, "records"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["records",{"filter":")"}]}"#,
            -32_602,
            "line 1",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["records"]}"#, -32_004, "ws://"),
    ] {
        let answer = post(body).await?.ensure(200)?.json()?;
        let error = if answer.is_array() { &answer[0]["error"] } else { &answer["error"] };
        ensure!(error["code"] == code, "{body}: {answer}");
        ensure!(error["message"].as_str().is_some_and(|text| text.contains(words)), "{body}: {answer}");
    }
    let many = json!(vec![json!({"jsonrpc": "2.0", "id": 1, "method": "net_version"}); 101]).to_string();
    ensure!(post(&many).await?.json()?["error"]["code"] == -32_005, "a batch of 101");
    let quiet = post(r#"{"jsonrpc":"2.0","method":"net_version"}"#).await?;
    ensure!(quiet.status == 204, "{}", quiet.status);
    let plain = http.send("POST", "/rpc", &[("content-type", "text/plain")], "{}").await?;
    ensure!(plain.status == 415, "{}", plain.status);
    // Who may not publish is told so, with the word that REST has for it.
    let closed = Plan::new().start().await?;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"anode_publish","params":[{"topic":"a","payload":1}]}"#;
    let stranger = e2e::http::Http::connect(closed.address(), None).await?;
    let refused = stranger.send("POST", "/rpc", &[], body).await?.ensure(200)?.json()?;
    ensure!(
        refused["error"]["code"] == 4_100 && refused["error"]["data"]["code"] == "unauthorized",
        "{refused}"
    );
    Ok(())
}
