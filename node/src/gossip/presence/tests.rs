//! Presence as tables of what happens when, and at random.

use anode_shared::beacon::{Load, VERSION};

use super::*;
use crate::gossip::dice::Dice;

const A: Origin = Origin([1; 32]);
const ME: Origin = Origin([9; 32]);

fn beacon(origin: Origin, run: u64, sequence: u64, millis: u64) -> Arc<Beacon> {
    Arc::new(Beacon {
        version: VERSION,
        network: "local".into(),
        origin,
        run,
        sequence,
        time: 1_795_000_000_000_000 + millis * 1_000,
        interval_ms: 2_000,
        name: String::new(),
        software: String::new(),
        protocol: 1,
        addresses: Vec::new(),
        shards: vec![(0, 0)],
        heads: Vec::new(),
        digest: 0,
        links: Vec::new(),
        load: Load::default(),
        components: Vec::new(),
        archive: None,
        leaving: false,
    })
}

/// A beacon that says nothing of interest.
pub(in crate::gossip) fn plain(origin: Origin) -> Beacon {
    (*beacon(origin, 1, 1, 0)).clone()
}

fn leaving(run: u64, sequence: u64, millis: u64) -> Event {
    Event::Beacon(Arc::new(Beacon { leaving: true, ..(*beacon(A, run, sequence, millis)).clone() }))
}

fn says(run: u64, sequence: u64, sent: u64) -> Event {
    Event::Beacon(beacon(A, run, sequence, sent))
}

use PeerState::{Alive, Dead, Left, Suspect};

/// Plays events at milliseconds, ticking ten times a second, and compares when A changed to what.
fn check(what: &str, events: Vec<(u64, Event)>, until: u64, expected: &[(u64, PeerState)]) -> Vec<Effect> {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut presence = Presence::new(ME, 50);
    let (mut changes, mut all) = (Vec::new(), Vec::new());
    let ticks = (0..=until).step_by(100).map(|millis| (millis, Event::Tick));
    let mut played: Vec<(u64, Event)> = events.into_iter().chain(ticks).collect();
    played.sort_by_key(|(millis, event)| (*millis, matches!(event, Event::Tick)));
    for (millis, event) in played {
        for effect in presence.handle(event, at(millis)) {
            match effect {
                Effect::Joined(peer) if peer == A => changes.push((millis, Alive)),
                Effect::Changed { peer, to, .. } if peer == A => changes.push((millis, to)),
                _ => {}
            }
            all.push(effect);
        }
    }
    assert_eq!(changes, expected, "{what}");
    all
}

