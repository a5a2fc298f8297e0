//! What nodes do by themselves, and what happens to them: lives and crashes, publishing, reading, damage.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::account::Account;
use super::node::{Break, Life, Retention, poll};
use super::world::{Acked, Message, What, World};
use crate::gossip::repair::Event;
use crate::gossip::serve;
use crate::gossip::spans::Span;
use crate::store::NewRecord;

/// How often a node is ticked, milliseconds.
const TICK: u64 = 100;
/// How often a node speaks.
const BEACON: u64 = 2_000;

/// What happened how often.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    pub(super) fetched: u64,
    jumps: u64,
    damages: u64,
    found: u64,
    dropped: u64,
    kills: u64,
    gaps: u64,
    hops: u64,
}

impl Figures {
    fn count_up(&mut self, life: &Life) {
        let counters = life.store.counters();
        self.jumps += counters.jumps.load(Relaxed);
        self.found += counters.damaged.load(Relaxed);
        self.dropped += counters.segments_dropped.load(Relaxed);
        self.gaps += life.readers.iter().map(Account::gaps).sum::<u64>();
    }
}

impl World {
    pub(super) fn restart(&mut self, node: usize) {
        if self.nodes[node].life.is_some() {
            return;
        }
        self.nodes[node].start(&mut self.dice);
        let life = self.lives(node);
        let (tick, sync) = (1 + self.dice.below(TICK), 1 + self.dice.below(60));
        self.at(tick, What::Tick(node, life));
        self.at(sync, What::Sync(node, life));
        self.absorb(node);
    }

    /// Cuts a node's power. Its readers go to another.
    pub(super) fn kill(&mut self, node: usize) {
        let Some(mut life) = self.nodes[node].crash(&mut self.dice) else { return };
        self.figures.kills += 1;
        self.figures.count_up(&life);
        (0..self.nodes.len()).for_each(|peer| self.unlink(node, peer, 3_000));
        let up: Vec<usize> = (0..self.nodes.len()).filter(|other| self.lives(*other) > 0).collect();
        for mut reader in std::mem::take(&mut life.readers) {
            if let Some(other) = self.dice.pick(&up).and_then(|other| self.nodes[*other].life.as_mut()) {
                reader.move_to(&other.store);
                other.readers.push(reader);
            }
        }
    }

    /// Moves a reader to another node with its cursor.
    pub(super) fn hop(&mut self, from: usize, to: usize) {
        if from == to || self.lives(from) == 0 || self.lives(to) == 0 {
            return;
        }
        let reader = self.nodes[from].life.as_mut().and_then(|life| life.readers.pop());
        if let (Some(mut reader), Some(life)) = (reader, &mut self.nodes[to].life) {
            self.figures.hops += 1;
            reader.move_to(&life.store);
            life.readers.push(reader);
        }
    }

    /// Lets a reader begin that stays until the end.
    pub(super) fn audit(&mut self, node: usize) {
        if let Some(life) = &mut self.nodes[node].life {
            life.readers.push(Account::open(&life.store, true));
        }
    }

    /// What happened how often.
    pub(super) fn told(&self) -> [u64; 8] {
        let mut figures = self.figures;
        let lives = self.nodes.iter().filter_map(|node| node.life.as_ref());
        lives.for_each(|life| figures.count_up(life));
        let Figures { fetched, jumps, damages, found, dropped, kills, gaps, hops } = figures;
        [fetched, jumps, damages, found, dropped, kills, gaps, hops]
    }

    /// All that is stored and acknowledged, as one number.
    pub(super) fn digest(&self) -> Vec<u8> {
        let mut hash = Sha256::new();
        self.acked.keys().for_each(|id| hash.update(id.to_string()));
        for life in self.nodes.iter().filter_map(|node| node.life.as_ref()) {
            hash.update(format!("{:?}", life.store.status()));
            hash.update(life.repair.lock().unwrap().digest().to_bytes());
        }
        hash.finalize().to_vec()
    }

