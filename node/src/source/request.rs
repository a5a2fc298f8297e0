//! HTTP to upstreams: one pool for all sources, redirects by our own rules, every length and time bounded.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anode_shared::source::Stage;
use anode_shared::time::Micros;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, HOST, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT,
};
use hyper::http::Extensions;
use hyper::{Method, StatusCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::connector::{Connector, millis, within};
use super::failure::{Failure, Reached};
use super::limits::{HEAD, HEADERS};

mod body;
mod headers;
mod pool;
mod redirect;
mod retry_after;

pub use self::body::{Body, Reading};
pub use self::headers::{AGENT, basic, outgoing};
pub use self::retry_after::retry_after;

pub(in crate::source) use self::redirect::host;

use self::body::Coding;
use self::pool::{DEADLINE, Link, Pool};
use self::redirect::Hop;

/// How often a request is sent again that met a pooled connection which the server was just closing: once for each
/// that may have been idle for as long.
const AGAIN: usize = 3;

/// Sends requests. A clone shares the connections.
#[derive(Debug, Clone)]
pub struct Http {
    pool: Pool,
}

/// A request to an upstream.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to. A user and password in it become an `Authorization` header.
    pub url: Url,
    /// How.
    pub method: Method,
    /// Its headers; those that came from a secret are marked as sensitive, as [`outgoing`] does.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Whether the body came from a secret: then it goes to no other origin.
    pub secret_body: bool,
    /// Until when the head of the answer must be there, redirects included.
    pub deadline: Instant,
    /// How the answer's body may be read.
    pub reading: Reading,
}

/// An upstream's answer, its body still to be read.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Body,
    /// How long the phases took up to here, over all redirects, and the address that answered.
    pub reached: Reached,
    /// How long the upstream asks to be left alone.
    pub retry_after: Option<std::time::Duration>,
    /// The URL that answered, after redirects.
    pub url: Url,
}

impl Response {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(lossy)
    }

    /// All headers as text, several of one name joined.
    pub fn header_texts(&self) -> BTreeMap<String, String> {
        texts(&self.headers)
    }
}

/// All headers as text, several of one name joined.
pub(in crate::source) fn texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let text = texts.entry(name.as_str().to_owned()).or_default();
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&lossy(value));
    }
    texts
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// What `Retry-After` says in an answer's headers.
pub(in crate::source) fn wait_of(headers: &HeaderMap) -> Option<std::time::Duration> {
    let value = headers.get(RETRY_AFTER)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    retry_after(&lossy(value), Micros::try_from(now.as_micros()).unwrap_or(Micros::MAX))
}

impl Http {
    /// A client on a connector. Its connections live in `tracker` and end with `cancel`.
    pub fn new(connector: Connector, tracker: TaskTracker, cancel: CancellationToken) -> Self {
        Self { pool: pool::pool(connector, tracker, cancel) }
    }

    /// Sends a request and follows redirects. Any status is an answer, also an error's.
    ///
    /// # Errors
    /// With the stage that failed, and how far it came. Never later than at the deadline.
    pub async fn send(&self, request: Request) -> Result<Response, Failure> {
        let began = Instant::now();
        let mut reached = Reached::default();
        let answered = self.follow(request, &mut reached, began).await;
        reached.phases.total_ms = millis(began.elapsed());
        match answered {
            Ok(response) => Ok(Response { reached, ..response }),
            Err(failure) => {
                let mut reached = reached;
                add(&mut reached, &failure.reached);
                Err(failure.after(reached))
            }
        }
    }

    async fn follow(
        &self,
        request: Request,
        reached: &mut Reached,
        began: Instant,
    ) -> Result<Response, Failure> {
        let Request { mut url, method, mut headers, body, secret_body, deadline, reading } = request;
        basic(&mut url, &mut headers);
        url.set_fragment(None);
        let mut hop = Hop { url, method, headers, body, secret_body, passed: Vec::new() };
        loop {
            let answer = self.one(&hop, deadline, reached).await?;
            let status = answer.status();
            let location =
                answer.headers().get(LOCATION).filter(|_| redirect::is_redirect(status)).map(lossy);
            if let Some(location) = location {
                hop = hop.follow(status, &location)?;
                continue;
            }
            let before: f64 = [reached.phases.dns_ms, reached.phases.connect_ms, reached.phases.tls_ms]
                .into_iter()
                .flatten()
                .sum();
            reached.phases.first_byte_ms = Some((millis(began.elapsed()) - before).max(0.0));
            return answer_of(answer, hop.url, reading);
        }
    }

