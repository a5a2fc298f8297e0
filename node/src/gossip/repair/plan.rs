//! Whom to ask for what: ranges by urgency, peers by what they have and how well they answer.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anode_shared::ids::{LogKey, Origin};
use anode_shared::repair::WINDOW;

use super::log::{Log, Wants};
use super::peer::Peer;
use super::{Effect, Flaw, Repair, SLOW};
use crate::gossip::spans::Span;

/// About how many bytes one request brings: long enough that a round trip costs little, short enough that several peers share
/// the work and live traffic is not held up.
const CHUNK: u64 = 512 << 10;
/// The most bytes that one answer may bring.
pub(super) const ANSWER: u64 = 1 << 20;
/// The most bytes that are asked of one peer at once.
const PER_PEER: u64 = 2 << 20;
/// The most requests to one peer at once: one is on its way while another is read from its disk.
pub(super) const REQUESTS: usize = 2;
/// The most bytes that are asked for in all: what the store takes in flight, halved, so that publishes find room.
pub(super) const IN_ALL: u64 = 16 << 20;
/// How long an answer may take beside the time for its bytes.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long storing an answer may take: the store may have much else to do.
const STORING: Duration = Duration::from_secs(60);
/// The least rate at which an answer should come, bytes a second.
const LEAST_RATE: u64 = 256 << 10;
/// How many requests at most leave in one turn to peers that do not say that they have what is asked for. Heads that anybody signed
/// for logs of made-up origins, and nobody holds, keep few busy so.
const GUESSES: usize = 8;

/// A request that is under way.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) peer: Origin,
    pub(super) key: LogKey,
    pub(super) span: Span,
    pub(super) bytes: u64,
    pub(super) sent: Instant,
    until: Instant,
}

/// One thing to ask for.
#[derive(Debug, Clone, Copy)]
struct Job {
    key: LogKey,
    span: Span,
    newest_first: bool,
    /// Whether peers are asked that do not say that they have it.
    urgent: bool,
    /// Whether it was dropped here and is only lent to readers.
    lent: bool,
}

/// Whom to ask, by rank: the lowest is asked.
type Rank = (u64, u32, bool, usize, u64);

