//! What a store is told at its start.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anode_shared::ids::{LogKey, Origin, RecordId};
use anode_shared::time::Micros;

use super::archiving::{Archiver, NoArchive};

/// How a store works. The defaults run.
#[derive(Clone)]
pub struct StoreOptions {
    /// The network that own batches name, and foreign ones must.
    pub network: String,
    /// In how many bits of SHA-256(topic) the topics of a shard agree: the network's, at most 6.
    pub shard_bits: u8,
    /// Records older than this are dropped.
    pub retain_age: Duration,
    /// The oldest records are dropped above this.
    pub retain_bytes: u64,
    /// Publishes are refused while the disk has less room than this.
    pub reserve_disk: u64,
    /// A segment is sealed at this size.
    pub segment_bytes: u64,
    /// How long a batch waits for its predecessor.
    pub jump_after: Duration,
    /// How long a reader waits for a range that somebody might have.
    pub gap_after: Duration,
    /// The most bytes of records that are in flight between publishers and the disk.
    pub in_flight_bytes: usize,
    /// The most bytes of the newest batches that are kept in memory; a reader further behind reads storage.
    pub tail_bytes: usize,
    /// The most logs that are known; from a sixteenth on, new ones are taken up only of origins that the mesh knows.
    pub most_logs: usize,
    /// The archive, which may still want what retention would drop.
    pub archiver: Arc<dyn Archiver>,
    /// Gives the time.
    pub clock: Arc<dyn Fn() -> Micros + Send + Sync>,
    /// Gives the moment by which it measures how long something is waited for.
    pub moment: Arc<dyn Fn() -> Instant + Send + Sync>,
    /// Gives random numbers, for what must differ from start to start.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            network: "local".to_owned(),
            shard_bits: 0,
            retain_age: Duration::from_secs(7 * 86_400),
            retain_bytes: 10 << 30,
            reserve_disk: 1 << 30,
            segment_bytes: 64 << 20,
            jump_after: Duration::from_secs(1),
            gap_after: Duration::from_secs(30),
            in_flight_bytes: 32 << 20,
            tail_bytes: 16 << 20,
            most_logs: 65_536,
            archiver: Arc::new(NoArchive),
            clock: Arc::new(system_time),
            moment: Arc::new(Instant::now),
            random: Arc::new(rand::random::<u64>),
        }
    }
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreOptions").field("network", &self.network).finish_non_exhaustive()
    }
}

/// Microseconds since the Unix epoch, as the operating system says.
pub fn system_time() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(anode_shared::time::MAX)
}

/// Who else could have what this store has not. The mesh answers it; without one nobody does.
pub trait Holders: std::fmt::Debug + Send + Sync {
    /// Whether somebody who is there may have some of the range, so that waiting for repair is worth while.
    fn may_have(&self, log: LogKey, from: u64, to: u64) -> bool;

    /// The first and the last seq of a range that somebody who is there says it has, or may yet say so.
    fn ends_of(&self, log: LogKey, from: u64, to: u64) -> Option<(u64, u64)> {
        self.may_have(log, from, to).then_some((from, to))
    }

    /// The first of them.
    fn first_of(&self, log: LogKey, from: u64, to: u64) -> Option<u64> {
        self.ends_of(log, from, to).map(|(first, _)| first)
    }

    /// The last of them.
    fn last_of(&self, log: LogKey, from: u64, to: u64) -> Option<u64> {
        self.ends_of(log, from, to).map(|(_, last)| last)
    }

    /// Whether the node that made a log is away and may yet be here again with all of it: what is missing is late then, not lost.
    fn awaits(&self, _log: LogKey) -> bool {
        false
    }

    /// Below which seq a log's origin itself says that it has dropped everything.
    fn floor(&self, _log: LogKey) -> u64 {
        1
    }

    /// Whether the mesh knows an origin: it is connected, or spoke lately.
    fn knows(&self, _origin: Origin) -> bool {
        true
    }

    /// Whether anybody is there who keeps copies.
    fn any(&self) -> bool {
        false
    }

    /// Says, once it is so, that another node holds these records on stable storage; or that none does in time.
    fn replicated(&self, _ids: &[RecordId]) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        Box::pin(std::future::ready(false))
    }
}

/// Nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Holders for Nobody {
    fn may_have(&self, _: LogKey, _: u64, _: u64) -> bool {
        false
    }
}
