//! Repair in the simulated world: what nodes answer, and what becomes of its effects.

use std::rc::Rc;

use anode_shared::ids::LogKey;
use anode_shared::repair::{Digest, Summaries, Summary};

use super::node::Manner;
use super::reader::Reader;
use super::store::Batch;
use super::world::{Message, World};
use crate::gossip::repair::{Effect, Event, Outcome, Piece};
use crate::gossip::spans::Span;

impl World {
    /// What a node tells of itself.
    pub(super) fn summaries(
        &self,
        node: usize,
        digest: &Digest,
        from: u16,
        proofs: bool,
    ) -> Option<(Summaries, Vec<(LogKey, u64)>)> {
        let it = &self.nodes[node];
        let mut answer = it.repair.summaries(digest, from);
        match it.manner {
            Manner::Mute => return None,
            Manner::Liar => {
                answer.logs.iter_mut().for_each(|summary| {
                    (summary.head, summary.floor) = (summary.head * 1_000, 1);
                    summary.missing.clear();
                });
                return Some((answer, Vec::new()));
            }
            Manner::Honest => {}
        }
        let held = answer.logs.iter().filter(|summary| proofs && summary.head > 0);
        let proven = held.map(|summary| (summary.log, summary.head)).collect();
        Some((answer, proven))
    }

    pub(super) fn batches(
        &mut self,
        node: usize,
        id: u64,
        held: Option<&Summary>,
        more: bool,
        batches: &[Rc<Batch>],
    ) {
        let mut pieces = Vec::new();
        for batch in batches {
            let (outcome, changed) = self.nodes[node].store.accept(batch);
            if outcome == Outcome::Old && self.is_owed(node, batch.key, batch.span) {
                self.nodes[node].lent.insert((batch.key, batch.span.from), batch.clone());
            }
            self.fetched += 1;
            if changed {
                self.changed(node, vec![batch.key]);
            }
            pieces.push(Piece { span: batch.span, bytes: batch.bytes, time: batch.time, outcome });
        }
        self.tell(node, Event::Answered { id, held, more, pieces: &pieces });
    }

    /// Whether a reader of a node waits for some of a range.
    fn is_owed(&self, node: usize, key: LogKey, span: Span) -> bool {
        let owed = |reader: &Reader| {
            reader.place.owed(key).is_some_and(|(next, to)| next <= span.to && span.from <= to)
        };
        self.nodes[node].readers.iter().any(owed)
    }

    /// Hands an event to a node's repair, and does what follows.
    pub(super) fn tell(&mut self, node: usize, event: Event<'_>) {
        let now = self.now();
        for effect in self.nodes[node].repair.handle(event, now) {
            match effect {
                Effect::Compare { id, peer, digest, from, proofs } => {
                    self.send_to(node, peer, Message::Compare { id, digest, from, proofs });
                }
                Effect::Fetch { id, peer, log, span, most } => {
                    self.requests += 1;
                    let floor = self.nodes[node].store.order.logs.get(&log).map_or(1, |log| log.floor);
                    if span.to < floor && !self.is_owed(node, log, span) {
                        self.fail(format!("{node} asks for {span:?} of {log}, below its floor {floor}"));
                    }
                    let asked = &self.nodes[self.by_origin[&peer]];
                    let has = asked.manner == Manner::Honest && !asked.store.read(log, span, 1).0.is_empty();
                    if has && self.millis >= self.settled_from {
                        self.fail(format!("{node} still asks for {span:?} of {log}"));
                    }
                    self.send_to(node, peer, Message::Range { id, key: log, span, most: u64::from(most) });
                }
                Effect::Cancel(_) => {}
                Effect::AskFork(peer, key) => self.send_to(node, peer, Message::AskFork(key)),
                Effect::TellFork(peer, key) => {
                    let forked = self.nodes[node].store.order.logs.get(&key).and_then(|log| log.forked);
                    forked.into_iter().for_each(|end| self.send_to(node, peer, Message::Fork(key, end)));
                }
                Effect::Heard(key, head) => {
                    if self.ends.get(&key).is_none_or(|end| head > *end) {
                        self.fail(format!(
                            "{node} takes {head} for the head of {key}, which ends at {:?}",
                            self.ends.get(&key)
                        ));
                    }
                }
                Effect::RaiseFloor(key, floor) => {
                    if self.nodes[node].store.raise(key, floor) {
                        self.changed(node, vec![key]);
                    }
                }
                Effect::Useless(peer) => {
                    if self.nodes[self.by_origin[&peer]].manner == Manner::Honest {
                        self.fail(format!("{node} takes {peer} for useless"));
                    }
                }
                Effect::RenewLink(peer) => {
                    self.renewed += 1;
                    self.unlink(node, self.by_origin[&peer]);
                }
            }
        }
    }
}
