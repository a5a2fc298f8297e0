//! What is on its way between publishers and the disk: bounded by bytes and by places in the writer's queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many commands wait for the writer at most.
pub(crate) const QUEUE: usize = 8_192;

/// What is in flight.
#[derive(Debug)]
pub(crate) struct InFlight {
    bytes: Level,
    queued: Level,
    room: Notify,
}

/// Something that fills up.
#[derive(Debug)]
struct Level {
    now: AtomicUsize,
    most: usize,
}

/// A share of the bytes in flight; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Hold {
    bytes: usize,
    of: Arc<InFlight>,
}

/// A place in the writer's queue; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Queued(Arc<InFlight>);

impl Level {
    fn new(most: usize) -> Self {
        Self { now: AtomicUsize::new(0), most }
    }

    fn is_low(&self) -> bool {
        self.now.load(Ordering::SeqCst) <= self.most / 2
    }

    /// Takes so much, unless it would overflow. A lone one always fits.
    fn rise(&self, by: usize) -> bool {
        let fits = |now: usize| (now == 0 || now + by <= self.most).then_some(now + by);
        self.now.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok()
    }

    /// Gives so much back. Says whether it became low by that.
    fn fall(&self, by: usize) -> bool {
        let before = self.now.fetch_sub(by, Ordering::SeqCst);
        before > self.most / 2 && before - by <= self.most / 2
    }
}

impl InFlight {
    /// Nothing is in flight; at most so many bytes may be.
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self { bytes: Level::new(most_bytes), queued: Level::new(QUEUE), room: Notify::new() }
    }

    /// Takes a share of the bytes, unless too many are in flight. A lone publish always fits.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<Hold> {
        self.bytes.rise(bytes).then(|| Hold { bytes, of: self.clone() })
    }

    /// Takes a place in the queue, unless all are taken.
    pub(crate) fn queue(self: &Arc<Self>) -> Option<Queued> {
        self.queued.rise(1).then(|| Queued(self.clone()))
    }

    /// Bytes in flight.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.now.load(Ordering::Relaxed)
    }

    /// Waits until half of all is free, so that another try is worth while.
    pub(crate) async fn room(&self) {
        loop {
            // It hears of room from here on, before it looks.
            let freed = self.room.notified();
            if self.bytes.is_low() && self.queued.is_low() {
                return;
            }
            freed.await;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.of.bytes.fall(self.bytes) {
            self.of.room.notify_waiters();
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if self.0.queued.fall(1) {
            self.0.room.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn is_ready(room: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        room.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn it_takes_a_lone_one_however_big_and_then_no_more_than_fits() {
        let flight = Arc::new(InFlight::new(100));
        let lone = flight.take(1_000);
        assert!(lone.is_some() && flight.take(1).is_none());
        drop(lone);
        let (one, two) = (flight.take(60), flight.take(40));
        assert!(one.is_some() && two.is_some() && flight.take(1).is_none());
        assert_eq!(flight.bytes(), 100, "what was refused holds nothing");
    }

    #[test]
    fn it_wakes_who_waits_once_half_is_free() {
        let flight = Arc::new(InFlight::new(100));
        let mut holds: Vec<Hold> = (0..10).filter_map(|_| flight.take(10)).collect();
        let mut places: Vec<Queued> = (0..QUEUE).filter_map(|_| flight.queue()).collect();
        assert!(flight.queue().is_none());
        let mut room = pin!(flight.room());
        assert!(!is_ready(room.as_mut()));
        holds.truncate(5);
        assert!(!is_ready(room.as_mut()), "the queue is still full");
        places.truncate(QUEUE / 2 + 1);
        assert!(!is_ready(room.as_mut()));
        places.truncate(QUEUE / 2);
        assert!(is_ready(room));
    }
}
