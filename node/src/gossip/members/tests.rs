//! Admission as a table, links of whole meshes at random.

use super::*;

fn who(n: u8) -> Origin {
    Origin([n; 32])
}

#[test]
fn it_lets_in_whom_it_should() {
    let admission = Admission { network: "a".into(), protocol: 1, origins: Some([who(1)].into()) };
    for (network, protocol, let_in) in [("a", 1, true), ("b", 1, false), ("a", 2, false), ("", 1, false)] {
        assert_eq!(admission.admit(network, protocol).is_ok(), let_in, "{network} {protocol}");
    }
    assert!(admission.keeps(who(1)) && !admission.keeps(who(2)));
    assert!(Admission { origins: None, ..admission }.keeps(who(2)));
}

#[test]
fn it_tries_for_ever_and_ever_less_often() {
    let (start, target) = (Instant::now(), Target::Bootstrap(0));
    let mut links = Links::new(who(1), 1, 7);
    let mut dials = Vec::new();
    for second in 0..3_600 {
        let now = start + Duration::from_secs(second);
        if links.handle(Event::Tick, now).contains(&Effect::Dial(target)) {
            dials.push(second);
            links.handle(Event::Failed(target), now);
        }
    }
    let waits: Vec<u64> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] <= 2 && waits.iter().all(|wait| *wait <= 76), "{waits:?}");
    assert!(dials.len() > 45, "it never gives up: {dials:?}");
    links.handle(Event::Connected(who(2), Way::Dialled(target)), start + Duration::from_secs(3_600));
    links.handle(Event::LetIn(who(2)), start + Duration::from_secs(3_600));
    assert_eq!(links.handle(Event::Tick, start + Duration::from_secs(9_000)), []);
    links.handle(Event::Closed(who(2)), start + Duration::from_secs(9_000));
    assert_eq!(links.handle(Event::Tick, start + Duration::from_secs(9_000)), [Effect::Dial(target)]);
}

#[test]
fn it_does_not_dial_itself_again() {
    let start = Instant::now();
    let mut links = Links::new(who(1), 2, 7);
    let both = [Effect::Dial(Target::Bootstrap(0)), Effect::Dial(Target::Bootstrap(1))];
    assert_eq!(links.handle(Event::Tick, start), both);
    links.handle(Event::Own(0), start);
    links.handle(Event::Failed(Target::Bootstrap(1)), start);
    for second in [70, 140, 210] {
        let now = start + Duration::from_secs(second);
        assert_eq!(links.handle(Event::Tick, now), both[1..], "after {second} s");
        links.handle(Event::Failed(Target::Bootstrap(1)), now);
    }
    assert!(links.linked().is_empty());
}

/// A peer connects and is let in.
fn join(links: &mut Links, peer: Origin, way: Way, now: Instant) {
    links.handle(Event::Connected(peer, way), now);
    links.handle(Event::LetIn(peer), now);
}

/// Plays a mesh whose nodes know one another, and gives each one's links after a while.
fn play(count: u8, seed: u64, first: &[(u8, u8)]) -> Vec<BTreeSet<Origin>> {
    let start = Instant::now();
    let mut nodes: Vec<Links> = (0..count).map(|n| Links::new(who(n), 0, seed + u64::from(n))).collect();
    let link = |nodes: &mut Vec<Links>, one: u8, other: u8, way: Way| {
        join(&mut nodes[usize::from(one)], who(other), way, start);
        join(&mut nodes[usize::from(other)], who(one), Way::Came(None), start);
    };
    first.iter().for_each(|(one, other)| link(&mut nodes, *one, *other, Way::Came(None)));
    for second in 0..120 {
        let now = start + Duration::from_secs(second);
        if second % 2 == 0 {
            let told: Vec<(Origin, Vec<Origin>)> =
                nodes.iter().map(|node| (node.me, node.linked.iter().copied().collect())).collect();
            for node in &mut nodes {
                told.iter()
                    .for_each(|(peer, links)| _ = node.handle(Event::There(*peer, links.clone()), now));
            }
        }
        for one in 0..count {
            for effect in nodes[usize::from(one)].handle(Event::Tick, now) {
                match effect {
                    Effect::Dial(target @ Target::Peer(peer)) => {
                        link(&mut nodes, one, peer.0[0], Way::Dialled(target));
                    }
                    Effect::Drop(peer) => {
                        nodes[usize::from(one)].handle(Event::Closed(peer), now);
                        nodes[usize::from(peer.0[0])].handle(Event::Closed(who(one)), now);
                    }
                    Effect::Dial(Target::Bootstrap(_) | Target::Visit(_)) => {}
                }
            }
        }
    }
    nodes.into_iter().map(|node| node.linked).collect()
}

