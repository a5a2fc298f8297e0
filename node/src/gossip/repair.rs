//! Repair: what this node lacks, and whom it asks for it.
//!
//! Pure: events and the time in, effects out. What the store holds and what origins signed is known; what peers say of
//! themselves only tells where to ask. What readers wait for is asked for first, then what holds logs back, then what is older.

mod log;
mod peer;
mod plan;
mod answers;
mod rounds;
mod silence;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anode_shared::beacon::Beacon;
use anode_shared::ids::{LogId, LogKey, Origin};
use anode_shared::repair::{Digest, Summaries, Summary};
use anode_shared::time::Micros;

use super::dice::Dice;
use super::rates::Rates;
use super::spans::{Span, Spans, total};
use log::Log;
pub use log::Own;
use peer::{Hint, Peer};
use plan::Flight;
use silence::Silence;

/// An answer that takes longer makes its sender slow: asked after others until it is quicker.
const SLOW: Duration = Duration::from_secs(2);
/// How long a log whose fork is told of is left alone before the proof is asked for again.
const FORK_AGAIN: Duration = Duration::from_secs(2);
/// How long nothing is asked for after the store had no room for what came.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a node whose connection closed may take to be back, before its own logs count as lost: a restart.
const BACK: Duration = Duration::from_secs(10);
/// The most logs that are known without being held; of more, no more are wanted.
const MOST_LOGS: usize = 65_536;

/// What became of a batch that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored now, was already, or its log ended before it.
    Stored,
    /// It lies below the floor.
    Old,
    /// It comes from the future; it may be asked for again after so long.
    Early(Duration),
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

/// Rules that tests break on purpose, to see that the simulation notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    SkipRange,
    SamePeer,
    KeepInFlight,
    TrustHints,
    IgnoreFloors,
    #[cfg(test)]
    DropByArrival,
}

/// The planner of repair.
#[derive(Debug)]
pub struct Repair {
    me: Origin,
    dice: Dice,
    rates: Rates,
    logs: BTreeMap<LogKey, Log>,
    /// Logs of which something may be wanted.
    wanting: BTreeSet<LogKey>,
    /// Logs of which readers wait for something.
    owing: BTreeSet<LogKey>,
    /// Which logs each origin has, to tell when one ended.
    of_origin: BTreeMap<Origin, BTreeSet<LogId>>,
    /// Logs that forked, as a peer says, and not as the store knows.
    forking: BTreeSet<LogKey>,
    forgotten: BTreeMap<Origin, LogId>,
    peers: BTreeMap<Origin, Peer>,
    /// Whose connection closed a moment ago.
    gone: BTreeMap<Origin, Instant>,
    /// When the first thing happened.
    began: Option<Instant>,
    digest: Digest,
    flights: BTreeMap<u64, Flight>,
    bytes: u64,
    next_id: u64,
    horizon: Micros,
    paused: Option<Instant>,
    next_round: Option<Instant>,
    silence: Silence,
    /// Whose logs are wanted; none: everybody's.
    kept: Option<BTreeSet<Origin>>,
    shard_bits: u8,
    flaw: Option<Flaw>,
}

impl Repair {
    /// Begins with the own identity, the byte rate of each origin and a seed.
    pub fn new(me: Origin, bytes_per_s: u64, seed: u64) -> Self {
        Self {
            me,
            dice: Dice::new(seed),
            rates: Rates::new(bytes_per_s),
            logs: BTreeMap::new(),
            wanting: BTreeSet::new(),
            owing: BTreeSet::new(),
            of_origin: BTreeMap::new(),
            forking: BTreeSet::new(),
            forgotten: BTreeMap::new(),
            peers: BTreeMap::new(),
            gone: BTreeMap::new(),
            began: None,
            digest: Digest::default(),
            flights: BTreeMap::new(),
            bytes: 0,
            next_id: 1,
            horizon: 0,
            paused: None,
            next_round: None,
            silence: Silence::default(),
            kept: None,
            shard_bits: 0,
            flaw: None,
        }
    }

    /// Wants the logs of these origins only, beside the own ones.
    pub fn keep_only(&mut self, origins: BTreeSet<Origin>) {
        self.kept = Some(origins);
    }

    /// Expects each origin to have an own log in each of `1 << bits` shards.
    pub fn expect_shards(&mut self, bits: u8) {
        self.shard_bits = bits;
    }

    fn keeps(&self, origin: Origin) -> bool {
        origin == self.me || self.kept.as_ref().is_none_or(|kept| kept.contains(&origin))
    }

    #[cfg(test)]
    pub(crate) fn break_rule(&mut self, flaw: Option<Flaw>) {
        self.flaw = flaw;
    }

