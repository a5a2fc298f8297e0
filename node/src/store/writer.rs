//! The one thread that appends: records into the own log, batches of other origins, jumps; and drops what expired.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use anode_shared::codec;
use anode_shared::ids::{LogKey, RecordId};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::acceptance::{self, Verdict};
use super::dedupe::Dedupe;
use super::disk::Disk;
use super::entry::{self, Head, Kind};
use super::index::Index;
use super::loaded::Loaded;
use super::options::StoreOptions;
use super::order::{Arrival, Fit, Order, Piece, Place};
use super::own::{NewRecord, OwnLog};
use super::replay::{self, ForkEntry, JumpEntry, SignedHeader};
use super::retention;
use super::segment::{Checkpoint, FORMAT, Segment, place_of};
use super::shared::{Hold, Refused, Shared};
use super::tail;

/// How many records are taken together before whoever waits is looked after.
const GATHER: usize = 4_096;
/// How often retention and room on the disk are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// Who waits for records to be on stable storage.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) to: oneshot::Sender<Result<Vec<RecordId>, Refused>>,
    pub(crate) hold: Hold,
}

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Take records into the own log.
    Publish(Vec<NewRecord>, Reply),
    /// Take a batch of another origin, whose signature and records were checked.
    Accept(Arc<Loaded>, oneshot::Sender<Verdict>, Hold),
    /// Write all that came before, sync it, and end.
    Drain(std::sync::mpsc::SyncSender<()>),
}