fn reached(links: &[BTreeSet<Origin>]) -> usize {
    let (mut seen, mut open) = (BTreeSet::from([0]), vec![0_usize]);
    while let Some(node) = open.pop() {
        let next = links[node].iter().map(|peer| usize::from(peer.0[0]));
        open.extend(next.filter(|peer| seen.insert(*peer)));
    }
    seen.len()
}

#[test]
fn it_links_all_of_a_small_mesh_and_enough_of_a_large_one() {
    for (count, seed) in [(2, 1), (5, 2), (21, 3), (40, 4), (100, 5)] {
        let links = play(count, seed, &[]);
        let fewest = links.iter().map(BTreeSet::len).min().unwrap();
        let most = links.iter().map(BTreeSet::len).max().unwrap();
        assert_eq!(reached(&links), usize::from(count), "{count} nodes, seed {seed}: all are reached");
        assert!(most <= MOST_LINKS + 1, "{count} nodes, seed {seed}: {most} links");
        assert!(
            fewest >= (usize::from(count) - 1).min(ENOUGH_LINKS - 1),
            "{count} nodes, seed {seed}: {fewest} links"
        );
    }
}

#[test]
fn it_never_drops_the_only_bridge() {
    // Two cliques of 25 that one link joins, and nobody who would dial: all are crowded.
    let clique =
        |from: u8| (from..from + 25).flat_map(move |one| (one + 1..from + 25).map(move |other| (one, other)));
    let first: Vec<(u8, u8)> = clique(0).chain(clique(25)).chain([(3, 30)]).collect();
    for seed in 0..3 {
        assert_eq!(reached(&play(50, seed, &first)), 50, "seed {seed}");
    }
}

#[test]
fn it_looks_for_those_who_are_gone() {
    let (start, back) = (Instant::now(), who(2));
    let mut links = Links::new(who(1), 0, 7);
    links.handle(Event::There(back, Vec::new()), start);
    links.handle(Event::Gone(back), start);
    let mut dials = 0;
    for second in 0..100 {
        let now = start + Duration::from_secs(second);
        for effect in links.handle(Event::Tick, now) {
            assert_eq!(effect, Effect::Dial(Target::Peer(back)));
            dials += 1;
            links.handle(Event::Failed(Target::Peer(back)), now);
        }
    }
    assert_eq!(dials, 20);
    links.handle(Event::Forgotten(back), start);
    assert_eq!(links.handle(Event::Tick, start + Duration::from_secs(200)), []);
}

/// Plays so many seconds in each of which whoever is dialled is met as `meet` says; gives when which targets were dialled.
fn dialled(
    links: &mut Links,
    seconds: u64,
    mut meet: impl FnMut(&mut Links, Target, Instant),
) -> Vec<(u64, Target)> {
    let start = Instant::now();
    let mut dials = Vec::new();
    for tick in 0..seconds * 20 {
        let now = start + Duration::from_millis(tick * 50);
        for effect in links.handle(Event::Tick, now) {
            if let Effect::Dial(target) = effect {
                dials.push((tick / 20, target));
                meet(links, target, now);
            }
        }
    }
    dials
}

#[test]
fn it_dials_ever_less_often_who_takes_connections_and_closes_them() {
    type Meet = fn(&mut Links, Target, Instant);
    let closes: Meet = |links, target, now| {
        links.handle(Event::Connected(who(2), Way::Dialled(target)), now);
        links.handle(Event::Closed(who(2)), now);
    };
    let lets_in: Meet = |links, target, now| {
        join(links, who(2), Way::Dialled(target), now);
        links.handle(Event::Closed(who(2)), now);
    };
    let comes_and_goes: Meet = |links, target, now| {
        join(links, who(2), Way::Dialled(target), now);
        links.handle(Event::Closed(who(2)), now);
        links.handle(Event::Gone(who(2)), now);
        links.handle(Event::There(who(2), Vec::new()), now);
    };
    for (what, meet) in
        [("closes", closes), ("after it is let in", lets_in), ("says that it leaves", comes_and_goes)]
    {
        let mut links = Links::new(who(1), 1, 7);
        links.handle(Event::There(who(2), Vec::new()), Instant::now());
        let dials = dialled(&mut links, 600, meet);
        assert!((8..=34).contains(&dials.len()), "who {what} is dialled at {dials:?}");
        assert!(links.linked().is_empty() && links.connected.is_empty());
    }
}

