//! Records that only an archive has: a store that dropped them, or never had them, is joined with it like with its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anode_shared::frames::{Gap, GapReason};
use anode_shared::ids::{LogKey, RecordId};
use anode_shared::topic::Topics;
use bytes::Bytes;

use super::kit::*;
use super::lent::{At, Range, fill, last, logs, pages, records, small};
use crate::store::*;

/// An archive: the batches that it has, and whether it gives any.
#[derive(Debug, Default)]
struct Shelf {
    has: Mutex<BTreeMap<LogKey, Vec<Arc<Loaded>>>>,
    there: AtomicBool,
    mute: AtomicBool,
}

impl Shelf {
    fn has(&self, key: LogKey, seq: u64) -> bool {
        self.ends(key, seq, seq).is_some()
    }

    fn ends(&self, key: LogKey, from: u64, to: u64) -> Option<(u64, u64)> {
        let has = self.has.lock().unwrap();
        let spans = has.get(&key)?.iter().map(|batch| (batch.header().first, batch.header().last()));
        let meet =
            spans.map(|(first, last)| (first.max(from), last.min(to))).filter(|(first, last)| first <= last);
        meet.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    }

    /// Some of what is wished for, from the end at which it is read.
    fn gives(&self, wish: Wish) -> Vec<Arc<Loaded>> {
        let has = self.has.lock().unwrap();
        let meets =
            |batch: &&Arc<Loaded>| batch.header().first <= wish.to && batch.header().last() >= wish.from;
        let mut found: Vec<_> = has.get(&wish.log).into_iter().flatten().filter(meets).cloned().collect();
        if wish.newest_first {
            found.reverse();
        }
        found.truncate(5);
        found
    }

    fn comes(&self, there: bool) {
        self.there.store(there, Ordering::SeqCst);
    }
}

/// The archive as the store sees it.
#[derive(Debug)]
struct Handle(Arc<Shelf>);

impl Archiver for Handle {
    fn any(&self) -> bool {
        true
    }

    fn kept(&self) -> Option<Arc<BTreeMap<LogKey, Kept>>> {
        if !self.0.there.load(Ordering::SeqCst) {
            return Some(Arc::default());
        }
        let kept = |log: &Vec<Arc<Loaded>>| {
            let (first, last) = (log.first()?.header(), log.last()?.header());
            let (time_first, time_last) = (first.time_first, last.time_last);
            Some(Kept { first: first.first, time_first, last: last.last(), time_last })
        };
        let has = self.0.has.lock().unwrap();
        Some(Arc::new(has.iter().filter_map(|(key, log)| Some((*key, kept(log)?))).collect()))
    }

    fn ends_of(&self, log: LogKey, from: u64, to: u64) -> Option<(u64, u64)> {
        self.0.ends(log, from, to).filter(|_| self.0.there.load(Ordering::SeqCst))
    }

    fn answers(&self) -> bool {
        self.0.there.load(Ordering::SeqCst) && !self.0.mute.load(Ordering::SeqCst)
    }
}

/// A store that keeps little, beside an archive that lends.
struct Pair {
    store: Store,
    shelf: Arc<Shelf>,
    ended: Arc<AtomicBool>,
    lending: Option<JoinHandle<()>>,
}

impl Pair {
    fn open(shelf: &Arc<Shelf>, options: StoreOptions) -> Self {
        let archiver: Arc<dyn Archiver> = Arc::new(Handle(shelf.clone()));
        let store = open(&Memory::default(), &StoreOptions { archiver, ..options });
        let (lender, to, ended) = (shelf.clone(), store.clone(), Arc::new(AtomicBool::new(false)));
        let end = ended.clone();
        let lending = std::thread::spawn(move || {
            while !end.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(2));
                if lender.mute.load(Ordering::SeqCst) {
                    continue;
                }
                let given = to.wishes_to_archive().into_iter().flat_map(|wish| lender.gives(wish));
                given.for_each(|batch| _ = to.lend(&batch));
            }
        });
        Self { store, shelf: shelf.clone(), ended, lending: Some(lending) }
    }

    /// The store takes these batches and drops the oldest of them.
    fn fill(&self, logs: &[Vec<Bytes>], random: &mut Random) {
        fill(&self.store, logs, random);
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let lending = self.lending.take().map(JoinHandle::join);
        self.store.drain();
        assert!(std::thread::panicking() || lending.is_none_or(|ended| ended.is_ok()));
    }
}

