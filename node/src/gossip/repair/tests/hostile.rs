//! Peers and origins that mean harm: what they claim, sign and send keeps nobody else's logs waiting.

use anode_shared::repair::MAX_SUMMARIES;

use super::*;

/// Logs of made-up origins; the higher the number, the newer.
fn made_up(n: u64) -> LogKey {
    let mut origin = [77; 32];
    origin[..8].copy_from_slice(&n.to_be_bytes());
    LogKey { log: LogId(6 << 32 | n), origin: Origin(origin) }
}

fn lie(n: u64) -> Summary {
    Summary { log: made_up(n), ..told(1_000, 1, &[]) }
}

impl Bench {
    /// Connects a peer; gives the number of the comparison.
    fn meet(&mut self, peer: u8) -> u64 {
        let effects = self.handle(Event::Connected(who(peer)));
        let [Effect::Compare { id, .. }] = effects[..] else { panic!("{effects:?}") };
        id
    }

    /// As [`Bench::wait`], and peers go on telling nothing new where they are asked.
    fn live(&mut self, millis: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        for _ in 0..millis / 50 {
            for effect in self.wait(50) {
                if let Effect::Compare { id, .. } = &effect {
                    self.handle(Event::Compared { id: *id, answer: &Default::default(), proven: &[] });
                }
                effects.push(effect);
            }
        }
        effects
    }
}

#[test]
fn it_keeps_room_for_honest_logs_however_many_are_made_up() {
    let mut bench = Bench::new();
    for liar in 1..=6 {
        let id = bench.meet(liar);
        let lies = (0..16_384).map(|n| lie(u64::from(liar) << 20 | n)).collect();
        bench.tell(id, lies, &[]);
    }
    // Made-up origins that speak, each of many logs.
    for n in 0..200 {
        let head = |log: u64| OwnHead { log: LogId(9 << 32 | log), head: 5, hash: Hash::default(), floor: 1 };
        let heads = (0..64).map(head).collect();
        let beacon = Beacon { heads, ..crate::gossip::presence::tests::plain(made_up(n).origin) };
        bench.handle(Event::Beacon(&beacon));
    }
    assert_eq!(bench.repair.logs.len(), brought::MOST_LOGS);
    // Honest logs are older than all of it: one that a peer tells of, one that a beacon names, one that is held.
    let log = |n: u64| LogKey { log: LogId(n << 32), ..LOG };
    bench.connect(10, (1..=50).map(|n| Summary { log: log(n), ..told(500, 1, &[]) }).collect());
    let heads = vec![OwnHead { log: LogId(2 << 32), head: 7, hash: Hash::default(), floor: 1 }];
    bench.handle(Event::Beacon(&Beacon { heads, ..crate::gossip::presence::tests::plain(who(11)) }));
    bench.handle(Event::Own(log(60), holds(500, 500, &[])));
    let honest = (1..=50).map(log).chain([LogKey { log: LogId(2 << 32), origin: who(11) }, log(60)]);
    for key in honest {
        assert!(bench.repair.logs.contains_key(&key), "{key} found no place");
    }
    assert!(bench.repair.logs.len() <= brought::MOST_LOGS + 1);
    // And it is asked for at once, though it is the oldest of all.
    let asked: Vec<LogKey> = fetched(&bench.wait(300), 10);
    assert_eq!(asked.len(), plan::REQUESTS, "{asked:?}");
}

fn fetched(effects: &[Effect], of: u8) -> Vec<LogKey> {
    let fetch = |effect: &Effect| match effect {
        Effect::Fetch { peer, log, .. } if *peer == who(of) => Some(*log),
        _ => None,
    };
    effects.iter().filter_map(fetch).collect()
}

#[test]
fn it_is_told_again_what_it_had_no_room_for() {
    let mut bench = Bench::new();
    let logs = |peer: u64| (0..16_384).map(move |n| lie(peer << 20 | n));
    for peer in 1..=4 {
        let id = bench.meet(peer);
        let parts = (0..256).map(|part| (part, u64::from(part) + 1)).collect();
        let answer = Summaries { parts, logs: logs(u64::from(peer)).collect(), next: None };
        bench.handle(Event::Compared { id, answer: &answer, proven: &[] });
    }
    let oldest = lie(1 << 20).log;
    assert!(bench.repair.logs.contains_key(&oldest));
    bench.connect(5, vec![told(500, 1, &[])]);
    assert!(!bench.repair.logs.contains_key(&oldest), "one had to go");
    let first = bench.wait(20_000).into_iter().find_map(|effect| match effect {
        Effect::Compare { peer, digest, .. } if peer == who(1) => Some(digest),
        _ => None,
    });
    let digest = first.unwrap();
    for part in 0..256 {
        let is_known = digest.part(part) == part as u64 + 1;
        assert_eq!(is_known, part != Digest::bucket(oldest), "{part}");
    }
}

