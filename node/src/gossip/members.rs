//! Who is let in, and to whom a node keeps links.
//!
//! Up to 20 peers all are linked, so a batch takes one hop. In larger meshes a node dials others until it has enough, and drops
//! the most linked of too many, but never one that it shares no other neighbour with: so no drop tears the mesh apart.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use anode_shared::ids::Origin;

use super::dice::Dice;

/// The most links that are kept: above, `flood_publish` costs more than a second hop.
pub const MOST_LINKS: usize = 20;
/// How many links a node looks for where there are more peers than [`MOST_LINKS`]: the rest is room for newcomers.
const ENOUGH_LINKS: usize = 14;
/// How long too many links are borne, so that a newcomer is told of others first.
const BEAR: Duration = Duration::from_secs(5);
/// The first wait before a dial is tried again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait: a peer that is back is found within a minute, for ever.
const LAST_WAIT: Duration = Duration::from_secs(60);
/// How long a dropped peer is not dialled.
const REST: Duration = Duration::from_secs(60);
/// How often one of the peers that are gone is dialled, each in its turn: it may be back and know nobody who is there.
const LOOK_FOR_GONE: Duration = Duration::from_secs(5);
/// How many dials are under way at most: each holds a socket.
const MOST_DIALS: usize = 8;
/// The most peers that are remembered for dialling.
const MOST_PEERS: usize = 4_096;

/// Why a node is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It belongs to another network.
    #[error("it belongs to the network `{0}`")]
    Network(String),
    /// It speaks another version of the protocol.
    #[error("it speaks version {theirs} of the protocol, this node {ours}; bring both to one version")]
    Protocol {
        /// Its version.
        theirs: u32,
        /// This node's.
        ours: u32,
    },
}

/// Whom this node talks to, and whose records it keeps.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The network's name.
    pub network: String,
    /// The version of the protocol.
    pub protocol: u32,
    /// Whose batches are kept; none: everybody's.
    pub origins: Option<BTreeSet<Origin>>,
}

impl Admission {
    /// Lets a node in by what it says of itself.
    ///
    /// # Errors
    /// With what both sides should be told.
    pub fn admit(&self, network: &str, protocol: u32) -> Result<(), Refusal> {
        if network != self.network {
            return Err(Refusal::Network(network.to_owned()));
        }
        if protocol != self.protocol {
            return Err(Refusal::Protocol { theirs: protocol, ours: self.protocol });
        }
        Ok(())
    }

    /// Whether batches of an origin are kept.
    pub fn keeps(&self, origin: Origin) -> bool {
        self.origins.as_ref().is_none_or(|origins| origins.contains(&origin))
    }
}

/// Whom to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The configured bootstrap address of that number.
    Bootstrap(usize),
    /// A peer at the addresses that its beacon names.
    Peer(Origin),
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A peer is there, with links to these.
    There(Origin, Vec<Origin>),
    /// A peer is dead or left, or was known before this start.
    Gone(Origin),
    /// A peer that was gone is not remembered any more.
    Forgotten(Origin),
    /// A connection was made; by dialling a bootstrap address where one is named.
    Connected(Origin, Option<usize>),
    /// The last connection to a peer closed.
    Closed(Origin),
    /// A dial failed.
    Failed(Target),
    /// The bootstrap address of that number leads to this node itself.
    Own(usize),
    /// Time passed.
    Tick,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Dial.
    Dial(Target),
    /// Close the connection to a peer: there are too many.
    Drop(Origin),
}

#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    count: u32,
    under_way: bool,
    next: Option<Instant>,
}

/// The links of a node.
#[derive(Debug)]
pub struct Links {
    me: Origin,
    dice: Dice,
    /// Peers that are there, with the links that they name.
    there: BTreeMap<Origin, BTreeSet<Origin>>,
    linked: BTreeSet<Origin>,
    /// Peers that were there.
    gone: BTreeSet<Origin>,
    look_for_gone: Option<Instant>,
    last_gone: Option<Origin>,
    /// Which peer each bootstrap address led to.
    bootstrap: Vec<Option<Origin>>,
    tries: BTreeMap<Target, Tries>,
    crowded: Option<Instant>,
}

impl Links {
    /// Begins with the number of bootstrap addresses.
    pub fn new(me: Origin, bootstrap: usize, seed: u64) -> Self {
        Self {
            me,
            dice: Dice::new(seed),
            there: BTreeMap::new(),
            linked: BTreeSet::new(),
            gone: BTreeSet::new(),
            look_for_gone: None,
            last_gone: None,
            bootstrap: vec![None; bootstrap],
            tries: BTreeMap::new(),
            crowded: None,
        }
    }

    /// The peers that are linked.
    pub fn linked(&self) -> &BTreeSet<Origin> {
        &self.linked
    }

