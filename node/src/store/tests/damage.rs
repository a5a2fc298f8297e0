//! Damage to what was stable: found, never served, shown as a gap; the rest is intact.

use std::collections::BTreeMap;
use std::time::Duration;

use anode_shared::frames::GapReason;
use bytes::Bytes;

use super::kit::*;
use crate::store::index::Index;
use crate::store::order::{Order, What};
use crate::store::replay::replay;
use crate::store::*;

fn filled(options: &StoreOptions) -> (Memory, Vec<RecordId>) {
    let disk = Memory::default();
    let store = open(&disk, options);
    let mut ids = Vec::new();
    for n in 0..100 {
        ids.extend(publish(&store, "a.b", n * 10..n * 10 + 10));
    }
    store.drain();
    (disk, ids)
}

fn segments(disk: &Memory) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.ends_with(".segment")).collect()
}

#[test]
fn it_shows_damage_as_a_gap_and_keeps_the_rest() {
    let seed = seed();
    let options = options();
    let (mut random, (disk, ids)) = (Random(seed), filled(&options));
    for round in 0..60 {
        let hurt = disk.power_cut(&mut || 1);
        let names = segments(&hurt);
        let name = &names[usize::try_from(random.below(names.len() as u64)).unwrap()];
        let (at, bit) = (random.next(), random.below(8));
        hurt.damage(name, |bytes| {
            let place = usize::try_from(at % bytes.len() as u64).unwrap();
            bytes[place] ^= 1 << bit;
        });
        if random.below(2) == 0 {
            // The index too must be made anew, from the damaged segment.
            let index = name.replace(".segment", ".index");
            let _ = hurt.remove(&index);
        }
        let store = open(&hurt, &options);
        let account = read_from(&store, &Start::Earliest);
        let seen = account.check();
        assert_eq!(seen[&ids[0].key].len(), ids.len(), "round {round}: each record or its gap");
        assert!(account.gaps.iter().all(|gap| gap.reason == GapReason::Corrupt), "{:?}", account.gaps);
        let more = publish(&store, "a.b", 0..3);
        assert_eq!(read_from(&store, &Start::Earliest).ids.last(), more.last());
        store.drain();
    }
}

#[test]
fn it_starts_with_segments_missing() {
    let options = options();
    let (disk, ids) = filled(&options);
    let names = segments(&disk);
    assert!(names.len() > 3);
    for place in [0, 1, names.len() - 2] {
        let hurt = disk.power_cut(&mut || 1);
        hurt.remove(&names[place]).unwrap();
        let store = open(&hurt, &options);
        let account = read_from(&store, &Start::Earliest);
        let seen = account.check();
        assert_eq!(seen[&ids[0].key].len(), ids.len(), "without segment {place}");
        assert!(!account.gaps.is_empty());
        assert!(place == 0 || store.status().damaged > 0);
        store.drain();
    }
}

/// A segment of interleaved logs: with batches that waited, jumps, what came late, and a clean stop.
fn interleaved(random: &mut Random) -> Vec<u8> {
    let disk = Memory::default();
    let options = StoreOptions { segment_bytes: 1 << 20, jump_after: Duration::ZERO, ..options() };
    let store = open(&disk, &options);
    let mut all: Vec<Bytes> = (0..4).flat_map(|log| foreign(20 + log, 7, &[1, 2, 1, 3, 1, 1, 2])).collect();
    random.shuffle(&mut all);
    for batch in all {
        accept(&store, &batch);
        if random.below(3) == 0 {
            publish(&store, "a.b", 0..2);
        }
    }
    store.drain();
    let mut bytes = Vec::new();
    disk.damage(&segments(&disk)[0], |all| bytes = all.clone());
    bytes
}

/// The number of each batch that is visible, by its place.
fn numbers(index: &Index) -> BTreeMap<u32, u64> {
    (index.summary.first_arrival..)
        .zip(&index.arrivals)
        .filter_map(|(number, arrival)| match arrival.what {
            What::Batch(place) => Some((place.offset, number)),
            What::Jump | What::Damage | What::Late => None,
        })
        .collect()
}

