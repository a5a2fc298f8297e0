//! What the mesh sees of the store: how each log is, what readers wait for, batches to hand out, and what peers prove.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anode_shared::batch::BatchError;
use anode_shared::ids::{Hash, LogId, LogKey, Origin, RecordId};
use anode_shared::publish::Ack;
use anode_shared::repair::{ForkProof, SignedHeader};
use anode_shared::time::Micros;
use bytes::Bytes;
use tokio::sync::Notify;

use super::Store;
use super::borrowed::Borrowed;
use super::loaded::Loaded;
use super::order::{Log, Order};
use super::replay::ForkEntry;
use super::writer::Command;

/// How long a reader's wish counts: a few of its looks.
const WISH: Duration = Duration::from_secs(2);
/// How long a publisher waits for a promise wider than its node's own disk: the contract's time.
const REACH: Duration = Duration::from_secs(10);
/// The most wishes that are remembered; of more readers that wait, some look again later.
const MOST_WISHES: usize = 4_096;
/// Of how many logs it is remembered how far they go elsewhere; of more, of the newest.
const MOST_HEARD: usize = 16_384;
/// Of how many logs the header is kept that proves the head: each takes some hundred bytes.
const MOST_HEADERS: usize = 4_096;

/// How a log is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogView {
    /// The newest seq that the arrival order has passed.
    pub head: u64,
    /// The highest seq that is stored, waiting batches included.
    pub held: u64,
    /// The oldest seq that is held or wanted.
    pub floor: u64,
    /// What is not stored between floor and `held`, rising, both ends inclusive.
    pub missing: Vec<(u64, u64)>,
    /// Where the log ends because it forked.
    pub forked: Option<u64>,
}

impl LogView {
    pub(super) fn of(log: &Log) -> Self {
        let waiting = log.waiting.values().map(|piece| (piece.first, piece.last));
        let held = waiting.clone().map(|(_, last)| last).max().unwrap_or(0).max(log.head);
        let mut missing = Vec::new();
        for (from, jump) in &log.jumps {
            missing.extend(jump.holes((*from).max(log.floor)));
        }
        let mut next = log.head + 1;
        for (first, last) in waiting {
            if first > next {
                missing.push((next, first - 1));
            }
            next = last + 1;
        }
        Self { head: log.head, held, floor: log.floor.max(1), missing, forked: log.forked }
    }
}

/// How far an own log reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnLogHead {
    /// The log.
    pub log: LogId,
    /// Its newest seq.
    pub head: u64,
    /// The hash of the header of the batch that ends there.
    pub hash: Option<Hash>,
    /// The oldest seq that is held.
    pub floor: u64,
}

/// A change of what the store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A log is otherwise now.
    Log(LogKey, LogView),
    /// All finished logs of an origin up to this one are forgotten.
    Forgotten(Origin, LogId),
    /// A log is not known any more; it may be taken up again.
    Gone(LogKey),
}

/// A range that a reader waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// The log.
    pub log: LogKey,
    /// The first seq.
    pub from: u64,
    /// The last seq.
    pub to: u64,
    /// Whether it is read from the last one down.
    pub newest_first: bool,
}

impl Wish {
    /// What tells it from others: readers that stand at the same place wish the same.
    fn place(&self) -> (LogKey, bool, u64) {
        (self.log, self.newest_first, if self.newest_first { self.to } else { self.from })
    }

    /// What both wish.
    fn join(&mut self, other: Self) {
        (self.from, self.to) = (self.from.min(other.from), self.to.max(other.to));
    }
}

/// Ranges that readers wait for, by where each stands.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    open: BTreeMap<(LogKey, bool, u64), (Wish, Instant)>,
    /// Told whenever there is a new one.
    pub(crate) wished: Arc<Notify>,
}

impl Wishes {
    /// A reader waits for a range, and reads it upwards.
    pub(crate) fn wish(&mut self, log: LogKey, from: u64, to: u64, now: Instant) {
        self.add(Wish { log, from, to, newest_first: false }, now);
    }

    /// A reader waits for something.
    pub(crate) fn add(&mut self, wish: Wish, now: Instant) {
        let new = !self.open.contains_key(&wish.place());
        if !new || self.open.len() < MOST_WISHES {
            let known = self.open.entry(wish.place()).or_insert((wish, now));
            known.0.join(wish);
            known.1 = now;
        }
        if new {
            self.wished.notify_one();
        }
    }

    /// Whether a reader waits for some of a range.
    pub(crate) fn has(&self, key: LogKey, from: u64, to: u64) -> bool {
        let all = self.open.range((key, false, 0)..=(key, true, u64::MAX));
        all.map(|(_, (wish, _))| wish).any(|wish| wish.from <= to && wish.to >= from)
    }

    /// What is wished for at present.
    pub(crate) fn open(&mut self, now: Instant) -> Vec<Wish> {
        self.open.retain(|_, (_, when)| now.saturating_duration_since(*when) < WISH);
        self.open.values().map(|(wish, _)| *wish).collect()
    }

