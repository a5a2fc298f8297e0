//! What the feed shares: each instrument's latest ticks, and who follows them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::Notify;

use super::counts::Counts;
use super::faults::Faults;
use super::market::{Instrument, Tick};
use anode_shared::time::Micros;

/// Ticks that are held for all instruments together, and bounds for one: enough to resume after a restart of the
/// reader, and at most about 15 MiB.
const HELD: usize = 65_536;
const HELD_EACH: std::ops::RangeInclusive<usize> = 32..=2_048;
/// Instruments at most.
pub const MOST: usize = 100_000;

/// All that the feed knows.
#[derive(Debug)]
pub struct Board {
    /// Tells this run's event ids from those of another.
    pub run: u64,
    /// What is broken.
    pub faults: Faults,
    /// What was asked.
    pub counts: Counts,
    lines: Vec<Line>,
    held: usize,
}

/// One instrument's ticks.
#[derive(Debug)]
struct Line {
    instrument: Instrument,
    ticks: Mutex<VecDeque<Tick>>,
    followers: Mutex<Vec<Arc<Notify>>>,
}

/// What an instrument emitted last.
#[derive(Debug, Serialize)]
pub struct Emitted {
    /// Its number.
    pub instrument: usize,
    /// Its name in paths.
    pub name: String,
    /// Its last tick's serial; 0 before the first.
    pub n: u64,
    /// That tick's time, microseconds.
    pub at: Micros,
}

impl Board {
    /// A board of so many instruments.
    pub fn new(instruments: usize, run: u64) -> Self {
        let line = |number| Line {
            instrument: Instrument::numbered(number),
            ticks: Mutex::default(),
            followers: Mutex::default(),
        };
        let count = instruments.clamp(1, MOST);
        let held = (HELD / count).clamp(*HELD_EACH.start(), *HELD_EACH.end());
        let lines = (0..count).map(line).collect();
        Self { run, faults: Faults::default(), counts: Counts::default(), lines, held }
    }

    /// How many instruments there are.
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// An instrument's names.
    pub fn instrument(&self, number: usize) -> Option<&Instrument> {
        self.lines.get(number).map(|line| &line.instrument)
    }

    /// The number of an instrument that is named by number, `btc-usd` or `BTC/USD`.
    pub fn find(&self, name: &str) -> Option<usize> {
        if let Ok(number) = name.parse::<usize>() {
            return (number < self.lines.len()).then_some(number);
        }
        self.lines.iter().position(|line| line.instrument.slug == name || line.instrument.symbol == name)
    }

    /// Takes a tick and wakes who follows it.
    pub fn emit(&self, number: usize, tick: Tick) {
        let Some(line) = self.lines.get(number) else { return };
        let mut ticks = lock(&line.ticks);
        if ticks.len() >= self.held {
            ticks.pop_front();
        }
        ticks.push_back(tick);
        drop(ticks);
        lock(&line.followers).iter().for_each(|follower| follower.notify_one());
    }

    /// An instrument's last tick.
    pub fn last(&self, number: usize) -> Option<Tick> {
        lock(&self.lines.get(number)?.ticks).back().cloned()
    }

    /// What each instrument emitted last.
    pub fn emitted(&self) -> Vec<Emitted> {
        let one = |(instrument, line): (usize, &Line)| {
            let (n, at) = lock(&line.ticks).back().map_or((0, 0), |tick| (tick.n, tick.at));
            Emitted { instrument, name: line.instrument.slug.clone(), n, at }
        };
        self.lines.iter().enumerate().map(one).collect()
    }
}

/// A reader's place: for each instrument that it follows the next serial. It holds no ticks of its own.
#[derive(Debug)]
pub struct Follower {
    board: Arc<Board>,
    wake: Arc<Notify>,
    places: Vec<(usize, u64)>,
}

impl Follower {
    /// Follows nothing yet.
    pub fn new(board: Arc<Board>) -> Self {
        Self { board, wake: Arc::default(), places: Vec::new() }
    }

