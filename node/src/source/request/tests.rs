use std::time::Duration;

use hyper::header::HeaderName;

use super::*;
use crate::source::limits::{BODY, IDLE};
use crate::source::upstream::{Ca, Step, Upstream, answer, connector, http};

mod bodies;
mod hostile;
mod redirects;

/// A `GET` as a poll sends it, with 5 s for all of it.
fn get(url: Url) -> Request {
    let deadline = Instant::now() + Duration::from_secs(5);
    Request {
        url,
        method: Method::GET,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        secret_body: false,
        deadline,
        reading: Reading { limit: Some(BODY), idle: Some(IDLE), deadline: Some(deadline) },
    }
}

/// A `GET` with less time.
fn get_within(url: Url, time: Duration) -> Request {
    let deadline = Instant::now() + time;
    let request = get(url);
    Request { deadline, reading: Reading { deadline: Some(deadline), ..request.reading }, ..request }
}

fn post(url: Url, body: &'static str) -> Request {
    Request { method: Method::POST, body: Bytes::from_static(body.as_bytes()), ..get(url) }
}

/// Sends a request and reads the whole body.
async fn whole(http: &Http, request: Request) -> Result<(u16, Bytes), Failure> {
    let response = http.send(request).await?;
    let status = response.status.as_u16();
    Ok((status, response.body.whole().await?))
}

fn ok(_: &str) -> Vec<Step> {
    answer("200 OK", "Content-Type: text/plain\r\nETag: \"7\"\r\n", "fine")
}

#[tokio::test]
async fn it_asks_and_is_answered() {
    let upstream = Upstream::http(ok);
    let http = http(connector(&[&upstream], None, None));
    let mut request = get(upstream.url("u:p%20w@127.0.0.1", "/path?query#part"));
    request.headers.insert(HeaderName::from_static("x-own"), HeaderValue::from_static("1"));
    let response = http.send(request).await.unwrap();
    assert_eq!((response.status.as_u16(), response.header("etag").as_deref()), (200, Some("\"7\"")));
    assert_eq!(response.header_texts()["content-type"], "text/plain");
    assert_eq!(response.reached.address, Some(upstream.address));
    let phases = response.reached.phases;
    assert!(phases.dns_ms.is_none() && phases.connect_ms.is_some() && phases.tls_ms.is_none());
    assert!(phases.first_byte_ms.unwrap() <= phases.total_ms);
    assert_eq!(response.body.whole().await.unwrap(), "fine");
    let asked = upstream.requests().remove(0).to_lowercase();
    for line in [
        "get /path?query http/1.1",
        &format!("host: {}", upstream.address),
        &format!("user-agent: anode/{}", env!("CARGO_PKG_VERSION")),
        "accept-encoding: gzip, deflate, br",
        &format!("authorization: basic {}", "dTpwIHc=".to_lowercase()),
        "x-own: 1",
    ] {
        assert!(asked.contains(&format!("{line}\r\n")), "{line}: {asked}");
    }
    assert!(!asked.contains("part"), "{asked}");
}

#[tokio::test]
async fn it_lets_a_source_name_itself_and_post() {
    let upstream = Upstream::http(ok);
    let http = http(connector(&[&upstream], None, None));
    let mut request = post(upstream.url("127.0.0.1", "/"), "{\"a\":1}");
    for (name, value) in [(USER_AGENT, "me"), (HOST, "virtual.example"), (ACCEPT_ENCODING, "identity")] {
        request.headers.insert(name, HeaderValue::from_static(value));
    }
    assert_eq!(whole(&http, request).await.unwrap().0, 200);
    let asked = upstream.requests().concat();
    for part in [
        "POST / ",
        "user-agent: me\r\n",
        "host: virtual.example\r\n",
        "accept-encoding: identity\r\n",
        "content-length: 7\r\n",
        "\r\n\r\n{\"a\":1}",
    ] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
}

