//! Comparing with peers: on connecting, and with one at random about every second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anode_shared::ids::{LogKey, Origin};
use anode_shared::repair::{BUCKETS, Summaries, Summary};

use super::peer::{Comparing, Hint, Peer};
use super::{Effect, Flaw, Repair};

/// About how often this node compares with a peer: it then hears within seconds of what it missed, and an idle mesh costs each
/// node 2 KiB a second.
const ROUND: Duration = Duration::from_millis(1_000);
/// By how much rounds vary, so that nodes that started together do not go on together.
const JITTER_MS: u64 = 250;
/// How long a comparison may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of how many answers one comparison may consist: of 65,536 logs. Who has more to tell goes on with the next.
const PAGES: u16 = 32;

impl Repair {
    pub(super) fn connected(&mut self, peer: Origin, now: Instant, effects: &mut Vec<Effect>) {
        if peer != self.me && !self.peers.contains_key(&peer) {
            self.peers.insert(peer, Peer::new(now));
            self.compare(peer, 0, 0, now, effects);
        }
    }

    pub(super) fn closed(&mut self, peer: Origin, now: Instant) {
        self.gone.insert(peer, now);
        if !self.breaks(Flaw::KeepInFlight) {
            let under_way: Vec<u64> =
                self.flights.iter().filter(|(_, flight)| flight.peer == peer).map(|(id, _)| *id).collect();
            under_way.into_iter().for_each(|id| _ = self.land(id));
        }
        self.peers.remove(&peer);
        self.brought.closed(peer);
        self.silence.closed(peer);
    }

    /// Compares with a peer: tells what it is thought to hold, at first contact what this node holds.
    fn compare(&mut self, origin: Origin, from: u16, pages: u16, now: Instant, effects: &mut Vec<Effect>) {
        let id = self.number();
        let Some(peer) = self.peers.get_mut(&origin) else { return };
        let digest = peer.digest.clone().unwrap_or_else(|| self.digest.clone());
        peer.comparing = Some(Comparing { id, digest: digest.clone(), from, pages, sent: now });
        effects.push(Effect::Compare { id, peer: origin, digest, from, proofs: !peer.compared });
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn round(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for peer in self.peers.values_mut() {
            if peer.comparing.as_ref().is_some_and(|comparing| comparing.sent + PATIENCE <= now) {
                peer.comparing = None;
                peer.slow = true;
            }
        }
        if self.next_round.is_some_and(|next| next > now) {
            return;
        }
        self.next_round = Some(now + ROUND + Duration::from_millis(self.dice.below(JITTER_MS)));
        let mine = self.digest.whole();
        let free = |peer: &&Peer| peer.comparing.is_none();
        let named = |all: bool| {
            let differs = move |peer: &&Peer| all || (peer.said != 0 && peer.said != mine) || !peer.compared;
            self.peers
                .iter()
                .filter(|(_, peer)| free(peer) && differs(peer))
                .map(|(origin, _)| *origin)
                .collect()
        };
        let mut candidates: Vec<Origin> = named(false);
        if candidates.is_empty() {
            candidates = named(true);
        }
        if let Some(peer) = self.dice.pick(&candidates).copied() {
            self.compare(peer, 0, 0, now, effects);
        }
    }

    pub(super) fn compared(
        &mut self,
        id: u64,
        answer: &Summaries,
        proven: &[(LogKey, u64)],
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let asked = |peer: &Peer| peer.comparing.as_ref().is_some_and(|asked| asked.id == id);
        let Some(origin) = self.peers.iter().find(|(_, peer)| asked(peer)).map(|(origin, _)| *origin) else {
            return;
        };
        proven.iter().for_each(|(key, head)| self.prove(*key, *head, origin, now, effects));
        let Some(peer) = self.peers.get_mut(&origin) else { return };
        let Some(Comparing { digest: sent, from, pages, .. }) = peer.comparing.take() else { return };
        // One that goes back, or on and on, is at its end.
        let next = answer.next.filter(|next| *next > from && pages + 1 < PAGES);
        let told: BTreeMap<LogKey, &Summary> =
            answer.logs.iter().map(|summary| (summary.log, summary)).collect();
        let first = peer.digest.is_none();
        let known = peer.digest.get_or_insert(sent);
        let mut parts = vec![false; BUCKETS];
        for (part, digest) in &answer.parts {
            known.set(usize::from(*part), *digest);
            parts[usize::from(*part)] = true;
        }
        peer.retell(&parts, &told);
        if first {
            // Where nothing differs it holds what this node holds.
            for (key, log) in self.logs.iter().filter(|(_, log)| log.own.held > 0 && !parts[log.bucket]) {
                peer.set_hint(*key, Hint::told(&log.own.summary(*key), now));
            }
        }
        told.iter().for_each(|(key, summary)| peer.set_hint(*key, Hint::told(summary, now)));
        peer.compared(next.is_none(), now);
        told.keys().for_each(|key| self.hinted(origin, *key, now, effects));
        if told.values().any(|told| told.forked.is_some()) {
            self.ask_for_forks(now, effects);
        }
        if let Some(next) = next {
            self.compare(origin, next, pages + 1, now, effects);
        }
    }

    /// A peer said something of a log: perhaps there is more to want, or a fork to learn of.
    fn hinted(&mut self, origin: Origin, key: LogKey, now: Instant, effects: &mut Vec<Effect>) {
        let Some(hint) = self.peers.get(&origin).and_then(|peer| peer.hint(key)) else { return };
        let (head, forked) = (hint.head, hint.forked);
        let Some(log) = self.log(key, origin) else { return };
        if log.bringer.is_some_and(|bringer| self.brought.is_gone(bringer)) {
            // Whoever told of it first is not there any more.
            self.charge(key, origin);
        }
        self.want(key);
        if self.breaks(Flaw::TrustHints) && self.logs.get_mut(&key).is_some_and(|log| log.prove(head, now)) {
            effects.push(Effect::Heard(key, head));
        }
        if forked.is_some() {
            self.fork_told(key);
        }
    }
}