#[test]
fn it_puts_what_one_who_has_gone_told_of_on_the_account_of_who_tells_of_it_now() {
    for next in [1, 2] {
        let mut bench = Bench::new();
        bench.connect(1, vec![told(500, 1, &[])]);
        assert_eq!(bench.repair.logs[&LOG].bringer, Some(who(1)));
        bench.handle(Event::Closed(who(1)));
        assert!(bench.repair.brought.is_gone(who(1)));
        bench.connect(next, vec![told(500, 1, &[])]);
        assert_eq!(bench.repair.logs[&LOG].bringer, Some(who(next)));
        assert!(!bench.repair.brought.is_gone(who(1)) && bench.repair.brought.len() == 1);
    }
}

#[test]
fn it_ends_a_comparison_that_goes_in_circles_or_on_and_on() {
    type Next = fn(u16) -> u16;
    let manners: [(&str, Next, usize); 4] = [
        ("back to the beginning", |_| 0, 1),
        ("the same again", |from| from, 1),
        ("on and on", |from| from + 1, 32),
        ("as an honest one", |from| from + 50, 6),
    ];
    for (what, next, pages) in manners {
        let mut bench = Bench::new();
        let (mut asked, mut from, mut count) = (Some(bench.meet(1)), 0, 0);
        while let Some(id) = asked {
            count += 1;
            let next = Some(next(from)).filter(|next| *next < 256);
            let answer = Summaries { parts: vec![(from, 1)], logs: Vec::new(), next };
            asked = None;
            for effect in bench.handle(Event::Compared { id, answer: &answer, proven: &[] }) {
                if let Effect::Compare { id, from: at, .. } = effect {
                    (asked, from) = (Some(id), at);
                }
            }
            assert!(count < 300, "{what}");
        }
        assert_eq!(count, pages, "{what}");
        assert!(bench.repair.peers[&who(1)].compared, "{what}");
    }
}

#[test]
fn it_asks_a_liar_for_few_proofs_of_forks_and_the_honest_for_the_true_one() {
    let mut bench = Bench::new();
    (0..1_000).for_each(|n| _ = bench.handle(Event::Own(made_up(n), holds(10, 10, &[]))));
    bench.handle(Event::Own(LOG, holds(10, 10, &[])));
    let forked = |end| move |log| Summary { forked: Some(end), log, ..told(10, 1, &[]) };
    bench.connect(1, (0..1_000).map(made_up).chain([LOG]).map(forked(1)).collect());
    bench.connect(2, vec![forked(5)(LOG)]);
    bench.connect(3, vec![forked(0)(LOG)]);
    let (mut of_liar, mut of_honest, mut of_absurd) = (0, 0, 0);
    for effect in bench.live(20_000) {
        match effect {
            Effect::AskFork(peer, _) if peer == who(1) => of_liar += 1,
            Effect::AskFork(peer, key) if peer == who(2) && key == LOG => of_honest += 1,
            Effect::AskFork(..) => of_absurd += 1,
            _ => {}
        }
    }
    assert!((100..=16 * 21).contains(&of_liar), "{of_liar}");
    assert!((1..=10).contains(&of_honest), "{of_honest}");
    assert_eq!(of_absurd, 0, "no log ends before it begins");
}

#[test]
fn it_tells_of_few_forks_at_once() {
    let mut bench = Bench::new();
    (1..=3).for_each(|peer| bench.connect(peer, Vec::new()));
    let own = Own { forked: Some(5), ..holds(10, 10, &[]) };
    let effects: Vec<Effect> =
        (0..100).flat_map(|n| bench.handle(Event::Own(made_up(n), own.clone()))).collect();
    let told = effects.iter().filter(|effect| matches!(effect, Effect::TellFork(..))).count();
    assert_eq!(told, 3 * 8, "of the others peers hear where they compare");
}

#[test]
fn it_counts_for_nothing_what_it_did_not_ask_for() {
    let mut bench = Bench::new();
    bench.handle(Event::Own(LOG, holds(1_000, 1_000, &[(500, 900)])));
    bench.connect(1, vec![told(1_000, 1, &[])]);
    let mut count = 0;
    for _ in 0..600 {
        for asked in bench.asks(100) {
            count += 1;
            let (id, held) = (asked.id, told(1_000, 1, &[]));
            let piece = Piece { span: span(1, 3), bytes: 300, time: 1_000, outcome: Outcome::Stored };
            bench.handle(Event::Answered { id, held: Some(&held), more: true, pieces: &[piece] });
        }
    }
    assert!((3..12).contains(&count), "{count} times in a minute");
}

