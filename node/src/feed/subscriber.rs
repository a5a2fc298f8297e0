//! What a subscriber is sent next, decided without I/O: the driver fetches what this asks for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::frames::Gap;
use anode_shared::ids::LogKey;
use anode_shared::topic::Topics;

use super::filter::{Filter, Verdict};
use super::payloads::{Parsed, Payloads, topic_of};
use crate::store::{Item, Loaded, Slice, Step, Then};

/// How much judging is done in one go, in the filter's units: some 2 ms of the thread that others wait for.
const QUANTUM: u64 = 10_000;

/// Bytes that are parsed for a unit.
const BYTES_PER_UNIT: usize = 32;

/// Why the subscriber is told where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The stream begins.
    Begin,
    /// Another subscription took the place of the one before.
    Subscribed,
    /// Stored records end, live ones begin.
    CaughtUp,
    /// It moved on.
    Moved,
}

/// What the driver does next.
#[derive(Debug)]
pub enum Next {
    /// Send this record of the batch.
    Record(Arc<Loaded>, usize),
    /// Say that these will not come.
    Gap(Gap),
    /// Say where the reader stands.
    Cursor(Mark),
    /// Let others have the thread, then ask again.
    Yield,
    /// Ask the reader for a step.
    Poll,
    /// Ask the reader for a step out of storage.
    Storage,
    /// Wait for an arrival, or until then.
    Wait(Option<Instant>),
}

/// Which records a subscription keeps.
#[derive(Debug, Clone)]
pub struct Sieve {
    /// Those of these topics.
    pub topics: Topics,
    /// Of those, the ones that this matches.
    pub filter: Option<Filter>,
    /// Where parsed payloads are shared.
    pub payloads: Arc<Payloads>,
}

/// A subscription on its way through the store.
#[derive(Debug)]
pub struct Subscriber {
    sieve: Sieve,
    /// How long it goes at most without a word on where it stands, while anything moves.
    pace: Duration,
    marks: VecDeque<Mark>,
    items: VecDeque<Item>,
    slice: Option<(Slice, usize, Option<Arc<Parsed>>)>,
    then: Then,
    /// Whether the items come from the tail, which others read too.
    shared: bool,
    moved: bool,
    /// What was handed on and may not have been sent yet.
    handing: Option<(LogKey, u64)>,
    told: Instant,
    /// A live subscription says `caught_up` before all else, and not again when the reader says it.
    caught_up: bool,
    filter_errors: u64,
    /// What was spent on judging since others had the thread.
    spent: u64,
}

impl Subscriber {
    /// A subscription that begins; `first` is `Begin` or `Subscribed`.
    pub fn new(sieve: Sieve, pace: Duration, first: Mark, live: bool, now: Instant) -> Self {
        let marks = match (first, live) {
            (Mark::Begin, true) => vec![Mark::CaughtUp],
            (first, true) => vec![first, Mark::CaughtUp],
            (first, false) => vec![first],
        };
        Self {
            sieve,
            pace,
            marks: marks.into(),
            items: VecDeque::new(),
            slice: None,
            then: Then::More,
            shared: true,
            moved: false,
            handing: None,
            told: now,
            caught_up: live,
            filter_errors: 0,
            spent: 0,
        }
    }

    /// Takes a step of the reader; `shared` says that it came from the tail.
    pub fn give(&mut self, step: Step, shared: bool) {
        self.items.extend(step.items);
        self.then = step.then;
        self.shared = shared;
    }

    /// Says that something may have arrived, or that the time of [`Next::Wait`] has come.
    pub fn wake(&mut self) {
        self.then = Then::More;
    }

    /// Says that what was handed on last was sent.
    pub fn sent(&mut self) {
        self.handing = None;
    }

