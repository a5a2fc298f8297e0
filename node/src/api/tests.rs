//! The whole router, asked without a socket: who may do what, what is refused how, and whether the document says so.

use std::net::SocketAddr;

use anode_shared::ids::Origin;
use anode_shared::status::Level;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use super::*;
use crate::archive::Archive;
use crate::store::{Memory, Nobody, StoreOptions};

pub(crate) const TOKEN: &str = "the-token-of-this-node";

/// A store in memory.
pub(crate) fn store() -> Store {
    let key = SigningKey::from_bytes(&[7; 32]);
    Store::open(Arc::new(Memory::default()), StoreOptions::default(), key, Arc::new(Nobody)).unwrap()
}

/// Sources of a store, in a folder that is left to the system.
pub(crate) fn sources(store: &Store) -> Sources {
    use crate::source::connector::{Connector, System};
    use crate::source::{Parts, guard::Guard, request::Http, secrets::Secrets, tls};
    let dir = tempfile::tempdir().unwrap().keep();
    let connector = Connector::new(Guard::default(), tls::client(None).unwrap(), Arc::new(System::default()));
    let parts = Parts {
        store: store.clone(),
        http: Http::new(connector.clone(), TaskTracker::new(), CancellationToken::new()),
        connector,
        secrets: Secrets::new(&dir),
        dir: dir.join("sources"),
        told: Box::new(|_, _, _| {}),
    };
    Sources::open(parts).unwrap()
}

/// What an API in memory works with.
pub(crate) fn deps(open_publish: bool, phase: Phase) -> Deps {
    let store = store();
    let events = Events::default();
    events.push(Level::Info, "node", "started", "the node started");
    Deps {
        gossip: Gossip::alone(),
        archive: Archive::off(),
        node: NodeInfo {
            id: store.origin(),
            name: "tested".to_owned(),
            network: "local".to_owned(),
            retention: Retention { age_s: 1, bytes: 2 },
        },
        access: Access::new(TOKEN, open_publish, vec!["https://friend.example".to_owned()]),
        feed: Feed::new(store.clone()),
        sources: sources(&store),
        store,
        events,
        phase: channel::channel(phase).1,
        cancel: CancellationToken::new(),
        tracker: TaskTracker::new(),
    }
}

/// An API in memory.
pub(crate) fn app(open_publish: bool, phase: Phase) -> App {
    App::new(deps(open_publish, phase), &Arc::default(), Bodies::default())
}

/// The same behind a real listener.
pub(crate) async fn served(app: App) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = server::Server {
        cancel: app.cancel.clone(),
        tracker: app.tracker.clone(),
        http: Arc::clone(&app.http),
        header_timeout: limits::HEADER,
    };
    app.tracker.clone().spawn(server.run(listener, gate::Routes::new(router::router(app).unwrap())));
    address
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

struct Asked {
    router: Router,
    document: Value,
}

