//! The stage: takes what is to be archived out of the store, lets it be written, and keeps account. Loops over one table of
//! logs; everything that waits for storage or Cassandra is a task whose outcome comes back here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anode_shared::ids::LogKey;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::latest::Latest;
use super::pen::{Pen, Position, Stand};
use super::plan::{Mending, Plan, Range, Task, end, lag};
use super::rows::{Newest, Rows};
use crate::store::{LogView, Store, system_time};

mod outcome;

use outcome::Outcome;

/// About how many bytes of batches make a piece: some statements for each of many topics.
const PIECE: usize = 512 << 10;
/// How many bytes of pieces are under way at once, over all logs.
const IN_FLIGHT: usize = 16 << 20;
/// How long records of a quiet log gather, unless somebody waits for them.
const GATHER: Duration = Duration::from_millis(100);
/// So many records need not gather.
const ENOUGH: u64 = 1_000;
/// How often positions and newest records are written.
const CHECKPOINT: Duration = Duration::from_secs(1);
/// How often all holes are looked at, and how old those must be that another node passed.
const SWEEP: Duration = Duration::from_secs(60);
/// How long after a failure a range is read again.
const AGAIN: Duration = Duration::from_secs(5);
/// How long nothing works before everything is begun anew, from what the keyspace says.
const GIVE_UP: Duration = Duration::from_secs(30);
/// How long the last checkpoint may take when the node stops.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// One log that is archived here.
#[derive(Debug)]
struct Log {
    /// None while the keyspace is asked where it stands.
    plan: Option<Plan>,
    /// Which time this log was taken up: outcomes of an earlier one do not count.
    turn: u64,
    began: Option<Instant>,
    fill_after: Option<Instant>,
    /// The times of the last records of pieces, by seq.
    times: BTreeMap<u64, u64>,
    time: u64,
    /// The lowest seq that is archived, as the keyspace says, and what is news of it.
    first: Option<u64>,
    first_news: Option<(u64, u64)>,
    fork: Option<u64>,
    kept: u64,
}

