//! Who may connect: how many at once, how many from one place, and who makes room for whom.
//!
//! Peers' keys cost nothing, their places do. So where all room is taken, whoever comes from a place with fewer connections gets
//! that of one from the place with the most; the newest goes, for whoever crowds in comes after those who were there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::rates::{Pace, Rates};

/// Connections to peers that gossip: design's 20 links, each up to twice while both sides dial, visits, and visitors.
const MOST: usize = 160;
/// Connections that others made, of these: the rest is for those that this node makes, whoever crowds in.
const MOST_CAME: usize = 96;
/// Connections in both directions between two nodes while they agree on one.
const MOST_OF_PEER: usize = 4;
/// Connections of others that are not agreed on yet.
const MOST_WAITING: usize = 128;
/// Of these, from one place: as many nodes of one machine or behind one address as anyone starts at once.
const MOST_WAITING_OF_PLACE: usize = 64;
/// How often one place may try in a second: each try costs half a millisecond for its keys, honest nodes try again after a
/// second, and ever less often.
const KNOCKS: u64 = 64;
/// Below how many connections peers are dialled that the lookup of peers itself wants to ask: above, it asks those that are there.
const FEW: usize = 20;
/// How often that is: whom it dials, and where, any peer may have made up.
const LOOKUP: Duration = Duration::from_secs(5);
/// How many such dials may be made at once.
const LOOKUPS: u32 = 8;

/// Where a connection comes from: an IPv4 address, or the first half of an IPv6 address, of which one household has all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place([u8; 8]);

impl Place {
    /// That of an IPv4 address.
    pub fn v4([a, b, c, d]: [u8; 4]) -> Self {
        Self([0, 0, 0, 0, a, b, c, d])
    }

    /// That of an IPv6 address.
    pub fn v6([a, b, c, d, e, f, g, h, ..]: [u8; 16]) -> Self {
        Self([a, b, c, d, e, f, g, h])
    }
}

/// Why somebody may not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// There are too many connections.
    #[error("this node has no room for more connections")]
    All,
    /// There are too many with one peer.
    #[error("there are enough connections with this peer")]
    Peer,
    /// Too many come from one place.
    #[error("too many come from this address, or too often")]
    Place,
    /// The lookup of peers dials too much.
    #[error("peers that only others named are dialled now and then, and where there are few links")]
    Lookup,
}

/// A connection that is made.
#[derive(Debug)]
struct Inside<P> {
    peer: P,
    /// Whether the other side made it, and from where.
    came: Option<Option<Place>>,
}

/// All connections; `C` names one, rising, and `P` a peer.
#[derive(Debug)]
pub struct Crowd<C, P> {
    knocks: Rates<Place>,
    waiting: BTreeMap<C, Option<Place>>,
    inside: BTreeMap<C, Inside<P>>,
    /// Those that make room for others, and have not closed yet.
    leaving: BTreeSet<C>,
    /// Dials that are this node's own choice.
    own: BTreeSet<C>,
    lookups: Pace,
}

impl<C, P> Default for Crowd<C, P> {
    fn default() -> Self {
        Self {
            knocks: Rates::new(KNOCKS),
            waiting: BTreeMap::new(),
            inside: BTreeMap::new(),
            leaving: BTreeSet::new(),
            own: BTreeSet::new(),
            lookups: Pace::new(LOOKUP, LOOKUPS),
        }
    }
}

impl<C: Copy + Ord, P: PartialEq> Crowd<C, P> {
    /// Somebody wants to connect.
    ///
    /// # Errors
    /// Where nobody is to, or nobody more from there.
    pub fn knock(&mut self, connection: C, place: Option<Place>, now: Instant) -> Result<(), Full> {
        if self.waiting.len() >= MOST_WAITING {
            return Err(Full::All);
        }
        if let Some(place) = place {
            let same = self.waiting.values().filter(|other| **other == Some(place)).count();
            if same >= MOST_WAITING_OF_PLACE || !self.knocks.take(place, 1, now) {
                return Err(Full::Place);
            }
        }
        self.waiting.insert(connection, place);
        Ok(())
    }

