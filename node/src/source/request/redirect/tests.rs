use hyper::header::{ACCEPT, HeaderValue};

use super::*;

fn hop(method: Method, url: &str) -> Hop {
    let mut headers = HeaderMap::new();
    for (name, value, sensitive) in [
        ("accept", "application/json", false),
        ("user-agent", "me", false),
        ("host", "virtual.example", false),
        ("content-type", "application/json", false),
        ("authorization", "Bearer t", false),
        ("cookie", "c=1", false),
        ("x-api-key", "literal", false),
        ("x-plain", "plain", false),
        ("x-hidden", "from a secret", true),
    ] {
        let mut value = HeaderValue::from_static(value);
        value.set_sensitive(sensitive);
        headers.insert(HeaderName::from_static(name), value);
    }
    let body = if method == Method::POST { Bytes::from_static(b"{}") } else { Bytes::new() };
    Hop { url: Url::parse(url).unwrap(), method, headers, body, secret_body: false, passed: Vec::new() }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

#[test]
fn it_goes_where_location_says() {
    for (from, location, expected) in [
        ("https://a.example/x/y?q", "z", "https://a.example/x/z"),
        ("https://a.example/x/y?q", "/z?r#part", "https://a.example/z?r"),
        ("https://a.example/x/y?q", "?r", "https://a.example/x/y?r"),
        ("http://a.example/", "//b.example/z", "http://b.example/z"),
        ("http://a.example/", "https://b.example:8443/", "https://b.example:8443/"),
        ("http://a.example/", "http://user:word@b.example/", "http://b.example/"),
        ("http://a.example/", "http://127.1/", "http://127.0.0.1/"),
        ("http://a.example/", " /z ", "http://a.example/z"),
    ] {
        let next = hop(Method::GET, from).follow(status(302), location).unwrap();
        assert_eq!(next.url.as_str(), expected, "{from} {location}");
    }
}

#[test]
fn it_keeps_method_and_body_as_each_status_says() {
    for (code, method, expected, kept) in [
        (301, Method::GET, Method::GET, true),
        (301, Method::POST, Method::GET, false),
        (302, Method::POST, Method::GET, false),
        (302, Method::HEAD, Method::HEAD, true),
        (303, Method::POST, Method::GET, false),
        (303, Method::PUT, Method::GET, false),
        (303, Method::HEAD, Method::HEAD, true),
        (307, Method::POST, Method::POST, true),
        (308, Method::POST, Method::POST, true),
        (307, Method::GET, Method::GET, true),
    ] {
        let before = hop(method.clone(), "http://a.example/");
        let body = before.body.clone();
        let next = before.follow(status(code), "/next").unwrap();
        assert_eq!(
            (next.method, next.headers.contains_key("content-type")),
            (expected, kept),
            "{code} {method}"
        );
        assert_eq!(next.body, if kept { body } else { Bytes::new() }, "{code} {method}");
    }
    for (code, redirects) in [
        (300, false),
        (301, true),
        (302, true),
        (303, true),
        (304, false),
        (305, false),
        (306, false),
        (307, true),
        (308, true),
        (200, false),
    ] {
        assert_eq!(is_redirect(status(code)), redirects, "{code}");
    }
}

#[test]
fn it_takes_credentials_to_no_other_origin() {
    let all = [
        "accept",
        "authorization",
        "content-type",
        "cookie",
        "host",
        "user-agent",
        "x-api-key",
        "x-hidden",
        "x-plain",
    ];
    let few = ["accept", "content-type", "user-agent", "x-plain"];
    for (from, location, expected) in [
        ("https://a.example/", "/next", &all[..]),
        ("https://a.example/", "https://a.example:443/next", &all),
        ("https://a.example/", "https://A.EXAMPLE/next", &all),
        ("https://a.example/", "https://b.example/", &few),
        ("https://a.example/", "https://sub.a.example/", &few),
        ("https://a.example/", "https://a.example:8443/", &few),
        ("http://a.example/", "https://a.example/", &few),
        ("https://a.example/", "https://a.example./", &few),
    ] {
        let next = hop(Method::GET, from).follow(status(307), location).unwrap();
        let mut names: Vec<_> = next.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{from} {location}");
        assert_eq!(next.headers[ACCEPT], "application/json");
    }
    let back = hop(Method::GET, "https://a.example/").follow(status(302), "https://b.example/").unwrap();
    let back = back.follow(status(302), "https://a.example/again").unwrap();
    assert!(!back.headers.contains_key("authorization"), "what was dropped stays dropped");
}

#[test]
fn it_refuses_where_redirects_must_not_lead() {
    for (from, location, words) in [
        ("https://a.example/", "http://a.example/", "from https to http"),
        ("https://a.example/", "http://b.example/", "from https to http (b.example)"),
        ("http://a.example/", "ftp://a.example/", "`ftp:`"),
        ("http://a.example/", "file:///etc/passwd", "`file:`"),
        ("http://a.example/", "javascript:alert(1)", "`javascript:`"),
        ("http://a.example/", "ws://a.example/", "`ws:`"),
        ("http://a.example/", "http://", "no URL"),
        ("http://a.example/", "http://[fe80::1%eth0]/", "no URL"),
        ("http://a.example/", "/", "in a circle"),
        ("http://a.example/", "#part", "in a circle"),
    ] {
        let failure = hop(Method::GET, from).follow(status(302), location).unwrap_err();
        assert!(failure.detail.contains(words) && failure.stage == Stage::Request, "{location}: {failure}");
    }
    let mut secret = hop(Method::POST, "https://a.example/");
    secret.secret_body = true;
    let words = secret.clone().follow(status(307), "https://b.example/").unwrap_err().detail;
    assert!(words.contains("body holds a secret"), "{words}");
    assert!(secret.clone().follow(status(302), "https://b.example/").unwrap().body.is_empty());
    assert!(!secret.follow(status(307), "/next").unwrap().body.is_empty());
}

#[test]
fn it_ends_after_five() {
    let mut on_the_way = hop(Method::GET, "http://a.example/0");
    for step in 1..=REDIRECTS {
        on_the_way = on_the_way.follow(status(302), &format!("/{step}")).unwrap();
    }
    let words = on_the_way.follow(status(302), "/6").unwrap_err().detail;
    assert!(words.contains("more than 5 redirects"), "{words}");
}
