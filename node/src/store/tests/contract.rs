//! What holds over files as over memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anode_shared::cursor::{Cursor, WHOLE};
use anode_shared::topic::Topics;

use super::kit::*;
use crate::store::*;

/// Runs a test over both disks, and where the network has four shards. `again` opens the same disk another time.
fn over_all(test: impl Fn(&dyn Fn() -> Store)) {
    over_both(&test);
    let memory = Memory::default();
    let shared_options = StoreOptions { shard_bits: 2, ..options() };
    test(&|| open(&memory, &shared_options));
}

/// Runs a test over both disks.
fn over_both(test: impl Fn(&dyn Fn() -> Store)) {
    let memory = Memory::default();
    let shared_options = options();
    test(&|| open(&memory, &shared_options));
    let folder = tempfile::tempdir().unwrap();
    let shared_options = options();
    test(&|| {
        let disk = Arc::new(Folder::new(folder.path().to_owned()).unwrap());
        Store::open(disk, shared_options.clone(), key(1), Arc::new(Nobody)).unwrap()
    });
}

#[test]
fn it_gives_back_what_was_published_in_order_and_over_restarts() {
    over_all(|again| {
        let mut ids = Vec::new();
        for round in 0..4 {
            let store = again();
            for _ in 0..5 {
                ids.extend(publish(&store, "a.b", round * 1_000..round * 1_000 + 300));
            }
            let account = read_from(&store, &Start::Earliest);
            assert_eq!(account.ids, ids);
            assert_eq!((account.gaps.len(), account.caught_up), (0, 1));
            assert_eq!(history(&store, Direction::Asc, 700, None).0, ids);
            let mut backwards = history(&store, Direction::Desc, 333, None).0;
            backwards.reverse();
            assert_eq!(backwards, ids);
            store.drain();
        }
    });
}

#[test]
fn it_resumes_from_a_cursor_without_loss_or_duplicate() {
    over_all(|again| {
        let store = again();
        let mut ids = publish(&store, "a.b", 0..2_000);
        let mut reader = store.reader(&Start::Earliest, Topics::default(), &|_, _| true).unwrap();
        let mut got = read(&mut reader, &Topics::default(), 700).ids;
        let cursor = reader.read_cursor();
        store.drain();
        let store = again();
        ids.extend(publish(&store, "a.b", 2_000..2_500));
        let rest = read_from(&store, &Start::After(Cursor::parse(&cursor.to_string()).unwrap()));
        got.extend(rest.ids);
        assert_eq!(got, ids);
        // The other form: the cursor of the start, moved on by what was seen.
        let mut moved = Cursor::new(0);
        ids[..1_234].iter().for_each(|id| moved.set(id.key, WHOLE, id.seq));
        assert_eq!(read_from(&store, &Start::After(moved.clone())).ids, ids[1_234..]);
        assert_eq!(history(&store, Direction::Asc, 10_000, Some(&moved)).0, ids[1_234..]);
        store.drain();
    });
}

#[test]
fn it_stands_behind_what_it_gave_while_records_arrive() {
    over_both(|again| {
        let store = again();
        publish(&store, "a.b", 0..5);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    publish(&store, "a.b", 0..1);
                }
            });
            for _ in 0..3_000 {
                let mut reader = store.reader(&Start::Last(5), Topics::default(), &|_, _| true).unwrap();
                let last = *read(&mut reader, &Topics::default(), 5).ids.last().unwrap();
                let cursor = reader.cursor_before(std::iter::empty()).unwrap_or_else(|| reader.read_cursor());
                let (_, stands) = cursor.logs().find(|(key, _)| *key == last.key).unwrap();
                if stands < last.seq {
                    over.store(true, Ordering::Relaxed);
                    panic!("it stands at {stands}, and {} was given", last.seq);
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        store.drain();
    });
}

#[test]
fn it_begins_where_it_is_told() {
    over_all(|again| {
        let store = again();
        let old = publish(&store, "a.old", 0..500);
        let new = publish(&store, "a.new", 0..500);
        let all: Vec<_> = old.iter().chain(&new).copied().collect();
        assert!(read_from(&store, &Start::Live).ids.is_empty());
        assert_eq!(read_from(&store, &Start::Last(7)).ids, all[993..]);
        let cut_early = store.reader(&Start::Last(7), Topics::default(), &|_, _| true).unwrap().read_cursor();
        assert_eq!(read_from(&store, &Start::After(cut_early)).ids, all[993..]);
        assert_eq!(read_from(&store, &Start::Latest).ids, [old[499], new[499]]);
        let time = store.record(&new[3]).map(|found| found.batch.record(found.index).time).unwrap();
        let from_time = read_from(&store, &Start::Time(time)).ids;
        let earlier = all
            .iter()
            .filter(|id| store.record(id).is_ok_and(|found| found.batch.record(found.index).time < time))
            .count();
        assert_eq!(from_time, all[earlier..]);
        store.drain();
    });
}

