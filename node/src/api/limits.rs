//! What a request may take: time, bytes, connections.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::problem::{Code, Problem};

/// How long a head may take, counted from when the node waits for one: before its first byte, after it, and between requests.
/// A second under the 10 s that are promised, for the way there and back.
pub(super) const HEADER: Duration = Duration::from_secs(9);
/// The longest head: the longest URL (64 KiB) beside ordinary headers.
pub(super) const HEAD_BYTES: usize = 128 << 10;
/// The most headers of a request; browsers send about 20.
pub(super) const HEADERS: usize = 100;
/// How long a peer may take nothing. Twice what the feed allows its subscribers, so that those can be closed with their cursor.
pub(super) const STALL: Duration = Duration::from_secs(60);
/// Bytes of bodies that are held at a time, in KiB: four of the largest requests.
const BODIES_KIB: usize = 64 << 10;
/// How long a body waits for memory, its sender held back by TCP. Bodies that wait for each other's memory let go after it.
const ROOM: Duration = Duration::from_millis(500);
/// How much of a refused body is read on, so that its sender reads the answer instead of a broken connection.
const DISCARD: u64 = 48 << 20;
/// The most connections where the system allows as many.
const CONNECTIONS: usize = 20_000;
/// File descriptors that are not for connections: segments, index files, listeners.
const DESCRIPTORS: usize = 512;

/// How many connections are taken: as many as file descriptors allow. Raises the process's soft limit to its hard one.
pub(super) fn connections() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let allowed = allowed.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    allowed.saturating_sub(DESCRIPTORS).clamp(16, CONNECTIONS)
}

/// How fast a body must come, or a large answer be taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How long it may take beside what its bytes allow it.
    pub(super) grace: Duration,
    /// How many bytes give it a second more.
    pub(super) bytes_per_sec: u64,
}

/// What bodies must keep up. As for heads, a second under the 10 s that are promised; a slow mobile link is faster.
pub(super) const BODY_PACE: Pace = Pace { grace: Duration::from_secs(9), bytes_per_sec: 16 << 10 };
/// What large answers must be taken at: their memory is counted, and others wait for it. A slower link asks for less at a time.
pub(super) const ANSWER_PACE: Pace = Pace { grace: Duration::from_secs(30), bytes_per_sec: 128 << 10 };

impl Pace {
    /// How long so many bytes may take.
    pub(super) fn allowed(self, bytes: u64) -> Duration {
        self.grace + Duration::from_millis(bytes.saturating_mul(1_000) / self.bytes_per_sec)
    }
}

/// Memory for the bodies of requests under way, and the pace at which they must come.
#[derive(Debug, Clone)]
pub(super) struct Bodies {
    room: Arc<Semaphore>,
    pace: Pace,
}

impl Bodies {
    /// Bodies that must come at this pace.
    pub(super) fn new(pace: Pace) -> Self {
        Self { room: Arc::new(Semaphore::new(BODIES_KIB)), pace }
    }
}

impl Default for Bodies {
    fn default() -> Self {
        Self::new(BODY_PACE)
    }
}

/// A body with the memory that it takes.
#[derive(Debug)]
pub(super) struct Collected {
    /// Its bytes.
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Why a body was not collected.
enum Stop {
    /// Tell the sender, reading on so that it listens.
    Refuse(Problem),
    /// The sender is gone or too slow.
    Cut(Problem),
}

impl Bodies {
    /// Reads a body of at most `most` bytes.
    pub(super) async fn collect(
        &self,
        headers: &HeaderMap,
        body: Body,
        most: usize,
    ) -> Result<Collected, Problem> {
        let mut reading = Reading::new(body, self.pace);
        match self.gather(&mut reading, declared(headers), most).await {
            Ok(collected) => Ok(collected),
            Err(Stop::Cut(problem)) => Err(problem),
            Err(Stop::Refuse(problem)) => {
                reading.discard(headers).await;
                Err(problem)
            }
        }
    }

    /// Reads on what a refused request still sends, so that its sender gets to reading the answer.
    pub(super) async fn discard(&self, headers: &HeaderMap, body: Body) {
        Reading::new(body, self.pace).discard(headers).await;
    }

