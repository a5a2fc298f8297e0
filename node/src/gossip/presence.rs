//! Who is there: alive, suspect, dead or left, from signed beacons and from connections.
//!
//! Only a beacon makes a peer known or alive; a connection that closes makes it suspect. Beacons are counted by (run, sequence),
//! so one that is old or was recorded says nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::beacon::Beacon;
use anode_shared::ids::Origin;
use anode_shared::time::Micros;

/// How often a node speaks in a mesh of ordinary size.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// Up to how many peers it speaks that often: above, all slow down in proportion, so that nobody hears more than 125 beacons a
/// second (1 % of a core for their signatures).
const FULL_RATE: u64 = 250;
/// After how many tenths of its interval a silent peer is suspect: 5 s, two beacons lost.
const SUSPECT_TENTHS: u32 = 25;
/// After how many tenths of its interval a silent peer is dead: 9 s, so that it shows within 10 s of a `kill -9`.
const DEAD_TENTHS: u32 = 45;
/// How long after its connection closed a peer that is not heard again is dead: one interval and what a loaded machine adds,
/// and within the 3 s that are promised. Who speaks less often is waited for longer by that.
const CLOSED: Duration = Duration::from_millis(2_750);
/// How long after a connection closed beacons may come that were sent before.
const ECHO: Duration = Duration::from_secs(5);
/// How slow even the quickest of few beacons may have been. With it, and the interval, a living peer is heard within [`CLOSED`].
const DELAY: Duration = Duration::from_millis(500);
/// After how long a quick beacon does not count any more: clocks drift by 6 ms meanwhile at most.
const DRIFT: Duration = Duration::from_secs(60);
/// How long a peer that is gone is remembered.
const FORGET: Duration = Duration::from_secs(3_600);
/// The most peers that are known: four times the largest mesh that was ever simulated here.
const MOST_PEERS: usize = 4_096;
/// Over which time beacons of another run, signed since this one began, must go on for it to be a twin and no echo of an earlier
/// start.
const TWIN: Duration = Duration::from_secs(3);

/// How long after its last beacon a twin is taken for stopped: beacons of a quiet one may be lost for a while.
const TWIN_GONE: Duration = Duration::from_secs(30);

/// How a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerState {
    /// It speaks.
    Alive,
    /// It should have spoken, or its connection closed.
    Suspect,
    /// It said that it shuts down.
    Left,
    /// It has been silent for too long.
    Dead,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A beacon came, whose signature, network and limits were checked.
    Beacon(Arc<Beacon>),
    /// The first connection to a peer was made.
    Connected(Origin),
    /// The last connection to a peer closed.
    Closed(Origin),
    /// The same, by choice of one of both: that says nothing of how the peer is.
    Parted(Origin),
    /// Records came that this identity signed after this start, and not this node.
    Twin,
    /// Time passed.
    Tick,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A peer is known now that was not.
    Joined(Origin),
    /// A peer's state changed.
    Changed {
        /// Whose.
        peer: Origin,
        /// What it was.
        from: PeerState,
        /// What it is.
        to: PeerState,
    },
    /// The beacon was news: its contents count.
    News(Origin),
    /// A peer was started anew.
    Restarted(Origin),
    /// Two nodes speak with one identity.
    Twin(Origin),
    /// A peer was gone for so long, or so many others came, that it is not known any more.
    Forgotten(Origin),
}

/// Another run of the same identity than the newest.
#[derive(Debug, Clone, Copy)]
struct Other {
    run: u64,
    sequence: u64,
    first: Instant,
    last: Instant,
    told: bool,
}

