//! Visits: connections to peers that are not linked, made because somebody has a question for one, and closed soon after.
//!
//! In a mesh of more peers than a node has links, most can be asked only so. A visit takes no link's place, here or there.

use std::time::{Duration, Instant};

use anode_shared::ids::Origin;

use super::{Connection, Effect, Kind, Links, Target};

/// How long a visit is kept from the last question on: longer than whoever asks waits for the answer.
const STAY: Duration = Duration::from_secs(4);
/// How many visits there are at once, each with a socket.
const MOST_OPEN: usize = 32;
/// How many peers wait for a visit at most.
const MOST_WAITING: usize = 512;

impl Links {
    /// Whether a peer can be asked something soon: it is connected, or there and not dialled in vain a moment ago.
    pub fn may_visit(&self, peer: Origin, now: Instant) -> bool {
        self.connected.contains_key(&peer)
            || self.there.contains_key(&peer)
                && (self.visits.len() < MOST_WAITING || self.visits.contains_key(&peer))
                && (self.dials.is_under_way(Target::Visit(peer))
                    || self.dials.is_ready(Target::Visit(peer), now))
    }

    /// Somebody has a question for a peer.
    pub(super) fn visit(&mut self, peer: Origin, now: Instant) {
        let linked = self.connected.contains_key(&peer) && !self.is_visit(peer);
        if !linked && self.may_visit(peer, now) {
            self.visits.insert(peer, now + STAY);
        }
    }

    /// Ends the visits whose time is over, and begins others: in no order, so that nobody who asks for many keeps one from being
    /// asked.
    pub(super) fn make_visits(&mut self, now: Instant) -> Vec<Effect> {
        let over: Vec<Origin> =
            self.visits.iter().filter(|(_, until)| **until <= now).map(|(peer, _)| *peer).collect();
        let mut effects = Vec::new();
        for peer in over {
            self.visits.remove(&peer);
            if self.is_visit(peer) || self.dials.is_under_way(Target::Visit(peer)) {
                effects.push(Effect::Drop(peer));
            }
        }
        let visits = self.connected.values().filter(|connection| connection.kind == Kind::Visit).count();
        let dialled = |peer: &&Origin| self.dials.is_under_way(Target::Visit(**peer));
        let mut open = visits + self.visits.keys().filter(dialled).count();
        let wanted = |peer: &&Origin| {
            !self.connected.contains_key(*peer) && self.dials.is_ready(Target::Visit(**peer), now)
        };
        let mut wanted: Vec<Origin> = self.visits.keys().filter(wanted).copied().collect();
        while open < MOST_OPEN && !wanted.is_empty() && self.dials.may_visit(now) {
            let Some(peer) = self.dice.pick(&wanted).copied() else { break };
            wanted.retain(|other| *other != peer);
            self.dials.begin(Target::Visit(peer));
            effects.push(Effect::Dial(Target::Visit(peer)));
            open += 1;
        }
        effects
    }

    /// A visit has ended. One in which this node was not let in was in vain.
    pub(super) fn visited(&mut self, peer: Origin, connection: &Connection, now: Instant) {
        self.visits.remove(&peer);
        if connection.let_in {
            self.dials.forget(Target::Visit(peer));
        } else {
            self.failed(Target::Visit(peer), now);
        }
    }

    /// Whether a connection that closes now does so by choice: this node has dropped it, or one of both is only visiting.
    pub fn ends_by_choice(&self, peer: Origin) -> bool {
        let dropped = self.connected.get(&peer).is_some_and(|connection| connection.dropped);
        dropped || self.is_visit(peer) || self.visits_here(peer)
    }

    /// Whether a connection is a visit of this node.
    pub(super) fn is_visit(&self, peer: Origin) -> bool {
        self.connected.get(&peer).is_some_and(|connection| connection.kind == Kind::Visit)
    }

    /// Whether a peer that is connected says that it has no link to this node: then it is here on a visit.
    pub(super) fn visits_here(&self, peer: Origin) -> bool {
        self.there.get(&peer).is_some_and(|links| !links.contains(&self.me))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Event, MOST_LINKS, Way};
    use super::*;

    fn who(n: u8) -> Origin {
        Origin([n; 32])
    }

    /// A node that knows some peers, and at which the first of them are linked.
    fn links(peers: u8, linked: u8, now: Instant) -> Links {
        let mut links = Links::new(who(0), 0, 7);
        for peer in 1..=peers {
            links.handle(Event::There(who(peer), vec![who(0)]), now);
        }
        for peer in 1..=linked {
            join(&mut links, who(peer), Target::Peer(who(peer)), now);
        }
        links
    }

    fn join(links: &mut Links, peer: Origin, target: Target, now: Instant) {
        links.handle(Event::Connected(peer, Way::Dialled(target)), now);
        links.handle(Event::LetIn(peer), now);
    }

