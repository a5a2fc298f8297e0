//! Forks: asking for the proofs of those that peers tell of, and telling of those that the store knows.

use std::time::{Duration, Instant};

use anode_shared::ids::{LogKey, Origin};

use super::{Effect, Repair};

/// How long a log whose fork is told of is left alone before the proof is asked for again.
const AGAIN: Duration = Duration::from_secs(2);
/// For how many proofs one peer is asked a second: forks are rare, and anybody can say that there are thousands.
pub(super) const ASKED: u64 = 16;
/// Of how many forks all peers are told a second. Of others they hear where they compare.
pub(super) const TOLD: u64 = 8;

impl Repair {
    /// A peer says that a log forked.
    pub(super) fn fork_told(&mut self, key: LogKey) {
        if self.logs.contains_key(&key) {
            self.forking.add(key);
        }
    }

    /// Asks for the proofs of forks that peers told of and the store does not know, of logs that it knows: of others there is
    /// nothing to end. Whom is left to chance, for some of those who say so may lie.
    pub(super) fn ask_for_forks(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for key in self.forking.turn() {
            let Self { forking, logs, peers, dice, asking, .. } = self;
            let Some(log) = logs.get_mut(&key) else {
                forking.remove(key);
                continue;
            };
            if log.fork_asked.is_some_and(|asked| asked + AGAIN > now) {
                continue;
            }
            let known = log.own.forked.unwrap_or(u64::MAX);
            let told = |end: Option<u64>| end.is_some_and(|end| end < known);
            let say = peers.iter().filter(|(_, peer)| told(peer.hint(key).and_then(|hint| hint.forked)));
            let say: Vec<Origin> = say.map(|(origin, _)| *origin).collect();
            if say.is_empty() {
                forking.remove(key);
            } else if log.is_told()
                && let Some(peer) = dice.pick(&say).filter(|peer| asking.take(**peer, 1, now))
            {
                log.fork_asked = Some(now);
                effects.push(Effect::AskFork(*peer, key));
            }
        }
    }

    /// Tells all peers of a fork that is news.
    pub(super) fn tell_of_fork(&mut self, key: LogKey, now: Instant, effects: &mut Vec<Effect>) {
        if self.telling.take(self.me, 1, now) {
            effects.extend(self.peers.keys().map(|peer| Effect::TellFork(*peer, key)));
        }
    }
}
