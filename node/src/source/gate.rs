//! Keeps sources from connecting all at once, after a start or when a host comes back.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many may connect at once: TLS handshakes cost a millisecond of CPU each.
const ALL: usize = 64;
/// How many of them to one host: what a small upstream takes without turning clients away.
const HOST: usize = 16;
/// How long an attempt keeps others waiting: an upstream that hangs must not hold up those that answer.
const HOLD: Duration = Duration::from_millis(500);
/// Hosts that are remembered before those that nobody uses are forgotten.
const SWEEP: usize = 1_024;

/// Lets a bounded number of attempts in.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    all: Arc<Semaphore>,
    hosts: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL)), hosts: Arc::default() }
    }
}

impl Gate {
    /// Makes an attempt to reach a host once there is room. One that takes long makes room before it ends.
    pub(super) async fn pass<T>(&self, host: &str, attempt: impl Future<Output = T>) -> T {
        let permits = (self.enter(self.host(host)).await, self.enter(Arc::clone(&self.all)).await);
        tokio::pin!(attempt);
        tokio::select! {
            result = &mut attempt => return result,
            () = tokio::time::sleep(HOLD) => drop(permits),
        }
        attempt.await
    }

    async fn enter(&self, room: Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        room.acquire_owned().await.ok()
    }

    fn host(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = hosts.get(host).and_then(Weak::upgrade) {
            return room;
        }
        if hosts.len() >= SWEEP {
            hosts.retain(|_, room| room.strong_count() > 0);
        }
        let room = Arc::new(Semaphore::new(HOST));
        hosts.insert(host.to_owned(), Arc::downgrade(&room));
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use tokio::time::Instant;

    #[tokio::test]
    async fn it_bounds_attempts_by_host_and_in_all() {
        let gate = Gate::default();
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let attempt = async || {
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::time::sleep(Duration::from_millis(2)).await;
            now.fetch_sub(1, SeqCst);
        };
        let one = (0..200).map(|_| gate.pass("a", attempt()));
        futures_util::future::join_all(one).await;
        assert_eq!(most.swap(0, SeqCst), HOST);
        let hosts: Vec<String> = (0..20).map(|host| host.to_string()).collect();
        let many =
            hosts.iter().flat_map(|host| (0..20).map(move |_| host)).map(|host| gate.pass(host, attempt()));
        futures_util::future::join_all(many).await;
        assert_eq!(most.load(SeqCst), ALL);
        assert!(gate.all.available_permits() == ALL);
    }

    #[tokio::test]
    async fn it_lets_others_pass_those_that_hang() {
        let gate = Gate::default();
        let began = Instant::now();
        let hanging = (0..HOST).map(|_| gate.pass("a", tokio::time::sleep(Duration::from_secs(60))));
        let hanging = futures_util::future::join_all(hanging);
        let passed = async {
            tokio::task::yield_now().await;
            gate.pass("a", async {}).await;
            began.elapsed()
        };
        tokio::select! {
            _ = hanging => panic!("they hang"),
            took = passed => assert!(took >= HOLD && took < HOLD * 4, "{took:?}"),
        }
    }
}
