//! Reading from storage for requests: off the runtime's threads, few at a time, and with bounded memory for what they found.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::App;
use super::problem::{Code, Problem};
use crate::store::Store;

/// How many requests read at a time: each may hold 16 MiB of batches, and more would only share the same disk and cores.
const READERS: usize = 4;
/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// Memory for answers that clients have not taken yet, in KiB.
const ANSWERS_KIB: usize = 128 << 10;

/// The turns of requests that read from storage.
#[derive(Debug, Clone)]
pub(super) struct Readers(Arc<Semaphore>);

impl Default for Readers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(READERS)))
    }
}

impl App {
    /// Reads from the store on a blocking thread, when it is this request's turn.
    pub(super) async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let Ok(Ok(turn)) = timeout(TURN, Arc::clone(&self.readers.0).acquire_owned()).await else {
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

/// The memory of large answers.
#[derive(Debug, Clone)]
pub(super) struct Answers(Arc<Semaphore>);

impl Default for Answers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ANSWERS_KIB)))
    }
}

/// An answer's bytes with the room that they take until they are sent.
struct Held {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Answers {
    /// Counts an answer's memory until it is sent.
    pub(super) fn hold(&self, bytes: Vec<u8>) -> Result<Bytes, Problem> {
        let kib = u32::try_from(bytes.capacity().div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.0)
            .try_acquire_many_owned(kib)
            .map_err(|_| busy("the node holds as many answers as it may that clients have not taken yet"))?;
        Ok(Bytes::from_owner(Held { bytes, _room: room }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_answers_until_they_are_sent() {
        let answers = Answers::default();
        let large = answers.hold(vec![0; ANSWERS_KIB << 10]).unwrap();
        assert_eq!(answers.hold(vec![0; 1]).unwrap_err().body().code, Code::Overloaded);
        let part = large.slice(1..);
        drop(large);
        assert!(answers.hold(vec![0; 1]).is_err());
        drop(part);
        assert_eq!(answers.hold(vec![7; 3]).unwrap(), Bytes::from(vec![7; 3]));
    }
}
