//! Retention: what goes, what its readers are told, and that floors stay over restarts.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anode_shared::cursor::WHOLE;
use anode_shared::frames::GapReason;
use anode_shared::ids::LogKey;
use anode_shared::topic::Topics;
use bytes::Bytes;

use super::kit::*;
use crate::store::own::{Before, OwnLog};
use crate::store::*;

fn small() -> StoreOptions {
    StoreOptions { segment_bytes: 4_000, retain_bytes: 30_000, tail_bytes: 2_000, ..options() }
}

fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..300 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("never came: {what}");
}

#[test]
fn it_drops_the_oldest_and_says_so_to_every_reader() {
    let disk = Memory::default();
    let options = small();
    let store = open(&disk, &options);
    let first = publish(&store, "a.b", 0..40);
    assert!(store.horizon() < NOW, "there is room for older ones");
    let mut slow = store.reader(&Start::Earliest, Topics::default(), &|_, _| true).unwrap();
    let mut got = read(&mut slow, &Topics::default(), 10);
    for n in 0..60 {
        publish(&store, "a.b", n * 40..n * 40 + 40);
    }
    until("retention", || store.status().bytes <= 40_000);
    until("what is as old as what goes next is not wanted", || store.horizon() >= NOW);
    assert_eq!(store.record(&first[0]).err(), Some(Missing::Gone(GapReason::Expired)));
    let rest = read(&mut slow, &Topics::default(), usize::MAX);
    got.ids.extend(rest.ids);
    got.gaps.extend(rest.gaps);
    let seen = got.check();
    assert_eq!(seen[&first[0].key].len(), 61 * 40, "each record or its gap");
    assert!(got.gaps.iter().all(|gap| gap.reason == GapReason::Expired) && !got.gaps.is_empty());
    let (ids, gaps) = history(&store, Direction::Asc, 100, None);
    assert_eq!(gaps.iter().map(|gap| gap.to - gap.from + 1).sum::<u64>() + ids.len() as u64, 61 * 40);
    store.drain();
    let store = open(&disk, &options);
    let again = read_from(&store, &Start::Earliest);
    assert_eq!(again.check()[&first[0].key].len(), 61 * 40, "floors stay over a restart");
    assert_eq!(store.record(&first[0]).err(), Some(Missing::Gone(GapReason::Expired)));
    store.drain();
}

fn one_page(store: &Store, direction: Direction, page: Option<&str>) -> Page {
    let ask = History {
        topics: &Topics::default(),
        since: None,
        until: None,
        after: None,
        direction,
        limit: 50,
        page,
        fingerprint: 7,
        keep: &|_, _| true,
        deadline: std::time::Instant::now() + Duration::from_secs(5),
        lend_until: None,
    };
    store.history(&ask).unwrap()
}

#[test]
fn it_names_what_expires_between_two_pages() {
    for direction in [Direction::Asc, Direction::Desc] {
        let store = open(&Memory::default(), &small());
        let first = publish(&store, "a.b", 0..100);
        for n in 0..8 {
            publish(&store, "a.b", n * 40..n * 40 + 40);
        }
        let page = one_page(&store, direction, None);
        let mut total =
            page.records.len() as u64 + page.gaps.iter().map(|gap| gap.to - gap.from + 1).sum::<u64>();
        for n in 0..80 {
            publish(&store, "a.b", n * 40..n * 40 + 40);
        }
        until("retention", || store.record(&first[99]).is_err());
        let mut next = page.next;
        while let Some(token) = next {
            let page = one_page(&store, direction, Some(&token));
            total +=
                page.records.len() as u64 + page.gaps.iter().map(|gap| gap.to - gap.from + 1).sum::<u64>();
            next = page.next;
        }
        assert_eq!(total, 100 + 8 * 40, "{direction:?}: each record of the moment, or its gap");
        store.drain();
    }
}

