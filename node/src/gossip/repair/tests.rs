//! The planner on a bench: one log, a few peers, and what it asks them.

use anode_shared::beacon::OwnHead;
use anode_shared::ids::Hash;
use anode_shared::repair::Summaries;

use super::*;
use crate::gossip::spans::{Span, Spans};

const LOG: LogKey = LogKey { log: LogId(5 << 32), origin: Origin([200; 32]) };

fn who(n: u8) -> Origin {
    Origin([n; 32])
}

fn span(from: u64, to: u64) -> Span {
    Span { from, to }
}

fn owed(from: u64, to: u64) -> Owed {
    Owed { log: LOG, span: span(from, to), newest_first: false }
}

fn told(head: u64, floor: u64, missing: &[(u64, u64)]) -> Summary {
    Summary { log: LOG, head, floor, missing: missing.to_vec(), forked: None, proof: None }
}

fn holds(head: u64, held: u64, missing: &[(u64, u64)]) -> Own {
    let missing = missing.iter().map(|(from, to)| span(*from, *to)).collect();
    Own { head, held, floor: 1, missing, forked: None }
}

/// A request as the tests look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    id: u64,
    peer: u8,
    span: Span,
}

struct Bench {
    repair: Repair,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { repair: Repair::new(who(0), 64 << 20, 7), now: Instant::now() }
    }

    fn handle(&mut self, event: Event<'_>) -> Vec<Effect> {
        self.repair.handle(event, self.now)
    }

    fn wait(&mut self, millis: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        for _ in 0..millis / 50 {
            self.now += Duration::from_millis(50);
            effects.extend(self.handle(Event::Tick));
        }
        effects
    }

    /// Connects a peer, which tells what it holds.
    fn connect(&mut self, peer: u8, logs: Vec<Summary>) {
        let effects = self.handle(Event::Connected(who(peer)));
        let [Effect::Compare { id, proofs: true, .. }] = effects[..] else { panic!("{effects:?}") };
        self.tell(id, logs, &[]);
    }

    fn tell(&mut self, id: u64, logs: Vec<Summary>, proven: &[(LogKey, u64)]) -> Vec<Effect> {
        let parts = logs.iter().map(|told| (u16::try_from(Digest::bucket(told.log)).unwrap(), 1)).collect();
        let answer = Summaries { parts, logs, next: None };
        self.handle(Event::Compared { id, answer: &answer, proven })
    }

    /// What is asked within some milliseconds.
    fn asks(&mut self, millis: u64) -> Vec<Asked> {
        asked(&self.wait(millis))
    }

    fn answer(
        &mut self,
        asked: Asked,
        held: &Summary,
        pieces: &[(u64, u64)],
        outcome: Outcome,
    ) -> Vec<Effect> {
        let piece =
            |(from, to): &(u64, u64)| Piece { span: span(*from, *to), bytes: 1_000, time: 1_000, outcome };
        let pieces: Vec<Piece> = pieces.iter().map(piece).collect();
        self.handle(Event::Answered { id: asked.id, held: Some(held), more: false, pieces: &pieces })
    }
}

fn asked(effects: &[Effect]) -> Vec<Asked> {
    let fetch = |effect: &Effect| match effect {
        Effect::Fetch { id, peer, span, .. } => Some(Asked { id: *id, peer: peer.0[0], span: *span }),
        _ => None,
    };
    effects.iter().filter_map(fetch).collect()
}

fn spans(asked: &[Asked]) -> Vec<(u64, u64)> {
    asked.iter().map(|asked| (asked.span.from, asked.span.to)).collect()
}

#[test]
fn it_asks_for_owed_ranges_then_holes_then_what_is_old() {
    let mut bench = Bench::new();
    bench.handle(Event::Own(LOG, holds(30_000, 32_000, &[(1, 20_000), (30_001, 30_500)])));
    bench.handle(Event::Owed(vec![owed(5_000, 5_100), owed(700, 800)]));
    bench.now += Duration::from_secs(1);
    (1..=9).for_each(|peer| bench.connect(peer, vec![told(32_000, 1, &[])]));
    let asked = bench.asks(200);
    let owed_and_holes = [(700, 955), (5_000, 5_255), (30_001, 30_500)];
    assert_eq!(spans(&asked)[..3], owed_and_holes);
    let backfill: Vec<(u64, u64)> = spans(&asked)[3..].to_vec();
    assert_eq!(backfill[0].1, 20_000, "the newest of what is old first: {backfill:?}");
    assert!(backfill.windows(2).all(|pair| pair[1].1 < pair[0].0), "downwards: {backfill:?}");
}

