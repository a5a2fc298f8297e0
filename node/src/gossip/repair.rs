//! Repair: what this node lacks, and whom it asks for it.
//!
//! Pure: events and the time in, effects out. What the store holds and what origins signed is known; what peers say of
//! themselves only tells where to ask. What readers wait for is asked for first, then what holds logs back, then what is older.

mod events;
mod log;
mod peer;
mod brought;
mod wanting;
mod plan;
mod answers;
mod rounds;
mod summaries;
mod forks;
mod silence;
mod readers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anode_shared::beacon::Beacon;
use anode_shared::ids::{LogId, LogKey, Origin};
use anode_shared::mesh::total;
use anode_shared::repair::{BUCKETS, Digest, Summary};
use anode_shared::time::Micros;

use super::dice::Dice;
use super::rates::Rates;
use brought::Brought;
pub use events::{Effect, Event, Outcome, Owed, Piece};
use log::Log;
pub use log::Own;
use peer::{Hint, Peer};
use plan::Flight;
use silence::Silence;
use wanting::{Round, Wanting};

/// An answer that takes longer makes its sender slow: asked after others until it is quicker.
const SLOW: Duration = Duration::from_secs(2);
/// How long nothing is asked for after the store had no room for what came.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a node whose connection closed may take to be back, before its own logs count as lost: a restart.
const BACK: Duration = Duration::from_secs(10);

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
    /// Who brought the logs that the store does not hold.
    brought: Brought,
    /// The logs that peers are told of, by part.
    told: Vec<BTreeSet<LogKey>>,
    /// Logs of which something may be wanted.
    wanting: Wanting,
    /// Logs of which readers wait for something.
    owing: Round,
    /// Which logs each origin has, to tell when one ended.
    of_origin: BTreeMap<Origin, BTreeSet<LogId>>,
    /// Logs that forked, as a peer says, and not as the store knows.
    forking: Round,
    /// For how many proofs of forks each peer is asked, and of how many all are told.
    asking: Rates,
    telling: Rates,
    forgotten: BTreeMap<Origin, LogId>,
    peers: BTreeMap<Origin, Peer>,
    /// Whose connection closed a moment ago.
    gone: BTreeMap<Origin, Instant>,
    /// Who spoke by beacons, and when.
    spoke: BTreeMap<Origin, Instant>,
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

/// Of how many origins it is remembered up to where all is forgotten: what is older than the store's own marks is fetched no more
/// than once, and dropped.
const MOST_MARKS: usize = 4_096;