    /// Whoever wanted to connect has proved who it is. Says which connection makes room for this one, where one has to.
    ///
    /// # Errors
    /// Where there is no room.
    pub fn admit(&mut self, connection: C, peer: &P, place: Option<Place>) -> Result<Option<C>, Full> {
        self.waiting.remove(&connection);
        self.check_peer(peer)?;
        let mut places: BTreeMap<Option<Place>, (usize, C)> = BTreeMap::new();
        let staying = self.inside.iter().filter(|(connection, _)| !self.leaving.contains(connection));
        for (connection, place) in staying.filter_map(|(connection, inside)| Some((connection, inside.came?)))
        {
            let (count, newest) = places.entry(place).or_insert((0, *connection));
            *count += 1;
            *newest = (*connection).max(*newest);
        }
        let came: usize = places.values().map(|(count, _)| count).sum();
        if came < MOST_CAME && self.inside.len() - self.leaving.len() < MOST {
            return Ok(None);
        }
        let same = places.get(&place).map_or(0, |(count, _)| *count);
        let (most, newest) = places.into_values().max_by_key(|(count, _)| *count).ok_or(Full::All)?;
        if most <= same + 1 {
            return Err(Full::All);
        }
        self.leaving.insert(newest);
        Ok(Some(newest))
    }

    /// This node itself chose to make a connection.
    pub fn choose(&mut self, connection: C) {
        self.own.insert(connection);
    }

    /// A connection is about to be made from here, by choice or because the lookup of peers wants it.
    ///
    /// # Errors
    /// Where the lookup wants too much.
    pub fn dial(&mut self, connection: C, now: Instant) -> Result<(), Full> {
        if self.own.contains(&connection) {
            return Ok(());
        }
        if self.inside.len() < FEW && self.lookups.take(now) { Ok(()) } else { Err(Full::Lookup) }
    }

    /// A peer that was dialled has proved who it is.
    ///
    /// # Errors
    /// Where there is no room.
    pub fn reach(&mut self, connection: C, peer: &P) -> Result<(), Full> {
        self.own.remove(&connection);
        self.check_peer(peer)?;
        if self.inside.len() < MOST { Ok(()) } else { Err(Full::All) }
    }

    fn check_peer(&self, peer: &P) -> Result<(), Full> {
        let same = self.inside.values().filter(|inside| inside.peer == *peer).count();
        if same < MOST_OF_PEER { Ok(()) } else { Err(Full::Peer) }
    }

    /// A connection is made; `came` says from where, where the other side made it.
    pub fn entered(&mut self, connection: C, peer: P, came: Option<Option<Place>>) {
        self.inside.insert(connection, Inside { peer, came });
    }

    /// A connection ended, or was never made.
    pub fn left(&mut self, connection: C) {
        self.waiting.remove(&connection);
        self.inside.remove(&connection);
        self.leaving.remove(&connection);
        self.own.remove(&connection);
    }