/// Readers of what was dropped here, upwards and downwards: each is brought what it reads next, and nothing twice.
#[test]
fn it_fetches_what_was_dropped_once_from_the_end_at_which_it_is_read() {
    let mut bench = Bench::new();
    bench.handle(Event::Own(LOG, Own { floor: 90_001, ..holds(100_000, 100_000, &[]) }));
    (1..=3).for_each(|peer| bench.connect(peer, vec![told(100_000, 1, &[])]));
    let down = |from, to| Owed { newest_first: true, ..owed(from, to) };
    let wishes =
        [owed(1, 100_000), owed(20_001, 90_000), down(1, 90_000), down(1, 90_000), down(50_000, 60_000)];
    let (mut seen, mut first) = (Spans::default(), Vec::new());
    for _ in 0..8 {
        bench.handle(Event::Owed(wishes.to_vec()));
        for asked in bench.asks(50) {
            assert!(seen.within(asked.span).is_empty(), "{asked:?} is under way: {seen:?}");
            seen.add(asked.span);
            first.push((asked.span.from, asked.span.to));
        }
    }
    // A record is thought to take 512 bytes yet.
    first.sort_unstable();
    assert_eq!(first, [(1, 1_024), (20_001, 21_024), (58_977, 60_000), (88_977, 90_000)]);
    bench.handle(Event::Owed(vec![down(1, 100), owed(20_500, 90_000)]));
    assert_eq!(spans(&bench.asks(200)), [(21_025, 21_523)], "the rest is under way for others");
}

/// Few and large records: an answer begins with the lowest, so no more are asked for than it can hold.
#[test]
fn it_asks_for_no_more_below_than_an_answer_holds() {
    let mut bench = Bench::new();
    bench.handle(Event::Own(LOG, Own { floor: 901, ..holds(1_000, 1_000, &[]) }));
    bench.connect(1, vec![told(1_000, 1, &[])]);
    let mut lowest = 1_024;
    for _ in 0..8 {
        bench.handle(Event::Owed(vec![Owed { newest_first: true, ..owed(1, 900) }]));
        let asked = bench.asks(200);
        let [asked] = asked[..] else { panic!("{asked:?}") };
        assert_eq!(asked.span.to, 900);
        lowest = asked.span.count();
        // Eight records of 128 KiB fill an answer.
        let pieces: Vec<Piece> = (asked.span.from..=900)
            .take(8)
            .map(|seq| Piece { span: span(seq, seq), bytes: 128 << 10, time: 1_000, outcome: Outcome::Old })
            .collect();
        let held = told(1_000, 1, &[]);
        let more = lowest > 8;
        bench.handle(Event::Answered { id: asked.id, held: Some(&held), more, pieces: &pieces });
        if !more {
            break;
        }
    }
    assert!(lowest <= 8, "{lowest} are asked for still");
}

#[test]
fn it_shares_the_work_and_asks_nobody_twice() {
    let mut bench = Bench::new();
    bench.handle(Event::Own(LOG, holds(1, 1, &[])));
    (1..=4).for_each(|peer| bench.connect(peer, vec![told(100_000, 1, &[])]));
    let asked = bench.asks(1_000);
    let mut seen = Spans::default();
    for asked in &asked {
        assert!(seen.within(asked.span).is_empty(), "{asked:?} was asked for before");
        seen.add(asked.span);
    }
    for peer in 1..=4 {
        assert_eq!(asked.iter().filter(|asked| asked.peer == peer).count(), plan::REQUESTS, "peer {peer}");
    }
    assert!(bench.asks(1_000).is_empty(), "all are busy");
}