    /// What is known of a log, for a failing simulation to say.
    #[cfg(test)]
    pub(crate) fn describe(&self, key: LogKey) -> String {
        let hints: Vec<_> =
            self.peers.iter().map(|(peer, it)| (peer, it.hint(key), it.faults, it.requests)).collect();
        format!("{:#?}\nwanting {}, hints {hints:#?}", self.logs.get(&key), self.wanting.contains(&key))
    }

    fn breaks(&self, flaw: Flaw) -> bool {
        cfg!(test) && self.flaw == Some(flaw)
    }

    /// A digest of all that this node holds.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How many seqs are missing here that somebody who is there says it has, and how many requests are under way.
    pub fn progress(&mut self, now: Instant) -> (u64, usize) {
        let wanting: Vec<LogKey> = self.wanting.iter().copied().collect();
        let mut count: u64 = 0;
        for key in wanting {
            let Some(log) = self.logs.get_mut(&key) else { continue };
            let (top, mut held) = (log.sure(), Spans::default());
            for span in log.missing(top, now).iter() {
                log.said(span, now).into_iter().for_each(|said| held.add(said));
                let claims = self.peers.values().map(|peer| peer.claims(key, span, now));
                claims.for_each(|claims| claims.iter().for_each(|span| held.add(span)));
            }
            count = count.saturating_add(held.count());
        }
        (count, self.flights.len())
    }

    /// Below which seq a log's origin itself says that it has dropped everything.
    pub fn origins_floor(&self, key: LogKey) -> u64 {
        self.logs.get(&key).map_or(1, Log::origins_floor)
    }

    /// Whether batches of an origin are taken by gossip now; where its rate is used up they wait for repair.
    pub fn may_take(&self, origin: Origin, now: Instant) -> bool {
        self.rates.open(origin, now)
    }

    /// Takes bytes of an origin's rate for a batch that came by gossip; says no where it is used up.
    pub fn takes(&mut self, origin: Origin, bytes: u64, now: Instant) -> bool {
        self.rates.take(origin, bytes, now)
    }

    /// Whether somebody who is there says that it has some of a range, or may yet say so. Who claimed it and did not give it
    /// does not count for a while, nor who gave nothing again and again; an origin that is not linked counts by its beacons.
    pub fn may_have(&self, key: LogKey, span: Span, now: Instant) -> bool {
        self.first_of(key, span, now).is_some()
    }

    /// The first seq of a range of which that holds.
    pub fn first_of(&self, key: LogKey, span: Span, now: Instant) -> Option<u64> {
        self.ends_of(key, span, now).map(|ends| ends.from)
    }

    /// From the first to the last seq of a range of which that holds.
    pub fn ends_of(&self, key: LogKey, span: Span, now: Instant) -> Option<Span> {
        if !self.keeps(key.origin) {
            return None;
        }
        let claimed = |peer: &Peer| {
            if peer.may_yet_say(now) {
                return Some(span);
            }
            let claims = peer.is_believed().then(|| peer.claims(key, span, now))?;
            Span::new(claims.iter().next()?.from, claims.last()?)
        };
        let unlinked = self.logs.get(&key).filter(|_| !self.peers.contains_key(&key.origin));
        let said = unlinked.and_then(|log| log.said(span, now));
        let all = self.peers.values().filter_map(claimed).chain(said);
        all.reduce(|one, other| Span { from: one.from.min(other.from), to: one.to.max(other.to) })
    }

    /// Whether the node that made a log is away, and may yet be here again with all of it: its connection closed a moment ago,
    /// or this node has just started.
    pub fn awaits(&self, log: LogKey, now: Instant) -> bool {
        let since = self.gone.get(&log.origin).copied().or(self.began);
        let recent = since.is_none_or(|since| since + BACK > now);
        recent && log.origin != self.me && !self.peers.contains_key(&log.origin) && self.keeps(log.origin)
    }

    /// Takes what happened.
    pub fn handle(&mut self, event: Event<'_>, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.began.get_or_insert(now);
        match event {
            Event::Connected(peer) => self.connected(peer, now, &mut effects),
            Event::Closed(peer) => self.closed(peer, now),
            Event::Beacon(beacon) => self.beacon(beacon, now, &mut effects),
            Event::Proven(key, head) => self.prove(key, head, now, &mut effects),
            Event::Own(key, own) => self.own(key, own, now, &mut effects),
            Event::Forgotten(origin, log) => self.forget(origin, log),
            Event::Owed(owed) => self.owed(owed),
            Event::Gossiped(origin) => self.silence.heard(origin),
            Event::Compared { id, answer, proven } => {
                proven.iter().for_each(|(key, head)| self.prove(*key, *head, now, &mut effects));
                self.compared(id, answer, now, &mut effects);
            }
            Event::Answered { id, held, more, pieces } => {
                self.answered(id, held, more, pieces, now, &mut effects);
            }
            Event::Failed(id) => self.failed(id, now, &mut effects),
            Event::Retention(horizon) => self.horizon = horizon,
            Event::Arrived(id) => self.arrived(id, now),
            Event::Tick => self.tick(now, &mut effects),
        }
        effects
    }

