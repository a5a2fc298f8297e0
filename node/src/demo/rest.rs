//! REST: an instrument's last tick, or those of all, with `ETag` and Last-Modified.

use std::time::{Duration, SystemTime};

use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZlibEncoder};
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::app::{App, query};
use super::market::Tick;
use crate::cli::now;

/// The most that an echo takes in.
const ECHOED: usize = 1 << 20;

/// `/rest/{n}`.
pub(super) async fn one(
    State(app): State<App>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(tick) = app.board.find(&name).and_then(|number| app.board.last(number)) else {
        return (StatusCode::NOT_FOUND, "there is no such instrument\n").into_response();
    };
    let validators = Validators::new(app.board.run, tick.n, &tick, &uri);
    if validators.hold(&headers) {
        return validators.with(StatusCode::NOT_MODIFIED.into_response());
    }
    let body = match query(&uri, "stamp") {
        Some(_) => stamped(&tick.json),
        None => tick.json,
    };
    validators.with(encoded(&uri, body).await)
}

/// `/rest/all`.
pub(super) async fn all(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let ticks: Vec<Tick> = (0..app.board.count()).filter_map(|number| app.board.last(number)).collect();
    let Some(latest) = ticks.iter().max_by_key(|tick| tick.at) else {
        return (StatusCode::NOT_FOUND, "nothing happened yet\n").into_response();
    };
    let validators = Validators::new(app.board.run, ticks.iter().map(|tick| tick.n).sum(), latest, &uri);
    if validators.hold(&headers) {
        return validators.with(StatusCode::NOT_MODIFIED.into_response());
    }
    let list: Vec<&[u8]> = ticks.iter().map(|tick| &tick.json[..]).collect();
    let body = [&b"["[..], &list.join(&b',')[..], b"]"].concat();
    validators.with(encoded(&uri, body.into()).await)
}

/// `/echo`: what was asked.
pub(super) async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: Body) -> Response {
    let body = axum::body::to_bytes(body, ECHOED).await.unwrap_or_default();
    let headers: serde_json::Map<String, Value> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
        .collect();
    axum::Json(json!({
        "method": method.as_str(),
        "path": uri.path(),
        "query": uri.query(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    }))
    .into_response()
}

/// Adds when the answer was made, as the first member.
fn stamped(json: &Bytes) -> Bytes {
    [format!("{{\"asked\":{},", now()).as_bytes(), json.get(1..).unwrap_or_default()].concat().into()
}

/// What tells one version of an answer from another.
#[derive(Debug)]
struct Validators {
    etag: Option<String>,
    modified: Option<SystemTime>,
}

impl Validators {
    /// Both, or what `only=etag`, `only=modified`, `only=none` leaves.
    fn new(run: u64, version: u64, tick: &Tick, uri: &Uri) -> Self {
        let only = query(uri, "only");
        let has = |kind: &str| only.as_deref().is_none_or(|only| only == kind);
        Self {
            etag: has("etag").then(|| format!("\"{run:x}-{version}\"")),
            modified: has("modified").then(|| SystemTime::UNIX_EPOCH + Duration::from_micros(tick.at)),
        }
    }

    /// Whether who asks has this version (RFC 9110, 13.2.2: an `ETag` goes before a time).
    fn hold(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if let (Some(etag), Some(given)) = (&self.etag, text(header::IF_NONE_MATCH)) {
            return given.split(',').any(|one| one.trim().trim_start_matches("W/") == etag);
        }
        let since = text(header::IF_MODIFIED_SINCE).and_then(|text| httpdate::parse_http_date(text).ok());
        // The header knows whole seconds only.
        self.modified.zip(since).is_some_and(|(modified, since)| modified < since + Duration::from_secs(1))
    }

    fn with(&self, mut answer: Response) -> Response {
        let headers = answer.headers_mut();
        if let Some(etag) = self.etag.as_ref().and_then(|etag| HeaderValue::try_from(etag).ok()) {
            headers.insert(header::ETAG, etag);
        }
        let modified = self.modified.map(httpdate::fmt_http_date);
        if let Some(modified) = modified.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(header::LAST_MODIFIED, modified);
        }
        answer
    }
}

/// JSON, packed as `encoding=gzip|deflate|br` says.
async fn encoded(uri: &Uri, body: Bytes) -> Response {
    let encoding = query(uri, "encoding").unwrap_or_default();
    let mut packed = Vec::new();
    // Packing from memory into memory cannot fail.
    let _ = match encoding.as_str() {
        "gzip" => GzipEncoder::new(&body[..]).read_to_end(&mut packed).await,
        "deflate" => ZlibEncoder::new(&body[..]).read_to_end(&mut packed).await,
        "br" => BrotliEncoder::new(&body[..]).read_to_end(&mut packed).await,
        _ => return ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
    };
    ([(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_ENCODING, encoding)], packed)
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_304_where_nothing_changed() {
        let tick = Tick { n: 5, at: 1_795_402_020_700_000, json: "{}".into() };
        let validators = |query: &str| Validators::new(0xab, tick.n, &tick, &query.parse().unwrap());
        let second = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_402_020));
        let before = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_402_019));
        for (query, headers, expected) in [
            ("/", vec![], false),
            ("/", vec![(header::IF_NONE_MATCH, "\"ab-5\"")], true),
            ("/", vec![(header::IF_NONE_MATCH, "\"x\", W/\"ab-5\"")], true),
            ("/", vec![(header::IF_NONE_MATCH, "\"ab-4\"")], false),
            ("/", vec![(header::IF_MODIFIED_SINCE, &second)], true),
            ("/", vec![(header::IF_MODIFIED_SINCE, &before)], false),
            ("/", vec![(header::IF_NONE_MATCH, "\"ab-4\""), (header::IF_MODIFIED_SINCE, &second)], false),
            ("/?only=modified", vec![(header::IF_NONE_MATCH, "\"ab-5\"")], false),
            ("/?only=none", vec![(header::IF_MODIFIED_SINCE, &second)], false),
        ] {
            let headers: HeaderMap = headers
                .into_iter()
                .map(|(name, value)| (name, HeaderValue::try_from(value).unwrap()))
                .collect();
            assert_eq!(validators(query).hold(&headers), expected, "{query} {headers:?}");
        }
    }

    #[test]
    fn it_stamps_as_json() {
        let json: Value = serde_json::from_slice(&stamped(&Bytes::from_static(br#"{"n":1}"#))).unwrap();
        assert!(json["asked"].as_u64() > Some(1_700_000_000_000_000) && json["n"] == 1);
    }
}
