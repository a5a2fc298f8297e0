//! Judges what a reader saw against what was acknowledged, in the manner of Jepsen's checkers.
//!
//! The input is a plain history, so the judge itself is tested by histories with known faults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::words::Id;

/// One thing that a reader saw, in the order in which it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A record, with the key that its publisher wrote into it.
    Record(Id, String),
    /// An announcement that a range of a log (both ends inclusive) will not come.
    Gap {
        /// `<origin>/<log>`.
        log: String,
        /// The first missing seq.
        from: u64,
        /// The last missing seq.
        to: u64,
        /// Why.
        reason: String,
    },
}

/// What a reader had to see.
#[derive(Clone, Debug, Default)]
pub struct Owed {
    /// Every acknowledged record, with the key that its publisher wrote into it.
    pub acked: BTreeMap<Id, String>,
    /// Per log the last seq before the reader's start; 0 for a log that is not named.
    pub start: BTreeMap<String, u64>,
    /// The reader gets only some of each log's records, so seqs between them say nothing.
    pub narrow: bool,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Acknowledged, and neither seen nor named in a gap.
    Lost(Id),
    /// Seen twice.
    Duplicated(Id),
    /// Seen after a later one of its log, or after its gap.
    Disordered(Id),
    /// A range of a log was skipped in silence.
    Hole(String, u64, u64),
    /// A gap over what the reader had, or with its ends exchanged.
    WrongGap(String, u64, u64),
    /// Another record stands where the acknowledged one should.
    Altered(Id),
    /// One publish was stored under two ids.
    StoredTwice(Id, Id),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(id) => write!(out, "lost {id}"),
            Self::Duplicated(id) => write!(out, "seen twice: {id}"),
            Self::Disordered(id) => write!(out, "out of order: {id}"),
            Self::Hole(log, from, to) => write!(out, "skipped in silence: {log} {from}..={to}"),
            Self::WrongGap(log, from, to) => write!(out, "a gap that is none: {log} {from}..={to}"),
            Self::Altered(id) => write!(out, "not what was acknowledged: {id}"),
            Self::StoredTwice(one, two) => write!(out, "published once, stored twice: {one} and {two}"),
        }
    }
}

/// Names every broken promise in what a reader saw.
#[must_use]
pub fn check(owed: &Owed, seen: &[Seen]) -> Vec<Fault> {
    let mut walk = Walk { owed, ..Walk::new(owed) };
    for one in seen {
        match one {
            Seen::Record(id, key) => walk.record(id, key),
            Seen::Gap { log, from, to, .. } => walk.gap(log, *from, *to),
        }
    }
    walk.finish()
}

/// Fails with all faults, for a test's last line.
///
/// # Errors
/// Fails where [`check`] finds anything; the text names the first twenty.
pub fn ensure_sound(reader: &str, owed: &Owed, seen: &[Seen]) -> anyhow::Result<()> {
    let faults = check(owed, seen);
    let shown: Vec<String> = faults.iter().take(20).map(ToString::to_string).collect();
    anyhow::ensure!(faults.is_empty(), "{reader}: {} faults:\n  {}", faults.len(), shown.join("\n  "));
    Ok(())
}

struct Walk<'a> {
    owed: &'a Owed,
    next: BTreeMap<&'a str, u64>,
    seen: BTreeSet<Id>,
    gaps: BTreeMap<&'a str, Vec<(u64, u64)>>,
    keys: BTreeMap<&'a str, &'a Id>,
    faults: Vec<Fault>,
}

impl<'a> Walk<'a> {
    fn new(owed: &'a Owed) -> Self {
        Self {
            owed,
            next: BTreeMap::new(),
            seen: BTreeSet::new(),
            gaps: BTreeMap::new(),
            keys: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// The next seq that the reader must be told of.
    fn next(&self, log: &str) -> u64 {
        let start = || self.owed.start.get(log).copied().unwrap_or(0) + 1;
        self.next.get(log).copied().unwrap_or_else(start)
    }

    fn record(&mut self, id: &'a Id, key: &'a str) {
        let next = self.next(&id.log);
        if !self.seen.insert(id.clone()) {
            self.faults.push(Fault::Duplicated(id.clone()));
            return;
        }
        if id.seq < next {
            self.faults.push(Fault::Disordered(id.clone()));
            return;
        }
        if id.seq > next && !self.owed.narrow {
            self.faults.push(Fault::Hole(id.log.clone(), next, id.seq - 1));
        }
        self.next.insert(&id.log, id.seq + 1);
        if self.owed.acked.get(id).is_some_and(|acked| acked != key) {
            self.faults.push(Fault::Altered(id.clone()));
        }
        if let Some(other) = self.keys.insert(key, id) {
            self.faults.push(Fault::StoredTwice(other.clone(), id.clone()));
        }
    }

    fn gap(&mut self, log: &'a str, from: u64, to: u64) {
        let next = self.next(log);
        let first = Id::new(log, from);
        let had = self.seen.range(first..).next().is_some_and(|id| id.log == log && id.seq <= to);
        if from == 0 || to < from || had || to < next {
            self.faults.push(Fault::WrongGap(log.to_owned(), from, to));
            return;
        }
        if from > next && !self.owed.narrow {
            self.faults.push(Fault::Hole(log.to_owned(), next, from - 1));
        }
        self.next.insert(log, to + 1);
        self.gaps.entry(log).or_default().push((from, to));
    }

    fn finish(mut self) -> Vec<Fault> {
        for id in self.owed.acked.keys() {
            let before = self.owed.start.get(&id.log).is_some_and(|start| id.seq <= *start);
            let told = self
                .gaps
                .get(id.log.as_str())
                .is_some_and(|gaps| gaps.iter().any(|(from, to)| (*from..=*to).contains(&id.seq)));
            if !before && !told && !self.seen.contains(id) {
                self.faults.push(Fault::Lost(id.clone()));
            }
        }
        self.faults
    }
}

#[cfg(test)]
mod tests;