    /// The log, as far as there is room to know of it.
    fn log(&mut self, key: LogKey) -> Option<&mut Log> {
        if !self.logs.contains_key(&key) {
            if self.logs.len() >= MOST_LOGS || self.is_forgotten(key) || !self.keeps(key.origin) {
                return None;
            }
            self.of_origin.entry(key.origin).or_default().insert(key.log);
            self.logs.insert(key, Log::new(key));
        }
        self.logs.get_mut(&key)
    }

    fn is_forgotten(&self, key: LogKey) -> bool {
        self.forgotten.get(&key.origin).is_some_and(|mark| key.log <= *mark)
    }

    fn beacon(&mut self, beacon: &Beacon, now: Instant, effects: &mut Vec<Effect>) {
        for head in &beacon.heads {
            let key = LogKey { origin: beacon.origin, log: head.log };
            self.prove(key, head.head, now, effects);
            if let Some(log) = self.logs.get_mut(&key) {
                log.say(head.floor, head.head, now);
            }
        }
        let newest = beacon.heads.iter().map(|head| head.log.0).max();
        let reached = newest.map(|newest| (newest, total(beacon.heads.iter().map(|head| head.head))));
        if let Some(peer) = self.peers.get_mut(&beacon.origin) {
            peer.said = beacon.digest;
            for head in &beacon.heads {
                let key = LogKey { origin: beacon.origin, log: head.log };
                let summary = Summary {
                    log: key,
                    head: head.head,
                    floor: head.floor,
                    missing: Vec::new(),
                    forked: None,
                    proof: None,
                };
                peer.set_hint(key, Hint::told(&summary, now));
            }
            reached.into_iter().for_each(|reached| self.silence.said(beacon.origin, reached, now));
        }
    }

    fn prove(&mut self, key: LogKey, head: u64, now: Instant, effects: &mut Vec<Effect>) {
        if self.log(key).is_some_and(|log| log.prove(head, now)) {
            self.wanting.insert(key);
            if key.origin != self.me {
                effects.push(Effect::Heard(key, head));
            }
        }
    }

    fn own(&mut self, key: LogKey, own: Own, now: Instant, effects: &mut Vec<Effect>) {
        let Some(log) = self.log(key) else { return };
        let news = own.forked.is_some() && own.forked != log.own.forked;
        let (bucket, change) = (log.bucket, log.set_own(key, own, now));
        if log.own.floor < log.raised && log.raised <= log.own.head + 1 {
            // The store had not come so far when it was told first.
            effects.push(Effect::RaiseFloor(key, log.raised));
        }
        self.digest.toggle(bucket, change);
        self.wanting.insert(key);
        self.cancel_needless(key, now, effects);
        if news {
            effects.extend(self.peers.keys().map(|peer| Effect::TellFork(*peer, key)));
        }
    }

    fn forget(&mut self, origin: Origin, upto: LogId) {
        let mark = self.forgotten.entry(origin).or_insert(upto);
        *mark = upto.max(*mark);
        let gone: Vec<LogId> =
            self.of_origin.get(&origin).into_iter().flatten().filter(|log| **log <= upto).copied().collect();
        for log in gone {
            let key = LogKey { origin, log };
            if self.logs.get(&key).is_some_and(|log| log.own.floor <= log.own.held) {
                continue;
            }
            if let Some(mut gone) = self.logs.remove(&key) {
                // Its fingerprint leaves the digest with it.
                let change = gone.leave();
                self.digest.toggle(gone.bucket, change);
            }
            self.wanting.remove(&key);
            self.of_origin.get_mut(&origin).map(|logs| logs.remove(&log));
        }
    }

    fn owed(&mut self, owed: Vec<Owed>) {
        for key in std::mem::take(&mut self.owing) {
            let log = self.logs.get_mut(&key);
            log.into_iter().for_each(|log| (log.owed, log.readers) = Default::default());
        }
        for Owed { log: key, span, newest_first } in owed {
            if let Some(log) = self.logs.get_mut(&key) {
                log.owed.add(span);
                log.readers.push((span, newest_first));
                self.owing.insert(key);
                self.wanting.insert(key);
            }
        }
    }

    fn tick(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.gone.retain(|_, closed| *closed + BACK > now);
        self.time_out(now, effects);
        self.round(now, effects);
        self.ask_for_forks(now, effects);
        effects.extend(self.silence.dead(now).into_iter().map(Effect::RenewLink));
        self.plan(now, effects);
    }
}

#[cfg(test)]
mod tests;
