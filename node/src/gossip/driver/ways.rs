//! Where peers are: what they say of themselves, what the local network says, and what was seen to work.

use std::time::Instant;

use anode_shared::ids::Origin;
use libp2p::PeerId;
use libp2p::multiaddr::Multiaddr;

use super::Driver;
use crate::gossip::dice::Dice;
use crate::gossip::{members, peers};

/// Addresses that are remembered of a peer.
pub(super) const MOST_ADDRESSES: usize = 16;
/// Peers whose addresses are remembered beside what their beacons say.
const MOST_PEERS: usize = 4_096;
/// At how many of the addresses that a peer names it is dialled at once, taken at random: it may name anybody's.
const MOST_WAYS: usize = 16;

impl Driver {
    /// A peer said on the local network where it is. It may be dialled, as those are that beacons tell of.
    pub(super) fn discovered(&mut self, peer: PeerId, address: Multiaddr, now: Instant) {
        let Some(origin) = peers::origin(&peer) else { return };
        self.links.handle(members::Event::Found(origin), now);
        if self.links.may_dial(origin) {
            self.remember(origin, address);
        }
    }

    /// Forgets where a peer is that nothing more is known of.
    pub(super) fn forget_ways(&mut self, origin: Origin) {
        let known = self.links.may_dial(origin) || self.presence.peer(origin).is_some();
        if !known && !self.connected.contains(&origin) {
            self.addresses.remove(&origin);
        }
    }

    pub(super) fn remember(&mut self, origin: Origin, address: Multiaddr) {
        let address = peers::bare(&address);
        if self.addresses.len() >= MOST_PEERS && !self.addresses.contains_key(&origin) {
            return;
        }
        let known = self.addresses.entry(origin).or_default();
        if !known.contains(&address) {
            known.push(address);
            if known.len() > MOST_ADDRESSES {
                let oldest = known.remove(0);
                // What lookups tell of it is bounded with it.
                peers::peer_id(origin)
                    .into_iter()
                    .for_each(|peer| _ = self.swarm.behaviour_mut().kad.remove_address(&peer, &oldest));
            }
        }
    }

    /// Addresses of a peer: what its beacon names, and what was seen to work.
    pub(super) fn ways_to(&self, origin: Origin) -> Vec<Multiaddr> {
        let mut said: Vec<(u64, Multiaddr)> = Vec::new();
        let mut dice = Dice::new(rand::random());
        for address in self.presence.peer(origin).iter().flat_map(|peer| &peer.beacon.addresses) {
            said.extend(address.parse().ok().map(|address: Multiaddr| (dice.roll(), peers::bare(&address))));
        }
        said.sort_unstable();
        let mut ways: Vec<Multiaddr> = self.addresses.get(&origin).cloned().unwrap_or_default();
        ways.extend(said.into_iter().map(|(_, address)| address).take(MOST_WAYS));
        ways.retain(|address| peers::is_dialable(address) && !self.is_own(address));
        ways.sort();
        ways.dedup();
        ways
    }

    /// Whether an address names this node, or is one where it listens or says that it is reached.
    pub(super) fn is_own(&self, address: &Multiaddr) -> bool {
        let bare = peers::bare(address);
        let told = self.config.announce.iter().chain(&self.config.listen);
        peers::named(address).is_some_and(|peer| peer == *self.swarm.local_peer_id())
            || self.swarm.listeners().chain(told).any(|own| peers::bare(own) == bare)
    }
}