    /// Follows an instrument, from behind the serial `after`, else from now on.
    pub fn follow(&mut self, number: usize, after: Option<u64>) {
        let Some(line) = self.board.lines.get(number) else { return };
        if self.places.iter().any(|(followed, _)| *followed == number) {
            return;
        }
        let newest = lock(&line.ticks).back().map_or(0, |tick| tick.n);
        // A serial from ahead is none of this run.
        let next = after.filter(|after| *after <= newest).unwrap_or(newest) + 1;
        self.places.push((number, next));
        lock(&line.followers).push(Arc::clone(&self.wake));
        self.wake.notify_one();
    }

    /// Follows an instrument no more.
    pub fn leave(&mut self, number: usize) {
        self.places.retain(|(followed, _)| *followed != number);
        self.forget(number);
    }

    fn forget(&self, number: usize) {
        if let Some(line) = self.board.lines.get(number) {
            lock(&line.followers).retain(|wake| !Arc::ptr_eq(wake, &self.wake));
        }
    }

    /// The ticks since the last call, of each instrument in their order. What is no longer held is passed over.
    pub fn take(&mut self) -> Vec<(usize, Tick)> {
        let mut taken = Vec::new();
        for (number, next) in &mut self.places {
            let Some(line) = self.board.lines.get(*number) else { continue };
            let ticks = lock(&line.ticks);
            let first = ticks.front().map_or(*next, |tick| tick.n);
            let skip = usize::try_from(next.saturating_sub(first)).unwrap_or(usize::MAX);
            for tick in ticks.iter().skip(skip) {
                *next = tick.n + 1;
                taken.push((*number, tick.clone()));
            }
        }
        taken
    }

    /// Waits until there may be something to take.
    pub async fn moved(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.places.iter().for_each(|(number, _)| self.forget(*number));
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::ticker::Ticker;
    use super::*;

    fn board(instruments: usize, ticks: u64) -> Arc<Board> {
        let board = Arc::new(Board::new(instruments, 1));
        let mut ticker = Ticker::new(Arc::clone(&board), 1);
        for tick in 1..=ticks {
            ticker.advance(tick * 1_000_000, 1.0, || tick);
        }
        board
    }

    fn serials(follower: &mut Follower) -> Vec<u64> {
        follower.take().into_iter().map(|(_, tick)| tick.n).collect()
    }

    #[test]
    fn it_gives_each_tick_once_from_where_a_reader_stands() {
        let board = board(2, 10);
        for (after, expected) in
            [(None, 11..=12), (Some(10), 11..=12), (Some(7), 8..=12), (Some(0), 1..=12), (Some(99), 11..=12)]
        {
            let mut follower = Follower::new(Arc::clone(&board));
            follower.follow(0, after);
            let before = serials(&mut follower);
            for n in [11, 12] {
                let tick = Tick { n, at: n, json: "{}".into() };
                board.lines[0].ticks.lock().unwrap().push_back(tick);
            }
            let got: Vec<_> = before.into_iter().chain(serials(&mut follower)).collect();
            assert_eq!(got, expected.collect::<Vec<_>>(), "after {after:?}");
            assert!(serials(&mut follower).is_empty());
            board.lines[0].ticks.lock().unwrap().truncate(10);
        }
    }

    #[test]
    fn it_holds_a_bounded_history() {
        let board = board(1, 5_000);
        let mut follower = Follower::new(Arc::clone(&board));
        follower.follow(0, Some(1));
        let got = serials(&mut follower);
        assert_eq!((got.len(), got.last()), (*HELD_EACH.end(), Some(&5_000)));
    }

    #[test]
    fn it_forgets_who_left() {
        let board = board(2, 1);
        let mut follower = Follower::new(Arc::clone(&board));
        follower.follow(0, None);
        follower.follow(0, None);
        follower.follow(1, None);
        follower.leave(0);
        let followers = |line: usize| board.lines[line].followers.lock().unwrap().len();
        assert_eq!((followers(0), followers(1)), (0, 1));
        drop(follower);
        assert_eq!(followers(1), 0);
    }

    #[test]
    fn it_finds_instruments_by_each_name() {
        let board = board(13, 0);
        for (name, expected) in [
            ("0", Some(0)),
            ("btc-usd", Some(0)),
            ("ETH/USD", Some(1)),
            ("12", Some(12)),
            ("13", None),
            ("x", None),
        ] {
            assert_eq!(board.find(name), expected, "{name}");
        }
    }
}
