//! Group commit: one fdatasync for all that was written since the last, and only then the acknowledgements.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::disk::DiskFile;

/// What nobody waits for is synced after this time at the latest.
const LAZY: Duration = Duration::from_millis(500);

/// Called once: whether what came before its mark is on stable storage.
pub(crate) type Waiter = Box<dyn FnOnce(bool) + Send>;

struct State {
    /// Bytes written, over all segments since the start.
    written: u64,
    synced: u64,
    file: Arc<dyn DiskFile>,
    /// A segment of backfill that was written to. It is synced first: what is synced in the other file names what lies in it.
    backfill: Option<Arc<dyn DiskFile>>,
    waiters: VecDeque<(u64, Waiter)>,
    failed: Option<String>,
    stopped: bool,
    dirty_since: Option<Instant>,
    count: u64,
}

/// The group commit.
pub(crate) struct GroupCommit {
    state: Mutex<State>,
    /// One fdatasync at a time: the kernel tells of a failure once, and whoever hears of it must stop all others.
    one: Mutex<()>,
    wake: Condvar,
}

impl std::fmt::Debug for GroupCommit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupCommit").field("written", &self.lock().written).finish_non_exhaustive()
    }
}

impl GroupCommit {
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> Self {
        let state = State {
            written: 0,
            synced: 0,
            file,
            backfill: None,
            waiters: VecDeque::new(),
            failed: None,
            stopped: false,
            dirty_since: None,
            count: 0,
        };
        Self { state: Mutex::new(state), one: Mutex::new(()), wake: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes were handed to the operating system.
    pub(crate) fn wrote(&self, bytes: u64) {
        let mut state = self.lock();
        state.written += bytes;
        state.dirty_since.get_or_insert_with(Instant::now);
    }

    /// A segment of backfill was written to; what names it in the arrival order is written behind it.
    pub(crate) fn wrote_backfill(&self, file: &Arc<dyn DiskFile>) {
        self.lock().backfill = Some(file.clone());
    }

    /// Bytes written that are not synced yet.
    pub(crate) fn unsynced(&self) -> u64 {
        let state = self.lock();
        state.written - state.synced
    }

    /// Calls `waiter` once all that was written before this call is synced, or cannot be any more.
    pub(crate) fn when_synced(&self, waiter: Waiter) {
        let mut state = self.lock();
        if state.failed.is_some() || state.stopped {
            drop(state);
            return waiter(false);
        }
        if state.synced == state.written {
            drop(state);
            return waiter(true);
        }
        let mark = state.written;
        state.waiters.push_back((mark, waiter));
        drop(state);
        self.wake.notify_one();
    }

    /// Why nothing is acknowledged any more.
    pub(crate) fn failure(&self) -> Option<String> {
        self.lock().failed.clone()
    }

    /// Says that the disk can no longer be trusted: whoever waits is told, and nothing is acknowledged any more.
    pub(crate) fn fail(&self, why: &str) {
        let mut state = self.lock();
        state.failed.get_or_insert_with(|| why.to_owned());
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        waiters.into_iter().for_each(|(_, waiter)| waiter(false));
    }

    /// How many fdatasyncs were made.
    pub(crate) fn count(&self) -> u64 {
        self.lock().count
    }

    /// Syncs all that was written, on this thread, and goes on in another file.
    pub(crate) fn roll(&self, file: Arc<dyn DiskFile>) {
        self.sync_now();
        self.lock().file = file;
    }

    /// Syncs all that was written, on this thread. Says whether it is stable.
    pub(crate) fn sync_now(&self) -> bool {
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        let (backfill, file, mark) = {
            let mut state = self.lock();
            state.dirty_since = None;
            (state.backfill.take(), state.file.clone(), state.written)
        };
        let result = backfill.map_or(Ok(()), |backfill| backfill.sync()).and_then(|()| file.sync());
        if let Err(error) = result {
            tracing::error!(%error, "Failed to sync; nothing is acknowledged any more");
            self.fail(&format!("fdatasync failed: {error}"));
            return false;
        }
        let mut state = self.lock();
        state.count += 1;
        if state.failed.is_some() {
            return false;
        }
        state.synced = state.synced.max(mark);
        let synced = state.synced;
        let ready = state.waiters.iter().take_while(|(mark, _)| *mark <= synced).count();
        let ready: Vec<_> = state.waiters.drain(..ready).collect();
        drop(state);
        ready.into_iter().for_each(|(_, waiter)| waiter(true));
        true
    }

    /// The thread that syncs: at once where somebody waits, else lazily.
    pub(crate) fn run(&self) {
        let mut state = self.lock();
        while !state.stopped {
            let aged = state.dirty_since.is_some_and(|since| since.elapsed() >= LAZY);
            if state.failed.is_none() && state.written > state.synced && (aged || !state.waiters.is_empty()) {
                drop(state);
                self.sync_now();
                state = self.lock();
            } else {
                state = self.wake.wait_timeout(state, LAZY).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Lets the thread end, after a last sync.
    pub(crate) fn stop(&self) {
        self.sync_now();
        self.lock().stopped = true;
        self.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::store::{Disk, Memory};

    #[test]
    fn it_makes_a_file_stable_before_it_goes_on_in_another() {
        let disk = Memory::default();
        let (one, two) = (disk.open("one").unwrap(), disk.open("two").unwrap());
        disk.sync_names().unwrap();
        let commit = GroupCommit::new(one.clone());
        one.write_at(&[1; 600], 0).unwrap();
        commit.wrote(600);
        commit.roll(two.clone());
        two.write_at(&[2; 600], 0).unwrap();
        commit.wrote(600);
        let told = Arc::new(AtomicBool::new(false));
        let telling = told.clone();
        commit.when_synced(Box::new(move |stable| telling.store(stable, Ordering::SeqCst)));
        assert!(commit.sync_now() && told.load(Ordering::SeqCst));
        let after = disk.power_cut(&mut || 0);
        let mut bytes = [0; 600];
        after.open("one").unwrap().read_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [1; 600]);
    }
}