#[test]
fn it_ends_whatever_a_page_token_says() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let store = open(&Memory::default(), &small());
    publish(&store, "a.b", 0..100);
    for direction in [Direction::Asc, Direction::Desc] {
        let honest = one_page(&store, direction, None);
        let mut token = URL_SAFE_NO_PAD.decode(honest.next.unwrap()).unwrap();
        // Its last number is the highest seq still to be shown, of one byte behind its kind.
        assert_eq!(token[token.len() - 2], 0x18, "{token:x?}");
        token.truncate(token.len() - 2);
        token.push(0x1b);
        token.extend([0xff; 8]);
        let page = one_page(&store, direction, Some(&URL_SAFE_NO_PAD.encode(token)));
        assert!(page.gaps.iter().all(|gap| gap.to <= 100), "{:?}", page.gaps);
    }
    store.drain();
}

/// A clock that a test moves, and a store's options by it: records are kept for an hour.
fn ageing() -> (Arc<AtomicU64>, StoreOptions) {
    let clock = Arc::new(AtomicU64::new(NOW));
    let shown = clock.clone();
    let options = StoreOptions {
        retain_age: Duration::from_secs(3_600),
        clock: Arc::new(move || shown.load(Ordering::SeqCst)),
        ..options()
    };
    (clock, options)
}

#[test]
fn it_drops_by_age() {
    let (clock, options) = ageing();
    let store = open(&Memory::default(), &options);
    publish(&store, "a.b", 0..40);
    clock.fetch_add(600_000_000, Ordering::SeqCst);
    until("the segment is sealed", || store.status().segments == 2);
    publish(&store, "a.b", 40..80);
    clock.fetch_add(3_300_000_000, Ordering::SeqCst);
    until("the old segment is gone", || read_from(&store, &Start::Earliest).ids.len() == 40);
    assert_eq!(store.topics()[0].count, 40);
    store.drain();
}

#[test]
fn it_makes_room_on_a_disk_without_any() {
    let disk = Memory::default();
    let store = open(&disk, &StoreOptions { retain_bytes: 1 << 30, ..small() });
    let first = publish(&store, "a.b", 0..40);
    for n in 0..60 {
        publish(&store, "a.b", n * 40..n * 40 + 40);
    }
    store.drain();
    disk.set_room(0);
    let store = open(&disk, &small());
    until("retention", || store.status().bytes <= 34_000);
    until("room", || store.publish(vec![record("a.b", 1)]).is_ok_and(|publishing| wait(publishing).is_ok()));
    assert_eq!(store.record(&first[0]).err(), Some(Missing::Gone(GapReason::Expired)));
    until("the floors are written", || {
        let store = open(&disk.power_cut(&mut || 0), &small());
        let missing = store.record(&first[0]).err();
        store.drain();
        missing == Some(Missing::Gone(GapReason::Expired))
    });
    store.drain();
}

#[test]
fn it_counts_a_segments_age_over_restarts() {
    let (clock, options) = ageing();
    let disk = Memory::default();
    for _ in 0..2 {
        let store = open(&disk, &options);
        publish(&store, "a.b", 0..40);
        assert_eq!(store.status().segments, 1);
        store.drain();
        clock.fetch_add(120_000_000, Ordering::SeqCst);
    }
    let store = open(&disk, &options);
    until("the segment is sealed", || store.status().segments == 2);
    store.drain();
}

/// A foreign log whose batch `n` was made `n` minutes after the first: half a megabyte in 1,000-byte batches.
fn old_log(seed: u8, minutes: u64) -> Vec<Bytes> {
    let mut own = OwnLog::new("local".into(), key(seed), Before::default(), WHOLE);
    let batch = |minute: u64| {
        own.add(&record("old.topic", format!("\"{}\"", "x".repeat(700))), NOW + minute * 60_000_000, 5);
        let ready = own.seal().unwrap();
        own.written(&ready);
        Bytes::from(ready.sealed.bytes)
    };
    (0..minutes).map(batch).collect()
}

fn after(minutes: u64, options: StoreOptions) -> StoreOptions {
    let clock = Arc::new(AtomicU64::new(NOW + minutes * 60_000_000));
    StoreOptions { clock: Arc::new(move || clock.fetch_add(1, Ordering::SeqCst)), ..options }
}

