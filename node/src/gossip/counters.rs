//! What gossip and repair did since the start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::repair::{Outcome, Piece};
use super::traffic::Traffic;
use crate::store::Verdict;

/// Why a batch that came by gossip was not taken, without blame for its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ignored {
    /// It is this node's own.
    Own,
    /// Batches of its origin are not kept.
    Unwanted,
    /// Its origin's rate is used up: repair fetches it.
    Rate,
    /// As many as fit are on their way into the store: repair fetches it.
    Busy,
    /// It lies below its log's floor.
    Old,
    /// It comes from the future.
    Early,
    /// Its log ended before it.
    Ended,
    /// The store has no room for it: repair fetches it when there is.
    Crowded,
    /// The store could not take it.
    Unable,
}

/// Why a message was rejected, to the blame of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    /// It is no batch.
    Malformed,
    /// It is of another network.
    Network,
    /// It belongs to another shard.
    Shard,
    /// Its signature or contents are wrong.
    Invalid,
    /// It is no beacon of this mesh.
    Beacon,
}

const IGNORED: [&str; 9] = ["own", "unwanted", "rate", "busy", "old", "early", "ended", "crowded", "unable"];
const REJECTED: [&str; 5] = ["malformed", "network", "shard", "invalid", "beacon"];

/// What gossip did since the start.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each is named for what it counts")]
pub struct Counters {
    pub batches_sent: AtomicU64,
    pub batch_bytes_sent: AtomicU64,
    pub batches_missed: AtomicU64,
    pub batches_received: AtomicU64,
    pub batch_bytes_received: AtomicU64,
    pub beacons_received: AtomicU64,
    pub batches_taken: AtomicU64,
    pub batches_held: AtomicU64,
    pub batches_forwarded: AtomicU64,
    pub slow_peers: AtomicU64,
    pub links_renewed: AtomicU64,
    pub peers_cut: AtomicU64,
    pub batches_repaired: AtomicU64,
    pub records_repaired: AtomicU64,
    pub questions_asked: AtomicU64,
    pub questions_failed: AtomicU64,
    pub answer_bytes_received: AtomicU64,
    pub questions_answered: AtomicU64,
    pub questions_refused: AtomicU64,
    pub answer_bytes_sent: AtomicU64,
    in_flight: AtomicU64,
    ignored: [AtomicU64; IGNORED.len()],
    rejected: [AtomicU64; REJECTED.len()],
    pub(super) traffic: Arc<Traffic>,
}

fn more(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Relaxed);
}

/// The name of a counter, what it counts, and how far it is.
pub type Count = (&'static str, &'static str, u64);

impl Counters {
    /// Every counter but those by reason, as metrics name it.
    #[rustfmt::skip]
    pub fn each(&self) -> Vec<Count> {
        // Whoever adds a counter is made to name it.
        let Self {
            batches_sent, batch_bytes_sent, batches_missed, batches_received, batch_bytes_received, beacons_received, batches_taken,
            batches_held, batches_forwarded, slow_peers, links_renewed, peers_cut, batches_repaired, records_repaired, questions_asked,
            questions_failed, answer_bytes_received, questions_answered, questions_refused, answer_bytes_sent, traffic,
            in_flight: _, ignored: _, rejected: _,
        } = self;
        let Traffic { sent, received } = &**traffic;
        let counters = [
            ("anode_gossip_published_batches", "Own batches handed to peers", batches_sent),
            ("anode_gossip_published_bytes", "Their bytes, each batch counted once", batch_bytes_sent),
            ("anode_gossip_missed_batches", "Own batches that gossip did not take, left to repair", batches_missed),
            ("anode_gossip_received_batches", "Batches that came by gossip", batches_received),
            ("anode_gossip_received_batch_bytes", "Their bytes", batch_bytes_received),
            ("anode_gossip_received_beacons", "Beacons that came by gossip", beacons_received),
            ("anode_gossip_accepted_batches", "Batches that came by gossip and were new here", batches_taken),
            ("anode_gossip_duplicate_batches", "Batches that came by gossip and were here already", batches_held),
            ("anode_gossip_forwarded_batches", "Batches of others that were handed on", batches_forwarded),
            ("anode_gossip_slow_peers", "Times that a peer was too slow for gossip", slow_peers),
            ("anode_gossip_renewed_links", "Links that had died silently and were closed", links_renewed),
            ("anode_gossip_cut_peers", "Peers that broke the rules, or never said what they speak, and were disconnected", peers_cut),
            ("anode_gossip_sent_bytes", "Bytes sent on the streams of all connections", sent),
            ("anode_gossip_received_bytes", "Bytes that came on the streams of all connections", received),
            ("anode_repair_batches", "Batches that repair stored", batches_repaired),
            ("anode_repair_records", "Records that repair stored", records_repaired),
            ("anode_repair_questions", "Questions to peers", questions_asked),
            ("anode_repair_failed_questions", "Questions to peers that went unanswered", questions_failed),
            ("anode_repair_received_bytes", "Bytes of peers' answers", answer_bytes_received),
            ("anode_repair_answers", "Questions of peers that were answered", questions_answered),
            ("anode_repair_refused_questions", "Questions of peers that were refused", questions_refused),
            ("anode_repair_sent_bytes", "Bytes of answers to peers", answer_bytes_sent),
        ];
        counters.into_iter().map(|(name, help, counter)| (name, help, counter.load(Relaxed))).collect()
    }

