//! One log as repair sees it: what is held, what is known to exist, what is wanted of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anode_shared::ids::{LogKey, Origin};
use anode_shared::repair::{Digest, Summary, WINDOW};

use crate::gossip::spans::{Span, Spans};

/// How long what is heard of may be on its way by gossip before it is asked for: several hops, and less than gossipsub's
/// own second try (its heartbeat of 700 ms) and the 1 s after which a hole becomes a jump.
const GRACE: Duration = Duration::from_millis(150);
/// How many steps of growth wait for their grace apart; above, the last ones count as one.
const STEPS: usize = 8;
/// How many ranges from the future are remembered per log.
const MOST_EARLY: usize = 16;
/// How long an origin's word on its own log counts: four beacons.
const SAID: Duration = Duration::from_secs(10);
/// How long after a log grew a peer may still speak of it as it was before: answers and beacons take their time.
const SETTLES: Duration = Duration::from_secs(1);
/// How long what the store has no room for is not asked for, the first time: by then holes are filled, or a beacon told whose log
/// it is. Then twice as long, up to 21 min, until something of the log is taken.
const CROWDED: Duration = Duration::from_secs(10);
const CROWDED_LEVELS: u32 = 7;
/// About how many bytes are asked for at once of what is only lent to a reader.
const LENT: u64 = 512 << 10;
/// What a record takes before any was seen, bytes.
const FIRST_GUESS: u64 = 512;

/// What the store holds of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// The newest seq that the arrival order has passed; what is missing above it holds the log back.
    pub head: u64,
    /// The highest seq that is stored, waiting batches included.
    pub held: u64,
    /// The oldest seq that is held or wanted.
    pub floor: u64,
    /// What is not stored between floor and `held`.
    pub missing: Spans,
    /// Where the log ends because it forked.
    pub forked: Option<u64>,
}

impl Own {
    /// What peers are told of it, without proof.
    pub fn summary(&self, log: LogKey) -> Summary {
        let floor = self.floor.max(1);
        let missing = Span::new(floor, self.held).map(|all| self.missing.within(all)).unwrap_or_default();
        let missing = missing.iter().map(|span| (span.from, span.to)).collect();
        let mut summary = Summary { log, head: self.held, floor, missing, forked: self.forked, proof: None };
        summary.shorten();
        summary
    }
}

/// What is wanted of a log, by urgency.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// What readers wait for.
    pub(super) owed: Spans,
    /// What readers wait for that was dropped here: it is only lent.
    pub(super) dropped: Spans,
    /// The same for who reads downwards.
    pub(super) dropped_down: Spans,
    /// What holds the log back.
    pub(super) holes: Spans,
    /// What is older than what is visible.
    pub(super) backfill: Spans,
}

/// One log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) bucket: usize,
    /// Who brought it; nobody where the store knows it.
    pub(super) bringer: Option<Origin>,
    fingerprint: u64,
    pub(super) own: Own,
    /// The newest head that its origin's signature bears out.
    pub(super) proven: u64,
    /// When it was last seen to reach further than before.
    grown: Option<Instant>,
    /// What the origin said of its own log: floor, head, when.
    said: Option<(u64, u64, Instant)>,
    /// Up to which seq everything may be asked for.
    due: u64,
    /// Seqs that may be asked for from a moment on.
    coming: VecDeque<(u64, Instant)>,
    early: Vec<(Span, Instant)>,
    /// How often the store had no room for it.
    crowded: u32,
    pub(super) owed: Spans,
    /// The same, range by range, and whether each is read downwards.
    pub(super) readers: Vec<(Span, bool)>,
    /// What is being asked for.
    pub(super) in_flight: Spans,
    /// About how many bytes a record takes.
    pub(super) per_seq: u64,
    /// Below this seq nothing is wanted, whatever the store's floor is yet.
    pub(super) raised: u64,
    pub(super) fork_asked: Option<Instant>,
}

impl Log {
    pub(super) fn new(key: LogKey) -> Self {
        Self {
            bucket: Digest::bucket(key),
            bringer: None,
            fingerprint: 0,
            own: Own { floor: 1, ..Own::default() },
            proven: 0,
            grown: None,
            said: None,
            due: 0,
            coming: VecDeque::new(),
            early: Vec::new(),
            crowded: 0,
            owed: Spans::default(),
            readers: Vec::new(),
            in_flight: Spans::default(),
            per_seq: FIRST_GUESS,
            raised: 1,
            fork_asked: None,
        }
    }

