use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::*;

async fn feed() -> DemoFeed {
    DemoFeed::start(&DemoOptions { rate: 50.0, ..DemoOptions::default() }).await.unwrap()
}

/// Sends a request and reads until `enough`, or the connection ends.
async fn ask(feed: &DemoFeed, head: &str, body: &str, enough: impl Fn(&str) -> bool) -> String {
    let mut stream = TcpStream::connect(feed.addresses().http).await.unwrap();
    let length = body.len();
    let request = format!("{head} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    let reading = async {
        while !enough(&String::from_utf8_lossy(&got)) {
            let mut chunk = [0; 4_096];
            match stream.read(&mut chunk).await {
                Ok(count @ 1..) => got.extend_from_slice(&chunk[..count]),
                _ => break,
            }
        }
    };
    // Whatever came until then is what is checked.
    let _ = tokio::time::timeout(Duration::from_secs(5), reading).await;
    String::from_utf8_lossy(&got).into_owned()
}

/// Whether a whole answer stands there.
fn whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    length.is_none_or(|length: usize| body.len() >= length)
}

#[tokio::test]
async fn it_answers_and_breaks_answers() {
    let feed = feed().await;
    for (path, starts, holds) in [
        ("/rest/0", "HTTP/1.1 200", "\"symbol\":\"BTC/USD\""),
        ("/rest/eth-usd", "HTTP/1.1 200", "etag: "),
        ("/rest/all", "HTTP/1.1 200", "\"symbol\":\"NEAR/USD\""),
        ("/rest/99", "HTTP/1.1 404", "no such instrument"),
        ("/rest/0?fault=429", "HTTP/1.1 429", "retry-after: 2"),
        ("/rest/0?fault=503:9", "HTTP/1.1 503", "retry-after: 9"),
        ("/rest/0?fault=redirect-loop", "HTTP/1.1 302", "location: /rest/0?fault=redirect-loop"),
        ("/rest/0?fault=html", "HTTP/1.1 200", "<!doctype"),
        ("/rest/0?fault=deep", "HTTP/1.1 200", "[[[["),
        ("/rest/0?fault=bomb", "HTTP/1.1 200", "content-encoding: gzip"),
        ("/rest/0?fault=nonsense", "HTTP/1.1 400", "redirect-loop"),
        ("/rest/0?needs=k", "HTTP/1.1 401", "key"),
        ("/ws", "HTTP/1.1 4", "upgrade"),
        ("/", "HTTP/1.1 200", "POST /faults"),
    ] {
        let got = ask(&feed, &format!("GET {path}"), "", whole).await;
        assert!(
            got.starts_with(starts) && got.to_lowercase().contains(&holds.to_lowercase()),
            "{path}: {got:.600}"
        );
    }
    assert_eq!(ask(&feed, "GET /rest/0?fault=drop", "", whole).await, "");
    let cut = ask(&feed, "GET /rest/0?fault=truncated", "", whole).await;
    assert!(cut.contains("content-length") && !whole(&cut), "{cut}");
    feed.stop().await;
}

