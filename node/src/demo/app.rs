//! The feed's routes: what each request passes before its endpoint, and what steers the feed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Emitted};
use super::counts::Counted;
use super::faults::{Fault, Faults, WORDS};
use super::serve::{Secured, TLS};
use super::{broken, rest, sse, websocket};

/// The endpoints, with what each gives; `GET /` shows it.
const ENDPOINTS: [(&str, &str); 13] = [
    (
        "/rest/{n}",
        "an instrument's last tick; ETag, Last-Modified, 304. {n} is its number or name: 0, btc-usd",
    ),
    ("/rest/all", "a list of the last ticks of all"),
    ("/sse/{n}", "its ticks as Server-Sent Events, with ids, retry and comments; Last-Event-ID resumes"),
    (
        "/ws",
        r#"a WebSocket: {"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}; channels trade and ticker, also unsubscribe and ping"#,
    ),
    ("/ws/{n}", "a WebSocket that sends an instrument's ticks without being asked"),
    ("/echo", "method, query, headers and body as they came"),
    ("/count", "how often each endpoint was asked"),
    ("/emitted", "what each instrument emitted last: its serial n, and when, in microseconds"),
    ("GET /faults", "what is broken"),
    (
        "POST /faults",
        r#"{"path": "/rest/3", "fault": "500"} breaks an endpoint, {"path": "/sse/*", …} all that begin so, {"path": "tls", …} the certificate"#,
    ),
    ("DELETE /faults", "mends all, or ?path=/rest/3"),
    ("GET /livez", "that it is there, for `anode health --live --node URL`"),
    ("GET /", "this page"),
];
/// What a query may say, on every endpoint where it makes sense.
const QUERIES: [(&str, &str); 9] = [
    ("fault=WORD", "breaks this answer"),
    ("needs=KEY", "401 without `X-Key: KEY` or `Authorization: Bearer KEY`"),
    ("stamp=1", "rest: the time of the answer in `asked`"),
    ("encoding=gzip|deflate|br", "rest: packs the answer"),
    ("only=etag|modified|none", "rest: leaves out the other of ETag and Last-Modified"),
    ("retry=MS", "sse: what the stream says in `retry`"),
    ("heartbeat=MS", "ws: from one heartbeat to the next, 0 for none"),
    ("ping_within=MS", r#"ws: closes a socket that sent no {"method":"ping"} for so long"#),
    ("last_event_id=ID", "sse: as the header"),
];

/// What every handler has.
#[derive(Debug, Clone)]
pub(super) struct App {
    pub(super) board: Arc<Board>,
    pub(super) cancel: CancellationToken,
}

/// What is wrong with the endpoint of a request, as long as its answer goes on.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    /// The endpoint, its instrument by number.
    pub(super) path: String,
    own: Option<Fault>,
    /// The certificate's fault when the connection was made, where it has a certificate.
    secured: Option<Secured>,
    changes: watch::Receiver<u64>,
}

impl Trouble {
    /// The fault now: the request's own goes before the endpoint's. A connection whose certificate is another now is
    /// dropped.
    pub(super) fn fault(&self, faults: &Faults) -> Option<Fault> {
        if self.secured.as_ref().is_some_and(|secured| secured.0 != faults.of(TLS)) {
            return Some(Fault::Drop);
        }
        self.own.clone().or_else(|| faults.of(&self.path))
    }

    /// Has this fault from now on.
    pub(super) fn then(&mut self, fault: Fault) {
        self.own = Some(fault);
    }

