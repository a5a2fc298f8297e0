//! Retention beside an archive: by age it waits for what is to be archived, by size it does not, and counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anode_shared::ids::LogKey;

use super::kit::*;
use crate::store::*;

/// An archive that has got so far with every log.
#[derive(Debug, Default)]
struct Slow(Mutex<Option<Archived>>);

impl Archiver for Slow {
    fn any(&self) -> bool {
        true
    }

    fn archived_of(&self, _: LogKey) -> Option<Archived> {
        self.0.lock().unwrap().clone()
    }
}

fn settle(store: &Store, what: &str, done: impl Fn(u64) -> bool) {
    for _ in 0..300 {
        if done(store.status().segments) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("never came: {what}; there are {} segments", store.status().segments);
}

/// A store of several segments, all of which are too old by now but the newest.
fn aged(archive: &Arc<Slow>, retain_bytes: u64) -> (Store, Vec<RecordId>) {
    let clock = Arc::new(AtomicU64::new(NOW));
    let ticking = clock.clone();
    let options = StoreOptions {
        segment_bytes: 4_000,
        retain_age: Duration::from_secs(3_600),
        retain_bytes,
        archiver: archive.clone(),
        clock: Arc::new(move || ticking.fetch_add(1, Ordering::SeqCst)),
        ..options()
    };
    let store = open(&Memory::default(), &options);
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.extend(publish(&store, "a.b", n * 40..n * 40 + 40));
    }
    clock.fetch_add(7_200 * 1_000_000, Ordering::SeqCst);
    (store, ids)
}

#[test]
fn it_waits_by_age_for_what_is_to_be_archived() {
    let archive = Arc::new(Slow::default());
    *archive.0.lock().unwrap() = Some(Archived::default());
    let (store, ids) = aged(&archive, 1 << 30);
    let before = store.status().segments;
    std::thread::sleep(Duration::from_millis(2_500));
    assert!(store.status().segments >= before && store.record(&ids[0]).is_ok(), "it dropped what waits");
    // A hole that is held by now is still to be archived; what is above it may not go either way.
    *archive.0.lock().unwrap() = Some(Archived { to: 700, holes: vec![(1, 10)] });
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(store.record(&ids[0]).is_ok(), "it dropped what fills a hole");
    *archive.0.lock().unwrap() = Some(Archived { to: 700, holes: Vec::new() });
    settle(&store, "retention of what is archived", |segments| segments < before);
    settle(&store, "all that is archived", |_| store.record(&ids[500]).is_err());
    assert!(store.record(&ids[799]).is_ok(), "it dropped what is not archived");
    assert_eq!(store.dropped_unarchived(), 0);
    // Where another node archives the log, nothing is waited for.
    *archive.0.lock().unwrap() = None;
    settle(&store, "what others archive", |_| store.record(&ids[799]).is_err());
    store.drain();
}

#[test]
fn it_waits_for_nothing_where_it_is_full_and_counts_what_is_lost() {
    let archive = Arc::new(Slow::default());
    *archive.0.lock().unwrap() = Some(Archived { to: 100, holes: Vec::new() });
    let (store, ids) = aged(&archive, 20_000);
    settle(&store, "retention by size", |_| store.status().bytes <= 24_000);
    // Each once, and none that is archived; it may go on for a moment.
    settle(&store, "the count of what was lost", |_| {
        let floor = store.log(ids[0].key).unwrap().floor;
        floor > 101 && store.dropped_unarchived() == floor - 1 - 100
    });
    store.drain();
}