/// Takes a step, and says how many bytes of batches it holds.
fn held(reader: &mut Reader, account: &mut Account) -> usize {
    let step = reader.poll_storage();
    let mut batches: Vec<_> = step
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Records(slice) => Some(slice.batch().clone()),
            Item::Gap(_) | Item::CaughtUp => None,
        })
        .collect();
    batches.dedup_by(|one, other| Arc::ptr_eq(one, other));
    account.take(step.items, &Topics::default());
    batches.iter().map(|batch| batch.bytes().len()).sum()
}

#[test]
fn it_begins_with_all_that_is_asked_for_and_holds_little_of_it() {
    over_both(|again| {
        let store = again();
        // More than a page of history holds.
        let text = format!("\"{}\"", "x".repeat(100_000));
        let mut ids = Vec::new();
        for n in 0..25 {
            let records = (0..10).map(|place| record(&format!("a.n{}", n * 10 + place), &text)).collect();
            ids.extend(wait(store.publish(records).unwrap()).unwrap());
        }
        for start in [Start::Last(230), Start::Latest] {
            let wanted = if start == Start::Latest { &ids[..] } else { &ids[20..] };
            let mut reader = store.reader(&start, Topics::default(), &|_, _| true).unwrap();
            let mut account = Account::default();
            while reader.first_left() > 0 {
                let bytes = held(&mut reader, &mut account);
                assert!(bytes < 1 << 20, "{start:?}: {bytes} bytes at once");
                if account.ids.len() == wanted.len() / 2 {
                    let cursor = reader.read_cursor();
                    assert_eq!(read_from(&store, &Start::After(cursor)).ids, wanted[wanted.len() / 2..]);
                }
            }
            assert!(account.ids == wanted, "{start:?}: {} of {}", account.ids.len(), wanted.len());
        }
        store.drain();
    });
}

#[test]
fn it_looks_for_the_last_records_in_rounds() {
    let store = open(&Memory::default(), &options());
    let ids = publish(&store, "a.b", 0..3_000);
    let slow_and_rare = |batch: &Loaded, index: usize| {
        std::thread::sleep(Duration::from_micros(200));
        batch.seq(index) % 1_000 == 500
    };
    let mut opening = store.open_reader(&Start::Last(2), Topics::default()).unwrap();
    let (mut rounds, later) = (0, publish(&store, "a.b", 3_000..3_002));
    let mut reader = loop {
        rounds += 1;
        if let Some(reader) = opening.round(&slow_and_rare).unwrap() {
            break reader;
        }
    };
    assert!(rounds > 1, "others have their turn between");
    let found = read(&mut reader, &Topics::default(), usize::MAX).ids;
    assert_eq!(found, [&[ids[1_499], ids[2_499]][..], &later].concat());
    store.drain();
}

#[test]
fn it_reads_only_wanted_topics_from_storage() {
    over_all(|again| {
        let store = again();
        let mut wanted = Vec::new();
        for n in 0..60 {
            publish(&store, "noise.x", 0..20);
            if n % 20 == 0 {
                wanted.extend(publish(&store, "rare.y", n..n + 1));
            }
        }
        let topics = Topics::new(vec!["rare.*".parse().unwrap()]);
        let mut reader = store.reader(&Start::Earliest, topics.clone(), &|_, _| true).unwrap();
        assert_eq!(read(&mut reader, &topics, usize::MAX).ids, wanted);
        let names: Vec<_> = store.topics().into_iter().map(|topic| (topic.topic, topic.count)).collect();
        assert_eq!(names, [("noise.x".to_owned(), 1_200), ("rare.y".to_owned(), 3)]);
        store.drain();
    });
}