    /// Whose connection it is.
    pub fn peer(&self, connection: C) -> Option<&P> {
        self.inside.get(&connection).map(|inside| &inside.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(n: u8) -> Option<Place> {
        Some(Place::v4([10, 0, 0, n]))
    }

    /// Lets as many come from a place, each with a key of its own, as are let in; gives how many these are, and who made room.
    fn come(crowd: &mut Crowd<u32, u32>, first: u32, count: u32, from: Option<Place>) -> (usize, Vec<u32>) {
        let (mut came, mut gone) = (0, Vec::new());
        for connection in first..first + count {
            if let Ok(goes) = crowd.admit(connection, &connection, from) {
                crowd.entered(connection, connection, Some(from));
                came += 1;
                if let Some(goes) = goes {
                    crowd.left(goes);
                    gone.push(goes);
                }
            }
        }
        (came, gone)
    }

    #[test]
    fn it_lets_no_place_keep_all_others_out() {
        let mut crowd = Crowd::default();
        assert_eq!(come(&mut crowd, 0, 10, place(1)).0, 10, "the honest");
        assert_eq!(
            come(&mut crowd, 100, 500, place(2)),
            (MOST_CAME - 10, vec![]),
            "as many as there is room for"
        );
        assert_eq!(come(&mut crowd, 1_000, 500, place(2)), (0, vec![]), "no more, and nobody goes for them");
        let (came, gone) = come(&mut crowd, 2_000, 3, place(3));
        assert_eq!((came, gone), (3, vec![185, 184, 183]), "the newest of the crowd make room");
        let (_, gone) = come(&mut crowd, 3_000, 500, place(4));
        assert!(gone.iter().all(|gone| (100..200).contains(gone)), "{gone:?}");
        assert!((0..10).all(|honest| crowd.peer(honest).is_some()), "who were there first stay");
        let of = |from| crowd.inside.values().filter(|inside| inside.came == Some(from)).count();
        assert!(of(place(2)).abs_diff(of(place(4))) <= 1, "{} and {}", of(place(2)), of(place(4)));
    }

    #[test]
    fn it_keeps_room_for_those_whom_it_dials() {
        let (mut crowd, start) = (Crowd::default(), Instant::now());
        come(&mut crowd, 0, 500, place(1));
        let dialled = (1_000..2_000).filter(|connection| {
            crowd.choose(*connection);
            let made = crowd.dial(*connection, start).and_then(|()| crowd.reach(*connection, connection));
            if made.is_ok() {
                crowd.entered(*connection, *connection, None);
            }
            made.is_ok()
        });
        assert_eq!(dialled.count(), MOST - MOST_CAME);
        // All room is taken by those who were dialled and by those of one place.
        assert_eq!(come(&mut crowd, 3_000, 1, place(2)).0, 1);
    }

    #[test]
    fn it_takes_a_few_connections_of_one_peer() {
        let mut crowd = Crowd::default();
        for connection in 0..10 {
            let taken = crowd.admit(connection, &7, place(1));
            assert_eq!(taken, if connection < 4 { Ok(None) } else { Err(Full::Peer) }, "{connection}");
            taken.into_iter().for_each(|_| crowd.entered(connection, 7, Some(place(1))));
        }
        assert_eq!(crowd.reach(20, &7), Err(Full::Peer));
        crowd.left(2);
        assert_eq!(crowd.reach(21, &7), Ok(()));
    }

    #[test]
    fn it_bounds_who_knocks() {
        let (mut crowd, start) = (Crowd::<u32, u32>::default(), Instant::now());
        let mut next = 0..;
        let mut knock = |crowd: &mut Crowd<u32, u32>, from, millis| {
            crowd.knock(next.next().unwrap(), from, start + Duration::from_millis(millis))
        };
        let taken = (0..500).filter(|_| knock(&mut crowd, place(1), 0).is_ok()).count();
        assert_eq!(taken, MOST_WAITING_OF_PLACE, "who says no more");
        assert_eq!(knock(&mut crowd, place(2), 0), Ok(()), "another place has its own room");
        (0..100).for_each(|connection| crowd.left(connection));
        assert_eq!(knock(&mut crowd, place(1), 0), Err(Full::Place), "too often");
        let taken = (0..500).filter(|_| knock(&mut crowd, place(1), 500).is_ok()).count();
        assert_eq!(taken, 32, "half a second later");
        let taken = (0..500).filter(|_| knock(&mut crowd, place(1), 10_000).is_ok()).count();
        assert_eq!(taken, 32, "as long as the others wait");
        (0..255).for_each(|n| _ = knock(&mut crowd, place(n), 10_000));
        assert_eq!((crowd.waiting.len(), knock(&mut crowd, None, 10_000)), (MOST_WAITING, Err(Full::All)));
    }

    #[test]
    fn it_dials_little_of_what_only_others_name() {
        let (mut crowd, start) = (Crowd::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let dials = |crowd: &mut Crowd<u32, u32>, seconds| {
            (0..100).filter(|connection| crowd.dial(*connection, at(seconds)).is_ok()).count()
        };
        assert_eq!([0, 4, 5].map(|seconds| dials(&mut crowd, seconds)), [8, 0, 1]);
        come(&mut crowd, 0, 20, place(1));
        assert_eq!(dials(&mut crowd, 1_000), 0, "there are links enough");
        crowd.choose(5_000);
        assert_eq!(crowd.dial(5_000, at(1_000)), Ok(()), "its own choice");
    }

    #[test]
    fn it_forgets_who_left() {
        let (mut crowd, start) = (Crowd::<u32, u32>::default(), Instant::now());
        for connection in 0..1_000 {
            let _ = crowd.knock(connection, None, start);
            crowd.choose(connection);
            let _ = crowd.admit(connection, &connection, None);
            crowd.entered(connection, connection, Some(None));
            crowd.left(connection);
        }
        let kept = (crowd.waiting.len(), crowd.inside.len(), crowd.leaving.len(), crowd.own.len());
        assert_eq!(kept, (0, 0, 0, 0));
    }

    #[test]
    fn it_takes_half_an_address_of_the_newer_kind_for_a_place() {
        let v6 = |fourth, last| {
            let mut bytes = [0x20; 16];
            (bytes[7], bytes[15]) = (fourth, last);
            Place::v6(bytes)
        };
        assert!(
            v6(1, 1) == v6(1, 2)
                && v6(1, 1) != v6(2, 1)
                && Place::v4([1, 2, 3, 4]) != Place::v4([1, 2, 3, 5])
        );
    }
}