/// Writes to the archive.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    store: Store,
    pen: Arc<Pen>,
    tracker: TaskTracker,
    logs: BTreeMap<LogKey, Log>,
    /// Logs that may have something to do.
    active: BTreeSet<LogKey>,
    /// Behind which log the next turn begins, so that none starves.
    after: Option<LogKey>,
    /// Logs whose position moved since the last checkpoint.
    moved: BTreeSet<LogKey>,
    running: FuturesUnordered<JoinHandle<Outcome>>,
    latest: Latest,
    in_flight: usize,
    turns: u64,
    checkpointing: bool,
    checked: Instant,
    swept: Instant,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, store: Store, pen: Pen, tracker: TaskTracker) -> Self {
        let active = shared.board().views.keys().copied().collect();
        Self {
            shared,
            store,
            pen: Arc::new(pen),
            tracker,
            logs: BTreeMap::new(),
            active,
            after: None,
            moved: BTreeSet::new(),
            running: FuturesUnordered::new(),
            latest: Latest::default(),
            in_flight: 0,
            turns: 0,
            checkpointing: false,
            checked: Instant::now(),
            swept: Instant::now(),
        }
    }

    /// Writes until cancelled, or until Cassandra was lost for long, or comes back after all connections were.
    pub(super) async fn run(mut self, cancel: &CancellationToken) {
        let mut ticks = tokio::time::interval(GATHER);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let shared = self.shared.clone();
        let mut knock = std::pin::pin!(shared.knock());
        loop {
            tokio::select! {
                () = cancel.cancelled() => break self.last_words().await,
                Some(outcome) = self.running.next(), if !self.running.is_empty() => self.take(outcome),
                () = &mut knock => break,
                () = shared.kick.notified() => shared.look(),
                _ = ticks.tick() => shared.look(),
            }
            self.turn();
            if self.shared.health.lost_for(Instant::now()).is_some_and(|lost| lost > GIVE_UP) {
                break;
            }
        }
        self.running.iter().for_each(JoinHandle::abort);
    }

    /// Keeps where logs stand, so that the next start does nothing twice.
    async fn last_words(&mut self) {
        let until = tokio::time::Instant::now() + LAST_WORDS;
        while self.checkpointing || !self.moved.is_empty() {
            self.checkpoint();
            match tokio::time::timeout_at(until, self.running.next()).await {
                Ok(Some(outcome)) => self.take(outcome),
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn spawn(&self, task: impl Future<Output = Outcome> + Send + 'static) {
        self.running.push(self.tracker.spawn(task));
    }

    /// Begins what can be begun.
    fn turn(&mut self) {
        let now = Instant::now();
        let touched = self.shared.board().take_touched();
        self.active.extend(touched);
        let (before, behind): (Vec<LogKey>, Vec<LogKey>) =
            self.active.iter().copied().partition(|key| self.after.is_some_and(|after| *key <= after));
        for key in behind.into_iter().chain(before) {
            if self.in_flight >= IN_FLIGHT || self.latest.is_full() {
                break;
            }
            self.after = Some(key);
            if !self.advance(key, now) {
                self.active.remove(&key);
            }
        }
        if now.duration_since(self.checked) >= CHECKPOINT || self.latest.is_full() {
            self.checkpoint();
        }
        if now.duration_since(self.swept) >= SWEEP {
            self.sweep(now);
        }
    }

    /// Begins what can be begun of one log. Says whether there may be more to begin before anything else happens.
    fn advance(&mut self, key: LogKey, now: Instant) -> bool {
        let (view, owns, would_own) = {
            let board = self.shared.board();
            let view = board.views.get(&key).cloned();
            (view, board.duty.owns(key.origin, now), board.duty.would_own(key.origin))
        };
        let Some(view) = view else {
            self.logs.remove(&key);
            return false;
        };
        let fills = |log: &Log| log.plan.as_ref().is_some_and(Plan::fills_only);
        match self.logs.get(&key) {
            // What only filled holes so far is this node's own now.
            Some(log) if owns && fills(log) => self.take_up(key),
            None if owns => self.take_up(key),
            Some(log) if owns || fills(log) => return self.plan_next(key, &view, now),
            _ => {
                self.logs.remove(&key);
                return would_own;
            }
        }
        false
    }

    /// Asks the keyspace where a log stands.
    fn take_up(&mut self, key: LogKey) {
        self.turns += 1;
        let turn = self.turns;
        self.logs.insert(key, Log::new(None, turn));
        let pen = self.pen.clone();
        self.spawn(async move { Outcome::Stands { key, turn, stand: pen.stand(key).await } });
    }

    fn plan_next(&mut self, key: LogKey, view: &LogView, now: Instant) -> bool {
        let waited_for = self.shared.waiting.load(Relaxed) > 0;
        while self.in_flight < IN_FLIGHT {
            let Some(log) = self.logs.get_mut(&key) else { return false };
            let Some(plan) = &mut log.plan else { return false };
            if view.forked.is_some() && log.fork != view.forked && !plan.fills_only() {
                log.fork = view.forked;
                self.moved.insert(key);
            }
            let gathered = log.began.is_none_or(|began| now.saturating_duration_since(began) >= GATHER);
            let ripe = waited_for || gathered || lag(view, plan.archived_to()) >= ENOUGH;
            if !ripe {
                return true;
            }
            let Some(task) = plan.next(view) else { return false };
            if matches!(task, Task::Fill(_)) && log.fill_after.is_some_and(|after| now < after) {
                plan.mended(&Mending::default());
                return true;
            }
            log.began = Some(now);
            let turn = log.turn;
            self.begin(key, turn, task);
        }
        true
    }

    fn begin(&mut self, key: LogKey, turn: u64, task: Task) {
        match task {
            Task::Read(range) | Task::Fill(range) => {
                self.in_flight += PIECE;
                let store = self.store.clone();
                self.spawn(async move {
                    let read = move || store.run_of_batches(key, range.first, range.last, PIECE);
                    let read = tokio::task::spawn_blocking(read).await;
                    let read = read.map_err(std::io::Error::other).flatten();
                    Outcome::Read { key, turn, task, range, read }
                });
            }
            Task::Pass(range) => self.pass(key, turn, range),
        }
    }

    fn pass(&self, key: LogKey, turn: u64, range: Range) {
        tracing::debug!(log = %key, range.first, range.last, "Archiving goes on without a range");
        let pen = self.pen.clone();
        self.spawn(async move {
            pen.pass(key, range).await;
            Outcome::Passed { key, turn, range }
        });
    }

    /// Writes newest records and positions: those that everything was written for that they stand for.
    fn checkpoint(&mut self) {
        if self.checkpointing {
            return;
        }
        self.checked = Instant::now();
        let moved = std::mem::take(&mut self.moved);
        let positions: Vec<(Position, u64)> = moved.iter().filter_map(|key| self.position(*key)).collect();
        let newest = self.latest.take();
        if positions.is_empty() && newest.is_empty() {
            return;
        }
        self.checkpointing = true;
        let pen = self.pen.clone();
        self.spawn(async move {
            pen.latest(newest).await;
            let writes = positions.iter().map(|(position, _)| pen.position(position)).collect::<Vec<_>>();
            futures_util::stream::iter(writes).buffer_unordered(16).collect::<()>().await;
            Outcome::Kept(positions)
        });
    }

    fn position(&self, key: LogKey) -> Option<(Position, u64)> {
        let log = self.logs.get(&key)?;
        let plan = log.plan.as_ref().filter(|plan| !plan.fills_only())?;
        let (archived_to, first, fork) = (plan.archived_to(), log.first_news, log.fork);
        let position = Position { key, archived_to, time: log.time, first, fork };
        Some((position, log.turn))
    }

    /// Looks for holes that somebody passed a while ago: whoever holds what is missing writes it.
    fn sweep(&mut self, now: Instant) {
        self.swept = now;
        self.logs.retain(|_, log| log.plan.as_ref().is_none_or(|plan| !plan.fills_only() || plan.is_busy()));
        let pen = self.pen.clone();
        let before = system_time().saturating_sub(u64::try_from(SWEEP.as_micros()).unwrap_or(0));
        self.spawn(async move { Outcome::Holes(pen.holes_before(before).await) });
    }
}

impl Log {
    fn new(plan: Option<Plan>, turn: u64) -> Self {
        Self {
            plan,
            turn,
            began: None,
            fill_after: None,
            times: BTreeMap::new(),
            time: 0,
            first: None,
            first_news: None,
            fork: None,
            kept: 0,
        }
    }
}
