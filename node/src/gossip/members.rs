//! Who is let in, and to whom a node keeps links.
//!
//! Up to 20 peers all are linked, so a batch takes one hop. In larger meshes a node dials others until it has enough, and drops
//! the most linked of too many, but never one that it shares no other neighbour with: so no drop tears the mesh apart.
//!
//! Whoever comes may mean harm. So only who was let in counts as linked, some links are always to peers that this node chose
//! itself, and those are never dropped for others that came.

mod admission;
mod dials;
mod surplus;
mod visits;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use anode_shared::ids::Origin;

use super::crowd::Place;
use super::dice::Dice;
use dials::Dials;

pub use admission::{Admission, Refusal};

/// The most links that are kept: above, `flood_publish` costs more than a second hop.
pub const MOST_LINKS: usize = 20;
/// How many links a node looks for where there are more peers than [`MOST_LINKS`]: the rest is room for newcomers.
const ENOUGH_LINKS: usize = 14;
/// How many links a node keeps to peers of its own choice, however many others have come: half of what it looks for, so that who
/// crowds in cannot choose all of its neighbours.
const CHOSEN_LINKS: usize = 7;
/// How long too many links are borne, so that a newcomer is told of others first.
const BEAR: Duration = Duration::from_secs(5);
/// How long a link must have lasted for its peer to be dialled as if nothing had happened: who takes connections and closes them
/// is dialled ever less often.
const STAYED: Duration = Duration::from_secs(10);
/// How long a dropped peer is not dialled.
const REST: Duration = Duration::from_secs(60);
/// How often one of the peers that are gone is dialled, each in its turn: it may be back and know nobody who is there.
const LOOK_FOR_GONE: Duration = Duration::from_secs(5);
/// How many dials are under way at most: each holds a socket.
const MOST_DIALS: usize = 8;
/// The most peers that are remembered for dialling.
const MOST_PEERS: usize = 4_096;
/// The most peers that were found nearby and have not been linked yet, and how often each is tried.
const FOUND: (usize, u32) = (256, 5);

/// Whom to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The configured bootstrap address of that number.
    Bootstrap(usize),
    /// A peer at the addresses that its beacon names.
    Peer(Origin),
    /// The same, to ask it something and go again.
    Visit(Origin),
}

/// How a connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// This node dialled.
    Dialled(Target),
    /// The other side did, from some place.
    Came(Option<Place>),
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
    /// A peer was found nearby, and can be dialled though no beacon of it was heard.
    Found(Origin),
    /// A connection was made.
    Connected(Origin, Way),
    /// A connected peer is of this mesh: the connection is a link.
    LetIn(Origin),
    /// The last connection to a peer closed.
    Closed(Origin),
    /// A dial failed.
    Failed(Target),
    /// The bootstrap address of that number leads to this node itself.
    Own(usize),
    /// Somebody has a question for a peer, which need not be linked for that.
    Visit(Origin),
    /// Time passed.
    Tick,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Dial.
    Dial(Target),
    /// Close the connection to a peer, or give up dialling it: there are too many, or the visit is over.
    Drop(Origin),
}

/// What a connection is to this node; the higher one counts where there are several with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// This node only asks it something: that is no link.
    Visit,
    /// The peer came, or is one of many that could be linked.
    Came,
    /// This node chose the peer, or was told of it by whoever runs it.
    Chosen,
}

#[derive(Debug, Clone, Copy)]
struct Connection {
    since: Instant,
    kind: Kind,
    place: Option<Place>,
    let_in: bool,
    /// Whether this node is about to close it.
    dropped: bool,
}