#[test]
fn it_dials_at_once_who_was_there_for_long() {
    let (start, target) = (Instant::now(), Target::Bootstrap(0));
    let mut links = Links::new(who(1), 1, 7);
    for (seconds, at_once) in [(9, false), (100, true)] {
        join(&mut links, who(2), Way::Dialled(target), start);
        let end = start + Duration::from_secs(seconds);
        links.handle(Event::Closed(who(2)), end);
        assert_eq!(links.handle(Event::Tick, end) == [Effect::Dial(target)], at_once, "after {seconds} s");
    }
}

#[test]
fn it_remembers_nothing_of_passers_by() {
    let start = Instant::now();
    let mut links = Links::new(who(1), 0, 7);
    for n in 0..1_000_u32 {
        let mut peer = [9; 32];
        peer[..4].copy_from_slice(&n.to_be_bytes());
        join(&mut links, Origin(peer), Way::Came(None), start);
        links.handle(Event::Closed(Origin(peer)), start + Duration::from_secs(60));
        links.handle(Event::Found(Origin(peer)), start);
    }
    assert!(links.found.len() <= FOUND.0 && links.met.is_empty(), "{links:?}");
    assert!(links.dials.is_empty());
}

#[test]
fn it_gives_up_whom_it_found_nearby_and_cannot_reach() {
    let mut links = Links::new(who(1), 0, 7);
    links.handle(Event::Found(who(2)), Instant::now());
    let dials = dialled(&mut links, 600, |links, target, now| _ = links.handle(Event::Failed(target), now));
    assert_eq!(dials.len(), usize::try_from(FOUND.1).unwrap() + 1);
    assert!(!links.may_dial(who(2)));
}

#[test]
fn it_keeps_what_it_chose_and_what_it_favours_whoever_crowds_in() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    // 1 to 9 honest ones that it dialled, 10 to 12 favoured ones that came; and a crowd that speaks, or says nothing.
    for speaks in [true, false] {
        let mut links = Links::new(who(0), 0, 7).favouring((10..13).map(who).collect(), 0);
        let honest: Vec<Origin> = (0..13).map(who).collect();
        for peer in 1..13 {
            links.handle(Event::There(who(peer), honest.clone()), at(0));
            let way = if peer < 10 { Way::Dialled(Target::Peer(who(peer))) } else { Way::Came(None) };
            join(&mut links, who(peer), way, at(0));
        }
        for peer in 100..160 {
            join(&mut links, who(peer), Way::Came(None), at(1));
        }
        for second in 2..600 {
            for peer in 100..160 {
                // It names no neighbour in common, so that it could be the only bridge.
                let says = speaks.then(|| Event::There(who(peer), vec![who(0), who(200)]));
                says.into_iter().for_each(|says| _ = links.handle(says, at(second)));
            }
            for effect in links.handle(Event::Tick, at(second)) {
                match effect {
                    Effect::Drop(peer) => _ = links.handle(Event::Closed(peer), at(second)),
                    Effect::Dial(target) => _ = links.handle(Event::Failed(target), at(second)),
                }
            }
        }
        assert!((1..13).all(|peer| links.linked().contains(&who(peer))), "{:?}", links.linked());
        assert_eq!(links.linked().len(), MOST_LINKS);
    }
}

#[test]
fn it_chooses_some_of_its_neighbours_itself_whoever_has_come() {
    let start = Instant::now();
    let mut links = Links::new(who(0), 0, 7).favouring([who(150)].into(), 0);
    for peer in 1..60 {
        links.handle(Event::There(who(peer), Vec::new()), start);
        join(&mut links, who(peer), Way::Came(None), start);
    }
    (100..200).for_each(|peer| _ = links.handle(Event::There(who(peer), Vec::new()), start));
    let dials = dialled(&mut links, 60, |links, target, now| {
        let Target::Peer(peer) = target else { unreachable!() };
        join(links, peer, Way::Dialled(target), now);
    });
    assert_eq!(dials.len(), CHOSEN_LINKS, "{dials:?}");
    assert!(dials.contains(&(0, Target::Peer(who(150)))), "the one that is favoured goes first");
}