    /// Takes what the store holds now; gives what that changes in the digest.
    pub(super) fn set_own(&mut self, key: LogKey, own: Own, now: Instant) -> u64 {
        self.grew(own.held, now);
        self.crowded = 0;
        self.own = own;
        let fresh = self.own.summary(key).fingerprint();
        std::mem::replace(&mut self.fingerprint, fresh) ^ fresh
    }

    /// Whether peers are told of it: the store knows it.
    pub(super) fn is_told(&self) -> bool {
        self.fingerprint != 0
    }

    /// Takes the log out of the digest; gives what that changes.
    pub(super) fn leave(&mut self) -> u64 {
        std::mem::take(&mut self.fingerprint)
    }

    /// The newest seq that is sure to exist.
    pub(super) fn sure(&self) -> u64 {
        self.proven.max(self.own.held)
    }

    /// A proven head. Says whether it is news.
    pub(super) fn prove(&mut self, head: u64, now: Instant) -> bool {
        let news = head > self.proven;
        self.grew(head, now);
        self.proven = self.proven.max(head);
        news
    }

    /// Whether who spoke of it then could know of a range: the log has not grown since.
    pub(super) fn was_known(&self, span: Span, then: Instant) -> bool {
        span.to <= self.sure() && self.grown.is_none_or(|grown| grown + SETTLES <= then)
    }

    fn grew(&mut self, to: u64, now: Instant) {
        if to > self.sure() {
            self.grown = Some(now);
        }
        if to <= self.due || self.coming.back().is_some_and(|(last, _)| to <= *last) {
            return;
        }
        let full = self.coming.len() >= STEPS;
        match self.coming.back_mut().filter(|_| full) {
            Some((last, _)) => *last = to,
            None => self.coming.push_back((to, now + GRACE)),
        }
    }

    /// Up to which seq everything may be asked for now.
    pub(super) fn due(&mut self, now: Instant) -> u64 {
        while let Some((to, _)) = self.coming.front().filter(|(_, when)| *when <= now) {
            self.due = *to;
            self.coming.pop_front();
        }
        self.due
    }

    /// Whether a hint of that age may be acted on.
    pub(super) fn is_settled(hinted: Instant, now: Instant) -> bool {
        hinted + GRACE <= now
    }

    pub(super) fn say(&mut self, floor: u64, head: u64, now: Instant) {
        self.said = Some((floor, head, now));
    }

    /// What of a range its origin said lately that it has.
    pub(super) fn said(&self, span: Span, now: Instant) -> Option<Span> {
        let (floor, head, _) = self.said.filter(|(.., when)| *when + SAID > now)?;
        Span::new(floor, head)?.meet(span)
    }

    /// Below which seq its origin has dropped everything, as far as it said.
    pub(super) fn origins_floor(&self) -> u64 {
        self.said.map_or(1, |(floor, ..)| floor)
    }

    /// Whether something of it will be wanted later without anything happening.
    pub(super) fn waits(&self) -> bool {
        !self.early.is_empty()
    }

    pub(super) fn set_aside(&mut self, span: Span, until: Instant) {
        if self.early.len() >= MOST_EARLY {
            self.early.remove(0);
        }
        self.early.push((span, until));
    }

    /// The store takes nothing like this for a while: nothing at all of a log that it does not know, nor anything that lies
    /// above what it has passed, or else just this.
    pub(super) fn crowded(&mut self, span: Span, now: Instant) {
        let from = if self.own.head == 0 { 1 } else { span.from };
        let to = if span.from > self.own.head { u64::MAX - 1 } else { span.to };
        self.set_aside(Span { from, to }, now + CROWDED * 2_u32.pow(self.crowded));
        self.crowded = (self.crowded + 1).min(CROWDED_LEVELS);
    }

    /// What is missing up to `top`, with what must not be asked for left out.
    pub(super) fn missing(&mut self, top: u64, now: Instant) -> Spans {
        self.early.retain(|(_, until)| *until > now);
        let top = self.own.forked.map_or(top, |end| top.min(end - 1));
        let Some(all) = Span::new(self.own.floor.max(self.raised).max(1), top) else {
            return Spans::default();
        };
        let mut missing = self.own.missing.within(all);
        if let Some(tail) = Span::new(all.from.max(self.own.held.saturating_add(1)), top) {
            missing.add(tail);
        }
        self.early.iter().for_each(|(span, _)| missing.remove(*span));
        missing
    }