#[test]
fn it_stays_within_its_bounds() {
    let mut bench = Bench::new();
    bench.handle(Event::Own(LOG, holds(1, 1, &[])));
    (1..=60).for_each(|peer| bench.connect(peer, vec![told(u64::MAX - 1, 1, &[])]));
    let asked = bench.asks(500);
    assert!(bench.repair.bytes <= plan::IN_ALL + plan::ANSWER && asked.len() < 60, "{}", asked.len());
    for asked in asked {
        bench.handle(Event::Failed(asked.id));
    }
    assert_eq!((bench.repair.bytes, bench.repair.flights.len()), (0, 0));
    assert!(bench.repair.peers.values().all(|peer| peer.requests == 0 && peer.bytes == 0));
}

#[test]
fn it_limits_what_it_fetches_of_one_origin() {
    let mut bench = Bench::new();
    bench.repair = Repair::new(who(0), 1_000, 7);
    bench.handle(Event::Own(LOG, holds(1, 1, &[])));
    (1..=4).for_each(|peer| bench.connect(peer, vec![told(100_000, 1, &[])]));
    assert_eq!(bench.asks(1_000).len(), 1, "the rate is used up");
    assert!(!bench.repair.takes(LOG.origin, 1, bench.now), "gossip shares it");
}

#[test]
fn it_gives_gossip_time_and_cancels_what_it_brought() {
    let mut bench = Bench::new();
    bench.connect(1, vec![told(10, 1, &[])]);
    bench.handle(Event::Own(LOG, holds(10, 10, &[])));
    bench.wait(500);
    bench.handle(Event::Own(LOG, holds(10, 20, &[(11, 15)])));
    let hint = told(20, 1, &[]);
    bench.repair.peers.get_mut(&who(1)).unwrap().set_hint(LOG, Hint::told(&hint, bench.now));
    assert!(bench.asks(100).is_empty(), "it may be on its way");
    let asked = bench.asks(100);
    assert_eq!(spans(&asked), [(11, 15)]);
    let effects = bench.handle(Event::Own(LOG, holds(20, 20, &[])));
    assert_eq!(effects, [Effect::Cancel(asked[0].id)]);
}

#[test]
fn it_believes_heads_with_proof_only() {
    let mut bench = Bench::new();
    let effects = bench.handle(Event::Connected(who(1)));
    let [Effect::Compare { id, .. }] = effects[..] else { panic!("{effects:?}") };
    assert_eq!(bench.tell(id, vec![told(1 << 60, 1, &[])], &[(LOG, 100)]), [Effect::Heard(LOG, 100)]);
    bench.wait(500);
    assert_eq!(bench.repair.logs[&LOG].sure(), 100, "a hint moves nothing");
    assert_eq!(bench.handle(Event::Proven(LOG, 90)), [], "nor what is old");
    let beacon = Beacon {
        heads: vec![OwnHead { log: LOG.log, head: 120, hash: Hash::default(), floor: 7 }],
        ..crate::gossip::presence::tests::plain(LOG.origin)
    };
    assert_eq!(bench.handle(Event::Beacon(&beacon)), [Effect::Heard(LOG, 120)]);
    assert!(bench.repair.may_have(LOG, span(7, 7), bench.now));
}

#[test]
fn it_bears_heads_that_no_sum_can_hold() {
    let mut bench = Bench::new();
    bench.connect(200, Vec::new());
    let head = |log| OwnHead { log: LogId(log), head: u64::MAX - 1, hash: Hash::default(), floor: 1 };
    for logs in 1..=3 {
        let beacon = Beacon {
            heads: (1..=logs).map(head).collect(),
            ..crate::gossip::presence::tests::plain(LOG.origin)
        };
        bench.handle(Event::Beacon(&beacon));
        bench.wait(500);
        assert_eq!(bench.repair.progress(bench.now).0, logs.saturating_mul(u64::MAX - 1));
    }
}