    /// Waits until the fault may be another.
    pub(super) async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The feed's router.
pub(super) fn router(app: App) -> Router {
    let market = Router::new()
        .route("/rest/all", any(rest::all))
        .route("/rest/{n}", any(rest::one))
        .route("/sse/{n}", get(sse::stream))
        .route("/ws", any(websocket::asked))
        .route("/ws/{n}", any(websocket::bare))
        .route("/echo", any(rest::echo))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is no such endpoint; GET / lists all\n") })
        .layer(middleware::from_fn_with_state(app.clone(), pass));
    let control = Router::new()
        .route("/", get(index))
        .route("/livez", get(|| async { "live\n" }))
        .route("/count", get(count))
        .route("/emitted", get(emitted))
        .route("/faults", get(faults).post(set).delete(mend));
    control.merge(market).with_state(app)
}

/// Counts a request, and breaks its answer where that is asked for.
async fn pass(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let path = endpoint(&app.board, uri.path());
    let count = app.board.counts.of(&path);
    count.requests.fetch_add(1, Ordering::Relaxed);
    let _open = Arc::clone(&count).open();
    let answer = match query(&uri, "fault").map(|text| text.parse()).transpose() {
        Err(words) => (StatusCode::BAD_REQUEST, format!("{words}\n")).into_response(),
        Ok(own) => {
            let secured = request.extensions().get().cloned();
            let trouble = Trouble { path, own, secured, changes: app.board.faults.changes() };
            let fault = trouble.fault(&app.board.faults);
            request.extensions_mut().insert(trouble);
            answer(fault, &uri, request, next).await
        }
    };
    let dropped = answer.extensions().get::<broken::Dropped>().is_some();
    count.answered(if dropped { 0 } else { answer.status().as_u16() });
    answer
}

async fn answer(fault: Option<Fault>, uri: &Uri, request: Request, next: Next) -> Response {
    if !is_known(&request, query(uri, "needs").as_deref()) {
        return (StatusCode::UNAUTHORIZED, "the key is missing or wrong\n").into_response();
    }
    let Some(fault) = fault else { return next.run(request).await };
    if let Some(answer) = broken::at_the_door(&fault, uri).await {
        return answer;
    }
    let streams = uri.path().starts_with("/sse/") || uri.path().starts_with("/ws");
    let good = next.run(request).await;
    if streams { good } else { broken::answer(&fault, good).await }
}

/// Whether a request shows the key that it needs.
fn is_known(request: &Request, key: Option<&str>) -> bool {
    let Some(key) = key else { return true };
    let is = |name: &str, value: &str| request.headers().get(name).is_some_and(|given| given == value);
    is("x-key", key) || is(header::AUTHORIZATION.as_str(), &format!("Bearer {key}"))
}

/// The endpoint that a path means, its instrument by number; `other` where there is none.
fn endpoint(board: &Board, path: &str) -> String {
    if matches!(path, "/rest/all" | "/ws" | "/echo") {
        return path.to_owned();
    }
    for start in ["/rest/", "/sse/", "/ws/"] {
        if let Some(number) = path.strip_prefix(start).and_then(|name| board.find(name)) {
            return format!("{start}{number}");
        }
    }
    "other".to_owned()
}

/// A parameter of a query.
pub(super) fn query(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

async fn index(State(app): State<App>) -> String {
    let list = |rows: &[(&str, &str)]| -> String {
        rows.iter().map(|(name, words)| format!("  {name:<33} {words}\n")).collect()
    };
    format!(
        "A made-up market of {} instruments.\n\nEndpoints:\n{}\nIn a query:\n{}\nFaults:\n{}",
        app.board.count(),
        list(&ENDPOINTS),
        list(&QUERIES),
        list(&WORDS),
    )
}

async fn count(State(app): State<App>) -> Json<std::collections::BTreeMap<String, Counted>> {
    Json(app.board.counts.all())
}

async fn emitted(State(app): State<App>) -> Json<Vec<Emitted>> {
    Json(app.board.emitted())
}

async fn faults(State(app): State<App>) -> Json<Value> {
    Json(json!(app.board.faults.all()))
}

/// What `POST /faults` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Breaking {
    path: String,
    fault: Value,
}

/// Breaks an endpoint.
async fn set(State(app): State<App>, body: axum::body::Bytes) -> Response {
    let set = || -> Result<(), String> {
        let said: Breaking = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let word = said.fault.as_str().map_or_else(|| said.fault.to_string(), str::to_owned);
        app.board.faults.set(&place(&app.board, &said.path)?, word.parse()?)
    };
    match set() {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(words) => (StatusCode::BAD_REQUEST, format!("{words}\n")).into_response(),
    }
}

/// Mends one or all.
async fn mend(State(app): State<App>, uri: Uri) -> Response {
    match query(&uri, "path").map(|path| place(&app.board, &path)).transpose() {
        Ok(path) => {
            app.board.faults.mend(path.as_deref());
            StatusCode::NO_CONTENT.into_response()
        }
        Err(words) => (StatusCode::BAD_REQUEST, format!("{words}\n")).into_response(),
    }
}

/// The place of a fault that a path names.
fn place(board: &Board, path: &str) -> Result<String, String> {
    if path == "tls" || path.ends_with('*') {
        return Ok(path.to_owned());
    }
    Some(endpoint(board, path)).filter(|place| place != "other").ok_or_else(|| {
        format!("{path:?} is no endpoint; accepted are those of GET /, a beginning with * behind it, and tls")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_endpoints_by_number() {
        let board = Board::new(3, 1);
        for (path, expected) in [
            ("/rest/1", "/rest/1"),
            ("/rest/eth-usd", "/rest/1"),
            ("/sse/btc-usd", "/sse/0"),
            ("/ws/2", "/ws/2"),
            ("/ws", "/ws"),
            ("/rest/all", "/rest/all"),
            ("/rest/3", "other"),
            ("/nothing", "other"),
        ] {
            assert_eq!(endpoint(&board, path), expected, "{path}");
        }
        for (path, good) in [
            ("/rest/eth-usd", true),
            ("/rest/*", true),
            ("*", true),
            ("tls", true),
            ("/rest/9", false),
            ("rest/1", false),
        ] {
            assert_eq!(place(&board, path).is_ok(), good, "{path}");
        }
    }

    #[test]
    fn it_drops_connections_whose_certificate_is_another_now() {
        let faults = Faults::default();
        let trouble =
            |secured| Trouble { path: "/ws".to_owned(), own: None, secured, changes: faults.changes() };
        let (plain, before) = (trouble(None), trouble(Some(Secured(None))));
        assert_eq!((plain.fault(&faults), before.fault(&faults)), (None, None));
        faults.set(TLS, Fault::Expired).unwrap();
        assert_eq!((plain.fault(&faults), before.fault(&faults)), (None, Some(Fault::Drop)));
        assert_eq!(trouble(Some(Secured(Some(Fault::Expired)))).fault(&faults), None);
    }

    #[test]
    fn it_reads_queries() {
        let uri: Uri = "/rest/1?fault=redirect%3Ahttp%3A%2F%2Fh%2F&stamp=".parse().unwrap();
        assert_eq!(query(&uri, "fault").as_deref(), Some("redirect:http://h/"));
        assert_eq!((query(&uri, "stamp").as_deref(), query(&uri, "no")), (Some(""), None));
    }
}
