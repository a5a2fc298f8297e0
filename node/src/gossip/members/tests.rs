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
    links.handle(Event::Connected(who(2), Some(0)), start);
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

/// Plays a mesh whose nodes know one another, and gives each one's links after a while.
fn play(count: u8, seed: u64, first: &[(u8, u8)]) -> Vec<BTreeSet<Origin>> {
    let start = Instant::now();
    let mut nodes: Vec<Links> = (0..count).map(|n| Links::new(who(n), 0, seed + u64::from(n))).collect();
    let link = |nodes: &mut Vec<Links>, one: u8, other: u8| {
        nodes[usize::from(one)].handle(Event::Connected(who(other), None), start);
        nodes[usize::from(other)].handle(Event::Connected(who(one), None), start);
    };
    first.iter().for_each(|(one, other)| link(&mut nodes, *one, *other));
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
                    Effect::Dial(Target::Peer(peer)) => link(&mut nodes, one, peer.0[0]),
                    Effect::Drop(peer) => {
                        nodes[usize::from(one)].handle(Event::Closed(peer), now);
                        nodes[usize::from(peer.0[0])].handle(Event::Closed(who(one)), now);
                    }
                    Effect::Dial(Target::Bootstrap(_)) => {}
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
