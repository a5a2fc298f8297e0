//! Gossip links that died silently: a peer's own head goes up by its beacons while nothing of it arrives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anode_shared::ids::Origin;

/// How long nothing may arrive while the head goes up.
const SILENT: Duration = Duration::from_secs(3);
/// How often the head must have gone up meanwhile: one lost batch is no dead link.
const STEPS: u32 = 2;
/// How long a renewed link is left alone.
const REST: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy)]
struct Watch {
    head: (u64, u64),
    /// Since when, and how often the head went up with nothing arriving.
    silent: Option<(Instant, u32)>,
    renewed: Option<Instant>,
}

/// What is watched of each linked peer.
#[derive(Debug, Default)]
pub(super) struct Silence {
    peers: BTreeMap<Origin, Watch>,
}

impl Silence {
    /// A linked peer said how far its logs reach: the newest of them, and all their seqs.
    pub(super) fn said(&mut self, peer: Origin, head: (u64, u64), now: Instant) {
        let watch = self.peers.entry(peer).or_insert(Watch { head, silent: None, renewed: None });
        let grew = head > watch.head;
        // Where logs were dropped it is less: from there on it counts.
        watch.head = head;
        if grew {
            let (since, steps) = watch.silent.unwrap_or((now, 0));
            watch.silent = Some((since, steps + 1));
        }
    }

    /// Something of an origin came by gossip.
    pub(super) fn heard(&mut self, origin: Origin) {
        if let Some(watch) = self.peers.get_mut(&origin) {
            watch.silent = None;
        }
    }

    pub(super) fn closed(&mut self, peer: Origin) {
        self.peers.remove(&peer);
    }

    /// The peers whose links are to be renewed.
    pub(super) fn dead(&mut self, now: Instant) -> Vec<Origin> {
        let mut dead = Vec::new();
        for (peer, watch) in &mut self.peers {
            let silent = watch.silent.is_some_and(|(since, steps)| steps >= STEPS && since + SILENT <= now);
            if silent && watch.renewed.is_none_or(|renewed| renewed + REST <= now) {
                watch.renewed = Some(now);
                watch.silent = None;
                dead.push(*peer);
            }
        }
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_a_dead_link_from_a_lost_batch() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let peer = Origin([1; 32]);
        // (when, the head that its beacon names, 0: a batch came) and when the link is renewed.
        let check = |what: &str, events: &[(u64, u64)], renewed: &[u64]| {
            let mut silence = Silence::default();
            let mut found = Vec::new();
            for millis in (0..40_000).step_by(100) {
                for (_, head) in events.iter().filter(|(when, _)| *when == millis) {
                    if *head == 0 { silence.heard(peer) } else { silence.said(peer, (1, *head), at(millis)) }
                }
                if !silence.dead(at(millis)).is_empty() {
                    found.push(millis);
                }
            }
            assert_eq!(found, renewed, "{what}");
        };
        check("an idle peer", &[(0, 5), (2_000, 5), (4_000, 5), (6_000, 5)], &[]);
        check("a lost batch", &[(0, 5), (2_000, 6), (4_000, 6), (6_000, 6)], &[]);
        check("a dead link", &[(0, 5), (2_000, 6), (4_000, 7), (6_000, 8)], &[5_000]);
        check("a live link", &[(0, 5), (2_000, 6), (3_000, 0), (4_000, 7), (5_000, 0), (6_000, 8)], &[]);
        let long: Vec<(u64, u64)> = (0..20).map(|n| (n * 2_000, 5 + n)).collect();
        check("one that stays dead", &long, &[5_000, 25_000]);
    }
}