#[test]
fn it_asks_little_for_what_nobody_says_that_it_has() {
    let mut bench = Bench::new();
    (1..=20).for_each(|peer| bench.connect(peer, Vec::new()));
    // Somebody who has gone signed and told of heads of a thousand logs.
    let id = bench.meet(50);
    let proven: Vec<(LogKey, u64)> = (0..1_000).map(|n| (made_up(n), 1_000)).collect();
    bench.tell(id, Vec::new(), &proven);
    bench.handle(Event::Closed(who(50)));
    let (mut guesses, mut found) = (0, false);
    for tick in 0..80 {
        if tick == 60 {
            bench.connect(60, vec![told(500, 1, &[])]);
            guesses = 0;
        }
        for effect in bench.live(50) {
            let Effect::Fetch { id, log, .. } = effect else { continue };
            found |= log == LOG;
            guesses += usize::from(log != LOG);
            bench.handle(Event::Answered { id, held: None, more: false, pieces: &[] });
        }
    }
    assert!(found && (1..=8 * 20).contains(&guesses), "{guesses} guesses, found {found}");
}

#[test]
fn it_leaves_alone_what_the_store_has_no_room_for() {
    let mut bench = Bench::new();
    bench.connect(1, vec![told(500, 1, &[])]);
    let mut when = Vec::new();
    for tick in 0..12_000 {
        for asked in bench.asks(50) {
            when.push(tick / 20);
            bench.answer(asked, &told(500, 1, &[]), &[(asked.span.from, asked.span.to)], Outcome::Crowded);
        }
    }
    assert_eq!(when, [0, 10, 30, 70, 150, 310], "seconds");
    // Of a log that is held only what lies above what the order has passed, or just what came.
    for (piece, rests) in [((601, 700), vec![(501, 600)]), ((100, 200), vec![(201, 300), (501, 900)])] {
        let mut log = Log::new(LOG);
        log.set_own(LOG, holds(500, 500, &[(100, 300)]), bench.now);
        log.crowded(span(piece.0, piece.1), bench.now);
        let missing: Vec<(u64, u64)> =
            log.missing(900, bench.now).iter().map(|span| (span.from, span.to)).collect();
        let expected: Vec<(u64, u64)> =
            if piece.0 > 500 { [vec![(100, 300)], rests].concat() } else { rests };
        assert_eq!(missing, expected, "{piece:?}");
    }
}

#[test]
fn it_bears_a_log_whose_last_seq_is_the_last_of_all() {
    let mut bench = Bench::new();
    let last = u64::MAX - 1;
    bench.handle(Event::Own(LOG, holds(last, last, &[(1, 9)])));
    bench.connect(1, vec![told(last, 1, &[])]);
    assert_eq!(spans(&bench.asks(500)), [(1, 9)]);
}

#[test]
fn it_forgets_a_log_that_the_store_knows_no_more() {
    let mut bench = Bench::new();
    bench.connect(1, vec![told(500, 1, &[])]);
    bench.handle(Event::Own(LOG, holds(100, 100, &[])));
    bench.handle(Event::Gone(LOG));
    assert_eq!(bench.repair.digest().whole(), Digest::default().whole());
    assert!(
        bench.repair.logs.is_empty() && bench.repair.of_origin.is_empty() && bench.asks(1_000).is_empty()
    );
}

#[test]
fn it_knows_who_is_connected_or_spoke_lately() {
    let mut bench = Bench::new();
    let beacon = crate::gossip::presence::tests::plain(who(8));
    bench.handle(Event::Beacon(&beacon));
    bench.connect(7, Vec::new());
    for (peer, seconds, knows) in
        [(7, 0, true), (8, 0, true), (9, 0, false), (7, 500, true), (8, 179, true), (8, 180, false)]
    {
        let now = bench.now + Duration::from_secs(seconds);
        assert_eq!(bench.repair.knows(who(peer), now), knows, "{peer} after {seconds} s");
    }
}

#[test]
fn it_tells_of_the_newest_where_one_part_is_too_full() {
    let mut bench = Bench::new();
    let part = Digest::bucket(made_up(0));
    let keys = (0..).map(made_up).filter(|key| Digest::bucket(*key) == part).take(MAX_SUMMARIES + 5);
    let keys: Vec<LogKey> = keys.collect();
    keys.iter().for_each(|key| _ = bench.handle(Event::Own(*key, holds(1, 1, &[]))));
    let told: Vec<LogKey> =
        bench.repair.summaries(&Digest::default(), 0).logs.into_iter().map(|told| told.log).collect();
    assert_eq!(told, keys[5..]);
}