/// The links of a node.
#[derive(Debug)]
pub struct Links {
    me: Origin,
    dice: Dice,
    /// Peers that are there, with the links that they name.
    there: BTreeMap<Origin, BTreeSet<Origin>>,
    connected: BTreeMap<Origin, Connection>,
    /// Connected peers that were let in.
    linked: BTreeSet<Origin>,
    /// Peers that were there.
    gone: BTreeSet<Origin>,
    /// Of those that are there or were, the ones to which a link once lasted.
    met: BTreeSet<Origin>,
    found: BTreeSet<Origin>,
    /// Peers to which links are wanted most.
    favoured: BTreeSet<Origin>,
    look_for_gone: Option<Instant>,
    /// Who was last looked for, of those never met and of those met, and whose turn it was.
    last_gone: [Option<Origin>; 2],
    turn: bool,
    /// Which peer each bootstrap address led to.
    bootstrap: Vec<Option<Origin>>,
    /// How many of these addresses were named by whoever runs the node.
    named: usize,
    dials: Dials,
    /// Peers that are visited, or are to be, and until when.
    visits: BTreeMap<Origin, Instant>,
    crowded: Option<Instant>,
}

impl Links {
    /// Begins with the number of bootstrap addresses.
    pub fn new(me: Origin, bootstrap: usize, seed: u64) -> Self {
        Self {
            me,
            dice: Dice::new(seed),
            there: BTreeMap::new(),
            connected: BTreeMap::new(),
            linked: BTreeSet::new(),
            gone: BTreeSet::new(),
            met: BTreeSet::new(),
            found: BTreeSet::new(),
            favoured: BTreeSet::new(),
            look_for_gone: None,
            last_gone: [None; 2],
            turn: false,
            bootstrap: vec![None; bootstrap],
            named: 0,
            dials: Dials::default(),
            visits: BTreeMap::new(),
            crowded: None,
        }
    }

    /// Wants links to these peers most, and to those that the first `named` bootstrap addresses lead to.
    #[must_use]
    pub fn favouring(self, favoured: BTreeSet<Origin>, named: usize) -> Self {
        Self { favoured, named, ..self }
    }

    /// The peers that are linked.
    pub fn linked(&self) -> &BTreeSet<Origin> {
        &self.linked
    }