/// A pair of whose logs the store never saw some, and of which the archive, in every other round, lost parts; with what
/// is there at all.
fn parted(round: u32, random: &mut Random) -> (Pair, Vec<Vec<Bytes>>, BTreeSet<At>) {
    let shelf = Arc::new(Shelf::default());
    let pair = Pair::open(&shelf, small());
    let logs = logs(random);
    let seen = if round.is_multiple_of(3) { 0 } else { logs.len().div_ceil(2) };
    pair.fill(&logs[..seen], random);
    let (kept, _) = pages(&pair.store, &Range::all(), Direction::Asc, 10_000, 5_000);
    let load = |batch: &Bytes| Arc::new(Loaded::new(batch.clone()).unwrap());
    for log in &logs {
        let mut log: Vec<_> = log.iter().map(load).collect();
        let ends = (log[0].header().first, log[log.len() - 1].header().first);
        if round % 2 == 1 {
            log.retain(|batch| {
                let first = batch.header().first;
                first == ends.0 || first == ends.1 || random.below(6) > 0
            });
        }
        shelf.has.lock().unwrap().insert(log[0].key(), log);
    }
    shelf.comes(true);
    let has = |at: &At| kept.contains(at) || shelf.has(at.1, at.2);
    let there = records(&logs, &Range::all()).into_iter().filter(has).collect();
    (pair, logs, there)
}

fn named(gaps: &[Gap], key: LogKey, seq: u64) -> bool {
    gaps.iter().any(|gap| gap.log == key && (gap.from..=gap.to).contains(&seq))
}

/// All that store or archive has comes once and in its order, whichever way it is read; the rest is named, and nothing else is.
#[test]
fn it_joins_what_is_kept_with_what_is_archived() {
    let mut random = Random(seed());
    for round in 0..12 {
        let (pair, logs, there) = parted(round, &mut random);
        let end = records(&logs, &Range::all()).last().unwrap().0;
        for _ in 0..5 {
            let range = Range::any(&mut random, end);
            let all = records(&logs, &range);
            let wanted: Vec<At> = all.iter().copied().filter(|at| there.contains(at)).collect();
            let limit = usize::try_from(1 + random.below(700)).unwrap();
            let millis = if random.below(2) == 0 { 5_000 } else { 1 + random.below(15) };
            for direction in [Direction::Asc, Direction::Desc] {
                let (mut got, gaps) = pages(&pair.store, &range, direction, limit, millis);
                if direction == Direction::Desc {
                    got.reverse();
                }
                assert!(got == wanted, "{direction:?} {range:?}: {} of {}", got.len(), wanted.len());
                assert!(wanted.iter().all(|at| !named(&gaps, at.1, at.2)), "{range:?} names what it gives");
                let told = |at: &At| there.contains(at) || named(&gaps, at.1, at.2);
                assert!(all.iter().all(told), "{direction:?} {range:?} is silent");
            }
        }
        let all: Vec<RecordId> =
            there.iter().map(|(_, key, seq)| RecordId { key: *key, seq: *seq }).collect();
        let count = usize::try_from(1 + random.below(all.len() as u64)).unwrap();
        let newest = last(&pair.store, &Range::all(), count);
        assert_eq!(newest.ids, all[all.len() - count..], "last:{count} of {}", all.len());
        for id in all.iter().step_by(all.len() / 5 + 1) {
            let found = pair.store.record(id).unwrap();
            assert_eq!(found.batch.id(found.index), *id);
        }
    }
}

