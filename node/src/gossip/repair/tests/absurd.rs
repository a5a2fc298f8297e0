//! The planner among peers and origins that say absurd things, as far as the wire lets them pass: nothing ends it, and its
//! bounds hold.

use anode_shared::beacon::OwnHead;
use anode_shared::ids::Hash;
use anode_shared::repair::{Answer, Ask, Question, Summaries};
use ed25519_dalek::SigningKey;

use super::super::*;
use crate::gossip::spans::{Span, Spans};

/// Numbers at which sums and ranges break.
const EDGES: [u64; 18] = [
    0,
    1,
    2,
    254,
    255,
    256,
    257,
    65_536,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 513,
    u64::MAX - 257,
    u64::MAX - 256,
    u64::MAX - 255,
    u64::MAX - 2,
    u64::MAX - 1,
    u64::MAX,
];
/// The latest time that the wire lets pass.
const LATEST: Micros = anode_shared::time::MAX;
const PEERS: u64 = 6;
const LOGS: u64 = 4;

struct Absurd {
    repair: Repair,
    dice: Dice,
    now: Instant,
    keys: Vec<SigningKey>,
    compares: Vec<u64>,
    fetches: Vec<(u64, LogKey, Span)>,
}

impl Absurd {
    fn new(seed: u64) -> Self {
        let keys: Vec<SigningKey> =
            (0..=PEERS).map(|n| SigningKey::from_bytes(&[1 + u8::try_from(n).unwrap(); 32])).collect();
        let me = Origin(keys[0].verifying_key().to_bytes());
        let repair = Repair::new(me, 64 << 20, seed);
        Self {
            repair,
            dice: Dice::new(seed),
            now: Instant::now(),
            keys,
            compares: Vec::new(),
            fetches: Vec::new(),
        }
    }

    fn edge(&mut self) -> u64 {
        let edge = self.dice.pick(&EDGES).copied().unwrap();
        match self.dice.below(4) {
            0 => edge.wrapping_add(self.dice.below(4)),
            1 => edge.wrapping_sub(self.dice.below(4)),
            _ => edge,
        }
    }

    fn spans(&mut self, floor: u64, head: u64) -> Spans {
        let mut spans = Spans::default();
        for _ in 0..self.dice.below(6) {
            let (one, other) = (self.edge(), self.edge());
            let inside = Span::new(floor, head).and_then(|all| all.meet(Span::new(one, other)?));
            inside.into_iter().for_each(|span| spans.add(span));
        }
        spans
    }

    fn origin(&mut self) -> Origin {
        let at = self.dice.below(PEERS + 1);
        Origin(self.keys[usize::try_from(at).unwrap()].verifying_key().to_bytes())
    }

    fn key(&mut self) -> LogKey {
        let log = self.dice.below(LOGS);
        LogKey {
            log: LogId([0, 5 << 32, 6 << 32, u64::MAX][usize::try_from(log).unwrap()]),
            origin: self.origin(),
        }
    }

    fn summary(&mut self) -> Summary {
        let (log, head, floor) = (self.key(), self.edge(), self.edge());
        let missing = self.spans(floor, head).iter().map(|span| (span.from, span.to)).collect();
        let forked = (self.dice.below(5) == 0).then(|| self.edge());
        let mut summary = Summary { log, head, floor, missing, forked, proof: None };
        summary.shorten();
        summary
    }

    /// What a peer answers to a comparison, as far as it is read.
    fn told(&mut self) -> Option<Summaries> {
        let logs: Vec<Summary> = (0..self.dice.below(6)).map(|_| self.summary()).collect();
        let part = |dice: &mut Dice| u16::try_from(dice.below(256)).unwrap();
        let mut parts: Vec<(u16, u64)> =
            logs.iter().map(|told| (u16::try_from(Digest::bucket(told.log)).unwrap(), 1)).collect();
        parts.push((part(&mut self.dice), self.edge()));
        let next = (self.dice.below(3) == 0).then(|| part(&mut self.dice));
        match Answer::decode(&Answer::Summaries(Summaries { parts, logs, next }).encode()) {
            Ok(Answer::Summaries(summaries)) => Some(summaries),
            _ => None,
        }
    }

