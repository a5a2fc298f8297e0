//! One node: a disk that stays, and lives that come and go on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use anode_shared::beacon::{Beacon, OwnHead};
use anode_shared::ids::{LogKey, Origin, RecordId};
use anode_shared::time::Micros;
use anode_shared::topic::Topics;
use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::account::Account;
use crate::gossip::dice::Dice;
use crate::gossip::presence::tests::plain;
use crate::gossip::repair::Flaw;
use crate::gossip::repair::Repair;
use crate::gossip::sim::world::EPOCH;
use crate::gossip::spans::Span;
use crate::store::driven::Driven;
use crate::store::{
    Disk, DiskFile, Holders, Item, Memory, Publishing, Reader, Start, Store, StoreOptions, Then,
};

/// The one true time.
#[derive(Debug)]
pub(super) struct Time {
    start: Instant,
    millis: AtomicU64,
}

impl Time {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), millis: AtomicU64::new(0) })
    }

    pub(super) fn set(&self, millis: u64) {
        self.millis.store(millis, Ordering::SeqCst);
    }

    pub(super) fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.millis.load(Ordering::SeqCst))
    }

    fn wall(&self, skew: i64) -> Micros {
        (EPOCH + self.millis.load(Ordering::SeqCst) * 1_000).saturating_add_signed(skew)
    }
}

/// What does not do its work, to see that stories notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// Disks say that they synced, and did not.
    LyingDisk,
    /// What readers find damaged is not asked for again.
    DamageForgotten,
    /// The planner breaks a rule.
    Planner(Flaw),
}

/// A disk that syncs nothing.
#[derive(Debug)]
struct Lying(Memory);

#[derive(Debug)]
struct LyingFile(Arc<dyn DiskFile>);

impl Disk for Lying {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(LyingFile(self.0.open(name)?)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.0.sync_names()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.0.free_bytes()
    }
}

impl DiskFile for LyingFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// How long a node keeps records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention {
    All,
    /// Microseconds.
    Age(Micros),
    Bytes(u64),
}

/// Who could have what a store has not: its node's planner knows.
#[derive(Debug)]
struct Known(Arc<Mutex<Repair>>, Arc<Time>);

impl Known {
    fn first(&self, log: LogKey, from: u64, to: u64) -> Option<u64> {
        let repair = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        repair.first_of(log, Span::new(from, to)?, self.1.now())
    }
}

impl Holders for Known {
    fn may_have(&self, log: LogKey, from: u64, to: u64) -> bool {
        self.first(log, from, to).is_some()
    }

    fn first_of(&self, log: LogKey, from: u64, to: u64) -> Option<u64> {
        self.first(log, from, to)
    }

    fn floor(&self, log: LogKey) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).origins_floor(log)
    }
}

/// What a node is between a start and a crash.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) store: Store,
    pub(super) driven: Driven,
    pub(super) repair: Arc<Mutex<Repair>>,
    pub(super) readers: Vec<Account>,
    /// The own batches, for gossip.
    outbound: Reader,
    /// Records that are not acknowledged yet, with their payloads, and the moment of their publishing.
    pub(super) publishing: Vec<(Publishing, Vec<Bytes>, u64)>,
    pub(super) seen: BTreeSet<Bytes>,
    pub(super) beacons: BTreeMap<Origin, u64>,
    /// Whom the planner takes for linked.
    pub(super) connected: BTreeSet<usize>,
    sequence: u64,
    pub(super) next_beacon: u64,
}

impl Life {
    /// Whether the store gives a record of its own. What it dropped it would wait for, in case a peer lends it.
    pub(super) fn holds(&self, id: RecordId) -> bool {
        self.store.log(id.key).is_some_and(|log| log.floor <= id.seq) && self.store.record(&id).is_ok()
    }

    /// The own batches since this was asked last.
    pub(super) fn own_batches(&mut self) -> Vec<Bytes> {
        let (own, mut batches) = (self.store.origin(), Vec::new());
        loop {
            let mut step = self.outbound.poll();
            if step.then == Then::Blocking {
                step.items.extend(self.outbound.poll_storage().items);
            }
            for item in step.items {
                let Item::Records(slice) = item else { continue };
                if slice.batch().key().origin == own {
                    batches.push(slice.batch().bytes().clone());
                }
            }
            if matches!(step.then, Then::Live | Then::Until(_)) {
                return batches;
            }
        }
    }

