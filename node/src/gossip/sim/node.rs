//! One simulated node: the real presence, links, clock and repair around the model store.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anode_shared::beacon::{Beacon, Link, Load, OwnHead, VERSION};
use anode_shared::ids::{Hash, LogId, LogKey, Origin};
use anode_shared::time::Micros;

use super::reader::{Lent, Reader};
use super::store::{Batch, Store};
use crate::gossip::clock::Clock;
use crate::gossip::dice::Dice;
use crate::gossip::members::Links;
use crate::gossip::presence::Presence;
use crate::gossip::repair::{Event, Flaw, Repair};
use crate::gossip::spans::Span;

/// How a node behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Honest,
    /// It answers no question.
    Mute,
    /// It claims all of every log and gives nothing.
    Liar,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) me: Origin,
    pub(super) manner: Manner,
    pub(super) up: bool,
    /// Gone for good: it never starts again.
    pub(super) gone: bool,
    pub(super) life: u64,
    pub(super) skew: i64,
    pub(super) store: Store,
    pub(super) presence: Presence,
    pub(super) clock: Clock,
    pub(super) links: Links,
    pub(super) repair: Repair,
    pub(super) readers: Vec<Reader>,
    pub(super) lent: Lent,
    pub(super) seen: BTreeSet<Hash>,
    pub(super) beacons: BTreeMap<Origin, (u64, u64)>,
    pub(super) log: Option<LogKey>,
    next: u64,
    previous: Hash,
    pub(super) run: u64,
    sequence: u64,
    /// Own batches that are not synced yet: up to which entry of the journal.
    pub(super) unacked: Vec<(usize, LogKey, Span)>,
    pub(super) next_beacon: Option<Instant>,
}

impl Node {
    pub(super) fn new(
        me: Origin,
        bootstrap: usize,
        store: Store,
        run: u64,
        dice: &mut Dice,
        flaw: Option<Flaw>,
        now: Instant,
    ) -> Self {
        let mut repair = Repair::new(me, 64 << 20, dice.roll());
        repair.break_rule(flaw);
        for key in store.order.logs.keys() {
            repair.handle(Event::Own(*key, store.own(*key)), now);
        }
        Self {
            me,
            manner: Manner::Honest,
            up: true,
            gone: false,
            life: 0,
            skew: 0,
            store,
            presence: Presence::new(me, run),
            clock: Clock::default(),
            links: Links::new(me, bootstrap, dice.roll()),
            repair,
            readers: Vec::new(),
            lent: Lent::new(),
            seen: BTreeSet::new(),
            beacons: BTreeMap::new(),
            log: None,
            next: 1,
            previous: Hash::default(),
            run,
            sequence: 0,
            unacked: Vec::new(),
            next_beacon: None,
        }
    }

    /// Ends the own log: the next batch opens a new one.
    pub(super) fn close(&mut self) {
        (self.log, self.next, self.previous) = (None, 1, Hash::default());
    }

    /// Makes the next batch of the own log.
    pub(super) fn make(&mut self, count: u64, wall: Micros, dice: &mut Dice) -> Rc<Batch> {
        let log = LogId((wall / 1_000_000) << 32 | dice.roll() >> 32);
        let key = *self.log.get_or_insert(LogKey { origin: self.me, log });
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&dice.roll().to_le_bytes());
        let span = Span { from: self.next, to: self.next + count - 1 };
        let batch = Batch {
            key,
            span,
            hash: Hash(hash),
            previous: self.previous,
            time: wall,
            bytes: 200 + 300 * count,
        };
        self.next += count;
        self.previous = batch.hash;
        Rc::new(batch)
    }

    pub(super) fn beacon(&mut self, wall: Micros) -> Arc<Beacon> {
        self.sequence += 1;
        let heads = self.log.filter(|_| self.next > 1).map(|key| OwnHead {
            log: key.log,
            head: self.next - 1,
            hash: self.previous,
            floor: self.store.order.logs.get(&key).map_or(1, |log| log.floor.max(1)),
        });
        Arc::new(Beacon {
            version: VERSION,
            network: "sim".into(),
            origin: self.me,
            run: self.run,
            sequence: self.sequence,
            time: wall,
            interval_ms: 2_000,
            name: String::new(),
            software: String::new(),
            protocol: 1,
            addresses: Vec::new(),
            shards: vec![(0, 0)],
            heads: heads.into_iter().collect(),
            digest: self.repair.digest().whole(),
            links: self.links.linked().iter().map(|peer| Link { peer: *peer, rtt_us: 0 }).collect(),
            load: Load::default(),
            components: Vec::new(),
            archive: None,
            leaving: false,
        })
    }
}