/// One peer.
#[derive(Debug, Clone)]
pub struct Peer {
    /// How it is.
    pub state: PeerState,
    /// Since when.
    pub since: Instant,
    /// Its newest beacon.
    pub beacon: Arc<Beacon>,
    /// When that came.
    pub heard: Instant,
    /// Whether there is a connection to it.
    pub connected: bool,
    /// When its connection closed, until it is heard again.
    closed: Option<Instant>,
    /// For how long it was connected, but for the connection that there is.
    lasted: Duration,
    other: Option<Other>,
    /// The beacon that took the least time: when it came, and what the peer's clock showed.
    quickest: (Instant, Micros),
}

impl Peer {
    fn tenths(&self, tenths: u32) -> Duration {
        Duration::from_millis(u64::from(self.beacon.interval_ms)) * tenths / 10
    }

    /// When the state changes next if nothing is heard, and to what.
    fn next(&self) -> Option<(Instant, PeerState)> {
        let dead = self.heard + self.tenths(DEAD_TENTHS);
        match self.state {
            PeerState::Alive => Some((self.heard + self.tenths(SUSPECT_TENTHS), PeerState::Suspect)),
            PeerState::Suspect => {
                let slower = self.tenths(10).saturating_sub(INTERVAL);
                let closed = self.closed.map(|closed| closed + CLOSED + slower);
                Some((closed.map_or(dead, |closed| closed.min(dead)), PeerState::Dead))
            }
            PeerState::Left | PeerState::Dead => None,
        }
    }

    /// Whether a beacon that comes now was sent before the connection closed and took its time. The quickest of the peer's
    /// beacons tells when its clock showed what, whatever that clock's setting.
    fn is_from_before_the_end(&self, beacon: &Beacon, now: Instant) -> bool {
        let Some(closed) = self.closed.filter(|closed| *closed + ECHO > now) else { return false };
        self.sent(beacon.time) <= Some(closed + DELAY)
    }

    /// When the peer's clock showed a time, by the quickest of its beacons.
    fn sent(&self, time: Micros) -> Option<Instant> {
        let (arrived, said) = self.quickest;
        if time >= said {
            arrived.checked_add(Duration::from_micros(time - said))
        } else {
            arrived.checked_sub(Duration::from_micros(said - time))
        }
    }

    /// Notes how quick a beacon was. One that was quick long ago says less than a fresh one, for clocks drift.
    fn clock(&mut self, time: Micros, now: Instant) {
        if self.quickest.0 + DRIFT < now || self.sent(time).is_none_or(|sent| sent > now) {
            self.quickest = (now, time);
        }
    }
}

/// All peers.
#[derive(Debug)]
pub struct Presence {
    me: Origin,
    run: u64,
    pace: Duration,
    peers: BTreeMap<Origin, Peer>,
    /// Connections, also to peers that were not heard yet.
    connected: BTreeMap<Origin, Instant>,
    own: Option<Other>,
}

impl Presence {
    /// Begins with the own identity and run.
    pub fn new(me: Origin, run: u64) -> Self {
        Self { me, run, pace: INTERVAL, peers: BTreeMap::new(), connected: BTreeMap::new(), own: None }
    }

