use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::Uri;
use axum::routing::get;
use ed25519_dalek::SigningKey;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::*;
use crate::store::{Memory, NewRecord, Nobody, StoreOptions};

mod ahead;
mod publishing;
mod events;
mod load;

/// A node's feed behind a real server, without the rest of the node.
struct Server {
    store: Store,
    feed: Feed,
    address: SocketAddr,
}

#[derive(Clone)]
struct Routes {
    feed: Feed,
    rights: Arc<Mutex<Rights>>,
}

fn peer() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn answer(result: Result<Response, Fault>) -> Response {
    result.unwrap_or_else(|fault| {
        let mut response = Response::new(fault.code.as_str().into());
        *response.status_mut() = fault.code.status();
        response
    })
}

async fn feed_route(
    Shared(routes): Shared<Routes>,
    ws: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let rights = routes.rights.lock().unwrap().clone();
    answer(FeedRequest::parse(&uri).and_then(|request| match ws {
        Ok(ws) => routes.feed.upgrade(ws, request, rights, peer()),
        Err(_) => routes.feed.sse(request, &headers, peer()),
    }))
}

async fn publish_route(Shared(routes): Shared<Routes>, ws: WebSocketUpgrade, uri: Uri) -> Response {
    let publisher = Publisher(Some("tester".to_owned()));
    let request = PublishRequest::parse(&uri);
    answer(request.and_then(|request| routes.feed.publish_socket(ws, request, publisher)))
}

impl Server {
    async fn start() -> Self {
        Self::with(Rights { publish: Ok(Publisher(Some("tester".to_owned()))) }).await
    }

    async fn with(rights: Rights) -> Self {
        Self::patient(rights, outlet::STALL).await
    }

    /// The same that closes clients that accept nothing for so long.
    async fn patient(rights: Rights, stall: Duration) -> Self {
        let key = SigningKey::from_bytes(&[9; 32]);
        let store =
            Store::open(Arc::new(Memory::default()), StoreOptions::default(), key, Arc::new(Nobody)).unwrap();
        let feed = Feed::with_stall(store.clone(), stall);
        let routes = Routes { feed: feed.clone(), rights: Arc::new(Mutex::new(rights)) };
        let router = Router::new()
            .route("/feed", get(feed_route))
            .route("/publish", get(publish_route))
            .with_state(routes);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = TaskTracker::new();
        serving.spawn(async move { axum::serve(listener, router).await });
        Self { store, feed, address }
    }

    /// Stores records whose payloads are the given texts.
    async fn put(&self, topic: &str, payloads: &[&str]) -> Vec<String> {
        let records = payloads
            .iter()
            .map(|payload| NewRecord {
                topic: topic.parse().unwrap(),
                payload: (*payload).to_owned().into(),
                content_type: None,
                publisher: None,
                publisher_signature: None,
                dedupe: None,
                source: None,
            })
            .collect();
        let ids = self.store.publish(records).unwrap().await.unwrap();
        ids.iter().map(ToString::to_string).collect()
    }

    async fn connect(&self, path: &str) -> Client {
        let url = format!("ws://{}{path}", self.address);
        let (ws, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        Client(ws)
    }
}

async fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..250 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never holds");
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn message(&mut self) -> Message {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(10), self.0.next()).await;
            match next.expect("something is sent").expect("the connection stands").unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    async fn frame(&mut self) -> Value {
        serde_json::from_str(self.message().await.to_text().unwrap()).unwrap()
    }

    /// The next frame's type; for a record its payload.
    async fn word(&mut self) -> String {
        let frame = self.frame().await;
        match frame["type"].as_str().unwrap() {
            "record" => frame["payload"].to_string(),
            word => word.to_owned(),
        }
    }