    /// Whether all that the reader gave was handed on.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.slice.is_none()
    }

    /// What the reader gave and was not sent: each log's seqs from which on that holds.
    pub fn unsent(&self) -> impl Iterator<Item = (LogKey, u64)> {
        let begun = self.slice.as_ref().filter(|(slice, place, _)| *place < slice.range().end);
        let begun = begun.map(|(slice, place, _)| (slice.batch().key(), slice.batch().seq(*place)));
        let rest = self.items.iter().filter_map(|item| match item {
            Item::Records(slice) => Some((slice.batch().key(), slice.batch().seq(slice.range().start))),
            Item::Gap(gap) => Some((gap.log, gap.from)),
            Item::CaughtUp => None,
        });
        self.handing.into_iter().chain(begun).chain(rest)
    }

    /// How many records the filter erred on since this was last asked.
    pub fn take_filter_errors(&mut self) -> u64 {
        std::mem::take(&mut self.filter_errors)
    }

    /// What to do next.
    pub fn next(&mut self, now: Instant) -> Next {
        self.sent();
        loop {
            if let Some(mark) = self.marks.pop_front() {
                self.told = now;
                self.moved = false;
                return Next::Cursor(mark);
            }
            if let Some((batch, index)) = self.next_record() {
                self.handing = Some((batch.key(), batch.seq(index)));
                return Next::Record(batch, index);
            }
            if self.spent > QUANTUM {
                self.spent = 0;
                return Next::Yield;
            }
            match self.items.pop_front() {
                Some(Item::Records(slice)) => self.open(slice),
                Some(Item::Gap(gap)) => {
                    self.moved = true;
                    self.handing = Some((gap.log, gap.from));
                    return Next::Gap(gap);
                }
                Some(Item::CaughtUp) if self.caught_up => self.caught_up = false,
                Some(Item::CaughtUp) => self.marks.push_back(Mark::CaughtUp),
                None if self.moved && now >= self.told + self.pace => self.marks.push_back(Mark::Moved),
                None => return self.wait(),
            }
        }
    }

    fn wait(&mut self) -> Next {
        let tell = self.moved.then_some(self.told + self.pace);
        match self.then {
            Then::More => Next::Poll,
            Then::Blocking => Next::Storage,
            Then::Live => Next::Wait(tell),
            Then::Until(until) => Next::Wait(Some(tell.map_or(until, |tell| tell.min(until)))),
        }
    }

    fn open(&mut self, slice: Slice) {
        self.moved = true;
        let parsed = self.sieve.parsed(slice.batch(), self.shared);
        let start = slice.range().start;
        self.slice = Some((slice, start, parsed));
    }

    fn next_record(&mut self) -> Option<(Arc<Loaded>, usize)> {
        let (slice, place, parsed) = self.slice.as_mut()?;
        while *place < slice.range().end {
            if self.spent > QUANTUM {
                return None;
            }
            let index = *place;
            *place += 1;
            let (verdict, cost) = self.sieve.judge(slice.batch(), index, parsed.as_deref());
            self.spent += cost;
            match verdict {
                Verdict::Match => return Some((Arc::clone(slice.batch()), index)),
                Verdict::Pass => {}
                Verdict::Erred => self.filter_errors += 1,
            }
        }
        self.slice = None;
        None
    }
}

impl Sieve {
    fn parsed(&self, batch: &Arc<Loaded>, shared: bool) -> Option<Arc<Parsed>> {
        let filter = self.filter.as_ref()?;
        filter
            .needs_payload()
            .then(|| if shared { self.payloads.of(batch) } else { Arc::new(Parsed::new(batch)) })
    }

    /// Whether a record is kept, and what it cost to say so.
    fn judge(&self, batch: &Loaded, index: usize, parsed: Option<&Parsed>) -> (Verdict, u64) {
        let frame = batch.json(index);
        match topic_of(frame) {
            Some(topic) if self.topics.matches(topic) => {}
            _ => return (Verdict::Pass, 1),
        }
        let Some(filter) = &self.filter else { return (Verdict::Match, 1) };
        let verdict = filter.judge_in(batch, index, parsed);
        (verdict, filter.last_cost() + (frame.len() / BYTES_PER_UNIT) as u64)
    }
}

#[cfg(test)]
mod tests;
