//! Drives a subscriber's reader: out of memory where it can, out of storage on threads that may block.

use std::sync::Arc;
use std::time::Instant;

use anode_shared::cursor::Cursor;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::fault::{Code, Fault};
use super::start::{Format, Subscription};
use super::subscriber::{Mark, Next, Sieve, Subscriber};
use super::turns::{Away, Turns};
use crate::store::{Item, Lag, Loaded, Opening, OpeningError, Reader, Start, Step, Store, Then};

/// What comes back from where blocking is allowed: the reader goes there and comes back.
enum Back {
    /// It did not find yet where it begins.
    Opening(Box<Opening>),
    Opened(Box<Reader>, Cursor),
    Failed(Fault),
    Step(Box<Reader>, Step),
    Cursor(Box<Reader>, Cursor),
}

enum Place {
    Here(Box<Reader>),
    Away(Away<Back>),
    Lost,
}

/// What the subscriber is to be sent, or why nothing is there now.
#[derive(Debug)]
pub enum Work {
    /// Send this.
    Send(Next),
    /// Where the reader stands, to be said for this reason.
    Stand(Mark, Box<Cursor>),
}

/// A subscriber's reader with what it gave.
pub struct Tail {
    subscriber: Subscriber,
    place: Place,
    newest: watch::Receiver<u64>,
    /// A mark whose cursor is being fetched.
    mark: Option<Mark>,
    /// The cursor that the reader began with: where the first mark stands.
    began: Option<Box<Cursor>>,
    turns: Arc<Turns>,
    /// The filter, while the reader is being opened.
    sieve: Option<Sieve>,
    /// Room for what the reader is given first, as long as not all of that was read.
    first: Option<OwnedSemaphorePermit>,
    /// Room for what is read ahead, or was last.
    ahead: Option<OwnedSemaphorePermit>,
    /// Others are to have the thread before more is judged.
    tired: bool,
    format: Format,
    lag: Lag,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("subscriber", &self.subscriber).finish_non_exhaustive()
    }
}

impl Tail {
    /// A reader for the subscription; it is opened when it is first asked.
    pub fn open(
        store: &Store,
        wanted: &Subscription,
        sieve: Sieve,
        subscriber: Subscriber,
        format: Format,
        turns: &Arc<Turns>,
    ) -> Self {
        let opening = open(store.clone(), wanted.begin.clone(), sieve.clone(), Arc::clone(turns));
        Self {
            subscriber,
            place: Place::Away(Box::pin(opening)),
            newest: store.newest(),
            mark: None,
            began: None,
            turns: Arc::clone(turns),
            sieve: Some(sieve),
            first: None,
            ahead: None,
            tired: false,
            format,
            lag: Lag::default(),
        }
    }

    /// How far the reader was behind when it was last here.
    pub fn lag(&self) -> Lag {
        self.lag
    }

    /// How many records the filter erred on since this was last asked.
    pub fn take_filter_errors(&mut self) -> u64 {
        self.subscriber.take_filter_errors()
    }

    /// Where the client stands, once its reader is here: before all that was not sent. None where it did not begin.
    pub async fn stand(&mut self) -> Option<Cursor> {
        if let Place::Away(away) = &mut self.place {
            let back = away.as_mut().await;
            self.place = Place::Lost;
            match back {
                Some(Back::Step(reader, step)) => {
                    self.place = Place::Here(reader);
                    self.subscriber.give(step, false);
                }
                Some(Back::Cursor(reader, _)) => self.place = Place::Here(reader),
                _ => return None,
            }
        }
        let reader = self.reader().ok()?;
        let reading = match self.cursor(reader) {
            Ok(cursor) => return Some(cursor),
            Err(reading) => reading,
        };
        match reading.await {
            Some(Back::Cursor(reader, cursor)) => {
                self.place = Place::Here(reader);
                Some(cursor)
            }
            _ => None,
        }
    }