    /// Takes what happened.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        match event {
            Event::There(peer, links) => {
                if peer != self.me && (self.there.len() < MOST_PEERS || self.there.contains_key(&peer)) {
                    self.there.insert(peer, links.into_iter().collect());
                    self.gone.remove(&peer);
                }
            }
            Event::Gone(peer) => {
                self.there.remove(&peer);
                self.tries.remove(&Target::Peer(peer));
                if self.gone.len() < MOST_PEERS {
                    self.gone.insert(peer);
                }
            }
            Event::Forgotten(peer) => {
                self.there.remove(&peer);
                self.tries.remove(&Target::Peer(peer));
                self.gone.remove(&peer);
            }
            Event::Connected(peer, bootstrap) => self.connected(peer, bootstrap),
            Event::Closed(peer) => {
                self.linked.remove(&peer);
                self.wait(Target::Peer(peer), now);
            }
            Event::Failed(target) => self.wait(target, now),
            Event::Own(number) => self.connected(self.me, Some(number)),
            Event::Tick => return self.tick(now),
        }
        Vec::new()
    }

    fn connected(&mut self, peer: Origin, bootstrap: Option<usize>) {
        if let Some(place) = bootstrap.and_then(|number| self.bootstrap.get_mut(number)) {
            *place = Some(peer);
        }
        bootstrap.map(|number| self.tries.remove(&Target::Bootstrap(number)));
        self.tries.remove(&Target::Peer(peer));
        if peer != self.me {
            self.linked.insert(peer);
        }
    }

    /// Waits twice as long as the last time, give or take a quarter, so that not all come at once.
    fn wait(&mut self, target: Target, now: Instant) {
        if let Target::Peer(peer) = target
            && self.gone.contains(&peer)
        {
            self.tries.remove(&target);
            return;
        }
        let tries = self.tries.entry(target).or_default();
        let wait = (FIRST_WAIT * 2_u32.saturating_pow(tries.count.min(16))).min(LAST_WAIT);
        let quarter = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) / 4;
        let jitter = Duration::from_millis(self.dice.below(2 * quarter + 1));
        tries.count += 1;
        tries.under_way = false;
        tries.next = Some(now + wait - Duration::from_millis(quarter) + jitter);
    }

    fn tick(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects: Vec<Effect> = self.wanted(now).into_iter().map(Effect::Dial).collect();
        effects.extend(self.one_gone(now).map(Effect::Dial));
        if self.linked.len() <= MOST_LINKS {
            self.crowded = None;
        } else if now.saturating_duration_since(*self.crowded.get_or_insert(now)) >= BEAR
            && let Some(peer) = self.one_too_many()
        {
            self.crowded = None;
            self.tries.insert(Target::Peer(peer), Tries { next: Some(now + REST), ..Tries::default() });
            effects.push(Effect::Drop(peer));
        }
        effects
    }

    /// Whom to dial now.
    fn wanted(&mut self, now: Instant) -> Vec<Target> {
        let under_way = self.tries.values().filter(|tries| tries.under_way).count();
        let ready = |target: &Target| {
            self.tries
                .get(target)
                .is_none_or(|tries| !tries.under_way && tries.next.is_none_or(|next| next <= now))
        };
        let lost =
            |peer: &Option<Origin>| peer.is_none_or(|peer| peer != self.me && !self.linked.contains(&peer));
        let bootstrap =
            (0..self.bootstrap.len()).filter(|number| lost(&self.bootstrap[*number])).map(Target::Bootstrap);
        let mut targets: Vec<Target> = bootstrap.filter(ready).collect();
        let enough = if self.there.len() <= MOST_LINKS { MOST_LINKS } else { ENOUGH_LINKS };
        let unlinked =
            self.there.keys().filter(|peer| !self.linked.contains(peer)).map(|peer| Target::Peer(*peer));
        let mut others: Vec<Target> = unlinked.filter(ready).collect();
        let room = enough.saturating_sub(self.linked.len() + under_way);
        for place in 0..others.len().min(room) {
            let other = place + usize::try_from(self.dice.below((others.len() - place) as u64)).unwrap_or(0);
            others.swap(place, other);
        }
        targets.extend(others.into_iter().take(room));
        targets.truncate(MOST_DIALS.saturating_sub(under_way));
        for target in &targets {
            self.tries.entry(*target).or_default().under_way = true;
        }
        targets
    }

    /// One of those that are gone, now and then.
    fn one_gone(&mut self, now: Instant) -> Option<Target> {
        if self.look_for_gone.is_some_and(|next| next > now) {
            return None;
        }
        self.look_for_gone = Some(now + LOOK_FOR_GONE);
        let last = self.last_gone.unwrap_or(Origin([0; 32]));
        let unlinked = |peer: &&Origin| !self.linked.contains(peer);
        let behind = self.gone.range((Bound::Excluded(last), Bound::Unbounded)).find(unlinked);
        self.last_gone = behind.or_else(|| self.gone.iter().find(unlinked)).copied();
        self.last_gone.map(Target::Peer)
    }

    /// The link to drop: to the peer with the most links among those that another link of ours is linked to as well.
    fn one_too_many(&mut self) -> Option<Origin> {
        let safe = |peer: &&Origin| {
            let links = self.there.get(peer);
            links.is_some_and(|links| links.intersection(&self.linked).next().is_some())
        };
        let links = |peer: &Origin| self.there.get(peer).map_or(0, BTreeSet::len);
        let most = self.linked.iter().filter(safe).map(links).max()?;
        let all: Vec<Origin> =
            self.linked.iter().filter(safe).filter(|peer| links(peer) == most).copied().collect();
        self.dice.pick(&all).copied()
    }
}

#[cfg(test)]
mod tests;
