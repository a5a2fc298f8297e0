//! One connected peer as repair sees it: what it says it holds, what it was asked, how well it answered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anode_shared::ids::LogKey;
use anode_shared::repair::{Digest, MAX_MISSING, Summary};

use super::brought::MOST_OF_ONE;
use super::log::Log;
use crate::gossip::spans::{Span, Spans};

/// How old a hint must be before a peer is asked for what it did not have: it may have got it since.
const STALE: Duration = Duration::from_secs(2);
/// How long a peer is not asked for what it claimed and did not give, the first time; then twice as long, up to 64 s.
const DENIED: Duration = Duration::from_secs(2);
/// How often the two times above double at most.
const LEVELS: u32 = 5;
/// How long a new peer may take to tell what it holds.
const SAYS: Duration = Duration::from_secs(5);
/// The first rest of a peer that answered wrong or not at all; it doubles with each fault in a row, up to 6.4 s.
const REST: Duration = Duration::from_millis(100);
/// How many faults in a row count.
const FAULTS: u32 = 6;
/// After how many faults in a row nobody waits for a peer: each is a whole request, so a lossy link hardly comes to it.
const DISBELIEVED: u32 = 4;
/// After how many requests in a row that brought nothing of what it says it has a peer is of no use, and over which time at
/// least: one that is overloaded gives something now and then, and one that stands still answers no comparison either.
const USELESS: (u32, Duration) = (8, Duration::from_secs(60));
/// The most logs of a peer that are remembered; of more, the newest.
pub(super) const MOST_HINTS: usize = MOST_OF_ONE;

/// What a peer says it holds of a log.
#[derive(Debug, Clone)]
pub(super) struct Hint {
    part: usize,
    pub(super) head: u64,
    floor: u64,
    missing: Spans,
    /// Where it names its missing ranges as one, for there are many: it may have some of this.
    unsure: Option<Span>,
    pub(super) forked: Option<u64>,
    pub(super) at: Instant,
    /// What it claimed and did not give, until when it is not asked for it, and how often that happened.
    denied: Spans,
    until: Instant,
    level: u32,
    /// Whether it answered without giving it. Who does not answer may be busy.
    lied: bool,
}

impl Hint {
    fn nothing(key: LogKey, now: Instant) -> Self {
        Self {
            part: Digest::bucket(key),
            head: 0,
            floor: 1,
            missing: Spans::default(),
            unsure: None,
            forked: None,
            at: now,
            denied: Spans::default(),
            until: now,
            level: 0,
            lied: false,
        }
    }

    pub(super) fn told(summary: &Summary, now: Instant) -> Self {
        let missing: Spans = summary.missing.iter().map(|(from, to)| Span { from: *from, to: *to }).collect();
        let unsure = missing.iter().next().filter(|_| missing.len() >= MAX_MISSING);
        // Seqs count from 1. What lies behind a fork it holds perhaps, and gives nobody.
        let forked = summary.forked.filter(|end| *end > 0);
        let head = forked.map_or(summary.head, |end| summary.head.min(end - 1));
        Self { head, floor: summary.floor, missing, unsure, forked, ..Self::nothing(summary.log, now) }
    }

    /// What of a range it says it has, but for what it did not give.
    pub(super) fn covers(&self, span: Span, now: Instant) -> Spans {
        let mut covered = self.says(span);
        self.but_denied(&mut covered, now);
        covered
    }

    fn says(&self, span: Span) -> Spans {
        let mut said = Spans::default();
        if let Some(span) = Span::new(self.floor, self.head).and_then(|all| all.meet(span)) {
            said.add(span);
            said.remove_all(&self.missing);
        }
        said
    }

    /// What of a range it may be asked for: what it says it has, and what it cannot say.
    fn may_give(&self, span: Span, now: Instant) -> Spans {
        let mut covered = self.covers(span, now);
        if let Some(unsure) = self.unsure.and_then(|unsure| unsure.meet(span)) {
            covered.add(unsure);
            self.but_denied(&mut covered, now);
        }
        covered
    }

    fn but_denied(&self, covered: &mut Spans, now: Instant) {
        if self.until > now {
            covered.remove_all(&self.denied);
        }
    }

    fn wait(&self, first: Duration) -> Duration {
        first * 2_u32.pow(self.level.min(LEVELS))
    }
}

/// A comparison that is under way.
#[derive(Debug, Clone)]
pub(super) struct Comparing {
    pub(super) id: u64,
    /// What was sent, and from which part on.
    pub(super) digest: Digest,
    pub(super) from: u16,
    /// How many were made before it since the last whole one.
    pub(super) pages: u16,
    pub(super) sent: Instant,
}

/// One connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    hints: BTreeMap<LogKey, Hint>,
    /// What it holds as far as it was told; none before the first comparison.
    pub(super) digest: Option<Digest>,
    /// What its newest beacon said of all that it holds.
    pub(super) said: u64,
    /// The comparison that is under way.
    pub(super) comparing: Option<Comparing>,
    /// Whether one whole comparison was made.
    pub(super) compared: bool,
    compared_at: Instant,
    since: Instant,
    /// Requests that are under way.
    pub(super) requests: usize,
    pub(super) bytes: u64,
    pub(super) faults: u32,
    /// How many requests in a row brought nothing of what it says it has, and since when.
    barren: (u32, Instant),
    rests: Instant,
    pub(super) slow: bool,
}

