//! Who is connected, and what was delivered.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anode_shared::status::SubscriberStatus;
use anode_shared::time::{Micros, to_rfc3339};
use prometheus_client::metrics::histogram::Histogram;

use super::start::Subscription;
use crate::store::Lag;

/// A rate is an average over about a minute, in pieces of this length.
const PIECE: Duration = Duration::from_secs(10);
/// How many pieces are kept.
const PIECES: usize = 6;

/// Upper ends of the buckets for acks, in seconds: from a disk with a battery to one that barely answers.
pub const ACK_SECONDS: [f64; 12] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0];

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client left.
    Left,
    /// The node is ending.
    Shutdown,
    /// The client sent what is not allowed.
    Policy,
    /// The client sent too much at once.
    TooBig,
    /// Nothing was accepted for too long.
    Stalled,
    /// The node could not go on.
    Failed,
}

impl Ended {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Left, Self::Shutdown, Self::Policy, Self::TooBig, Self::Stalled, Self::Failed];

    /// The word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Shutdown => "shutdown",
            Self::Policy => "policy",
            Self::TooBig => "too_big",
            Self::Stalled => "stalled",
            Self::Failed => "failed",
        }
    }
}

/// Counters over all connections of this run.
#[derive(Debug)]
pub struct Totals {
    /// Records sent.
    pub records: AtomicU64,
    /// Bytes of records sent.
    pub bytes: AtomicU64,
    /// Gap frames sent.
    pub gaps: AtomicU64,
    /// Records on which a filter erred.
    pub filter_errors: AtomicU64,
    /// Records taken over sockets.
    pub published: AtomicU64,
    /// Records refused over sockets.
    pub refused: AtomicU64,
    /// From the store's taking records to their answer.
    pub acks: Histogram,
    ended: [AtomicU64; Ended::ALL.len()],
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            records: AtomicU64::default(),
            bytes: AtomicU64::default(),
            gaps: AtomicU64::default(),
            filter_errors: AtomicU64::default(),
            published: AtomicU64::default(),
            refused: AtomicU64::default(),
            acks: Histogram::new(ACK_SECONDS),
            ended: Default::default(),
        }
    }
}

