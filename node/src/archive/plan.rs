//! What of one log is archived next, and how far `archived_to` may move. Pure.
//!
//! A range is taken once it is visible here. What is missing is passed, and a row in the keyspace says so before
//! `archived_to` goes beyond it; it is filled when it comes. So the archive never waits for a hole, and never forgets one.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::LogView;

#[cfg(test)]
mod tests;

/// How many pieces of one log are under way at once: enough that one is read while others are written.
pub(super) const PIECES: usize = 4;

/// Seqs of a log, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Range {
    /// The seqs from `first` to `last`.
    pub fn new(first: u64, last: u64) -> Self {
        Self { first, last }
    }

    /// How many they are.
    pub fn count(self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }

    fn with(self, other: Self) -> Option<Self> {
        let both = Self { first: self.first.max(other.first), last: self.last.min(other.last) };
        (both.first <= both.last).then_some(both)
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Read batches from the range's first seq on, as far as the range goes; tell [`Plan::took`] or [`Plan::unreadable`].
    Read(Range),
    /// Write a row that says that the range is missing; tell [`Plan::done`].
    Pass(Range),
    /// Read and write part of a range that was passed as missing; tell [`Plan::filled`].
    Fill(Range),
}

/// How the rows of holes change together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mending {
    /// Rows to write.
    pub write: Vec<Range>,
    /// Rows to delete.
    pub delete: Vec<Range>,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    last: u64,
    hole: bool,
    done: bool,
}

/// Where the archiving of one log stands.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Up to here everything is in the keyspace, or has a hole's row there.
    archived_to: u64,
    /// The next seq to take.
    next: u64,
    /// What is under way, by first seq.
    pieces: BTreeMap<u64, Piece>,
    /// The rows of holes, as they stand in the keyspace.
    holes: BTreeSet<Range>,
    reading: bool,
    filling: bool,
}

/// What a log has at a seq.
enum Here {
    Held(Range),
    Missing(Range),
}

/// Looks at a log from a seq on, up to `end`.
fn look(view: &LogView, from: u64, end: u64) -> Option<Here> {
    if from > end {
        return None;
    }
    if from < view.floor {
        return Some(Here::Missing(Range::new(from, end.min(view.floor - 1))));
    }
    match view.missing.iter().find(|(_, last)| *last >= from) {
        Some((first, last)) if *first <= from => Some(Here::Missing(Range::new(from, end.min(*last)))),
        Some((first, _)) => Some(Here::Held(Range::new(from, end.min(first - 1)))),
        None => Some(Here::Held(Range::new(from, end))),
    }
}

/// The last seq of a log that is visible and counts.
pub(super) fn end(view: &LogView) -> u64 {
    view.head.min(view.forked.map_or(u64::MAX, |end| end.saturating_sub(1)))
}

impl Plan {
    /// Goes on from what the keyspace says.
    pub fn new(archived_to: u64, holes: impl IntoIterator<Item = Range>) -> Self {
        Self {
            archived_to,
            next: archived_to + 1,
            pieces: BTreeMap::new(),
            holes: holes.into_iter().collect(),
            reading: false,
            filling: false,
        }
    }

    /// Up to which seq everything is in the keyspace, or has a hole's row there.
    pub fn archived_to(&self) -> u64 {
        self.archived_to
    }

    /// The ranges that were passed as missing.
    pub fn holes(&self) -> impl Iterator<Item = Range> {
        self.holes.iter().copied()
    }

    /// Fills holes only: another node archives the log.
    pub fn filler() -> Self {
        // Behind every seq that a log can have.
        Self::new(u64::MAX - 1, [])
    }

    /// Whether it fills holes only.
    pub fn fills_only(&self) -> bool {
        self.archived_to == u64::MAX - 1
    }

    /// The keyspace has these rows of holes too.
    pub fn learn(&mut self, holes: impl IntoIterator<Item = Range>) {
        self.holes.extend(holes);
    }

