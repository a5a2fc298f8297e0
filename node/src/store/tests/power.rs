//! Power loss: the real writer over a disk that forgets what was not synced and tears the last write.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::kit::*;
use crate::store::*;

/// How many power cuts.
const CUTS: usize = 1_000;

#[test]
fn it_keeps_every_acknowledged_record_over_power_cuts() {
    cut_power(CUTS, 0);
}

#[test]
fn it_keeps_every_acknowledged_record_of_each_shard_over_power_cuts() {
    cut_power(CUTS / 4, 2);
}

fn cut_power(most: usize, shard_bits: u8) {
    let seed = seed();
    let mut random = Random(seed);
    let (mut cuts, mut kept) = (0, 0);
    while cuts < most {
        let disk = Memory::default();
        let shared_options =
            StoreOptions { segment_bytes: 3_000 + random.below(20_000), shard_bits, ..options() };
        let store = open(&disk, &shared_options);
        let (acked, stop) = (Arc::new(std::sync::Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let publisher = publish_until(&store, &acked, &stop);
        for _ in 0..20 {
            let sure = acked.lock().unwrap().clone();
            let mut numbers = Random(random.next());
            let after = disk.power_cut(&mut || numbers.next());
            mangle_indexes(&after, &mut random);
            kept += check_after(&after, &shared_options, &sure);
            cuts += 1;
            std::thread::sleep(std::time::Duration::from_micros(random.below(1_500)));
        }
        stop.store(true, Ordering::SeqCst);
        publisher.join().unwrap();
        store.drain();
    }
    assert!(kept > most, "the cuts must come while records are acknowledged");
}

fn publish_until(
    store: &Store,
    acked: &Arc<std::sync::Mutex<Vec<RecordId>>>,
    stop: &Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    let (store, acked, stop) = (store.clone(), acked.clone(), stop.clone());
    std::thread::spawn(move || {
        let mut n = 0;
        while !stop.load(Ordering::SeqCst) {
            let many = 1 + n % 5;
            let publishing: Vec<_> = (0..3)
                .filter_map(|_| store.publish((0..many).map(|m| record(&topic(n + m), n + m)).collect()).ok())
                .collect();
            for one in publishing {
                acked.lock().unwrap().extend(wait(one).unwrap());
            }
            n += many;
            std::thread::sleep(std::time::Duration::from_micros(1_500));
        }
    })
}

/// An index that is missing, torn or of another time.
fn mangle_indexes(disk: &Memory, random: &mut Random) {
    for name in disk.list().unwrap().into_iter().filter(|name| name.ends_with(".index")) {
        match random.below(4) {
            0 => disk.remove(&name).unwrap(),
            1 => disk.damage(&name, |bytes| bytes.truncate(bytes.len() / 2)),
            2 => disk.damage(&name, |bytes| {
                if let Some(byte) = bytes.last_mut() {
                    *byte ^= 0xff;
                }
            }),
            _ => {}
        }
    }
}

/// Opens what is left: every acknowledged record is there, once, in order; nothing is damaged; it takes records again.
fn check_after(disk: &Memory, options: &StoreOptions, sure: &[RecordId]) -> usize {
    let store = open(disk, options);
    let account = read_from(&store, &Start::Earliest);
    let seen = account.check();
    assert!(account.gaps.is_empty(), "a gap after a power cut: {:?}", account.gaps);
    let missing: Vec<_> =
        sure.iter().filter(|id| !seen.get(&id.key).is_some_and(|seqs| seqs.contains(&id.seq))).collect();
    assert!(
        missing.is_empty(),
        "{} acknowledged records are lost, the first is {}",
        missing.len(),
        missing[0]
    );
    let paged: BTreeSet<_> = history(&store, Direction::Asc, 1_000, None).0.into_iter().collect();
    assert_eq!(paged.len(), account.ids.len());
    assert_eq!(store.status().damaged, 0);
    let more = publish(&store, "a.b", 0..5);
    assert_eq!(read_from(&store, &Start::Earliest).ids.last(), more.last());
    store.drain();
    sure.len()
}

#[test]
fn it_acknowledges_nothing_after_a_failed_sync() {
    let disk = Memory::default();
    let store = open(&disk, &options());
    publish(&store, "a.b", 0..3);
    disk.fail_syncs(true);
    assert_eq!(wait(store.publish(vec![record("a.b", 1)]).unwrap()), Err(Refused::Failed));
    disk.fail_syncs(false);
    assert_eq!(store.publish(vec![record("a.b", 1)]).err(), Some(Refused::Failed));
    assert!(store.status().failed.is_some());
    assert_eq!(read_from(&store, &Start::Earliest).ids.len(), 4, "reading goes on");
    store.drain();
}

#[test]
fn it_refuses_on_a_full_disk_and_goes_on_when_there_is_room() {
    let disk = Memory::default();
    let shared_options = StoreOptions { reserve_disk: 0, ..options() };
    let store = open(&disk, &shared_options);
    let mut ids = publish(&store, "a.b", 0..3);
    disk.set_room(100);
    assert_eq!(wait(store.publish(vec![record("a.b", 1)]).unwrap()), Err(Refused::Full));
    disk.set_room(10 << 20);
    std::thread::sleep(std::time::Duration::from_millis(1_400));
    ids.extend(publish(&store, "a.b", 3..6));
    assert_eq!(read_from(&store, &Start::Earliest).ids, ids);
    store.drain();
    let store = open(&disk, &shared_options);
    assert_eq!(read_from(&store, &Start::Earliest).ids, ids);
    store.drain();
}
