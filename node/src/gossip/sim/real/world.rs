//! The world of nodes with real stores: time, links with faults, and what planners' effects do.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use anode_shared::beacon::Beacon;
use anode_shared::ids::{LogKey, Origin, RecordId};
use bytes::Bytes;

use super::account::Account;
use super::lives::Figures;
use super::node::{Break, Life, Node, Retention, Time};
use crate::gossip::dice::Dice;
use crate::gossip::repair::Event;
use crate::gossip::sim::world::pair;
use crate::gossip::spans::Spans;

/// How often nodes that could be linked find each other, milliseconds.
const MEET: u64 = 300;

/// What was asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    Compare(u64),
    Fetch(u64, LogKey),
    Fork,
}

/// What is on its way between nodes.
#[derive(Debug, Clone)]
pub(super) enum Message {
    Gossip(Bytes),
    Beacon(Arc<Beacon>),
    Question(Asked, Bytes),
    Answer(Asked, Bytes),
}

/// What happens at a moment.
#[derive(Debug, Clone)]
pub(super) enum What {
    Tick(usize, u64),
    Sync(usize, u64),
    Meet,
    Deliver {
        from: usize,
        to: usize,
        lives: (u64, u64),
        message: Message,
    },
    /// The one noticed that its connection to the other is gone.
    Closed(usize, usize),
    Restart(usize),
}

/// How bad the network is, in thousandths.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    pub(super) loss: u64,
    pub(super) double: u64,
    pub(super) late: u64,
}

/// A record that was acknowledged.
#[derive(Debug)]
pub(super) struct Acked {
    pub(super) origin: usize,
    /// The true moment of its publishing, milliseconds.
    pub(super) at: u64,
    pub(super) payload: Bytes,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) time: Arc<Time>,
    pub(super) millis: u64,
    pub(super) dice: Dice,
    pub(super) nodes: Vec<Node>,
    pub(super) by_origin: BTreeMap<Origin, usize>,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    what: BTreeMap<u64, What>,
    count: u64,
    pub(super) links: BTreeSet<(usize, usize)>,
    side: Vec<u8>,
    pub(super) weather: Weather,
    pub(super) broken: Option<Break>,
    pub(super) numbers: u64,
    pub(super) acked: BTreeMap<RecordId, Acked>,
    /// What was damaged somewhere: nothing is damaged twice.
    pub(super) damaged: BTreeMap<LogKey, Spans>,
    pub(super) figures: Figures,
    pub(super) delivered: u64,
    pub(super) failure: Option<String>,
}

impl World {
    pub(super) fn new(seed: u64, broken: Option<Break>) -> Self {
        let (time, mut dice) = (Time::new(), Dice::new(seed));
        let shard_bits = if dice.below(2) == 0 { 0 } else { 2 };
        let count = 8 + usize::try_from(dice.below(5)).unwrap();
        let mut nodes: Vec<Node> =
            (0..count).map(|_| Node::new(shard_bits, &time, &mut dice, broken)).collect();
        // Somebody keeps everything.
        nodes[0].retention = Retention::All;
        nodes[1].retention = Retention::All;
        let by_origin = nodes.iter().enumerate().map(|(number, node)| (node.me, number)).collect();
        let mut world = Self {
            time,
            millis: 0,
            dice,
            nodes,
            by_origin,
            events: BinaryHeap::new(),
            what: BTreeMap::new(),
            count: 0,
            links: BTreeSet::new(),
            side: vec![0; count],
            weather: Weather { loss: 50, double: 30, late: 50 },
            broken,
            numbers: 0,
            acked: BTreeMap::new(),
            damaged: BTreeMap::new(),
            figures: Figures::default(),
            delivered: 0,
            failure: None,
        };
        (0..count).for_each(|node| world.restart(node));
        for node in 0..count {
            let life = world.nodes[node].life.as_mut().unwrap();
            life.readers.push(Account::open(&life.store, false));
        }
        world.at(1, What::Meet);
        world
    }