    async fn words(&mut self, count: usize) -> String {
        let mut words = Vec::new();
        for _ in 0..count {
            words.push(self.word().await);
        }
        words.join(" ")
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn close_code(&mut self) -> CloseCode {
        match self.message().await {
            Message::Close(Some(frame)) => frame.code,
            other => panic!("not a close: {other:?}"),
        }
    }
}

#[tokio::test]
async fn it_streams_live_from_caught_up_on() {
    let server = Server::start().await;
    server.put("a.b", &["0"]).await;
    let mut client = server.connect("/feed?topic=a.*").await;
    assert_eq!(client.word().await, "caught_up");
    let ids = server.put("a.b", &[r#"{"x" : 1.50}"#]).await;
    server.put("b", &["7"]).await;
    server.put("a.c", &["8"]).await;
    let message = client.message().await;
    let text = message.to_text().unwrap().to_owned();
    assert!(text.ends_with(r#""payload":{"x" : 1.50}}"#), "{text}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["id"], ids[0].as_str());
    assert_eq!(client.word().await, "8");
    let cursor = tokio::time::timeout(Duration::from_secs(7), client.word()).await;
    assert_eq!(cursor.unwrap(), "cursor");
}

#[tokio::test]
async fn it_replays_and_goes_on_live() {
    let server = Server::start().await;
    server.put("a", &["1", "2", "3"]).await;
    for (start, expected) in [
        ("earliest", "cursor 1 2 3 caught_up"),
        ("last:2", "cursor 2 3 caught_up"),
        ("latest", "cursor 3 caught_up"),
        ("2020-01-01T00:00:00Z", "cursor 1 2 3 caught_up"),
        ("after:{}", "cursor 1 2 3 caught_up"),
    ] {
        let start = start.replace('{', "%7B").replace('}', "%7D");
        let mut client = server.connect(&format!("/feed?start={start}")).await;
        let count = expected.split(' ').count();
        assert_eq!(client.words(count).await, expected, "{start}");
    }
    let mut client = server.connect("/feed?start=earliest").await;
    client.words(5).await;
    server.put("a", &["4"]).await;
    assert_eq!(client.word().await, "4");
    let mut filtered = server.connect("/feed?start=earliest&filter=payload%20%3E%202").await;
    assert_eq!(filtered.words(4).await, "cursor 3 4 caught_up");
}

#[tokio::test]
async fn it_resumes_by_both_forms_of_cursor() {
    let server = Server::start().await;
    let ids = server.put("a", &["1", "2", "3"]).await;
    let mut client = server.connect("/feed?start=earliest").await;
    let first = client.frame().await["cursor"].as_str().unwrap().to_owned();
    client.words(3).await;
    let caught_up = client.frame().await["cursor"].as_str().unwrap().to_owned();
    drop(client);
    server.put("a", &["4"]).await;
    let (log, _) = ids[0].rsplit_once('/').unwrap();
    let object = format!("%7B\"cursor\":\"{first}\",\"{log}\":2%7D").replace('"', "%22");
    for (start, expected) in [
        (format!("after:{caught_up}"), "cursor 4 caught_up"),
        (format!("after:{first}"), "cursor 1 2 3 4 caught_up"),
        (format!("after:{object}"), "cursor 3 4 caught_up"),
    ] {
        let mut client = server.connect(&format!("/feed?start={start}")).await;
        assert_eq!(client.words(expected.split(' ').count()).await, expected, "{start}");
    }
}

#[tokio::test]
async fn it_changes_its_subscription() {
    let server = Server::start().await;
    server.put("a", &["1"]).await;
    server.put("b", &["2"]).await;
    let mut client = server.connect("/feed?topic=a&start=earliest").await;
    assert_eq!(client.words(3).await, "cursor 1 caught_up");
    client.say(r#"{"type":"subscribe","topics":["b"],"start":"earliest"}"#).await;
    assert_eq!(client.words(3).await, "subscribed 2 caught_up");
    server.put("a", &["3"]).await;
    server.put("b", &["4"]).await;
    assert_eq!(client.word().await, "4");
    assert_eq!(server.feed.subscribers(false)[0].topics, ["b"]);
    client.say(r#"{"type":"subscribe","filter":"payload > 5"}"#).await;
    assert_eq!(client.words(2).await, "subscribed caught_up");
    server.put("c", &["5", "6"]).await;
    assert_eq!(client.word().await, "6");
    client.say(r#"{"type":"subscribe","filter":"nonsense("}"#).await;
    let error = client.frame().await;
    assert_eq!((error["type"].as_str(), error["code"].as_str()), (Some("error"), Some("bad_filter")));
    assert_eq!(client.close_code().await, CloseCode::Policy);
}

#[tokio::test]
async fn it_ends_what_it_does_not_understand() {
    let server = Server::start().await;
    for message in ["{", "[]", "null", "{}", r#"{"type":"dance"}"#, r#"{"type":"subscribe","colour":1}"#] {
        let mut client = server.connect("/feed").await;
        client.word().await;
        client.say(message).await;
        assert_eq!(client.word().await, "error", "{message}");
        assert_eq!(client.close_code().await, CloseCode::Policy, "{message}");
    }
    let mut client = server.connect("/feed").await;
    client.word().await;
    client.0.send(Message::binary(vec![1, 2])).await.unwrap();
    assert_eq!(client.word().await, "error");
    let mut client = server.connect("/feed").await;
    client.word().await;
    client.say(&"x".repeat(600_000)).await;
    assert_eq!(client.close_code().await, CloseCode::Size);
    let counted = || {
        let ended = server.feed.metrics().ended;
        ended.contains(&("policy", 7)) && ended.contains(&("too_big", 1))
    };
    eventually(counted).await;
}

#[tokio::test]
async fn it_refuses_bad_queries_before_the_upgrade() {
    let server = Server::start().await;
    for (path, status) in [
        ("/feed?topic=A", 400),
        ("/feed?start=x", 400),
        ("/publish?topic=a&ack=replicated", 409),
        ("/publish?topic=a&ack=archived", 409),
        ("/publish", 400),
    ] {
        let url = format!("ws://{}{path}", server.address);
        match tokio_tungstenite::connect_async(url).await.err().unwrap() {
            tokio_tungstenite::tungstenite::Error::Http(response) => {
                assert_eq!(response.status().as_u16(), status, "{path}");
            }
            other => panic!("{path}: {other}"),
        }
    }
}

#[tokio::test]
async fn it_answers_a_close() {
    let server = Server::start().await;
    let mut client = server.connect("/feed").await;
    client.word().await;
    client.0.close(None).await.unwrap();
    while let Some(message) = client.0.next().await {
        assert!(message.is_ok(), "{message:?}");
    }
    eventually(|| server.feed.metrics().ended.contains(&("left", 1))).await;
}

#[test]
fn it_keeps_an_idle_subscriber_small() {
    fn size<F>(_: fn(Box<session::Session>) -> F) -> usize {
        size_of::<F>()
    }
    assert!(size_of::<session::Session>() + size(session::Session::run) < 3 << 10);
}

#[tokio::test]
async fn it_speaks_cbor() {
    let server = Server::start().await;
    server.put("a", &["5"]).await;
    let mut client = server.connect("/feed?start=earliest&format=cbor").await;
    let mut frames = Vec::new();
    for _ in 0..3 {
        let Message::Binary(bytes) = client.message().await else { panic!("not binary") };
        frames.push(bytes);
    }
    let holds = |frame: &Bytes, part: &[u8]| frame.windows(part.len()).any(|window| window == part);
    assert!(holds(&frames[0], b"cursor") && holds(&frames[2], b"caught_up"));
    assert!(holds(&frames[1], b"record") && holds(&frames[1], b"application/json"));
}

#[tokio::test]
async fn it_shows_who_is_there() {
    let server = Server::start().await;
    let mut client = server.connect("/feed?topic=a.*&filter=payload.x%20%3E%201").await;
    client.word().await;
    server.put("a.b", &[r#"{"x":2}"#, "0"]).await;
    client.word().await;
    let open = &server.feed.subscribers(false)[0];
    assert_eq!((open.kind.as_str(), open.topics.as_slice()), ("websocket", ["a.*".to_owned()].as_slice()));
    assert_eq!((&open.address, &open.filter), (&None, &None));
    assert!(server.feed.subscribers(true)[0].filter.is_some());
    drop(client);
    eventually(|| server.feed.subscribers(false).is_empty()).await;
    let metrics = server.feed.metrics();
    assert_eq!((metrics.subscribers, metrics.records, metrics.filter_errors), (0, 1, 1));
    assert!(server.feed.component().figures.contains_key("subscribers"));
}
