//! The simulated world: virtual time, links with faults, and what the nodes' effects do.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::beacon::Beacon;
use anode_shared::cursor::Cursor;
use anode_shared::ids::{LogKey, Origin};
use anode_shared::repair::{Digest, Summaries, Summary};
use anode_shared::time::Micros;

use super::node::{Manner, Node};
use super::reader::Reader;
use super::store::{Batch, Store};
use crate::gossip::dice::Dice;
use crate::gossip::members::{self, Target, Way};
use crate::gossip::presence;
use crate::gossip::repair::{Event, Flaw};
use crate::gossip::spans::Span;

/// When the simulation begins, by the one true clock.
pub(super) const EPOCH: Micros = 1_795_000_000_000_000;
/// How often a node is ticked, milliseconds.
const TICK: u64 = 100;
/// How long an fdatasync takes, milliseconds.
const SYNC: u64 = 5;

/// What is on its way between nodes.
#[derive(Debug, Clone)]
pub(super) enum Message {
    Gossip(Rc<Batch>),
    Beacon(Arc<Beacon>),
    Compare { id: u64, digest: Digest, from: u16, proofs: bool },
    Summaries { id: u64, answer: Rc<Summaries>, proven: Rc<Vec<(LogKey, u64)>> },
    Range { id: u64, key: LogKey, span: Span, most: u64 },
    Batches { id: u64, held: Option<Summary>, more: bool, batches: Vec<Rc<Batch>> },
    Fork(LogKey, u64),
    AskFork(LogKey),
}

/// What happens at a moment.
#[derive(Debug, Clone)]
pub(super) enum What {
    Tick(usize, u64),
    Synced(usize, u64, usize),
    Deliver {
        from: usize,
        to: usize,
        lives: (u64, u64),
        message: Message,
    },
    Link(usize, usize, Option<usize>),
    Unlink(usize, usize),
    /// The one noticed that its connection to the other is gone.
    Closed(usize, usize),
    Publish(usize),
    Restart(usize),
    /// A node should know by now that another is dead.
    Noticed {
        dead: usize,
        life: u64,
        lives: Vec<(usize, u64)>,
        quick: bool,
    },
}

/// How bad the network is, in thousandths.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    pub(super) loss: u64,
    pub(super) double: u64,
    pub(super) late: u64,
}

pub(super) struct World {
    start: Instant,
    pub(super) millis: u64,
    pub(super) dice: Dice,
    pub(super) nodes: Vec<Node>,
    pub(super) by_origin: BTreeMap<Origin, usize>,
    pub(super) bootstrap: Vec<Vec<usize>>,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    what: BTreeMap<u64, What>,
    count: u64,
    pub(super) links: BTreeSet<(usize, usize)>,
    /// Links on which gossip dies silently.
    pub(super) dead_gossip: BTreeSet<(usize, usize)>,
    /// Which side of the partition each node is on.
    pub(super) side: Vec<u8>,
    pub(super) weather: Weather,
    pub(super) flaw: Option<Flaw>,
    /// The true end of each log.
    pub(super) ends: BTreeMap<LogKey, u64>,
    pub(super) acked: Vec<(usize, LogKey, Span)>,
    /// Time and bytes of every batch that was made.
    pub(super) made: Vec<(Micros, u64)>,
    /// From this moment on nothing should have to be fetched any more.
    pub(super) settled_from: u64,
    pub(super) failure: Option<String>,
    pub(super) requests: u64,
    pub(super) renewed: u64,
    pub(super) fetched: u64,
    pub(super) delivered: u64,
    /// Messages that the weather took or sent twice, and partitions.
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) parted: u64,
}