#[test]
fn it_asks_another_when_one_is_silent_gone_or_wrong() {
    type Fault = fn(&mut Bench, Asked);
    let faults: [(&str, Fault); 4] = [
        ("silent", |bench, _| _ = bench.wait(0)),
        ("gone", |bench, asked| _ = bench.handle(Event::Closed(who(asked.peer)))),
        ("refusing", |bench, asked| _ = bench.handle(Event::Failed(asked.id))),
        ("wrong", |bench, asked| _ = bench.answer(asked, &told(500, 1, &[]), &[(1, 500)], Outcome::Wrong)),
    ];
    for (what, fault) in faults {
        let mut bench = Bench::new();
        (1..=2).for_each(|peer| bench.connect(peer, vec![told(500, 1, &[])]));
        let first = bench.asks(300);
        assert_eq!(spans(&first), [(1, 500)], "{what}");
        fault(&mut bench, first[0]);
        let second = bench.asks(6_000);
        assert_eq!(spans(&second)[0], (1, 500), "{what}");
        assert_ne!(second[0].peer, first[0].peer, "{what}");
    }
}

#[test]
fn it_leaves_alone_who_claims_and_never_gives() {
    let mut bench = Bench::new();
    bench.connect(1, vec![told(500, 1, &[])]);
    let mut count = 0;
    for _ in 0..600 {
        for asked in bench.asks(100) {
            count += 1;
            bench.answer(asked, &told(500, 1, &[]), &[], Outcome::Stored);
        }
    }
    assert!((3..12).contains(&count), "{count} times in a minute");
    assert!(!bench.repair.may_have(LOG, span(1, 500), bench.now), "no reader waits for it");
}

#[test]
fn it_says_who_never_gives_what_it_says_it_has() {
    type Manner = fn(&mut Bench, Asked, u32) -> Vec<Effect>;
    let nothing: Manner = |bench, asked, _| bench.answer(asked, &told(500, 1, &[]), &[], Outcome::Stored);
    // (what, how it answers requests, whether it answers comparisons, whether it counts as useless)
    let manners: [(&str, Manner, bool, bool); 5] = [
        ("empty", nothing, true, true),
        ("refusing", |bench, asked, _| bench.handle(Event::Failed(asked.id)), true, true),
        ("silent", |_, _, _| Vec::new(), true, true),
        ("standing still", |_, _, _| Vec::new(), false, false),
        (
            "overloaded",
            |bench, asked, count| match count % 6 {
                0 => bench.answer(
                    asked,
                    &told(500, 1, &[]),
                    &[(asked.span.from, asked.span.to)],
                    Outcome::Unable,
                ),
                _ => bench.handle(Event::Failed(asked.id)),
            },
            true,
            false,
        ),
    ];
    for (what, manner, compares, useless) in manners {
        let mut bench = Bench::new();
        bench.connect(1, vec![told(500, 1, &[])]);
        let began = bench.now;
        let (mut count, mut found) = (0, None);
        while found.is_none() && bench.now < began + Duration::from_secs(600) {
            let mut effects = bench.wait(50);
            for asked in asked(&effects) {
                count += 1;
                effects.extend(manner(&mut bench, asked, count));
            }
            for effect in &effects {
                match effect {
                    Effect::Compare { id, .. } if compares => {
                        _ = bench.tell(*id, vec![told(500, 1, &[])], &[]);
                    }
                    Effect::Useless(peer) => found = Some((*peer, bench.now - began)),
                    _ => {}
                }
            }
        }
        let right = found.is_some_and(|(peer, after)| peer == who(1) && after >= Duration::from_secs(60));
        assert_eq!((right, found.is_some()), (useless, useless), "{what}: {found:?} after {count} requests");
    }
}

#[test]
fn it_asks_a_slow_peer_for_less() {
    let mut bench = Bench::new();
    bench.connect(1, vec![told(100_000, 1, &[])]);
    let mut sizes: Vec<u64> = Vec::new();
    for asked in bench.asks(30_000) {
        sizes.push(asked.span.to - asked.span.from + 1);
    }
    assert!(sizes.is_sorted_by(|one, other| one >= other), "{sizes:?}");
    assert!(sizes.last().unwrap() * 4 <= sizes[0], "{sizes:?}");
}

#[test]
fn it_finds_what_a_short_summary_hides() {
    let mut bench = Bench::new();
    let missing: Vec<(u64, u64)> = (1..=40).map(|n| (1_000 * n, 1_000 * n + 500)).collect();
    let mut short = told(50_000, 1, &missing);
    short.shorten();
    bench.connect(1, vec![short]);
    bench.handle(Event::Own(LOG, holds(50_000, 50_000, &[(1_600, 1_700)])));
    assert_eq!(spans(&bench.asks(1_000)), [(1_600, 1_700)]);
}