impl Asked {
    fn of(app: App) -> Self {
        let document = openapi::written(&router::routes().to_openapi()).unwrap();
        Self { router: router::router(app).unwrap(), document }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let endless = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = if endless { Vec::new() } else { to_bytes(body, 64 << 20).await.unwrap().to_vec() };
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// Asks, and holds status and media type to the document.
    async fn declared(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let answer = self.ask(method, path, headers, body).await;
        let operation = self.operation(method, path);
        let declared = &operation["responses"][answer.status.to_string()];
        let words = format!("{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        assert!(declared.is_object(), "not declared: {words}");
        let kind = answer.header("content-type").split(';').next().unwrap();
        let kinds = declared["content"].as_object().cloned().unwrap_or_default();
        assert!(answer.body.is_empty() || kinds.contains_key(kind), "{kind} is not declared: {words}");
        if answer.status >= 400 {
            let problem = answer.json();
            assert_eq!(kind, "application/problem+json", "{words}");
            assert_eq!(problem["status"], answer.status, "{words}");
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 8), "{words}");
        }
        answer
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        let path: Vec<&str> = path.split('?').next().unwrap().split('/').collect();
        let paths = self.document["paths"].as_object().unwrap();
        let fits = |template: &&String| {
            let parts: Vec<&str> = template.split('/').collect();
            parts.len() == path.len()
                && parts.iter().zip(&path).all(|(part, other)| part.starts_with('{') || part == other)
        };
        let best = paths.keys().filter(fits).min_by_key(|template| template.matches('{').count());
        &paths[best.unwrap_or_else(|| panic!("{path:?} is not declared"))][method.to_ascii_lowercase()]
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const RECORD: &str = r#"{"topic":"a.b","payload":{"x": 1.50}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_records_and_gives_them_back() {
    let asked = Asked::of(app(true, Phase::Ready));
    let many =
        format!("[{RECORD},{}]", r#"{"topic":"a.c","payload_base64":"AP8=","content_type":"image/png"}"#);
    let first = asked.declared("POST", "/api/v1/records", &[JSON], RECORD).await.json();
    let more = asked.declared("POST", "/api/v1/records?ack=durable", &[JSON], &many).await.json();
    assert_eq!((first["ids"].as_array().unwrap().len(), more["ids"].as_array().unwrap().len()), (1, 2));
    assert_eq!(more["ack"], "durable");

    let page = asked.declared("GET", "/api/v1/records?limit=2&order=desc", &[], "").await.json();
    assert_eq!(page["records"][0]["id"], more["ids"][1]);
    assert_eq!(page["records"][0]["payload_base64"], "AP8=");
    assert_eq!((page["records"][0]["type"].clone(), page["gaps"].clone()), (Value::Null, json!([])));
    let next = format!("/api/v1/records?limit=2&order=desc&page={}", page["next"].as_str().unwrap());
    let rest = asked.declared("GET", &next, &[], "").await.json();
    assert_eq!(
        (rest["records"][0]["id"].clone(), rest["next"].clone()),
        (first["ids"][0].clone(), Value::Null)
    );
    let other = asked.declared("GET", &next.replace("desc", "asc"), &[], "").await;
    assert!(other.status == 400 && other.json()["detail"].as_str().unwrap().contains("page"));
    let some =
        asked.declared("GET", "/api/v1/records?filter=payload.x%20%3E%201.0&topic=a.*", &[], "").await.json();
    assert_eq!(some["records"].as_array().unwrap().len(), 2, "{some}");

    let path = format!("/api/v1/records/{}", first["ids"][0].as_str().unwrap());
    let record = asked.declared("GET", &path, &[], "").await;
    assert!(
        String::from_utf8_lossy(&record.body).contains(r#""payload":{"x": 1.50},"proof":{"record_bytes":""#)
    );
    let topics = asked.declared("GET", "/api/v1/topics?limit=1", &[], "").await.json();
    assert_eq!((&topics["topics"][0]["topic"], &topics["topics"][0]["count"]), (&json!("a.b"), &json!(2)));
    let next = format!("/api/v1/topics?limit=1&page={}", topics["next"].as_str().unwrap());
    let rest = asked.declared("GET", &next, &[], "").await.json();
    assert_eq!((&rest["topics"][0]["topic"], &rest["next"]), (&json!("a.c"), &Value::Null));
    let all = asked.declared("GET", "/api/v1/topics", &[], "").await.json();
    assert_eq!((all["topics"].as_array().unwrap().len(), &all["next"]), (2, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_every_route_to_who_may() {
    let good = format!("Bearer {TOKEN}");
    let (own, friend, other) = ("http://127.0.0.1:8080", "https://friend.example", "https://other.example");
    let reading =
        ["/api/v1/status", "/api/v1/records", "/api/v1/topics", "/api/v1/subscribers", "/api/v1/events"];
    for open in [false, true] {
        let asked = Asked::of(app(open, Phase::Ready));
        for origin in [None, Some(own), Some(friend), Some(other), Some("null")] {
            for token in [None, Some("Bearer wrong"), Some(good.as_str())] {
                let mut headers = vec![JSON];
                headers.extend(origin.map(|origin| ("origin", origin)));
                headers.extend(token.map(|token| ("authorization", token)));
                let welcome =
                    matches!(origin, None | Some("http://127.0.0.1:8080" | "https://friend.example"));
                let (read, publish, ticket) = match token {
                    Some("Bearer wrong") => (401, 401, 401),
                    Some(_) => (200, 200, 201),
                    None if !open => (200, 401, 401),
                    None => (200, if welcome { 200 } else { 403 }, 401),
                };
                let what = format!("open {open}, origin {origin:?}, token {token:?}");
                for path in reading {
                    let answer = asked.declared("GET", path, &headers, "").await;
                    assert_eq!(answer.status, read, "{path}: {what}");
                    assert_eq!(answer.header("access-control-allow-origin"), "*");
                    assert_eq!(answer.header("access-control-allow-credentials"), "");
                }
                assert_eq!(
                    asked.declared("POST", "/api/v1/records", &headers, RECORD).await.status,
                    publish,
                    "{what}"
                );
                assert_eq!(
                    asked.declared("POST", "/api/v1/tickets", &headers, "").await.status,
                    ticket,
                    "{what}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_refuses_bad_requests_with_what_to_change() {
    let asked = Asked::of(app(true, Phase::Ready));
    let origin = Origin([7; 32]);
    let unknown = format!("/api/v1/records/{origin}/692273a45f3a9c01/1");
    for (method, path, headers, body, status, code) in [
        ("POST", "/api/v1/records", &[JSON][..], "{", 400, "bad_record"),
        ("POST", "/api/v1/records", &[JSON], "", 400, "bad_record"),
        ("POST", "/api/v1/records", &[], RECORD, 415, "unsupported_media_type"),
        ("POST", "/api/v1/records", &[("content-type", "text/plain")], RECORD, 415, "unsupported_media_type"),
        ("POST", "/api/v1/records?ack=replicated", &[JSON], RECORD, 409, "no_peers"),
        ("POST", "/api/v1/records?ack=archived", &[JSON], RECORD, 409, "no_archive"),
        ("POST", "/api/v1/records?ack=sometimes", &[JSON], RECORD, 400, "bad_request"),
        ("POST", "/api/v1/records?akc=durable", &[JSON], RECORD, 400, "bad_request"),
        ("POST", "/api/v1/records", &[JSON, ("content-length", "17000000")], "{}", 413, "too_big"),
        ("POST", "/api/v1/records", &[JSON, ("accept", "text/html")], RECORD, 406, "not_acceptable"),
        ("GET", "/api/v1/records?topic=A", &[], "", 400, "bad_topic"),
        ("GET", "/api/v1/records?filter=payload.", &[], "", 400, "bad_filter"),
        ("GET", "/api/v1/records?after=x", &[], "", 400, "bad_cursor"),
        ("GET", "/api/v1/records?page=x", &[], "", 400, "bad_request"),
        ("GET", "/api/v1/records/x/y/1", &[], "", 400, "bad_request"),
        ("GET", &unknown.replace("/1", "/01"), &[], "", 400, "bad_request"),
        ("GET", "/api/v1/records/%FF/y/1", &[], "", 400, "bad_request"),
        ("GET", &unknown, &[], "", 404, "not_found"),
        ("GET", "/api/v1/status?verbose=1", &[], "", 400, "bad_request"),
        ("GET", "/api/v1/events?limit=0", &[], "", 400, "bad_request"),
        ("GET", "/api/v1/topics?limit=10001", &[], "", 400, "bad_request"),
        ("GET", "/api/v1/topics?topic=a", &[], "", 400, "bad_request"),
        ("GET", "/api/v1/events?page=x", &[], "", 400, "bad_request"),
        ("GET", "/livez?a=b", &[], "", 400, "bad_request"),
        ("GET", "/feed", &[], "", 426, "upgrade_required"),
        ("GET", "/feed?start=never", &[], "", 400, "bad_start"),
        ("GET", "/feed?colour=red", &[], "", 400, "bad_request"),
        ("GET", "/publish?topic=a", &[], "", 426, "upgrade_required"),
        ("GET", "/publish", &[], "", 400, "bad_topic"),
        ("GET", "/publish?topic=a&ack=archived", &[], "", 409, "no_archive"),
        ("GET", "/api/v1/watch", &[], "", 426, "upgrade_required"),
        ("GET", "/api/v1/watch?topic=a", &[], "", 400, "bad_request"),
        ("GET", "/feed", &[("upgrade", "websocket"), ("connection", "upgrade")], "", 400, "bad_request"),
        ("GET", "/api/v1/watch?ticket=x", &[("accept", "text/event-stream")], "", 401, "unauthorized"),
        ("GET", "/api/docs/none", &[], "", 404, "not_found"),
        ("GET", "/rpc", &[], "", 426, "upgrade_required"),
        ("POST", "/rpc", &[], "", 415, "unsupported_media_type"),
        ("GET", "/rpc?topic=a", &[], "", 400, "bad_request"),
        ("GET", "/sdk/anode", &[], "", 404, "not_found"),
        ("GET", "/api/v1/peers?limit=0", &[], "", 400, "bad_request"),
        ("GET", "/api/v1/mesh?x=1", &[], "", 400, "bad_request"),
        ("GET", "/api/v1/forks?limit=0", &[], "", 400, "bad_request"),
        ("POST", "/api/v1/sources/test", &[], "", 401, "unauthorized"),
    ] {
        let answer = asked.declared(method, path, headers, body).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (status, Some(code)),
            "{method} {path} {body}"
        );
    }
    for (method, path, status) in
        [("GET", "/api/v1/none", 404), ("DELETE", "/api/v1/status", 405), ("GET", "/a/../b", 404)]
    {
        let answer = asked.ask(method, path, &[], "").await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, "application/problem+json"),
            "{path}"
        );
        assert!(status != 405 || answer.header("allow").contains("GET"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_nothing_while_starting_or_stopping() {
    for (phase, code) in [(Phase::Starting, "starting"), (Phase::Draining, "draining")] {
        let asked = Asked::of(app(true, phase));
        for (method, path) in [("POST", "/api/v1/records"), ("GET", "/readyz")] {
            let answer = asked.declared(method, path, &[JSON], RECORD).await;
            assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some(code)), "{path}");
            assert!(answer.header("retry-after").parse::<u32>().is_ok());
        }
        assert_eq!(asked.declared("GET", "/livez", &[], "").await.status, 200);
        assert_eq!(asked.declared("GET", "/api/v1/records", &[], "").await.status, 200);
    }
    let app = app(true, Phase::Ready);
    app.store.drain();
    let answer = Asked::of(app).declared("POST", "/api/v1/records", &[JSON], RECORD).await;
    assert_eq!((answer.status, answer.json()["code"].clone()), (503, json!("draining")));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_protects_pages_and_answers_preflights() {
    let asked = Asked::of(app(false, Phase::Ready));
    for path in ["/api/v1/status", "/api/v1/none", "/livez", "/metrics"] {
        let answer = asked.ask("GET", path, &[], "").await;
        assert!(!answer.header("content-security-policy").contains("unsafe-inline"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
    }
    let asks = [
        ("origin", "https://other.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization, content-type"),
    ];
    let answer = asked.ask("OPTIONS", "/api/v1/records", &asks, "").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, "*"));
    assert!(answer.header("access-control-allow-headers").contains("authorization"));
    let page = asked.declared("GET", "/api/docs/index.html", &[], "").await;
    assert!(!page.header("content-security-policy").contains("unsafe-inline"));
    assert!(String::from_utf8_lossy(&page.body).contains("swagger-ui-bundle.js"));
}

/// Paths as a client would write them.
fn example(template: &str) -> String {
    template
        .split('/')
        .map(|part| if part.starts_with('{') { "x" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_declares_what_it_routes_and_routes_what_it_declares() {
    let asked = Asked::of(app(false, Phase::Ready));
    let served = asked.declared("GET", "/api/openapi.json", &[], "").await.json();
    assert_eq!(served, asked.document);
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"), "{}", served["openapi"]);
    let mut names = std::collections::BTreeSet::new();
    for (template, methods) in served["paths"].as_object().unwrap() {
        for method in methods
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| !["summary", "description"].contains(&key.as_str()))
        {
            let answer = asked.declared(&method.to_ascii_uppercase(), &example(template), &[], "").await;
            assert!(answer.status != 405, "{method} {template}");
            let operation = &methods[method];
            assert!(
                names.insert(operation["operationId"].to_string()),
                "{method} {template} has another's name"
            );
            assert!(
                operation["summary"].as_str().is_some_and(|words| words.len() > 4),
                "{method} {template}"
            );
            for (status, answer) in operation["responses"].as_object().unwrap() {
                assert!(answer["description"].is_string(), "{method} {template} {status}");
            }
        }
    }
    for name in [
        "Problem",
        "Record",
        "RecordFrame",
        "Frame",
        "FeedFrame",
        "Watch",
        "Status",
        "RecordToPublish",
        "Proof",
    ] {
        assert!(served["components"]["schemas"][name].is_object(), "no schema {name}");
    }
    for (name, schema) in served["components"]["schemas"].as_object().unwrap() {
        for reference in references(schema) {
            assert!(
                served.pointer(&reference[1..]).is_some(),
                "{name} names {reference}, which is not there"
            );
        }
    }
    for reference in references(&served["paths"]) {
        assert!(served.pointer(&reference[1..]).is_some(), "{reference} is not there");
    }
    // Whatever is routed without a declaration stands in one of these two files.
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/api")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(["assets.rs", "tests.rs"].contains(&name.as_str()) || !text.contains(".route("), "{name}");
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, member)| match member {
                Value::String(text) if name == "$ref" => vec![text.clone()],
                other => references(other),
            })
            .collect(),
        Value::Array(members) => members.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_registers_shows_masks_changes_and_removes_sources() {
    let app = app(true, Phase::Ready);
    let own = format!("/api/v1/sources?node={}", app.node.id);
    let asked = Asked::of(app);
    let admin = [JSON, ("authorization", "Bearer the-token-of-this-node")];
    let body = r#"{"name":"a","kind":"rest","url":"https://u:canary@h.example/p?k=canary","topic":"t","paused":true,
        "headers":{"X-Key":"canary"},"method":"POST","body":{"a":"canary"}}"#;
    let made = asked.declared("POST", "/api/v1/sources", &admin, body).await;
    assert_eq!((made.status, made.header("location")), (201, "/api/v1/sources/a"));
    assert_eq!(asked.declared("POST", "/api/v1/sources", &admin, body).await.status, 409);
    let own_one = own.replace("sources?", "sources/a?");
    for path in ["/api/v1/sources", "/api/v1/sources/a", "/api/v1/sources?node=all", &own, &own_one] {
        let reader = asked.declared("GET", path, &[], "").await;
        let text = String::from_utf8(reader.body.clone()).unwrap();
        assert!(reader.status == 200 && !text.contains("canary") && text.contains("***"), "{path} {text}");
        let text = asked.declared("GET", path, &admin, "").await.body;
        assert_eq!(String::from_utf8(text).unwrap().matches("canary").count(), 4, "{path}");
    }
    refuse_sources(&asked, body).await;
    let put = r#"{"kind":"rest","url":"https://h.example/other","topic":"t","paused":true}"#;
    let put = asked.declared("PUT", "/api/v1/sources/a", &admin, put).await;
    assert_eq!((put.status, put.json()["url"].clone()), (200, json!("https://h.example/other")));
    let paused = asked.declared("POST", "/api/v1/sources/a/pause", &admin, "").await.json();
    assert_eq!(paused["status"]["state"], "paused");
    let second = put_name(body, "b");
    assert_eq!(asked.declared("POST", "/api/v1/sources", &admin, &second).await.status, 201);
    let page = asked.declared("GET", "/api/v1/sources?limit=1", &[], "").await.json();
    assert_eq!((page["sources"][0]["name"].clone(), page["next"].clone()), (json!("a"), json!("a")));
    let page = asked.declared("GET", "/api/v1/sources?node=all&limit=1", &[], "").await.json();
    let next = page["next"].as_str().unwrap();
    assert_eq!((page["sources"][0]["node"]["name"].clone(), next.ends_with("/a")), (json!("tested"), true));
    let page = asked.declared("GET", &format!("/api/v1/sources?node=all&page={next}"), &[], "").await.json();
    assert_eq!((page["sources"][0]["name"].clone(), page["next"].clone()), (json!("b"), Value::Null));
    let page = asked.declared("GET", "/api/v1/sources?limit=1&page=a", &[], "").await.json();
    assert_eq!((page["sources"][0]["name"].clone(), page["next"].clone()), (json!("b"), Value::Null));
    assert_eq!(asked.declared("DELETE", "/api/v1/sources/a", &admin, "").await.status, 204);
    assert_eq!(asked.declared("GET", "/api/v1/sources/a", &[], "").await.status, 404);
}

fn put_name(body: &str, name: &str) -> String {
    body.replace("\"name\":\"a\"", &format!("\"name\":\"{name}\""))
}

/// What is refused of whom, where a source `a` is registered.
async fn refuse_sources(asked: &Asked, body: &str) {
    let admin = [JSON, ("authorization", "Bearer the-token-of-this-node")];
    for (method, path, body) in [
        ("POST", "/api/v1/sources", body),
        ("PUT", "/api/v1/sources/a", body),
        ("DELETE", "/api/v1/sources/a", ""),
        ("POST", "/api/v1/sources/a/pause", ""),
        ("POST", "/api/v1/sources/test", body),
    ] {
        assert_eq!(asked.declared(method, path, &[JSON], body).await.status, 401, "{method} {path}");
    }
    for (method, path, body, status, field) in [
        ("POST", "/api/v1/sources", "{", 400, ""),
        ("POST", "/api/v1/sources", "[]", 422, ""),
        (
            "POST",
            "/api/v1/sources",
            r#"{"name":"b","kind":"rest","url":"http://127.1/","topic":"t"}"#,
            422,
            "url",
        ),
        (
            "POST",
            "/api/v1/sources",
            r#"{"name":"b","kind":"rest","url":"http://h/","topic":"t","opne":[]}"#,
            422,
            "opne",
        ),
        (
            "POST",
            "/api/v1/sources",
            r#"{"name":"b","kind":"sse","url":"http://h/","topic":"t","interval_ms":9}"#,
            422,
            "interval_ms",
        ),
        (
            "POST",
            "/api/v1/sources",
            r#"{"name":"b","kind":"rest","url":"http://h/","topic":"t","emit":"a +"}"#,
            422,
            "emit",
        ),
        (
            "POST",
            "/api/v1/sources/test",
            r#"{"name":"b","kind":"rest","url":"ftp://h/","topic":"t"}"#,
            422,
            "url",
        ),
        (
            "PUT",
            "/api/v1/sources/a",
            r#"{"name":"b","kind":"rest","url":"http://h/","topic":"t"}"#,
            422,
            "name",
        ),
        ("PUT", "/api/v1/sources/c", r#"{"kind":"rest","url":"http://h/","topic":"t"}"#, 404, ""),
        ("GET", "/api/v1/sources/c", "", 404, ""),
        ("DELETE", "/api/v1/sources/c", "", 404, ""),
        ("POST", "/api/v1/sources/c/resume", "", 404, ""),
        ("GET", "/api/v1/sources?node=other", "", 404, ""),
        ("GET", "/api/v1/sources/a?node=other", "", 404, ""),
        ("GET", "/api/v1/sources/a?node=all", "", 400, ""),
        ("GET", "/api/v1/sources?limit=0", "", 400, ""),
    ] {
        let answer = asked.declared(method, path, &admin, body).await;
        let found = answer.json()["errors"][0]["field"].as_str().unwrap_or_default().to_owned();
        assert_eq!((answer.status, found.as_str()), (status, field), "{method} {path} {body}");
    }
}
