//! What nodes say to each other: gossip, and the questions and answers of repair, as they are on the wire.

use std::sync::Arc;

use anode_shared::batch::Layout;
use anode_shared::repair::{Answer, Ask, Question};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::node::poll;
use super::world::{Asked, Message, World};
use crate::gossip::repair::{Effect, Event};
use crate::gossip::{inbound, serve};
use crate::store::{Change, Verdict};

impl World {
    /// Tells the planner what changed in the store.
    pub(super) fn absorb(&mut self, node: usize) {
        let Some(life) = &self.nodes[node].life else { return };
        for change in life.store.changes() {
            match change {
                Change::Log(key, view) => self.tell(node, Event::Own(key, serve::own(&view))),
                Change::Forgotten(origin, mark) => self.tell(node, Event::Forgotten(origin, mark)),
                Change::Gone(key) => self.tell(node, Event::Gone(key)),
            }
        }
    }

    /// Hands an event to a node's planner, and does what follows.
    pub(super) fn tell(&mut self, node: usize, event: Event<'_>) {
        let now = self.time.now();
        let Some(life) = &self.nodes[node].life else { return };
        let effects = life.repair.lock().unwrap().handle(event, now);
        effects.into_iter().for_each(|effect| self.follow(node, effect));
    }

    fn follow(&mut self, node: usize, effect: Effect) {
        let Some(life) = &self.nodes[node].life else { return };
        let (peer, asked, question) = match effect {
            Effect::Compare { id, peer, digest, from, proofs } => {
                (peer, Asked::Compare(id), Question::Compare { digest, from, proofs })
            }
            Effect::Fetch { id, peer, log, span, most } => (
                peer,
                Asked::Fetch(id, log),
                Question::Range(Ask { log, from: span.from, to: span.to, most }),
            ),
            Effect::AskFork(peer, key) => (peer, Asked::Fork, Question::Fork(key)),
            Effect::TellFork(peer, key) => match life.store.fork_proof(key) {
                Some(proof) => (peer, Asked::Fork, Question::Forked(proof)),
                None => return,
            },
            Effect::Cancel(_) => return,
            Effect::Heard(key, head) => return life.store.heard(key, head),
            Effect::RaiseFloor(key, floor) => return life.store.raise_floor(key, floor),
            Effect::Useless(peer) => panic!("{node} takes {peer}, which is honest, for useless"),
            Effect::RenewLink(peer) => return self.unlink(node, self.by_origin[&peer], 5),
        };
        let peer = self.by_origin[&peer];
        self.send(node, peer, &Message::Question(asked, question.encode().into()));
    }

    pub(super) fn deliver(&mut self, from: usize, to: usize, message: Message) {
        match message {
            Message::Gossip(batch) => self.gossip(from, to, batch),
            Message::Beacon(beacon) => {
                let me = self.nodes[to].me;
                let Some(life) = &mut self.nodes[to].life else { return };
                let known = life.beacons.entry(beacon.origin).or_default();
                if beacon.sequence > *known && beacon.origin != me {
                    *known = beacon.sequence;
                    self.tell(to, Event::Beacon(&beacon));
                    self.spread(to, Some(from), 3, &Message::Beacon(beacon));
                }
            }
            Message::Question(asked, frame) => {
                let Some(life) = &self.nodes[to].life else { return };
                let answer = match Question::decode(&frame).unwrap() {
                    Question::Compare { digest, from, proofs } => {
                        let mut summaries = life.repair.lock().unwrap().summaries(&digest, from);
                        if proofs {
                            serve::prove(&life.store, &mut summaries);
                        }
                        Answer::Summaries(summaries).encode().into()
                    }
                    question => serve::answer(&life.store, question),
                };
                self.send(to, from, &Message::Answer(asked, answer));
            }
            Message::Answer(asked, frame) => self.answer(to, asked, &frame),
        }
    }

    fn gossip(&mut self, from: usize, to: usize, batch: Bytes) {
        let origin = Layout::parse(&batch).unwrap().header.origin;
        let own = origin == self.nodes[to].me;
        let Some(life) = self.nodes[to].life.as_mut().filter(|_| !own) else { return };
        if !life.seen.insert(Bytes::copy_from_slice(&Sha256::digest(&batch)[..16])) {
            return;
        }
        let mut accepting = life.store.accept(batch.clone());
        life.driven.turn();
        let verdict = poll(&mut accepting);
        match verdict {
            Some(Verdict::Taken | Verdict::Held) => {}
            Some(Verdict::Old | Verdict::Ended) => return,
            other => return self.fail(format!("{to} makes {other:?} of a batch that {from} sent")),
        }
        self.tell(to, Event::Gossiped(origin));
        self.spread(to, Some(from), 4, &Message::Gossip(batch));
    }

    fn answer(&mut self, node: usize, asked: Asked, frame: &Bytes) {
        match (asked, Answer::decode(frame).unwrap()) {
            (Asked::Compare(id), Answer::Summaries(answer)) => {
                let proven = answer.logs.iter().filter_map(|told| Some((told.log, told.proven().unwrap()?)));
                let proven: Vec<_> = proven.collect();
                self.tell(node, Event::Compared { id, answer: &answer, proven: &proven });
            }
            (Asked::Fetch(id, key), Answer::Batches { held, more, batches }) => {
                self.tell(node, Event::Arrived(id));
                let batches = batches.into_iter().map(|place| frame.slice(place)).collect();
                let Some(life) = &mut self.nodes[node].life else { return };
                let (store, room) = (life.store.clone(), Arc::new(Semaphore::new(16)));
                let mut taking = Box::pin(inbound::take(&store, key, batches, &room));
                let pieces = loop {
                    match poll(&mut taking) {
                        Some(pieces) => break pieces,
                        None => life.driven.turn(),
                    }
                };
                self.figures.fetched += pieces.len() as u64;
                self.absorb(node);
                self.tell(node, Event::Answered { id, held: held.as_ref(), more, pieces: &pieces });
            }
            (Asked::Compare(id) | Asked::Fetch(id, _), _) => self.tell(node, Event::Failed(id)),
            (Asked::Fork, Answer::Fork(Some(proof))) => {
                if let Some(life) = &self.nodes[node].life {
                    life.store.accept_fork(proof).unwrap();
                }
            }
            (Asked::Fork, _) => {}
        }
    }
}
