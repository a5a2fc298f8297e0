//! How peers behave: who breaks the rules again and again is cut off for a while.
//!
//! Honest nodes pass nothing on that they could not take themselves, ask again more slowly where they are refused, and speak
//! every few seconds. So each offence is a node's own, and loss, load and disorder look like none of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anode_shared::ids::Origin;
use anode_shared::repair::Question;

use super::rates::Rates;

/// How much a peer may have on its account before it is cut off: three messages that nobody could take, as in gossipsub's scores.
const LIMIT: f64 = 1_000.0;
/// Over which time half of it is forgiven.
const HALF_LIFE: Duration = Duration::from_secs(60);
/// How long a peer stays cut off: long enough that what it costs to cut it off again is nothing, short enough for a mistake.
const CUT: Duration = Duration::from_secs(600);
/// How many peers with an account are remembered; of more, those with the least on it are forgotten.
const MOST: usize = 4_096;
/// Bytes of beacons that are taken of one sender a second, its own and those that it passes on: 125 of the longest but for a
/// few, more than the largest mesh says.
const BEACONS_OF_SENDER: u64 = 2 << 20;
/// Bytes of beacons that are taken of one origin a second: some twenty. An honest one speaks every two seconds, and twice to
/// each new link.
pub const BEACONS_OF_ORIGIN: u64 = 64 << 10;
/// As how many bytes a beacon counts at least, by its sender: a signature must be checked, however short the rest is.
const LEAST_BEACON: u64 = 2 << 10;
/// What one peer may ask a second beside ranges, in [`Price::work`]: an honest one compares once a second, page by page at first.
const QUESTIONS: u64 = 64;
/// How many logs one peer is told of a second, and as many as in a quarter of a minute at once: all of them when it comes, and then
/// what changes. An answer with thousands costs milliseconds, and its question nothing.
const TOLD: (u64, Duration) = (4_096, Duration::from_secs(16));
/// The same for logs whose heads are proved: for each of them a batch may have to be read from storage. Who has used it up is told
/// the others without proof, and hears them proved by beacons.
const PROVED: (u64, Duration) = (128, Duration::from_secs(64));
/// How many answers are put together or under way for one peer: an honest one asks for two ranges at once and compares beside.
const OPEN: usize = 6;
/// The same for all peers: each may hold 2 MiB until its asker has read it.
const OPEN_IN_ALL: usize = 48;
/// How many more there may be of peers that have none else: so some who read nothing do not keep the others from being answered.
const OPEN_OF_OTHERS: usize = 32;
/// How many questions of one peer may wait for records to be held: each is a publisher's there.
const WAITING: usize = 128;

/// What a peer did that none should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// It sent by gossip what nobody could take.
    Message,
    /// It answered with what was not asked for, or with what nobody could take.
    Answer,
    /// It asked what cannot be understood.
    Question,
    /// It spoke far more often than nodes do.
    Chatter,
    /// It asked on and on though it was refused.
    Pressing,
    /// It said again and again that it has what it never gave.
    Useless,
}

impl Offence {
    fn weight(self) -> f64 {
        match self {
            // Three.
            Self::Message | Self::Question => 350.0,
            // Two: it was asked for it, and nothing was lost on the way.
            Self::Answer => 500.0,
            // Two hundred.
            Self::Chatter => 5.0,
            // A thousand: an honest asker rests after each refusal, up to six seconds.
            Self::Pressing => 1.0,
            // One: it was asked for long, and for what it says itself.
            Self::Useless => LIMIT,
        }
    }

    /// In words, after "it".
    pub fn words(self) -> &'static str {
        match self {
            Self::Message => "sent batches or beacons that are none",
            Self::Answer => "answered with what was not asked for or is not valid",
            Self::Question => "asked what cannot be understood",
            Self::Chatter => "spoke far too often",
            Self::Pressing => "asked far too much",
            Self::Useless => "never gave what it said it has",
        }
    }
}

/// What a question keeps busy until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Storage and memory.
    Reads,
    /// A place in a queue.
    Waits,
}

/// What a question costs beside the bytes of its answer, which the asker must take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Price {
    /// How much there is to do: comparing goes through all parts, and a proof may have to be read.
    work: u64,
    /// Whether logs are told of, as many as [`Conduct::tells`] allows.
    tells: bool,
}