impl World {
    pub(super) fn new(count: usize, seed: u64, flaw: Option<Flaw>) -> Self {
        let start = Instant::now();
        let mut dice = Dice::new(seed);
        let mut world = Self {
            start,
            millis: 0,
            nodes: Vec::new(),
            by_origin: BTreeMap::new(),
            bootstrap: Vec::new(),
            events: BinaryHeap::new(),
            what: BTreeMap::new(),
            count: 0,
            links: BTreeSet::new(),
            dead_gossip: BTreeSet::new(),
            side: vec![0; count],
            weather: Weather { loss: 50, double: 30, late: 50 },
            flaw,
            ends: BTreeMap::new(),
            acked: Vec::new(),
            made: Vec::new(),
            settled_from: u64::MAX,
            failure: None,
            requests: 0,
            renewed: 0,
            fetched: 0,
            delivered: 0,
            lost: 0,
            doubled: 0,
            parted: 0,
            dice: Dice::new(dice.roll()),
        };
        for number in 0..count {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&dice.roll().to_le_bytes());
            // Each knows the one before it, or else any.
            let before = if dice.below(2) == 0 {
                number.saturating_sub(1)
            } else {
                usize::try_from(dice.below(number as u64)).unwrap()
            };
            world.bootstrap.push(if number == 0 { Vec::new() } else { vec![before] });
            let retain = if dice.below(4) == 0 { 25_000_000 } else { 3_600_000_000 };
            let room = if dice.below(3) == 0 { 40_000 + dice.below(100_000) } else { 0 };
            let mut node = Node::new(
                Origin(id),
                world.bootstrap[number].len(),
                Store::new(retain, room, flaw == Some(Flaw::DropByArrival)),
                1 << 32,
                &mut dice,
                flaw,
                start,
            );
            node.skew = if dice.below(8) == 0 {
                8_000_000 + i64::try_from(dice.below(4_000_000)).unwrap()
            } else {
                0
            };
            node.skew *= if dice.below(2) == 0 { 1 } else { -1 };
            node.readers
                .extend((dice.below(2) == 0).then(|| Reader::attach(Cursor::new(0), &node.store, None)));
            world.by_origin.insert(node.me, number);
            world.nodes.push(node);
            world.at(dice.below(TICK), What::Tick(number, 0));
        }
        world
    }

    pub(super) fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.millis)
    }

    pub(super) fn wall(&self, node: usize) -> Micros {
        (EPOCH + self.millis * 1_000).saturating_add_signed(self.nodes[node].skew)
    }

    pub(super) fn at(&mut self, delay: u64, what: What) {
        self.count += 1;
        self.events.push(Reverse((self.millis + delay, self.count)));
        self.what.insert(self.count, what);
    }

    pub(super) fn fail(&mut self, what: String) {
        let millis = self.millis;
        self.failure.get_or_insert_with(|| format!("at {millis} ms: {what}"));
    }

    /// Plays until a moment, or until something is wrong.
    pub(super) fn play(&mut self, until: u64) {
        while let Some(Reverse((millis, number))) = self.events.peek().copied() {
            if millis > until || self.failure.is_some() {
                break;
            }
            self.events.pop();
            self.millis = millis;
            if let Some(what) = self.what.remove(&number) {
                self.happen(what);
            }
        }
        self.millis = self.millis.max(until);
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Tick(node, life) => self.tick(node, life),
            What::Synced(node, life, upto) => self.synced(node, life, upto),
            What::Deliver { from, to, lives, message } => {
                let same = (self.nodes[from].life, self.nodes[to].life) == lives;
                if same && self.nodes[to].up && self.is_open(from, to) && self.links.contains(&pair(from, to))
                {
                    self.deliver(from, to, message);
                }
            }
            What::Link(one, other, bootstrap) => self.link(one, other, bootstrap),
            What::Unlink(one, other) => self.unlink(one, other),
            What::Closed(node, peer) => self.closed(node, peer),
            What::Publish(node) => self.publish(node),
            What::Restart(node) => self.restart(node),
            What::Noticed { dead, life, lives, quick } => self.noticed(dead, life, &lives, quick),
        }
    }

    pub(super) fn is_open(&self, one: usize, other: usize) -> bool {
        self.side[one] == self.side[other]
    }

    // The network.

    /// Sends, with the faults of the weather: a stream loses less than gossip, and only as a whole.
    pub(super) fn send(&mut self, from: usize, to: usize, message: Message) {
        let gossip = matches!(message, Message::Gossip(_) | Message::Beacon(_));
        let loss = if gossip { self.weather.loss } else { self.weather.loss / 4 };
        let lost = self.dice.below(1_000) < loss;
        let dead = gossip && self.dead_gossip.contains(&(from, to));
        let copies = if gossip && self.dice.below(1_000) < self.weather.double { 2 } else { 1 };
        if lost || dead {
            self.lost += u64::from(lost);
            return;
        }
        self.doubled += copies - 1;
        for _ in 0..copies {
            // Presence promises its times where beacons take half a second at most.
            let latest = if matches!(message, Message::Beacon(_)) { 200 } else { 1_500 };
            let late = if self.dice.below(1_000) < self.weather.late { self.dice.below(latest) } else { 0 };
            let delay = 1 + self.dice.below(40) + late;
            let lives = (self.nodes[from].life, self.nodes[to].life);
            self.at(delay, What::Deliver { from, to, lives, message: message.clone() });
        }
    }

    pub(super) fn send_to(&mut self, from: usize, to: Origin, message: Message) {
        if let Some(to) = self.by_origin.get(&to).copied() {
            self.send(from, to, message);
        }
    }

    /// Sends to all links, or to some where there are many: as a gossip mesh does.
    fn spread(&mut self, from: usize, but: Option<usize>, most: usize, message: &Message) {
        let links =
            self.nodes[from].links.linked().iter().filter_map(|peer| self.by_origin.get(peer).copied());
        let mut to: Vec<usize> = links.filter(|peer| Some(*peer) != but).collect();
        for place in 0..to.len().min(most) {
            let other = place + usize::try_from(self.dice.below((to.len() - place) as u64)).unwrap();
            to.swap(place, other);
        }
        to.truncate(most);
        to.into_iter().for_each(|to| self.send(from, to, message.clone()));
    }

    fn link(&mut self, one: usize, other: usize, bootstrap: Option<usize>) {
        let reachable =
            self.nodes[one].up && self.nodes[other].up && self.is_open(one, other) && one != other;
        let now = self.now();
        let target = bootstrap.map_or(Target::Peer(self.nodes[other].me), Target::Bootstrap);
        if !reachable {
            self.nodes[one].links.handle(members::Event::Failed(target), now);
            return;
        }
        let news = self.links.insert(pair(one, other));
        for (node, peer, way) in [(one, other, Way::Dialled(target)), (other, one, Way::Came(None))] {
            let origin = self.nodes[peer].me;
            self.nodes[node].links.handle(members::Event::Connected(origin, way), now);
            self.nodes[node].links.handle(members::Event::LetIn(origin), now);
            if news {
                self.nodes[node].presence.handle(presence::Event::Connected(origin), now);
                self.tell(node, Event::Connected(origin));
            }
        }
    }

    /// Closes a link; both ends notice soon.
    pub(super) fn unlink(&mut self, one: usize, other: usize) {
        if self.links.remove(&pair(one, other)) {
            self.dead_gossip.retain(|(from, to)| pair(*from, *to) != pair(one, other));
            self.at(1 + 5, What::Closed(one, other));
            self.at(1 + 5, What::Closed(other, one));
        }
    }

    pub(super) fn closed(&mut self, node: usize, peer: usize) {
        if !self.nodes[node].up || self.links.contains(&pair(node, peer)) {
            return;
        }
        let (origin, now) = (self.nodes[peer].me, self.now());
        self.nodes[node].links.handle(members::Event::Closed(origin), now);
        let effects = self.nodes[node].presence.handle(presence::Event::Closed(origin), now);
        self.presence_effects(node, effects);
        self.tell(node, Event::Closed(origin));
    }

    // The nodes.

    fn tick(&mut self, node: usize, life: u64) {
        if !self.nodes[node].up || self.nodes[node].life != life {
            return;
        }
        self.at(TICK, What::Tick(node, life));
        let (now, wall) = (self.now(), self.wall(node));
        let effects = self.nodes[node].presence.handle(presence::Event::Tick, now);
        self.presence_effects(node, effects);
        for effect in self.nodes[node].links.handle(members::Event::Tick, now) {
            match effect {
                members::Effect::Dial(Target::Bootstrap(number)) => {
                    let other = self.bootstrap[node][number];
                    self.at(20, What::Link(node, other, Some(number)));
                }
                members::Effect::Dial(Target::Peer(peer) | Target::Visit(peer)) => {
                    let other = self.by_origin[&peer];
                    self.at(20, What::Link(node, other, None));
                }
                members::Effect::Drop(peer) => self.unlink(node, self.by_origin[&peer]),
            }
        }
        let store = &mut self.nodes[node].store;
        let mut changed = store.jump(now);
        if self.millis / 1_000 != (self.millis + TICK) / 1_000 {
            changed.extend(store.expire(wall));
        }
        let horizon = wall.saturating_sub(store.retain).max(store.squeezed());
        self.changed(node, changed);
        self.tell(node, Event::Retention(horizon));
        let it = &mut self.nodes[node];
        let waits = |key: LogKey, span: Span| {
            let owed = |reader: &Reader| reader.place.owed(key).is_some_and(|(next, _)| next <= span.to);
            it.readers.iter().any(owed)
        };
        it.lent.retain(|(key, _), batch| waits(*key, batch.span));
        let owed = it.readers.iter().flat_map(|reader| reader.owed(&it.store, &it.lent)).collect();
        self.tell(node, Event::Owed(owed));
        self.tell(node, Event::Tick);
        if self.nodes[node].next_beacon.is_none_or(|next| next <= now) {
            let interval = self.nodes[node].presence.interval();
            self.nodes[node].next_beacon = Some(now + interval);
            let beacon = self.nodes[node].beacon(wall);
            self.spread(node, None, usize::MAX, &Message::Beacon(beacon));
        }
        self.read(node);
    }

    fn read(&mut self, node: usize) {
        let now = self.now();
        let Node { readers, store, repair, lent, .. } = &mut self.nodes[node];
        let first_of = |key, span| repair.first_of(key, span, now);
        let results: Vec<_> =
            readers.iter_mut().map(|reader| reader.read(store, lent, now, &first_of)).collect();
        results.into_iter().filter_map(Result::err).for_each(|error| self.fail(error));
    }

    fn presence_effects(&mut self, node: usize, effects: Vec<presence::Effect>) {
        let now = self.now();
        for effect in effects {
            match effect {
                presence::Effect::Changed { peer, to, .. } if to > presence::PeerState::Suspect => {
                    self.nodes[node].links.handle(members::Event::Gone(peer), now);
                    self.nodes[node].clock.forget(peer);
                }
                presence::Effect::Forgotten(peer) => {
                    self.nodes[node].links.handle(members::Event::Forgotten(peer), now);
                }
                presence::Effect::Twin(peer) => self.fail(format!("{node} takes {peer} for a twin")),
                _ => {}
            }
        }
    }

    /// Logs of the store are others now.
    pub(super) fn changed(&mut self, node: usize, keys: Vec<LogKey>) {
        for key in keys {
            let own = self.nodes[node].store.own(key);
            self.tell(node, Event::Own(key, own));
        }
        let (written, life) = (self.nodes[node].store.written(), self.nodes[node].life);
        self.at(SYNC, What::Synced(node, life, written));
    }

    fn synced(&mut self, node: usize, life: u64, upto: usize) {
        let it = &mut self.nodes[node];
        if it.life != life || !it.up {
            return;
        }
        it.store.synced = it.store.synced.max(upto);
        let (done, open) = std::mem::take(&mut it.unacked).into_iter().partition(|(at, ..)| *at <= upto);
        it.unacked = open;
        let done: Vec<(usize, LogKey, Span)> = done;
        self.acked.extend(done.into_iter().map(|(_, key, span)| (node, key, span)));
    }

    pub(super) fn publish(&mut self, node: usize) {
        if !self.nodes[node].up {
            return;
        }
        let (wall, count) = (self.wall(node), 1 + self.dice.below(20));
        let logs = &self.nodes[node].store.order.logs;
        if self.nodes[node].log.and_then(|key| logs.get(&key)).is_some_and(|log| log.forked.is_some()) {
            self.nodes[node].close();
        }
        let mut dice = Dice::new(self.dice.roll());
        let batch = self.nodes[node].make(count, wall, &mut dice);
        self.ends.insert(batch.key, batch.span.to);
        self.made.push((batch.time, batch.bytes));
        self.nodes[node].store.accept(&batch);
        let at = self.nodes[node].store.written();
        self.nodes[node].unacked.push((at, batch.key, batch.span));
        self.nodes[node].seen.insert(batch.hash);
        self.changed(node, vec![batch.key]);
        self.spread(node, None, usize::MAX, &Message::Gossip(batch));
    }

    fn deliver(&mut self, from: usize, to: usize, message: Message) {
        self.delivered += 1;
        match message {
            Message::Gossip(batch) => {
                if self.nodes[to].seen.insert(batch.hash) {
                    self.tell(to, Event::Gossiped(batch.key.origin));
                    if self.nodes[to].store.accept(&batch).1 {
                        self.changed(to, vec![batch.key]);
                    }
                    self.spread(to, Some(from), 6, &Message::Gossip(batch));
                }
            }
            Message::Beacon(beacon) => self.beacon(from, to, beacon),
            Message::Compare { id, digest, from: part, proofs } => {
                if let Some((answer, proven)) = self.summaries(to, &digest, part, proofs) {
                    self.send(
                        to,
                        from,
                        Message::Summaries { id, answer: Rc::new(answer), proven: Rc::new(proven) },
                    );
                }
            }
            Message::Summaries { id, answer, proven } => {
                self.tell(to, Event::Compared { id, answer: &answer, proven: &proven });
            }
            Message::Range { id, key, span, most } => {
                let it = &self.nodes[to];
                let (batches, more) = match it.manner {
                    Manner::Honest => it.store.read(key, span, most),
                    Manner::Liar => (Vec::new(), false),
                    Manner::Mute => return,
                };
                let held = it.store.order.logs.contains_key(&key).then(|| it.store.own(key).summary(key));
                self.send(to, from, Message::Batches { id, held, more, batches });
            }
            Message::Batches { id, held, more, batches } => {
                self.batches(to, id, held.as_ref(), more, &batches);
            }
            Message::Fork(key, end) => {
                if self.nodes[to].store.fork(key, end) {
                    self.changed(to, vec![key]);
                }
            }
            Message::AskFork(key) => {
                let forked = self.nodes[to].store.order.logs.get(&key).and_then(|log| log.forked);
                forked.into_iter().for_each(|end| self.send(to, from, Message::Fork(key, end)));
            }
        }
    }

    fn beacon(&mut self, from: usize, to: usize, beacon: Arc<Beacon>) {
        let (now, wall) = (self.now(), self.wall(to));
        let it = &mut self.nodes[to];
        let known = it.beacons.entry(beacon.origin).or_default();
        if *known >= (beacon.run, beacon.sequence) {
            return;
        }
        *known = (beacon.run, beacon.sequence);
        let effects = it.presence.handle(presence::Event::Beacon(beacon.clone()), now);
        if effects.contains(&presence::Effect::News(beacon.origin)) {
            let linked = it.presence.peer(beacon.origin).is_some_and(|peer| peer.connected);
            it.clock.heard(beacon.origin, beacon.time, wall, linked);
            let links = beacon.links.iter().map(|link| link.peer).collect();
            it.links.handle(members::Event::There(beacon.origin, links), now);
            self.tell(to, Event::Beacon(&beacon));
        }
        self.presence_effects(to, effects);
        self.spread(to, Some(from), 4, &Message::Beacon(beacon));
    }
}

pub(super) fn pair(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

pub(super) fn other_end(node: usize, one: usize, other: usize) -> Option<usize> {
    if one == node { Some(other) } else { (other == node).then_some(one) }
}