    /// Lets the node speak at another pace than [`INTERVAL`].
    #[must_use]
    pub fn speaking(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    /// How many peers are known.
    pub fn count(&self) -> u32 {
        u32::try_from(self.peers.len()).unwrap_or(u32::MAX)
    }

    /// All known peers.
    pub fn peers(&self) -> impl Iterator<Item = (&Origin, &Peer)> {
        self.peers.iter()
    }

    /// One peer.
    pub fn peer(&self, peer: Origin) -> Option<&Peer> {
        self.peers.get(&peer)
    }

    /// Whether a peer is there, as far as one can tell.
    pub fn is_there(&self, peer: Origin) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.state <= PeerState::Suspect)
    }

    /// Whether another node speaks with this node's identity.
    pub fn has_twin(&self, now: Instant) -> bool {
        self.own.is_some_and(|own| own.told && now.saturating_duration_since(own.last) < TWIN_GONE)
    }

    /// Whether a beacon says more than is known, and not only again what anybody may have recorded.
    pub fn is_news(&self, beacon: &Beacon) -> bool {
        let newest = self.peers.get(&beacon.origin).map(|peer| (peer.beacon.run, peer.beacon.sequence));
        beacon.origin != self.me && newest.is_none_or(|newest| (beacon.run, beacon.sequence) > newest)
    }

    /// How often this node should speak.
    pub fn interval(&self) -> Duration {
        let there = self.peers.values().filter(|peer| peer.state <= PeerState::Suspect).count() as u64 + 1;
        let most = Duration::from_millis(u64::from(anode_shared::beacon::MAX_INTERVAL_MS));
        (INTERVAL * u32::try_from(there).unwrap_or(u32::MAX) / u32::try_from(FULL_RATE).unwrap_or(1))
            .clamp(self.pace, most)
    }

    /// Takes what happened.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Beacon(beacon) if beacon.origin == self.me => self.own_beacon(&beacon, now, &mut effects),
            Event::Beacon(beacon) => self.beacon(beacon, now, &mut effects),
            Event::Connected(peer) => {
                self.connected.entry(peer).or_insert(now);
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.connected = true;
                    known.closed = None;
                }
            }
            Event::Closed(peer) if self.parted(peer, now) => self.closed(peer, now, &mut effects),
            Event::Closed(_) => {}
            Event::Parted(peer) => _ = self.parted(peer, now),
            Event::Twin => self.met_twin(now, &mut effects),
            Event::Tick => self.tick(now, &mut effects),
        }
        effects
    }

    fn own_beacon(&mut self, beacon: &Beacon, now: Instant, effects: &mut Vec<Effect>) {
        if beacon.run != self.run && is_twin(&mut self.own, beacon, self.run, now) {
            effects.push(Effect::Twin(self.me));
        }
    }

    fn met_twin(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let own = self.own.get_or_insert(Other { run: 0, sequence: 0, first: now, last: now, told: false });
        own.last = now;
        if !std::mem::replace(&mut own.told, true) {
            effects.push(Effect::Twin(self.me));
        }
    }

    fn beacon(&mut self, beacon: Arc<Beacon>, now: Instant, effects: &mut Vec<Effect>) {
        let (peer, news) = (beacon.origin, self.is_news(&beacon));
        let Some(known) = self.peers.get_mut(&peer) else {
            if !beacon.leaving && self.has_room(peer, now, effects) {
                self.peers.insert(peer, self.newcomer(beacon, now));
                effects.extend([Effect::Joined(peer), Effect::News(peer)]);
            }
            return;
        };
        if !news && !comes_back(known, &beacon, now, effects) {
            return;
        }
        if beacon.run != known.beacon.run {
            known.other = None;
            known.closed = None;
            known.quickest = (now, beacon.time);
            effects.push(Effect::Restarted(peer));
        }
        known.clock(beacon.time, now);
        let before = known.is_from_before_the_end(&beacon, now);
        let leaving = beacon.leaving;
        known.beacon = beacon;
        effects.push(Effect::News(peer));
        if leaving {
            return change(peer, known, PeerState::Left, now, effects);
        }
        if before {
            return;
        }
        known.heard = now;
        known.closed = None;
        change(peer, known, PeerState::Alive, now, effects);
    }

    fn newcomer(&self, beacon: Arc<Beacon>, now: Instant) -> Peer {
        let connected = self.connected.contains_key(&beacon.origin);
        let quickest = (now, beacon.time);
        Peer {
            quickest,
            state: PeerState::Alive,
            since: now,
            beacon,
            heard: now,
            connected,
            closed: None,
            lasted: Duration::ZERO,
            other: None,
        }
    }

    /// Makes room for a newcomer. Anybody can make up peers and have them speak, so the one goes to which there were connections
    /// for the least time: of those to which there were none, the one that has been gone the longest, else the newest. Who was
    /// connected, or is there, goes for a newcomer only that is connected.
    fn has_room(&mut self, newcomer: Origin, now: Instant, effects: &mut Vec<Effect>) -> bool {
        if self.peers.len() < MOST_PEERS {
            return true;
        }
        let weighs = self.connected.contains_key(&newcomer);
        let may = |peer: &Peer| weighs || peer.state > PeerState::Suspect && peer.lasted.is_zero();
        let worth = |peer: &Peer| {
            let (there, age) = (peer.state <= PeerState::Suspect, now.saturating_duration_since(peer.since));
            (peer.lasted, there, if there { age } else { Duration::MAX.saturating_sub(age) })
        };
        let goes = self.peers.iter().filter(|(_, peer)| !peer.connected && may(peer));
        let goes = goes.min_by_key(|(_, peer)| worth(peer)).map(|(origin, _)| *origin);
        let Some(origin) = goes else { return false };
        self.peers.remove(&origin);
        effects.push(Effect::Forgotten(origin));
        true
    }

    /// The last connection to a peer is gone; says whether there was one.
    fn parted(&mut self, peer: Origin, now: Instant) -> bool {
        let Some(since) = self.connected.remove(&peer) else { return false };
        if let Some(known) = self.peers.get_mut(&peer) {
            known.lasted = known.lasted.saturating_add(now.saturating_duration_since(since));
            known.connected = false;
        }
        true
    }

    fn closed(&mut self, peer: Origin, now: Instant, effects: &mut Vec<Effect>) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.closed = Some(now);
        if known.state <= PeerState::Suspect {
            change(peer, known, PeerState::Suspect, now, effects);
        }
    }

    fn tick(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (origin, peer) in &mut self.peers {
            while let Some((when, to)) = peer.next().filter(|(when, _)| *when <= now) {
                change(*origin, peer, to, when, effects);
            }
        }
        self.peers.retain(|origin, peer| {
            let gone = peer.state > PeerState::Suspect && !peer.connected;
            let keep = !gone || now.saturating_duration_since(peer.since) < FORGET;
            if !keep {
                effects.push(Effect::Forgotten(*origin));
            }
            keep
        });
    }
}

