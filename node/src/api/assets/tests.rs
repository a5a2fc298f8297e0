use axum::body::to_bytes;
use axum::http::{Method, Request};
use tower::ServiceExt as _;

use super::*;

static MODULE: Asset = Asset {
    route: "/a-1.wasm",
    content_type: "application/wasm",
    hash: "1",
    is_immutable: true,
    plain: b"plain",
    brotli: Some(b"b"),
    gzip: Some(b"gz"),
};

static TINY: Asset = Asset { route: "/", brotli: None, gzip: None, is_immutable: false, ..MODULE };

fn with(name: HeaderName, values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
}

#[test]
fn it_sends_the_form_that_the_client_likes_best() {
    for (accepted, expected) in [
        (&["gzip, deflate, br, zstd"][..], Some("br")),
        (&["gzip", "br"], Some("br")),
        (&["GZip"], Some("gzip")),
        (&["gzip;q=1.0, br;q=0.5"], Some("gzip")),
        (&["br;q=0.001"], Some("br")),
        (&["br;q=0, gzip"], Some("gzip")),
        (&["br; q=0 , gzip ; q=0"], None),
        (&["*"], Some("br")),
        (&["*;q=0.5, br;q=0"], Some("gzip")),
        (&["*;q=0"], None),
        (&["*;q=0, gzip;q=0.1"], Some("gzip")),
        (&["identity, br;q=0.5"], None),
        (&["identity;q=0.5, gzip"], Some("gzip")),
        (&["identity;q=0, br;q=0"], None),
        (&["deflate, zstd"], None),
        (&["br;q=high, gzip;q=2"], None),
        (&["", ",,"], None),
        (&[], None),
    ] {
        let headers = with(ACCEPT_ENCODING, accepted);
        assert_eq!(MODULE.form(&headers).0, expected, "{accepted:?}");
        assert_eq!(TINY.form(&headers), (None, b"plain".as_slice()), "{accepted:?}");
    }
}

#[test]
fn it_reads_qualities() {
    for (text, expected) in [
        ("1", 1000),
        ("1.000", 1000),
        ("0", 0),
        ("0.5", 500),
        ("0.05", 50),
        (".7", 700),
        ("0.1239", 123),
        ("0.x", 0),
        ("-1", 0),
        ("", 0),
    ] {
        assert_eq!(thousandths(text), expected, "{text}");
    }
}

#[test]
fn it_answers_304_for_the_form_that_the_client_has() {
    for (tags, expected) in [
        (&[r#""1-br""#][..], 304),
        (&[r#"W/"1-br""#], 304),
        (&[r#""0", "1-br""#], 304),
        (&[r#""0""#, r#""1-br""#], 304),
        (&["*"], 304),
        (&[r#""1-gzip""#], 200),
        (&[r#""1""#], 200),
        (&["1-br"], 200),
        (&[], 200),
    ] {
        let mut headers = with(IF_NONE_MATCH, tags);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("br"));
        let answer = answer(&MODULE, &headers);
        assert_eq!(answer.status(), expected, "{tags:?}");
        assert_eq!(answer.headers()[ETAG], r#""1-br""#);
        assert_eq!(answer.headers().contains_key(CONTENT_TYPE), expected == 200);
    }
}

#[test]
fn it_lets_only_named_by_content_be_kept() {
    for (asset, cache) in [(&MODULE, "public, max-age=31536000, immutable"), (&TINY, "no-cache")] {
        let answer = answer(asset, &HeaderMap::new());
        assert_eq!(answer.headers()[CACHE_CONTROL], cache);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/wasm");
        assert_eq!(answer.headers()[VARY], "accept-encoding");
    }
}

#[tokio::test]
async fn it_routes_every_file_of_this_build() {
    let router: Router = router();
    assert!(DASHBOARD.iter().any(|asset| asset.route == "/"));
    for asset in DASHBOARD {
        for method in [Method::GET, Method::HEAD] {
            let request =
                Request::builder().method(&method).uri(asset.route).header(ACCEPT_ENCODING, "gzip, br");
            let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), 200, "{method} {}", asset.route);
            let content = asset.brotli.unwrap_or(asset.plain);
            assert_eq!(answer.headers()["content-length"], content.len().to_string(), "{method}");
            let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            assert_eq!(body, if method == Method::GET { content } else { b"" }, "{method} {}", asset.route);
        }
    }
}

#[tokio::test]
async fn it_answers_every_page_with_the_same_file() {
    let router: Router = router();
    let page = DASHBOARD.iter().find(|asset| asset.route == "/").unwrap();
    for (path, expected) in [
        ("/sources", 200),
        ("/sources/new", 200),
        ("/sources/coinbase-btc/edit", 200),
        ("/topics", 200),
        ("/mesh", 200),
        ("/records?topics=a.*", 200),
        ("/sources/coinbase-btc", 404),
        ("/nothing", 404),
    ] {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), expected, "{path}");
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        assert_eq!(body == page.plain, expected == 200, "{path}");
    }
}

#[test]
fn it_holds_nothing_inline_that_the_policy_would_block() {
    let page = DASHBOARD.iter().find(|asset| asset.route == "/").unwrap();
    let text = std::str::from_utf8(page.plain).unwrap();
    for inline in ["<style", " style=", "<script>", " onclick=", " onload=", "javascript:"] {
        assert!(!text.contains(inline), "{inline}");
    }
}
