use anode_shared::batch::{Header, VERSION, seal};
use anode_shared::frames::GapReason;
use anode_shared::ids::{Hash, LogId, LogKey, Origin};
use anode_shared::merkle;
use anode_shared::record::RecordRef;
use ed25519_dalek::SigningKey;

use super::*;
use crate::feed::start::Subscription;

/// A batch with one record a topic, whose payloads are 1, 2, 3 …
fn batch(topics: &[&str]) -> Arc<Loaded> {
    let (mut records, mut leaves) = (Vec::new(), Vec::new());
    for (place, topic) in topics.iter().enumerate() {
        let payload = (place + 1).to_string();
        let record = RecordRef {
            topic,
            time: 5,
            payload: payload.as_bytes(),
            content_type: None,
            source: None,
            publisher: None,
            publisher_signature: None,
            dedupe: None,
        };
        let mut bytes = Vec::new();
        record.encode_into(&mut bytes);
        leaves.push(merkle::leaf(&bytes));
        records.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        records.extend(bytes);
    }
    let key = SigningKey::from_bytes(&[7; 32]);
    let header = Header {
        version: VERSION,
        network: "local".into(),
        origin: Origin(key.verifying_key().to_bytes()),
        log: LogId(5 << 32),
        first: 1,
        count: 0,
        previous: Hash::default(),
        predecessor: None,
        shard_bits: 0,
        shard: 0,
        time_first: 5,
        time_last: 5,
        root: Hash::default(),
    };
    Arc::new(Loaded::new(seal(header, &records, &leaves, &key).bytes.into()).unwrap())
}

fn all(topics: &[&str]) -> Item {
    let batch = batch(topics);
    Item::Records(Slice::of(batch, 1, u64::MAX))
}

fn gap() -> Item {
    let log = LogKey { log: LogId(1), origin: Origin([1; 32]) };
    Item::Gap(Gap { log, from: 1, to: 2, reason: GapReason::Expired })
}

fn subscriber(topics: &[&str], filter: Option<&str>, first: Mark, live: bool, now: Instant) -> Subscriber {
    let wanted = Subscription::new(topics, filter, None).unwrap();
    let sieve = Sieve { topics: wanted.topics, filter: wanted.filter, payloads: Arc::default() };
    Subscriber::new(sieve, Duration::from_secs(5), first, live, now)
}

/// What it is sent until it asks for something.
fn sent(subscriber: &mut Subscriber, now: Instant) -> String {
    let mut words = Vec::new();
    loop {
        words.push(match subscriber.next(now) {
            Next::Record(batch, index) => format!("{}{}", batch.topic(index), batch.seq(index)),
            Next::Gap(_) => "gap".to_owned(),
            Next::Cursor(mark) => format!("{mark:?}"),
            Next::Yield => "yield".to_owned(),
            Next::Poll => "poll".to_owned(),
            Next::Storage => "storage".to_owned(),
            Next::Wait(None) => "wait".to_owned(),
            Next::Wait(Some(until)) => format!("wait {}", until.duration_since(now).as_secs()),
        });
        if matches!(words.last(), Some(last) if ["poll", "storage"].contains(&last.as_str()) || last.starts_with("wait"))
        {
            return words.join(" ");
        }
    }
}

fn step(items: Vec<Item>, then: Then) -> Step {
    Step { items, then }
}

#[test]
fn it_begins_as_the_contract_says() {
    let now = Instant::now();
    for (first, live, expected) in [
        (Mark::Begin, false, "Begin poll"),
        (Mark::Begin, true, "CaughtUp poll"),
        (Mark::Subscribed, false, "Subscribed poll"),
        (Mark::Subscribed, true, "Subscribed CaughtUp poll"),
    ] {
        assert_eq!(sent(&mut subscriber(&[], None, first, live, now), now), expected);
    }
}