/// Looks at a beacon that is older than the newest. Says whether its node is back with a clock that was set back, which gives a run
/// that looks older: whoever is gone may come back so, but not by what others recorded of it.
fn comes_back(known: &mut Peer, beacon: &Beacon, now: Instant, effects: &mut Vec<Effect>) -> bool {
    let newest = known.beacon.run;
    if beacon.run == newest {
        return false;
    }
    let goes_on =
        known.other.is_some_and(|other| other.run == beacon.run && beacon.sequence > other.sequence);
    let gone = known.state > PeerState::Suspect;
    if is_twin(&mut known.other, beacon, newest, now) && !gone {
        effects.push(Effect::Twin(beacon.origin));
    }
    goes_on && known.connected && gone
}

fn change(peer: Origin, known: &mut Peer, to: PeerState, now: Instant, effects: &mut Vec<Effect>) {
    let from = std::mem::replace(&mut known.state, to);
    if from != to {
        known.since = now;
        effects.push(Effect::Changed { peer, from, to });
    }
}

/// Notes a beacon of another run than the newest. Says once whether that run goes on beside it.
fn is_twin(other: &mut Option<Other>, beacon: &Beacon, newest: u64, now: Instant) -> bool {
    let since = beacon.time > (newest >> 32) * 1_000_000;
    match other {
        Some(known) if known.run == beacon.run => {
            let news = beacon.sequence > known.sequence;
            if news {
                (known.sequence, known.last) = (beacon.sequence, now);
            }
            let twin = news && since && !known.told && now.saturating_duration_since(known.first) >= TWIN;
            known.told |= twin;
            twin
        }
        _ => {
            let (run, sequence) = (beacon.run, beacon.sequence);
            *other = Some(Other { run, sequence, first: now, last: now, told: false });
            false
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
