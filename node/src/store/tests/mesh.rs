//! Batches of other origins: in any order, with holes, duplicates and forks; cursors that two stores share.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anode_shared::frames::GapReason;
use anode_shared::ids::LogKey;
use anode_shared::topic::Topics;
use bytes::Bytes;

use super::kit::*;
use crate::store::*;

/// Waits until nothing waits for its predecessor any more.
fn settle(store: &Store) {
    for _ in 0..1_000 {
        // What is in the order is shown a moment later.
        let shown = store.shared.read_tail().next();
        if store.status().waiting_batches == 0 && shown == store.shared.order().next {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the store never went on without what is missing");
}

#[test]
fn it_shows_batches_once_their_predecessor_is_there() {
    let store = open(&Memory::default(), &options());
    let batches = foreign(9, 5, &[3, 2, 4, 1]);
    assert_eq!(accept(&store, &batches[0]), Verdict::Taken);
    assert_eq!(accept(&store, &batches[2]), Verdict::Taken);
    assert_eq!(read_from(&store, &Start::Earliest).ids.len(), 3);
    assert_eq!(accept(&store, &batches[2]), Verdict::Held);
    assert_eq!(accept(&store, &batches[1]), Verdict::Taken);
    assert_eq!(accept(&store, &batches[3]), Verdict::Taken);
    assert_eq!(accept(&store, &batches[0]), Verdict::Held);
    let account = read_from(&store, &Start::Earliest);
    assert_eq!(account.ids.iter().map(|id| id.seq).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    store.drain();
}

#[test]
fn it_begins_with_the_newest_visible_record_of_each_topic() {
    let store = open(&Memory::default(), &StoreOptions { jump_after: Duration::from_secs(60), ..options() });
    let batches = foreign(9, 5, &[3, 2, 4]);
    accept(&store, &batches[0]);
    accept(&store, &batches[2]);
    let own = publish(&store, "a.b", 0..2);
    let latest = |store: &Store| -> Vec<u64> {
        read_from(store, &Start::Latest).ids.iter().map(|id| id.seq).collect()
    };
    assert_eq!(latest(&store), [3, own[1].seq], "what waits for its number is not shown, nor does it hide");
    accept(&store, &batches[1]);
    assert_eq!(latest(&store), [9, own[1].seq]);
    store.drain();
}

#[test]
fn it_jumps_over_a_hole_and_takes_what_comes_late() {
    let disk = Memory::default();
    let shared_options = options();
    let store = open(&disk, &shared_options);
    let batches = foreign(9, 5, &[3, 2, 4]);
    accept(&store, &batches[0]);
    let mut early = store.reader(&Start::Earliest, Topics::default(), &|_, _| true).unwrap();
    assert_eq!(read(&mut early, &Topics::default(), usize::MAX).ids.len(), 3);
    accept(&store, &batches[2]);
    settle(&store);
    let account = read(&mut early, &Topics::default(), usize::MAX);
    assert_eq!(account.ids.iter().map(|id| id.seq).collect::<Vec<_>>(), [6, 7, 8, 9]);
    assert_eq!(
        account.gaps.iter().map(|gap| (gap.from, gap.to, gap.reason)).collect::<Vec<_>>(),
        [(4, 5, GapReason::Unreachable)]
    );
    assert_eq!(history(&store, Direction::Asc, 100, None).1.len(), 1);
    for (count, gaps) in [(4, 0), (5, 1), (7, 1)] {
        let last = read_from(&store, &Start::Last(count));
        assert_eq!(
            (last.ids.len(), last.gaps.len()),
            (count, gaps),
            "last:{count} names what is missing in it"
        );
    }
    assert_eq!(accept(&store, &batches[1]), Verdict::Taken);
    assert!(
        read(&mut early, &Topics::default(), usize::MAX).ids.is_empty(),
        "what a gap named must not be sent again"
    );
    std::thread::sleep(Duration::from_millis(1_300));
    for _ in 0..2 {
        let store = open(&disk.power_cut(&mut || 0), &shared_options);
        assert!(read_from(&store, &Start::Earliest).ids.len() >= 3);
        store.drain();
    }
    assert_eq!(read_from(&store, &Start::Earliest).ids.len(), 9);
    assert_eq!(history(&store, Direction::Desc, 4, None).0.len(), 9);
    store.drain();
    assert_eq!(read_from(&open(&disk, &shared_options), &Start::Earliest).ids.len(), 9);
}

#[test]
fn it_ends_a_forked_log_before_the_earlier_header_whatever_came_first() {
    let good = foreign(9, 5, &[3, 2, 4]);
    let other = foreign(9, 5, &[3, 4, 1]);
    for (first, second) in [(&good, &other), (&other, &good)] {
        let disk = Memory::default();
        let shared_options = options();
        let store = open(&disk, &shared_options);
        first.iter().for_each(|batch| assert_eq!(accept(&store, batch), Verdict::Taken));
        assert_eq!(accept(&store, &second[0]), Verdict::Held);
        assert_eq!(accept(&store, &second[1]), Verdict::Forked);
        assert_eq!(accept(&store, &second[2]), Verdict::Ended);
        let account = read_from(&store, &Start::Earliest);
        assert_eq!(account.ids.iter().map(|id| id.seq).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(account.gaps.iter().all(|gap| gap.reason == GapReason::Forked && gap.from >= 4));
        assert_eq!(store.forks().len(), 1);
        store.drain();
        let store = open(&disk, &shared_options);
        assert_eq!((store.forks().len(), accept(&store, &first[2])), (1, Verdict::Ended));
        store.drain();
    }
}

#[test]
fn it_finds_a_fork_in_a_chain_that_met_late() {
    let good = foreign(9, 5, &[3, 2, 4]);
    let other = foreign(9, 5, &[3, 2, 9]);
    // The third batch of one version and the second of another, that does not lead to it.
    let twisted = foreign(9, 5, &[2, 1, 2]);
    let store = open(&Memory::default(), &options());
    accept(&store, &good[2]);
    accept(&store, &twisted[2]);
    accept(&store, &other[0]);
    assert_eq!(store.forks().len(), 1, "the waiting batch names another previous");
    store.drain();
}

#[test]
fn it_refuses_what_is_no_batch_of_this_network() {
    let store = open(&Memory::default(), &options());
    assert!(matches!(accept(&store, &Bytes::from_static(b"nonsense")), Verdict::Invalid(_)));
    let mut broken = foreign(9, 5, &[3])[0].to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    assert!(matches!(accept(&store, &Bytes::from(broken)), Verdict::Invalid(_)));
    let elsewhere = open(&Memory::default(), &StoreOptions { network: "other".into(), ..options() });
    assert_eq!(accept(&elsewhere, &foreign(9, 5, &[3])[0]), Verdict::OtherNetwork);
    store.drain();
    elsewhere.drain();
}

#[test]
fn it_sets_a_batch_from_the_future_aside() {
    let past = StoreOptions { clock: Arc::new(|| NOW - 3_600_000_000), ..options() };
    let store = open(&Memory::default(), &past);
    assert!(matches!(accept(&store, &foreign(9, 5, &[3])[0]), Verdict::Early { .. }));
    store.drain();
}

/// Two stores are filled with the same logs in different orders and with different holes, over restarts; readers hop between
/// them with their cursors. Nothing comes twice; what both lack is a gap; once each has what the other has, nothing is missing.
#[test]
fn it_serves_cursors_of_another_store() {
    let seed = seed();
    for round in 0..30 {
        let mut random = Random(seed.wrapping_add(round));
        hop(&mut random, round);
    }
}

fn hop(random: &mut Random, round: u64) {
    let logs: Vec<Vec<Bytes>> = (0..3)
        .map(|log| {
            let sizes: Vec<usize> =
                (0..4 + random.below(6)).map(|_| 1 + usize::try_from(random.below(5)).unwrap()).collect();
            foreign(20 + log, 7, &sizes)
        })
        .collect();
    let disks = [Memory::default(), Memory::default()];
    let shared_options = options();
    let mut stores = disks.each_ref().map(|disk| open(disk, &shared_options));
    // What neither ever has.
    let lost: BTreeSet<(usize, usize)> =
        (0..2).map(|_| (0, usize::try_from(1 + random.below(2)).unwrap())).collect();
    let mut plans: Vec<Vec<(usize, usize)>> = (0..2)
        .map(|_| {
            let all = logs
                .iter()
                .enumerate()
                .flat_map(|(log, batches)| (0..batches.len()).map(move |place| (log, place)));
            let mut plan: Vec<_> = all.filter(|at| !lost.contains(at)).collect();
            random.shuffle(&mut plan);
            plan
        })
        .collect();
    let mut total = Account::default();
    let mut cursor = Cursor::new(0);
    for step in 0..12 {
        let at = usize::try_from(random.below(2)).unwrap();
        for _ in 0..random.below(8) {
            if let Some((log, place)) = plans[at].pop() {
                accept(&stores[at], &logs[log][place]);
            }
        }
        if random.below(4) == 0 {
            settle(&stores[at]);
        }
        if random.below(4) == 0 {
            stores[at].drain();
            stores[at] = open(&disks[at], &shared_options);
        }
        if step % 2 == 1 {
            let most = usize::try_from(random.below(20)).unwrap();
            follow(&stores[at], &mut cursor, &mut total, most);
        }
    }
    for (at, plan) in plans.into_iter().enumerate() {
        plan.iter().for_each(|(log, place)| _ = accept(&stores[at], &logs[*log][*place]));
    }
    stores.iter().for_each(settle);
    stores.iter().for_each(|store| follow(store, &mut cursor, &mut total, usize::MAX));
    let seen = total.check();
    for batches in &logs {
        let last = Loaded::new(batches[batches.len() - 1].clone()).unwrap();
        let whole: BTreeSet<u64> = (1..=last.header().last()).collect();
        assert_eq!(seen.get(&last.key()), Some(&whole), "round {round}: {}", last.key());
    }
    complete(&stores, &logs, &lost);
    stores.iter().for_each(Store::drain);
}

fn follow(store: &Store, cursor: &mut Cursor, total: &mut Account, most: usize) {
    let text = cursor.to_string();
    let start = Start::After(Cursor::parse(&text).unwrap());
    let mut reader = store.reader(&start, Topics::default(), &|_, _| true).unwrap();
    let account = read(&mut reader, &Topics::default(), most);
    total.ids.extend(account.ids);
    total.payloads.extend(account.payloads);
    total.gaps.extend(account.gaps);
    *cursor = reader.read_cursor();
}

/// Both stores now give a reader who begins anew all that is not lost, and name what is.
fn complete(stores: &[Store; 2], logs: &[Vec<Bytes>], lost: &BTreeSet<(usize, usize)>) {
    let mut missing: BTreeMap<LogKey, u64> = BTreeMap::new();
    for (log, place) in lost {
        let batch = Loaded::new(logs[*log][*place].clone()).unwrap();
        *missing.entry(batch.key()).or_default() += batch.len() as u64;
    }
    for store in stores {
        let account = read_from(store, &Start::Earliest);
        account.check();
        let mut gaps: BTreeMap<LogKey, u64> = BTreeMap::new();
        account.gaps.iter().for_each(|gap| *gaps.entry(gap.log).or_default() += gap.to - gap.from + 1);
        assert_eq!(gaps, missing);
    }
}
