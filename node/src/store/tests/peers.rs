//! What the mesh sees of a store, and what it may change there.

use std::collections::BTreeMap;
use std::time::Duration;

use anode_shared::cursor::{Seen, WHOLE};
use anode_shared::ids::LogKey;
use anode_shared::repair::ForkProof;
use bytes::Bytes;

use super::kit::*;
use crate::store::*;

fn patient() -> StoreOptions {
    StoreOptions { jump_after: Duration::from_secs(60), ..options() }
}

fn key_of(batch: &Bytes) -> LogKey {
    Loaded::new(batch.clone()).unwrap().key()
}

fn views(store: &Store) -> BTreeMap<LogKey, LogView> {
    let changes = store.changes().into_iter();
    changes
        .filter_map(|change| if let Change::Log(key, view) = change { Some((key, view)) } else { None })
        .collect()
}

#[test]
fn it_says_how_each_log_is_that_changed() {
    let disk = Memory::default();
    let store = open(&disk, &patient());
    let batches = foreign(9, 5, &[3, 2, 4, 1, 2]);
    let key = key_of(&batches[0]);
    for place in [0, 2, 4] {
        accept(&store, &batches[place]);
    }
    let view = LogView { head: 3, held: 12, floor: 1, missing: vec![(4, 5), (10, 10)], forked: None };
    assert_eq!(views(&store), BTreeMap::from([(key, view)]));
    assert!(store.changes().is_empty(), "nothing changed since");
    accept(&store, &batches[1]);
    let view = LogView { head: 9, held: 12, floor: 1, missing: vec![(10, 10)], forked: None };
    assert_eq!(views(&store), BTreeMap::from([(key, view.clone())]));
    store.drain();
    assert_eq!(views(&open(&disk, &patient())).get(&key), Some(&view), "after a start all is news");
}

#[test]
fn it_names_what_was_jumped_over_until_it_comes() {
    let store = open(&Memory::default(), &options());
    let batches = foreign(9, 5, &[3, 2, 4, 1]);
    let key = key_of(&batches[0]);
    accept(&store, &batches[3]);
    let missing = |store: &Store| {
        (0..200).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            views(store).remove(&key).filter(|view| view.head == 10).map(|view| view.missing)
        })
    };
    assert_eq!(missing(&store), Some(vec![(1, 9)]));
    accept(&store, &batches[1]);
    assert_eq!(missing(&store), Some(vec![(1, 3), (6, 9)]));
    accept(&store, &batches[0]);
    accept(&store, &batches[2]);
    assert_eq!(missing(&store), Some(vec![]));
    store.drain();
}

#[test]
fn it_hands_out_batches_as_they_were_signed() {
    let store = open(&Memory::default(), &patient());
    let batches = foreign(9, 5, &[3, 2, 4, 1]);
    let key = key_of(&batches[0]);
    for place in [0, 1, 3] {
        accept(&store, &batches[place]);
    }
    let of = |from, to, most| store.batches(key, from, to, most).unwrap();
    assert_eq!(
        of(1, 10, usize::MAX),
        (vec![batches[0].clone(), batches[1].clone(), batches[3].clone()], false)
    );
    assert_eq!(of(4, 5, usize::MAX), (vec![batches[1].clone()], false));
    assert_eq!(of(5, 9, usize::MAX), (vec![batches[1].clone()], false));
    assert_eq!(of(6, 9, usize::MAX), (vec![], false));
    assert_eq!(of(1, 10, 1), (vec![batches[0].clone()], true), "one at least");
    let header = store.signed_header(key, 5).unwrap().open().unwrap();
    assert_eq!((header.key(), header.last()), (key, 5));
    assert!(store.signed_header(key, 7).is_none());
    store.drain();
}

#[test]
fn it_says_what_is_whole_and_stable() {
    let store = open(&Memory::default(), &patient());
    let batches = foreign(9, 5, &[3, 2, 4]);
    let key = key_of(&batches[0]);
    accept(&store, &batches[0]);
    accept(&store, &batches[2]);
    for (from, to, holds) in [(1, 3, true), (2, 2, true), (1, 4, false), (6, 9, true), (6, 10, false)] {
        assert_eq!(wait(store.holds_synced(key, from, to)), holds, "{from} to {to}");
    }
    store.drain();
}

#[test]
fn it_ends_a_log_that_a_peer_proves_forked() {
    let store = open(&Memory::default(), &patient());
    let (one, other) = (foreign(9, 5, &[3, 2, 4]), foreign(9, 5, &[3, 3]));
    let key = key_of(&one[0]);
    one.iter().for_each(|batch| _ = accept(&store, batch));
    let header = |batch: &Bytes| peers::signed_header(&Loaded::new(batch.clone()).unwrap());
    let proof = ForkProof { one: header(&one[1]), other: header(&other[1]) };
    let none = ForkProof { one: header(&one[0]), other: header(&one[1]) };
    assert!(store.accept_fork(none).is_err());
    store.accept_fork(proof.clone()).unwrap();
    assert_eq!(accept(&store, &other[1]), Verdict::Ended);
    assert_eq!(views(&store)[&key].forked, Some(4));
    assert_eq!(store.fork_proof(key), Some(proof));
    store.drain();
}

#[test]
fn it_wants_nothing_below_a_raised_floor() {
    let disk = Memory::default();
    let store = open(&disk, &options());
    let batches = foreign(9, 5, &[3, 2, 4]);
    let key = key_of(&batches[0]);
    accept(&store, &batches[2]);
    (0..200).find(|_| {
        std::thread::sleep(Duration::from_millis(10));
        store.status().waiting_batches == 0
    });
    store.raise_floor(key, 4);
    assert_eq!(accept(&store, &batches[0]), Verdict::Old);
    assert_eq!(accept(&store, &batches[1]), Verdict::Taken);
    assert_eq!(views(&store)[&key], LogView { head: 9, held: 9, floor: 4, missing: vec![], forked: None });
    store.raise_floor(key, 2);
    store.drain();
    assert_eq!(views(&open(&disk, &options()))[&key].floor, 4, "it never falls, and is known after a start");
}

#[test]
fn it_starts_live_behind_what_the_mesh_has_heard_of() {
    let store = open(&Memory::default(), &patient());
    let batches = foreign(9, 5, &[3, 2, 4]);
    let key = key_of(&batches[0]);
    accept(&store, &batches[0]);
    store.heard(key, 5);
    let mut reader = store.reader(&Start::Live, Default::default(), &|_, _| true).unwrap();
    assert_eq!(reader.cursor_before(std::iter::empty()).unwrap().seen(key, WHOLE), Seen::UpTo(5));
    accept(&store, &batches[1]);
    accept(&store, &batches[2]);
    let seqs: Vec<u64> =
        read(&mut reader, &Default::default(), usize::MAX).ids.iter().map(|id| id.seq).collect();
    assert_eq!(seqs, [6, 7, 8, 9]);
    store.drain();
}