#[tokio::test]
async fn it_breaks_a_live_stream_and_mends_it() {
    let feed = feed().await;
    let stream = ask(&feed, "GET /sse/0", "", |text| text.contains("-4\n"));
    assert!(stream.await.contains("event: tick\ndata: {\"symbol\":\"BTC/USD\""));
    let set = ask(&feed, "POST /faults", r#"{"path": "/sse/btc-usd", "fault": 503}"#, whole).await;
    assert!(set.starts_with("HTTP/1.1 204"), "{set}");
    assert!(ask(&feed, "GET /sse/0", "", whole).await.starts_with("HTTP/1.1 503"));
    assert!(ask(&feed, "GET /sse/1", "", |text| text.contains("data:")).await.contains("ETH/USD"));
    assert!(ask(&feed, "GET /faults", "", whole).await.contains("\"/sse/0\":\"503:2\""));
    ask(&feed, "DELETE /faults", "", whole).await;
    let streaming = ask(&feed, "GET /sse/0", "", |text| text.contains("never"));
    let breaking = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        ask(&feed, "POST /faults", r#"{"path": "/sse/*", "fault": "500"}"#, whole).await
    };
    let (got, _) = tokio::join!(streaming, breaking);
    assert!(got.contains("data:") && got.ends_with("0\r\n\r\n"), "{got}");
    let count = ask(&feed, "GET /count", "", whole).await;
    assert!(count.contains(r#""/sse/0":{"requests":3,"open":0,"statuses":{"200":2,"503":1}}"#), "{count}");
    feed.stop().await;
}

#[tokio::test]
async fn it_resumes_a_stream() {
    let feed = feed().await;
    let first = ask(&feed, "GET /sse/3", "", |text| text.matches("id: ").count() >= 3).await;
    let ids: Vec<&str> = first.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let head = format!("GET /sse/3?last_event_id={}", ids[1]);
    let second = ask(&feed, &head, "", |text| text.matches("id: ").count() >= 3).await;
    let again: Vec<&str> = second.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids[2], again[0], "{first}\n{second}");
    feed.stop().await;
}

type Socket = tokio_tungstenite::WebSocketStream<TcpStream>;

async fn socket(feed: &DemoFeed, path: &str) -> Socket {
    let http = feed.addresses().http;
    let stream = TcpStream::connect(http).await.unwrap();
    tokio_tungstenite::client_async(format!("ws://{http}{path}"), stream).await.unwrap().0
}

/// The next message of a channel, or that names a method; `None` where the socket ends.
async fn next(socket: &mut Socket, word: &str) -> Option<Value> {
    let reading = async {
        while let Some(Ok(message)) = socket.next().await {
            let text = message.into_text().unwrap_or_default();
            if text.contains(word) {
                return serde_json::from_str(&text).ok();
            }
        }
        None
    };
    tokio::time::timeout(Duration::from_secs(5), reading).await.unwrap()
}

#[tokio::test]
async fn it_talks_over_websockets() {
    let feed = feed().await;
    let mut asked = socket(&feed, "/ws?heartbeat=50").await;
    assert_eq!(next(&mut asked, "status").await.unwrap()["system"], "online");
    let subscribe = r#"{"method":"subscribe","params":{"channel":"trade","symbol":["SOL/USD"]}}"#;
    asked.send(Message::text(subscribe)).await.unwrap();
    assert_eq!(next(&mut asked, "subscribe").await.unwrap()["success"], true);
    let (first, second) =
        (next(&mut asked, "trade").await.unwrap(), next(&mut asked, "trade").await.unwrap());
    assert_eq!(first["data"][0]["symbol"], "SOL/USD");
    assert_eq!(first["data"][0]["n"].as_u64().map(|n| n + 1), second["data"][0]["n"].as_u64());
    assert!(next(&mut asked, "heartbeat").await.is_some());
    asked.send(Message::text(r#"{"method":"ping","req_id":3}"#)).await.unwrap();
    assert_eq!(next(&mut asked, "pong").await.unwrap()["req_id"], 3);
    let mut bare = socket(&feed, "/ws/1").await;
    assert_eq!(next(&mut bare, "symbol").await.unwrap()["symbol"], "ETH/USD");
    let mut strict = socket(&feed, "/ws/1?ping_within=100").await;
    assert!(next(&mut strict, "never").await.is_none());
    ask(&feed, "POST /faults", r#"{"path": "/ws/1", "fault": "drop"}"#, whole).await;
    assert!(next(&mut bare, "never").await.is_none());
    ask(&feed, "POST /faults", r#"{"path": "/ws", "fault": "heartbeats"}"#, whole).await;
    // What was sent before stands in the buffers.
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        next(&mut asked, "").await.unwrap();
    }
    for _ in 0..5 {
        assert_eq!(next(&mut asked, "").await.unwrap()["channel"], "heartbeat");
    }
    feed.stop().await;
}
