//! Messages by gossipsub: own batches and beacons out, others' in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::batch::{Layout, MAX_BATCH};
use anode_shared::beacon::Beacon;
use anode_shared::ids::Origin;
use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId, PublishError};
use tracing::{debug, warn};

use super::{AGAIN, Driver};
use crate::gossip::conduct::{BEACONS_OF_ORIGIN, Offence};
use crate::gossip::counters::{Ignored, Rejected};
use crate::gossip::inbound::{Gossiped, Judged, acceptance};
use crate::gossip::{peers, presence, repair};
use crate::store::{Loaded, Verdict};

impl Driver {
    /// Hands an own batch to all peers. What cannot be handed on now, repair carries.
    pub(super) fn spread(&mut self, batch: &Arc<Loaded>) {
        let header = batch.header();
        // Batches of a start in which the network had other shards are left to repair.
        let Some(topic) = self.names.shard(header.shard_bits, header.shard) else { return };
        match self.swarm.behaviour_mut().gossipsub.publish(topic, batch.bytes().to_vec()) {
            Ok(_) => self.shared.counters.batches_sent(batch.bytes().len()),
            Err(PublishError::NoPeersSubscribedToTopic) => {}
            Err(error) => {
                self.shared.counters.missed();
                debug!(%error, "Gossip did not take a batch; repair carries it");
            }
        }
    }

    /// Speaks to somebody who just came: at once, or with all who came since the last beacon.
    pub(super) fn greet(&mut self, now: Instant) {
        match self.last_beacon.map(|(last, bytes)| last + breath(self.presence.count(), bytes)) {
            Some(again) if again > now => self.next_beacon = self.next_beacon.min(again),
            _ => self.speak_now(now),
        }
    }

    pub(super) fn speak_now(&mut self, now: Instant) {
        self.next_beacon = now + self.presence.interval();
        let bytes = self.speak(false);
        self.last_beacon = Some((now, bytes));
    }

    /// Says what this node has to say of itself; gives how many bytes that are.
    pub(super) fn speak(&mut self, leaving: bool) -> usize {
        let (beacon, topic) = (self.beacon(leaving), self.names.presence.hash());
        match self.swarm.behaviour_mut().gossipsub.publish(topic, beacon.to_vec()) {
            Ok(_) | Err(PublishError::NoPeersSubscribedToTopic) => {}
            Err(error) => debug!(%error, "Gossip did not take a beacon"),
        }
        beacon.len()
    }