    /// Whether anything is under way.
    pub fn is_busy(&self) -> bool {
        self.reading || self.filling || !self.pieces.is_empty()
    }

    /// What to do next, if anything can be begun now. What is visible goes before what was passed.
    pub fn next(&mut self, view: &LogView) -> Option<Task> {
        if !self.reading && self.pieces.len() < PIECES {
            match look(view, self.next, end(view)) {
                Some(Here::Held(range)) => {
                    self.reading = true;
                    return Some(Task::Read(range));
                }
                Some(Here::Missing(range)) => {
                    self.begin(range, true);
                    return Some(Task::Pass(range));
                }
                None => {}
            }
        }
        let fill = if self.filling { None } else { self.to_fill(view) }?;
        self.filling = true;
        Some(Task::Fill(fill))
    }

    fn begin(&mut self, range: Range, hole: bool) {
        self.pieces.insert(range.first, Piece { last: range.last, hole, done: false });
        self.next = range.last + 1;
    }

    /// What a hole's row names and the store holds now.
    fn to_fill(&self, view: &LogView) -> Option<Range> {
        self.holes().find_map(|hole| {
            let (mut from, end) = (hole.first, hole.last.min(end(view)));
            while let Some(here) = look(view, from, end) {
                match here {
                    Here::Held(range) => return Some(range),
                    Here::Missing(range) => from = range.last + 1,
                }
            }
            None
        })
    }

    /// Batches were read from the range's first seq to its last; they are to be written now, then tell [`Plan::done`].
    pub fn took(&mut self, range: Range) {
        self.reading = false;
        self.begin(range, false);
    }

    /// What was to be read turned out missing, so it is to be passed: write its row, then tell [`Plan::done`].
    pub fn unreadable(&mut self, range: Range) {
        self.reading = false;
        self.begin(range, true);
    }

    /// Reading failed as a whole: it is tried again.
    pub fn unread(&mut self) {
        self.reading = false;
    }

    /// The piece that begins at this seq is in the keyspace. Says whether `archived_to` moved.
    pub fn done(&mut self, first: u64) -> bool {
        let Some(piece) = self.pieces.get_mut(&first) else { return false };
        piece.done = true;
        if piece.hole {
            self.holes.insert(Range::new(first, piece.last));
        }
        let before = self.archived_to;
        while let Some(piece) = self.pieces.get(&(self.archived_to + 1)).filter(|piece| piece.done) {
            let last = piece.last;
            self.pieces.remove(&(self.archived_to + 1));
            self.archived_to = last;
        }
        self.archived_to > before
    }

    /// What was to be filled is in the keyspace, as far as it could be read: how the rows of holes change. Tell
    /// [`Plan::mended`] once they have.
    pub fn filled(&self, filled: Option<Range>) -> Mending {
        let mut mending = Mending::default();
        for hole in self.holes() {
            let Some(both) = filled.and_then(|filled| hole.with(filled)) else { continue };
            if both.last < hole.last {
                mending.write.push(Range::new(both.last + 1, hole.last));
            }
            if both.first > hole.first {
                mending.write.push(Range::new(hole.first, both.first - 1));
            }
            mending.delete.push(hole);
        }
        mending
    }

    /// The rows of holes have changed.
    pub fn mended(&mut self, mending: &Mending) {
        self.filling = false;
        mending.delete.iter().for_each(|hole| _ = self.holes.remove(hole));
        self.holes.extend(&mending.write);
    }
}

/// How many records that are visible and held lie above a seq.
pub(super) fn lag(view: &LogView, archived_to: u64) -> u64 {
    let above = Range::new(archived_to.saturating_add(1).max(view.floor), end(view));
    let missing = view.missing.iter().filter_map(|(first, last)| Range::new(*first, *last).with(above));
    above.count().saturating_sub(missing.map(Range::count).sum())
}
