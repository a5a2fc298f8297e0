//! The peers as watchers are told of them: what changed since when, without what changes all the time and says nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anode_shared::mesh::PeerStatus;

/// How many forgotten peers are remembered for watchers: as many as are known at most.
const REMOVED: usize = 4_096;
/// By how much of itself a round trip changes before it is worth telling.
const ROUND_TRIP: f64 = 0.25;
/// Below it a round trip's changes, in milliseconds, are noise on any network.
const NOISE_MS: f64 = 0.5;
/// By how many milliseconds a clock's offset changes before it is worth telling.
const OFFSET_MS: f64 = 250.0;

/// All known peers, each with the version at which it last changed.
#[derive(Debug, Default)]
pub(super) struct Roster {
    version: u64,
    peers: BTreeMap<String, (u64, PeerStatus)>,
    removed: VecDeque<(u64, String)>,
}

/// What changed.
#[derive(Debug, Default, PartialEq)]
pub struct PeerChanges {
    /// Up to which version it tells.
    pub version: u64,
    /// The peers that are new or changed, those that changed longest ago first.
    pub peers: Vec<PeerStatus>,
    /// The ids of those that are not known any more.
    pub removed: Vec<String>,
}

impl Roster {
    /// Takes the peers as they are.
    pub(super) fn update(&mut self, peers: &[PeerStatus]) {
        for peer in peers {
            match self.peers.get_mut(&peer.id) {
                Some((_, known)) if !differs(known, peer) => known.last_seen.clone_from(&peer.last_seen),
                _ => {
                    self.version += 1;
                    self.peers.insert(peer.id.clone(), (self.version, peer.clone()));
                }
            }
        }
        if self.peers.len() == peers.len() {
            return;
        }
        let there: BTreeSet<&str> = peers.iter().map(|peer| peer.id.as_str()).collect();
        let gone: Vec<String> =
            self.peers.keys().filter(|id| !there.contains(id.as_str())).cloned().collect();
        for id in gone {
            self.peers.remove(&id);
            self.version += 1;
            self.removed.push_back((self.version, id));
        }
        self.removed.drain(..self.removed.len().saturating_sub(REMOVED));
    }

    /// What changed after a version, at most so many peers of it: what is left out follows with the next question.
    pub(super) fn since(&self, version: u64, most: usize) -> PeerChanges {
        let mut changed: Vec<&(u64, PeerStatus)> =
            self.peers.values().filter(|(at, _)| *at > version).collect();
        changed.sort_unstable_by_key(|(at, _)| *at);
        let more = changed.len() > most;
        changed.truncate(most);
        let until = changed.last().filter(|_| more).map_or(self.version, |(at, _)| *at);
        let gone = self.removed.iter().filter(|(at, _)| *at > version && *at <= until);
        let gone = gone.filter(|(_, id)| !self.peers.contains_key(id)).map(|(_, id)| id.clone());
        PeerChanges {
            version: until,
            removed: gone.collect::<BTreeSet<_>>().into_iter().collect(),
            peers: changed.into_iter().map(|(_, peer)| peer.clone()).collect(),
        }
    }
}

/// Whether a peer is worth telling of again.
fn differs(told: &PeerStatus, now: &PeerStatus) -> bool {
    let alike = PeerStatus {
        last_seen: now.last_seen.clone(),
        rtt_ms: rtt(told.rtt_ms, now.rtt_ms),
        clock_offset_ms: close(told.clock_offset_ms, now.clock_offset_ms, OFFSET_MS),
        links: told.links.clone(),
        ..told.clone()
    };
    let links = told.links.len() == now.links.len()
        && told
            .links
            .iter()
            .zip(&now.links)
            .all(|(told, now)| told.id == now.id && rtt(told.rtt_ms, now.rtt_ms) == now.rtt_ms);
    !links || PeerStatus { links: told.links.clone(), ..now.clone() } != alike
}

/// The new round trip where it is about the old one, else the old one.
fn rtt(told: Option<f64>, now: Option<f64>) -> Option<f64> {
    close(told, now, NOISE_MS.max(told.unwrap_or(0.0) * ROUND_TRIP))
}

