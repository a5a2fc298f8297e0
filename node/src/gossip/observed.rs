//! At which addresses peers see this node, so that others are told where it is reached.
//!
//! A peer may say anything, and whoever is told dials it. So what most peers say counts, and nobody's words push out others'.

use std::collections::BTreeMap;

use anode_shared::ids::Origin;
use libp2p::multiaddr::Multiaddr;

/// Addresses that are told of, and that are remembered of one peer.
const MOST: usize = 4;

/// What peers that are connected say.
#[derive(Debug, Default)]
pub(super) struct Observed {
    by_peer: BTreeMap<Origin, Vec<Multiaddr>>,
    /// Who spoke last: what libp2p makes of its words comes right behind them, without its name.
    speaks: Option<Origin>,
}

impl Observed {
    /// A peer of this mesh speaks; or somebody does whose words do not count.
    pub(super) fn speaks(&mut self, peer: Option<Origin>) {
        self.speaks = peer;
    }

    /// Whoever spoke last sees this node there.
    pub(super) fn seen_at(&mut self, address: Multiaddr) {
        let Some(peer) = self.speaks else { return };
        let seen = self.by_peer.entry(peer).or_default();
        if !seen.contains(&address) {
            seen.push(address);
            seen.drain(..seen.len().saturating_sub(MOST));
        }
    }

    /// A peer is not connected any more.
    pub(super) fn left(&mut self, peer: Origin) {
        self.by_peer.remove(&peer);
        self.speaks = self.speaks.filter(|speaks| *speaks != peer);
    }

    /// Where this node is seen by at least two peers, or by as many as anywhere; the most first.
    pub(super) fn addresses(&self) -> Vec<Multiaddr> {
        let mut votes: BTreeMap<&Multiaddr, usize> = BTreeMap::new();
        self.by_peer.values().flatten().for_each(|address| *votes.entry(address).or_default() += 1);
        let most = votes.values().max().copied().unwrap_or(0);
        let mut votes: Vec<_> = votes.into_iter().filter(|(_, votes)| *votes >= most.min(2)).collect();
        votes.sort_by_key(|(_, votes)| usize::MAX - votes);
        votes.into_iter().take(MOST).map(|(address, _)| address.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> Multiaddr {
        format!("/ip4/10.0.0.{n}/tcp/4001").parse().unwrap()
    }

    /// Lets peers say where they see this node, and compares what is told.
    fn check(what: &str, said: &[(u8, u8)], told: &[u8]) -> Observed {
        let mut observed = Observed::default();
        for (peer, at) in said {
            observed.speaks(Some(Origin([*peer; 32])));
            observed.seen_at(address(*at));
        }
        let told: Vec<Multiaddr> = told.iter().map(|n| address(*n)).collect();
        assert_eq!(observed.addresses(), told, "{what}");
        observed
    }

    #[test]
    fn it_believes_what_most_say() {
        check("nobody", &[], &[]);
        check("one", &[(1, 7)], &[7]);
        check("each another", &[(1, 7), (2, 8)], &[7, 8]);
        check("one against two", &[(1, 7), (2, 7), (3, 8)], &[7]);
        check("two places", &[(1, 7), (2, 7), (3, 7), (4, 5), (5, 5)], &[7, 5]);
        let many: Vec<(u8, u8)> = (10..200).map(|n| (9, n)).collect();
        let flood = [&[(1, 7), (2, 7)], &many[..]].concat();
        let mut observed = check("one who says very much", &flood, &[7]);
        assert!(observed.by_peer.values().all(|seen| seen.len() <= MOST));
        [1, 2, 9].iter().for_each(|peer| observed.left(Origin([*peer; 32])));
        observed.seen_at(address(3));
        assert!(observed.addresses().is_empty() && observed.by_peer.is_empty(), "who spoke last is gone");
    }
}