impl Repair {
    /// Ends a request, whatever became of it.
    pub(super) fn land(&mut self, id: u64) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        self.bytes -= flight.bytes;
        if let Some(peer) = self.peers.get_mut(&flight.peer) {
            peer.requests = peer.requests.saturating_sub(1);
            peer.bytes = peer.bytes.saturating_sub(flight.bytes);
        }
        if let Some(log) = self.logs.get_mut(&flight.key) {
            log.in_flight.remove(flight.span);
        }
        Some(flight)
    }

    /// An answer came: its peer was as quick as it was, and storing takes what it takes.
    pub(super) fn arrived(&mut self, id: u64, now: Instant) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.until = now + STORING;
        if let Some(peer) = self.peers.get_mut(&flight.peer) {
            peer.slow = flight.sent + SLOW < now;
        }
    }

    /// Ends requests that take too long: their peers are asked last, and others for the same.
    pub(super) fn time_out(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.breaks(Flaw::KeepInFlight) {
            return;
        }
        let late: Vec<u64> =
            self.flights.iter().filter(|(_, flight)| flight.until <= now).map(|(id, _)| *id).collect();
        for id in late {
            effects.push(Effect::Cancel(id));
            let Some(flight) = self.land(id) else { continue };
            if let Some(peer) = self.peers.get_mut(&flight.peer) {
                peer.slow = true;
            }
            self.gave_nothing(&flight, now, effects);
        }
    }

    /// Cancels requests for what came another way, all of it.
    pub(super) fn cancel_needless(&mut self, key: LogKey, now: Instant, effects: &mut Vec<Effect>) {
        let Some(log) = self.logs.get_mut(&key).filter(|log| !log.in_flight.is_empty()) else { return };
        let missing = log.missing(u64::MAX - 1, now);
        let owed = &log.owed;
        let wanted = |span: Span| !missing.within(span).is_empty() || !owed.within(span).is_empty();
        let needless: Vec<u64> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.key == key && !wanted(flight.span))
            .map(|(id, _)| *id)
            .collect();
        for id in needless {
            effects.push(Effect::Cancel(id));
            self.land(id);
        }
    }

    /// Asks for what is wanted, as far as peers and bounds allow.
    pub(super) fn plan(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.peers.is_empty() || self.paused.is_some_and(|until| until > now) {
            return;
        }
        let mut whom: BTreeMap<LogKey, Rc<[Origin]>> = BTreeMap::new();
        let mut guesses = Vec::new();
        for job in self.jobs(now) {
            if self.bytes >= IN_ALL {
                return;
            }
            let whom = whom.entry(job.key).or_insert_with(|| self.who_tells_of(job.key, now)).clone();
            guesses.extend(self.assign(job, &whom, now, effects));
        }
        for _ in 0..GUESSES.min(guesses.len()) {
            let at = usize::try_from(self.dice.below(guesses.len() as u64)).unwrap_or(0);
            let job = guesses.swap_remove(at);
            self.guess(job, now, effects);
        }
    }

    /// Who may be asked now and said something of a log.
    fn who_tells_of(&self, key: LogKey, now: Instant) -> Rc<[Origin]> {
        let tells = |peer: &Peer| is_free(peer, now) && peer.hint(key).is_some();
        let all = self.breaks(Flaw::SamePeer);
        self.peers.iter().filter(|(_, peer)| all || tells(peer)).map(|(origin, _)| *origin).collect()
    }

    /// What to ask for, the most urgent first.
    fn jobs(&mut self, now: Instant) -> Vec<Job> {
        let mut wants: BTreeMap<LogKey, Wants> = BTreeMap::new();
        let keys: BTreeSet<LogKey> = self.owing.turn().into_iter().chain(self.wanting.turn()).collect();
        for key in keys {
            let hinted = self.peers.values().filter_map(|peer| peer.hint(key)).map(|hint| hint.head).max();
            let expired = self.is_expired(key);
            let ignores = self.breaks(Flaw::IgnoreFloors);
            let Some(log) = self.logs.get_mut(&key) else { continue };
            if ignores {
                log.own.missing.add(Span { from: 1, to: log.own.floor.max(1) });
                (log.own.floor, log.raised) = (1, 1);
            }
            let sure = log.sure();
            let top = hinted.unwrap_or(0).max(sure).min(u64::MAX - 1);
            let whole = key.origin == self.me && log.own.held >= top && log.own.missing.is_empty();
            if log.owed.is_empty() && (expired && !ignores || whole) {
                self.wanting.remove(key);
                continue;
            }
            let found = log.wants(top, now);
            let waits = log.waits();
            if !waits
                && log.in_flight.is_empty()
                && found.owed.is_empty()
                && found.dropped.is_empty()
                && found.dropped_down.is_empty()
                && found.holes.is_empty()
                && found.backfill.is_empty()
            {
                self.wanting.remove(key);
            } else {
                wants.insert(key, found);
            }
        }
        self.sorted(&wants)
    }

    fn sorted(&self, wants: &BTreeMap<LogKey, Wants>) -> Vec<Job> {
        let job = |key: &LogKey, span, newest_first, urgent| Job {
            key: *key,
            span,
            newest_first,
            urgent,
            lent: false,
        };
        let owed = wants
            .iter()
            .flat_map(|(key, wants)| wants.owed.iter().map(move |span| job(key, span, false, true)));
        let dropped = wants
            .iter()
            .flat_map(|(key, wants)| wants.dropped.iter().map(move |span| job(key, span, false, false)))
            .map(|job| Job { lent: true, ..job });
        let downwards = wants
            .iter()
            .flat_map(|(key, wants)| wants.dropped_down.iter().map(move |span| job(key, span, true, false)))
            .map(|job| Job { lent: true, ..job });
        let holes = wants
            .iter()
            .flat_map(|(key, wants)| wants.holes.iter().map(move |span| job(key, span, false, true)));
        let mut jobs: Vec<Job> = owed.chain(holes).chain(dropped).chain(downwards).collect();
        for (key, wants) in wants.iter().rev() {
            // What was never met is urgent: its newest batch is where the log starts here.
            let urgent = self.logs.get(key).is_some_and(|log| log.own.head == 0);
            jobs.extend(wants.backfill.iter().rev().map(|span| job(key, span, true, urgent)));
        }
        if self.breaks(Flaw::SkipRange) {
            jobs.retain(|job| job.span.from % 5 != 3);
        }
        jobs
    }

    /// Whether nothing of the log is held and all of it is older than what would be kept: its origin's next log says so, unless
    /// that may be one of another shard.
    fn is_expired(&self, key: LogKey) -> bool {
        let held = self.logs.get(&key).is_none_or(|log| log.own.held > 0);
        let apart = self.shard_bits > 0;
        let next = self.of_origin.get(&key.origin).filter(|_| !apart).and_then(|logs| {
            logs.range((std::ops::Bound::Excluded(key.log), std::ops::Bound::Unbounded)).next()
        });
        self.is_forgotten(key)
            || !held && next.is_some_and(|next| next.opened().saturating_mul(1_000_000) < self.horizon)
    }

    /// Asks for a range, chunk by chunk, of the peers that have it. Gives what is left where it is urgent and nobody has it.
    fn assign(&mut self, job: Job, whom: &[Origin], now: Instant, effects: &mut Vec<Effect>) -> Option<Job> {
        let mut rest = Some(job.span);
        while let Some(span) = rest {
            let asked_above =
                self.logs.get(&job.key).is_some_and(|log| log.in_flight.has(span.to.saturating_add(1)));
            let short = span.count() < WINDOW && asked_above;
            if short || self.bytes >= IN_ALL || !self.rates.open(job.key.origin, now) {
                return None;
            }
            let Some((peer, chunk)) = self.best(Job { span, ..job }, whom, now) else {
                return Some(Job { span, ..job }).filter(|job| job.urgent);
            };
            let owed = |log: &Log| !log.owed.within(chunk).is_empty();
            if job.lent && !self.logs.get(&job.key).is_some_and(owed) {
                return None;
            }
            self.ask(peer, job.key, chunk, now, effects);
            rest = if job.newest_first {
                Span::new(span.from, chunk.from - 1)
            } else {
                Span::new(chunk.to + 1, span.to)
            };
        }
        None
    }

    /// Nobody says that it has a range. It exists, and who has not said anything for a while may have got it.
    fn guess(&mut self, job: Job, now: Instant, effects: &mut Vec<Effect>) {
        let Some(log) = self.logs.get_mut(&job.key) else { return };
        let sure = log.sure().min(log.due(now));
        let Some(known) = Span::new(job.span.from, job.span.to.min(sure)) else { return };
        if self.bytes >= IN_ALL || !self.rates.open(job.key.origin, now) {
            return;
        }
        let salt = self.dice.roll();
        let stale = |peer: &Peer| is_free(peer, now) && peer.is_stale(job.key, now);
        let ask = self
            .peers
            .iter()
            .filter(|(_, peer)| stale(peer))
            .min_by_key(|(origin, peer)| rank(0, origin, peer, salt));
        if let Some(peer) = ask.map(|(origin, _)| *origin) {
            // For little: the answer says what it has.
            self.ask(peer, job.key, cut(known, WINDOW, job.newest_first), now, effects);
        }
    }

    fn ask(&mut self, origin: Origin, key: LogKey, span: Span, now: Instant, effects: &mut Vec<Effect>) {
        let id = self.number();
        let Some(log) = self.logs.get_mut(&key) else { return };
        log.in_flight.add(span);
        let bytes = span.count().saturating_mul(log.per_seq).clamp(4 << 10, ANSWER);
        if let Some(peer) = self.peers.get_mut(&origin) {
            peer.requests += 1;
            peer.bytes += bytes;
        }
        self.bytes += bytes;
        self.rates.take(key.origin, bytes, now);
        let until = now + PATIENCE + Duration::from_millis(bytes * 1_000 / LEAST_RATE);
        self.flights.insert(id, Flight { peer: origin, key, span, bytes, sent: now, until });
        let most = u32::try_from(ANSWER).unwrap_or(u32::MAX);
        effects.push(Effect::Fetch { id, peer: origin, log: key, span, most });
    }

    /// The next chunk of a range that anybody of some has, and the best of those who have it.
    fn best(&mut self, job: Job, whom: &[Origin], now: Instant) -> Option<(Origin, Span)> {
        let log = self.logs.get_mut(&job.key)?;
        let due = log.due(now);
        let seqs = (CHUNK / log.per_seq.max(1)).clamp(WINDOW, 65_536);
        if self.breaks(Flaw::SamePeer) {
            let origin = *self.peers.keys().next()?;
            let free = self.peers[&origin].requests < REQUESTS;
            return free.then(|| (origin, cut(job.span, seqs, job.newest_first)));
        }
        let mut best: Option<(Rank, Origin, Span)> = None;
        let salt = self.dice.roll();
        let peers = whom.iter().filter_map(|origin| Some((origin, self.peers.get(origin)?)));
        for (origin, peer) in peers.filter(|(_, peer)| is_free(peer, now)) {
            let covered = peer.covers(job.key, job.span, due, now);
            let found = if job.newest_first { covered.iter().next_back() } else { covered.iter().next() };
            let Some(span) = found else { continue };
            let distance = if job.newest_first { job.span.to - span.to } else { span.from - job.span.from };
            let rank = rank(distance, origin, peer, salt);
            if best.as_ref().is_none_or(|(known, ..)| rank < *known) {
                best = Some((rank, *origin, span));
            }
        }
        let (_, origin, span) = best?;
        // Who did not answer in time may have a slow link: it is asked for less.
        let faults = self.peers.get(&origin).map_or(0, |peer| peer.faults);
        Some((origin, cut(span, (seqs >> faults).max(WINDOW), job.newest_first)))
    }
}

fn is_free(peer: &Peer, now: Instant) -> bool {
    let requests = if peer.faults > 0 { 1 } else { REQUESTS };
    peer.requests < requests && peer.bytes < PER_PEER && !peer.rests(now)
}

/// Who has the nearest seqs comes first, then who answers well, then who has the least to do, then chance.
fn rank(distance: u64, origin: &Origin, peer: &Peer, salt: u64) -> Rank {
    let chance =
        origin.0.iter().fold(salt, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    (distance, peer.faults, peer.slow, peer.requests, chance)
}

/// So many seqs of a range, from the end at which it is read.
fn cut(span: Span, seqs: u64, newest_first: bool) -> Span {
    if newest_first {
        Span { from: span.from.max(span.to.saturating_add(1).saturating_sub(seqs)), to: span.to }
    } else {
        Span { from: span.from, to: span.to.min(span.from.saturating_add(seqs - 1)) }
    }
}
