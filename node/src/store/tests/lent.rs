//! Records that a store dropped and a peer still has: pages of history and `last:N` are joined of both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anode_shared::cursor::WHOLE;
use anode_shared::frames::{Gap, GapReason};
use anode_shared::ids::{LogKey, RecordId};
use anode_shared::time::Micros;
use anode_shared::topic::Topics;
use bytes::Bytes;

use super::kit::*;
use crate::store::own::{Before, OwnLog};
use crate::store::*;

/// A peer: the batches that it has, and whether it is there, and gives anything.
#[derive(Debug, Default)]
struct Peer {
    has: Mutex<BTreeMap<LogKey, Vec<Arc<Loaded>>>>,
    there: AtomicBool,
    mute: AtomicBool,
}

impl Peer {
    /// From the first to the last seq of a range that it has.
    fn ends(&self, key: LogKey, from: u64, to: u64) -> Option<(u64, u64)> {
        if !self.there.load(Ordering::SeqCst) {
            return None;
        }
        let has = self.has.lock().unwrap();
        let spans = has.get(&key)?.iter().map(|batch| (batch.header().first, batch.header().last()));
        let meet =
            spans.map(|(first, last)| (first.max(from), last.min(to))).filter(|(first, last)| first <= last);
        meet.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    }

    /// Some of what is wished for, from the end at which it is read.
    fn gives(&self, wish: Wish) -> Vec<Bytes> {
        let has = self.has.lock().unwrap();
        let batches = has.get(&wish.log).into_iter().flatten();
        let meets =
            |batch: &&Arc<Loaded>| batch.header().first <= wish.to && batch.header().last() >= wish.from;
        let mut found: Vec<Bytes> = batches.filter(meets).map(|batch| batch.bytes().clone()).collect();
        if wish.newest_first {
            found.reverse();
        }
        found.truncate(5);
        found
    }
}

impl Holders for Arc<Peer> {
    fn may_have(&self, log: LogKey, from: u64, to: u64) -> bool {
        self.ends(log, from, to).is_some()
    }

    fn ends_of(&self, log: LogKey, from: u64, to: u64) -> Option<(u64, u64)> {
        self.ends(log, from, to)
    }
}

/// A store takes these batches, of one log or another as chance has it, and drops the oldest of them.
pub(super) fn fill(store: &Store, logs: &[Vec<Bytes>], random: &mut Random) {
    let mut left: Vec<&[Bytes]> = logs.iter().map(Vec::as_slice).collect();
    while !left.is_empty() {
        let which = usize::try_from(random.below(left.len() as u64)).unwrap();
        let (batch, rest) = left[which].split_first().unwrap();
        assert_eq!(accept(store, batch), Verdict::Taken);
        left[which] = rest;
        left.retain(|left| !left.is_empty());
    }
    let (full, mut settled) = (Instant::now() + Duration::from_secs(10), 0);
    // It drops one segment after the other, and writes down that it did.
    while settled < 30 {
        assert!(Instant::now() < full, "never dropped enough");
        std::thread::sleep(Duration::from_millis(10));
        settled = if store.status().bytes > RETAINED { 0 } else { settled + 1 };
    }
}

/// A store that keeps little, beside a peer that lends.
struct Pair {
    store: Store,
    peer: Arc<Peer>,
    ended: Arc<AtomicBool>,
    lending: Option<JoinHandle<()>>,
}