#[test]
fn it_stores_a_dedupe_key_once_over_restarts_too() {
    over_all(|again| {
        let keyed = |payload| NewRecord { dedupe: Some("k".into()), ..record("a.b", payload) };
        let store = again();
        let first = wait(store.publish(vec![keyed(1), keyed(2)]).unwrap()).unwrap();
        assert_eq!(first[0], first[1]);
        store.drain();
        let store = again();
        assert_eq!(wait(store.publish(vec![keyed(3)]).unwrap()).unwrap(), first[..1]);
        let other = NewRecord { dedupe: Some("k".into()), ..record("a.c", 4) };
        assert_ne!(wait(store.publish(vec![other]).unwrap()).unwrap(), first[..1]);
        assert_eq!(read_from(&store, &Start::Earliest).payloads, ["1", "4"]);
        store.drain();
    });
}

#[test]
fn it_opens_a_new_log_at_every_start_and_chains_them() {
    over_all(|again| {
        let mut last = None;
        for _ in 0..3 {
            let store = again();
            let ids = publish(&store, "a.b", 0..3);
            let header = store.record(&ids[0]).unwrap().batch.header().clone();
            assert_eq!(ids[0].seq, 1);
            if let Some((log, end, hash)) = last {
                assert!(header.log > log);
                assert_eq!(header.predecessor.map(|before| (before.log, before.end)), Some((log, end)));
                assert_eq!(header.previous, hash);
            }
            let found = store.record(ids.last().unwrap()).unwrap();
            let hash = anode_shared::batch::Header::hash(&found.proof.header);
            last = Some((header.log, 3, hash));
            found.proof.verify().unwrap();
            store.drain();
        }
    });
}

#[test]
fn it_refuses_another_format() {
    use crate::store::entry::{Head, Kind, encode};
    use crate::store::segment::{Checkpoint, FORMAT, file_name};
    let newer = Checkpoint { format: FORMAT + 1, order: Default::default() };
    let head = Head { kind: Kind::Checkpoint, arrival: 0, synced: 0, when: NOW, salt: 1 };
    let newer = encode(head, &anode_shared::codec::encode(&newer), 0);
    for (bytes, word) in
        [(newer, "a newer version"), (b"aNe1 and what followed".to_vec(), "an older version")]
    {
        let disk = Memory::default();
        disk.open(&file_name(1)).unwrap().write_at(&bytes, 0).unwrap();
        let refused =
            Store::open(Arc::new(disk.clone()), options(), key(1), Arc::new(Nobody)).unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
        assert_eq!(disk.list().unwrap(), [file_name(1)], "nothing is touched");
    }
}

#[test]
fn it_refuses_a_drained_publish() {
    let memory = Memory::default();
    let store = open(&memory, &options());
    publish(&store, "a.b", 0..3);
    store.drain();
    assert_eq!(store.publish(vec![record("a.b", 1)]).err(), Some(Refused::Draining));
    assert_eq!(read_from(&store, &Start::Earliest).ids.len(), 3);
}

#[test]
fn it_bounds_what_is_in_flight() {
    let memory = Memory::default();
    let store = open(&memory, &StoreOptions { in_flight_bytes: 50_000, ..options() });
    let mut answers = Vec::new();
    let refused = loop {
        match store.publish((0..100).map(|n| record("a.b", n)).collect()) {
            Ok(publishing) => answers.push(publishing),
            Err(refused) => break refused,
        }
        assert!(answers.len() < 1_000_000);
    };
    assert_eq!(refused, Refused::Overloaded);
    wait(async {
        for answer in answers {
            answer.await.unwrap();
        }
        store.room().await;
    });
    publish(&store, "a.b", 0..1);
    store.drain();
}

#[test]
fn it_says_where_it_stands_without_storage_or_says_that_it_cannot() {
    let store = open(&Memory::default(), &StoreOptions { tail_bytes: 2_000, ..options() });
    let mut ids = publish(&store, "a.b", 0..50);
    let mut reader = store.reader(&Start::Live, Topics::default(), &|_, _| true).unwrap();
    let mut got = Vec::new();
    for (more, known) in [(1, true), (900, false), (0, true)] {
        for n in 0..more {
            ids.extend(publish(&store, "a.b", n..n + 1));
        }
        assert_eq!(reader.cursor_before(std::iter::empty()).is_some(), known, "behind by {more}");
        assert_eq!(read_from(&store, &Start::After(reader.read_cursor())).ids, ids[50 + got.len()..]);
        got.extend(read(&mut reader, &Topics::default(), usize::MAX).ids);
        assert_eq!(got, ids[50..]);
    }
    store.drain();
}