    fn beacon(&mut self) -> Option<Beacon> {
        let at = usize::try_from(self.dice.below(PEERS + 1)).unwrap();
        let mut head = || {
            let log = self.key().log;
            OwnHead { log, head: self.edge(), hash: Hash::default(), floor: self.edge() }
        };
        let heads = (0..4).map(|_| head()).collect();
        let key = self.keys[at].clone();
        let origin = Origin(key.verifying_key().to_bytes());
        let beacon = Beacon { sequence: 1, heads, ..crate::gossip::presence::tests::plain(origin) };
        Beacon::open(&beacon.sign(&key)).ok()
    }

    /// What a store can hold.
    fn own(&mut self) -> Own {
        let head = self.edge().min(u64::MAX - 1);
        let held = self.edge().clamp(head, u64::MAX - 1);
        let floor = self.edge().clamp(1, head.saturating_add(1));
        let missing = self.spans(floor, held);
        Own { head, held, floor, missing, forked: (self.dice.below(6) == 0).then(|| self.edge().max(1)) }
    }

    /// A batch as its origin may sign it.
    fn piece(&mut self, near: Span) -> Piece {
        let count = 1 + self.edge() % 256;
        let first = match self.dice.below(3) {
            0 => near.from,
            1 => near.to.saturating_sub(count - 1),
            _ => self.edge(),
        };
        let first = first.clamp(1, u64::MAX - count);
        let after = Duration::from_micros(self.edge().min(LATEST));
        let outcome = match self.dice.below(9) {
            0 => Outcome::Old,
            1 => Outcome::Early(after),
            2 => Outcome::Unable,
            3 => Outcome::Wrong,
            4 => Outcome::Crowded,
            _ => Outcome::Stored,
        };
        let time = self.edge().min(LATEST);
        Piece {
            span: Span { from: first, to: first + count - 1 },
            bytes: 1 + self.edge() % (256 << 10),
            time,
            outcome,
        }
    }

    fn step(&mut self) {
        match self.dice.below(12) {
            0 => self.origin_event(Event::Connected),
            1 if self.dice.below(6) == 0 => self.origin_event(Event::Closed),
            2 => {
                if let Some(beacon) = self.beacon() {
                    self.handle(Event::Beacon(&beacon));
                }
            }
            3 => {
                let (key, own) = (self.key(), self.own());
                self.handle(Event::Own(key, own));
            }
            4 => {
                let mut owed = Vec::new();
                for _ in 0..self.dice.below(4) {
                    let key = self.key();
                    let newest_first = self.dice.below(2) == 0;
                    let spans = self.spans(1, u64::MAX - 1);
                    owed.extend(spans.iter().map(|span| Owed { log: key, span, newest_first }));
                }
                self.handle(Event::Owed(owed));
            }
            5 | 6 => self.answer_comparison(),
            7 | 8 => self.answer_request(),
            9 if self.dice.below(10) == 0 => {
                let (origin, mark) = (self.origin(), self.key().log);
                self.handle(Event::Forgotten(origin, mark));
            }
            10 => {
                let horizon = self.edge().min(LATEST);
                self.handle(Event::Retention(horizon));
            }
            _ => {
                self.now += Duration::from_millis(
                    [1, 50, 200, 3_000, 70_000][usize::try_from(self.dice.below(5)).unwrap()],
                );
                self.handle(Event::Tick);
            }
        }
    }

    fn origin_event(&mut self, event: fn(Origin) -> Event<'static>) {
        let origin = self.origin();
        self.handle(event(origin));
    }

    fn answer_comparison(&mut self) {
        let Some(id) = self.dice.pick(&self.compares).copied() else { return };
        let Some(answer) = self.told() else { return };
        let proven: Vec<(LogKey, u64)> =
            (0..self.dice.below(3)).map(|_| (self.key(), self.edge().clamp(1, u64::MAX - 1))).collect();
        self.handle(Event::Compared { id, answer: &answer, proven: &proven });
    }

