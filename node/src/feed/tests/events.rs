//! The feed as Server-Sent Events.

use axum::http::header;

use super::*;

/// Reads events until `count` of them are there: (id, data).
async fn events(
    server: &Server,
    path: &str,
    last: Option<&str>,
    count: usize,
) -> Vec<(Option<String>, String)> {
    let mut request = reqwest::Client::new().get(format!("http://{}{path}", server.address));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut stream = response.bytes_stream();
    let mut text = String::new();
    while text.matches("\n\n").count() < count {
        let chunk = tokio::time::timeout(Duration::from_secs(5), stream.next()).await;
        text += std::str::from_utf8(&chunk.expect("an event comes").unwrap().unwrap()).unwrap();
    }
    text.split_terminator("\n\n")
        .map(|event| {
            let id = event.lines().find_map(|line| line.strip_prefix("id: ")).map(ToOwned::to_owned);
            let data: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            (id, data.join("\n"))
        })
        .collect()
}

#[tokio::test]
async fn it_streams_events_and_resumes_them() {
    let server = Server::start().await;
    server.put("a", &["{\n\"x\": 1\n}"]).await;
    let first = events(&server, "/feed?start=earliest", None, 3).await;
    assert!(first[0].0.is_some() && first[1].0.is_none() && first[2].0.is_some());
    assert!(first[1].1.ends_with("\"payload\":{\n\"x\": 1\n}}"), "{}", first[1].1);
    let caught_up: Value = serde_json::from_str(&first[2].1).unwrap();
    assert_eq!(caught_up["cursor"].as_str(), first[2].0.as_deref());
    server.put("a", &["2"]).await;
    let second = events(&server, "/feed?start=earliest", first[2].0.as_deref(), 3).await;
    assert!(second[1].1.ends_with("\"payload\":2}"), "{}", second[1].1);
    let status = |path: &str| reqwest::get(format!("http://{}{path}", server.address));
    assert_eq!(status("/feed?format=cbor").await.unwrap().status().as_u16(), 400);
}
