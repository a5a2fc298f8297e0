//! What goes wrong: crashes, partitions, forks; and readers that go elsewhere.

use std::rc::Rc;

use anode_shared::ids::Origin;

use super::node::Node;
use super::reader::Reader;
use super::store::Batch;
use super::world::{Message, What, World, other_end, pair};
use crate::gossip::dice::Dice;
use crate::gossip::members;

impl World {
    /// A node signs two batches of the same seqs, and tells one peer the other one.
    pub(super) fn fork(&mut self, node: usize) {
        let linked = self.nodes[node].links.linked().iter().next().map(|peer| self.by_origin[peer]);
        let Some(peer) = linked.filter(|_| self.nodes[node].up && self.nodes[node].log.is_some()) else {
            return;
        };
        self.publish(node);
        let key = self.nodes[node].log;
        let last = self.nodes[node].store.batches.values().rfind(|batch| Some(batch.key) == key).cloned();
        if let Some(batch) = last {
            let mut hash = batch.hash;
            hash.0[31] ^= 1;
            self.send(node, peer, Message::Gossip(Rc::new(Batch { hash, ..(*batch).clone() })));
        }
    }

    /// Kills a node: what was not synced is lost. Its readers go to another.
    pub(super) fn kill(&mut self, node: usize, quietly: bool) {
        if !self.nodes[node].up {
            return;
        }
        let (life, wait) = (self.nodes[node].life, if quietly { 8_000 } else { 0 });
        let linked: Vec<usize> =
            self.links.iter().filter_map(|(one, other)| other_end(node, *one, *other)).collect();
        for peer in &linked {
            self.links.remove(&pair(node, *peer));
            let delay = wait + 1 + self.dice.below(20);
            self.at(delay, What::Closed(*peer, node));
        }
        let it = &mut self.nodes[node];
        it.up = false;
        let kept = it.store.synced
            + usize::try_from(self.dice.below((it.store.written() - it.store.synced) as u64 + 1)).unwrap();
        it.store = std::mem::take(&mut it.store).crash(kept);
        let readers = std::mem::take(&mut it.readers);
        let others: Vec<usize> = (0..self.nodes.len()).filter(|other| self.nodes[*other].up).collect();
        for reader in readers {
            if let Some(other) = self.dice.pick(&others).copied() {
                let reader = Reader::attach(reader.cursor(), &self.nodes[other].store, Some(reader));
                self.nodes[other].readers.push(reader);
            }
        }
        let lives = |nodes: Vec<usize>| nodes.into_iter().map(|node| (node, self.nodes[node].life)).collect();
        let all = What::Noticed { dead: node, life, lives: lives(others), quick: false };
        let near = What::Noticed { dead: node, life, lives: lives(linked), quick: true };
        self.at(10_100, all);
        if !quietly {
            self.at(3_150, near);
        }
    }

    /// Whoever was there when a node died must know it by now.
    pub(super) fn noticed(&mut self, dead: usize, life: u64, lives: &[(usize, u64)], quick: bool) {
        if self.nodes[dead].up || self.nodes[dead].life != life {
            return;
        }
        for (node, life) in lives {
            let it = &self.nodes[*node];
            if it.up && it.life == *life && it.presence.is_there(self.nodes[dead].me) {
                return self.fail(format!(
                    "{node} does not know that {dead} is dead (by connection: {quick}): {:?}",
                    it.presence.peer(self.nodes[dead].me)
                ));
            }
        }
    }

    pub(super) fn restart(&mut self, node: usize) {
        if self.nodes[node].up || self.nodes[node].gone {
            return;
        }
        let now = self.now();
        let old = &mut self.nodes[node];
        let store = std::mem::take(&mut old.store);
        let (me, manner, skew, life) = (old.me, old.manner, old.skew, old.life + 1);
        let run = old.run + (1 << 32);
        let mut dice = Dice::new(self.dice.roll());
        let mut fresh = Node::new(me, self.bootstrap[node].len(), store, run, &mut dice, self.flaw, now);
        (fresh.manner, fresh.skew, fresh.life) = (manner, skew, life);
        // A node keeps the addresses of those it knew.
        let known: Vec<Origin> = self.nodes[node].presence.peers().map(|(peer, _)| *peer).collect();
        for peer in known {
            fresh.links.handle(members::Event::Gone(peer), now);
        }
        self.nodes[node] = fresh;
        self.at(1, What::Tick(node, life));
    }

    /// Tears the mesh in two, or heals it. Connections across are noticed to be gone after a while.
    pub(super) fn part(&mut self, side: Vec<u8>) {
        self.parted += u64::from(side.iter().any(|side| *side != self.side[0]));
        self.side = side;
        let cut: Vec<(usize, usize)> =
            self.links.iter().filter(|(one, other)| !self.is_open(*one, *other)).copied().collect();
        for (one, other) in cut {
            let delay = 1_000 + self.dice.below(7_000);
            self.at(delay, What::Unlink(one, other));
        }
    }

    /// Moves a reader to another node with its cursor.
    pub(super) fn hop(&mut self, from: usize, to: usize) {
        if !self.nodes[to].up {
            return;
        }
        if let Some(reader) = self.nodes[from].readers.pop() {
            let reader = Reader::attach(reader.cursor(), &self.nodes[to].store, Some(reader));
            self.nodes[to].readers.push(reader);
        }
    }
}
