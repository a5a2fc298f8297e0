//! What origins make on purpose to harm: seqs where numbers end, logs full of holes, more origins and forks than anybody needs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anode_shared::batch::{self, Header, VERSION};
use anode_shared::ids::{Hash, LogId, LogKey, Origin};
use anode_shared::merkle;
use anode_shared::record::RecordRef;
use anode_shared::repair::ForkProof;
use bytes::Bytes;

use super::kit::*;
use crate::store::driven::Driven;
use crate::store::order::Order;
use crate::store::*;

/// A batch of one record, as its origin may sign it.
fn batch(seed: u8, log: u64, first: u64, previous: Hash) -> Bytes {
    let key = key(seed);
    let mut record = Vec::new();
    RecordRef {
        topic: "foreign.topic",
        time: NOW,
        payload: b"1",
        content_type: None,
        source: None,
        publisher: None,
        publisher_signature: None,
        dedupe: None,
    }
    .encode_into(&mut record);
    let header = Header {
        version: VERSION,
        network: "local".to_owned(),
        origin: Origin(key.verifying_key().to_bytes()),
        log: LogId(log),
        first,
        count: 0,
        previous,
        predecessor: None,
        shard_bits: 0,
        shard: 0,
        time_first: NOW,
        time_last: NOW,
        root: Hash::default(),
    };
    let leaf = merkle::leaf(&record);
    let records = [&u32::try_from(record.len()).unwrap().to_le_bytes()[..], &record].concat();
    Bytes::from(batch::seal(header, &records, &[leaf], &key).bytes)
}

fn key_of(batch: &Bytes) -> LogKey {
    Loaded::new(batch.clone()).unwrap().key()
}

fn proof_of(one: &Bytes, other: &Bytes) -> ForkProof {
    let header = |batch: &Bytes| peers::signed_header(&Loaded::new(batch.clone()).unwrap());
    ForkProof { one: header(one), other: header(other) }
}

/// A store whose writer takes a turn when it is told to.
struct Stepped {
    store: Store,
    driven: Driven,
}

impl Stepped {
    fn open(disk: &Memory, options: &StoreOptions, holders: Arc<dyn Holders>) -> Self {
        let (store, driven) = Driven::open(Arc::new(disk.clone()), options.clone(), key(1), holders).unwrap();
        Self { store, driven }
    }

    fn accept(&mut self, batch: &Bytes) -> Verdict {
        let verdict = self.store.accept(batch.clone());
        self.driven.turn();
        wait(verdict)
    }
}

#[test]
fn it_bears_seqs_where_numbers_end() {
    let last = batch::END - 1;
    for firsts in
        [&[last][..], &[1, last], &[last - 5, last, last - 2], &[1, 1 << 62, last, 2], &[last - 1, last]]
    {
        for log in [0, 1, 5 << 32, u64::MAX] {
            let disk = Memory::default();
            let store = open(&disk, &options());
            let key = key_of(&batch(9, log, 1, Hash::default()));
            for first in firsts {
                let verdict = accept(&store, &batch(9, log, *first, Hash::default()));
                assert!(
                    matches!(verdict, Verdict::Taken | Verdict::Forked),
                    "{first} of {firsts:?}: {verdict:?}"
                );
            }
            let other = accept(&store, &batch(10, log, last, Hash::default()));
            assert_eq!(other, Verdict::Taken);
            std::thread::sleep(Duration::from_millis(150));
            store.changes();
            publish(&store, "a.b", 0..1);
            for start in [Start::Earliest, Start::Live, Start::Latest, Start::Last(9), Start::Time(NOW - 1)] {
                read_from(&store, &start);
            }
            let cursor = {
                let mut reader = store.reader(&Start::Earliest, Default::default(), &|_, _| true).unwrap();
                read(&mut reader, &Default::default(), 1);
                reader.read_cursor()
            };
            read_from(&store, &Start::After(cursor.clone()));
            for direction in [Direction::Asc, Direction::Desc] {
                history(&store, direction, 2, None);
                history(&store, direction, 2, Some(&cursor));
            }
            store.batches(key, 1, last, 1_000).unwrap();
            store.raise_floor(key, u64::MAX);
            store.drain();
            let store = open(&disk, &options());
            assert!(
                store
                    .log(key)
                    .is_some_and(|view| view.held >= *firsts.iter().max().unwrap() || view.forked.is_some())
            );
            store.drain();
        }
    }
}

#[test]
fn it_frees_all_holes_that_are_due_at_once() {
    let options = StoreOptions { jump_after: Duration::from_secs(1), ..options() };
    let moment = Arc::new(std::sync::Mutex::new(Instant::now()));
    let clock = moment.clone();
    let options = StoreOptions { moment: Arc::new(move || *clock.lock().unwrap()), ..options };
    let mut store = Stepped::open(&Memory::default(), &options, Arc::new(Nobody));
    let key = key_of(&batch(9, 5, 1, Hash::default()));
    for n in 0..100 {
        assert_eq!(store.accept(&batch(9, 5, 1 + 2 * n, Hash::default())), Verdict::Taken);
    }
    let mut after = |millis| {
        *moment.lock().unwrap() += Duration::from_millis(millis);
        store.driven.turn();
        store.store.log(key).unwrap().head
    };
    assert_eq!((after(999), after(1)), (1, 199), "a hundred holes, and a second for all of them");
}

#[test]
fn it_lets_few_batches_wait() {
    let frozen = Instant::now();
    let options = StoreOptions { moment: Arc::new(move || frozen), ..options() };
    let mut store = Stepped::open(&Memory::default(), &options, Arc::new(Nobody));
    let mut most = 0;
    for n in 0..2_200 {
        assert_eq!(store.accept(&batch(9, 5, 1 + 2 * n, Hash::default())), Verdict::Taken);
        most = most.max(store.store.status().waiting_batches);
    }
    assert_eq!(most, 1_024, "no time passed, and they went on");
}