#[test]
fn it_says_caught_up_once_and_first_when_live() {
    let now = Instant::now();
    let mut live = subscriber(&[], None, Mark::Begin, true, now);
    sent(&mut live, now);
    live.give(step(vec![all(&["a"]), Item::CaughtUp], Then::Live), true);
    assert_eq!(sent(&mut live, now), "a1 wait 5");
    live.wake();
    live.give(step(vec![], Then::Blocking), true);
    assert_eq!(sent(&mut live, now), "storage");
    live.give(step(vec![all(&["b"])], Then::More), false);
    assert_eq!(sent(&mut live, now), "b1 poll");
    live.give(step(vec![Item::CaughtUp], Then::Live), true);
    assert_eq!(sent(&mut live, now), "CaughtUp wait");
}

#[test]
fn it_keeps_what_topics_and_filter_want() {
    let now = Instant::now();
    let mut some = subscriber(&["a.*"], Some("payload > 2"), Mark::Begin, false, now);
    sent(&mut some, now);
    some.give(step(vec![all(&["a.x", "b.x", "a.y", "a.z", "$a.z"])], Then::More), true);
    assert_eq!(sent(&mut some, now), "a.y3 a.z4 poll");
    assert_eq!(some.unsent().count(), 0);
    let mut erring = subscriber(&[], Some("payload.x > 2"), Mark::Begin, false, now);
    sent(&mut erring, now);
    erring.give(step(vec![all(&["a", "b"])], Then::More), false);
    assert_eq!(sent(&mut erring, now), "poll");
    assert_eq!((erring.take_filter_errors(), erring.take_filter_errors()), (2, 0));
}

#[test]
fn it_says_where_it_stands_while_anything_moves() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut it = subscriber(&["a"], None, Mark::Begin, true, start);
    sent(&mut it, start);
    // Records of other topics move it too, or a cursor would never pass them.
    it.give(step(vec![all(&["b"]), gap()], Then::Live), true);
    assert_eq!(sent(&mut it, at(1)), "gap wait 4");
    assert_eq!(sent(&mut it, at(5)), "Moved wait");
    it.wake();
    it.give(step(vec![], Then::Until(at(7))), true);
    assert_eq!(sent(&mut it, at(6)), "wait 1");
    it.give(step(vec![all(&["a"])], Then::Until(at(30))), true);
    assert_eq!(sent(&mut it, at(7)), "a1 wait 3");
    assert_eq!(sent(&mut it, at(10)), "Moved wait 20");
}

#[test]
fn it_knows_what_was_not_sent() {
    let now = Instant::now();
    let mut it = subscriber(&["a", "c"], None, Mark::Begin, true, now);
    sent(&mut it, now);
    let unsent = |it: &Subscriber| it.unsent().map(|(_, seq)| seq).min();
    it.give(step(vec![all(&["a", "b", "c"])], Then::Live), true);
    assert_eq!(unsent(&it), Some(1));
    assert!(matches!(it.next(now), Next::Record(_, 0)));
    assert_eq!(unsent(&it), Some(1), "it was handed on, and perhaps not sent");
    it.sent();
    assert_eq!(unsent(&it), Some(2));
    assert!(matches!(it.next(now), Next::Record(_, 2)));
    assert_eq!(unsent(&it), Some(3));
    it.sent();
    assert_eq!(unsent(&it), None);
    it.give(step(vec![gap()], Then::Live), true);
    assert!(matches!(it.next(now), Next::Gap(_)));
    assert_eq!(unsent(&it), Some(1));
    sent(&mut it, now);
    assert_eq!(unsent(&it), None);
}

#[test]
fn it_lets_others_have_the_thread_between() {
    let now = Instant::now();
    let mut it = subscriber(&["none"], None, Mark::Begin, false, now);
    sent(&mut it, now);
    let topics = ["a"; 256];
    it.give(step((0..50).map(|_| all(&topics)).collect(), Then::More), true);
    assert_eq!(sent(&mut it, now), "yield poll");
    let mut filtering = subscriber(&[], Some("payload == 256"), Mark::Begin, false, now);
    sent(&mut filtering, now);
    filtering.give(step((0..20).map(|_| all(&topics)).collect(), Then::More), true);
    let words = sent(&mut filtering, now);
    assert_eq!(words.matches("a256").count(), 20, "{words}");
    assert!(words.contains("yield"), "{words}");
}