impl Price {
    fn of(question: &Question) -> Self {
        match question {
            Question::Compare { proofs, .. } => Self { work: if *proofs { 4 } else { 1 }, tells: true },
            Question::Sources(_) => Self { work: 1, tells: false },
            // Of forks there may be many at once, by no fault of who tells of them.
            Question::Range(_) | Question::Fork(_) | Question::Forked(_) | Question::Holds(_) => {
                Self { work: 0, tells: false }
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Account {
    points: f64,
    at: Instant,
    cut: Option<Instant>,
}

impl Account {
    fn points(&self, now: Instant) -> f64 {
        let halves = now.saturating_duration_since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.points * 0.5_f64.powf(halves)
    }

    fn is_cut(&self, now: Instant) -> bool {
        self.cut.is_some_and(|until| until > now)
    }
}

/// The accounts of all peers, and what is open for each.
#[derive(Debug)]
pub struct Conduct {
    accounts: BTreeMap<Origin, Account>,
    senders: Rates,
    origins: Rates,
    questions: Rates,
    told: Rates,
    proved: Rates,
    open: BTreeMap<Origin, (usize, usize)>,
    reading: usize,
}

impl Default for Conduct {
    fn default() -> Self {
        Self {
            accounts: BTreeMap::new(),
            senders: Rates::new(BEACONS_OF_SENDER),
            origins: Rates::new(BEACONS_OF_ORIGIN),
            questions: Rates::new(QUESTIONS),
            told: Rates::bursting(TOLD.0, TOLD.1),
            proved: Rates::bursting(PROVED.0, PROVED.1),
            open: BTreeMap::new(),
            reading: 0,
        }
    }
}

impl Conduct {
    /// Notes an offence. Says yes where the peer is to be cut off now.
    pub fn offend(&mut self, peer: Origin, offence: Offence, now: Instant) -> bool {
        let fresh = Account { points: 0.0, at: now, cut: None };
        if self.accounts.len() >= MOST && !self.accounts.contains_key(&peer) {
            self.forget(now);
        }
        let account = self.accounts.entry(peer).or_insert(fresh);
        let points = account.points(now) + offence.weight();
        *account = Account { points, at: now, ..*account };
        if points < LIMIT || account.is_cut(now) {
            return false;
        }
        *account = Account { points: 0.0, at: now, cut: Some(now + CUT) };
        true
    }

    /// Whether a peer is cut off.
    pub fn is_cut(&self, peer: Origin, now: Instant) -> bool {
        self.accounts.get(&peer).is_some_and(|account| account.is_cut(now))
    }

    /// How many peers are cut off.
    pub fn cut(&self, now: Instant) -> usize {
        self.accounts.values().filter(|account| account.is_cut(now)).count()
    }

    /// Whether a beacon of so many bytes is looked at, by its sender: who made it is not known before its signature is checked.
    pub fn hears_sender(&mut self, sender: Origin, bytes: usize, now: Instant) -> bool {
        self.senders.take(sender, (bytes as u64).max(LEAST_BEACON), now)
    }

    /// Whether a beacon of so many bytes counts, by its origin.
    pub fn hears_origin(&mut self, origin: Origin, bytes: usize, now: Instant) -> bool {
        self.origins.take(origin, bytes as u64, now)
    }

    /// Whether a question is looked at, by what it costs.
    pub fn takes(&mut self, peer: Origin, question: &Question, now: Instant) -> bool {
        let Price { work, tells } = Price::of(question);
        (work == 0 || self.questions.take(peer, work, now)) && (!tells || self.told.open(peer, now))
    }

    /// A peer is told of so many logs. Says whether with proofs, where it wants them.
    pub fn tells(&mut self, peer: Origin, logs: usize, proofs: bool, now: Instant) -> bool {
        let logs = logs as u64;
        self.told.take(peer, logs + 1, now);
        proofs && self.proved.take(peer, logs, now)
    }

    /// Opens a question of a peer; says no where it has too many open, or all together have.
    pub fn open(&mut self, peer: Origin, kind: Kind) -> bool {
        let (mut reads, mut waits) = self.open.get(&peer).copied().unwrap_or_default();
        let most = if reads == 0 { OPEN_IN_ALL + OPEN_OF_OTHERS } else { OPEN_IN_ALL };
        match kind {
            Kind::Reads if reads < OPEN && self.reading < most => {
                reads += 1;
                self.reading += 1;
            }
            Kind::Waits if waits < WAITING => waits += 1,
            Kind::Reads | Kind::Waits => return false,
        }
        self.open.insert(peer, (reads, waits));
        true
    }

    /// A question that was opened has left, one way or the other.
    pub fn close(&mut self, peer: Origin, kind: Kind) {
        let Some((reads, waits)) = self.open.get_mut(&peer) else { return };
        match kind {
            Kind::Reads => {
                *reads = reads.saturating_sub(1);
                self.reading = self.reading.saturating_sub(1);
            }
            Kind::Waits => *waits = waits.saturating_sub(1),
        }
        if (*reads, *waits) == (0, 0) {
            self.open.remove(&peer);
        }
    }

    /// Forgets whoever has the least on its account, those that are cut off last.
    fn forget(&mut self, now: Instant) {
        let least = |account: &Account| (account.is_cut(now), account.points(now));
        let goes = self.accounts.iter().min_by(|(_, one), (_, other)| {
            let (one, other) = (least(one), least(other));
            one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
        });
        let goes = goes.map(|(peer, _)| *peer);
        goes.map(|peer| self.accounts.remove(&peer));
    }
}

#[cfg(test)]
mod tests {
    use anode_shared::ids::{LogId, LogKey};
    use anode_shared::repair::{Ask, Digest, SourcesAsk};

    use super::*;

    fn compare(proofs: bool) -> Question {
        Question::Compare { digest: Digest::default(), from: 0, proofs }
    }

    fn who(n: usize) -> Origin {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Origin(bytes)
    }

    #[test]
    fn it_cuts_off_who_offends_again_and_again() {
        let start = Instant::now();
        for (offence, every, needed) in [
            (Offence::Message, 1_000, Some(3)),
            (Offence::Answer, 0, Some(2)),
            (Offence::Question, 0, Some(3)),
            (Offence::Useless, 60_000, Some(1)),
            // Half is forgiven each minute.
            (Offence::Message, 60_000, None),
            (Offence::Chatter, 1, Some(201)),
            (Offence::Pressing, 1, Some(1_012)),
            // As an honest asker presses at its worst.
            (Offence::Pressing, 200, None),
        ] {
            let mut conduct = Conduct::default();
            let at = |n: u64| start + Duration::from_millis(n * every);
            let cut = (0..5_000).find(|n| conduct.offend(who(1), offence, at(*n)));
            let near = |cut: u64, needed: u64| (cut + 1).abs_diff(needed) <= needed / 50;
            assert!(
                cut.zip(needed).map_or(cut.is_none() && needed.is_none(), |(cut, needed)| near(cut, needed)),
                "{offence:?} every {every} ms: {cut:?}, not {needed:?}"
            );
        }
    }

    #[test]
    fn it_keeps_out_who_was_cut_off_for_a_while_and_nobody_else() {
        let start = Instant::now();
        let mut conduct = Conduct::default();
        let cuts = (0..10).filter(|_| conduct.offend(who(1), Offence::Message, start)).count();
        assert_eq!((cuts, conduct.cut(start)), (1, 1), "it is cut off once");
        assert!(!conduct.offend(who(2), Offence::Message, start));
        for (peer, after, cut) in [(1, 0, true), (1, 599, true), (1, 600, false), (2, 0, false)] {
            assert_eq!(conduct.is_cut(who(peer), start + Duration::from_secs(after)), cut, "{peer}: {after}");
        }
    }

    #[test]
    fn it_remembers_who_is_cut_off_among_many() {
        let now = Instant::now();
        let mut conduct = Conduct::default();
        (0..3).for_each(|_| _ = conduct.offend(who(0), Offence::Message, now));
        (1..3 * MOST).for_each(|n| _ = conduct.offend(who(n), Offence::Message, now));
        assert!(conduct.accounts.len() <= MOST && conduct.is_cut(who(0), now));
    }

    #[test]
    fn it_bounds_what_is_open_of_one_peer_and_of_all() {
        let mut conduct = Conduct::default();
        let opened =
            |conduct: &mut Conduct, peer, kind| (0..1_000).filter(|_| conduct.open(who(peer), kind)).count();
        assert_eq!(opened(&mut conduct, 1, Kind::Reads), OPEN);
        assert_eq!(opened(&mut conduct, 1, Kind::Waits), WAITING);
        assert_eq!(opened(&mut conduct, 2, Kind::Reads), OPEN, "another peer has its own");
        let greedy = OPEN_IN_ALL / OPEN;
        let all: usize = (3..=greedy).map(|peer| opened(&mut conduct, peer, Kind::Reads)).sum();
        assert_eq!(all, OPEN_IN_ALL - 2 * OPEN, "a few have all that there is");
        let others = (0..1_000).map(|peer| opened(&mut conduct, 1_000 + peer, Kind::Reads));
        let others: Vec<usize> = others.filter(|opened| *opened > 0).collect();
        assert_eq!(others, [1; OPEN_OF_OTHERS], "others have one each");
        assert!(conduct.open.len() <= greedy + OPEN_OF_OTHERS, "who is refused is not remembered");
        conduct.close(who(1), Kind::Reads);
        assert_eq!(opened(&mut conduct, 200, Kind::Reads), 1);
        (0..OPEN + WAITING).for_each(|_| conduct.close(who(1), Kind::Waits));
        (0..OPEN).for_each(|_| conduct.close(who(1), Kind::Reads));
        assert!(!conduct.open.contains_key(&who(1)), "who has nothing open is forgotten");
    }

    #[test]
    fn it_bounds_what_each_peer_may_have_it_do() {
        let (start, mut conduct) = (Instant::now(), Conduct::default());
        let at = |millis| start + Duration::from_millis(millis);
        let taken = |conduct: &mut Conduct, peer, question: &Question, millis| {
            (0..10_000).filter(|_| conduct.takes(who(peer), question, at(millis))).count()
        };
        let log = LogKey { log: LogId(1), origin: who(9) };
        let range = Question::Range(Ask { log, from: 1, to: 2, most: 0 });
        let sources = Question::Sources(SourcesAsk { after: None, most: 1, name: None });
        for (peer, question, millis, expected) in [
            (1, &compare(false), 0, 64),
            (1, &sources, 500, 32),
            (2, &compare(true), 0, 16),
            (2, &compare(true), 1_000, 16),
            (1, &range, 500, 10_000),
        ] {
            assert_eq!(
                taken(&mut conduct, peer, question, millis),
                expected,
                "{peer} at {millis}: {question:?}"
            );
        }
        let heard = |conduct: &mut Conduct, bytes| {
            (0..10_000).filter(|_| conduct.hears_sender(who(bytes), bytes, at(0))).count()
        };
        assert_eq!([200, 2 << 10, 16 << 10].map(|bytes| heard(&mut conduct, bytes)), [1_024, 1_024, 128]);
    }

    #[test]
    fn it_tells_a_newcomer_all_and_who_asks_on_and_on_little() {
        let (start, page) = (Instant::now(), 2_048);
        let mut conduct = Conduct::default();
        // What is told is what is bounded here, not how often is asked.
        let mut ask = |peer, logs, millis| {
            let now = start + Duration::from_millis(millis);
            conduct.told.open(who(peer), now).then(|| conduct.tells(who(peer), logs, true, now))
        };
        let answers: Vec<Option<bool>> = (0..40).map(|_| ask(1, page, 0)).collect();
        assert_eq!(answers[..4], [Some(true); 4], "8192 heads are proved");
        assert_eq!(answers[4..32], [Some(false); 28], "and 65536 told of");
        assert!(answers[32..].iter().all(Option::is_none));
        assert_eq!(ask(2, page, 0), Some(true), "another peer has its own");
        assert_eq!(ask(1, page, 1_000), Some(true), "some are proved again");
        assert_eq!(ask(1, page, 2_000), Some(false), "and that was more than its share");
        assert_eq!(ask(1, page, 60_000), Some(true));
        // As honest nodes compare, once a second, of what changed: for ever, and each head proved where they ask for it.
        for second in 0..1_000 {
            assert_eq!(ask(3, 100, 1_000 * second), Some(true), "{second}");
        }
        (0..40).for_each(|_| _ = conduct.tells(who(4), page, false, start));
        assert!(!conduct.takes(who(4), &compare(false), start), "who was told so much may compare no more");
    }
}
