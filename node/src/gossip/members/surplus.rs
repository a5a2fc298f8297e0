//! Which of too many links is dropped.

use std::collections::BTreeMap;
use std::time::Instant;

use anode_shared::ids::Origin;

use super::{BEAR, Kind, Links, MOST_LINKS, REST};
use crate::gossip::crowd::Place;

/// From how many links of one place on they count as a crowd, of which one goes first: fewer are a household.
const CROWD: usize = 6;
/// How many are believed that they may be the only bridge to others: a node that joins parts of a mesh has a few such links, and
/// anybody can say that it knows nobody else.
const BRIDGES: usize = 6;
/// Which part of too many links is dropped at once: of a few one, of a crowd many.
const SHRINK: usize = 4;

impl Links {
    /// Whom to drop where there have been too many links for a while.
    pub(super) fn shrink(&mut self, now: Instant) -> Vec<Origin> {
        let surplus = self.linked.len().saturating_sub(MOST_LINKS);
        if surplus == 0 {
            self.crowded = None;
        } else if now.saturating_duration_since(*self.crowded.get_or_insert(now)) >= BEAR {
            let dropped = self.too_many(surplus.div_ceil(SHRINK), now);
            if !dropped.is_empty() {
                self.crowded = None;
            }
            for target in dropped.iter().flat_map(|peer| self.targets(*peer)).collect::<Vec<_>>() {
                self.dials.rest(target, now + REST);
            }
            return dropped;
        }
        Vec::new()
    }

    /// The links to drop, so many at most.
    fn too_many(&mut self, most: usize, now: Instant) -> Vec<Origin> {
        let mut all = Vec::new();
        while all.len() < most
            && let Some(peer) = self.one_too_many(&all, now)
        {
            all.push(peer);
        }
        all
    }

    /// The next link to drop beside others, of those that came: first to who says nothing of itself, then to who counts it as no
    /// link; then one of the largest crowd. Of those it goes to who knows nobody else, where there are more such than can be; else
    /// to who shares the most neighbours. Who came last goes.
    fn one_too_many(&mut self, others: &[Origin], now: Instant) -> Option<Origin> {
        let all = self.spare(others);
        let had_time = |peer: &&Origin| self.since(**peer).is_some_and(|since| since + BEAR <= now);
        let settled: Vec<Origin> = all.iter().filter(had_time).copied().collect();
        let silent: Vec<Origin> =
            settled.iter().filter(|peer| !self.there.contains_key(*peer)).copied().collect();
        if !silent.is_empty() {
            return self.newest(&silent);
        }
        let visitors: Vec<Origin> = settled.into_iter().filter(|peer| self.visits_here(*peer)).collect();
        if !visitors.is_empty() {
            let visitors = self.crowd(visitors);
            return self.newest(&visitors);
        }
        let shared = self.crowd(all).into_iter().map(|peer| (self.shared(peer, others), peer));
        let (bridges, rest): (Vec<_>, Vec<_>) = shared.partition(|(shared, _)| *shared == 0);
        let most = rest.iter().map(|(shared, _)| *shared).max();
        let goes = if bridges.len() > BRIDGES { bridges } else { rest };
        let goes = goes.into_iter().filter(|(shared, _)| *shared == 0 || Some(*shared) == most);
        self.newest(&goes.map(|(_, peer)| peer).collect::<Vec<_>>())
    }

    /// The links that are not of this node's own choice and do not go anyway: those to peers that are favoured only where there
    /// are no others.
    fn spare(&self, go: &[Origin]) -> Vec<Origin> {
        let came = |peer: &&Origin| {
            self.connected.get(*peer).is_none_or(|connection| connection.kind < Kind::Chosen)
        };
        let came = self.linked.iter().filter(|peer| !go.contains(peer)).filter(came).copied();
        let (favoured, others): (Vec<Origin>, Vec<Origin>) =
            came.partition(|peer| self.favoured.contains(peer));
        if others.is_empty() { favoured } else { others }
    }

    fn since(&self, peer: Origin) -> Option<Instant> {
        self.connected.get(&peer).map(|connection| connection.since)
    }

    /// How many neighbours a peer and this node have in common, as both the peer and these say, but for those that go.
    fn shared(&self, peer: Origin, go: &[Origin]) -> usize {
        let Some(links) = self.there.get(&peer) else { return 0 };
        let named = |other: &&Origin| self.there.get(*other).is_some_and(|links| links.contains(&peer));
        links.intersection(&self.linked).filter(|other| !go.contains(other)).filter(named).count()
    }

    /// One of those that came last.
    fn newest(&mut self, peers: &[Origin]) -> Option<Origin> {
        let last = peers.iter().map(|peer| self.since(*peer)).max()?;
        let newest: Vec<Origin> = peers.iter().copied().filter(|peer| self.since(*peer) == last).collect();
        self.dice.pick(&newest).copied()
    }

    /// Those of the place of which there are the most, where these are a crowd; else all.
    fn crowd(&self, all: Vec<Origin>) -> Vec<Origin> {
        let place = |peer: &Origin| self.connected.get(peer).and_then(|connection| connection.place);
        let mut places: BTreeMap<Place, usize> = BTreeMap::new();
        all.iter().filter_map(place).for_each(|place| *places.entry(place).or_default() += 1);
        match places.into_iter().max_by_key(|(_, count)| *count) {
            Some((most, count)) if count >= CROWD => {
                all.into_iter().filter(|peer| place(peer) == Some(most)).collect()
            }
            _ => all,
        }
    }
}