    pub(super) fn gossipsub_event(&mut self, event: gossipsub::Event, now: Instant) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.message(propagation_source, message_id, message, now);
            }
            gossipsub::Event::Subscribed { topic, .. } if topic == self.names.presence.hash() => {
                self.greet(now);
            }
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                debug!(peer = %peer_id, "A peer speaks no gossipsub");
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                self.shared.counters.slow_peer();
                debug!(peer = %peer_id, "A peer is slower than gossip; repair carries what it misses");
            }
            _ => {}
        }
    }

    fn message(&mut self, from: PeerId, id: MessageId, message: gossipsub::Message, now: Instant) {
        if message.topic == self.names.presence.hash() {
            self.shared.counters.beacon();
            let verdict = self.beacon_message(&from, &message.data, now);
            return self.report(&id, &from, verdict, now);
        }
        let Some(verdict) = self.batch_message(from, &id, message, now) else { return };
        self.report(&id, &from, verdict, now);
    }

    /// What becomes of a batch at once; none where it is on its way to the store.
    fn batch_message(
        &mut self,
        from: PeerId,
        id: &MessageId,
        message: gossipsub::Message,
        now: Instant,
    ) -> Option<MessageAcceptance> {
        let bytes: bytes::Bytes = message.data.into();
        self.shared.counters.received(bytes.len());
        let layout = (bytes.len() <= MAX_BATCH).then(|| Layout::parse(&bytes).ok()).flatten();
        let Some(layout) = layout else { return Some(self.reject(Rejected::Malformed)) };
        let (header, origin) = (&layout.header, layout.header.origin);
        if header.network != self.config.network {
            return Some(self.reject(Rejected::Network));
        }
        if self.names.shard(header.shard_bits, header.shard).is_none_or(|topic| topic != message.topic) {
            return Some(self.reject(Rejected::Shard));
        }
        if origin == self.me {
            return Some(self.ignore(Ignored::Own));
        }
        // What it names as its origin is not proved yet, unless that one sent it: it counts for nothing before it was judged.
        if peers::origin(&from) == Some(origin) {
            self.planner().handle(repair::Event::Gossiped(origin), now);
        }
        if !self.admission.keeps(origin) {
            return Some(self.ignore(Ignored::Unwanted));
        }
        if !self.planner().may_take(origin, now) {
            return Some(self.ignore(Ignored::Rate));
        }
        if !self.lanes.put(Gossiped { id: id.clone(), from, origin, bytes }) {
            return Some(self.ignore(Ignored::Busy));
        }
        self.shared.counters.departed();
        None
    }

    fn ignore(&self, why: Ignored) -> MessageAcceptance {
        self.shared.counters.ignore(why);
        MessageAcceptance::Ignore
    }

    fn reject(&self, why: Rejected) -> MessageAcceptance {
        self.shared.counters.reject(why);
        MessageAcceptance::Reject
    }

    pub(super) fn judged(&mut self, judged: Judged) {
        let (Judged { id, from, origin, bytes, verdict }, now) = (judged, Instant::now());
        if matches!(verdict, Verdict::Taken | Verdict::Held | Verdict::Old) {
            let mut planner = self.planner();
            planner.takes(origin, bytes as u64, now);
            planner.handle(repair::Event::Gossiped(origin), now);
        }
        let all_linked = peers::origin(&from) == Some(origin) && self.all_link_to(origin);
        self.shared.counters.judged(&verdict);
        let verdict = acceptance(&verdict, all_linked);
        if matches!(verdict, MessageAcceptance::Accept) {
            self.shared.counters.forwarded();
        }
        self.report(&id, &from, verdict, now);
    }

    /// Whether all peers of this node are linked to an origin themselves, so that they get its batches without this node.
    fn all_link_to(&self, origin: Origin) -> bool {
        self.links.linked().iter().filter(|peer| **peer != origin).all(|peer| {
            let links = self.presence.peer(*peer).map(|peer| &peer.beacon.links);
            links.is_some_and(|links| links.iter().any(|link| link.peer == origin))
        })
    }

    fn report(&mut self, id: &MessageId, from: &PeerId, verdict: MessageAcceptance, now: Instant) {
        let rejects = matches!(verdict, MessageAcceptance::Reject);
        self.swarm.behaviour_mut().gossipsub.report_message_validation_result(id, from, verdict);
        if rejects {
            peers::origin(from).into_iter().for_each(|from| self.offend(from, Offence::Message, now));
        }
    }

    fn beacon_message(&mut self, from: &PeerId, bytes: &[u8], now: Instant) -> MessageAcceptance {
        let Some(sender) = peers::origin(from) else { return MessageAcceptance::Ignore };
        if !self.conduct.hears_sender(sender, bytes.len(), now) {
            self.offend(sender, Offence::Chatter, now);
            return MessageAcceptance::Ignore;
        }
        let beacon = match Beacon::open(bytes) {
            Ok(beacon) => beacon,
            Err(error) => {
                debug!(%error, "A beacon was no beacon");
                return self.reject(Rejected::Beacon);
            }
        };
        if let Err(refusal) = self.admission.admit(&beacon.network, beacon.protocol) {
            if self.may_complain(now) {
                warn!(peer = %beacon.origin, %refusal, "A beacon of another mesh came");
            }
            return self.reject(Rejected::Beacon);
        }
        // What is old says nothing and costs its origin nothing: anybody may have recorded it.
        let says = self.presence.is_news(&beacon);
        if says && !self.conduct.hears_origin(beacon.origin, bytes.len(), now) {
            // Who passes it on did nothing wrong.
            if beacon.origin == sender {
                self.offend(sender, Offence::Chatter, now);
            }
            return MessageAcceptance::Ignore;
        }
        let effects = self.presence.handle(presence::Event::Beacon(Arc::new(beacon)), now);
        let news = effects.iter().any(|effect| matches!(effect, presence::Effect::News(_)));
        self.presence_effects(effects, now);
        if news { MessageAcceptance::Accept } else { MessageAcceptance::Ignore }
    }
}

/// How long after a beacon of so many bytes, among so many peers, none leaves for those who came meanwhile. Others take only so
/// much of one node: who comes and goes all the time must not bring this one to say more than half of that.
fn breath(peers: u32, bytes: usize) -> Duration {
    let half = u32::try_from(BEACONS_OF_ORIGIN / 2).unwrap_or(1);
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    (AGAIN * peers).max(Duration::from_secs(1) * bytes / half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::conduct::Conduct;

    #[test]
    fn it_never_speaks_so_much_that_others_cut_it_off() {
        let start = Instant::now();
        for bytes in [300, 1_000, 5_000, 16 << 10] {
            let (mut conduct, mut since, me) = (Conduct::default(), Duration::ZERO, Origin([1; 32]));
            // Somebody comes whenever it may speak, and it speaks every two seconds anyway.
            let mut regular = Duration::ZERO;
            while since < Duration::from_secs(60) {
                assert!(conduct.hears_origin(me, bytes, start + since), "{bytes} bytes after {since:?}");
                if regular <= since {
                    assert!(conduct.hears_origin(me, bytes, start + since), "{bytes} bytes after {since:?}");
                    regular += presence::INTERVAL;
                }
                since += breath(1, bytes);
            }
        }
    }
}