impl Repair {
    /// Begins with the own identity, the byte rate of each origin and a seed.
    pub fn new(me: Origin, bytes_per_s: u64, seed: u64) -> Self {
        Self {
            me,
            dice: Dice::new(seed),
            rates: Rates::new(bytes_per_s),
            logs: BTreeMap::new(),
            brought: Brought::default(),
            told: vec![BTreeSet::new(); BUCKETS],
            wanting: Wanting::default(),
            owing: Round::default(),
            of_origin: BTreeMap::new(),
            forking: Round::default(),
            asking: Rates::new(forks::ASKED),
            telling: Rates::new(forks::TOLD),
            forgotten: BTreeMap::new(),
            peers: BTreeMap::new(),
            gone: BTreeMap::new(),
            spoke: BTreeMap::new(),
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
        format!("{:#?}\nwanting {}, hints {hints:#?}", self.logs.get(&key), self.wanting.has(key))
    }

    fn breaks(&self, flaw: Flaw) -> bool {
        cfg!(test) && self.flaw == Some(flaw)
    }

    /// A digest of all that this node holds.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Whether batches of an origin are taken by gossip now; where its rate is used up they wait for repair.
    pub fn may_take(&self, origin: Origin, now: Instant) -> bool {
        self.rates.open(origin, now)
    }

    /// Takes bytes of an origin's rate for a batch that came by gossip; says no where it is used up.
    pub fn takes(&mut self, origin: Origin, bytes: u64, now: Instant) -> bool {
        self.rates.take(origin, bytes, now)
    }

    /// Takes what happened.
    pub fn handle(&mut self, event: Event<'_>, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.began.get_or_insert(now);
        match event {
            Event::Connected(peer) => self.connected(peer, now, &mut effects),
            Event::Closed(peer) => self.closed(peer, now),
            Event::Beacon(beacon) => self.beacon(beacon, now, &mut effects),
            Event::Proven(key, head) => self.prove(key, head, key.origin, now, &mut effects),
            Event::Own(key, own) => self.own(key, own, now, &mut effects),
            Event::Forgotten(origin, log) => self.forget(origin, log),
            Event::Gone(key) => self.drop_log(key),
            Event::Owed(owed) => self.owed(owed),
            Event::Gossiped(origin) => self.silence.heard(origin),
            Event::Compared { id, answer, proven } => {
                self.compared(id, answer, proven, now, &mut effects);
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

    /// The log. One that is new stands on the account of whoever brought it, as far as there is room there.
    fn log(&mut self, key: LogKey, bringer: Origin) -> Option<&mut Log> {
        if !self.logs.contains_key(&key) {
            self.enter(key)?;
            self.charge(key, bringer);
        }
        self.logs.get_mut(&key)
    }

    fn enter(&mut self, key: LogKey) -> Option<()> {
        (!self.is_forgotten(key) && self.keeps(key.origin)).then(|| {
            self.of_origin.entry(key.origin).or_default().insert(key.log);
            self.logs.insert(key, Log::new(key));
        })
    }

    /// Puts a log that the store does not hold on an account. What has to go for it is told again by whoever told of it, and
    /// known again where there is room then.
    fn charge(&mut self, key: LogKey, bringer: Origin) {
        let Some(log) = self.logs.get_mut(&key) else { return };
        if let Some(before) = log.bringer.replace(bringer).filter(|before| *before != bringer) {
            self.brought.take(before, key);
        }
        if let Some((loser, gone)) = self.brought.add(bringer, key) {
            self.drop_log(gone);
            self.peers.get_mut(&loser).into_iter().for_each(|peer| peer.doubt(Digest::bucket(gone)));
        }
        if self.wanting.has(key) {
            self.want(key);
        }
    }

    /// Knows of a log no more.
    fn drop_log(&mut self, key: LogKey) {
        let Some(mut log) = self.logs.remove(&key) else { return };
        // Its fingerprint leaves the digest with it.
        self.digest.toggle(log.bucket, log.leave());
        self.told[log.bucket].remove(&key);
        log.bringer.into_iter().for_each(|bringer| self.brought.take(bringer, key));
        self.wanting.remove(key);
        self.owing.remove(key);
        self.forking.remove(key);
        if let Some(logs) = self.of_origin.get_mut(&key.origin) {
            logs.remove(&key.log);
            if logs.is_empty() {
                self.of_origin.remove(&key.origin);
            }
        }
    }

    /// Something of a log may be wanted.
    fn want(&mut self, key: LogKey) {
        if let Some(log) = self.logs.get(&key) {
            self.wanting.add(key, log.bringer);
        }
    }

    fn is_forgotten(&self, key: LogKey) -> bool {
        self.forgotten.get(&key.origin).is_some_and(|mark| key.log <= *mark)
    }

    fn beacon(&mut self, beacon: &Beacon, now: Instant, effects: &mut Vec<Effect>) {
        self.heard_of(beacon.origin, now);
        for head in &beacon.heads {
            let key = LogKey { origin: beacon.origin, log: head.log };
            self.prove(key, head.head, beacon.origin, now, effects);
            let Some(log) = self.logs.get_mut(&key) else { continue };
            log.say(head.floor, head.head, now);
            if log.bringer.is_some() {
                // Whoever told of it before: its origin does.
                self.charge(key, beacon.origin);
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

    fn prove(&mut self, key: LogKey, head: u64, bringer: Origin, now: Instant, effects: &mut Vec<Effect>) {
        if self.log(key, bringer).is_some_and(|log| log.prove(head, now)) {
            self.want(key);
            if key.origin != self.me {
                effects.push(Effect::Heard(key, head));
            }
        }
    }

    fn own(&mut self, key: LogKey, own: Own, now: Instant, effects: &mut Vec<Effect>) {
        if !self.logs.contains_key(&key) && self.enter(key).is_none() {
            return;
        }
        let Some(log) = self.logs.get_mut(&key) else { return };
        let news = own.forked.is_some() && own.forked != log.own.forked;
        let (bucket, change) = (log.bucket, log.set_own(key, own, now));
        if log.own.floor < log.raised && log.raised <= log.own.head.saturating_add(1) {
            // The store had not come so far when it was told first.
            effects.push(Effect::RaiseFloor(key, log.raised));
        }
        log.bringer.take().into_iter().for_each(|bringer| self.brought.take(bringer, key));
        self.digest.toggle(bucket, change);
        self.told[bucket].insert(key);
        self.want(key);
        self.cancel_needless(key, now, effects);
        if news {
            self.tell_of_fork(key, now, effects);
        }
    }

    fn forget(&mut self, origin: Origin, upto: LogId) {
        let mark = self.forgotten.entry(origin).or_insert(upto);
        *mark = upto.max(*mark);
        if self.forgotten.len() > MOST_MARKS {
            let oldest = self.forgotten.iter().min_by_key(|(_, mark)| **mark).map(|(origin, _)| *origin);
            oldest.map(|origin| self.forgotten.remove(&origin));
        }
        let gone: Vec<LogId> =
            self.of_origin.get(&origin).into_iter().flatten().filter(|log| **log <= upto).copied().collect();
        for log in gone {
            let key = LogKey { origin, log };
            if self.logs.get(&key).is_none_or(|log| log.own.floor > log.own.held) {
                self.drop_log(key);
            }
        }
    }

    fn owed(&mut self, owed: Vec<Owed>) {
        for key in self.owing.clear() {
            let log = self.logs.get_mut(&key);
            log.into_iter().for_each(|log| (log.owed, log.readers) = Default::default());
        }
        for Owed { log: key, span, newest_first } in owed {
            if let Some(log) = self.logs.get_mut(&key) {
                log.owed.add(span);
                log.readers.push((span, newest_first));
                self.owing.add(key);
                self.want(key);
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
