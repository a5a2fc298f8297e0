//! What the node says of itself in beacons, and what the API shows of the mesh.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anode_shared::beacon::{Beacon, ComponentState, Link, Load, MAX_LIST, OwnHead, VERSION};
use anode_shared::ids::{Hash, LogId, LogKey, Origin};
use anode_shared::mesh::{Mesh, PeerLink, PeerState as Shown, PeerStatus, total};
use anode_shared::time::{Micros, to_rfc3339};
use libp2p::multiaddr::{Multiaddr, Protocol};

use super::Driver;
use super::ways::MOST_ADDRESSES;
use crate::gossip::presence::{Peer, PeerState};
use crate::gossip::view::View;
use crate::gossip::{peers, view};
use crate::store::{LogView, system_time};

impl Driver {
    /// The next beacon.
    pub(super) fn describe(&self, leaving: bool) -> Beacon {
        let said = self.shared.said();
        let links = self
            .links
            .linked()
            .iter()
            .take(MAX_LIST)
            .map(|peer| Link { peer: *peer, rtt_us: self.rtt_us(*peer) });
        Beacon {
            version: VERSION,
            network: self.config.network.clone(),
            origin: self.me,
            run: self.run,
            sequence: self.sequence,
            time: system_time(),
            interval_ms: u32::try_from(self.presence.interval().as_millis()).unwrap_or(u32::MAX),
            name: self.config.name.clone(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: anode_shared::repair::PROTOCOL,
            addresses: self.own_addresses().iter().take(MAX_LIST).map(ToString::to_string).collect(),
            shards: self.names.carried(),
            heads: self.own_heads(),
            digest: self.planner().digest().whole(),
            links: links.collect(),
            load: Load { store_bytes: self.store.status().bytes, ..said.load },
            components: said
                .components
                .iter()
                .map(|(name, state)| ComponentState::new(name, *state))
                .collect(),
            archive: said.archive,
            leaving,
        }
    }

    fn rtt_us(&self, peer: Origin) -> u32 {
        let rtt = self.members.get(&peer).and_then(|member| member.rtt);
        rtt.map_or(0, |rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX))
    }

    /// The own logs that hold anything, newest last.
    fn own_heads(&self) -> Vec<OwnHead> {
        let heads = self.store.own_heads().into_iter().map(|head| OwnHead {
            log: head.log,
            head: head.head,
            hash: head.hash.unwrap_or(Hash([0; 32])),
            floor: head.floor,
        });
        let mut heads: Vec<OwnHead> = heads.collect();
        heads.drain(..heads.len().saturating_sub(MAX_LIST));
        heads
    }

    /// Where the node can be reached: what it was told to announce, else where it listens and was seen.
    fn own_addresses(&self) -> Vec<Multiaddr> {
        let mut addresses = self.config.announce.clone();
        if addresses.is_empty() {
            addresses.extend(self.swarm.listeners().filter(|address| peers::is_dialable(address)).cloned());
            let public = addresses.iter().any(|address| !peers::is_loopback(address));
            addresses.extend(self.observed.addresses().into_iter().filter(|_| public));
        }
        addresses.sort();
        addresses.dedup();
        addresses
    }

    /// Makes anew what the API shows.
    pub(super) fn show(&mut self, now: Instant) {
        // Each name is made once: in a large mesh every node is named by all its neighbours, and base58 is slow.
        let names: HashMap<Origin, String> = self
            .presence
            .peers()
            .map(|(origin, _)| (*origin, origin.to_string()))
            .chain([(self.me, self.me.to_string())])
            .collect();
        let mut peers: Vec<PeerStatus> = self
            .presence
            .peers()
            .map(|(origin, peer)| self.peer_status(*origin, peer, &names, now))
            .collect();
        peers.sort_by(|one, other| one.id.cmp(&other.id));
        let (missing, requests) = self.planner().progress(now);
        let repaired = self.shared.counters.records_repaired.load(Relaxed);
        let news = self.teller.repairing(missing, repaired, now);
        self.news(news);
        let me = *self.swarm.local_peer_id();
        let named = |address: Multiaddr| peers::bare(&address).with(Protocol::P2p(me)).to_string();
        self.shared.show(View {
            addresses: self.own_addresses().into_iter().map(named).collect(),
            mesh: Mesh::of(&self.me.to_string(), &self.config.name, &peers),
            peers,
            linked: self.links.linked().len(),
            missing,
            requests,
            twin: self.presence.has_twin(now),
            archivers: self.archivers(),
            clock_off: self.clock.is_off().then(|| self.clock.median()),
        });
    }

    /// A peer that is suspect still counts: who took its part over would do the same work once more.
    fn archivers(&self) -> Vec<(Origin, Hash)> {
        let there = self.presence.peers().filter(|(_, peer)| peer.state <= PeerState::Suspect);
        there.filter_map(|(origin, peer)| Some((*origin, peer.beacon.archive?))).collect()
    }

    fn peer_status(
        &self,
        origin: Origin,
        peer: &Peer,
        names: &HashMap<Origin, String>,
        now: Instant,
    ) -> PeerStatus {
        let beacon = &peer.beacon;
        let id = name(origin, names);
        let ago = |when: Instant| {
            let ago = now.saturating_duration_since(when);
            to_rfc3339(system_time().saturating_sub(Micros::try_from(ago.as_micros()).unwrap_or(0)))
        };
        let heads: BTreeMap<String, u64> =
            beacon.heads.iter().map(|head| (head.log.to_string(), head.head)).collect();
        PeerStatus {
            id: id.clone(),
            name: beacon.name.clone(),
            version: beacon.software.clone(),
            addresses: beacon
                .addresses
                .iter()
                .take(MOST_ADDRESSES)
                .map(|address| format!("{address}/p2p/{id}"))
                .collect(),
            state: shown(peer.state),
            since: ago(peer.since),
            last_seen: ago(peer.heard),
            connected: peer.connected,
            rtt_ms: self.members.get(&origin).and_then(|member| member.rtt).map(millis),
            lag: total(beacon.heads.iter().map(|head| self.lag(origin, head.log, head.head))),
            heads,
            links: beacon.links.iter().map(|one| link(one, names)).collect(),
            clock_offset_ms: self.clock.offset(origin).map(view::millis_of),
            records_per_s: beacon.load.records_per_s,
            subscribers: beacon.load.subscribers,
            sources: beacon.load.sources,
            components: beacon
                .components
                .iter()
                .map(|component| (component.name.clone(), component.state()))
                .collect(),
        }
    }

    fn lag(&self, origin: Origin, log: LogId, head: u64) -> u64 {
        let view =
            self.store.log(LogKey { origin, log }).unwrap_or(LogView { floor: 1, ..LogView::default() });
        let missing = total(view.missing.iter().map(|(from, to)| to - from + 1));
        head.saturating_sub(view.held).saturating_add(missing)
    }
}

fn name(origin: Origin, names: &HashMap<Origin, String>) -> String {
    names.get(&origin).cloned().unwrap_or_else(|| origin.to_string())
}

fn link(link: &Link, names: &HashMap<Origin, String>) -> PeerLink {
    PeerLink { id: name(link.peer, names), rtt_ms: (link.rtt_us > 0).then(|| f64::from(link.rtt_us) / 1e3) }
}

fn shown(state: PeerState) -> Shown {
    match state {
        PeerState::Alive => Shown::Alive,
        PeerState::Suspect => Shown::Suspect,
        PeerState::Left => Shown::Left,
        PeerState::Dead => Shown::Dead,
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