    /// How many batches that came by gossip are on their way into the store.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Batches that were ignored, by reason.
    pub fn ignored(&self) -> Vec<(&'static str, u64)> {
        by_reason(&IGNORED, &self.ignored)
    }

    /// Messages that were rejected, by reason.
    pub fn rejected(&self) -> Vec<(&'static str, u64)> {
        by_reason(&REJECTED, &self.rejected)
    }

    pub(super) fn batches_sent(&self, bytes: usize) {
        more(&self.batches_sent, 1);
        more(&self.batch_bytes_sent, bytes as u64);
    }

    pub(super) fn missed(&self) {
        more(&self.batches_missed, 1);
    }

    pub(super) fn received(&self, bytes: usize) {
        more(&self.batches_received, 1);
        more(&self.batch_bytes_received, bytes as u64);
    }

    pub(super) fn beacon(&self) {
        more(&self.beacons_received, 1);
    }

    /// A batch is on its way into the store.
    pub(super) fn departed(&self) {
        more(&self.in_flight, 1);
    }

    pub(super) fn judged(&self, verdict: &Verdict) {
        self.in_flight.fetch_sub(1, Relaxed);
        match verdict {
            Verdict::Taken => more(&self.batches_taken, 1),
            Verdict::Held => more(&self.batches_held, 1),
            Verdict::Old => self.ignore(Ignored::Old),
            Verdict::Early { .. } => self.ignore(Ignored::Early),
            Verdict::Crowded => self.ignore(Ignored::Crowded),
            Verdict::Forked | Verdict::Ended => self.ignore(Ignored::Ended),
            Verdict::Unable(_) => self.ignore(Ignored::Unable),
            Verdict::OtherNetwork => self.reject(Rejected::Network),
            Verdict::Invalid(_) => self.reject(Rejected::Invalid),
        }
    }

    pub(super) fn forwarded(&self) {
        more(&self.batches_forwarded, 1);
    }

    pub(super) fn ignore(&self, why: Ignored) {
        more(&self.ignored[why as usize], 1);
    }

    pub(super) fn reject(&self, why: Rejected) {
        more(&self.rejected[why as usize], 1);
    }

    pub(super) fn asked(&self) {
        more(&self.questions_asked, 1);
    }

    pub(super) fn unanswered(&self) {
        more(&self.questions_failed, 1);
    }

    pub(super) fn answer(&self, bytes: usize) {
        more(&self.answer_bytes_received, bytes as u64);
    }

    pub(super) fn answered(&self, bytes: usize) {
        more(&self.questions_answered, 1);
        more(&self.answer_bytes_sent, bytes as u64);
    }

    pub(super) fn refused(&self) {
        more(&self.questions_refused, 1);
    }

    pub(super) fn repaired(&self, pieces: &[Piece]) {
        let stored = || pieces.iter().filter(|piece| piece.outcome == Outcome::Stored);
        more(&self.batches_repaired, stored().count() as u64);
        more(&self.records_repaired, stored().map(|piece| piece.span.count()).sum());
    }

    pub(super) fn slow_peer(&self) {
        more(&self.slow_peers, 1);
    }

    pub(super) fn cut(&self) {
        more(&self.peers_cut, 1);
    }

    pub(super) fn renewed(&self) {
        more(&self.links_renewed, 1);
    }
}

fn by_reason(names: &[&'static str], counters: &[AtomicU64]) -> Vec<(&'static str, u64)> {
    names.iter().zip(counters).map(|(name, counter)| (*name, counter.load(Relaxed))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Refused;

    #[test]
    fn it_counts_each_verdict_under_its_reason() {
        let invalid = anode_shared::batch::BatchError::Header("h".to_owned());
        for (verdict, reason) in [
            (Verdict::Old, "old"),
            (Verdict::Early { due: 1 }, "early"),
            (Verdict::Crowded, "crowded"),
            (Verdict::Forked, "ended"),
            (Verdict::Ended, "ended"),
            (Verdict::Unable(Refused::Overloaded), "unable"),
            (Verdict::OtherNetwork, "network"),
            (Verdict::Invalid(invalid), "invalid"),
        ] {
            let counters = Counters::default();
            counters.departed();
            counters.judged(&verdict);
            let counted: Vec<_> = counters.ignored().into_iter().chain(counters.rejected()).collect();
            let counted: Vec<_> = counted.iter().filter(|(_, count)| *count > 0).collect();
            assert_eq!((counted, counters.in_flight()), (vec![&(reason, 1)], 0), "{verdict:?}");
        }
        for (why, name) in [(Ignored::Own, "own"), (Ignored::Busy, "busy"), (Ignored::Unable, "unable")] {
            assert_eq!(IGNORED[why as usize], name);
        }
        for (why, name) in [(Rejected::Malformed, "malformed"), (Rejected::Beacon, "beacon")] {
            assert_eq!(REJECTED[why as usize], name);
        }
    }
}