    /// Sends one request to one URL. One that met a connection in the moment of its end is sent again.
    async fn one(
        &self,
        hop: &Hop,
        deadline: Instant,
        reached: &mut Reached,
    ) -> Result<hyper::Response<Incoming>, Failure> {
        let host = host(&hop.url);
        let began = Instant::now();
        let mut again = 0;
        loop {
            let late = || format!("{host} did not answer within {:.1} s", began.elapsed().as_secs_f64());
            let sending = DEADLINE.scope(deadline, self.pool.request(message(hop)?));
            let error = match within(deadline, Stage::Request, late, sending).await? {
                Ok(answer) => {
                    note(answer.extensions().get(), reached);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let mut extensions = Extensions::new();
            if let Some(info) = error.connect_info() {
                info.get_extras(&mut extensions);
            }
            let link = extensions.get::<Arc<Link>>();
            if again < AGAIN
                && hop.method != Method::POST
                && link.is_some_and(|link| link.is_used())
                && broke(&error)
            {
                again += 1;
                continue;
            }
            note(link, reached);
            return Err(explain(&error, &host));
        }
    }
}

/// The hyper request of a hop.
fn message(hop: &Hop) -> Result<hyper::Request<Full<Bytes>>, Failure> {
    let wrong = |_| Failure::of_field("url", "the URL cannot be written into a request");
    let mut headers = hop.headers.clone();
    let written = HeaderValue::from_str(&host(&hop.url))
        .map_err(|_| Failure::of_field("url", "the URL names no host"))?;
    headers.entry(HOST).or_insert(written);
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
    headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("gzip, deflate, br"));
    let mut message = hyper::Request::new(Full::new(hop.body.clone()));
    *message.method_mut() = hop.method.clone();
    *message.uri_mut() = hop.url.as_str().parse().map_err(wrong)?;
    *message.headers_mut() = headers;
    Ok(message)
}

fn answer_of(answer: hyper::Response<Incoming>, url: Url, reading: Reading) -> Result<Response, Failure> {
    let (head, body) = answer.into_parts();
    let coding = Coding::parse(&head.headers.get(CONTENT_ENCODING).map(lossy).unwrap_or_default())
        .map_err(|failure| Failure { status: Some(head.status.as_u16()), ..failure })?;
    let retry_after = wait_of(&head.headers);
    let body = Body::new(body, coding, host(&url), reading);
    Ok(Response {
        status: head.status,
        headers: head.headers,
        body,
        reached: Reached::default(),
        retry_after,
        url,
    })
}

/// Adds what a connection took, where this answer is the first over it.
fn note(link: Option<&Arc<Link>>, reached: &mut Reached) {
    let Some(link) = link else { return };
    reached.address = Some(link.timing.address);
    if link.first_answer() {
        add(reached, &link.timing.reached());
    }
}

fn add(sum: &mut Reached, more: &Reached) {
    let plus = |sum: &mut Option<f64>, more: Option<f64>| {
        if let Some(more) = more {
            *sum = Some(sum.unwrap_or_default() + more);
        }
    };
    plus(&mut sum.phases.dns_ms, more.phases.dns_ms);
    plus(&mut sum.phases.connect_ms, more.phases.connect_ms);
    plus(&mut sum.phases.tls_ms, more.phases.tls_ms);
    sum.address = more.address.or(sum.address);
}

/// What hyper says, if it is to blame.
fn cause(error: &hyper_util::client::legacy::Error) -> Option<&hyper::Error> {
    error.source()?.downcast_ref()
}

/// Whether the connection ended before anything of an answer came.
fn broke(error: &hyper_util::client::legacy::Error) -> bool {
    let io = |error: &hyper::Error| error.source().is_some_and(|source| source.is::<std::io::Error>());
    cause(error).is_some_and(|error| {
        error.is_incomplete_message() || error.is_closed() || error.is_canceled() || io(error)
    })
}

fn explain(error: &hyper_util::client::legacy::Error, host: &str) -> Failure {
    if let Some(failure) = error.source().and_then(|source| source.downcast_ref::<Failure>()) {
        return failure.clone();
    }
    let Some(cause) = cause(error) else {
        return Failure::new(Stage::Connect, format!("the connection to {host} failed"));
    };
    if cause.is_parse_too_large() {
        let words = format!(
            "the head of {host}'s answer is longer than {} KiB or has more than {HEADERS} headers",
            HEAD >> 10
        );
        return Failure::new(Stage::Request, words);
    }
    if cause.is_parse() {
        return Failure::new(Stage::Request, format!("{host} does not answer in HTTP/1.1: {cause}"));
    }
    if broke(error) {
        return Failure::new(Stage::Connect, format!("{host} closed the connection before it answered"));
    }
    Failure::new(Stage::Request, format!("asking {host} failed: {cause}"))
}

#[cfg(test)]
mod tests;