    fn answer_request(&mut self) {
        let Some((id, key, span)) = self.dice.pick(&self.fetches).copied() else { return };
        match self.dice.below(6) {
            0 => self.handle(Event::Failed(id)),
            1 => self.handle(Event::Arrived(id)),
            _ => {}
        }
        let mut summary = self.summary();
        if self.dice.below(4) > 0 {
            summary.log = key;
        }
        let frame = anode_shared::repair::encode_batches::<&[u8]>(Some(&summary), false, &[]);
        let held = Answer::decode(&frame).is_ok().then_some(&summary);
        let pieces: Vec<Piece> = (0..self.dice.below(5)).map(|_| self.piece(span)).collect();
        let more = self.dice.below(2) == 0;
        self.handle(Event::Answered { id, held, more, pieces: &pieces });
    }

    fn handle(&mut self, event: Event<'_>) {
        for effect in self.repair.handle(event, self.now) {
            match effect {
                Effect::Compare { id, digest, from, proofs, .. } => {
                    let question = Question::Compare { digest, from, proofs };
                    assert_eq!(Question::decode(&question.encode()), Ok(question), "the wire takes it");
                    self.compares.push(id);
                }
                Effect::Fetch { id, log, span, most, .. } => {
                    let question = Question::Range(Ask { log, from: span.from, to: span.to, most });
                    assert_eq!(Question::decode(&question.encode()), Ok(question), "the wire takes it");
                    self.fetches.push((id, log, span));
                }
                Effect::RaiseFloor(_, floor) => assert!(floor > 0),
                _ => {}
            }
        }
        let excess = self.fetches.len().saturating_sub(40);
        self.fetches.drain(..excess);
        let excess = self.compares.len().saturating_sub(12);
        self.compares.drain(..excess);
        self.check();
    }

    fn check(&self) {
        let repair = &self.repair;
        let under_way: u64 = repair.flights.values().map(|flight| flight.bytes).sum();
        assert_eq!(under_way, repair.bytes);
        assert!(repair.bytes <= plan::IN_ALL + plan::ANSWER);
        for (origin, peer) in &repair.peers {
            let of = || repair.flights.values().filter(|flight| flight.peer == *origin);
            assert_eq!((of().count(), of().map(|flight| flight.bytes).sum()), (peer.requests, peer.bytes));
            assert!(peer.requests <= plan::REQUESTS && peer.hints() <= peer::MOST_HINTS);
        }
        let held = repair.logs.values().filter(|log| log.bringer.is_none()).count();
        assert_eq!(repair.logs.len(), held + repair.brought.len());
        assert!(repair.logs.len() <= usize::try_from(LOGS * (PEERS + 1)).unwrap());
        let mut digest = Digest::default();
        for (key, log) in repair.logs.iter().filter(|(_, log)| log.is_told()) {
            digest.toggle(log.bucket, log.own.summary(*key).fingerprint());
        }
        assert_eq!(&digest, repair.digest(), "what it tells of itself is what it holds");
    }

    fn look(&mut self) {
        let (key, one, other) = (self.key(), self.edge(), self.edge());
        if let Some(span) = Span::new(one.max(1), other.min(u64::MAX - 1)) {
            let ends = self.repair.ends_of(key, span, self.now);
            assert!(
                ends.is_none_or(|ends| span.from <= ends.from && ends.to <= span.to),
                "{ends:?} of {span:?}"
            );
        }
        self.repair.awaits(key, self.now);
        self.repair.origins_floor(key);
        self.repair.progress(self.now);
        let from = u16::try_from(self.dice.below(256)).unwrap();
        let answer = Answer::Summaries(self.repair.summaries(&Digest::default(), from));
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer), "peers take what is told");
    }
}

/// The seed of a random test: `ANODE_SEED`, else one of its own; printed, so that a failure can be run again.
#[expect(clippy::print_stderr, reason = "a failure is run again from its seed")]
fn seed() -> u64 {
    let given = std::env::var("ANODE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    eprintln!("ANODE_SEED={seed}");
    seed
}

#[test]
fn it_bears_whatever_the_wire_lets_pass() {
    let seed = seed();
    for story in 0..40 {
        let mut absurd = Absurd::new(seed.wrapping_add(story));
        for _ in 0..500 {
            absurd.step();
            absurd.look();
        }
        // All that is under way ends.
        absurd.now += Duration::from_secs(70);
        let peers: Vec<Origin> = absurd.repair.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| absurd.handle(Event::Closed(peer)));
        assert_eq!((absurd.repair.bytes, absurd.repair.flights.len()), (0, 0), "story {story}");
    }
}
