use super::*;
use crate::source::connector::Table;

fn to(location: &str) -> Vec<Step> {
    answer("302 Found", &format!("Location: {location}\r\n"), "")
}

#[tokio::test]
async fn it_follows_redirects_and_drops_credentials_on_the_way() {
    let end = Upstream::http(ok);
    let target = end.url("127.0.0.1", "/end").to_string();
    let begin = Upstream::http(move |head| if head.starts_with("GET /1") { to(&target) } else { to("/1") });
    let http = http(connector(&[&begin, &end], None, None));
    let mut request = get(begin.url("user:word@127.0.0.1", "/0"));
    let mut hidden = HeaderValue::from_static("c4n4ry");
    hidden.set_sensitive(true);
    request.headers.insert(HeaderName::from_static("x-hidden"), hidden);
    request.headers.insert(HeaderName::from_static("accept"), HeaderValue::from_static("text/plain"));
    let response = http.send(request).await.unwrap();
    assert_eq!((response.status.as_u16(), response.url.path()), (200, "/end"));
    assert_eq!(response.reached.address, Some(end.address));
    let (first, second) = (begin.requests(), end.requests());
    assert_eq!((first.len(), second.len()), (2, 1));
    for head in &first {
        assert!(head.contains("authorization: Basic") && head.contains("x-hidden: c4n4ry"), "{head}");
    }
    assert!(!second[0].contains("authorization") && !second[0].contains("c4n4ry"), "{}", second[0]);
    assert!(
        second[0].contains("accept: text/plain") && second[0].contains(&format!("host: {}", end.address))
    );
}

#[tokio::test]
async fn it_ends_in_circles_and_after_five() {
    let circle = Upstream::http(|head| to(if head.starts_with("GET /a") { "/b" } else { "/a" }));
    let long = Upstream::http(|head| to(&format!("{}x", head.split(' ').nth(1).unwrap_or_default())));
    let http = http(connector(&[&circle, &long], None, None));
    for (upstream, words, requests) in [(&circle, "in a circle", 2), (&long, "more than 5 redirects", 6)] {
        let failure = http.send(get(upstream.url("127.0.0.1", "/a"))).await.unwrap_err();
        assert!(failure.detail.contains(words) && failure.stage == Stage::Request, "{failure}");
        assert_eq!(upstream.requests().len(), requests);
    }
}

#[tokio::test]
async fn it_guards_each_hop() {
    let bad = Upstream::http(ok);
    let port = bad.address.port();
    let table = Table::new(&[("hidden.example", &[&["127.0.0.1"]]), ("good.example", &[&["127.0.0.1"]])]);
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "[::ffff:7f00:1]",
        "localhost",
        "hidden.example",
        "0",
        "127%2e0.0.1",
    ] {
        let target = format!("http://{host}:{port}/");
        let begin = Upstream::http(move |_| to(&target));
        let http = http(connector(&[&begin], None, Some(table.clone())));
        let failure = http.send(get(begin.url("good.example", "/"))).await.unwrap_err();
        assert!(failure.refused && failure.stage == Stage::Guard, "{host}: {failure}");
        assert_eq!(begin.requests().len(), 1);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bad.connections(), 0);
}

#[tokio::test]
async fn it_goes_from_http_to_https_and_never_back() {
    let ca = Ca::new("ours");
    let plain = Upstream::http(ok);
    let back = plain.url("127.0.0.1", "/").to_string();
    let tls = Upstream::https(ca.server(&["127.0.0.1"], 2020..2120), move |head| {
        if head.starts_with("GET /back") { to(&back) } else { ok(head) }
    });
    let up = tls.url("https://127.0.0.1", "/end").to_string();
    let begin = Upstream::http(move |_| to(&up));
    let http = http(connector(&[&plain, &tls, &begin], Some(&ca), None));
    let response = http.send(get(begin.url("127.0.0.1", "/"))).await.unwrap();
    assert_eq!(response.reached.address, Some(tls.address));
    assert!(response.reached.phases.tls_ms.is_some());
    let failure = http.send(get(tls.url("https://127.0.0.1", "/back"))).await.unwrap_err();
    assert!(failure.detail.contains("from https to http"), "{failure}");
    assert_eq!(plain.connections(), 0);
}

#[tokio::test]
async fn it_gives_all_redirects_one_deadline() {
    let upstream = Upstream::http(|head| {
        let mut steps = vec![Step::Wait(Duration::from_millis(120))];
        steps.extend(to(&format!("{}x", head.split(' ').nth(1).unwrap_or_default())));
        steps
    });
    let http = http(connector(&[&upstream], None, None));
    let began = Instant::now();
    let failure =
        http.send(get_within(upstream.url("127.0.0.1", "/"), Duration::from_millis(300))).await.unwrap_err();
    assert!(failure.detail.contains("did not answer within"), "{failure}");
    assert!((280..500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}