fn close(told: Option<f64>, now: Option<f64>, by: f64) -> Option<f64> {
    match (told, now) {
        (Some(told), Some(now)) if (told - now).abs() <= by => Some(now),
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anode_shared::mesh::{PeerLink, PeerState};

    fn peer(id: &str) -> PeerStatus {
        PeerStatus {
            id: id.to_owned(),
            name: id.to_owned(),
            version: "1".to_owned(),
            addresses: Vec::new(),
            state: PeerState::Alive,
            since: "s".to_owned(),
            last_seen: "1".to_owned(),
            connected: true,
            rtt_ms: Some(10.0),
            heads: BTreeMap::new(),
            lag: 0,
            links: vec![PeerLink { id: "x".to_owned(), rtt_ms: Some(1.0) }],
            clock_offset_ms: Some(3.0),
            records_per_s: 0,
            subscribers: 0,
            sources: 0,
            components: BTreeMap::new(),
        }
    }

    #[test]
    fn it_tells_of_what_matters() {
        let link = |id: &str, rtt_ms| vec![PeerLink { id: id.to_owned(), rtt_ms }];
        let check = |name: &str, tells: bool, change: &dyn Fn(&mut PeerStatus)| {
            let mut roster = Roster::default();
            roster.update(&[peer("a")]);
            let told = roster.since(0, 10).version;
            let mut changed = peer("a");
            change(&mut changed);
            roster.update(&[changed.clone()]);
            let news = roster.since(told, 10);
            assert_eq!(news.peers, if tells { vec![changed] } else { Vec::new() }, "{name}");
            assert_eq!(news.version > told, tells, "{name}");
        };
        check("seen again", false, &|peer| peer.last_seen = "2".to_owned());
        check("state", true, &|peer| peer.state = PeerState::Dead);
        check("head", true, &|peer| peer.heads.extend([("l".to_owned(), 1)]));
        check("lag", true, &|peer| peer.lag = 1);
        check("about the same round trip", false, &|peer| peer.rtt_ms = Some(12.5));
        check("another round trip", true, &|peer| peer.rtt_ms = Some(12.6));
        check("no round trip", true, &|peer| peer.rtt_ms = None);
        check("about the same clock", false, &|peer| peer.clock_offset_ms = Some(200.0));
        check("another clock", true, &|peer| peer.clock_offset_ms = Some(-500.0));
        check("about the same link", false, &|peer| peer.links = link("x", Some(1.4)));
        check("a slower link", true, &|peer| peer.links = link("x", Some(1.6)));
        check("another link", true, &|peer| peer.links = link("y", Some(1.0)));
        check("no link", true, &|peer| peer.links.clear());
    }

    #[test]
    fn it_does_not_creep() {
        let mut roster = Roster::default();
        roster.update(&[peer("a")]);
        let told = roster.since(0, 10).version;
        for step in 1..=10 {
            roster.update(&[PeerStatus { rtt_ms: Some(10.0 + f64::from(step)), ..peer("a") }]);
        }
        let news = roster.since(told, 10);
        let shown: Vec<_> = news.peers.iter().map(|peer| peer.rtt_ms).collect();
        // 13 and 17, which are more than a quarter above what was told before.
        assert_eq!((shown, news.version - told), (vec![Some(17.0)], 2));
    }

    #[test]
    fn it_tells_all_in_parts_and_who_is_gone() {
        let mut roster = Roster::default();
        let ids: Vec<String> = (0..25).map(|number| format!("{number:02}")).collect();
        roster.update(&ids.iter().map(|id| peer(id)).collect::<Vec<_>>());
        let (mut told, mut seen) = (0, Vec::new());
        loop {
            let part = roster.since(told, 10);
            if part.version == told {
                break;
            }
            told = part.version;
            seen.extend(part.peers.into_iter().map(|peer| peer.id));
        }
        assert_eq!(seen, ids);
        roster.update(&[peer("00"), peer("30")]);
        let news = roster.since(told, 10);
        assert_eq!((news.peers.len(), &news.removed[..]), (1, &ids[1..]));
        roster.update(&[peer("00"), peer("30"), peer("07")]);
        assert!(!roster.since(told, 10).removed.contains(&"07".to_owned()), "it is back");
        (0..2 * REMOVED).for_each(|number| roster.update(&[peer("00"), peer(&format!("n{number}"))]));
        assert_eq!(roster.removed.len(), REMOVED);
    }
}