#[test]
fn it_asks_nobody_for_what_nobody_has() {
    let mut bench = Bench::new();
    bench.handle(Event::Own(LOG, holds(900, 1_000, &[(100, 200), (901, 950)])));
    (1..=3).for_each(|peer| bench.connect(peer, vec![told(1_000, 150, &[(160, 200), (901, 950)])]));
    let asked = bench.asks(1_000);
    assert_eq!(spans(&asked), [(150, 159)]);
    bench.answer(asked[0], &told(1_000, 150, &[(160, 200), (901, 950)]), &[(150, 159)], Outcome::Stored);
    for (range, may_have) in [(span(901, 950), false), (span(100, 149), false), (span(100, 150), true)] {
        assert_eq!(bench.repair.may_have(LOG, range, bench.now), may_have, "{range:?}");
    }
    bench.handle(Event::Connected(who(4)));
    assert!(bench.repair.may_have(LOG, span(901, 950), bench.now), "a newcomer may have it");
}

#[test]
fn it_takes_no_word_for_more_than_could_be_known() {
    let mut bench = Bench::new();
    bench.handle(Event::Own(LOG, holds(350, 350, &[])));
    bench.connect(1, vec![told(350, 1, &[])]);
    bench.now += Duration::from_secs(20);
    let speaks = |bench: &mut Bench, head| {
        let hint = Hint::told(&told(head, 1, &[]), bench.now);
        bench.repair.peers.get_mut(&who(1)).unwrap().set_hint(LOG, hint);
    };
    let hopes = |bench: &Bench| bench.repair.may_have(LOG, span(351, 500), bench.now);
    assert!(hopes(&bench), "the store came further than the planner was told");
    speaks(&mut bench, 350);
    bench.handle(Event::Own(LOG, holds(350, 750, &[(351, 500)])));
    assert!(hopes(&bench), "it spoke before");
    for (millis, hoped) in [(0, true), (900, true), (200, false)] {
        bench.now += Duration::from_millis(millis);
        speaks(&mut bench, 350);
        assert_eq!(hopes(&bench), hoped, "it spoke {millis} ms later");
    }
    // Who says that it has it and does not answer may be busy; who answers without it has not.
    speaks(&mut bench, 750);
    let Some(asked) = bench.asks(1_000).first().copied() else { panic!("not asked") };
    bench.handle(Event::Failed(asked.id));
    assert!(hopes(&bench));
    let Some(asked) = bench.asks(2_500).first().copied() else { panic!("not asked again") };
    bench.answer(asked, &told(750, 1, &[]), &[], Outcome::Stored);
    assert!(!hopes(&bench));
}

#[test]
fn it_stops_where_retention_ends() {
    let mut bench = Bench::new();
    bench.connect(1, vec![told(500, 1, &[])]);
    bench.handle(Event::Own(LOG, holds(500, 500, &[(1, 400)])));
    bench.handle(Event::Retention(2_000));
    let asked = bench.asks(300);
    assert_eq!(spans(&asked), [(1, 400)]);
    let effects = bench.answer(asked[0], &told(500, 1, &[]), &[(300, 400)], Outcome::Stored);
    assert_eq!(effects, [Effect::RaiseFloor(LOG, 401)], "records of before the horizon");
    assert!(bench.asks(10_000).is_empty());
}

#[test]
fn it_tells_the_store_of_a_floor_again_once_it_has_come_so_far() {
    let mut bench = Bench::new();
    bench.connect(1, vec![told(500, 1, &[])]);
    bench.handle(Event::Retention(2_000));
    let asked = bench.asks(300);
    bench.answer(asked[0], &told(500, 1, &[]), &[(300, 400)], Outcome::Stored);
    assert_eq!(bench.handle(Event::Own(LOG, holds(0, 400, &[(1, 299)]))), []);
    let effects = bench.handle(Event::Own(LOG, holds(400, 400, &[(1, 299)])));
    assert_eq!(effects, [Effect::RaiseFloor(LOG, 401)]);
}