    pub(super) fn tick(&mut self, node: usize) {
        let lives = self.lives(node);
        self.at(TICK, What::Tick(node, lives));
        let (millis, wall) = (self.millis, self.nodes[node].wall());
        let forgets = self.broken == Some(Break::DamageForgotten);
        let Some(life) = &mut self.nodes[node].life else { return };
        if forgets {
            life.driven.forget_damage();
        }
        life.driven.turn();
        let (own, horizon) = (life.own_batches(), life.store.horizon());
        let wishes = life.store.wishes().into_iter().filter_map(serve::owed).collect();
        let beacon = (life.next_beacon <= millis).then(|| {
            life.next_beacon = millis + BEACON;
            life.beacon(lives, wall)
        });
        self.absorb(node);
        self.tell(node, Event::Owed(wishes));
        self.tell(node, Event::Retention(horizon));
        self.tell(node, Event::Tick);
        own.into_iter().for_each(|batch| self.spread(node, None, usize::MAX, &Message::Gossip(batch)));
        if let Some(beacon) = beacon {
            self.spread(node, None, usize::MAX, &Message::Beacon(Arc::new(beacon)));
        }
        let Some(life) = &mut self.nodes[node].life else { return };
        let wrong = life.readers.iter_mut().find_map(|reader| reader.read().err());
        wrong.into_iter().for_each(|wrong| self.fail(format!("at {node}, {wrong}")));
    }

    pub(super) fn sync(&mut self, node: usize) {
        let life = self.lives(node);
        let next = 5 + self.dice.below(60);
        self.at(next, What::Sync(node, life));
        let Some(life) = &mut self.nodes[node].life else { return };
        life.driven.sync();
        for (mut publishing, payloads, at) in std::mem::take(&mut life.publishing) {
            match poll(&mut publishing) {
                None => life.publishing.push((publishing, payloads, at)),
                Some(Ok(ids)) => {
                    let acked = |payload| Acked { origin: node, at, payload };
                    self.acked.extend(ids.into_iter().zip(payloads.into_iter().map(acked)));
                }
                Some(Err(_)) => {}
            }
        }
    }

    pub(super) fn publish(&mut self, node: usize) {
        let (count, at) = (1 + self.dice.below(8), self.millis);
        let Some(life) = &mut self.nodes[node].life else { return };
        let mut records = Vec::new();
        for _ in 0..count {
            self.numbers += 1;
            let pad = "x".repeat(usize::try_from(self.dice.below(400)).unwrap());
            records.push(NewRecord {
                topic: format!("sim.t{}", self.numbers % 8).parse().unwrap(),
                payload: Bytes::from(format!("{{\"n\":{},\"pad\":\"{pad}\"}}", self.numbers)),
                content_type: None,
                publisher: None,
                publisher_signature: None,
                dedupe: None,
                source: None,
            });
        }
        let payloads = records.iter().map(|record| record.payload.clone()).collect();
        if let Ok(publishing) = life.store.publish(records) {
            life.publishing.push((publishing, payloads, at));
        }
    }

    /// Asks every node for every acknowledged record.
    pub(super) fn look_at_all(&self) {
        let lives = self.nodes.iter().filter_map(|node| node.life.as_ref());
        lives.for_each(|life| self.acked.keys().for_each(|id| _ = life.holds(*id)));
    }

    /// Flips bits of a sealed segment, or of its index, where another node keeps all that lies in it.
    pub(super) fn damage(&mut self, node: usize) {
        let Some(sealed) = self.nodes[node].life.as_ref().map(|life| life.driven.sealed().unwrap()) else {
            return;
        };
        let Some(segment) = self.dice.pick(&sealed) else { return };
        let fresh = segment.spans.iter().all(|(key, from, to)| {
            let known = self.damaged.get(key);
            known.is_none_or(|known| known.within(Span { from: *from, to: *to }).is_empty())
        });
        let keeps = |other: &usize| {
            let whole = |life: &Life| {
                segment.spans.iter().all(|(key, from, to)| {
                    life.store.log(*key).is_some_and(|log| {
                        log.floor <= *from
                            && log.held >= *to
                            && log.missing.iter().all(|(first, last)| last < from || first > to)
                    })
                })
            };
            *other != node
                && self.nodes[*other].retention == Retention::All
                && self.nodes[*other].life.as_ref().is_some_and(whole)
        };
        let Some(other) = (0..self.nodes.len()).find(keeps).filter(|_| fresh) else { return };
        if let Some(life) = &self.nodes[other].life {
            life.driven.sync();
        }
        for (key, from, to) in &segment.spans {
            self.damaged.entry(*key).or_default().add(Span { from: *from, to: *to });
        }
        let (name, flips) =
            (if self.dice.below(5) == 0 { &segment.index } else { &segment.file }, 1 + self.dice.below(3));
        let dice = &mut self.dice;
        self.nodes[node].disk.damage(name, |bytes| {
            for _ in 0..flips {
                let place = usize::try_from(dice.below(bytes.len() as u64)).unwrap();
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << dice.below(8);
                }
            }
        });
        self.figures.damages += 1;
    }
}