#[test]
fn it_tells_the_living_from_the_dead() {
    let regular: Vec<_> = (0..10).map(|n| (n * 2_000, says(7, n + 1, n * 2_000))).collect();
    check("one who speaks", regular, 20_000, &[(0, Alive)]);
    check("silence", vec![(0, says(7, 1, 0))], 20_000, &[(0, Alive), (5_000, Suspect), (9_000, Dead)]);
    let (up, down) = (|| (0, Event::Connected(A)), |millis| (millis, Event::Closed(A)));
    check(
        "a connection that closes",
        vec![up(), (0, says(7, 1, 0)), down(500)],
        20_000,
        &[(0, Alive), (500, Suspect), (3_300, Dead)],
    );
    check(
        "a connection that closes, and beacons go on by others",
        vec![
            up(),
            (0, says(7, 1, 0)),
            down(500),
            (1_000, says(7, 2, 900)),
            (2_100, says(7, 3, 2_000)),
            (4_100, says(7, 4, 4_000)),
        ],
        8_900,
        &[(0, Alive), (500, Suspect), (2_100, Alive)],
    );
    check(
        "a beacon on its way while the connection closes",
        vec![up(), (0, says(7, 1, 0)), (2_600, says(7, 2, 2_000)), down(2_500)],
        20_000,
        &[(0, Alive), (2_500, Suspect), (5_300, Dead)],
    );
    check(
        "such a beacon behind one that was slow",
        vec![up(), (0, says(7, 1, 0)), (3_500, says(7, 2, 2_000)), (4_600, says(7, 3, 4_000)), down(4_500)],
        20_000,
        &[(0, Alive), (4_500, Suspect), (7_300, Dead)],
    );
    check(
        "one whose clock is set back just then",
        vec![
            up(),
            (4_000, says(7, 1, 4_000)),
            down(4_500),
            (6_000, says(7, 2, 0)),
            (10_000, says(7, 3, 4_000)),
        ],
        14_900,
        &[(4_000, Alive), (4_500, Suspect), (7_300, Dead), (10_000, Alive)],
    );
    check(
        "closed and connected again",
        vec![up(), (0, says(7, 1, 0)), down(500), (700, Event::Connected(A)), (2_000, says(7, 2, 2_000))],
        6_900,
        &[(0, Alive), (500, Suspect), (2_000, Alive)],
    );
    check(
        "one who leaves",
        vec![up(), (0, says(7, 1, 0)), (500, leaving(7, 2, 500)), down(600)],
        20_000,
        &[(0, Alive), (500, Left)],
    );
    check(
        "one who is back",
        vec![
            (0, says(7, 1, 0)),
            (10_000, says(7, 2, 10_000)),
            (10_500, leaving(7, 3, 10_500)),
            (11_000, says(8, 1, 11_000)),
        ],
        12_000,
        &[(0, Alive), (5_000, Suspect), (9_000, Dead), (10_000, Alive), (10_500, Left), (11_000, Alive)],
    );
    check("a stranger's farewell", vec![(0, leaving(7, 1, 0))], 9_000, &[]);
}

#[test]
fn it_takes_a_chosen_end_of_a_connection_for_nothing_else() {
    let joined = || vec![(0, says(7, 1, 0)), (100, Event::Connected(A))];
    let ends = |event: Event| joined().into_iter().chain([(1_000, event)]).collect::<Vec<_>>();
    check("by itself", ends(Event::Closed(A)), 4_500, &[(0, Alive), (1_000, Suspect), (3_800, Dead)]);
    check("by choice", ends(Event::Parted(A)), 4_500, &[(0, Alive)]);
    check(
        "by choice, and it dies",
        ends(Event::Parted(A)),
        9_500,
        &[(0, Alive), (5_000, Suspect), (9_000, Dead)],
    );
}

#[test]
fn it_waits_for_those_who_speak_seldom_as_long_as_that_takes() {
    let seldom = |sequence, sent| {
        let beacon = beacon(A, 7, sequence, sent);
        Event::Beacon(Arc::new(Beacon { interval_ms: 10_000, ..(*beacon).clone() }))
    };
    let ends = vec![(0, seldom(1, 0)), (100, Event::Connected(A)), (1_000, Event::Closed(A))];
    let mut lives = ends.clone();
    lives.push((10_500, seldom(2, 10_500)));
    check("it lives", lives, 15_000, &[(0, Alive), (1_000, Suspect), (10_500, Alive)]);
    check("it is dead", ends, 15_000, &[(0, Alive), (1_000, Suspect), (11_800, Dead)]);
}

#[test]
fn it_passes_over_what_is_old() {
    let echoes = (1..20).map(|n| (n * 1_000, says(7, 5, 0)));
    check("the same again", echoes.collect(), 20_000, &[(1_000, Alive), (6_000, Suspect), (10_000, Dead)]);
    let effects = check(
        "an older start and an older beacon",
        vec![(0, says(7, 5, 0)), (100, says(7, 4, 0)), (200, says(6, 900, 0)), (300, leaving(6, 901, 0))],
        400,
        &[(0, Alive)],
    );
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::News(_))).count(), 1);
}

#[test]
fn it_lets_one_come_back_whose_clock_was_set_back() {
    let mut events = vec![(0, says(7, 5, 0))];
    events.extend((0..4).map(|n| (10_000 + n * 2_000, says(6, n + 1, n * 2_000))));
    let gone = [(0, Alive), (5_000, Suspect), (9_000, Dead)];
    check("recorded words of an earlier start", events.clone(), 16_000, &gone);
    events.push((9_500, Event::Connected(A)));
    check("back", events, 16_000, &[&gone[..], &[(12_000, Alive)]].concat());
}