#[test]
fn it_wants_nothing_of_origins_that_are_not_kept() {
    let mut bench = Bench::new();
    bench.repair.keep_only([who(3)].into());
    bench.connect(
        1,
        vec![told(500, 1, &[]), Summary { log: LogKey { origin: who(3), ..LOG }, ..told(7, 1, &[]) }],
    );
    assert_eq!(spans(&bench.asks(1_000)), [(1, 7)]);
    assert!(!bench.repair.may_have(LOG, span(1, 500), bench.now));
}

#[test]
fn it_awaits_an_origin_that_may_yet_be_here_again() {
    let mut bench = Bench::new();
    let (me, other) = (LogKey { origin: who(0), ..LOG }, LogKey { origin: who(3), ..LOG });
    let mut see = |millis, event, key, awaits| {
        bench.wait(millis);
        if let Some(event) = event {
            bench.handle(event);
        }
        assert_eq!(bench.repair.awaits(key, bench.now), awaits, "{key} at {millis} ms");
    };
    see(0, None, LOG, true);
    see(9_000, None, LOG, true);
    see(0, None, me, false);
    see(1_100, None, LOG, false);
    see(0, Some(Event::Connected(LOG.origin)), LOG, false);
    see(0, Some(Event::Closed(LOG.origin)), LOG, true);
    see(0, None, other, false);
    see(9_000, None, LOG, true);
    see(1_100, None, LOG, false);
}

#[test]
fn it_waits_for_the_store_when_an_answer_came() {
    let mut bench = Bench::new();
    (1..=2).for_each(|peer| bench.connect(peer, vec![told(500, 1, &[])]));
    let asked = bench.asks(300);
    bench.handle(Event::Arrived(asked[0].id));
    assert!(bench.asks(30_000).is_empty(), "it is being stored");
    assert_eq!(bench.repair.peers[&who(asked[0].peer)].faults, 0);
    bench.answer(asked[0], &told(500, 1, &[]), &[(1, 500)], Outcome::Unable);
    assert_eq!(spans(&bench.asks(1_000)), [(1, 500)], "the store had no room: again a little later");
}

#[test]
fn it_does_not_want_logs_that_ended_before_the_horizon() {
    let next = LogKey { log: LogId(9 << 32), ..LOG };
    for (horizon, wants) in [(9_000_000, true), (9_000_001, false)] {
        let mut bench = Bench::new();
        bench.handle(Event::Retention(horizon));
        bench.handle(Event::Proven(next, 10));
        bench.connect(1, vec![told(500, 1, &[])]);
        assert_eq!(!bench.asks(1_000).is_empty(), wants, "the next log was opened at 9 s, horizon {horizon}");
    }
}

#[test]
fn it_forgets_what_the_store_forgot() {
    let mut bench = Bench::new();
    let expired = Own { floor: 501, ..holds(500, 500, &[]) };
    bench.handle(Event::Own(LOG, expired));
    assert_ne!(bench.repair.digest().whole(), Digest::default().whole());
    bench.handle(Event::Forgotten(LOG.origin, LOG.log));
    assert_eq!(bench.repair.digest().whole(), Digest::default().whole());
    bench.connect(1, vec![told(500, 1, &[])]);
    assert!(bench.asks(1_000).is_empty(), "others may keep it longer");
}

#[test]
fn it_asks_again_for_what_came_too_early() {
    let mut bench = Bench::new();
    bench.connect(1, vec![told(500, 1, &[])]);
    let asked = bench.asks(300);
    bench.answer(asked[0], &told(500, 1, &[]), &[(1, 500)], Outcome::Early(Duration::from_secs(60)));
    assert!(bench.asks(59_000).is_empty());
    assert_eq!(spans(&bench.asks(2_000)), [(1, 500)]);
}

