//! A network of four shards: an own log in each.

use std::collections::{BTreeMap, BTreeSet};

use anode_shared::batch::{Header, shard_of};
use anode_shared::cursor::Cursor;
use anode_shared::ids::LogId;
use anode_shared::topic::Topics;

use super::kit::*;
use crate::store::*;

fn four() -> StoreOptions {
    StoreOptions { shard_bits: 2, ..options() }
}

/// Publishes records of all shards together.
fn publish_all(store: &Store, numbers: std::ops::Range<u64>) -> Vec<RecordId> {
    let records = numbers.map(|n| record(&topic(n), n)).collect();
    wait(store.publish(records).unwrap()).unwrap()
}

fn set(ids: &[RecordId]) -> BTreeSet<RecordId> {
    ids.iter().copied().collect()
}

#[test]
fn it_opens_a_log_in_each_shard_at_every_start_and_chains_each() {
    let (disk, mut all) = (Memory::default(), Vec::new());
    let mut last: BTreeMap<u32, (LogId, u64, anode_shared::ids::Hash)> = BTreeMap::new();
    for start in 0..3 {
        let store = open(&disk, &four());
        let ids = publish_all(&store, start * 100..start * 100 + 40);
        let (mut ends, mut logs) = (BTreeMap::new(), BTreeSet::new());
        for id in &ids {
            let found = store.record(id).unwrap();
            let (header, shard) = (found.batch.header(), shard_of(found.batch.topic(found.index), 2));
            assert_eq!((header.shard_bits, header.shard), (2, shard), "{id}");
            let newest = last.get(&shard).filter(|_| header.first == 1);
            if let Some((log, end, hash)) = newest {
                let named = header.predecessor.map(|before| (before.log, before.end));
                assert_eq!((named, header.previous), (Some((*log, *end)), *hash), "shard {shard}");
                assert!(header.log > *log);
            }
            logs.insert((shard, id.key));
            ends.insert(shard, (id.key.log, id.seq, Header::hash(&found.proof.header)));
            found.proof.verify().unwrap();
        }
        assert_eq!((ends.len(), logs.len()), (4, 4), "a log in each shard, and no more");
        assert_eq!(store.own_heads().len(), 4 * (usize::try_from(start).unwrap() + 1));
        last = ends;
        all.extend(ids);
        let account = read_from(&store, &Start::Earliest);
        account.check();
        assert_eq!((set(&account.ids), account.gaps.len()), (set(&all), 0));
        assert_eq!(set(&history(&store, Direction::Asc, 7, None).0), set(&all));
        store.drain();
    }
}

#[test]
fn it_resumes_from_a_cursor_in_every_shard() {
    let disk = Memory::default();
    let mut store = open(&disk, &four());
    let mut all = publish_all(&store, 0..400);
    let mut reader = store.reader(&Start::Earliest, Topics::default(), &|_, _| true).unwrap();
    let mut total = read(&mut reader, &Topics::default(), 130);
    let mut cursor = reader.read_cursor();
    for start in 1..4 {
        // Less than it reads, so that it comes to be at the end, where finished logs get their marks.
        all.extend(publish_all(&store, start * 1_000..start * 1_000 + 50));
        store.drain();
        store = open(&disk, &four());
        all.extend(publish_all(&store, start * 1_000 + 500..start * 1_000 + 560));
        let start = Start::After(Cursor::parse(&cursor.to_string()).unwrap());
        let mut reader = store.reader(&start, Topics::default(), &|_, _| true).unwrap();
        let more = read(&mut reader, &Topics::default(), 170);
        total.ids.extend(more.ids);
        total.gaps.extend(more.gaps);
        cursor = reader.read_cursor();
    }
    let rest = read_from(&store, &Start::After(cursor));
    total.ids.extend(rest.ids);
    total.check();
    assert_eq!((set(&total.ids), total.gaps.len()), (set(&all), 0));
    store.drain();
}

#[test]
fn it_reads_all_shards_live() {
    let store = open(&Memory::default(), &four());
    let before = publish_all(&store, 0..40);
    let mut reader = store.reader(&Start::Live, Topics::default(), &|_, _| true).unwrap();
    let after = publish_all(&store, 40..80);
    assert_eq!(set(&read(&mut reader, &Topics::default(), usize::MAX).ids), set(&after));
    assert_eq!(set(&read_from(&store, &Start::Last(80)).ids), set(&[before, after].concat()));
    let newest = read_from(&store, &Start::Latest).payloads;
    assert_eq!(
        newest.iter().collect::<BTreeSet<_>>(),
        (72..80).map(|n| n.to_string()).collect::<Vec<_>>().iter().collect()
    );
    store.drain();
}

/// Two clients of one topic each, in shards of their own, where the disk has room for one of them.
#[test]
fn it_keeps_nothing_of_what_it_refused_in_another_shard() {
    let disk = Memory::default();
    let store = open(&disk, &four());
    let in_shard = |wanted: u32| (0..).map(topic).find(|topic| shard_of(topic, 2) == wanted).unwrap();
    let keyed = |shard: u32, payload: String| NewRecord {
        dedupe: Some("k".into()),
        ..record(&in_shard(shard), payload)
    };
    let long = format!("\"{}\"", "x".repeat(20_000));
    let records = || vec![keyed(1, "1".to_owned()), keyed(2, long.clone()), keyed(3, "3".to_owned())];
    disk.set_room(5_000);
    assert_eq!(wait(store.publish(records()).unwrap()), Err(Refused::Full));
    disk.set_room(10 << 20);
    std::thread::sleep(std::time::Duration::from_millis(1_400));
    let ids = wait(store.publish(records()).unwrap()).unwrap();
    let account = read_from(&store, &Start::Earliest);
    assert_eq!(
        (set(&account.ids), account.ids.len()),
        (set(&ids), 3),
        "each once, whatever was written before"
    );
    store.drain();
    let store = open(&disk, &four());
    assert_eq!(wait(store.publish(records()).unwrap()).unwrap(), ids, "all keys are known");
    store.drain();
}

#[test]
fn it_takes_a_network_to_have_so_many_shards_and_no_more() {
    let many = StoreOptions { shard_bits: 7, ..options() };
    let refused = Store::open(Arc::new(Memory::default()), many, key(1), Arc::new(Nobody)).unwrap_err();
    assert!(refused.to_string().contains("2^6 shards"), "{refused}");
}

/// A network is split: what was written before stays, and nothing of it is lost.
#[test]
fn it_goes_on_where_there_was_one_shard() {
    let disk = Memory::default();
    let store = open(&disk, &options());
    let mut all = publish_all(&store, 0..40);
    let cursor = store.reader(&Start::Earliest, Topics::default(), &|_, _| true).unwrap().read_cursor();
    store.drain();
    let store = open(&disk, &four());
    all.extend(publish_all(&store, 40..80));
    for start in [Start::Earliest, Start::After(cursor)] {
        assert_eq!(set(&read_from(&store, &start).ids), set(&all));
    }
    store.drain();
}