impl Totals {
    /// Counts what became of one record that was sent over a socket.
    pub fn count_one<T, E>(&self, taken: &Result<T, E>, took: Duration) {
        if taken.is_ok() {
            self.published.fetch_add(1, Ordering::Relaxed);
            self.acks.observe(took.as_secs_f64());
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a connection's end.
    pub fn count_end(&self, ended: Ended) {
        self.ended[ended as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many connections ended so.
    pub fn ended(&self, ended: Ended) -> u64 {
        self.ended[ended as usize].load(Ordering::Relaxed)
    }
}

/// One subscriber as others see it.
#[derive(Debug)]
pub struct Entry {
    id: u64,
    kind: &'static str,
    since: Micros,
    address: SocketAddr,
    wanted: Mutex<(Vec<String>, Option<String>)>,
    records: AtomicU64,
    bytes: AtomicU64,
    /// The arrival up to which all was sent, and the logs that were owed beside it.
    position: AtomicU64,
    owed: AtomicU64,
    rate: Mutex<Rate>,
}

#[derive(Debug)]
struct Rate {
    pieces: VecDeque<(Instant, u64)>,
}

impl Rate {
    fn add(&mut self, records: u64, now: Instant) {
        match self.pieces.back_mut() {
            Some((begun, count)) if now < *begun + PIECE => *count += records,
            _ => self.pieces.push_back((now, records)),
        }
        if self.pieces.len() > PIECES + 1 {
            self.pieces.pop_front();
        }
    }

    fn per_second(&self, now: Instant) -> f64 {
        let window = PIECE * u32::try_from(PIECES).unwrap_or(6);
        let fresh = self.pieces.iter().filter(|(begun, _)| now < *begun + window);
        let (oldest, count) =
            fresh.fold((now, 0), |(oldest, sum), (begun, count)| (oldest.min(*begun), sum + count));
        // Less than a second says nothing about a rate.
        count as f64 / now.duration_since(oldest).as_secs_f64().max(1.0)
    }
}

impl Entry {
    /// Counts what was sent in one go, and where the reader stands after it.
    pub fn sent(&self, records: u64, bytes: u64, stands: Lag, now: Instant) {
        self.position.store(stands.position, Ordering::Relaxed);
        self.owed.store(stands.owed_logs as u64, Ordering::Relaxed);
        if records > 0 {
            self.records.fetch_add(records, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            lock(&self.rate).add(records, now);
        }
    }

    /// Says that it follows something else now.
    pub fn follows(&self, wanted: &Subscription) {
        *lock(&self.wanted) = words(wanted);
    }

    /// How far it is behind: it grows while nothing can be sent.
    fn lag(&self, newest: u64) -> u64 {
        newest.saturating_sub(self.position.load(Ordering::Relaxed)).max(self.owed.load(Ordering::Relaxed))
    }

    fn status(&self, admin: bool, newest: u64, now: Instant) -> SubscriberStatus {
        let (topics, filter) = lock(&self.wanted).clone();
        SubscriberStatus {
            id: self.id,
            kind: self.kind.to_owned(),
            topics,
            since: to_rfc3339(self.since),
            records: self.records.load(Ordering::Relaxed),
            rate: lock(&self.rate).per_second(now),
            lag: self.lag(newest),
            bytes: self.bytes.load(Ordering::Relaxed),
            address: admin.then(|| self.address.to_string()),
            filter: filter.filter(|_| admin),
        }
    }
}

fn words(wanted: &Subscription) -> (Vec<String>, Option<String>) {
    let patterns = wanted.patterns.iter().map(ToString::to_string).collect();
    (patterns, wanted.filter.as_ref().map(|filter| filter.text().to_owned()))
}

/// All subscribers.
#[derive(Debug, Default)]
pub struct Registry {
    next: AtomicU64,
    entries: Mutex<BTreeMap<u64, Arc<Entry>>>,
}

/// A subscriber's place in the registry, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    registry: Arc<Registry>,
    entry: Arc<Entry>,
}

impl std::ops::Deref for Seat {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.registry.entries).remove(&self.entry.id);
    }
}

impl Registry {
    /// Takes a subscriber in; `None` where there are `most` already.
    pub fn enter(
        self: &Arc<Self>,
        kind: &'static str,
        wanted: &Subscription,
        address: SocketAddr,
        now: Micros,
        newest: u64,
        most: usize,
    ) -> Option<Seat> {
        let mut entries = lock(&self.entries);
        if entries.len() >= most {
            return None;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let entry = Arc::new(Entry {
            id,
            kind,
            since: now,
            address,
            wanted: Mutex::new(words(wanted)),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            position: AtomicU64::new(newest),
            owed: AtomicU64::new(0),
            rate: Mutex::new(Rate { pieces: VecDeque::new() }),
        });
        entries.insert(id, Arc::clone(&entry));
        drop(entries);
        Some(Seat { registry: Arc::clone(self), entry })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.entries).len()
    }

    /// How far the last of them is behind, in arrivals.
    pub fn most_lag(&self, newest: u64) -> u64 {
        lock(&self.entries).values().map(|entry| entry.lag(newest)).max().unwrap_or(0)
    }

    /// Each of them.
    pub fn list(&self, admin: bool, newest: u64, now: Instant) -> Vec<SubscriberStatus> {
        let entries: Vec<_> = lock(&self.entries).values().cloned().collect();
        entries.iter().map(|entry| entry.status(admin, newest, now)).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_averages_over_about_a_minute() {
        let start = Instant::now();
        let mut rate = Rate { pieces: VecDeque::new() };
        for second in 0..120 {
            rate.add(100, start + Duration::from_secs(second));
        }
        let after = rate.per_second(start + Duration::from_secs(120));
        assert!((90.0..=110.0).contains(&after), "{after}");
        assert!(rate.per_second(start + Duration::from_secs(300)).abs() < f64::EPSILON);
    }

    #[test]
    fn it_takes_in_only_so_many_and_forgets_who_left() {
        let registry = Arc::new(Registry::default());
        let wanted = Subscription::new(&["a.*"], Some("payload.x > 1"), None).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        let seat = registry.enter("sse", &wanted, address, 0, 7, 1).unwrap();
        assert!(registry.enter("sse", &wanted, address, 0, 7, 1).is_none());
        seat.sent(2, 100, Lag { position: 7, ..Lag::default() }, Instant::now());
        let open = &registry.list(false, 12, Instant::now())[0];
        assert_eq!(
            (open.records, open.bytes, open.lag, &open.address, &open.filter),
            (2, 100, 5, &None, &None)
        );
        let all = &registry.list(true, 12, Instant::now())[0];
        assert_eq!(all.filter.as_deref(), Some("payload.x > 1"));
        assert_eq!((all.topics[0].as_str(), registry.most_lag(12)), ("a.*", 5));
        drop(seat);
        assert_eq!(registry.count(), 0);
    }
}