    /// The cursor before all that was not sent; it is read elsewhere where the reader is far behind.
    fn cursor(&mut self, reader: Box<Reader>) -> Result<Cursor, Away<Back>> {
        if let Some(cursor) = reader.cursor_before(self.subscriber.unsent()) {
            self.place = Place::Here(reader);
            return Ok(cursor);
        }
        let unsent: Vec<_> = self.subscriber.unsent().collect();
        Err(self.turns.read(move || {
            let cursor = reader.read_cursor_before(unsent.into_iter());
            Back::Cursor(reader, cursor)
        }))
    }

    /// Says that what there was to send was sent.
    pub fn sent(&mut self) {
        self.subscriber.sent();
    }

    /// Waits until there is something to send. May be dropped and called again.
    ///
    /// # Errors
    /// When the subscription cannot begin, or storage cannot be read.
    pub async fn ready(&mut self) -> Result<Work, Fault> {
        loop {
            if let Some(work) = self.turn(Instant::now()).await? {
                return Ok(work);
            }
        }
    }

    /// What else there is to send at once, without waiting for an arrival or for storage.
    ///
    /// # Errors
    /// When the reader is lost.
    pub fn at_once(&mut self, now: Instant) -> Result<Option<Work>, Fault> {
        while self.mark.is_none() {
            match self.subscriber.next(now) {
                next @ (Next::Record(..) | Next::Gap(_)) => return Ok(Some(Work::Send(next))),
                Next::Cursor(mark) => self.mark = Some(mark),
                Next::Poll if matches!(self.place, Place::Here(_)) => self.poll()?,
                Next::Poll | Next::Storage | Next::Wait(_) => break,
                Next::Yield => {
                    self.tired = true;
                    break;
                }
            }
        }
        Ok(None)
    }

    async fn turn(&mut self, now: Instant) -> Result<Option<Work>, Fault> {
        if std::mem::take(&mut self.tired) {
            tokio::task::yield_now().await;
        }
        let next = match self.mark {
            Some(mark) => Next::Cursor(mark),
            None => self.subscriber.next(now),
        };
        match next {
            next @ (Next::Record(..) | Next::Gap(_)) => return Ok(Some(Work::Send(next))),
            Next::Yield => self.tired = true,
            Next::Cursor(mark) => {
                self.mark = Some(mark);
                if !matches!(self.place, Place::Away(_)) {
                    return self.tell(mark);
                }
                return self.come_back().await;
            }
            _ if matches!(self.place, Place::Away(_)) => return self.come_back().await,
            Next::Poll => self.poll()?,
            Next::Storage => self.read_storage()?,
            Next::Wait(until) => self.wait(until).await,
        }
        Ok(None)
    }

    /// Waits for the reader, where it is away.
    async fn come_back(&mut self) -> Result<Option<Work>, Fault> {
        let Place::Away(away) = &mut self.place else { return Err(lost()) };
        let back = away.as_mut().await;
        self.place = Place::Lost;
        self.back(back.ok_or_else(lost)?)
    }

    fn reader(&mut self) -> Result<Box<Reader>, Fault> {
        match std::mem::replace(&mut self.place, Place::Lost) {
            Place::Here(reader) => Ok(reader),
            Place::Away(_) | Place::Lost => Err(lost()),
        }
    }

    fn poll(&mut self) -> Result<(), Fault> {
        // What arrives from here on wakes the wait that may follow.
        self.newest.mark_unchanged();
        let Place::Here(reader) = &mut self.place else { return Err(lost()) };
        let step = reader.poll();
        self.lag = reader.lag();
        self.subscriber.give(step, true);
        Ok(())
    }

    fn read_storage(&mut self) -> Result<(), Fault> {
        let mut reader = self.reader()?;
        let format = self.format;
        self.lag = reader.lag();
        self.place = Place::Away(self.turns.read(move || {
            let step = reader.poll_storage();
            encode(&step, format);
            Back::Step(reader, step)
        }));
        Ok(())
    }

    /// Gives the cursor of a mark.
    fn tell(&mut self, mark: Mark) -> Result<Option<Work>, Fault> {
        if let Some(cursor) = self.began.take() {
            self.mark = None;
            return Ok(Some(Work::Stand(mark, cursor)));
        }
        let reader = self.reader()?;
        match self.cursor(reader) {
            Ok(cursor) => {
                self.mark = None;
                Ok(Some(Work::Stand(mark, Box::new(cursor))))
            }
            Err(reading) => {
                self.place = Place::Away(reading);
                Ok(None)
            }
        }
    }