impl Peer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            hints: BTreeMap::new(),
            digest: None,
            said: 0,
            comparing: None,
            compared: false,
            compared_at: now,
            since: now,
            requests: 0,
            bytes: 0,
            faults: 0,
            barren: (0, now),
            rests: now,
            slow: false,
        }
    }

    /// Whether it is so new that it may not have told yet what it holds.
    pub(super) fn may_yet_say(&self, now: Instant) -> bool {
        !self.compared && self.since + SAYS > now
    }

    /// Of how many logs it is remembered what it says.
    #[cfg(test)]
    pub(super) fn hints(&self) -> usize {
        self.hints.len()
    }

    pub(super) fn hint(&self, key: LogKey) -> Option<&Hint> {
        self.hints.get(&key)
    }

    /// What it holds of one log, as it said just now. What it gave wrongly before is not forgotten.
    pub(super) fn set_hint(&mut self, key: LogKey, mut hint: Hint) {
        if let Some(known) = self.hints.get(&key) {
            hint.denied = known.denied.clone();
            (hint.until, hint.level, hint.lied) = (known.until, known.level, known.lied);
        } else if self.hints.len() >= MOST_HINTS {
            // The oldest log is the least likely to be wanted.
            match self.hints.first_key_value() {
                Some((oldest, _)) if *oldest < key => _ = self.hints.pop_first(),
                _ => return,
            }
        }
        self.hints.insert(key, hint);
    }

    /// It does not hold the log, as it said just now.
    pub(super) fn has_none(&mut self, key: LogKey, now: Instant) {
        self.set_hint(key, Hint::nothing(key, now));
    }

    /// Forgets what it said of the logs in some parts, but for those in `told`.
    pub(super) fn retell(&mut self, parts: &[bool], told: &BTreeMap<LogKey, &Summary>) {
        self.hints.retain(|key, hint| !parts[hint.part] || told.contains_key(key));
    }

    /// What it said of a part is known no more: it will be told again.
    pub(super) fn doubt(&mut self, part: usize) {
        if let Some(digest) = &mut self.digest {
            digest.set(part, !digest.part(part));
        }
    }

    pub(super) fn compared(&mut self, whole: bool, now: Instant) {
        if whole {
            self.compared = true;
            self.compared_at = now;
        }
    }

    /// It did not give what it should, though it answered where it `lied`: it is not asked for that again for a while.
    pub(super) fn deny(&mut self, key: LogKey, span: Span, lied: bool, now: Instant) {
        if !self.hints.contains_key(&key) {
            self.has_none(key, now);
        }
        let Some(hint) = self.hints.get_mut(&key) else { return };
        if hint.until <= now {
            (hint.denied, hint.lied) = (Spans::default(), false);
        }
        hint.lied |= lied;
        hint.denied.add(span);
        hint.until = now + hint.wait(DENIED);
        hint.level = (hint.level + 1).min(LEVELS);
    }

    /// It gave something of a log.
    pub(super) fn gave(&mut self, key: LogKey) {
        self.faults /= 2;
        self.barren.0 = 0;
        if let Some(hint) = self.hints.get_mut(&key) {
            hint.level = 0;
        }
    }

    pub(super) fn fault(&mut self, now: Instant) {
        self.faults = (self.faults + 1).min(FAULTS);
        self.rests = now + REST * 2_u32.pow(self.faults);
    }

    /// It gave nothing of a range. Says yes where it says that it has some, and has given nothing again and again, though it
    /// goes on to say what it holds.
    pub(super) fn is_useless(&mut self, claimed: &Spans, now: Instant) -> bool {
        if claimed.is_empty() {
            return false;
        }
        let (times, since) = self.barren;
        self.barren = if times == 0 { (1, now) } else { (times + 1, since) };
        let (times, since) = self.barren;
        let useless = times >= USELESS.0 && since + USELESS.1 <= now && self.compared_at > since;
        if useless {
            self.barren.0 = 0;
        }
        useless
    }

    /// Whether readers should wait for what it says it has: not after so many faults in a row.
    pub(super) fn is_believed(&self) -> bool {
        self.faults < DISBELIEVED
    }

    pub(super) fn rests(&self, now: Instant) -> bool {
        self.rests > now
    }

    /// What of a range it may be asked for. Above `due` only what it was known to have a while ago.
    pub(super) fn covers(&self, key: LogKey, span: Span, due: u64, now: Instant) -> Spans {
        let Some(hint) = self.hints.get(&key) else { return Spans::default() };
        let gate = if Log::is_settled(hint.at, now) { span.to } else { span.to.min(due) };
        Span::new(span.from, gate).map(|span| hint.may_give(span, now)).unwrap_or_default()
    }

    /// What of a range it said it has.
    pub(super) fn claims(&self, key: LogKey, span: Span, now: Instant) -> Spans {
        self.hints.get(&key).map(|hint| hint.covers(span, now)).unwrap_or_default()
    }

    /// What of a range it may have: what it says, and what its log has grown by since it spoke, of which it could not. Not what
    /// it answered without giving it.
    pub(super) fn may_have(&self, key: LogKey, span: Span, log: Option<&Log>, now: Instant) -> Spans {
        let hint = self.hints.get(&key);
        let mut all = hint.map(|hint| hint.says(span)).unwrap_or_default();
        let (head, spoke) =
            hint.map_or((0, self.compared_at), |hint| (hint.head, hint.at.max(self.compared_at)));
        if log.is_none_or(|log| !log.was_known(span, spoke)) {
            Span::new(span.from.max(head + 1), span.to).into_iter().for_each(|newer| all.add(newer));
        }
        hint.filter(|hint| hint.lied).inspect(|hint| hint.but_denied(&mut all, now));
        all
    }

    /// Whether what it said of a log is so old that it may have more by now.
    pub(super) fn is_stale(&self, key: LogKey, now: Instant) -> bool {
        match self.hints.get(&key) {
            Some(hint) => hint.at + hint.wait(STALE) <= now && hint.until <= now,
            None => self.compared && self.compared_at + STALE <= now,
        }
    }
}