#[test]
fn it_tells_news_from_what_was_recorded() {
    let mut presence = Presence::new(ME, 50);
    presence.handle(says(7, 5, 0), Instant::now());
    for (origin, run, sequence, news) in [
        (A, 7, 6, true),
        (A, 8, 1, true),
        (A, 7, 5, false),
        (A, 7, 4, false),
        (A, 6, 900, false),
        (Origin([2; 32]), 1, 1, true),
        (ME, 51, 1, false),
    ] {
        assert_eq!(presence.is_news(&beacon(origin, run, sequence, 0)), news, "{origin} {run} {sequence}");
    }
}

#[test]
fn it_takes_no_recorded_words_for_a_twin() {
    // Runs that began 100 s and 10 s before the first beacon's time.
    let run = |before: u64| (1_795_000_000 - before) << 32 | 77;
    for (what, origin, newest) in [("this node", ME, None), ("a peer", A, Some(run(10)))] {
        for (signed, twins) in [("before", 0), ("after", 1)] {
            let start = Instant::now();
            let mut presence = Presence::new(ME, run(10));
            newest.map(|run| presence.handle(Event::Beacon(beacon(origin, run, 1, 0)), start));
            let mut told = 0;
            for n in 0..10 {
                let sent = beacon(origin, run(100), n + 1, n * 500);
                let time = sent.time - if signed == "before" { 60_000_000 } else { 0 };
                let sent = Arc::new(Beacon { time, ..(*sent).clone() });
                let effects = presence.handle(Event::Beacon(sent), start + Duration::from_millis(n * 500));
                told += effects.iter().filter(|effect| matches!(effect, Effect::Twin(_))).count();
            }
            assert_eq!(told, twins, "{what}: signed {signed} its newest start");
        }
    }
}

#[test]
fn it_notices_twins() {
    let twins =
        |effects: Vec<Effect>| effects.iter().filter(|effect| matches!(effect, Effect::Twin(_))).count();
    let both = (0..10).flat_map(|n| {
        [(n * 2_000, says(7, n + 1, n * 2_000)), (n * 2_000 + 900, says(6, n + 50, n * 2_000))]
    });
    assert_eq!(twins(check("two of one name", both.collect(), 20_000, &[(0, Alive)])), 1);
    let echoes = (0..10).map(|n| (n * 2_000, Event::Beacon(beacon(ME, 49, 7, 0))));
    assert_eq!(twins(check("an echo of the last start", echoes.collect(), 20_000, &[])), 0);
    let last = [(0, Event::Beacon(beacon(ME, 49, 7, 0))), (500, Event::Beacon(beacon(ME, 49, 8, 0)))];
    assert_eq!(twins(check("the last words of the last start", last.into(), 20_000, &[])), 0);
    let own = (0..10).map(|n| (n * 2_000, Event::Beacon(beacon(ME, 49, n + 1, 0))));
    assert_eq!(twins(check("another with this node's name", own.collect(), 20_000, &[])), 1);
    let me = (0..10).map(|n| (n * 2_000, Event::Beacon(beacon(ME, 50, n + 1, 0))));
    assert_eq!(twins(check("the node itself", me.collect(), 20_000, &[])), 0);
    let records = (0..10).map(|n| (n * 2_000, Event::Twin));
    assert_eq!(
        twins(check("records that another signed with this node's key", records.collect(), 20_000, &[])),
        1
    );
    let (mut presence, start) = (Presence::new(ME, 50), Instant::now());
    for (second, event, has) in
        [(0, Event::Tick, false), (1, Event::Twin, true), (20, Event::Tick, true), (40, Event::Tick, false)]
    {
        let now = start + Duration::from_secs(second);
        presence.handle(event, now);
        assert_eq!(presence.has_twin(now), has, "after {second} s");
    }
}