#[test]
fn it_passes_proofs_of_forks_on() {
    let mut bench = Bench::new();
    let effects = bench.handle(Event::Connected(who(1)));
    let [Effect::Compare { id, .. }] = effects[..] else { panic!("{effects:?}") };
    let forked = Summary { forked: Some(40), ..told(500, 1, &[]) };
    assert_eq!(bench.tell(id, vec![forked], &[]), [], "of a log that is not here there is nothing to end");
    assert_eq!(spans(&bench.asks(1_000)), [(1, 39)], "behind it there is nothing to get");
    bench.handle(Event::Own(LOG, holds(10, 10, &[])));
    assert!(bench.wait(50).contains(&Effect::AskFork(who(1), LOG)));
    assert!(bench.wait(2_500).contains(&Effect::AskFork(who(1), LOG)), "again where no answer comes");
    let own = Own { forked: Some(40), ..holds(39, 39, &[]) };
    assert!(bench.handle(Event::Own(LOG, own.clone())).contains(&Effect::TellFork(who(1), LOG)));
    assert_eq!(bench.handle(Event::Own(LOG, own)), [], "once");
    assert!(bench.asks(1_000).is_empty(), "what is behind it is not wanted");
}

#[test]
fn it_compares_with_one_after_another_and_tells_what_differs_only() {
    let mut bench = Bench::new();
    (1..=3).for_each(|peer| bench.connect(peer, Vec::new()));
    bench.handle(Event::Own(LOG, holds(5, 5, &[])));
    let mut whom = BTreeSet::new();
    for effect in bench.wait(20_000) {
        if let Effect::Compare { peer, id, digest, .. } = effect {
            whom.insert(peer.0[0]);
            assert_eq!(digest, Digest::default(), "they hold nothing, as far as is known");
            bench.tell(id, Vec::new(), &[]);
        }
        bench.now += Duration::from_millis(1);
    }
    assert_eq!(whom, [1, 2, 3].into());
    let answer = bench.repair.summaries(&Digest::default(), 0);
    assert_eq!(answer.logs, [told(5, 1, &[])]);
    let mut known = Digest::default();
    answer.parts.iter().for_each(|(part, digest)| known.set(usize::from(*part), *digest));
    assert_eq!(bench.repair.summaries(&known, 0), Summaries::default());
    assert_eq!(known.whole(), bench.repair.digest().whole());
}

#[test]
fn it_tells_many_logs_page_by_page() {
    let mut bench = Bench::new();
    let keys: Vec<LogKey> = (1..=5_000_u64).map(|n| LogKey { log: LogId(n << 32), ..LOG }).collect();
    keys.iter().for_each(|key| _ = bench.handle(Event::Own(*key, holds(1, 1, &[]))));
    let (mut from, mut found) = (0, Vec::new());
    loop {
        let page = bench.repair.summaries(&Digest::default(), from);
        assert!(page.logs.len() <= anode_shared::repair::MAX_SUMMARIES);
        found.extend(page.logs.into_iter().map(|told| told.log));
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    found.sort_unstable();
    assert_eq!(found, keys);
}

#[test]
fn it_sees_that_a_log_of_another_shard_grows_while_nothing_comes() {
    let mut bench = Bench::new();
    bench.connect(1, Vec::new());
    let mut renewed = Vec::new();
    for n in 0..4 {
        let head = |log: u64, head| OwnHead { log: LogId(log << 32), head, hash: Hash::default(), floor: 1 };
        let beacon = Beacon {
            sequence: n,
            heads: vec![head(5, 10 + n), head(6, 3)],
            ..crate::gossip::presence::tests::plain(who(1))
        };
        bench.handle(Event::Beacon(&beacon));
        renewed.extend(bench.wait(2_000).into_iter().filter(|effect| matches!(effect, Effect::RenewLink(_))));
    }
    assert_eq!(renewed, [Effect::RenewLink(who(1))]);
}

#[test]
fn it_takes_no_log_for_old_because_one_of_another_shard_is_newer() {
    for (bits, asks) in [(0, false), (2, true)] {
        let mut bench = Bench::new();
        bench.repair.expect_shards(bits);
        bench.handle(Event::Retention(100_000_000));
        let newer = LogKey { log: LogId(6 << 32), ..LOG };
        bench.handle(Event::Own(newer, holds(1, 1, &[])));
        bench.connect(1, vec![told(10, 1, &[])]);
        assert_eq!(!bench.asks(1_000).is_empty(), asks, "{bits} bits");
    }
}

mod absurd;
mod hostile;