    async fn gather(
        &self,
        reading: &mut Reading,
        declared: Option<u64>,
        most: usize,
    ) -> Result<Collected, Stop> {
        if declared.is_some_and(|length| length > most as u64) {
            return Err(Stop::Refuse(too_big(most)));
        }
        let Some(first) = reading.next().await? else {
            return Ok(Collected { bytes: Bytes::new(), _room: None });
        };
        if first.len() > most {
            return Err(Stop::Refuse(too_big(most)));
        }
        let mut room = self.room(first.len()).await?;
        if declared == Some(first.len() as u64) {
            return Ok(Collected { bytes: first, _room: Some(room) });
        }
        // Memory that is not written to yet costs nothing, so the room is counted as the bytes come.
        let whole = declared.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut bytes = Vec::with_capacity(whole.max(first.len()));
        bytes.extend_from_slice(&first);
        while let Some(chunk) = reading.next().await? {
            if bytes.len() + chunk.len() > most {
                return Err(Stop::Refuse(too_big(most)));
            }
            room.merge(self.room(chunk.len()).await?);
            bytes.extend_from_slice(&chunk);
        }
        Ok(Collected { bytes: bytes.into(), _room: Some(room) })
    }

    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Stop> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        match timeout(ROOM, Arc::clone(&self.room).acquire_many_owned(kib)).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) | Err(_) => Err(Stop::Refuse(Problem::new(
                Code::Overloaded,
                "the node has as many request bodies under way as it holds; wait as Retry-After says, and send less at a time",
            ))),
        }
    }
}

fn too_big(most: usize) -> Problem {
    Problem::new(
        Code::TooBig,
        format!("the body has more than {} MiB; send the records in several requests", most >> 20),
    )
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body that must keep up a pace.
struct Reading {
    stream: axum::body::BodyDataStream,
    pace: Pace,
    began: Instant,
    bytes: u64,
}

impl Reading {
    fn new(body: Body, pace: Pace) -> Self {
        Self { stream: body.into_data_stream(), pace, began: Instant::now(), bytes: 0 }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Stop> {
        match timeout_at(self.began + self.pace.allowed(self.bytes), self.stream.next()).await {
            Ok(Some(Ok(chunk))) => {
                self.bytes += chunk.len() as u64;
                Ok(Some(chunk))
            }
            Ok(None) => Ok(None),
            Ok(Some(Err(error))) => {
                Err(Stop::Cut(Problem::bad_request(format!("the body ended too early: {error}"))))
            }
            Err(_) => Err(Stop::Cut(Problem::new(
                Code::Timeout,
                format!(
                    "the body comes too slowly: at least {} KiB a second are needed",
                    self.pace.bytes_per_sec >> 10
                ),
            ))),
        }
    }

    async fn discard(&mut self, headers: &HeaderMap) {
        // Who asks first whether to send is told by the answer itself.
        let asks = headers.contains_key(header::EXPECT);
        if asks || declared(headers).is_some_and(|length| length > DISCARD) {
            return;
        }
        while self.bytes < DISCARD {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn body(parts: &[usize]) -> Body {
        let parts: Vec<_> =
            parts.iter().map(|size| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; *size]))).collect();
        Body::from_stream(stream::iter(parts))
    }

    #[tokio::test]
    async fn it_takes_bodies_up_to_a_limit_and_counts_their_memory() {
        let bodies = Bodies::default();
        let none = HeaderMap::new();
        for (parts, most, size) in [
            (&[][..], 10, Some(0)),
            (&[10], 10, Some(10)),
            (&[4, 6], 10, Some(10)),
            (&[4, 7], 10, None),
            (&[11], 10, None),
        ] {
            let collected = bodies.collect(&none, body(parts), most).await;
            assert_eq!(collected.as_ref().ok().map(|body| body.bytes.len()), size, "{parts:?}");
        }
        let held = bodies.collect(&none, body(&[BODIES_KIB << 10]), usize::MAX).await.unwrap();
        let refused = bodies.collect(&none, body(&[1]), 10).await.unwrap_err();
        assert_eq!(refused.body().code, Code::Overloaded);
        drop(held);
        assert!(bodies.collect(&none, body(&[1]), 10).await.is_ok());
    }

    #[test]
    fn it_gives_time_for_what_has_come() {
        let pace = BODY_PACE;
        for (bytes, seconds) in [(0, 9), (1, 9), (16 << 10, 10), (16 << 20, 1_033)] {
            assert_eq!(pace.allowed(bytes).as_secs(), seconds, "{bytes}");
        }
    }

    #[tokio::test]
    async fn it_cuts_a_body_that_drips() {
        let drip = Body::from_stream(stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        }));
        let bodies =
            Bodies { pace: Pace { grace: Duration::from_millis(50), ..BODY_PACE }, ..Bodies::default() };
        let cut = bodies.collect(&HeaderMap::new(), drip, 1 << 20).await.unwrap_err();
        assert_eq!(cut.body().code, Code::Timeout);
    }
}
