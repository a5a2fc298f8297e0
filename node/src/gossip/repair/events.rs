//! What the planner of repair is told, and what it decides.

use std::time::Duration;

use anode_shared::beacon::Beacon;
use anode_shared::ids::{LogId, LogKey, Origin};
use anode_shared::repair::{Digest, Summaries, Summary};
use anode_shared::time::Micros;

use super::Own;
use crate::gossip::spans::Span;

/// What became of a batch that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored now, was already, or its log ended before it.
    Stored,
    /// It lies below the floor.
    Old,
    /// It comes from the future; it may be asked for again after so long.
    Early(Duration),
    /// The store has no room for such batches of this log for a while.
    Crowded,
    /// The store could not take it now.
    Unable,
    /// It is no valid batch of that log.
    Wrong,
}

/// A batch that came with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its seqs.
    pub span: Span,
    /// Its length.
    pub bytes: u64,
    /// The time of its last record.
    pub time: Micros,
    /// What became of it.
    pub outcome: Outcome,
}

/// A range of a log that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owed {
    /// The log.
    pub log: LogKey,
    /// The seqs.
    pub span: Span,
    /// Whether they are read from the last one down.
    pub newest_first: bool,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// A peer that speaks this protocol was connected.
    Connected(Origin),
    /// The last connection to a peer closed.
    Closed(Origin),
    /// A beacon was news.
    Beacon(&'a Beacon),
    /// A head whose signed header was checked.
    Proven(LogKey, u64),
    /// What the store holds of a log changed. Comes before the answer that changed it.
    Own(LogKey, Own),
    /// The store forgot all finished logs of an origin up to this one: they are not wanted again.
    Forgotten(Origin, LogId),
    /// The store knows a log no more; it may be wanted again.
    Gone(LogKey),
    /// What readers wait for, all of it.
    Owed(Vec<Owed>),
    /// Something of an origin came by gossip.
    Gossiped(Origin),
    /// A comparison was answered. `proven` holds the heads whose proofs were checked.
    Compared {
        /// The question's number.
        id: u64,
        /// The answer.
        answer: &'a Summaries,
        /// Which heads in it are proven.
        proven: &'a [(LogKey, u64)],
    },
    /// Batches were answered, and handed to the store.
    Answered {
        /// The question's number.
        id: u64,
        /// What the peer says it holds of the log.
        held: Option<&'a Summary>,
        /// Whether there was more than the answer could hold.
        more: bool,
        /// What came.
        pieces: &'a [Piece],
    },
    /// A question was refused, or could not be asked.
    Failed(u64),
    /// Records older than this would be dropped at once, by age or because the store is full: nothing older is wanted.
    Retention(Micros),
    /// The answer to a question for batches came; they are being stored.
    Arrived(u64),
    /// Time passed: at least ten times a second.
    Tick,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask a peer what it holds.
    Compare {
        /// The question's number.
        id: u64,
        /// Whom.
        peer: Origin,
        /// What it is thought to hold.
        digest: Digest,
        /// The part to begin with.
        from: u16,
        /// Whether heads are to come with proof.
        proofs: bool,
    },
    /// Ask a peer for batches.
    Fetch {
        /// The question's number.
        id: u64,
        /// Whom.
        peer: Origin,
        /// Of which log.
        log: LogKey,
        /// Which seqs.
        span: Span,
        /// How many bytes at most.
        most: u32,
    },
    /// The answer to a question is not wanted any more.
    Cancel(u64),
    /// Ask a peer for the proof that a log forked, and hand it to the store.
    AskFork(Origin, LogKey),
    /// Send a peer the proof that a log forked.
    TellFork(Origin, LogKey),
    /// The store should hear of a proven head.
    Heard(LogKey, u64),
    /// Nothing below this seq is wanted any more.
    RaiseFloor(LogKey, u64),
    /// The gossip link to a peer died silently.
    RenewLink(Origin),
    /// A peer says again and again that it has what it never gives.
    Useless(Origin),
}