    /// One of the nodes.
    pub(super) fn any(&mut self) -> usize {
        usize::try_from(self.dice.below(self.nodes.len() as u64)).unwrap()
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

    fn set_time(&mut self, millis: u64) {
        self.millis = millis;
        self.time.set(millis);
    }

    /// Plays until a moment, or until something is wrong.
    pub(super) fn play(&mut self, until: u64) {
        while let Some(Reverse((millis, number))) = self.events.peek().copied() {
            if millis > until || self.failure.is_some() {
                break;
            }
            self.events.pop();
            self.set_time(millis);
            if let Some(what) = self.what.remove(&number) {
                self.happen(what);
            }
        }
        self.set_time(self.millis.max(until));
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Tick(node, life) if self.lives(node) == life => self.tick(node),
            What::Sync(node, life) if self.lives(node) == life => self.sync(node),
            What::Tick(..) | What::Sync(..) => {}
            What::Meet => self.meet(),
            What::Deliver { from, to, lives, message } => {
                let open = self.links.contains(&pair(from, to)) && self.side[from] == self.side[to];
                if open && (self.lives(from), self.lives(to)) == lives {
                    self.delivered += 1;
                    self.deliver(from, to, message);
                }
            }
            What::Closed(node, peer) => self.closed(node, peer),
            What::Restart(node) => self.restart(node),
        }
    }

    /// Which life of a node this is; 0 where it is down.
    pub(super) fn lives(&self, node: usize) -> u64 {
        self.nodes[node].life.as_ref().map_or(0, |_| self.nodes[node].lives)
    }

    // Links.

    fn meet(&mut self) {
        self.at(MEET, What::Meet);
        for one in 0..self.nodes.len() {
            for other in one + 1..self.nodes.len() {
                let up = self.lives(one) > 0 && self.lives(other) > 0;
                let apart = self.side[one] != self.side[other] || self.links.contains(&(one, other));
                if up && !apart && self.dice.below(2) == 0 {
                    self.closed(one, other);
                    self.closed(other, one);
                    self.links.insert((one, other));
                    self.connected(one, other);
                    self.connected(other, one);
                }
            }
        }
    }

    fn connected(&mut self, node: usize, peer: usize) {
        let origin = self.nodes[peer].me;
        if let Some(life) = &mut self.nodes[node].life {
            life.connected.insert(peer);
        }
        self.tell(node, Event::Connected(origin));
    }

    fn closed(&mut self, node: usize, peer: usize) {
        let linked = self.links.contains(&pair(node, peer));
        let knows = |life: &mut Life| !linked && life.connected.remove(&peer);
        if self.nodes[node].life.as_mut().is_some_and(knows) {
            let origin = self.nodes[peer].me;
            self.tell(node, Event::Closed(origin));
        }
    }

    pub(super) fn unlink(&mut self, one: usize, other: usize, latest: u64) {
        if self.links.remove(&pair(one, other)) {
            let (delay, later) = (1 + self.dice.below(latest), 1 + self.dice.below(latest));
            self.at(delay, What::Closed(one, other));
            self.at(later, What::Closed(other, one));
        }
    }

    /// Puts nodes on sides. Connections across are gone, and noticed to be after a while.
    pub(super) fn part(&mut self, side: Vec<u8>) {
        self.side = side;
        let cut: Vec<(usize, usize)> =
            self.links.iter().filter(|(one, other)| self.side[*one] != self.side[*other]).copied().collect();
        cut.into_iter().for_each(|(one, other)| self.unlink(one, other, 5_000));
    }

    /// Sends, with the faults of the weather: a stream loses less than gossip.
    pub(super) fn send(&mut self, from: usize, to: usize, message: &Message) {
        let gossip = matches!(message, Message::Gossip(_) | Message::Beacon(_));
        let loss = if gossip { self.weather.loss } else { self.weather.loss / 4 };
        if self.dice.below(1_000) < loss {
            return;
        }
        let copies = if gossip && self.dice.below(1_000) < self.weather.double { 2 } else { 1 };
        for _ in 0..copies {
            let late = if self.dice.below(1_000) < self.weather.late { self.dice.below(1_500) } else { 0 };
            let delay = 1 + self.dice.below(40) + late;
            let (lives, message) = ((self.lives(from), self.lives(to)), message.clone());
            self.at(delay, What::Deliver { from, to, lives, message });
        }
    }

    pub(super) fn spread(&mut self, from: usize, but: Option<usize>, most: usize, message: &Message) {
        let linked = |to: &usize| Some(*to) != but && self.links.contains(&pair(from, *to));
        let mut to: Vec<usize> = (0..self.nodes.len()).filter(linked).collect();
        for place in 0..to.len().min(most) {
            let other = place + usize::try_from(self.dice.below((to.len() - place) as u64)).unwrap();
            to.swap(place, other);
        }
        to.truncate(most);
        to.into_iter().for_each(|to| self.send(from, to, message));
    }
}