    /// Whether a peer may be dialled some time, so that it is worth while to remember where.
    pub fn may_dial(&self, peer: Origin) -> bool {
        self.there.contains_key(&peer) || self.gone.contains(&peer) || self.found.contains(&peer)
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
                // How often it was tried stays: else who says that it leaves and comes back is dialled each time.
                self.dials.over(Target::Peer(peer));
                self.dials.over(Target::Visit(peer));
                if self.gone.len() < MOST_PEERS {
                    self.gone.insert(peer);
                }
            }
            Event::Forgotten(peer) => {
                self.there.remove(&peer);
                self.gone.remove(&peer);
                self.met.remove(&peer);
                self.dials.over(Target::Peer(peer));
                self.dials.over(Target::Visit(peer));
            }
            Event::Found(peer) => {
                if peer != self.me && self.found.len() < FOUND.0 && !self.connected.contains_key(&peer) {
                    self.found.insert(peer);
                }
            }
            Event::Connected(peer, way) => self.connected(peer, way, now),
            Event::LetIn(peer) => {
                if let Some(known) = self.connected.get_mut(&peer) {
                    known.let_in = true;
                    if known.kind > Kind::Visit {
                        self.linked.insert(peer);
                    }
                }
            }
            Event::Closed(peer) => self.closed(peer, now),
            Event::Failed(target) => self.failed(target, now),
            Event::Own(number) => {
                self.lead(number, self.me);
                self.dials.forget(Target::Bootstrap(number));
            }
            Event::Visit(peer) => self.visit(peer, now),
            Event::Tick => return self.tick(now),
        }
        Vec::new()
    }

    /// A bootstrap address led to a peer.
    fn lead(&mut self, number: usize, peer: Origin) {
        self.bootstrap.get_mut(number).into_iter().for_each(|place| *place = Some(peer));
    }

    fn connected(&mut self, peer: Origin, way: Way, now: Instant) {
        let (mut kind, mut from) = (Kind::Came, None);
        match way {
            Way::Dialled(target) => {
                self.dials.over(target);
                kind = match target {
                    Target::Bootstrap(number) if number >= self.named => Kind::Came,
                    Target::Bootstrap(_) | Target::Peer(_) => Kind::Chosen,
                    Target::Visit(_) => Kind::Visit,
                };
                if let Target::Bootstrap(number) = target {
                    self.lead(number, peer);
                }
            }
            Way::Came(place) => from = place,
        }
        self.dials.over(Target::Peer(peer));
        self.found.remove(&peer);
        if peer == self.me {
            return;
        }
        let fresh = Connection { since: now, kind, place: from, let_in: false, dropped: false };
        let known = self.connected.entry(peer).or_insert(fresh);
        // Where the other side wants a link, a visit becomes one.
        known.kind = known.kind.max(kind);
        known.place = from.or(known.place);
        if known.let_in && known.kind > Kind::Visit {
            self.linked.insert(peer);
        }
    }

    fn closed(&mut self, peer: Origin, now: Instant) {
        let Some(connection) = self.connected.remove(&peer) else { return };
        if connection.kind == Kind::Visit {
            return self.visited(peer, &connection, now);
        }
        let stayed = self.linked.remove(&peer) && connection.since + STAYED <= now;
        if stayed && (self.there.contains_key(&peer) || self.gone.contains(&peer)) {
            self.met.insert(peer);
        }
        for target in self.targets(peer) {
            if stayed {
                self.dials.lasted(target, now);
            }
            // Who was there for long is dialled at once where this node was told to begin with it.
            if !stayed || target == Target::Peer(peer) {
                self.failed(target, now);
            }
        }
    }

    /// All that leads to a peer.
    fn targets(&self, peer: Origin) -> Vec<Target> {
        let leads = |number: &usize| self.bootstrap[*number] == Some(peer);
        let bootstrap = (0..self.bootstrap.len()).filter(leads).map(Target::Bootstrap);
        bootstrap.chain([Target::Peer(peer)]).collect()
    }

    /// A dial failed, or what it brought did not last.
    fn failed(&mut self, target: Target, now: Instant) {
        if let Target::Visit(peer) = target
            && !self.there.contains_key(&peer)
        {
            return self.dials.over(target);
        }
        if let Target::Peer(peer) = target {
            let found = self.found.contains(&peer);
            if !self.there.contains_key(&peer) && !found {
                return self.dials.over(target);
            }
            if found && self.dials.count(target) >= FOUND.1 {
                self.found.remove(&peer);
            }
        }
        self.dials.failed(target, &mut self.dice, now);
    }

    fn tick(&mut self, now: Instant) -> Vec<Effect> {
        self.dials.prune(|target| matches!(target, Target::Bootstrap(_)), now);
        let mut effects: Vec<Effect> = self.wanted(now).into_iter().map(Effect::Dial).collect();
        effects.extend(self.one_gone(now).map(Effect::Dial));
        effects.extend(self.make_visits(now));
        effects.extend(self.shrink(now).into_iter().map(Effect::Drop));
        for effect in &effects {
            if let Effect::Drop(peer) = effect {
                self.connected.get_mut(peer).into_iter().for_each(|connection| connection.dropped = true);
            }
        }
        effects
    }

    /// Whom to dial now.
    fn wanted(&mut self, now: Instant) -> Vec<Target> {
        let under_way = self.dials.under_way();
        let lost = |peer: &Option<Origin>| {
            peer.is_none_or(|peer| peer != self.me && !self.connected.contains_key(&peer))
        };
        let bootstrap =
            (0..self.bootstrap.len()).filter(|number| lost(&self.bootstrap[*number])).map(Target::Bootstrap);
        let mut targets: Vec<Target> = bootstrap.filter(|target| self.dials.is_ready(*target, now)).collect();
        targets.truncate(MOST_DIALS.saturating_sub(under_way));
        let mut room = self.room().saturating_sub(under_way);
        let mut favours = MOST_LINKS.saturating_sub(self.favours());
        let seeks = room > 0 || favours > 0 && !self.favoured.is_empty();
        let candidates = if seeks { self.candidates(now) } else { Vec::new() };
        for (rank, peer) in candidates {
            if targets.len() + under_way >= MOST_DIALS {
                break;
            }
            // Those that are favoured are dialled however many others have come; those of whom only others told, not too often.
            let favoured = rank == Rank::Favoured && favours > 0;
            if !favoured && (room == 0 || rank == Rank::Told && !self.dials.may_call(now)) {
                continue;
            }
            favours -= usize::from(favoured);
            room = room.saturating_sub(1);
            targets.push(Target::Peer(peer));
        }
        targets.iter().for_each(|target| self.dials.begin(*target));
        targets
    }

    /// How many more links are wanted: enough of all kinds, and some of this node's choice whoever else has come.
    fn room(&self) -> usize {
        let enough = if self.there.len() <= MOST_LINKS { MOST_LINKS } else { ENOUGH_LINKS };
        let counts = |(peer, connection): &(&Origin, &Connection)| {
            connection.kind == Kind::Chosen || self.linked.contains(*peer)
        };
        let links = self.connected.iter().filter(counts).count();
        let chosen = self.connected.values().filter(|connection| connection.kind == Kind::Chosen).count();
        enough.saturating_sub(links).max(CHOSEN_LINKS.saturating_sub(chosen))
    }

    /// How many of those that are favoured are connected.
    fn favours(&self) -> usize {
        self.connected.keys().filter(|peer| self.favoured.contains(peer)).count()
    }

    /// Who could be dialled now, those first that are favoured, then those to which a link once lasted.
    fn candidates(&mut self, now: Instant) -> Vec<(Rank, Origin)> {
        let free = |peer: &&Origin| {
            !self.connected.contains_key(*peer) && self.dials.is_ready(Target::Peer(**peer), now)
        };
        let rank = |peer: &Origin| match peer {
            peer if self.favoured.contains(peer) => Rank::Favoured,
            peer if self.met.contains(peer) => Rank::Met,
            _ => Rank::Told,
        };
        let all: BTreeSet<&Origin> = self.there.keys().chain(&self.found).filter(free).collect();
        let mut all: Vec<(Rank, u64, Origin)> =
            all.into_iter().map(|peer| (rank(peer), self.dice.roll(), *peer)).collect();
        all.sort_unstable();
        all.into_iter().map(|(rank, _, peer)| (rank, peer)).collect()
    }

    /// One of those that are gone, now and then: in turns one to which a link once lasted and one of the others, who may be
    /// made up in any number.
    fn one_gone(&mut self, now: Instant) -> Option<Target> {
        if self.look_for_gone.is_some_and(|next| next > now) {
            return None;
        }
        self.look_for_gone = Some(now + LOOK_FOR_GONE);
        self.turn = !self.turn;
        let peer = [self.turn, !self.turn].into_iter().find_map(|met| self.next_gone(met))?;
        Some(Target::Peer(peer))
    }

    /// The next of those that are gone and were met, or were not.
    fn next_gone(&mut self, met: bool) -> Option<Origin> {
        let last = self.last_gone[usize::from(met)].unwrap_or(Origin([0; 32]));
        let wanted = |peer: &&Origin| !self.connected.contains_key(*peer) && self.met.contains(*peer) == met;
        let behind = self.gone.range((Bound::Excluded(last), Bound::Unbounded)).find(wanted);
        let next = behind.or_else(|| self.gone.iter().find(wanted)).copied();
        self.last_gone[usize::from(met)] = next;
        next
    }
}

/// How much a peer is worth dialling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Favoured,
    Met,
    Told,
}

#[cfg(test)]
mod tests;
