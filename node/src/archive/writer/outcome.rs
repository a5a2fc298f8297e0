//! What became of tasks, and what follows from it.

use std::io;
use std::sync::Arc;

use tokio::task::JoinError;

use super::{
    AGAIN, BTreeMap, Duration, Instant, Log, LogKey, Mending, Newest, PIECE, Plan, Position, Range, Rows,
    Stand, Task, Writer, end,
};
use crate::archive::board::Progress;
use crate::store::Loaded;

/// What became of a task.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The keyspace said where a log stands.
    Stands { key: LogKey, turn: u64, stand: Stand },
    /// Batches were read, or cannot be up to a seq.
    Read { key: LogKey, turn: u64, task: Task, range: Range, read: io::Result<Result<Vec<Arc<Loaded>>, u64>> },
    /// They are in the keyspace.
    Written {
        key: LogKey,
        turn: u64,
        task: Task,
        range: Range,
        newest: BTreeMap<Arc<str>, Newest>,
        times: (u64, u64),
    },
    /// A hole has its row.
    Passed { key: LogKey, turn: u64, range: Range },
    /// Rows of holes changed.
    Mended { key: LogKey, turn: u64, mending: Mending },
    /// Positions are kept.
    Kept(Vec<(Position, u64)>),
    /// What holes there are.
    Holes(Vec<(LogKey, Range)>),
}

impl Writer {
    /// Draws the consequences of what became of a task.
    pub(super) fn take(&mut self, outcome: Result<Outcome, JoinError>) {
        match outcome {
            Ok(Outcome::Stands { key, turn, stand }) => self.stands(key, turn, stand),
            Ok(Outcome::Read { key, turn, task, range, read }) => self.read(key, turn, task, range, read),
            Ok(Outcome::Written { key, turn, task, range, newest, times }) => {
                self.in_flight -= PIECE;
                self.latest.note(newest);
                self.written(key, turn, task, range, times);
            }
            Ok(Outcome::Passed { key, turn, range }) => {
                if let Some(plan) = self.plan(key, turn) {
                    plan.done(range.first);
                    self.progress(key);
                }
            }
            Ok(Outcome::Mended { key, turn, mending }) => {
                if let Some(plan) = self.plan(key, turn) {
                    plan.mended(&mending);
                    self.progress(key);
                }
            }
            Ok(Outcome::Kept(positions)) => self.kept(&positions),
            Ok(Outcome::Holes(holes)) => self.learn(holes),
            Err(error) => tracing::error!(%error, "A task of the archive broke"),
        }
    }

    /// The plan of a log, unless it was taken up anew since.
    fn plan(&mut self, key: LogKey, turn: u64) -> Option<&mut Plan> {
        self.logs.get_mut(&key).filter(|log| log.turn == turn)?.plan.as_mut()
    }

    fn stands(&mut self, key: LogKey, turn: u64, stand: Stand) {
        let Some(log) = self.logs.get_mut(&key).filter(|log| log.turn == turn) else { return };
        log.plan = Some(Plan::new(stand.archived_to, stand.holes));
        (log.first, log.kept) = (stand.first, stand.archived_to);
        self.shared.board().progress.entry(key).or_default().kept = stand.archived_to;
        self.progress(key);
    }

    fn read(
        &mut self,
        key: LogKey,
        turn: u64,
        task: Task,
        range: Range,
        read: io::Result<Result<Vec<Arc<Loaded>>, u64>>,
    ) {
        let view = self.store.log(key);
        let Some(log) = self.logs.get_mut(&key).filter(|log| log.turn == turn) else {
            self.in_flight -= PIECE;
            return;
        };
        let Some(plan) = &mut log.plan else { return };
        let fill = matches!(task, Task::Fill(_));
        self.active.insert(key);
        match read {
            Ok(Ok(batches)) => {
                let last = batches.last().map_or(range.last, |batch| batch.header().last());
                let range = Range::new(range.first, last.min(range.last));
                if !fill {
                    plan.took(range);
                }
                self.write(key, turn, task, range, batches);
                return;
            }
            Ok(Err(last)) if !fill => {
                // Retention may have come between the look and the reading; else it is damaged.
                let held = view.is_some_and(|view| {
                    range.first >= view.floor
                        && range.first <= end(&view)
                        && !view.missing.iter().any(|(from, to)| *from <= range.first && range.first <= *to)
                });
                if held {
                    let hole = Range::new(range.first, last);
                    plan.unreadable(hole);
                    self.pass(key, turn, hole);
                } else {
                    plan.unread();
                }
            }
            Ok(Err(_)) => {
                plan.mended(&Mending::default());
                log.fill_after = Some(Instant::now() + AGAIN);
            }
            Err(error) => {
                tracing::warn!(%error, log = %key, "Failed to read what is to be archived");
                log.fill_after = Some(Instant::now() + AGAIN);
                if fill { plan.mended(&Mending::default()) } else { plan.unread() }
            }
        }
        self.in_flight -= PIECE;
    }