#[test]
fn it_prefers_those_it_met_to_any_number_that_is_made_up() {
    let start = Instant::now();
    let mut links = Links::new(who(0), 0, 7);
    for peer in 1..8 {
        links.handle(Event::There(who(peer), Vec::new()), start);
        join(&mut links, who(peer), Way::Came(None), start);
        links.handle(Event::Closed(who(peer)), start + Duration::from_secs(60));
    }
    (20..250).for_each(|peer| _ = links.handle(Event::There(who(peer), Vec::new()), start));
    let later = start + Duration::from_secs(120);
    let met = links.handle(Event::Tick, later);
    assert!(
        met.iter().filter(|effect| (1..8).any(|n| **effect == Effect::Dial(Target::Peer(who(n))))).count()
            == 7
    );
    // And nobody is dialled for all of them too often.
    let mut links = Links::new(who(0), 0, 7);
    (20..250).for_each(|peer| _ = links.handle(Event::There(who(peer), Vec::new()), start));
    let dials = dialled(&mut links, 60, |links, target, now| _ = links.handle(Event::Failed(target), now));
    assert!((100..=142).contains(&dials.len()), "{} dials in a minute", dials.len());
}

#[test]
fn it_drops_one_of_a_crowd_from_one_place_first() {
    let start = Instant::now();
    let place = |n| Some(Place::v4([10, 0, 0, n]));
    let mut links = Links::new(who(0), 0, 7);
    let all: Vec<Origin> = (0..60).map(who).collect();
    // 1 to 9 come from places of their own and have many links, the others all from one and name a single other one.
    for peer in 1..40 {
        let (names, from) = if peer < 10 { (&all[..], peer) } else { (&all[..2], 200) };
        links.handle(Event::There(who(peer), names.to_vec()), start);
        join(&mut links, who(peer), Way::Came(place(from)), start);
    }
    for second in 0..600 {
        for effect in links.handle(Event::Tick, start + Duration::from_secs(second)) {
            if let Effect::Drop(peer) = effect {
                links.handle(Event::Closed(peer), start + Duration::from_secs(second));
            }
        }
    }
    assert_eq!(links.linked().len(), MOST_LINKS);
    assert!((1..10).all(|peer| links.linked().contains(&who(peer))), "{:?}", links.linked());
}

#[test]
fn it_is_rid_of_a_large_crowd_soon_and_keeps_who_was_there() {
    let start = Instant::now();
    let mut links = Links::new(who(0), 0, 7);
    let honest: Vec<Origin> = (0..13).map(who).collect();
    for peer in 1..13 {
        links.handle(Event::There(who(peer), honest.clone()), start);
        join(&mut links, who(peer), Way::Came(Some(Place::v4([10, 0, 0, peer]))), start);
    }
    for peer in 100..196 {
        links.handle(Event::There(who(peer), vec![who(0), who(1)]), start);
        join(&mut links, who(peer), Way::Came(Some(Place::v4([10, 0, 1, 1]))), start);
    }
    let mut rid = None;
    for second in 0..300 {
        for effect in links.handle(Event::Tick, start + Duration::from_secs(second)) {
            match effect {
                Effect::Drop(peer) => {
                    _ = links.handle(Event::Closed(peer), start + Duration::from_secs(second));
                }
                Effect::Dial(target) => _ = links.handle(Event::Failed(target), start),
            }
        }
        if links.linked().len() <= MOST_LINKS {
            rid = rid.or(Some(second));
        }
    }
    assert!(rid.is_some_and(|second| second <= 90), "after {rid:?} s");
    assert!((1..13).all(|peer| links.linked().contains(&who(peer))), "{:?}", links.linked());
}

#[test]
fn it_looks_for_one_it_met_among_any_number_that_is_made_up() {
    let start = Instant::now();
    let mut links = Links::new(who(0), 0, 7);
    links.handle(Event::There(who(222), Vec::new()), start);
    join(&mut links, who(222), Way::Came(None), start);
    links.handle(Event::Closed(who(222)), start + Duration::from_secs(60));
    (1..255).for_each(|peer| _ = links.handle(Event::Gone(who(peer)), start));
    let dials = dialled(&mut links, 20, |links, target, now| _ = links.handle(Event::Failed(target), now));
    assert!(dials.iter().any(|(_, target)| *target == Target::Peer(who(222))), "{dials:?}");
    assert!(dials.iter().any(|(_, target)| *target != Target::Peer(who(222))), "{dials:?}");
}