    #[test]
    fn it_visits_whom_somebody_asks_about_and_goes_again() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (mut links, target) = (links(100, 14, start), Target::Visit(who(50)));
        for (peer, may) in [(1, true), (50, true), (200, false)] {
            assert_eq!(links.may_visit(who(peer), start), may, "{peer}");
            links.handle(Event::Visit(who(peer)), start);
        }
        assert_eq!(links.handle(Event::Tick, start), [Effect::Dial(target)]);
        join(&mut links, who(50), target, start);
        assert!(links.is_visit(who(50)) && !links.linked().contains(&who(50)));
        assert_eq!(links.handle(Event::Tick, at(3)), []);
        links.handle(Event::Visit(who(50)), at(3));
        assert_eq!(links.handle(Event::Tick, at(6)), [], "it was asked again");
        assert_eq!(links.handle(Event::Tick, at(7)), [Effect::Drop(who(50))]);
        links.handle(Event::Closed(who(50)), at(7));
        assert!(links.handle(Event::Tick, at(8)).is_empty() && links.may_visit(who(50), at(8)));
        assert!(links.visits.is_empty() && links.dials.is_empty());
    }

    #[test]
    fn it_makes_a_link_of_a_visit_where_the_other_side_wants_one() {
        let start = Instant::now();
        let mut links = links(100, 14, start);
        links.handle(Event::Visit(who(50)), start);
        links.handle(Event::Tick, start);
        join(&mut links, who(50), Target::Visit(who(50)), start);
        links.handle(Event::Connected(who(50), Way::Came(None)), start);
        assert!(links.linked().contains(&who(50)));
        assert_eq!(links.handle(Event::Tick, start + 2 * STAY), []);
    }

    /// Plays seconds in each of which somebody asks about all of 250 peers; gives who was dialled, and how many visits there were
    /// at once.
    fn ask_about_all(links: &mut Links, seconds: u64, fails: bool) -> (Vec<Target>, usize) {
        let start = Instant::now();
        let (mut dials, mut open, mut most) = (Vec::new(), BTreeSet::new(), 0);
        for tick in 0..seconds * 20 {
            let now = start + Duration::from_millis(tick * 50);
            (1..=250).for_each(|peer| _ = links.handle(Event::Visit(who(peer)), now));
            for effect in links.handle(Event::Tick, now) {
                match effect {
                    Effect::Dial(target) => {
                        dials.push(target);
                        if fails || !matches!(target, Target::Visit(_)) {
                            links.handle(Event::Failed(target), now);
                        } else {
                            open.insert(target);
                        }
                    }
                    Effect::Drop(peer) => {
                        open.remove(&Target::Visit(peer));
                        links.handle(Event::Failed(Target::Visit(peer)), now);
                    }
                }
            }
            most = most.max(open.len());
        }
        (dials, most)
    }

    #[test]
    fn it_dials_few_whoever_is_made_up_and_whoever_asks_about_all() {
        for fails in [true, false] {
            let mut links = links(250, 0, Instant::now());
            let (dials, most) = ask_about_all(&mut links, 60, fails);
            let visits: Vec<_> = dials.iter().filter(|dial| matches!(dial, Target::Visit(_))).collect();
            assert!(visits.len() <= 32 + 120 && most <= MOST_OPEN, "{} visits, {most} at once", visits.len());
            assert!(visits.len() >= 32, "{} visits", visits.len());
            assert!(dials.len() - visits.len() >= 100, "visits keep a node from its links: {dials:?}");
        }
    }

    #[test]
    fn it_visits_ever_less_often_who_cannot_be_reached() {
        let start = Instant::now();
        let mut links = links(40, 14, start);
        let mut dials = 0;
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            links.handle(Event::Visit(who(40)), now);
            if links.handle(Event::Tick, now).contains(&Effect::Dial(Target::Visit(who(40)))) {
                dials += 1;
                links.handle(Event::Failed(Target::Visit(who(40))), now);
                assert!(!links.may_visit(who(40), now), "whoever asks is told at once");
            }
        }
        assert!((8..=20).contains(&dials), "{dials} dials in ten minutes");
    }

    #[test]
    fn it_drops_visitors_of_other_nodes_before_links() {
        let start = Instant::now();
        let mut links = links(100, 0, start);
        for peer in 1..=25 {
            // Two of those that came first are visitors: their beacons name no link to this node.
            let names = if peer == 3 || peer == 7 { who(99) } else { who(0) };
            links.handle(Event::There(who(peer), vec![names]), start);
            links.handle(Event::Connected(who(peer), Way::Came(None)), start);
            links.handle(Event::LetIn(who(peer)), start);
        }
        let mut dropped = Vec::new();
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            for effect in links.handle(Event::Tick, now) {
                match effect {
                    Effect::Drop(peer) => {
                        dropped.push(peer.0[0]);
                        links.handle(Event::Closed(peer), now);
                    }
                    Effect::Dial(target) => _ = links.handle(Event::Failed(target), now),
                }
            }
        }
        dropped[..2].sort_unstable();
        assert_eq!((dropped.len(), &dropped[..2]), (25 - MOST_LINKS, &[3, 7][..]), "{dropped:?}");
    }
}
