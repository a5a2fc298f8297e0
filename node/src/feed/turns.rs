//! Whose turn it is to read storage, and how much may be found there before it is sent.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::fault::{Code, Fault};

/// How many readers read storage at once: more would only take turns on the same disk and cores.
const READING: usize = 8;
/// How many of those look on for where they begin that did not find it in their first round. They take turns among
/// themselves, so that a thousand filters that match nothing hold back nobody else.
const SEARCHING: usize = 2;
/// How many ranges of records all readers together may be given first and have not read yet: some 56 MB.
const FIRST: u32 = 1 << 20;

/// How many readers may hold a step that was read ahead: some 2 MB each, and their clients may have stalled.
const AHEAD: usize = 32;

/// The turns of all readers of a node.
#[derive(Debug)]
pub struct Turns {
    reading: Arc<Semaphore>,
    searching: Arc<Semaphore>,
    first: Arc<Semaphore>,
    ahead: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            reading: Arc::new(Semaphore::new(READING)),
            searching: Arc::new(Semaphore::new(SEARCHING)),
            first: Arc::new(Semaphore::new(FIRST as usize)),
            ahead: Arc::new(Semaphore::new(AHEAD)),
        }
    }
}

/// What blocks, done elsewhere.
pub type Away<T> = Pin<Box<dyn Future<Output = Option<T>> + Send>>;

impl Turns {
    /// Reads storage on a thread that may block, when it is this reader's turn: a thousand replays take no thousand
    /// threads. None where the runtime goes down, or reading panicked.
    pub fn read<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Away<T> {
        elsewhere(Arc::clone(&self.reading), work)
    }

    /// The same for a reader that needs more than a round to find where it begins.
    pub fn search<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Away<T> {
        elsewhere(Arc::clone(&self.searching), work)
    }

    /// Room for a step that is read ahead, as long as there is any.
    pub fn ahead(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.ahead).try_acquire_owned().ok()
    }

    /// Room for what a reader is given first, until it was read.
    ///
    /// # Errors
    /// When others hold too much.
    pub fn hold(&self, ranges: usize) -> Result<Option<OwnedSemaphorePermit>, Fault> {
        if ranges == 0 {
            return Ok(None);
        }
        let full = || {
            let words = "the node holds as many records as it may for subscribers that began with last:N or latest; come back later";
            Fault::new(Code::Overloaded, words)
        };
        let ranges = u32::try_from(ranges).unwrap_or(u32::MAX).min(FIRST);
        Arc::clone(&self.first).try_acquire_many_owned(ranges).map(Some).map_err(|_| full())
    }
}

fn elsewhere<T: Send + 'static>(turns: Arc<Semaphore>, work: impl FnOnce() -> T + Send + 'static) -> Away<T> {
    Box::pin(async move {
        let turn = turns.acquire_owned().await.ok()?;
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        tokio::task::spawn_blocking(work).await.ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_only_so_much_for_all() {
        let turns = Turns::default();
        assert!(turns.hold(0).unwrap().is_none());
        let most = turns.hold(usize::MAX).unwrap();
        assert_eq!(turns.hold(1).unwrap_err().code, Code::Overloaded);
        drop(most);
        assert!(turns.hold(1).unwrap().is_some());
    }

    #[tokio::test]
    async fn it_lets_long_searches_hold_back_only_each_other() {
        let turns = Turns::default();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        let hog = || {
            let wait = Arc::clone(&wait);
            turns.search(move || _ = wait.lock().unwrap().recv())
        };
        let hogs = futures_util::future::join_all((0..READING + 1).map(|_| hog()));
        tokio::pin!(hogs);
        let reading = turns.read(|| 7);
        let read = tokio::select! {
            // They come first, and take all the turns that there are for them.
            biased;
            _ = hogs.as_mut() => None,
            read = tokio::time::timeout(std::time::Duration::from_secs(5), reading) => read.ok().flatten(),
        };
        assert_eq!(read, Some(7));
        drop(go);
        hogs.await;
    }
}
