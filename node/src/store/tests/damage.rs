//! Damage to what was stable: found, never served, shown as a gap; the rest is intact.

use anode_shared::frames::GapReason;

use super::kit::*;
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