impl Pair {
    fn open(options: StoreOptions) -> Self {
        let (peer, ended) = (Arc::new(Peer::default()), Arc::new(AtomicBool::new(false)));
        let holders: Arc<dyn Holders> = Arc::new(peer.clone());
        let store = Store::open(Arc::new(Memory::default()), options, key(1), holders).unwrap();
        let (lender, to, end) = (peer.clone(), store.clone(), ended.clone());
        let lending = std::thread::spawn(move || {
            while !end.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(3));
                if lender.mute.load(Ordering::SeqCst) {
                    continue;
                }
                let given = to.wishes().into_iter().flat_map(|wish| lender.gives(wish));
                given.for_each(|batch| assert_ne!(accept(&to, &batch), Verdict::Taken));
            }
        });
        Self { store, peer, ended, lending: Some(lending) }
    }

    /// The store takes these batches and drops the oldest of them; the peer has them all.
    fn fill(&self, logs: &[Vec<Bytes>], random: &mut Random) {
        fill(&self.store, logs, random);
        let load = |batch: &Bytes| Arc::new(Loaded::new(batch.clone()).unwrap());
        let mut has = self.peer.has.lock().unwrap();
        for log in logs {
            let log: Vec<_> = log.iter().map(load).collect();
            has.insert(log[0].key(), log);
        }
    }

    fn comes(&self, there: bool) {
        self.peer.there.store(there, Ordering::SeqCst);
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

/// What the store keeps, bytes.
const RETAINED: u64 = 30_000;

pub(super) fn small() -> StoreOptions {
    StoreOptions { segment_bytes: 4_000, retain_bytes: RETAINED, tail_bytes: 2_000, ..options() }
}

/// The same, with a clock that goes as clocks do.
fn on_time() -> StoreOptions {
    let began = Instant::now();
    let clock = move || NOW + u64::try_from(began.elapsed().as_micros()).unwrap();
    StoreOptions { clock: Arc::new(clock), ..small() }
}

/// Logs of some origins, whose records of two topics interleave in time: about 120 KB.
pub(super) fn logs(random: &mut Random) -> Vec<Vec<Bytes>> {
    let count = 1 + u32::try_from(random.below(4)).unwrap();
    (0..count)
        .map(|n| log(9 + u8::try_from(n % 3).unwrap(), 5 + n, 120_000 / u64::from(count), random))
        .collect()
}

pub(super) fn log(seed: u8, number: u32, bytes: u64, random: &mut Random) -> Vec<Bytes> {
    let mut own = OwnLog::new("local".into(), key(seed), Before::default(), WHOLE);
    let (mut batches, mut length, mut time) = (Vec::new(), 0, NOW + random.below(200));
    while length < bytes {
        for _ in 0..=random.below(8) {
            time += random.below(3);
            let topic = if random.below(4) == 0 { "lent.rare" } else { "lent.often" };
            let text = "x".repeat(usize::try_from(random.below(200)).unwrap());
            own.add(&record(topic, format!("\"{text}\"")), time, number);
        }
        let ready = own.seal().unwrap();
        own.written(&ready);
        length += ready.sealed.bytes.len() as u64;
        batches.push(Bytes::from(ready.sealed.bytes));
    }
    batches
}

/// What a question is about.
#[derive(Debug, Clone)]
pub(super) struct Range {
    pub(super) topics: Topics,
    pub(super) since: Option<Micros>,
    pub(super) until: Option<Micros>,
}

impl Range {
    pub(super) fn all() -> Self {
        Self { topics: Topics::default(), since: None, until: None }
    }

    pub(super) fn any(random: &mut Random, end: Micros) -> Self {
        let topics = ["", "lent.rare", "lent.*"][usize::try_from(random.below(3)).unwrap()];
        let topics = Topics::new(topics.parse().into_iter().collect());
        let mut time = || (random.below(3) == 0).then(|| NOW + random.below(end + 2 - NOW));
        Self { topics, since: time(), until: time() }
    }

    fn holds(&self, time: Micros, topic: &str) -> bool {
        self.since.is_none_or(|since| time >= since)
            && self.until.is_none_or(|until| time < until)
            && self.topics.matches(topic)
    }
}

/// A record's place in a history.
pub(super) type At = (Micros, LogKey, u64);

/// All records of these logs, in their order by time.
pub(super) fn records(logs: &[Vec<Bytes>], range: &Range) -> Vec<At> {
    let mut all = Vec::new();
    for batch in logs.iter().flatten() {
        let batch = Loaded::new(batch.clone()).unwrap();
        for index in 0..batch.len() {
            let record = batch.record(index);
            if range.holds(record.time, record.topic) {
                all.push((record.time, batch.key(), batch.seq(index)));
            }
        }
    }
    all.sort_unstable();
    all
}

fn page(
    store: &Store,
    range: &Range,
    direction: Direction,
    limit: usize,
    page: Option<&str>,
    millis: u64,
) -> Page {
    let ask = History {
        topics: &range.topics,
        since: range.since,
        until: range.until,
        after: None,
        direction,
        limit,
        page,
        fingerprint: 7,
        keep: &|_, _| true,
        deadline: Instant::now() + Duration::from_millis(millis),
        lend_until: None,
    };
    store.history(&ask).unwrap()
}

/// All pages of a history.
pub(super) fn pages(
    store: &Store,
    range: &Range,
    direction: Direction,
    limit: usize,
    millis: u64,
) -> (Vec<At>, Vec<Gap>) {
    let (mut all, mut gaps, mut next, mut count) = (Vec::new(), Vec::new(), None::<String>, 0);
    loop {
        let page = page(store, range, direction, limit, next.as_deref(), millis);
        assert!(page.records.len() <= limit && count < 5_000, "page {count} with {}", page.records.len());
        let at = |(batch, index): &(Arc<Loaded>, usize)| {
            (batch.record(*index).time, batch.key(), batch.seq(*index))
        };
        all.extend(page.records.iter().map(at));
        gaps.extend(page.gaps);
        count += 1;
        next = page.next;
        if next.is_none() {
            return (all, gaps);
        }
    }
}

pub(super) fn last(store: &Store, range: &Range, count: usize) -> Account {
    let mut reader = store.reader(&Start::Last(count), range.topics.clone(), &|_, _| true).unwrap();
    read(&mut reader, &range.topics, usize::MAX)
}

/// The peer loses some batches of each log, and what lies below a floor of its own.
fn thin(pair: &Pair, random: &mut Random) {
    for log in pair.peer.has.lock().unwrap().values_mut() {
        let floor = usize::try_from(random.below(log.len() as u64 / 2)).unwrap();
        log.drain(..floor);
        log.retain(|_| random.below(6) > 0);
    }
}

/// A pair of which the peer, in every other round, has not all either; with its logs, and what the store kept of them.
fn parted(round: u32, random: &mut Random) -> (Pair, Vec<Vec<Bytes>>, BTreeSet<At>) {
    let pair = Pair::open(small());
    let logs = logs(random);
    pair.fill(&logs, random);
    if round % 2 == 1 {
        thin(&pair, random);
    }
    let (kept, _) = pages(&pair.store, &Range::all(), Direction::Asc, 10_000, 5_000);
    (pair, logs, kept.into_iter().collect())
}

/// All that anybody has comes once and in its order, whichever way it is read; the rest is named, and nothing else is.
#[test]
fn it_joins_what_is_kept_with_what_is_lent() {
    let mut random = Random(seed());
    for round in 0..12 {
        let (pair, logs, kept) = parted(round, &mut random);
        let end = records(&logs, &Range::all()).last().unwrap().0;
        pair.comes(true);
        for _ in 0..6 {
            let range = Range::any(&mut random, end);
            let all = records(&logs, &range);
            let somebody = |at: &At| kept.contains(at) || pair.peer.ends(at.1, at.2, at.2).is_some();
            let there: Vec<At> = all.iter().copied().filter(somebody).collect();
            let limit = usize::try_from(1 + random.below(700)).unwrap();
            let millis = if random.below(2) == 0 { 5_000 } else { 1 + random.below(15) };
            for direction in [Direction::Asc, Direction::Desc] {
                let (mut got, gaps) = pages(&pair.store, &range, direction, limit, millis);
                if direction == Direction::Desc {
                    got.reverse();
                }
                assert!(got == there, "{direction:?} {range:?}: {} of {}", got.len(), there.len());
                let named =
                    |at: &At| gaps.iter().any(|gap| gap.log == at.1 && (gap.from..=gap.to).contains(&at.2));
                assert!(there.iter().all(|at| !named(at)), "{direction:?} {range:?} names what it gives");
                assert!(all.iter().all(|at| somebody(at) || named(at)), "{direction:?} {range:?} is silent");
            }
        }
    }
}

/// The newest record of a topic that the store has dropped, where the archive says which it is; of others the newer one counts.
#[test]
fn it_gives_the_newest_record_of_topics_that_are_only_archived() {
    let mut random = Random(seed());
    let (pair, logs, gone) = (Pair::open(small()), logs(&mut random), foreign(20, 4, &[3, 3]));
    gone.iter().for_each(|batch| assert_eq!(accept(&pair.store, batch), Verdict::Taken));
    pair.fill(&logs, &mut random);
    let gone: Vec<_> = gone.into_iter().map(|batch| Arc::new(Loaded::new(batch).unwrap())).collect();
    let gone_key = gone[0].key();
    pair.peer.has.lock().unwrap().insert(gone_key, gone);
    pair.comes(true);
    let newest = read_from(&pair.store, &Start::Latest).ids;
    assert_eq!(newest.len(), 2, "the store keeps some of both topics, and nothing of the third");
    let all = records(&logs, &Range::all());
    let (first, last) = (all[0], newest[0]);
    let archived: Newest = [
        ("foreign.topic", (NOW + 6, gone_key, 6)),
        // Older than what is here, and not here yet.
        ("lent.often", first),
        ("lent.rare", (Micros::MAX, last.key, u64::MAX)),
    ]
    .map(|(topic, spot)| (topic.into(), spot))
    .into();
    let mut opening = pair.store.open_reader(&Start::Latest, Topics::default()).unwrap();
    opening.archived(archived);
    let mut reader = loop {
        if let Some(reader) = opening.round(&|_, _| true).unwrap() {
            break reader;
        }
    };
    let given = read(&mut reader, &Topics::default(), usize::MAX);
    let expected: BTreeSet<RecordId> =
        newest.into_iter().chain([RecordId { key: gone_key, seq: 6 }]).collect();
    assert_eq!(given.ids.iter().copied().collect::<BTreeSet<_>>(), expected);
    assert_eq!((given.ids.len(), given.gaps), (3, Vec::new()));
}

/// The newest so many of what anybody has, in their order.
#[test]
fn it_gives_the_newest_of_what_anybody_has() {
    let mut random = Random(seed());
    for round in 0..6 {
        let (pair, logs, kept) = parted(round, &mut random);
        pair.comes(true);
        for _ in 0..6 {
            let range = Range { since: None, until: None, ..Range::any(&mut random, NOW) };
            let mut there = records(&logs, &range);
            there.retain(|at| kept.contains(at) || pair.peer.ends(at.1, at.2, at.2).is_some());
            let count = usize::try_from(1 + random.below(there.len() as u64 + 50)).unwrap();
            let account = last(&pair.store, &range, count);
            let newest = there[there.len().saturating_sub(count)..]
                .iter()
                .map(|(_, key, seq)| RecordId { key: *key, seq: *seq });
            assert_eq!(account.ids, newest.collect::<Vec<_>>(), "last:{count} of {} {range:?}", there.len());
            assert_eq!(account.gaps, []);
        }
    }
}

/// Who says that it has a range and does not give it holds nobody up for longer than a reader waits.
#[test]
fn it_names_what_a_peer_does_not_lend_in_time() {
    let mut random = Random(seed());
    let pair = Pair::open(on_time());
    let logs = logs(&mut random);
    pair.fill(&logs, &mut random);
    let (kept, expired) = pages(&pair.store, &Range::all(), Direction::Asc, 10_000, 5_000);
    pair.comes(true);
    pair.peer.mute.store(true, Ordering::SeqCst);
    let first = page(&pair.store, &Range::all(), Direction::Asc, 100, None, 30);
    assert!(first.records.is_empty() && first.gaps.is_empty() && first.next.is_some(), "{first:?}");
    for direction in [Direction::Asc, Direction::Desc] {
        let began = Instant::now();
        let (mut got, mut gaps) = pages(&pair.store, &Range::all(), direction, 10_000, 30);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        got.sort_unstable();
        assert_eq!(got.len(), kept.len());
        assert!(gaps.iter().all(|gap| gap.reason == GapReason::Unreachable), "{gaps:?}");
        let total = |gaps: &[Gap]| gaps.iter().map(|gap| gap.to - gap.from + 1).sum::<u64>();
        gaps.sort_unstable_by_key(|gap| (gap.log, gap.from));
        assert_eq!(total(&gaps), total(&expired));
    }
    let began = Instant::now();
    let account = last(&pair.store, &Range::all(), 10_000);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(account.ids.len(), kept.len());
    assert!(!account.gaps.is_empty() && account.gaps.iter().all(|gap| gap.reason == GapReason::Unreachable));
    account.check();
}

/// Without a peer nothing is waited for, and nobody is asked.
#[test]
fn it_answers_at_once_where_nobody_has_it() {
    let mut random = Random(seed());
    let pair = Pair::open(small());
    pair.fill(&logs(&mut random), &mut random);
    let began = Instant::now();
    for direction in [Direction::Asc, Direction::Desc] {
        let page = page(&pair.store, &Range::all(), direction, 10_000, None, 60_000);
        assert!(page.next.is_none() && !page.records.is_empty());
        assert!(page.gaps.iter().all(|gap| gap.reason == GapReason::Expired) && !page.gaps.is_empty());
    }
    let account = last(&pair.store, &Range::all(), 10_000);
    assert!(account.gaps.is_empty() && !account.ids.is_empty());
    assert!(pair.store.wishes().is_empty() && began.elapsed() < Duration::from_secs(5));
}

/// What was found below the floor and was forgotten before it was read is asked for again.
#[test]
fn it_asks_again_for_what_it_forgot_before_it_was_read() {
    let mut random = Random(seed());
    let pair = Pair::open(small());
    let logs = logs(&mut random);
    pair.fill(&logs, &mut random);
    pair.comes(true);
    let mut reader = pair.store.reader(&Start::Last(10_000), Topics::default(), &|_, _| true).unwrap();
    pair.store.shared.for_peers().borrowed.forget_old(Instant::now() + Duration::from_secs(3_600));
    let account = read(&mut reader, &Topics::default(), usize::MAX);
    assert_eq!(account.ids.len(), records(&logs, &Range::all()).len().min(10_000));
    assert_eq!(account.gaps, []);
}
