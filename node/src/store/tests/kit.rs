//! What the store's tests share: stores, publishers, foreign logs, and readers that keep account.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anode_shared::cursor::{Cursor, WHOLE};
use anode_shared::frames::Gap;
use anode_shared::ids::{LogKey, RecordId};
use anode_shared::topic::Topics;
use bytes::Bytes;
use ed25519_dalek::SigningKey;

use crate::store::own::{Before, OwnLog};
use crate::store::*;

/// A time in 2026, so that log ids look as they do in life.
pub(in crate::store) const NOW: u64 = 1_795_000_000_000_000;

pub(in crate::store) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// Options for tests: no reserve, a clock that moves a microsecond at each look, quick jumps.
pub(in crate::store) fn options() -> StoreOptions {
    let clock = Arc::new(AtomicU64::new(NOW));
    StoreOptions {
        reserve_disk: 0,
        segment_bytes: 16 << 10,
        jump_after: Duration::from_millis(40),
        gap_after: Duration::from_millis(300),
        clock: Arc::new(move || clock.fetch_add(1, Ordering::SeqCst)),
        ..StoreOptions::default()
    }
}

pub(in crate::store) fn open(disk: &Memory, options: &StoreOptions) -> Store {
    Store::open(Arc::new(disk.clone()), options.clone(), key(1), Arc::new(Nobody)).unwrap()
}

pub(in crate::store) fn record(topic: &str, payload: impl ToString) -> NewRecord {
    NewRecord {
        topic: topic.parse().unwrap(),
        payload: Bytes::from(payload.to_string()),
        content_type: None,
        publisher: None,
        publisher_signature: None,
        dedupe: None,
        source: None,
    }
}

pub(in crate::store) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(in crate::store) fn publish(store: &Store, topic: &str, payloads: std::ops::Range<u64>) -> Vec<RecordId> {
    let records = payloads.map(|n| record(topic, n)).collect();
    wait(store.publish(records).unwrap()).unwrap()
}

/// A topic for each number: eight of them lie in all four shards of two bits.
pub(in crate::store) fn topic(n: u64) -> String {
    format!("shards.t{}", n % 8)
}

/// What a reader was handed.
#[derive(Debug, Default)]
pub(in crate::store) struct Account {
    pub(in crate::store) ids: Vec<RecordId>,
    pub(in crate::store) payloads: Vec<String>,
    pub(in crate::store) gaps: Vec<Gap>,
    pub(in crate::store) caught_up: usize,
}

impl Account {
    pub(in crate::store) fn take(&mut self, items: Vec<Item>, topics: &Topics) {
        for item in items {
            match item {
                Item::Records(slice) => {
                    for index in slice.range().filter(|index| topics.matches(slice.batch().topic(*index))) {
                        self.ids.push(slice.batch().id(index));
                        self.payloads
                            .push(String::from_utf8_lossy(slice.batch().record(index).payload).into_owned());
                    }
                }
                Item::Gap(gap) => self.gaps.push(gap),
                Item::CaughtUp => self.caught_up += 1,
            }
        }
    }

    /// Every seq once and in order within its log, counting gaps; says which seqs were seen or announced.
    pub(in crate::store) fn check(&self) -> BTreeMap<LogKey, BTreeSet<u64>> {
        let mut seen: BTreeMap<LogKey, BTreeSet<u64>> = BTreeMap::new();
        let mut last: BTreeMap<LogKey, u64> = BTreeMap::new();
        for id in &self.ids {
            assert!(
                last.insert(id.key, id.seq).is_none_or(|last| last < id.seq),
                "{id} came out of order or twice"
            );
            seen.entry(id.key).or_default().insert(id.seq);
        }
        for gap in &self.gaps {
            for seq in gap.from..=gap.to {
                assert!(
                    seen.entry(gap.log).or_default().insert(seq),
                    "{}/{seq} came and is a gap, or is a gap twice",
                    gap.log
                );
            }
        }
        seen
    }
}

/// Reads until the reader is live (or `most` items came), waiting for nothing but repair that is hoped for.
pub(in crate::store) fn read(reader: &mut Reader, topics: &Topics, most: usize) -> Account {
    let (mut account, deadline) = (Account::default(), Instant::now() + Duration::from_secs(20));
    loop {
        let step = reader.poll();
        account.take(step.items, topics);
        assert!(Instant::now() < deadline, "the reader never became live");
        match step.then {
            Then::More => {}
            Then::Blocking => account.take(reader.poll_storage().items, topics),
            Then::Live => return account,
            Then::Until(at) => std::thread::sleep(at.saturating_duration_since(Instant::now())),
        }
        if account.ids.len() >= most {
            return account;
        }
    }
}

pub(in crate::store) fn read_from(store: &Store, start: &Start) -> Account {
    let mut reader = store.reader(start, Topics::default(), &|_, _| true).unwrap();
    read(&mut reader, &Topics::default(), usize::MAX)
}

/// A history page by page, checked to be within its limit.
pub(in crate::store) fn history(
    store: &Store,
    direction: Direction,
    limit: usize,
    after: Option<&Cursor>,
) -> (Vec<RecordId>, Vec<Gap>) {
    let (mut ids, mut gaps, mut page) = (Vec::new(), Vec::new(), None::<String>);
    loop {
        let ask = History {
            topics: &Topics::default(),
            since: None,
            until: None,
            after,
            direction,
            limit,
            page: page.as_deref(),
            fingerprint: 7,
            keep: &|_, _| true,
            deadline: Instant::now() + Duration::from_secs(5),
            lend_until: None,
        };
        let answer = store.history(&ask).unwrap();
        assert!(answer.records.len() <= limit);
        ids.extend(answer.records.iter().map(|(batch, index)| batch.id(*index)));
        gaps.extend(answer.gaps);
        page = answer.next;
        if page.is_none() {
            return (ids, gaps);
        }
    }
}

/// The batches of a log of another origin: `sizes` says how many records each holds.
pub(in crate::store) fn foreign(seed: u8, log: u32, sizes: &[usize]) -> Vec<Bytes> {
    let mut own = OwnLog::new("local".into(), key(seed), Before::default(), WHOLE);
    let mut number = 0;
    let mut batches = Vec::new();
    for size in sizes {
        for _ in 0..*size {
            number += 1;
            own.add(&record("foreign.topic", format!("{number}")), NOW + number, log);
        }
        let ready = own.seal().unwrap();
        own.written(&ready);
        batches.push(Bytes::from(ready.sealed.bytes));
    }
    batches
}

pub(in crate::store) fn accept(store: &Store, batch: &Bytes) -> Verdict {
    wait(store.accept(batch.clone()))
}

/// Numbers from a seed (`SplitMix64`).
pub(in crate::store) struct Random(pub(in crate::store) u64);

impl Random {
    pub(in crate::store) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(in crate::store) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(in crate::store) fn shuffle<T>(&mut self, items: &mut [T]) {
        for place in (1..items.len()).rev() {
            items.swap(place, usize::try_from(self.below(place as u64 + 1)).unwrap());
        }
    }
}

/// The seed of a random test: `ANODE_SEED`, else one of its own; printed, so that a failure can be run again.
#[expect(clippy::print_stderr, reason = "a failure is run again from its seed")]
pub(in crate::store) fn seed() -> u64 {
    let seed =
        std::env::var("ANODE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("ANODE_SEED={seed}");
    seed
}