    pub(super) fn beacon(&mut self, run: u64, time: Micros) -> Beacon {
        self.sequence += 1;
        let heads = self.store.own_heads().into_iter().map(|head| OwnHead {
            log: head.log,
            head: head.head,
            hash: head.hash.unwrap_or_default(),
            floor: head.floor,
        });
        let digest = self.repair.lock().unwrap().digest().whole();
        let (heads, sequence) = (heads.collect(), run << 32 | self.sequence);
        Beacon { run, sequence, time, heads, digest, ..plain(self.store.origin()) }
    }
}

#[derive(Debug)]
pub(super) struct Node {
    key: SigningKey,
    pub(super) me: Origin,
    pub(super) disk: Memory,
    pub(super) retention: Retention,
    skew: i64,
    shard_bits: u8,
    time: Arc<Time>,
    broken: Option<Break>,
    pub(super) lives: u64,
    pub(super) life: Option<Life>,
}

impl Node {
    pub(super) fn new(shard_bits: u8, time: &Arc<Time>, dice: &mut Dice, broken: Option<Break>) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&dice.roll().to_le_bytes());
        let key = SigningKey::from_bytes(&seed);
        let retention = match dice.below(6) {
            0 => Retention::Age(25_000_000),
            1 => Retention::Bytes(200_000 + dice.below(200_000)),
            _ => Retention::All,
        };
        let skew =
            if dice.below(5) == 0 { 8_000_000 + i64::try_from(dice.below(4_000_000)).unwrap() } else { 0 };
        Self {
            me: Origin(key.verifying_key().to_bytes()),
            key,
            disk: Memory::default(),
            retention,
            skew: if dice.below(2) == 0 { skew } else { -skew },
            shard_bits,
            time: time.clone(),
            broken,
            lives: 0,
            life: None,
        }
    }

    pub(super) fn wall(&self) -> Micros {
        self.time.wall(self.skew)
    }

    /// What its clock said at a moment, milliseconds.
    pub(super) fn wall_at(&self, millis: u64) -> Micros {
        (EPOCH + millis * 1_000).saturating_add_signed(self.skew)
    }

    fn options(&self, dice: &mut Dice) -> StoreOptions {
        let (time, skew) = (self.time.clone(), self.skew);
        let (now, random) = (self.time.clone(), Mutex::new(Dice::new(dice.roll())));
        let age = if let Retention::Age(micros) = self.retention { micros } else { 3_600_000_000 };
        StoreOptions {
            network: "sim".to_owned(),
            shard_bits: self.shard_bits,
            retain_age: Duration::from_micros(age),
            retain_bytes: if let Retention::Bytes(bytes) = self.retention { bytes } else { 1 << 30 },
            reserve_disk: 0,
            segment_bytes: 8_000 + dice.below(16_000),
            gap_after: Duration::from_secs(10),
            clock: Arc::new(move || time.wall(skew)),
            moment: Arc::new(move || now.now()),
            random: Arc::new(move || random.lock().unwrap().roll()),
            ..StoreOptions::default()
        }
    }

    /// Starts it on what its disk holds.
    pub(super) fn start(&mut self, dice: &mut Dice) {
        let mut repair = Repair::new(self.me, 64 << 20, dice.roll());
        repair.expect_shards(self.shard_bits);
        if let Some(Break::Planner(flaw)) = self.broken {
            repair.break_rule(Some(flaw));
        }
        let repair = Arc::new(Mutex::new(repair));
        let known = Arc::new(Known(repair.clone(), self.time.clone()));
        let disk: Arc<dyn Disk> = match self.broken {
            Some(Break::LyingDisk) => Arc::new(Lying(self.disk.clone())),
            _ => Arc::new(self.disk.clone()),
        };
        let (store, driven) = Driven::open(disk, self.options(dice), self.key.clone(), known).unwrap();
        let outbound = store.reader(&Start::Live, Topics::default(), &|_, _| true).unwrap();
        self.lives += 1;
        self.life = Some(Life {
            store,
            driven,
            repair,
            readers: Vec::new(),
            outbound,
            publishing: Vec::new(),
            seen: BTreeSet::new(),
            beacons: BTreeMap::new(),
            connected: BTreeSet::new(),
            sequence: 0,
            next_beacon: 0,
        });
    }

    /// Cuts its power: of what was not synced any sectors may be there and others not.
    pub(super) fn crash(&mut self, dice: &mut Dice) -> Option<Life> {
        let life = self.life.take()?;
        self.disk = self.disk.power_cut(&mut || dice.roll());
        Some(life)
    }
}

/// What a future gives, if it has it now.
pub(super) fn poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    match std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