/// How many batches of 1,000 bytes each of two logs keeps at least in 30,000 bytes: its half, less two segments of four, since
/// whole segments go and those that go next are refused already. Which of them is a matter of when retention looks.
const FEWEST: usize = 30 / 2 - 2 * 4;

/// Who comes late has the newest first, and drops what it filled in before what is newer; floors stop what would go at once.
#[test]
fn it_fills_backwards_as_far_as_there_is_room_and_keeps_the_newest() {
    let (disk, options) = (Memory::default(), after(200, small()));
    let logs = [old_log(9, 200), old_log(8, 200)];
    let mut store = open(&disk, &options);
    for log in &logs {
        let (mut refused, mut taken) = (0, 0);
        assert_eq!(accept(&store, &log[199]), Verdict::Taken);
        for batch in log[..199].iter().rev() {
            match accept(&store, batch) {
                Verdict::Taken => taken += 1,
                Verdict::Old => refused += 1,
                other => panic!("{other:?}"),
            }
            // Retention runs beside: it is to keep up, however busy the machine.
            until("retention", || store.status().bytes <= 34_000);
        }
        assert!(taken + 1 >= FEWEST && refused > 100, "{taken} taken, {refused} refused");
    }
    for again in [false, true] {
        if again {
            store.drain();
            store = open(&disk, &options);
        }
        until("retention", || store.status().bytes <= 34_000);
        let account = read_from(&store, &Start::Earliest);
        let seen = account.check();
        let keys: Vec<LogKey> = logs.iter().map(|log| Loaded::new(log[0].clone()).unwrap().key()).collect();
        for key in &keys {
            assert_eq!(seen[key].len(), 200, "each record or its gap");
            let held: Vec<u64> = account.ids.iter().filter(|id| id.key == *key).map(|id| id.seq).collect();
            assert!(held.len() >= FEWEST, "{held:?}");
            assert_eq!(
                held,
                (201 - held.len() as u64..=200).collect::<Vec<_>>(),
                "the newest, without a hole"
            );
            let view = store.log(*key).unwrap();
            assert_eq!((view.floor, view.missing.len()), (held[0], 0), "nothing more is wanted");
        }
        assert!(account.gaps.iter().all(|gap| gap.reason == GapReason::Expired), "{:?}", account.gaps);
    }
    store.drain();
}

/// Power fails while a log is filled in backwards: what the order names is there, what is not is asked for again.
#[test]
fn it_knows_after_a_power_cut_what_was_filled_in() {
    let mut random = Random(seed());
    for _ in 0..40 {
        let disk = Memory::default();
        let options = after(60, StoreOptions { segment_bytes: 6_000 + random.below(20_000), ..options() });
        let (store, log) = (open(&disk, &options), old_log(9, 60));
        accept(&store, &log[59]);
        let key = Loaded::new(log[0].clone()).unwrap().key();
        let count = 1 + usize::try_from(random.below(58)).unwrap();
        let mut synced = 60;
        for (seq, batch) in (1_u32..60).zip(&log).rev().take(count) {
            let seq = u64::from(seq);
            assert_eq!(accept(&store, batch), Verdict::Taken);
            if random.below(8) == 0 {
                assert!(wait(store.holds_synced(key, seq, 60)));
                synced = seq;
            }
        }
        let after = open(&disk.power_cut(&mut || random.next()), &options);
        let view = after.log(key).unwrap_or_default();
        let lost = |seq: u64| view.missing.iter().any(|(from, to)| (*from..=*to).contains(&seq));
        assert!(view.head < 60 && synced == 60 || (synced..=60).all(|seq| !lost(seq)), "{synced}: {view:?}");
        for (seq, batch) in (1_u32..61).zip(&log).rev() {
            let seq = u64::from(seq);
            let held = view.head == 60 && !lost(seq);
            assert_eq!(
                accept(&after, batch),
                if held { Verdict::Held } else { Verdict::Taken },
                "{seq}: {view:?}"
            );
        }
        let account = read_from(&after, &Start::Earliest);
        assert_eq!((account.ids.len(), account.gaps.len(), after.status().damaged), (60, 0, 0));
        store.drain();
        after.drain();
    }
}
