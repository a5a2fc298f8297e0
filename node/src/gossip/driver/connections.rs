//! Connections: who is dialled, who is let in, who is there.

use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Multiaddr;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{DialError, ListenError, SwarmEvent};
use libp2p::{PeerId, identify, mdns, ping};
use tracing::{debug, info, warn};

use anode_shared::ids::Origin;

use super::ways::MOST_ADDRESSES;
use super::{Driver, Member};
use crate::gossip::behaviour::BehaviourEvent;
use crate::gossip::members::{self, Target, Way};
use crate::gossip::presence;
use crate::gossip::repair;
use crate::gossip::{News, news, peers, runs};

/// What is likely where a handshake in a private network fails: the protocol cannot tell.
const OTHER_KEY: &str = "; perhaps it has another network key, or none";
/// How often strangers with another key are told of, who may try for ever.
const COMPLAINT: Duration = Duration::from_secs(10);
/// How long a connected peer may take to say what it speaks; who says nothing holds a place that others want.
const STRANGE: Duration = Duration::from_secs(8);
/// How long one that is turned away stays connected: it is to hear what this node speaks, and nothing else of it is taken.
const FAREWELL: Duration = Duration::from_millis(500);

impl Driver {
    pub(super) fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::Behaviour(event) => self.behaviour_event(event, now),
            SwarmEvent::ConnectionEstablished {
                peer_id, connection_id, endpoint, num_established, ..
            } => {
                debug!(peer = %peer_id, address = %endpoint.get_remote_address(), "Connected");
                let dialled = self.dials.remove(&connection_id);
                if let Some(origin) = peers::origin(&peer_id) {
                    self.established(origin, &endpoint, dialled, num_established.get() == 1, now);
                } else {
                    let _ = self.swarm.disconnect_peer_id(peer_id);
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, cause, .. } => {
                debug!(peer = %peer_id, ?cause, "Connection closed");
                let Some(origin) = peers::origin(&peer_id) else { return };
                let others = self.runs.closed(origin, connection_id);
                if num_established == 0 {
                    self.closed(origin, now);
                } else if others {
                    // To gossipsub it was the same peer all the time: it is greeted when it comes anew.
                    self.disconnect(origin);
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.dial_failed(connection_id, peer_id, &error, now);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                self.not_let_in(&send_back_addr, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                info!(%address, "Listening for peers");
                self.show(now);
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                warn!(?addresses, ?reason, "No longer listening for peers");
            }
            SwarmEvent::NewExternalAddrCandidate { address } if peers::is_dialable(&address) => {
                self.observed.seen_at(address);
            }
            _ => {}
        }
    }

    fn behaviour_event(&mut self, event: BehaviourEvent, now: Instant) {
        match event {
            BehaviourEvent::Gossipsub(event) => self.gossipsub_event(event, now),
            BehaviourEvent::Repair(event) => self.repair_event(event, now),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, connection_id, info }) => {
                if let Some((origin, run)) = peers::origin(&peer_id).zip(runs::run_of(&info.agent_version)) {
                    self.runs.known(origin, connection_id, run, now);
                }
                self.identified(peer_id, info, now);
            }
            BehaviourEvent::Ping(ping::Event { peer, connection, result: Ok(rtt) }) => {
                let Some(origin) = peers::origin(&peer) else { return };
                if let Some(member) = self.members.get_mut(&origin) {
                    member.rtt = Some(rtt);
                }
                if self.runs.heard(origin, connection, now) {
                    self.presence_effect(presence::Effect::Twin(origin), now);
                }
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    self.discovered(peer, address, now);
                }
            }
            _ => {}
        }
    }

    fn established(
        &mut self,
        origin: Origin,
        endpoint: &ConnectedPoint,
        dialled: Option<Target>,
        first: bool,
        now: Instant,
    ) {
        if self.conduct.is_cut(origin, now) {
            dialled.into_iter().for_each(|target| _ = self.links.handle(members::Event::Failed(target), now));
            return self.disconnect(origin);
        }
        if let ConnectedPoint::Dialer { address, .. } = endpoint {
            self.remember(origin, address.clone());
        }
        if self.connected.insert(origin) {
            self.strangers.insert(origin, now + STRANGE);
        }
        // What the lookup of peers dialled is nobody's choice here.
        let way = dialled.map_or(Way::Came(peers::place(endpoint.get_remote_address())), Way::Dialled);
        self.links.handle(members::Event::Connected(origin, way), now);
        if first {
            let effects = self.presence.handle(presence::Event::Connected(origin), now);
            self.presence_effects(effects, now);
        }
    }

    fn closed(&mut self, origin: Origin, now: Instant) {
        self.strangers.remove(&origin);
        if !self.connected.remove(&origin) {
            return;
        }
        let by_choice = self.links.ends_by_choice(origin);
        let event = if by_choice { presence::Event::Parted(origin) } else { presence::Event::Closed(origin) };
        self.links.handle(members::Event::Closed(origin), now);
        let effects = self.presence.handle(event, now);
        self.presence_effects(effects, now);
        self.observed.left(origin);
        self.forget_ways(origin);
        self.visited_in_vain(origin);
        if self.members.remove(&origin).is_some() {
            self.plan(repair::Event::Closed(origin), now);
        }
    }

    /// Ends connections whose other end never said what it speaks, or another language.
    pub(super) fn look_at_strangers(&mut self, now: Instant) {
        let late = self.strangers.iter().filter(|(_, until)| **until <= now);
        let late: Vec<Origin> = late.map(|(peer, _)| *peer).collect();
        for peer in late {
            self.strangers.remove(&peer);
            self.shared.counters.cut();
            debug!(%peer, "A peer never said what it speaks, or something else");
            self.disconnect(peer);
        }
    }

    /// A peer said what it speaks: it is of this mesh, or it is told off.
    fn identified(&mut self, peer: PeerId, said: identify::Info, now: Instant) {
        // Who is cut off may have spoken all the same.
        let Some(origin) = peers::origin(&peer).filter(|origin| self.connected.contains(origin)) else {
            return self.observed.speaks(None);
        };
        let until = self.strangers.remove(&origin);
        if said.protocol_version != self.names.version {
            // Saying it again and again makes it no longer.
            let soon = now + FAREWELL;
            self.strangers.insert(origin, until.map_or(soon, |until| until.min(soon)));
            self.turn_away(peer, &said.protocol_version, now);
            return self.observed.speaks(None);
        }
        self.observed.speaks(Some(origin));
        for address in
            said.listen_addrs.iter().take(MOST_ADDRESSES).filter(|address| peers::is_dialable(address))
        {
            self.remember(origin, address.clone());
            self.swarm.behaviour_mut().kad.add_address(&peer, address.clone());
        }
        if let Entry::Vacant(place) = self.members.entry(origin) {
            place.insert(Member::default());
            self.links.handle(members::Event::LetIn(origin), now);
            self.ask_who_was_visited(origin);
            self.plan(repair::Event::Connected(origin), now);
            // It learns at once who this is, and this node is not thought dead while it comes up.
            self.greet(now);
        }
    }

    /// A peer belongs to another network, or speaks another version of the protocol. It may come again for ever.
    fn turn_away(&mut self, peer: PeerId, speaks: &str, now: Instant) {
        let theirs: String = speaks.chars().take(100).collect();
        debug!(%peer, theirs, "A peer speaks something else");
        let news = News::Refused {
            peer: peer.to_string(),
            ours: self.names.version.clone(),
            theirs: theirs.clone(),
        };
        if let Some(news) = self.teller.refused(news, now) {
            warn!(%peer, ours = self.names.version, theirs, "A node of another network or protocol was turned away");
            self.news(news);
        }
    }

    fn dial_failed(
        &mut self,
        connection: libp2p::swarm::ConnectionId,
        peer: Option<PeerId>,
        error: &DialError,
        now: Instant,
    ) {
        let Some(target) = self.dials.remove(&connection) else { return };
        debug!(?peer, %error, "A dial failed");
        if let (Target::Bootstrap(number), DialError::LocalPeerId { address }) = (target, error)
            && !self.config.bootstrap.get(number).is_some_and(peers::is_name)
        {
            info!(%address, "A bootstrap address leads to this node itself, and is not dialled again");
            self.links.handle(members::Event::Own(number), now);
            return;
        }
        if let Target::Bootstrap(number) = target
            && number < self.config.named
            && !matches!(error, DialError::DialPeerConditionFalse(_) | DialError::LocalPeerId { .. })
        {
            let address = self.config.bootstrap.get(number).map(ToString::to_string).unwrap_or_default();
            let hint = if self.config.network_key.is_some() { OTHER_KEY } else { "" };
            warn!(address, %error, "A bootstrap peer could not be reached; it is tried again for ever{hint}");
            let key = self.config.network_key.is_some();
            if matches!(error, DialError::Transport(_)) && news::is_garbled(&error.to_string(), key) {
                self.garbled(address, now);
            }
        }
        self.links.handle(members::Event::Failed(target), now);
        if let Target::Peer(origin) | Target::Visit(origin) = target {
            self.forget_ways(origin);
        }
        if let Target::Visit(origin) = target
            && !matches!(error, DialError::DialPeerConditionFalse(_))
        {
            self.visited_in_vain(origin);
        }
    }

    /// Somebody connected and was not understood: in a private network most likely for want of its key.
    fn not_let_in(&mut self, from: &Multiaddr, error: &ListenError) {
        let garbled = matches!(error, ListenError::Transport(_)) && self.config.network_key.is_some();
        if garbled && self.may_complain(Instant::now()) {
            warn!(address = %from, %error, "A peer could not connect{OTHER_KEY}");
            self.garbled(peers::host(from), Instant::now());
        } else {
            debug!(address = %from, %error, "A peer could not connect");
        }
    }

    /// Whether something may be told of that strangers can bring about as often as they like.
    pub(super) fn may_complain(&mut self, now: Instant) -> bool {
        let may = self.next_complaint <= now;
        if may {
            self.next_complaint = now + COMPLAINT;
        }
        may
    }

    /// Says that a handshake failed as it does for want of the same network key.
    fn garbled(&mut self, address: String, now: Instant) {
        let news = News::Garbled { address, key: self.config.network_key.is_some() };
        let news = self.teller.refused(news, now);
        self.news(news);
    }

    pub(super) fn link_effect(&mut self, effect: members::Effect, now: Instant) {
        match effect {
            members::Effect::Dial(target) => self.dial(target, now),
            members::Effect::Drop(origin) => self.disconnect(origin),
        }
    }

    fn dial(&mut self, target: Target, now: Instant) {
        if let Target::Bootstrap(number) = target
            && self.config.bootstrap.get(number).is_some_and(|address| self.is_own(address))
        {
            self.links.handle(members::Event::Own(number), now);
            return;
        }
        let options = match target {
            Target::Bootstrap(number) => {
                self.config.bootstrap.get(number).map(|address| match peers::named(address) {
                    Some(peer) => DialOpts::peer_id(peer)
                        .condition(PeerCondition::DisconnectedAndNotDialing)
                        .addresses(vec![address.clone()])
                        .build(),
                    None => DialOpts::unknown_peer_id().address(address.clone()).build(),
                })
            }
            Target::Peer(origin) | Target::Visit(origin) if self.conduct.is_cut(origin, now) => None,
            Target::Peer(origin) | Target::Visit(origin) => peers::peer_id(origin).map(|peer| {
                DialOpts::peer_id(peer)
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .addresses(self.ways_to(origin))
                    .build()
            }),
        };
        let Some(options) = options else {
            self.links.handle(members::Event::Failed(target), now);
            return;
        };
        let connection = options.connection_id();
        self.dials.insert(connection, target);
        self.swarm.behaviour_mut().limits.choose(connection);
        if let Err(error) = self.swarm.dial(options) {
            debug!(?target, %error, "Failed to dial");
            self.dials.remove(&connection);
            self.links.handle(members::Event::Failed(target), now);
        }
    }

    pub(super) fn presence_effects(&mut self, effects: Vec<presence::Effect>, now: Instant) {
        for effect in effects {
            self.presence_effect(effect, now);
        }
    }

    fn presence_effect(&mut self, effect: presence::Effect, now: Instant) {
        let name = |origin: Origin, driver: &Self| {
            driver.presence.peer(origin).map(|peer| peer.beacon.name.clone()).unwrap_or_default()
        };
        match effect {
            presence::Effect::Joined(peer) => self.news(News::Joined { peer, name: name(peer, self) }),
            presence::Effect::Changed { peer, from, to } => {
                if to > presence::PeerState::Suspect {
                    self.links.handle(members::Event::Gone(peer), now);
                    self.clock.forget(peer);
                }
                self.news(News::Changed { peer, name: name(peer, self), from, to });
                self.next_show = now;
            }
            presence::Effect::News(peer) => self.beacon_news(peer, now),
            presence::Effect::Restarted(peer) => debug!(%peer, "A peer was started anew"),
            presence::Effect::Twin(peer) => {
                warn!(%peer, "Two nodes speak with one identity; give each its own --data-dir, and do not copy one");
                self.news(News::Twin { peer, own: peer == self.me });
            }
            presence::Effect::Forgotten(peer) => {
                self.links.handle(members::Event::Forgotten(peer), now);
                self.clock.forget(peer);
                self.forget_ways(peer);
            }
        }
    }

    fn beacon_news(&mut self, peer: Origin, now: Instant) {
        let Some(known) = self.presence.peer(peer) else { return };
        let beacon = known.beacon.clone();
        self.clock.heard(peer, beacon.time, crate::store::system_time(), known.connected);
        if known.state <= presence::PeerState::Suspect {
            let links = beacon.links.iter().map(|link| link.peer).collect();
            self.links.handle(members::Event::There(peer, links), now);
        }
        self.plan(repair::Event::Beacon(&beacon), now);
    }
}
