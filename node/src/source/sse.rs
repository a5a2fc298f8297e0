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
use super::{beginning, rest, timeout};

/// The header that resumes a stream.
const LAST_EVENT: &str = "last-event-id";
/// What is asked for.
pub(super) const MEDIA_TYPE: &str = "text/event-stream";
/// The most characters of a content type that an error shows.
const KIND: usize = 80;
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
    let prepared = prepared(reading).await;
    let (host, patience) = (prepared.host(), timeout(&reading.live.definition));
    let context = reading.context.clone();
    // The time in which the upstream answers begins behind the gate.
    let asking = Box::pin(async {
        let began = Instant::now();
        (began, context.http.send(asking(prepared, began + patience)).await)
    });
    let (began, response) = context.gate.pass(&host, asking).await;
    let response = response?;
    check(&response)?;
    let _open = Connected::new(&reading.live);
    reading.live.opened();
    let mut stream = Stream {
        body: response.body,
        status: response.status.as_u16(),
        events: Events::default(),
        began: Some(began),
    };
    let result = stream.follow(reading).await;
    // However it ended: what the upstream asked for counts.
    *retry = stream.events.retry();
    result
}

/// What is asked with.
async fn prepared(reading: &Reading) -> Prepared {
    let mut prepared = reading.ready().await;
    let event = reading.place.event.as_deref().map(|id| HeaderValue::from_bytes(id.as_bytes()));
    if let Some(Ok(event)) = event {
        prepared.headers.insert(LAST_EVENT, event);
    }
    prepared
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
    let kind = beginning(&kind, KIND);
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
    /// Reads until the connection ends; ok where it is to be replaced at once.
    async fn follow(&mut self, reading: &mut Reading) -> Result<(), Ended> {
        let mut limits = Limits::new(&reading.live);
        loop {
            let full = reading.outbox.is_full();
            let waits = !reading.outbox.is_empty();
            let due = reading.keep_due();
            tokio::select! {
                stored = reading.outbox.next(), if waits => reading.stored(stored).await?,
                chunk = self.body.chunk(), if !full => match chunk? {
                    Some(bytes) => self.read(&bytes, reading).await?,
                    None => return Err(Ended::new(Stage::Connect, "the upstream ended the stream")),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => reading.keep_now().await,
                () = sleep_until(limits.next()) => if limits.reached(&reading.live) { return Ok(()) },
            }
        }
    }

    async fn read(&mut self, bytes: &Bytes, reading: &mut Reading) -> Result<(), Ended> {
        let mut found = Vec::new();
        let framed = self.events.push(bytes, &mut found);
        for Event { data, id, named, .. } in found {
            let place = id.clone().map(|id| Place { event: Some(id), ..Place::default() });
            let event = id.filter(|_| named);
            let took = self.began.take().map(|began| began.elapsed());
            let answer = Answer { bytes: data.into(), status: self.status, event, took, ..Answer::default() };
            reading.take(answer, place).await?;
        }
        framed.map_err(|error| Ended::new(Stage::Body, error.to_string()))
    }
}