    fn back(&mut self, back: Back) -> Result<Option<Work>, Fault> {
        match back {
            Back::Failed(fault) => return Err(fault),
            Back::Opening(opening) => {
                let sieve = self.sieve.clone().ok_or_else(lost)?;
                // It waits for its next round with what it found so far.
                self.first = None;
                self.first = self.turns.hold(opening.held())?;
                self.place = Place::Away(self.turns.search(move || look(opening, &sieve)));
            }
            Back::Opened(reader, cursor) => {
                (self.sieve, self.first) = (None, None);
                self.first = self.turns.hold(reader.first_left())?;
                self.place = Place::Here(reader);
                self.began = Some(Box::new(cursor));
            }
            Back::Step(reader, step) => {
                if reader.first_left() == 0 {
                    self.first = None;
                }
                // Not after an error, nor behind what is not sent yet.
                let goes_on = step.then == Then::More && self.subscriber.is_empty() && reader.wants_storage();
                self.place = Place::Here(reader);
                self.subscriber.give(step, false);
                self.ahead = if goes_on { self.turns.ahead() } else { None };
                if self.ahead.is_some() {
                    // What follows is read while this is sent.
                    self.read_storage()?;
                }
            }
            Back::Cursor(reader, cursor) => {
                self.place = Place::Here(reader);
                return Ok(self.mark.take().map(|mark| Work::Stand(mark, Box::new(cursor))));
            }
        }
        Ok(None)
    }

    async fn wait(&mut self, until: Option<Instant>) {
        let arrival = self.newest.changed();
        let changed = match until {
            None => arrival.await,
            Some(until) => {
                let deadline = tokio::time::Instant::from_std(until);
                tokio::time::timeout_at(deadline, arrival).await.unwrap_or(Ok(()))
            }
        };
        if changed.is_err() {
            // The store is gone with its node; the connection's own end is on its way.
            std::future::pending::<()>().await;
        }
        self.subscriber.wake();
    }
}

fn lost() -> Fault {
    Fault::new(Code::StorageFailed, "reading storage ended without an answer")
}

/// Opens a reader, when it is its turn.
async fn open(store: Store, start: Start, sieve: Sieve, turns: Arc<Turns>) -> Option<Back> {
    let archived = store.newest_archived(&start, &sieve.topics).await;
    let opening = turns.read(move || match store.open_reader(&start, sieve.topics.clone()) {
        Ok(mut opening) => {
            opening.archived(archived);
            look(Box::new(opening), &sieve)
        }
        Err(error) => Back::Failed(unable(&error.into())),
    });
    opening.await
}

/// Looks for where a reader begins, one round long.
fn look(mut opening: Box<Opening>, sieve: &Sieve) -> Back {
    let filter = sieve.filter.clone();
    let keep =
        move |batch: &Loaded, index: usize| filter.as_ref().is_none_or(|filter| filter.matches(batch, index));
    match opening.round(&keep) {
        Ok(None) => Back::Opening(opening),
        Ok(Some(reader)) => {
            let cursor = reader.read_cursor();
            Back::Opened(Box::new(reader), cursor)
        }
        Err(error) => Back::Failed(unable(&error)),
    }
}

fn unable(error: &OpeningError) -> Fault {
    match error {
        OpeningError::TooManyTopics => Fault::new(Code::BadStart, error.to_string()),
        OpeningError::Storage(cause) => {
            tracing::warn!(error = %cause, "Failed to open a reader");
            Fault::new(Code::StorageFailed, "storage cannot be read")
        }
    }
}

/// Makes the frames of batches that nobody else looks at, before they come to a thread that must not tarry.
fn encode(step: &Step, format: Format) {
    for item in &step.items {
        if let Item::Records(slice) = item {
            let start = slice.range().start;
            slice.batch().json(start);
            if format == Format::Cbor {
                slice.batch().cbor(start);
            }
        }
    }
}