/// Feeds of every kind of start give each record once and in order, and name the rest; a cursor resumes at any node.
#[test]
fn it_feeds_what_is_archived_and_goes_on_elsewhere() {
    let mut random = Random(seed());
    for round in 0..8 {
        let (pair, logs, there) = parted(round, &mut random);
        let all = records(&logs, &Range::all());
        let topics = Topics::default();
        let account = read_from(&pair.store, &Start::Earliest);
        let (told, got) = (account.check(), account.ids.iter().copied().collect::<BTreeSet<_>>());
        let wanted: BTreeSet<RecordId> =
            there.iter().map(|(_, key, seq)| RecordId { key: *key, seq: *seq }).collect();
        assert!(got == wanted, "{} of {}", got.len(), wanted.len());
        let silent = all.iter().find(|(_, key, seq)| !told.get(key).is_some_and(|told| told.contains(seq)));
        assert_eq!(silent, None, "skipped in silence");
        assert_eq!(account.caught_up, 1);

        let time = all[usize::try_from(random.below(all.len() as u64)).unwrap()].0;
        let account = read_from(&pair.store, &Start::Time(time));
        account.check();
        let since: BTreeSet<RecordId> = there
            .iter()
            .filter(|(when, ..)| *when >= time)
            .map(|(_, key, seq)| RecordId { key: *key, seq: *seq })
            .collect();
        let got: BTreeSet<RecordId> = account.ids.iter().copied().collect();
        if round % 2 == 0 {
            assert!(got == since, "from {time}: {} of {}", got.len(), since.len());
        }
        assert!(since.is_subset(&got), "from {time}: {} of {}", got.len(), since.len());

        // Some here, and the rest on a node that has nothing of its own.
        let mut reader = pair.store.reader(&Start::Earliest, topics.clone(), &|_, _| true).unwrap();
        let most = usize::try_from(random.below(wanted.len() as u64)).unwrap();
        let mut account = read(&mut reader, &topics, most);
        let other = Pair::open(&pair.shelf, small());
        let rest = read_from(&other.store, &Start::After(reader.read_cursor()));
        account.ids.extend(rest.ids);
        account.gaps.extend(rest.gaps);
        account.check();
        let here = |id: &RecordId| pair.shelf.has(id.key, id.seq);
        let got: BTreeSet<RecordId> = account.ids.into_iter().collect();
        assert!(wanted.iter().filter(|id| here(id)).all(|id| got.contains(id)), "lost on the way");
        // Nothing comes again to one who has it all, nor to one who begins now.
        let mut reader = other.store.reader(&Start::Earliest, topics.clone(), &|_, _| true).unwrap();
        read(&mut reader, &topics, usize::MAX);
        let again = read_from(&other.store, &Start::After(reader.read_cursor()));
        assert_eq!((again.ids.len(), again.gaps.len()), (0, 0));
        assert_eq!(read_from(&other.store, &Start::Live).ids, []);
    }
}

/// An archive that does not answer holds nobody up for longer than a reader waits, and what it holds has not expired.
#[test]
fn it_names_what_an_archive_does_not_give() {
    let mut random = Random(seed());
    let began = Instant::now();
    let clock = move || NOW + u64::try_from(began.elapsed().as_micros()).unwrap();
    let shelf = Arc::new(Shelf::default());
    let pair = Pair::open(&shelf, StoreOptions { clock: Arc::new(clock), ..small() });
    let logs = logs(&mut random);
    pair.fill(&logs, &mut random);
    let load = |batch: &Bytes| Arc::new(Loaded::new(batch.clone()).unwrap());
    for log in &logs {
        let log: Vec<_> = log.iter().map(load).collect();
        shelf.has.lock().unwrap().insert(log[0].key(), log);
    }
    shelf.mute.store(true, Ordering::SeqCst);
    shelf.comes(true);
    for direction in [Direction::Asc, Direction::Desc] {
        let began = Instant::now();
        let (got, gaps) = pages(&pair.store, &Range::all(), direction, 10_000, 30);
        assert!(began.elapsed() < Duration::from_secs(5) && !got.is_empty(), "{:?}", began.elapsed());
        assert!(gaps.iter().all(|gap| gap.reason == GapReason::Unreachable) && !gaps.is_empty(), "{gaps:?}");
    }
    let began = Instant::now();
    let account = read_from(&pair.store, &Start::Earliest);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    account.check();
    assert!(account.gaps.iter().all(|gap| gap.reason == GapReason::Unreachable), "{:?}", account.gaps);
    let first = RecordId { key: account.gaps[0].log, seq: 1 };
    assert_eq!(pair.store.record(&first).unwrap_err(), Missing::Gone(GapReason::Unreachable));
    shelf.mute.store(false, Ordering::SeqCst);
    assert_eq!(read_from(&pair.store, &Start::Earliest).gaps, [], "it answers again");
}

/// What nobody waits for is not taken, so a lender cannot fill the memory.
#[test]
fn it_takes_from_an_archive_only_what_is_waited_for() {
    let shelf = Arc::new(Shelf::default());
    let pair = Pair::open(&shelf, small());
    let batch = Arc::new(Loaded::new(foreign(9, 5, &[3])[0].clone()).unwrap());
    assert!(!pair.store.lend(&batch));
}
