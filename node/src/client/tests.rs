use super::*;

fn place(address: Option<&str>) -> Place {
    Place { data_dir: "d".into(), address: address.map(str::to_owned), token: Some("dir".to_owned()) }
}

#[test]
fn it_sends_a_directorys_token_to_that_directorys_node_only() {
    for (node, token, address, url, expected) in [
        (None, None, Some("127.0.0.1:81"), "http://127.0.0.1:81/", Some("dir")),
        (None, Some("t"), Some("0.0.0.0:81"), "http://127.0.0.1:81/", Some("t")),
        (None, None, Some("[::]:81"), "http://[::1]:81/", Some("dir")),
        (None, None, None, "http://127.0.0.1:8080/", None),
        (Some("http://h:1"), None, Some("127.0.0.1:81"), "http://h:1/", None),
        (Some("http://h:1/p/"), Some("t"), None, "http://h:1/p/", Some("t")),
        (Some("https://h"), Some("t"), Some("127.0.0.1:81"), "https://h/", Some("t")),
    ] {
        let endpoint = Endpoint::choose(node, token, &place(address)).unwrap();
        assert_eq!(
            (endpoint.url.as_str(), endpoint.token.as_deref()),
            (url, expected),
            "{node:?} {address:?}"
        );
    }
    for bad in ["h:1", "ftp://h", "http://u@h", "http://", "http://h/?q=1", "http://h/#token=x"] {
        assert!(Endpoint::choose(Some(bad), None, &place(None)).is_err(), "{bad}");
    }
}

#[test]
fn it_builds_links() {
    for (address, public, token, expected) in [
        ("127.0.0.1:8080", None, Some("a-b_9"), "http://127.0.0.1:8080/#token=a-b_9"),
        ("0.0.0.0:80", None, Some("a+/="), "http://127.0.0.1:80/#token=a%2B%2F%3D"),
        ("[::]:80", None, None, "http://[::1]:80/"),
        ("0.0.0.0:80", Some("http://127.0.0.1:8081"), Some("t"), "http://127.0.0.1:8081/#token=t"),
        ("0.0.0.0:80", Some("https://h.example/mesh"), None, "https://h.example/mesh/"),
    ] {
        let public = public.map(|url| page(url).unwrap());
        assert_eq!(dashboard_link(address, public.as_ref(), token), expected);
    }
}

#[test]
fn it_builds_addresses() {
    let endpoint = Endpoint::choose(Some("http://h:1/p/"), None, &place(None)).unwrap();
    let client = Client::new(endpoint).unwrap();
    let query = vec![("topic", "a.>".to_owned()), ("start", "after:{\"a/b\":1}".to_owned())];
    assert_eq!(
        client.url("/feed", &query).as_str(),
        "http://h:1/p/feed?topic=a.%3E&start=after%3A%7B%22a%2Fb%22%3A1%7D"
    );
}

#[test]
fn it_shows_the_nodes_own_words() {
    for (body, expected) in [
        (
            r#"{"status":400,"code":"bad_filter","title":"t","detail":"write it so"}"#,
            "write it so (400 bad_filter)",
        ),
        (r#"{"title":"only this"}"#, "only this (400)"),
        ("plain words", "plain words (400)"),
        ("", "Bad Request (400)"),
    ] {
        assert_eq!(Problem::read(StatusCode::BAD_REQUEST, body.as_bytes()).to_string(), expected);
    }
}
