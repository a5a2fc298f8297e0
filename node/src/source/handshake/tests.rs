use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::*;
use crate::source::connector::Table;
use crate::source::upstream::{Ca, Step, Upstream, answer, connector, forget_peak, memory};

/// The answer that opens a WebSocket, and frames after it.
fn opened(head: &str, frames: Vec<Step>) -> Vec<Step> {
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    });
    let Some(key) = key else { return frames };
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nX-Server: test\r\n\r\n"
    );
    [vec![Step::Send(head.into())], frames].concat()
}

fn text(text: &str) -> Step {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126);
    Step::Send([&[0x81, length], text.as_bytes()].concat())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[tokio::test]
async fn it_opens_plain_and_tls_with_the_headers_of_a_source() {
    let ca = Ca::new("ours");
    let script = |head: &str| opened(head, vec![text("hello")]);
    let plain = Upstream::http(script);
    let tls = Upstream::https(ca.server(&["127.0.0.1"], 2020..2120), script);
    let connector = connector(&[&plain, &tls], Some(&ca), None);
    for (upstream, host) in [(&plain, "ws://u:p@127.0.0.1"), (&tls, "wss://u:p@127.0.0.1")] {
        let mut headers = HeaderMap::new();
        headers.insert("x-own", HeaderValue::from_static("1"));
        headers.insert("origin", HeaderValue::from_static("https://a.example"));
        let opened = open(&connector, &upstream.url(host, "/path?query"), headers, soon()).await.unwrap();
        assert_eq!((opened.status, opened.headers["x-server"].as_str()), (101, "test"));
        assert_eq!(opened.reached.address, Some(upstream.address));
        assert_eq!(opened.reached.phases.tls_ms.is_some(), host.starts_with("wss"));
        let mut socket = opened.socket;
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
        socket.send(Message::text("subscribe")).await.unwrap();
        let asked = upstream.requests().remove(0).to_lowercase();
        let basic = format!("authorization: basic {}", STANDARD.encode("u:p").to_lowercase());
        for line in [
            "get /path?query http/1.1",
            "x-own: 1",
            "origin: https://a.example",
            &format!("host: {}", upstream.address),
            &basic,
            &format!("user-agent: {AGENT}"),
        ] {
            assert!(asked.contains(&format!("{line}\r\n")), "{line}: {asked}");
        }
    }
}

#[tokio::test]
async fn it_says_why_a_handshake_failed() {
    let hang = || vec![Step::Wait(Duration::from_secs(9))];
    for (steps, stage, status, wait, words) in [
        (answer("401 Unauthorized", "", "who are you?"), Stage::Status, Some(401), None, "status 401 Unauthorized"),
        (answer("403 Forbidden", "", ""), Stage::Status, Some(403), None, "status 403 Forbidden"),
        (answer("429 Too Many Requests", "Retry-After: 9\r\n", ""), Stage::Status, Some(429), Some(9), "status 429"),
        (answer("503 Service Unavailable", "Retry-After: 5\r\n", ""), Stage::Status, Some(503), Some(5), "status 503"),
        (answer("200 OK", "", "<html>"), Stage::Status, Some(200), None, "it serves no WebSocket at this URL"),
        (answer("302 Found", "Location: wss://user:c4n4ry@b.example/x?c4n4ry\r\n", ""), Stage::Status, Some(302), None, "redirects to b.example (status 302)"),
        (answer("301 Moved Permanently", "Location: /ws\r\n", ""), Stage::Status, Some(301), None, "redirects to another path"),
        (vec![Step::Send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n".to_vec())], Stage::Request, None, None, "does not speak WebSocket here"),
        (vec![Step::Send(b"220 mail.example ESMTP\r\n\r\n".to_vec())], Stage::Request, None, None, "does not speak WebSocket here"),
        (vec![Step::Close], Stage::Connect, None, None, "before it answered the WebSocket handshake"),
        (hang(), Stage::Request, None, None, "in time"),
        (vec![Step::Send(b"HTTP/1.1 101 X\r\nX: ".to_vec()), Step::Repeat(vec![b'x'; 4 << 10], usize::MAX)], Stage::Request, None, None, "too long"),
        (vec![Step::Drip(vec![b'H'; 1_000], Duration::from_millis(20))], Stage::Request, None, None, ""),
    ] {
        let shown = format!("{steps:?}").chars().take(60).collect::<String>();
        let upstream = Upstream::http(move |_| steps.clone());
        let connector = connector(&[&upstream], None, None);
        let deadline = Instant::now() + Duration::from_millis(400);
        let failure = open(&connector, &upstream.url("ws://127.0.0.1", "/"), HeaderMap::new(), deadline).await.unwrap_err();
        assert_eq!((failure.stage, failure.status), (stage, status), "{shown}: {failure}");
        assert_eq!(failure.retry_after, wait.map(Duration::from_secs), "{shown}");
        assert!(failure.detail.contains(words) && !failure.detail.contains("c4n4ry"), "{failure}");
        assert!(Instant::now() < deadline + Duration::from_millis(250), "{shown}");
        assert_eq!(failure.reached.address, Some(upstream.address));
    }
}

#[tokio::test]
async fn it_is_guarded() {
    let bad = Upstream::http(|head| opened(head, vec![]));
    let table = Table::new(&[("hidden.example", &[&["127.0.0.1"]])]);
    let connector = connector(&[], None, Some(table));
    for host in
        ["ws://127.0.0.1", "wss://127.1", "ws://hidden.example", "ws://[::ffff:7f00:1]", "ws://localhost"]
    {
        let failure = open(&connector, &bad.url(host, "/"), HeaderMap::new(), soon()).await.unwrap_err();
        assert!(failure.refused, "{host}: {failure}");
    }
    assert_eq!(bad.connections(), 0);
}

#[tokio::test]
async fn it_cuts_messages_that_are_too_long() {
    let part = [&[0x00, 0x7f][..], &(1u64 << 20).to_be_bytes(), &vec![b'x'; 1 << 20]].concat();
    let first = [&[0x01, 0x01][..], b"x"].concat();
    for (what, frames) in [
        (
            "a frame of 1 TiB",
            vec![
                Step::Send([&[0x82, 0x7f][..], &(1u64 << 40).to_be_bytes()].concat()),
                Step::Repeat(vec![0; 64 << 10], usize::MAX),
            ],
        ),
        ("endless parts", vec![Step::Send(first), Step::Repeat(part, usize::MAX)]),
    ] {
        let upstream = Upstream::http(move |head| opened(head, frames.clone()));
        let connector = connector(&[&upstream], None, None);
        forget_peak();
        let (before, _) = memory();
        let mut socket = open(&connector, &upstream.url("ws://127.0.0.1", "/"), HeaderMap::new(), soon())
            .await
            .unwrap()
            .socket;
        let error =
            tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap().unwrap().unwrap_err();
        assert!(matches!(error, Error::Capacity(_)), "{what}: {error}");
        assert!(memory().1.saturating_sub(before) < 96 << 20, "{what}");
    }
}