    fn write(&self, key: LogKey, turn: u64, task: Task, range: Range, batches: Vec<Arc<Loaded>>) {
        let (store, pen) = (self.store.clone(), self.pen.clone());
        self.spawn(async move {
            // What is not on stable storage here could be taken back by a crash, and signed anew otherwise.
            while !store.synced().await {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let rows = Rows::of(key, &batches, range);
            drop(batches);
            pen.rows(&rows).await;
            Outcome::Written { key, turn, task, range, newest: rows.newest, times: rows.times }
        });
    }

    fn written(&mut self, key: LogKey, turn: u64, task: Task, range: Range, times: (u64, u64)) {
        let Some(log) = self.logs.get_mut(&key).filter(|log| log.turn == turn) else { return };
        let Some(plan) = &mut log.plan else { return };
        if log.first.is_none_or(|first| range.first < first) && !plan.fills_only() {
            log.first = Some(range.first);
            log.first_news = Some((range.first, times.0));
        }
        if matches!(task, Task::Fill(_)) {
            let mending = plan.filled(Some(range));
            let pen = self.pen.clone();
            self.spawn(async move {
                pen.mend(key, &mending).await;
                Outcome::Mended { key, turn, mending }
            });
            return;
        }
        log.times.insert(range.last, times.1);
        plan.done(range.first);
        self.progress(key);
    }

    /// Tells how far a log is, and lets it go on.
    fn progress(&mut self, key: LogKey) {
        self.active.insert(key);
        let Some(log) = self.logs.get_mut(&key) else { return };
        let Some(plan) = log.plan.as_ref().filter(|plan| !plan.fills_only()) else { return };
        let done = plan.archived_to();
        while let Some(entry) = log.times.first_entry().filter(|entry| *entry.key() <= done) {
            log.time = entry.remove();
        }
        if done > log.kept || log.first_news.is_some() {
            self.moved.insert(key);
        }
        let holes = plan.holes().collect();
        let kept = self.shared.board().progress.get(&key).map_or(0, |progress| progress.kept);
        self.shared.board().progress.insert(key, Progress { done, kept, holes });
        self.shared.progress.send_modify(|count| *count += 1);
    }

    fn kept(&mut self, positions: &[(Position, u64)]) {
        self.checkpointing = false;
        for (position, turn) in positions {
            let Some(log) = self.logs.get_mut(&position.key).filter(|log| log.turn == *turn) else {
                continue;
            };
            log.kept = position.archived_to.max(log.kept);
            if log.first_news == position.first {
                log.first_news = None;
            }
            if let Some(progress) = self.shared.board().progress.get_mut(&position.key) {
                progress.kept = log.kept.max(progress.kept);
            }
        }
    }

    /// Takes holes up whose ranges this node may hold.
    fn learn(&mut self, holes: Vec<(LogKey, Range)>) {
        let now = Instant::now();
        for (key, hole) in holes {
            let (known, owns) = {
                let board = self.shared.board();
                (board.views.contains_key(&key), board.duty.owns(key.origin, now))
            };
            if !known {
                continue;
            }
            self.turns += 1;
            let turn = self.turns;
            if !owns {
                self.logs.entry(key).or_insert_with(|| Log::new(Some(Plan::filler()), turn));
            }
            if let Some(plan) = self.logs.get_mut(&key).and_then(|log| log.plan.as_mut()) {
                plan.learn([hole]);
                self.active.insert(key);
            }
        }
    }
}