#[tokio::test]
async fn it_keeps_connections_for_all_who_ask() {
    let ca = Ca::new("ours");
    let plain = Upstream::http(ok);
    let tls = Upstream::https(ca.server(&["127.0.0.1"], 2020..2120), ok);
    let http = http(connector(&[&plain, &tls], Some(&ca), None));
    for (upstream, host) in [(&plain, "http://127.0.0.1"), (&tls, "https://127.0.0.1")] {
        for turn in 0..5 {
            let response = http.clone().send(get(upstream.url(host, "/"))).await.unwrap();
            assert_eq!(response.reached.phases.connect_ms.is_some(), turn == 0, "{host}, turn {turn}");
            assert_eq!(response.reached.address, Some(upstream.address));
            response.body.whole().await.unwrap();
            // The connection goes back to the pool as soon as its task has seen the end.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((upstream.connections(), upstream.requests().len()), (1, 5), "{host}");
    }
}

#[tokio::test]
async fn it_asks_again_where_a_kept_connection_ends_under_it() {
    // Each connection answers once and ends without a word when it is asked a second time.
    let seen = std::sync::Mutex::new(std::collections::HashSet::new());
    let upstream = Upstream::http(move |head| {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if path == "/first" || !seen.lock().unwrap().insert(path) { ok(head) } else { vec![Step::Close] }
    });
    let http = http(connector(&[&upstream], None, None));
    let ask = async |request: Request| {
        let answered = whole(&http, request).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        answered
    };
    ask(get(upstream.url("127.0.0.1", "/first"))).await.unwrap();
    assert_eq!(ask(get(upstream.url("127.0.0.1", "/second"))).await.unwrap().0, 200);
    assert_eq!((upstream.connections(), upstream.requests().len()), (2, 3));
    // What may have been done already is not asked for twice.
    let failure = ask(post(upstream.url("127.0.0.1", "/third"), "x")).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Connect);
    assert!(failure.detail.contains("closed the connection before it answered"), "{failure}");
    assert_eq!(failure.reached.address, Some(upstream.address));
    // A connection that never answered is not worth another one.
    let silent = Upstream::http(|_| vec![Step::Close]);
    let http = self::http(connector(&[&silent], None, None));
    assert!(whole(&http, get(silent.url("127.0.0.1", "/"))).await.is_err());
    assert_eq!(silent.connections(), 1);
}

#[tokio::test]
async fn it_shows_any_status_with_how_long_to_wait() {
    for (status, headers, expected) in [
        ("401 Unauthorized", "", None),
        ("403 Forbidden", "", None),
        ("429 Too Many Requests", "Retry-After: 7\r\n", Some(7)),
        ("503 Service Unavailable", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n", Some(86_400)),
        ("500 Internal Server Error", "Retry-After: soon\r\n", None),
        ("304 Not Modified", "ETag: \"7\"\r\n", None),
        ("300 Multiple Choices", "Location: /elsewhere\r\n", None),
        ("302 Found", "", None),
    ] {
        let upstream = Upstream::http(move |_| answer(status, headers, ""));
        let http = http(connector(&[&upstream], None, None));
        let response = http.send(get(upstream.url("127.0.0.1", "/"))).await.unwrap();
        assert!(status.starts_with(response.status.as_str()));
        assert_eq!(response.retry_after, expected.map(Duration::from_secs), "{status}");
        assert_eq!(response.body.whole().await.unwrap(), "", "{status}");
    }
}

#[tokio::test]
async fn it_ends_its_connections_when_the_node_stops() {
    let upstream = Upstream::http(ok);
    let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
    let http = Http::new(connector(&[&upstream], None, None), tracker.clone(), cancel.clone());
    whole(&http, get(upstream.url("127.0.0.1", "/"))).await.unwrap();
    assert!(!tracker.is_empty());
    cancel.cancel();
    tracker.close();
    tokio::time::timeout(Duration::from_secs(1), tracker.wait()).await.unwrap();
}

#[test]
fn it_makes_headers_of_a_definitions() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secrets.toml"), "KEY = \"c4n4ry\"\nBROKEN = \"c4n4ry\\r\\nX: y\"\n")
        .unwrap();
    let secrets = crate::source::secrets::Secrets::new(dir.path());
    let make =
        |name: &str, value: &str| outgoing(&BTreeMap::from([(name.to_owned(), value.to_owned())]), &secrets);
    for (name, value, expected, sensitive) in [
        ("X-Key", "${secret:KEY}", "c4n4ry", true),
        ("X-Key", "plain", "plain", false),
        ("Authorization", "Bearer x", "Bearer x", true),
        ("Accept", "ünï", "ünï", false),
    ] {
        let headers = make(name, value).unwrap();
        assert_eq!(headers[name.to_lowercase()].as_bytes(), expected.as_bytes());
        assert_eq!(headers[name.to_lowercase()].is_sensitive(), sensitive);
        assert!(!sensitive || !format!("{headers:?}").contains(expected));
    }
    for (name, value, words) in [
        ("X-Key", "${secret:NONE}", "ANODE_SECRET_NONE"),
        ("X-Key", "${secret:BROKEN}", "line breaks"),
        ("X-Key", "a\nb", "line breaks"),
        ("X Key", "a", "no header's name"),
        ("", "a", "no header's name"),
        ("Content-Length", "1", "set by the node itself"),
        ("transfer-encoding", "chunked", "set by the node itself"),
        ("Connection", "close", "set by the node itself"),
        ("Sec-WebSocket-Key", "a", "set by the node itself"),
    ] {
        let failure = make(name, value).unwrap_err();
        assert_eq!((failure.stage, failure.field), (Stage::Definition, Some(format!("headers.{name}"))));
        assert!(failure.detail.contains(words) && !failure.detail.contains("c4n4ry"), "{}", failure.detail);
    }
}
