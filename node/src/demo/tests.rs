use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

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
