//! Reading from storage for requests: off the runtime's threads, few at a time, and with bounded memory for what they found.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::App;
use super::limits::{ANSWER_PACE, Pace};
use super::problem::{Code, Problem};
use crate::store::Store;

/// How many requests read at a time: each may hold 16 MiB of batches, and more would only share the same disk and cores.
const READERS: usize = 4;
/// How many of those judge records by a filter, which may match none of all that is stored.
const JUDGES: usize = 2;
/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// Memory for answers that clients have not taken yet, in KiB.
const ANSWERS_KIB: usize = 128 << 10;

/// The turns of requests that read from storage.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    all: Arc<Semaphore>,
    judges: Arc<Semaphore>,
}

impl Default for Readers {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(READERS)), judges: Arc::new(Semaphore::new(JUDGES)) }
    }
}

impl Readers {
    /// A turn for one that judges records by a filter or not, or none in time.
    async fn turn(&self, judging: bool) -> Option<[Option<OwnedSemaphorePermit>; 2]> {
        let turns = async {
            // First among its like, so that those who wait hold back nobody else.
            let judge =
                if judging { Some(Arc::clone(&self.judges).acquire_owned().await.ok()?) } else { None };
            Some([judge, Some(Arc::clone(&self.all).acquire_owned().await.ok()?)])
        };
        timeout(TURN, turns).await.ok().flatten()
    }
}

impl App {
    /// Reads from the store on a blocking thread, when it is this request's turn.
    pub(super) async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        self.read(false, read).await
    }

    /// The same; `judging` says that a filter may look through all that is stored.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        judging: bool,
        read: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let Some(turn) = self.readers.turn(judging).await else {
            return Err(busy("as many requests read from storage as the node lets at a time"));
        };
        let store = self.store.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            read(&store)
        });
        reading.await.map_err(|error| Problem::internal(&error))
    }
}

fn busy(why: &str) -> Problem {
    Problem::new(Code::Overloaded, format!("{why}; ask again as Retry-After says"))
}

/// The memory of large answers, and the pace at which they must be taken.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    room: Arc<Semaphore>,
    pace: Pace,
}

impl Default for Answers {
    fn default() -> Self {
        Self::new(ANSWER_PACE)
    }
}

/// An answer's bytes with the room that they take until they are sent.
struct Held {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
    _sent: DropGuard,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// By when an answer must have been taken; goes to the connection with it.
#[derive(Debug, Clone)]
pub(super) struct Due {
    sent: CancellationToken,
    allowed: Duration,
}

impl Due {
    /// Cuts the connection once it is late.
    pub(super) async fn watch(self, cut: CancellationToken) {
        if timeout(self.allowed, self.sent.cancelled()).await.is_err() {
            cut.cancel();
        }
    }
}

impl Answers {
    /// Answers that must be taken at this pace.
    pub(super) fn new(pace: Pace) -> Self {
        Self { room: Arc::new(Semaphore::new(ANSWERS_KIB)), pace }
    }

    /// An answer of JSON whose memory is counted until it is sent.
    pub(super) fn json(&self, bytes: Vec<u8>) -> Result<Response, Problem> {
        let sent = CancellationToken::new();
        let due = Due { sent: sent.clone(), allowed: self.pace.allowed(bytes.len() as u64) };
        let mut response = json(self.hold(bytes, sent)?);
        response.extensions_mut().insert(due);
        Ok(response)
    }

    /// The bytes of an answer that goes out otherwise, counted until they are sent.
    pub(super) fn keep(&self, bytes: Vec<u8>) -> Result<Bytes, Problem> {
        self.hold(bytes, CancellationToken::new())
    }

    fn hold(&self, bytes: Vec<u8>, sent: CancellationToken) -> Result<Bytes, Problem> {
        let kib = u32::try_from(bytes.capacity().div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(kib)
            .map_err(|_| busy("the node holds as many answers as it may that clients have not taken yet"))?;
        Ok(Bytes::from_owner(Held { bytes, _room: room, _sent: sent.drop_guard() }))
    }

    /// How many bytes it still takes.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.room.available_permits() << 10
    }
}

/// An answer of JSON that was written by hand.
pub(super) fn json(body: impl Into<Bytes>) -> Response {
    let mut response = body.into().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_lets_filters_hold_back_only_each_other() {
        let readers = Readers::default();
        let judging = [readers.turn(true).await.unwrap(), readers.turn(true).await.unwrap()];
        let mut waiting: Vec<_> = (0..9).map(|_| Box::pin(readers.turn(true))).collect();
        for turn in &mut waiting {
            assert!(futures_util::poll!(turn.as_mut()).is_pending());
        }
        let plain = [readers.turn(false).await, readers.turn(false).await];
        assert!(plain.iter().all(Option::is_some));
        let mut fifth = Box::pin(readers.turn(false));
        assert!(futures_util::poll!(fifth.as_mut()).is_pending(), "more than {READERS} read");
        drop((judging, plain));
        assert!(fifth.await.is_some());
    }

    #[test]
    fn it_counts_answers_until_they_are_sent() {
        let answers = Answers::default();
        let hold = |bytes| answers.hold(bytes, CancellationToken::new());
        let large = hold(vec![0; ANSWERS_KIB << 10]).unwrap();
        assert_eq!(hold(vec![0; 1]).unwrap_err().body().code, Code::Overloaded);
        let part = large.slice(1..);
        drop(large);
        assert!(hold(vec![0; 1]).is_err());
        drop(part);
        assert_eq!(hold(vec![7; 3]).unwrap(), Bytes::from(vec![7; 3]));
    }
}
