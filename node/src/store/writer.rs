//! The one thread that appends: records into the own log, batches of other origins, jumps; and drops what expired.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anode_shared::codec;
use anode_shared::ids::{LogKey, RecordId};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::acceptance::Verdict;
use super::appender::Appender;
use super::dedupe::Dedupe;
use super::entry::Kind;
use super::in_flight::{Hold, Queued};
use super::loaded::Loaded;
use super::order::Waits;
use super::own::{NewRecord, OwnLogs, Ready};
use super::replay::{self, FloorsEntry, ForkEntry};
use super::retention;
use super::shared::{Refused, Shared};

mod crowd;
mod foreign;

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
    Publish(Vec<NewRecord>, Reply, Queued),
    /// Take a batch of another origin, whose signature and records were checked.
    Accept(Arc<Loaded>, oneshot::Sender<Verdict>, Hold, Queued),
    /// End a log that two signed headers contradict.
    Fork(Box<ForkEntry>),
    /// Want nothing of a log below a seq any more.
    Floor(LogKey, u64),
    /// Write all that came before, sync it, and end.
    Drain(std::sync::mpsc::SyncSender<()>),
}

/// The writer.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    appender: Appender,
    own: OwnLogs,
    dedupe: Dedupe,
    /// Since when batches wait for what is missing.
    waits: Waits,
    /// Dedupe keys of records that are not written yet, with their logs.
    fresh: Vec<(LogKey, Box<str>, Box<str>)>,
    /// Floors that could not be written yet: the disk was full.
    floors: FloorsEntry,
    housekept: Instant,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, appender: Appender, own: OwnLogs, dedupe: Dedupe) -> Self {
        let housekept = shared.moment();
        let waits = Waits::of(&shared.order(), housekept);
        Self {
            shared,
            appender,
            own,
            dedupe,
            waits,
            fresh: Vec::new(),
            floors: FloorsEntry::default(),
            housekept,
        }
    }

    /// The thread.
    pub(crate) fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let patience = if self.waits.is_empty() {
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
            self.tend();
        }
    }

    /// Does what is due.
    pub(crate) fn tend(&mut self) {
        self.jump_over_holes();
        self.lose_damaged();
        self.housekeep();
    }

    /// Takes all that is there together: while one batch was written the next one has grown.
    pub(crate) fn gather(
        &mut self,
        first: Command,
        commands: &Receiver<Command>,
    ) -> Option<std::sync::mpsc::SyncSender<()>> {
        let (mut replies, mut taken, mut next, mut drained) = (Vec::new(), 0, Some(first), None);
        let mut result = Ok(());
        while let Some(command) = next.take() {
            match command {
                Command::Publish(records, reply, _) if !self.has_room_for_keys(&records) => {
                    taken += 1;
                    let _ = reply.to.send(Err(Refused::Overloaded));
                }
                Command::Publish(records, reply, place) => {
                    drop(place);
                    taken += records.len();
                    let ids = result.and_then(|()| self.add_all(&records));
                    result = ids.as_ref().map(drop).map_err(|refused| *refused);
                    replies.push((ids, reply));
                }
                Command::Accept(batch, to, hold, place) => {
                    drop(place);
                    taken += batch.len();
                    // What is open has its ids: it is written before a fork could end its log.
                    result = result.and_then(|()| self.write_open());
                    let _ = to.send(self.accept(&batch));
                    drop(hold);
                }
                Command::Fork(fork) => {
                    result = result.and_then(|()| self.write_open());
                    self.end_forked(*fork);
                }
                Command::Floor(key, floor) => self.raise_floor(key, floor),
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
            // What else is open was refused too.
            self.own.seal_all();
            for (_, topic, key) in self.fresh.drain(..) {
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
        // Asked at every publish: it forgets the old ones, and keys may be wanted again once they are few.
        let has_room = self.dedupe.has_room(now);
        self.shared.keys.store(self.dedupe.count(), Ordering::Relaxed);
        has_room || records.iter().all(|record| record.dedupe.is_none())
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
        let random = u32::try_from((self.shared.options.random)() >> 32).unwrap_or_default();
        let own = self.own.of(record);
        if own.must_seal(record, now) {
            own.seal().map_or(Ok(()), |ready| self.write(ready))?;
        }
        let id = self.own.of(record).add(record, now, random);
        if let Some(key) = &record.dedupe {
            self.dedupe.insert(record.topic.as_str(), key, id, now);
            self.fresh.push((id.key, record.topic.as_str().into(), key.as_str().into()));
        }
        Ok(id)
    }

    /// Signs and writes what is open.
    fn write_open(&mut self) -> Result<(), Refused> {
        self.own.seal_all().into_iter().try_for_each(|ready| self.write(ready))
    }

    fn write(&mut self, ready: Ready) -> Result<(), Refused> {
        let batch = Arc::new(Loaded::new(Bytes::from(ready.sealed.bytes.clone())).map_err(|error| {
            tracing::error!(%error, "Failed to make a batch");
            Refused::Failed
        })?);
        self.shared.opened().insert(batch.key().log);
        self.appender.batch(Kind::Batch, &batch)?;
        self.own.written(&ready);
        self.fresh.retain(|(log, ..)| *log != batch.key());
        let counters = &self.shared.counters;
        counters.own_records.fetch_add(batch.len() as u64, Ordering::Relaxed);
        counters.own_batches.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Looks after room and retention: now and then, and where a segment was sealed.
    fn housekeep(&mut self) {
        let due = self.shared.moment().duration_since(self.housekept) >= HOUSEKEEPING;
        if !self.appender.has_rolled() && !due {
            return;
        }
        let now = (self.shared.options.clock)();
        if due {
            self.housekept = self.shared.moment();
            self.shared.look_at_room();
            self.seal_old(now);
        }
        self.drop_expired(now);
        self.write_floors();
        let squeezed = retention::squeezed(&self.shared, now);
        self.shared.squeezed.store(squeezed, Ordering::Relaxed);
        self.shared.horizon.store(retention::horizon(&self.shared, squeezed, now), Ordering::Relaxed);
        self.shared.keep_indexes_few();
    }

    fn seal_old(&mut self, now: u64) {
        if !self.appender.is_empty()
            && retention::is_old(self.appender.active(), &self.shared.options, now)
            && let Err(error) = self.appender.roll()
        {
            self.appender.failed(&error);
        }
        let backfill = self.appender.active_backfill();
        if backfill.is_some_and(|segment| retention::is_old(segment, &self.shared.options, now)) {
            self.appender.seal_backfill();
        }
    }

    fn drop_expired(&mut self, now: u64) {
        while let Some(next) = retention::next_to_drop(&self.shared, now) {
            if self.appender.active_backfill().is_some_and(|segment| segment.id == next.id) {
                self.appender.seal_backfill();
            }
            let floors = retention::floors_after(&self.shared, &next);
            self.floors.floors.extend_from_slice(&floors.floors);
            if !self.write_floors() {
                return;
            }
            retention::drop_segment(&self.shared, &next, &floors, now);
        }
    }

    /// Raises a floor below which backfill stops; what is stored below it stays until its segment goes.
    fn raise_floor(&mut self, key: LogKey, floor: u64) {
        let known =
            self.shared.order().logs.get(&key).is_some_and(|log| log.floor < floor && floor <= log.head + 1);
        if known {
            self.floors.floors.push((key, floor));
            self.shared.order().take_floor(key, floor);
            self.shared.for_peers().touch(key);
        }
    }

    /// Makes floors stable, so that a restart knows them. Says whether the segments that they speak of may go: on a full disk
    /// those go first, or there would never be room; a crash before it is written lets their gap count as damage.
    fn write_floors(&mut self) -> bool {
        if self.floors.floors.is_empty() {
            return true;
        }
        match self.appender.append(Kind::Floors, 0, &codec::encode(&self.floors)) {
            Ok(_) if self.shared.commit.sync_now() => self.floors.floors.clear(),
            Err(Refused::Full) => {}
            Ok(_) | Err(_) => return false,
        }
        true
    }

    /// The end: all is written and synced, and a last entry proves that it was.
    fn finish(&mut self) {
        self.write_floors();
        let written = self.write_open();
        self.appender.seal_backfill();
        if written.is_ok() && self.shared.commit.sync_now() {
            let (heads, next) = {
                let order = self.shared.order();
                (order.heads().into_iter().collect(), order.next)
            };
            let _ =
                self.appender.append(Kind::Closing, next, &codec::encode(&replay::ClosingEntry { heads }));
        }
        self.shared.commit.stop();
    }
}
