//! Who archives a log: its origin while that is there and archives to the same keyspace, else the node that ranks first for
//! it among those that do. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anode_shared::ids::{Hash, Origin};
use sha2::{Digest as _, Sha256};

/// How long a log of others must have been ours before we begin: who restarts comes back, and who reconnects says so with
/// its next beacon.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a node ranks for an origin's logs: the highest of them archives (rendezvous hashing, Thaler and Ravishankar 1996).
fn rank(origin: Origin, node: Origin) -> [u8; 32] {
    Sha256::new().chain_update(origin.0).chain_update(node.0).finalize().into()
}

/// Who archives an origin's logs, of those who archive to one keyspace.
pub fn owner(origin: Origin, archivers: impl Iterator<Item = Origin> + Clone) -> Option<Origin> {
    if archivers.clone().any(|node| node == origin) {
        return Some(origin);
    }
    archivers.max_by_key(|node| rank(origin, *node))
}

/// Whose logs this node archives at present.
#[derive(Debug)]
pub struct Duty {
    me: Origin,
    /// Since when each other origin's logs are ours.
    ours: BTreeMap<Origin, Instant>,
    /// Who else archives to our keyspace.
    others: Vec<Origin>,
}

impl Duty {
    /// The duty of a node that knows of nobody yet.
    pub fn new(me: Origin) -> Self {
        Self { me, ours: BTreeMap::new(), others: Vec::new() }
    }

    /// Learns who is there, and which keyspace each archives to; `origins` are those of all logs in the store.
    pub fn learn(
        &mut self,
        keyspace: Option<Hash>,
        there: &[(Origin, Hash)],
        origins: impl Iterator<Item = Origin>,
        now: Instant,
    ) {
        // Without a session nobody knows which keyspace is meant: whoever archives at all looks after its own.
        let same = |id: &Hash| keyspace.is_none_or(|keyspace| *id == keyspace);
        self.others = there.iter().filter(|(_, id)| same(id)).map(|(node, _)| *node).collect();
        let mut ours = BTreeMap::new();
        for origin in origins.filter(|origin| self.would_own(*origin)) {
            let since = self.ours.get(&origin).copied().unwrap_or(now);
            ours.insert(origin, since);
        }
        self.ours = ours;
    }

    /// The origins whose logs are this node's to archive, itself included where it has any.
    pub fn ours(&self) -> BTreeSet<Origin> {
        self.ours.keys().copied().collect()
    }

    /// Whether an origin's logs are to be archived by this node, as far as it knows.
    pub fn would_own(&self, origin: Origin) -> bool {
        owner(origin, self.others.iter().copied().chain([self.me])) == Some(self.me)
    }

    /// Whether this node may begin with an origin's logs.
    pub fn owns(&self, origin: Origin, now: Instant) -> bool {
        origin == self.me
            || self.ours.get(&origin).is_some_and(|since| now.saturating_duration_since(*since) >= PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> Origin {
        Origin([number; 32])
    }

    #[test]
    fn it_agrees_on_one_owner_whoever_asks() {
        let all: Vec<Origin> = (1..=5).map(node).collect();
        for origin in (0..=255).map(node) {
            let owner = owner(origin, all.iter().copied()).unwrap();
            let mut backwards = all.clone();
            backwards.reverse();
            assert_eq!(super::owner(origin, backwards.iter().copied()), Some(owner));
            if all.contains(&origin) {
                assert_eq!(owner, origin, "whoever is there archives its own");
            }
            // Who leaves changes nothing for the logs of others.
            let without: Vec<Origin> = all.iter().copied().filter(|one| *one != node(3)).collect();
            if owner != node(3) {
                assert_eq!(super::owner(origin, without.iter().copied()), Some(owner));
            }
        }
        assert_eq!(owner(node(1), std::iter::empty()), None);
    }

    #[test]
    fn it_spreads_the_logs_of_those_who_are_gone() {
        let all: Vec<Origin> = (1..=4).map(node).collect();
        let mut counts = BTreeMap::new();
        for origin in (0..400_u32).map(|number| {
            let mut bytes = [9; 32];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            Origin(bytes)
        }) {
            *counts.entry(owner(origin, all.iter().copied()).unwrap()).or_insert(0) += 1;
        }
        assert!(counts.len() == 4 && counts.values().all(|count| (60..=140).contains(count)), "{counts:?}");
    }

    #[test]
    fn it_takes_over_with_patience_and_gives_back_at_once() {
        let (me, other, ours) = (node(1), node(2), Hash([7; 32]));
        let (mut duty, start) = (Duty::new(me), Instant::now());
        let origins = || [me, other].into_iter();
        duty.learn(Some(ours), &[(other, ours)], origins(), start);
        assert!(duty.owns(me, start) && !duty.owns(other, start));
        // It archives elsewhere: then its logs are missing here.
        duty.learn(Some(ours), &[(other, Hash([8; 32]))], origins(), start);
        assert!(duty.would_own(other) && !duty.owns(other, start) && duty.owns(other, start + PATIENCE));
        // It goes on being gone.
        duty.learn(Some(ours), &[], origins(), start + PATIENCE / 2);
        assert!(duty.owns(other, start + PATIENCE));
        duty.learn(Some(ours), &[(other, ours)], origins(), start + PATIENCE);
        assert!(!duty.owns(other, start + 9 * PATIENCE));
        // Before the keyspace is known, whoever archives at all keeps its own.
        duty.learn(None, &[(other, Hash([8; 32]))], origins(), start);
        assert!(!duty.would_own(other));
    }
}