    /// A reader that waited at `before` has that, and reads on: what follows is fetched while it is at work.
    pub(crate) fn go_on(&mut self, before: u64, wish: Wish, now: Instant) {
        self.open.remove(&(wish.log, wish.newest_first, before));
        if wish.from <= wish.to {
            self.add(wish, now);
        }
    }
}

/// Headers that prove heads: to find one takes a look into indexes and a read of its whole batch, and every newcomer asks for all.
#[derive(Debug, Default)]
struct Headers(BTreeMap<LogKey, (u64, SignedHeader)>);

impl Headers {
    fn get(&self, key: LogKey, seq: u64) -> Option<SignedHeader> {
        self.0.get(&key).filter(|(known, _)| *known == seq).map(|(_, header)| header.clone())
    }

    fn keep(&mut self, key: LogKey, seq: u64, header: &SignedHeader) {
        if self.0.len() >= MOST_HEADERS && !self.0.contains_key(&key) {
            // The oldest log is the least likely to be asked for.
            self.0.pop_first();
        }
        self.0.insert(key, (seq, header.clone()));
    }
}

/// What changed since the mesh looked last, and what it heard.
#[derive(Debug, Default)]
pub(crate) struct ForPeers {
    touched: BTreeSet<LogKey>,
    /// The same for the archive, where there is one.
    to_archive: Option<BTreeSet<LogKey>>,
    told: BTreeMap<Origin, LogId>,
    /// Logs that are not known any more.
    gone: BTreeSet<LogKey>,
    /// Headers that prove heads, as they were asked for last.
    headers: Headers,
    pub(crate) wishes: Wishes,
    /// What peers lent to them.
    pub(crate) borrowed: Borrowed,
    /// Proven heads of which the store may not have everything yet.
    pub(crate) heard: BTreeMap<LogKey, u64>,
}

impl ForPeers {
    /// All logs are news.
    pub(crate) fn new(order: &Order, archive: bool) -> Self {
        let all: BTreeSet<LogKey> = order.logs.keys().copied().collect();
        Self { to_archive: archive.then(|| all.clone()), touched: all, ..Self::default() }
    }

    /// A log changed.
    pub(crate) fn touch(&mut self, key: LogKey) {
        self.touched.insert(key);
        self.to_archive.iter_mut().for_each(|touched| _ = touched.insert(key));
    }

    /// A log is not known any more.
    pub(crate) fn forget(&mut self, key: LogKey) {
        self.gone.insert(key);
        self.heard.remove(&key);
    }