#[test]
fn it_forgets_the_gone_and_stays_small() {
    let start = Instant::now();
    let who = |n: usize| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        Origin(bytes)
    };
    let mut presence = Presence::new(ME, 50);
    for n in 0..2 * MOST_PEERS {
        presence.handle(Event::Beacon(beacon(who(n), 1, 1, 0)), start);
    }
    assert_eq!(presence.peers.len(), MOST_PEERS, "the living are not pushed out by strangers");
    presence.handle(Event::Connected(A), start);
    presence.handle(Event::Beacon(beacon(A, 1, 1, 0)), start);
    assert!(presence.is_there(A) && presence.peers.len() == MOST_PEERS, "a connected one finds room");
    assert_eq!(presence.interval(), INTERVAL * 4_097 / 250);
    presence.handle(Event::Tick, start + Duration::from_secs(3_000));
    assert!(!presence.is_there(A) && presence.peers.len() == MOST_PEERS);
    presence.handle(Event::Tick, start + Duration::from_secs(3_000) + FORGET);
    assert_eq!(presence.peers.len(), 1, "only the one that is connected");
}

#[test]
fn it_remembers_whom_it_was_connected_to_among_many_that_are_made_up() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let who = |n: usize| {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        Origin(bytes)
    };
    let mut presence = Presence::new(ME, 50);
    let says = |presence: &mut Presence, origin: Origin, second| {
        presence.handle(Event::Beacon(beacon(origin, 1, 1, second * 1_000)), at(second));
    };
    let visits = |presence: &mut Presence, origin: Origin, from, to| {
        presence.handle(Event::Connected(origin), at(from));
        says(presence, origin, from);
        presence.handle(Event::Closed(origin), at(to));
    };
    // One that was linked for long and is gone now, one that is there and never was linked.
    visits(&mut presence, who(1), 0, 300);
    presence.handle(Event::Tick, at(320));
    says(&mut presence, who(2), 320);
    (10..3 * MOST_PEERS).for_each(|n| says(&mut presence, who(n), 321));
    assert!(presence.peer(who(1)).is_some() && presence.is_there(who(2)), "strangers speak");
    for n in 0..2 * MOST_PEERS {
        visits(&mut presence, who(100_000 + n), 322, 323);
    }
    assert!(presence.peer(who(1)).is_some(), "strangers come and go");
    assert_eq!(presence.peers.len(), MOST_PEERS);
}

#[test]
fn it_keeps_its_promises_at_random() {
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let start = Instant::now();
        let mut presence = Presence::new(ME, 50);
        let mut closed_at: Option<Instant> = None;
        let (mut sequence, mut last, mut connected, mut closed, mut died) = (0, None, false, None, false);
        for step in 0..600_u64 {
            let now = start + Duration::from_millis(step * 100);
            match dice.below(30) {
                0 => {
                    connected = true;
                    closed = None;
                    presence.handle(Event::Connected(A), now);
                }
                1 if connected => {
                    connected = false;
                    (closed, closed_at) = (Some(now), Some(now));
                    presence.handle(Event::Closed(A), now);
                }
                2 | 3 => {
                    sequence += 1;
                    // What comes right behind the end may have been sent before.
                    if closed.is_none_or(|at| now > at + DELAY) {
                        (last, closed) = (Some(now), None);
                    }
                    presence.handle(Event::Beacon(beacon(A, 7, sequence, step * 100)), now);
                }
                _ => {}
            }
            presence.handle(Event::Tick, now);
            let Some(last) = last else { continue };
            let silent = now - last;
            let state = presence.peer(A).unwrap().state;
            assert!(silent < Duration::from_secs(9) || state == Dead, "seed {seed}, step {step}: {state:?}");
            let just = closed_at.is_some_and(|at| now <= at + DELAY);
            assert!(silent > Duration::ZERO || state == Alive || just, "seed {seed}, step {step}: {state:?}");
            if let Some(closed) = closed {
                assert!(state != Alive, "seed {seed}, step {step}");
                assert!(
                    now - closed < Duration::from_secs(3) || state == Dead,
                    "seed {seed}, step {step}: {state:?}"
                );
            } else if silent < Duration::from_secs(5) && !died {
                assert!(state != Dead, "seed {seed}, step {step}");
            }
            died = state == Dead;
        }
    }
}
