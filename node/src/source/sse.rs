//! Reads a stream of Server-Sent Events.

use std::time::Duration;

use anode_shared::source::Stage;
use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use tokio::time::{Instant, sleep, sleep_until};

use super::events::{Event, Events};
use super::place::Place;
use super::prepare::Prepared;
use super::reading::{Answer, Ended, Reading};
use super::request::{self, Body, Request, Response};
use super::task::{Connected, Limits, PAUSE};
use super::{rest, timeout};

/// The header that resumes a stream.
const LAST_EVENT: &str = "last-event-id";
/// What is asked for.
pub(super) const MEDIA_TYPE: &str = "text/event-stream";
/// How long a stream that said 204 is left alone: the standard says for ever, and nobody would notice that it is back.
const DONE: Duration = Duration::from_secs(600);

/// Reads for ever. The first connection waits for `first`.
pub(super) async fn run(reading: &mut Reading, first: Duration) {
    sleep(first).await;
    loop {
        let (began, mut retry) = (Instant::now(), None);
        let ended = connect(reading, &mut retry).await;
        // What was taken is stored before the place is named to the upstream.
        let stored = reading.all_stored().await;
        if let Err(mut ended) = ended.and(stored) {
            let failing = &mut ended.failing;
            failing.at_least = failing.at_least.max(retry.unwrap_or_default());
            reading.rest_after(ended).await;
        }
        sleep_until(began + PAUSE).await;
    }
}

/// One connection, from asking to its end; ok where it is to be replaced at once.
async fn connect(reading: &mut Reading, retry: &mut Option<Duration>) -> Result<(), Ended> {
    let request = request(reading).await;
    let began = Instant::now();
    let host = request.url.host_str().unwrap_or_default().to_owned();
    let context = reading.context.clone();
    let response = context.gate.pass(&host, Box::pin(context.http.send(request))).await?;
    check(&response)?;
    let _open = Connected::new(&reading.live);
    reading.live.opened();
    let mut stream = Stream {
        body: response.body,
        status: response.status.as_u16(),
        events: Events::default(),
        began: Some(began),
    };
    let mut limits = Limits::new(&reading.live);
    let result = loop {
        let full = reading.outbox.is_full();
        let waits = !reading.outbox.is_empty();
        tokio::select! {
            stored = reading.outbox.next(), if waits => reading.stored(stored).await?,
            chunk = stream.body.chunk(), if !full => match chunk? {
                Some(bytes) => stream.read(&bytes, reading).await?,
                None => break Err(Ended::new(Stage::Connect, "the upstream ended the stream")),
            },
            () = sleep_until(limits.next()) => if limits.reached(&reading.live) { break Ok(()) },
        }
    };
    *retry = stream.events.retry();
    result
}

/// What is asked.
async fn request(reading: &Reading) -> Request {
    let mut prepared = reading.ready().await;
    let event = reading.place.event.as_deref().map(|id| HeaderValue::from_bytes(id.as_bytes()));
    if let Some(Ok(event)) = event {
        prepared.headers.insert(LAST_EVENT, event);
    }
    asking(prepared, Instant::now() + timeout(&reading.live.definition))
}

/// A request for a stream. How long it may be silent is the state's to decide.
pub(super) fn asking(mut prepared: Prepared, deadline: Instant) -> Request {
    let headers = &mut prepared.headers;
    headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    prepared.request(deadline, request::Reading::default())
}

/// Whether the answer is a stream.
pub(super) fn check(response: &Response) -> Result<(), Ended> {
    if response.status == 204 {
        let mut ended = Ended::new(
            Stage::Status,
            "the upstream answered 204: it asks clients to stop; it is asked again in ten minutes, or on resume",
        );
        ended.failing.at_least = DONE;
        return Err(ended);
    }
    rest::check(response)?;
    let kind = response.header("content-type").unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(MEDIA_TYPE) {
        return Ok(());
    }
    let kind: String = kind.chars().take(80).collect();
    let words = format!(
        "the upstream answered with {kind:?} and not with {MEDIA_TYPE}; if it is no stream, set kind to rest"
    );
    Err(Ended::new(Stage::Decode, words))
}

/// A stream that is open.
struct Stream {
    body: Body,
    status: u16,
    events: Events,
    /// When it was asked for, until the first data came.
    began: Option<Instant>,
}

impl Stream {
    async fn read(&mut self, bytes: &Bytes, reading: &mut Reading) -> Result<(), Ended> {
        let mut found = Vec::new();
        let framed = self.events.push(bytes, &mut found);
        for Event { data, id, .. } in found {
            let place = id.clone().map(|id| Place { event: Some(id), ..Place::default() });
            let took = self.began.take().map(|began| began.elapsed());
            let answer =
                Answer { bytes: data.into(), status: self.status, event: id, took, ..Answer::default() };
            reading.take(answer, place).await?;
        }
        framed.map_err(|error| Ended::new(Stage::Body, error.to_string()))
    }
}