    /// The logs that changed since the archive asked last.
    pub(crate) fn touched_for_archive(&mut self) -> BTreeSet<LogKey> {
        self.to_archive.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

impl Store {
    /// How the logs are that changed since this was called last; all of them at first.
    pub fn changes(&self) -> Vec<Change> {
        let order = self.shared.order();
        let mut peers = self.shared.for_peers();
        let touched = std::mem::take(&mut peers.touched);
        peers.heard.retain(|key, head| order.logs.get(key).is_none_or(|log| log.head < *head));
        let views =
            touched.into_iter().filter_map(|key| Some(Change::Log(key, LogView::of(order.logs.get(&key)?))));
        let gone = std::mem::take(&mut peers.gone).into_iter().map(Change::Gone);
        let mut changes: Vec<Change> = gone.chain(views).collect();
        let marks = order.forgotten_origins();
        peers.told.retain(|origin, _| marks.contains_key(origin));
        for (origin, mark) in marks {
            if peers.told.insert(origin, mark) != Some(mark) {
                peers.heard.retain(|key, _| key.origin != origin || key.log > mark);
                changes.push(Change::Forgotten(origin, mark));
            }
        }
        changes
    }

    /// The own logs that hold anything, the newest last.
    pub fn own_heads(&self) -> Vec<OwnLogHead> {
        let order = self.shared.order();
        let own = order.logs.iter().filter(|(key, _)| key.origin == self.origin);
        let heads = own.filter(|(_, log)| log.head > 0).map(|(key, log)| OwnLogHead {
            log: key.log,
            head: log.head,
            hash: log.head_hash,
            floor: log.floor.max(1),
        });
        heads.collect()
    }

    /// Whether this start opened an own log.
    pub fn has_opened(&self, log: LogId) -> bool {
        self.shared.opened().contains(&log)
    }

    /// How a log is.
    pub fn log(&self, key: LogKey) -> Option<LogView> {
        self.shared.order().logs.get(&key).map(LogView::of)
    }

    /// Stored batches of a log whose last seq lies in a range, in order, at most so many bytes (but one at least), and whether
    /// there are more. Blocks.
    ///
    /// # Errors
    /// When storage cannot be read.
    pub fn batches(&self, key: LogKey, from: u64, to: u64, most: usize) -> io::Result<(Vec<Bytes>, bool)> {
        let (mut found, mut bytes, mut next, mut near) = (Vec::new(), 0, from, None);
        let limit = self
            .shared
            .order()
            .logs
            .get(&key)
            .map_or((1, u64::MAX), |log| (log.floor, log.forked.unwrap_or(u64::MAX)));
        while next <= to {
            let Some((segment, _, stored)) = self.shared.find_near(&mut near, key, next)? else { break };
            if stored.last > to || stored.first >= limit.1 {
                break;
            }
            next = stored.last + 1;
            if stored.last < limit.0 {
                continue;
            }
            // What is damaged is left out: the peer asks another.
            let Ok(batch) = self.shared.load_stored(&segment, &stored) else { continue };
            if !found.is_empty() && bytes + batch.bytes().len() > most {
                return Ok((found, true));
            }
            bytes += batch.bytes().len();
            found.push(batch.bytes().clone());
        }
        Ok((found, false))
    }

    /// The signed header of the batch that ends at a seq, or holds it: it proves how far the log goes. Blocks.
    pub fn signed_header(&self, key: LogKey, seq: u64) -> Option<SignedHeader> {
        let known = self.shared.for_peers().headers.get(key, seq);
        known.or_else(|| {
            let header = signed_header(&*self.shared.holding(key, seq)?);
            self.shared.for_peers().headers.keep(key, seq, &header);
            Some(header)
        })
    }

    /// Whether a range is held whole and on stable storage; waits for the fdatasync that covers it.
    pub async fn holds_synced(&self, key: LogKey, from: u64, to: u64) -> bool {
        let held = self.log(key).is_some_and(|log| {
            from >= log.floor
                && to <= log.held
                && log.forked.is_none_or(|end| to < end)
                && log.missing.iter().all(|(first, last)| *last < from || *first > to)
        });
        // Nothing to publish is answered once all that was written before is synced.
        let synced = held.then(|| self.publish(Vec::new()).ok()).flatten();
        match synced {
            Some(synced) => synced.await.is_ok(),
            None => false,
        }
    }

    /// Ends a log that a peer proved forked.
    ///
    /// # Errors
    /// When the proof is none.
    pub fn accept_fork(&self, proof: ForkProof) -> Result<(), BatchError> {
        let (key, end) = proof.check()?;
        let entry = ForkEntry { key, end, proof: vec![proof.one, proof.other] };
        self.tell(Command::Fork(Box::new(entry)));
        Ok(())
    }

    /// The proof that a log forked, where it did.
    pub fn fork_proof(&self, key: LogKey) -> Option<ForkProof> {
        self.shared.forks().get(key).and_then(proof)
    }

    /// Which logs forked, by log: where each ends, and what proves it.
    pub fn forked_logs(&self) -> Vec<(LogKey, u64, ForkProof)> {
        let forks = self.shared.forks();
        forks.iter().filter_map(|fork| Some((fork.key, fork.end, proof(fork)?))).collect()
    }

    /// Whether a promise can be kept at all: there is somebody to keep it.
    pub fn can_reach(&self, ack: Ack) -> bool {
        match ack {
            Ack::Durable => true,
            Ack::Replicated => self.shared.holders.any(),
            Ack::Archived => self.shared.options.archiver.any(),
        }
    }

    /// Waits until records that are durable here reach a wider promise, at most ten seconds; gives the one that was reached.
    pub async fn reach(&self, ids: &[RecordId], ack: Ack) -> Ack {
        let wider = match ack {
            Ack::Durable => return Ack::Durable,
            Ack::Replicated => self.shared.holders.replicated(ids),
            Ack::Archived => self.shared.options.archiver.archived(ids),
        };
        if tokio::time::timeout(REACH, wider).await == Ok(true) { ack } else { Ack::Durable }
    }

    /// The time below which records would not be kept, by age or because the store is full; as it was a second ago.
    pub fn horizon(&self) -> Micros {
        self.shared.horizon.load(Ordering::Relaxed)
    }

    /// Nothing of a log below a seq is wanted any more: backfill stops there.
    pub fn raise_floor(&self, key: LogKey, floor: u64) {
        self.tell(Command::Floor(key, floor));
    }

    /// A head that its origin's signature bears out, of which not all may be here yet: `live` starts behind it.
    pub fn heard(&self, key: LogKey, head: u64) {
        let mut peers = self.shared.for_peers();
        if peers.heard.len() >= MOST_HEARD && !peers.heard.contains_key(&key) {
            peers.heard.pop_first();
        }
        let heard = peers.heard.entry(key).or_insert(head);
        *heard = head.max(*heard);
    }

    /// What the writer misses because it has too much to do is told again.
    fn tell(&self, command: Command) {
        let _ = self.commands.try_send(command);
    }
}

fn proof(fork: &ForkEntry) -> Option<ForkProof> {
    let [one, other] = fork.proof.as_slice() else { return None };
    Some(ForkProof { one: one.clone(), other: other.clone() })
}

pub(crate) fn signed_header(batch: &Loaded) -> SignedHeader {
    SignedHeader {
        header: batch.bytes()[batch.layout().header_bytes.clone()].to_vec(),
        signature: batch.bytes()[batch.layout().signature.clone()].to_vec(),
    }
}