    /// What readers wait for below the floor, and is not under way: of each range the end at which it is read, upwards and
    /// downwards; about as much as one request brings, for the reader says itself when it wants more.
    fn dropped(&self) -> (Spans, Spans) {
        let (mut up, mut down) = (Spans::default(), Spans::default());
        let most = (LENT / self.per_seq.max(1)).max(1);
        let below = Span::new(1, self.own.floor.max(self.raised).saturating_sub(1));
        let readers =
            self.readers.iter().filter_map(|(owed, downwards)| Some((below?.meet(*owed)?, *downwards)));
        for (owed, downwards) in readers {
            if downwards {
                // No more than an answer can hold, for that begins with the lowest.
                down.add(Span { from: owed.from.max((owed.to + 1).saturating_sub(most)), to: owed.to });
                continue;
            }
            let to = owed.to.min(owed.from.saturating_add(most - 1));
            // Widened to a whole window, or else its end might lie within a batch; no batch lies on both sides of a floor.
            let to = to.max(owed.from.saturating_add(WINDOW - 1)).min(below.map_or(to, |below| below.to));
            up.add(Span { from: owed.from, to });
        }
        up.remove_all(&self.in_flight);
        down.remove_all(&self.in_flight);
        down.remove_all(&up);
        (up, down)
    }

    /// What is wanted and not under way, up to `top`.
    pub(super) fn wants(&mut self, top: u64, now: Instant) -> Wants {
        let mut missing = self.missing(top, now);
        let (dropped, dropped_down) = self.dropped();
        let mut wants = Wants { dropped, dropped_down, ..Wants::default() };
        for owed in self.owed.iter().filter_map(|owed| owed.meet(Span { from: 1, to: top })) {
            for hole in missing.within(owed).iter() {
                // Widened to a whole window, or else its end might lie within a batch.
                let whole = missing.around(hole.from).map_or(hole.to, |whole| whole.to);
                let to = hole.to.max(hole.from.saturating_add(WINDOW - 1)).min(whole);
                wants.owed.add(Span { from: hole.from, to });
            }
        }
        wants.owed.remove_all(&self.in_flight);
        missing.remove_all(&wants.owed);
        missing.remove_all(&self.in_flight);
        let above = Span::new(self.own.head.saturating_add(1), u64::MAX - 1);
        // Of a log that was never met the newest comes first: it starts there.
        if let Some(above) = above.filter(|_| self.own.head > 0) {
            wants.holes = missing.within(above);
            missing.remove(above);
        }
        wants.backfill = missing;
        wants
    }
}

#[cfg(test)]
mod tests {
    use anode_shared::ids::{LogId, Origin};

    use super::*;

    const KEY: LogKey = LogKey { log: LogId(1), origin: Origin([1; 32]) };

    fn spans(all: &[(u64, u64)]) -> Spans {
        all.iter().map(|(from, to)| Span { from: *from, to: *to }).collect()
    }

    #[test]
    fn it_sorts_what_is_missing_by_urgency() {
        let now = Instant::now();
        let mut log = Log::new(KEY);
        let own = Own {
            head: 5_000,
            held: 6_000,
            floor: 100,
            missing: spans(&[(50, 120), (3_000, 3_999), (5_001, 5_100)]),
            forked: None,
        };
        log.set_own(KEY, own, now);
        log.owed = spans(&[(3_500, 3_510), (5_050, 5_060)]);
        log.in_flight = spans(&[(110, 115)]);
        let wants = log.wants(6_500, now);
        assert_eq!(wants.owed, spans(&[(3_500, 3_755), (5_050, 5_100)]));
        assert_eq!(wants.holes, spans(&[(5_001, 5_049), (6_001, 6_500)]));
        assert_eq!(wants.backfill, spans(&[(100, 109), (116, 120), (3_000, 3_499), (3_756, 3_999)]));
        log.own.forked = Some(5_055);
        assert_eq!(log.wants(6_500, now).holes, spans(&[(5_001, 5_049)]));
        log.raised = 3_800;
        assert_eq!(log.wants(6_500, now).backfill, spans(&[(3_800, 3_999)]));
    }

    #[test]
    fn it_gives_gossip_its_time() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut log = Log::new(KEY);
        log.prove(10, at(0));
        log.prove(20, at(100));
        for (millis, due) in [(0, 0), (149, 0), (150, 10), (249, 10), (250, 20)] {
            assert_eq!(log.due(at(millis)), due, "at {millis}");
        }
        (0..100).for_each(|n| _ = log.prove(100 + n, at(300 + n)));
        assert!(log.coming.len() <= STEPS && log.due(at(700)) == 199);
    }

    #[test]
    fn it_waits_for_what_is_from_the_future() {
        let now = Instant::now();
        let mut log = Log::new(KEY);
        log.set_aside(Span { from: 5, to: 9 }, now + GRACE);
        assert_eq!(log.missing(20, now), spans(&[(1, 4), (10, 20)]));
        assert_eq!(log.missing(20, now + GRACE), spans(&[(1, 20)]));
    }
}