#[test]
fn it_takes_nothing_apart_from_what_it_holds_of_a_log_with_too_many_holes() {
    let mut order = Order::default();
    let key = LogKey { log: LogId(5), origin: Origin([9; 32]) };
    let piece = |first, last| order::Piece {
        first,
        last,
        hash: Hash::default(),
        previous: Hash::default(),
        place: order::Place { segment: 1, offset: 0, length: 0 },
    };
    // Seqs 10, 20, 30 … are there.
    for n in 1..=4_096 {
        assert!(!order.tears(key, &piece(10 * n, 10 * n)), "{n}");
        order.take_jump(key, 10 * n - 1);
        order.take_next(key, piece(10 * n, 10 * n), order::Lineage::default(), 0);
    }
    let end = 40_960;
    for (what, first, last, tears) in [
        ("what follows", end + 1, end + 5, false),
        ("what lies above another hole", end + 2, end + 5, true),
        ("the middle of a hole", 15, 16, true),
        ("the beginning of a hole", 11, 12, false),
        ("the end of a hole", 18, 19, false),
        ("a whole hole", 11, 19, false),
    ] {
        assert_eq!(order.tears(key, &piece(first, last)), tears, "{what}");
    }
    order.take_late(key, piece(11, 19), order::Lineage::default(), 0);
    assert!(!order.tears(key, &piece(25, 26)), "there is room for one hole again");
    // Many pieces side by side in one jump are no holes.
    let mut order = Order::default();
    order.take_jump(key, 100_000);
    (0..9_000)
        .for_each(|n| _ = order.take_late(key, piece(20_000 + n, 20_000 + n), order::Lineage::default(), 0));
    assert!(!order.tears(key, &piece(50_000, 50_001)));
}

/// Knows some origins.
#[derive(Debug)]
struct Knows(BTreeSet<Origin>);

impl Holders for Knows {
    fn may_have(&self, _: LogKey, _: u64, _: u64) -> bool {
        false
    }

    fn knows(&self, origin: Origin) -> bool {
        self.0.contains(&origin)
    }
}

fn origin(seed: u8) -> Origin {
    Origin(key(seed).verifying_key().to_bytes())
}

#[test]
fn it_takes_up_few_logs_of_strangers_and_makes_room_for_those_it_knows() {
    let disk = Memory::default();
    let options = StoreOptions { most_logs: 128, ..options() };
    let known: Arc<dyn Holders> = Arc::new(Knows((100..=101).map(origin).collect()));
    let mut store = Stepped::open(&disk, &options, known.clone());
    let first = |seed, log| batch(seed, log, 1, Hash::default());
    let next = |batch: &Bytes, seed, log| {
        let header = Loaded::new(batch.clone()).unwrap();
        self::batch(seed, log, 2, Header::hash(&batch[header.layout().header_bytes.clone()]))
    };
    for seed in 10..40 {
        let verdict = store.accept(&first(seed, 5));
        assert_eq!(verdict, if seed < 18 { Verdict::Taken } else { Verdict::Crowded }, "{seed}");
    }
    assert_eq!(store.accept(&next(&first(10, 5), 10, 5)), Verdict::Taken, "what is there goes on");
    assert_eq!(store.accept(&first(100, 5)), Verdict::Taken, "the mesh knows it");
    for log in 0..1_000 {
        assert_eq!(store.accept(&first(101, 1_000 + log)), Verdict::Taken, "{log}");
        assert!(store.store.status().logs <= 128);
    }
    let held =
        |store: &Store, seed, log| store.log(LogKey { log: LogId(log), origin: origin(seed) }).is_some();
    assert!(held(&store.store, 100, 5), "who has little stays, however much another has");
    assert!(held(&store.store, 101, 1_999) && !held(&store.store, 101, 1_000) && !held(&store.store, 11, 5));
    assert!(store.store.changes().contains(&Change::Gone(LogKey { log: LogId(5), origin: origin(11) })));
    assert_eq!(store.accept(&first(101, 1_000)), Verdict::Taken, "it may be taken up again");
    store.driven.sync();
    let logs = |store: &Store| -> BTreeSet<LogKey> { store.shared.order().logs.keys().copied().collect() };
    let before = logs(&store.store);
    let store = Stepped::open(&disk.power_cut(&mut || 0), &options, known);
    assert_eq!(logs(&store.store), before, "a start finds the same");
}

#[test]
fn it_notes_no_fork_of_a_log_that_it_does_not_know() {
    let store = open(&Memory::default(), &options());
    let (one, other) = (foreign(9, 5, &[3, 2]), foreign(9, 5, &[3, 3]));
    let proof = proof_of(&one[1], &other[1]);
    store.accept_fork(proof.clone()).unwrap();
    publish(&store, "a.b", 0..1);
    assert_eq!((store.forks().len(), store.log(key_of(&one[0]))), (0, None));
    accept(&store, &one[0]);
    store.accept_fork(proof).unwrap();
    publish(&store, "a.b", 0..1);
    assert_eq!(store.forks().len(), 1);
    store.drain();
}

#[test]
fn it_keeps_the_header_that_proves_a_head_as_long_as_it_is_the_head() {
    let store = open(&Memory::default(), &options());
    let batches = foreign(9, 5, &[3, 2]);
    let key = key_of(&batches[0]);
    for (batch, head) in batches.iter().zip([3, 5]) {
        accept(&store, batch);
        for _ in 0..2 {
            assert_eq!(store.signed_header(key, head).unwrap().open().unwrap().last(), head);
        }
    }
    assert!(store.signed_header(key, 9).is_none());
    store.drain();
}
