//! What answers teach: what is held now, who gave what it claimed, how large records are, and where retention ends.

use std::time::Instant;

use anode_shared::ids::LogKey;
use anode_shared::repair::{Summary, WINDOW};

use super::peer::Hint;
use super::plan::Flight;
use super::{Effect, Outcome, PAUSE, Piece, Repair};
use crate::gossip::spans::Span;

impl Repair {
    pub(super) fn answered(
        &mut self,
        id: u64,
        held: Option<&Summary>,
        more: bool,
        pieces: &[Piece],
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(flight) = self.land(id) else { return };
        let Flight { peer: origin, key, span, .. } = flight;
        if pieces.iter().any(|piece| piece.outcome == Outcome::Unable) {
            self.paused = Some(now + PAUSE);
        }
        self.learn(key, pieces, now, effects);
        let Some(peer) = self.peers.get_mut(&origin) else { return };
        let claimed = peer.claims(key, span, now);
        match held {
            Some(summary) if summary.log == key => {
                peer.set_hint(key, Hint::told(summary, now));
                summary.forked.into_iter().for_each(|_| self.forking.add(key));
            }
            _ => peer.has_none(key, now),
        }
        if pieces.iter().any(|piece| piece.outcome == Outcome::Wrong) {
            peer.fault(now);
            return peer.deny(key, span, true, now);
        }
        let mut lacking = claimed;
        pieces.iter().for_each(|piece| lacking.remove(piece.span));
        // What lies elsewhere was not asked for: who sends only that gave nothing.
        let asked = pieces.iter().map(|piece| piece.span.to).filter(|to| (span.from..=span.to).contains(to));
        let last = asked.max();
        match last {
            // What it did not send above is still to come, or the tail of the window lies in a batch that ends above it.
            Some(last) if more || span.to - last < WINDOW => {
                lacking.remove(Span { from: last, to: u64::MAX - 1 });
                peer.gave(key);
            }
            Some(_) => peer.gave(key),
            None => {
                if !lacking.is_empty() {
                    peer.fault(now);
                }
                effects.extend(peer.is_useless(&lacking, now).then_some(Effect::Useless(origin)));
            }
        }
        if let (Some(first), Some(last)) = (lacking.iter().next(), lacking.last()) {
            peer.deny(key, Span { from: first.from, to: last }, true, now);
        } else if last.is_none() {
            peer.deny(key, span, true, now);
        }
    }

    /// Learns from batches that came: how long records are, what is not due, and where retention ends.
    fn learn(&mut self, key: LogKey, pieces: &[Piece], now: Instant, effects: &mut Vec<Effect>) {
        let horizon = self.horizon;
        let Some(log) = self.logs.get_mut(&key) else { return };
        let mut floor = 0;
        for piece in pieces.iter().filter(|piece| piece.outcome != Outcome::Wrong) {
            log.per_seq = (3 * log.per_seq + piece.bytes / piece.span.count()).div_ceil(4).max(1);
            match piece.outcome {
                Outcome::Early(after) => log.set_aside(piece.span, now + after),
                Outcome::Crowded => log.crowded(piece.span, now),
                _ if piece.time < horizon => floor = floor.max(piece.span.to + 1),
                _ => {}
            }
        }
        if floor > log.raised.max(log.own.floor) {
            log.raised = floor;
            effects.push(Effect::RaiseFloor(key, floor));
        }
    }

    pub(super) fn failed(&mut self, id: u64, now: Instant, effects: &mut Vec<Effect>) {
        if let Some(flight) = self.land(id) {
            return self.gave_nothing(&flight, now, effects);
        }
        let comparing =
            self.peers.values_mut().find(|peer| peer.comparing.as_ref().is_some_and(|asked| asked.id == id));
        if let Some(peer) = comparing {
            peer.comparing = None;
            peer.slow = true;
        }
    }

    /// A request was refused, or not answered in time: its peer is asked after others, and not for the same for a while.
    pub(super) fn gave_nothing(&mut self, flight: &Flight, now: Instant, effects: &mut Vec<Effect>) {
        let Flight { peer: origin, key, span, .. } = *flight;
        let Some(peer) = self.peers.get_mut(&origin) else { return };
        let claimed = peer.claims(key, span, now);
        effects.extend(peer.is_useless(&claimed, now).then_some(Effect::Useless(origin)));
        peer.fault(now);
        peer.deny(key, span, false, now);
    }
}
