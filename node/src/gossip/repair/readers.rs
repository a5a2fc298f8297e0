//! What readers and the API ask of the planner: who may have what is missing here.

use std::time::{Duration, Instant};

use anode_shared::ids::{LogKey, Origin};

use super::log::Log;
use super::peer::Peer;
use super::{BACK, Repair};
use crate::gossip::spans::{Span, Spans};

/// How long an origin counts as known after a beacon: three of the rarest ones.
const SPOKE: Duration = Duration::from_secs(180);
/// Of how many it is remembered when they spoke: twice as many as presence knows.
const MOST_SPEAKERS: usize = 8_192;

impl Repair {
    /// How many seqs are missing here that somebody who is there says it has, and how many requests are under way. Of very many
    /// logs only some are looked at.
    pub fn progress(&mut self, now: Instant) -> (u64, usize) {
        let mut count: u64 = 0;
        for key in self.wanting.sample() {
            let Some(log) = self.logs.get_mut(&key) else { continue };
            let (top, mut held) = (log.sure(), Spans::default());
            for span in log.missing(top, now).iter() {
                log.said(span, now).into_iter().for_each(|said| held.add(said));
                let claims = self.peers.values().map(|peer| peer.claims(key, span, now));
                claims.for_each(|claims| claims.iter().for_each(|span| held.add(span)));
            }
            count = count.saturating_add(held.count());
        }
        (count, self.flights.len())
    }

    /// An origin spoke.
    pub(super) fn heard_of(&mut self, origin: Origin, now: Instant) {
        if self.spoke.len() >= MOST_SPEAKERS && !self.spoke.contains_key(&origin) {
            self.spoke.retain(|_, when| *when + SPOKE > now);
        }
        if self.spoke.len() < MOST_SPEAKERS || self.spoke.contains_key(&origin) {
            self.spoke.insert(origin, now);
        }
    }

    /// Whether an origin is there: connected, or heard of lately.
    pub fn knows(&self, origin: Origin, now: Instant) -> bool {
        self.peers.contains_key(&origin) || self.spoke.get(&origin).is_some_and(|when| *when + SPOKE > now)
    }

    /// Below which seq a log's origin itself says that it has dropped everything.
    pub fn origins_floor(&self, key: LogKey) -> u64 {
        self.logs.get(&key).map_or(1, Log::origins_floor)
    }

    /// Whether somebody who is there says that it has some of a range, or may yet say so. Who claimed it and did not give it
    /// does not count for a while, nor who gave nothing again and again; an origin that is not linked counts by its beacons.
    pub fn may_have(&self, key: LogKey, span: Span, now: Instant) -> bool {
        self.first_of(key, span, now).is_some()
    }

    /// The first seq of a range of which that holds.
    pub fn first_of(&self, key: LogKey, span: Span, now: Instant) -> Option<u64> {
        self.ends_of(key, span, now).map(|ends| ends.from)
    }

    /// From the first to the last seq of a range of which that holds.
    pub fn ends_of(&self, key: LogKey, span: Span, now: Instant) -> Option<Span> {
        if !self.keeps(key.origin) {
            return None;
        }
        let log = self.logs.get(&key);
        let claimed = |peer: &Peer| {
            if peer.may_yet_say(now) {
                return Some(span);
            }
            let claims = peer.is_believed().then(|| peer.may_have(key, span, log, now))?;
            Span::new(claims.iter().next()?.from, claims.last()?)
        };
        let unlinked = log.filter(|_| !self.peers.contains_key(&key.origin));
        let said = unlinked.and_then(|log| log.said(span, now));
        let all = self.peers.values().filter_map(claimed).chain(said);
        all.reduce(|one, other| Span { from: one.from.min(other.from), to: one.to.max(other.to) })
    }

    /// Whether the node that made a log is away, and may yet be here again with all of it: its connection closed a moment ago,
    /// or this node has just started.
    pub fn awaits(&self, log: LogKey, now: Instant) -> bool {
        let since = self.gone.get(&log.origin).copied().or(self.began);
        let recent = since.is_none_or(|since| since + BACK > now);
        recent && log.origin != self.me && !self.peers.contains_key(&log.origin) && self.keeps(log.origin)
    }
}