/// The writer.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    active: Arc<Segment>,
    index: Arc<RwLock<Index>>,
    own: OwnLog,
    dedupe: Dedupe,
    /// Since when each log waits for what is missing.
    holes: HashMap<(LogKey, u64), Instant>,
    /// Dedupe keys of records that are not written yet.
    fresh: Vec<(Box<str>, Box<str>)>,
    housekept: Instant,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        active: Arc<Segment>,
        index: Arc<RwLock<Index>>,
        own: OwnLog,
        dedupe: Dedupe,
    ) -> Self {
        Self {
            shared,
            active,
            index,
            own,
            dedupe,
            holes: HashMap::new(),
            fresh: Vec::new(),
            housekept: Instant::now(),
        }
    }

    /// The thread.
    pub(crate) fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let patience = if self.holes.is_empty() {
                Duration::from_millis(250)
            } else {
                self.shared.options.jump_after / 4
            };
            match commands.recv_timeout(patience) {
                Ok(command) => {
                    if let Some(drained) = self.gather(command, commands) {
                        self.finish();
                        let _ = drained.send(());
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
            self.jump_over_holes();
            self.housekeep();
        }
    }

    /// Takes all that is there together: while one batch was written the next one has grown.
    fn gather(
        &mut self,
        first: Command,
        commands: &Receiver<Command>,
    ) -> Option<std::sync::mpsc::SyncSender<()>> {
        let (mut replies, mut taken, mut next, mut drained) = (Vec::new(), 0, Some(first), None);
        let mut result = Ok(());
        while let Some(command) = next.take() {
            match command {
                Command::Publish(records, reply) if !self.has_room_for_keys(&records) => {
                    taken += 1;
                    let _ = reply.to.send(Err(Refused::Overloaded));
                }
                Command::Publish(records, reply) => {
                    taken += records.len();
                    let ids = result.and_then(|()| self.add_all(&records));
                    result = ids.as_ref().map(drop).map_err(|refused| *refused);
                    replies.push((ids, reply));
                }
                Command::Accept(batch, to, hold) => {
                    taken += batch.len();
                    // What is open has its ids: it is written before a fork could end its log.
                    result = result.and_then(|()| self.write_open());
                    let _ = to.send(self.accept(&batch));
                    drop(hold);
                }
                Command::Drain(to) => {
                    drained = Some(to);
                    break;
                }
            }
            if taken < GATHER {
                next = commands.try_recv().ok();
            }
        }
        let written = result.and_then(|()| self.write_open());
        self.answer(replies, written);
        drained
    }

    /// Answers once all is synced, or at once where it was not written.
    fn answer(
        &mut self,
        replies: Vec<(Result<Vec<RecordId>, Refused>, Reply)>,
        written: Result<(), Refused>,
    ) {
        if let Err(refused) = written {
            for (topic, key) in self.fresh.drain(..) {
                self.dedupe.remove(&topic, &key);
            }
            for (_, reply) in replies {
                let _ = reply.to.send(Err(refused));
            }
            return;
        }
        self.fresh.clear();
        if replies.is_empty() {
            return;
        }
        self.shared.commit.when_synced(Box::new(move |stable| {
            for (ids, reply) in replies {
                let _ = reply.to.send(if stable { ids } else { Err(Refused::Failed) });
                drop(reply.hold);
            }
        }));
    }

    /// Whether the dedupe keys of a publish can be remembered: if not, none of it is taken.
    fn has_room_for_keys(&mut self, records: &[NewRecord]) -> bool {
        let now = (self.shared.options.clock)();
        records.iter().all(|record| record.dedupe.is_none()) || self.dedupe.has_room(now)
    }

    fn add_all(&mut self, records: &[NewRecord]) -> Result<Vec<RecordId>, Refused> {
        let now = (self.shared.options.clock)();
        records.iter().map(|record| self.add(record, now)).collect()
    }

    fn add(&mut self, record: &NewRecord, now: u64) -> Result<RecordId, Refused> {
        if let Some(key) = &record.dedupe
            && let Some(id) = self.dedupe.get(record.topic.as_str(), key, now)
        {
            self.shared.counters.deduplicated.fetch_add(1, Ordering::Relaxed);
            return Ok(id);
        }
        if self.own.must_seal(record, now) {
            self.write_open()?;
        }
        let id = self.own.add(record, now, rand::random());
        if let Some(key) = &record.dedupe {
            self.dedupe.insert(record.topic.as_str(), key, id, now);
            self.fresh.push((record.topic.as_str().into(), key.as_str().into()));
        }
        Ok(id)
    }

    /// Signs and writes what is open.
    fn write_open(&mut self) -> Result<(), Refused> {
        let Some(ready) = self.own.seal() else { return Ok(()) };
        let batch = Arc::new(Loaded::new(Bytes::from(ready.sealed.bytes.clone())).map_err(|error| {
            tracing::error!(%error, "Failed to make a batch");
            Refused::Failed
        })?);
        self.write_batch(Kind::Batch, &batch)?;
        self.own.written(&ready);
        self.fresh.clear();
        let counters = &self.shared.counters;
        counters.own_records.fetch_add(batch.len() as u64, Ordering::Relaxed);
        counters.own_batches.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn write_batch(&mut self, kind: Kind, batch: &Arc<Loaded>) -> Result<(), Refused> {
        let arrival = if kind == Kind::Waiting { 0 } else { self.shared.order().next };
        let (head, place) = self.append(kind, arrival, batch.bytes())?;
        let arrivals = {
            let mut order = self.shared.order();
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            replay::apply_batch(&mut order, &mut index, head, batch.layout(), batch.bytes(), place)
        };
        self.show(&arrivals, Some(batch));
        Ok(())
    }

    /// Appends an entry.
    fn append(&mut self, kind: Kind, arrival: u64, body: &[u8]) -> Result<(Head, Place), Refused> {
        if self.shared.commit.failure().is_some() {
            return Err(Refused::Failed);
        }
        if self.active.bytes() >= self.shared.options.segment_bytes
            && !matches!(kind, Kind::Floors | Kind::Closing)
        {
            self.roll().map_err(|error| self.write_failed(&error))?;
        }
        let offset = self.active.bytes();
        let synced = offset.saturating_sub(self.shared.commit.unsynced());
        let salt = self.active.salt.load(Ordering::SeqCst);
        let head = Head { kind, arrival, synced, when: (self.shared.options.clock)(), salt };
        let bytes = entry::encode(head, body, offset);
        self.active.file.write_at(&bytes, offset).map_err(|error| self.write_failed(&error))?;
        self.active.length.store(offset + bytes.len() as u64, Ordering::SeqCst);
        self.shared.commit.wrote(bytes.len() as u64);
        self.shared.counters.bytes_written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let (offset, length) =
            (u32::try_from(offset).unwrap_or(u32::MAX), u32::try_from(body.len()).unwrap_or(u32::MAX));
        Ok((head, Place { segment: self.active.id, offset, length }))
    }

    /// What a failed write means: a full disk is waited out (the next append writes over what was torn), anything else
    /// leaves the disk untrusted.
    fn write_failed(&self, error: &io::Error) -> Refused {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            self.shared.full.store(true, Ordering::SeqCst);
            tracing::warn!(%error, "The disk is full; publishes are refused until there is room");
            return Refused::Full;
        }
        tracing::error!(%error, "Failed to write; nothing is acknowledged any more");
        self.shared.commit.fail(&format!("a write failed: {error}"));
        Refused::Failed
    }

    /// Seals the segment and begins the next with a checkpoint.
    fn roll(&mut self) -> io::Result<()> {
        let order = self.shared.order().clone();
        let id = self.active.id + 1;
        let before = Arc::downgrade(&self.active);
        let segment = Arc::new(begin_segment(&self.shared.disk, &self.shared.options, id, &order, before)?);
        let index = segment.activate(Index::beginning(&order));
        self.shared.commit.roll(segment.file.clone());
        let sealed = std::mem::replace(&mut self.active, segment.clone());
        self.index = index;
        self.shared.segments().insert(id, segment);
        sealed.sealed.store(true, Ordering::SeqCst);
        if let Err(error) = sealed.write_index() {
            // It is derived: the next who wants it makes it anew.
            tracing::warn!(%error, "Failed to write an index");
        }
        sealed.unload();
        Ok(())
    }

    /// Makes arrivals visible: into the tail, and known to all who wait.
    fn show(&mut self, arrivals: &[Arrival], batch: Option<&Arc<Loaded>>) {
        if arrivals.is_empty() {
            return;
        }
        let items: Vec<tail::Item> = arrivals
            .iter()
            .map(|arrival| {
                let same =
                    batch.filter(|batch| batch.key() == arrival.key && batch.header().first == arrival.first);
                let batch = same.cloned().or_else(|| self.shared.load(place_of(arrival.what)?).ok());
                tail::Item { arrival: *arrival, batch, segment: self.active.clone() }
            })
            .collect();
        items.iter().filter_map(|item| item.batch.as_ref()).for_each(|batch| self.shared.count_topics(batch));
        let mut tail = self.shared.tail.write().unwrap_or_else(PoisonError::into_inner);
        items.into_iter().for_each(|item| tail.push(item));
        let next = tail.next();
        drop(tail);
        self.shared.newest.send_replace(next);
    }

    /// Takes a batch of another origin.
    fn accept(&mut self, batch: &Arc<Loaded>) -> Verdict {
        let (key, header) = (batch.key(), batch.header());
        let piece =
            replay::piece_of(batch.layout(), batch.bytes(), Place { segment: 0, offset: 0, length: 0 });
        if let Some(due) = acceptance::due(header, (self.shared.options.clock)()) {
            self.shared.early().set_aside(key, piece.first, piece.last, due);
            return Verdict::Early { due };
        }
        let fit = self.shared.order().fit(key, &piece);
        if self.own.current() == Some(key) && matches!(fit, Fit::Next | Fit::Ahead) {
            // Another node writes with this node's key (a copied data directory): this one goes on in a new log.
            let _ = self.write_open();
            self.own.close();
            return self.accept(batch);
        }
        let kind = match fit {
            Fit::Next => Kind::Batch,
            Fit::Ahead => Kind::Waiting,
            Fit::Late => Kind::Late,
            Fit::Old => return Verdict::Old,
            Fit::Ended => return Verdict::Ended,
            Fit::Held(seq) | Fit::Fork(seq) => return self.compare(key, seq, &piece, batch),
        };
        match self.write_batch(kind, batch) {
            Ok(()) => {
                self.shared.counters.foreign_batches.fetch_add(1, Ordering::Relaxed);
                self.check_chain(key, batch);
                Verdict::Taken
            }
            Err(refused) => Verdict::Unable(refused),
        }
    }

    /// Compares a batch with what is held at `seq`: the same, or the proof of a fork.
    fn compare(&mut self, key: LogKey, seq: u64, piece: &Piece, batch: &Arc<Loaded>) -> Verdict {
        let Some(held) = self.shared.holding(key, seq) else { return Verdict::Old };
        let other = replay::piece_of(held.layout(), held.bytes(), piece.place);
        if other.hash == piece.hash {
            return Verdict::Held;
        }
        self.fork(key, &held, batch);
        Verdict::Forked
    }

    /// Looks whether what waited contradicts the batch that came before it.
    fn check_chain(&mut self, key: LogKey, batch: &Arc<Loaded>) {
        let Some(broken) = self.shared.order().broken(key) else { return };
        if let Ok(other) = self.shared.load(broken.place) {
            let before = self.shared.holding(key, broken.first - 1).unwrap_or_else(|| batch.clone());
            self.fork(key, &before, &other);
        }
    }

    /// Ends a log that two headers contradict, before the earlier of them.
    fn fork(&mut self, key: LogKey, one: &Loaded, other: &Loaded) {
        let end = one.header().first.min(other.header().first);
        if !self.shared.order().clone().take_fork(key, end) {
            return;
        }
        let signed = |batch: &Loaded| SignedHeader {
            header: batch.bytes()[batch.layout().header_bytes.clone()].to_vec(),
            signature: batch.bytes()[batch.layout().signature.clone()].to_vec(),
        };
        let fork = ForkEntry { key, end, proof: vec![signed(one), signed(other)] };
        if self.append(Kind::Fork, 0, &codec::encode(&fork)).is_err() {
            return;
        }
        tracing::warn!(log = %key, end, "A log forked: its origin signed two versions");
        self.shared.order().take_fork(key, end);
        self.shared.forks().push(fork);
        self.shared.counters.forks.fetch_add(1, Ordering::Relaxed);
        if self.own.current() == Some(key) {
            self.own.close();
        }
    }

    /// Goes on without what has been missing for too long.
    fn jump_over_holes(&mut self) {
        let now = Instant::now();
        let holes: Vec<(LogKey, u64, u64)> = self.shared.order().holes().collect();
        self.holes.retain(|(key, from), _| holes.iter().any(|(k, f, _)| (k, f) == (key, from)));
        let clock = (self.shared.options.clock)();
        for (key, from, to) in holes {
            let since = *self.holes.entry((key, from)).or_insert(now);
            if now.duration_since(since) < self.shared.options.jump_after
                || self.shared.early().covers(key, from, to, clock)
            {
                continue;
            }
            let arrival = self.shared.order().next;
            if self.append(Kind::Jump, arrival, &codec::encode(&JumpEntry { key, from, to })).is_err() {
                return;
            }
            let arrivals = self.shared.order().take_jump(key, to);
            self.index.write().unwrap_or_else(PoisonError::into_inner).arrive(&arrivals);
            self.shared.counters.jumps.fetch_add(1, Ordering::Relaxed);
            self.show(&arrivals, None);
        }
    }

    fn housekeep(&mut self) {
        if self.housekept.elapsed() < HOUSEKEEPING {
            return;
        }
        self.housekept = Instant::now();
        self.shared.look_at_room();
        let now = (self.shared.options.clock)();
        let empty = self.index.read().unwrap_or_else(PoisonError::into_inner).batches.is_empty();
        if !empty
            && retention::is_old(&self.active, &self.shared.options, now)
            && let Err(error) = self.roll()
        {
            self.write_failed(&error);
        }
        while let Some(oldest) = retention::next_to_drop(&self.shared, now) {
            let floors = retention::floors_after(&self.shared, &oldest);
            if self.append(Kind::Floors, 0, &codec::encode(&floors)).is_err()
                || !self.shared.commit.sync_now()
            {
                return;
            }
            retention::drop_segment(&self.shared, &oldest, &floors, now);
        }
        self.shared.keep_indexes_few();
    }

    /// The end: all is written and synced, and a last entry proves that it was.
    fn finish(&mut self) {
        if self.write_open().is_ok() && self.shared.commit.sync_now() {
            let (heads, next) = {
                let order = self.shared.order();
                (order.heads().into_iter().collect(), order.next)
            };
            let _ = self.append(Kind::Closing, next, &codec::encode(&replay::ClosingEntry { heads }));
        }
        self.shared.commit.stop();
    }
}

/// Makes a segment that begins with a checkpoint of `order`, both on stable storage.
pub(crate) fn begin_segment(
    disk: &Arc<dyn Disk>,
    options: &StoreOptions,
    id: u64,
    order: &Order,
    before: Weak<Segment>,
) -> io::Result<Segment> {
    let when = (options.clock)();
    let segment = Segment::open(disk, id, when, before)?;
    segment.file.truncate(0)?;
    let checkpoint = codec::encode(&Checkpoint { format: FORMAT, order: order.clone() });
    let salt = rand::random();
    let head = Head { kind: Kind::Checkpoint, arrival: order.next, synced: 0, when, salt };
    let bytes = entry::encode(head, &checkpoint, 0);
    segment.file.write_at(&bytes, 0)?;
    segment.file.sync()?;
    disk.sync_names()?;
    segment.length.store(bytes.len() as u64, Ordering::SeqCst);
    segment.salt.store(salt, Ordering::SeqCst);
    Ok(segment)
}
