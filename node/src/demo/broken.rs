//! Answers with a fault: what a good one turns into.

use std::io;
use std::time::Duration;

use async_compression::Level;
use async_compression::tokio::bufread::GzipEncoder;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, BufReader};

use super::faults::Fault;

/// How late a late answer is.
pub(super) const LATE: Duration = Duration::from_secs(3);
/// From one byte to the next of a slow answer.
pub(super) const DRIP: Duration = Duration::from_millis(100);
/// How deep a deep answer is.
const DEPTH: usize = 100_000;
/// What a bomb unpacks to.
const BOMB: u64 = 1 << 30;
/// How much is read at once where a body is made on the way.
const CHUNK: usize = 16 << 10;
/// How long a broken answer waits before it breaks: what was written before gets out.
const BREAK: Duration = Duration::from_millis(20);
/// What a page says where JSON should be.
const PAGE: &str = "<!doctype html><title>Sign in</title><h1>Sign in to this network</h1>";

/// Marks an answer that is none: the connection is closed instead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dropped;

/// What stands in the place of a good answer from the first byte on, for every endpoint; `None` where data is what is broken.
pub(super) async fn at_the_door(fault: &Fault, uri: &Uri) -> Option<Response> {
    Some(match fault {
        Fault::Status(code, wait) => status(*code, *wait),
        Fault::Hang => std::future::pending().await,
        Fault::Drop => dropped(),
        Fault::Html => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response(),
        Fault::Empty => ().into_response(),
        Fault::RedirectLoop => redirect(&uri.to_string()),
        Fault::Redirect(url) => redirect(url),
        Fault::Headers => headers(),
        Fault::Late => {
            tokio::time::sleep(LATE).await;
            return None;
        }
        _ => return None,
    })
}

/// A good answer with its data broken.
pub(super) async fn answer(fault: &Fault, good: Response) -> Response {
    let (mut parts, body) = good.into_parts();
    // Answers of our own are in memory.
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let half = bytes.slice(..bytes.len() / 2);
    let body = match fault {
        Fault::Silence => Body::from_stream(stream::pending::<io::Result<Bytes>>()),
        Fault::Malformed => Body::from(half),
        Fault::Binary => Body::from(binary()),
        Fault::Truncated => {
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            Body::from_stream(broken(half))
        }
        Fault::Slow => Body::from_stream(dripping(bytes)),
        Fault::Bomb => {
            parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            Body::from_stream(bomb())
        }
        Fault::Deep => Body::from(deep()),
        Fault::Endless => Body::from_stream(endless()),
        _ => Body::from(bytes),
    };
    if !matches!(fault, Fault::Truncated) {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    Response::from_parts(parts, body)
}

fn status(code: u16, wait: Option<Duration>) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let words = format!(r#"{{"error":"{code}, as asked for"}}"#);
    let mut answer = (status, [(header::CONTENT_TYPE, "application/json")], words).into_response();
    if let Some(wait) = wait {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    answer
}

/// An answer that is none.
pub(super) fn dropped() -> Response {
    let mut answer = ().into_response();
    answer.extensions_mut().insert(Dropped);
    answer
}

fn redirect(to: &str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, to.to_owned())]).into_response()
}

fn headers() -> Response {
    let mut answer = "{}".into_response();
    let long = HeaderValue::try_from("x".repeat(CHUNK)).unwrap_or(HeaderValue::from_static(""));
    for _ in 0..64 {
        answer.headers_mut().append("x-long", long.clone());
    }
    answer
}

/// Bytes that are no text in any encoding that a decoder would guess.
pub(super) fn binary() -> Bytes {
    Bytes::from_iter((0..=255).rev())
}

/// A list in a list in a list.
pub(super) fn deep() -> Bytes {
    [vec![b'['; DEPTH], vec![b']'; DEPTH]].concat().into()
}

/// Some bytes, then an error that breaks the connection.
fn broken(half: Bytes) -> impl Stream<Item = io::Result<Bytes>> {
    let breaking = stream::once(async {
        tokio::time::sleep(BREAK).await;
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    stream::once(async { Ok(half) }).chain(breaking)
}

fn dripping(bytes: Bytes) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(bytes, |mut left| async move {
        if left.is_empty() {
            return None;
        }
        tokio::time::sleep(DRIP).await;
        Some((Ok(left.split_to(1)), left))
    })
}

fn endless() -> impl Stream<Item = io::Result<Bytes>> {
    read(tokio::io::repeat(b' '))
}

/// JSON that is white space almost only, packed by gzip while it is read.
fn bomb() -> impl Stream<Item = io::Result<Bytes>> {
    let plain = b"[".chain(tokio::io::repeat(b' ').take(BOMB)).chain(&b"]"[..]);
    read(GzipEncoder::with_quality(BufReader::new(plain), Level::Fastest))
}

fn read(reader: impl AsyncRead + Unpin + Send) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(reader, |mut reader| async move {
        let mut chunk = vec![0; CHUNK];
        match reader.read(&mut chunk).await {
            Ok(0) => None,
            Ok(count) => {
                chunk.truncate(count);
                // One that never waits would hold the thread.
                tokio::task::yield_now().await;
                Some((Ok(chunk.into()), reader))
            }
            Err(error) => Some((Err(error), reader)),
        }
    })
}
