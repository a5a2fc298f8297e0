//! Comparing with peers: on connecting, and with one at random about every second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anode_shared::ids::{LogKey, Origin};
use anode_shared::repair::{BUCKETS, Digest, MAX_SUMMARIES, Summaries, Summary};

use super::peer::{Hint, Peer};
use super::{Effect, FORK_AGAIN, Flaw, Repair};

/// About how often this node compares with a peer: it then hears within seconds of what it missed, and an idle mesh costs each
/// node 2 KiB a second.
const ROUND: Duration = Duration::from_millis(1_000);
/// By how much rounds vary, so that nodes that started together do not go on together.
const JITTER_MS: u64 = 250;
/// How long a comparison may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl Repair {
    pub(super) fn connected(&mut self, peer: Origin, now: Instant, effects: &mut Vec<Effect>) {
        if peer != self.me && !self.peers.contains_key(&peer) {
            self.peers.insert(peer, Peer::new(now));
            self.compare(peer, 0, now, effects);
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
        self.silence.closed(peer);
    }

    /// Compares with a peer: tells what it is thought to hold, at first contact what this node holds.
    fn compare(&mut self, origin: Origin, from: u16, now: Instant, effects: &mut Vec<Effect>) {
        let id = self.number();
        let Some(peer) = self.peers.get_mut(&origin) else { return };
        let digest = peer.digest.clone().unwrap_or_else(|| self.digest.clone());
        peer.comparing = Some((id, digest.clone(), now));
        effects.push(Effect::Compare { id, peer: origin, digest, from, proofs: !peer.compared });
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn round(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for peer in self.peers.values_mut() {
            if peer.comparing.as_ref().is_some_and(|(.., sent)| *sent + PATIENCE <= now) {
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
            self.compare(peer, 0, now, effects);
        }
    }

    pub(super) fn compared(&mut self, id: u64, answer: &Summaries, now: Instant, effects: &mut Vec<Effect>) {
        let asked = |peer: &Peer| peer.comparing.as_ref().is_some_and(|(asked, ..)| *asked == id);
        let Some((origin, peer)) = self.peers.iter_mut().find(|(_, peer)| asked(peer)) else { return };
        let Some((_, sent, _)) = peer.comparing.take() else { return };
        let origin = *origin;
        let told: BTreeMap<LogKey, &Summary> =
            answer.logs.iter().map(|summary| (summary.log, summary)).collect();
        let first = peer.digest.is_none();
        let known = peer.digest.get_or_insert(sent);
        let mut parts = vec![false; BUCKETS];
        for (part, digest) in &answer.parts {
            known.set(usize::from(*part), *digest);
            parts[usize::from(*part)] = true;
        }
        parts
            .iter()
            .enumerate()
            .filter(|(_, differs)| **differs)
            .for_each(|(part, _)| peer.retell(part, &told));
        if first {
            // Where nothing differs it holds what this node holds.
            for (key, log) in self.logs.iter().filter(|(_, log)| log.own.held > 0 && !parts[log.bucket]) {
                peer.set_hint(*key, Hint::told(&log.own.summary(*key), now));
            }
        }
        told.iter().for_each(|(key, summary)| peer.set_hint(*key, Hint::told(summary, now)));
        peer.compared(answer.next.is_none(), now);
        told.keys().for_each(|key| self.hinted(origin, *key, now, effects));
        if let Some(next) = answer.next {
            self.compare(origin, next, now, effects);
        }
    }

    /// A peer said something of a log: perhaps there is more to want, or a fork to learn of.
    fn hinted(&mut self, origin: Origin, key: LogKey, now: Instant, effects: &mut Vec<Effect>) {
        if self.log(key).is_none() {
            return;
        }
        self.wanting.insert(key);
        let trusts = self.breaks(Flaw::TrustHints);
        let (Some(peer), Some(log)) = (self.peers.get(&origin), self.logs.get_mut(&key)) else { return };
        let Some(hint) = peer.hint(key) else { return };
        if trusts && log.prove(hint.head, now) {
            effects.push(Effect::Heard(key, hint.head));
        }
        if hint.forked.is_some() {
            self.forking.insert(key);
            self.ask_for_forks(now, effects);
        }
    }

    /// Asks for the proofs of forks that peers told of and the store does not know.
    pub(super) fn ask_for_forks(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Self { forking, logs, peers, .. } = self;
        forking.retain(|key| {
            let Some(log) = logs.get_mut(key) else { return false };
            let known = log.own.forked.unwrap_or(u64::MAX);
            let knows =
                |peer: &Peer| peer.hint(*key).and_then(|hint| hint.forked).is_some_and(|end| end < known);
            let Some((peer, _)) = peers.iter().find(|(_, peer)| knows(peer)) else { return false };
            if log.fork_asked.is_none_or(|asked| asked + FORK_AGAIN <= now) {
                log.fork_asked = Some(now);
                effects.push(Effect::AskFork(*peer, *key));
            }
            true
        });
    }

    /// Answers a peer's comparison, without proofs: the parts that differ from what it thinks, beginning at one.
    pub fn summaries(&self, theirs: &Digest, from: u16) -> Summaries {
        let mut by_part: Vec<Vec<LogKey>> = vec![Vec::new(); BUCKETS];
        let differs = |part: usize| part >= usize::from(from) && theirs.part(part) != self.digest.part(part);
        for (key, log) in self.logs.iter().filter(|(_, log)| log.is_told() && differs(log.bucket)) {
            by_part[log.bucket].push(*key);
        }
        let mut answer = Summaries::default();
        for part in (usize::from(from)..BUCKETS).filter(|part| differs(*part)) {
            let number = u16::try_from(part).unwrap_or(u16::MAX);
            let mut keys = std::mem::take(&mut by_part[part]);
            if answer.logs.len() + keys.len() > MAX_SUMMARIES {
                if !answer.parts.is_empty() {
                    answer.next = Some(number);
                    return answer;
                }
                // More logs in one part than an answer holds: the newest.
                keys.drain(..keys.len() - MAX_SUMMARIES);
            }
            answer.parts.push((number, self.digest.part(part)));
            answer.logs.extend(keys.iter().map(|key| self.logs[key].own.summary(*key)));
        }
        answer
    }
}