#[test]
fn it_gives_later_arrivals_their_numbers_whatever_was_damaged() {
    let mut random = Random(seed());
    for round in 0..20 {
        let bytes = interleaved(&mut random);
        let whole = replay(1, &bytes, Some(Order::default()), true);
        let (entries, was) = (entry::scan(&bytes, true).entries, numbers(&whole.index));
        for _ in 0..40 {
            let mut hurt = bytes.clone();
            for _ in 0..=random.below(6) {
                // Neither the checkpoint nor the last entry, which says where all ended.
                let one = 1 + usize::try_from(random.below(entries.len() as u64 - 2)).unwrap();
                hurt[entries[one].offset + entry::HEAD] ^= 0xff;
            }
            let again = replay(1, &hurt, Some(Order::default()), true);
            assert_eq!(again.order.next, whole.order.next, "round {round}");
            assert_eq!(again.order.heads(), whole.order.heads(), "round {round}");
            for (place, number) in numbers(&again.index) {
                assert_eq!(was.get(&place), Some(&number), "round {round}: the batch at {place}");
            }
            let mut heads = again.index.base.clone();
            for arrival in &again.index.arrivals {
                let had = heads.get(&arrival.key).copied().unwrap_or(0);
                assert!(
                    arrival.last < arrival.first || arrival.what == What::Late || arrival.first == had + 1
                );
                arrival.advance(&mut heads);
            }
            assert_eq!(heads, whole.order.heads(), "round {round}: the arrivals lead to the heads");
        }
    }
}

fn index_of(store: &Store, place: usize) -> Index {
    store.shared.all_segments()[place].with_index(Clone::clone).unwrap()
}

#[test]
fn it_makes_an_index_anew_without_its_checkpoint() {
    let options = options();
    let (disk, ids) = filled(&options);
    let names = segments(&disk);
    let hurt_checkpoint = |disk: &Memory, place: usize| {
        disk.damage(&names[place], |bytes| bytes[entry::HEAD + 3] ^= 1);
        let _ = disk.remove(&names[place].replace(".segment", ".index"));
    };
    let store = open(&disk.power_cut(&mut || 1), &options);
    let was: Vec<Index> = (0..names.len()).map(|place| index_of(&store, place)).collect();
    store.drain();
    for gone in [0, 1] {
        let hurt = disk.power_cut(&mut || 1);
        names[..gone].iter().for_each(|name| hurt.remove(name).unwrap());
        hurt_checkpoint(&hurt, 1);
        hurt_checkpoint(&hurt, 2);
        let store = open(&hurt, &options);
        for place in [1, 2] {
            let (again, mut was) = (index_of(&store, place - gone), was[place].clone());
            was.summary.damaged = 1;
            assert_eq!(again, was, "segment {place} without {gone}");
        }
        let account = read_from(&store, &Start::Earliest);
        assert_eq!(account.check()[&ids[0].key].len(), ids.len());
        assert!(account.gaps.is_empty() == (gone == 0), "{:?}", account.gaps);
        store.drain();
    }
}

/// Whatever part of a damaged batch somebody asked for, the whole of it is missing then, or it would fit nowhere.
#[test]
fn it_takes_a_damaged_batch_again_whichever_of_its_records_was_asked_for() {
    for asked in [4, 8, 13] {
        let (disk, options) = (Memory::default(), StoreOptions { segment_bytes: 500, ..options() });
        let (store, batches) = (open(&disk, &options), foreign(9, 5, &[3, 10, 4, 2]));
        batches.iter().for_each(|batch| assert_eq!(accept(&store, batch), Verdict::Taken));
        publish(&store, "a.b", 0..3);
        for name in segments(&disk) {
            disk.damage(&name, |bytes| {
                let place = bytes.windows(batches[1].len()).position(|window| window == &batches[1][..]);
                place.into_iter().for_each(|place| bytes[place + batches[1].len() - 1] ^= 1);
            });
        }
        let key = Loaded::new(batches[1].clone()).unwrap().key();
        let id = RecordId { key, seq: asked };
        assert_eq!(store.record(&id).err(), Some(Missing::Gone(GapReason::Corrupt)), "{asked}");
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while store.log(key).unwrap().missing.is_empty() {
            assert!(std::time::Instant::now() < deadline, "{asked}: nothing is missing");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(store.log(key).unwrap().missing, [(4, 13)], "{asked}");
        assert_eq!(accept(&store, &batches[1]), Verdict::Taken, "{asked}");
        assert!(store.record(&id).is_ok() && store.log(key).unwrap().missing.is_empty());
        store.drain();
    }
}
