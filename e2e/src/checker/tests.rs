//! Histories with known faults, each of which the checker must name.

use super::*;

fn id(text: &str) -> Id {
    let (log, seq) = text.split_at(1);
    Id::new(log, seq.parse().unwrap())
}

/// Reads `a1 a2 a3-5! b1=key`: records, gaps, and a record with a key of its own.
fn seen(text: &str) -> Vec<Seen> {
    let gap = |range: &str| {
        let (from, to) = range[1..].split_once('-').unwrap();
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        Seen::Gap { log: range[..1].to_owned(), from, to, reason: "expired".to_owned() }
    };
    let one = |word: &str| match (word.strip_suffix('!'), word.split_once('=')) {
        (Some(range), _) => gap(range),
        (None, Some((at, key))) => Seen::Record(id(at), key.to_owned()),
        (None, None) => Seen::Record(id(word), word.to_owned()),
    };
    text.split_whitespace().map(one).collect()
}

fn owed(acked: &str) -> Owed {
    let acked = acked.split_whitespace().map(|word| (id(word), word.to_owned())).collect();
    Owed { acked, ..Owed::default() }
}

fn faults(owed: &Owed, text: &str) -> String {
    let faults: Vec<String> = check(owed, &seen(text)).iter().map(ToString::to_string).collect();
    faults.join("; ")
}

#[test]
fn it_finds_each_broken_promise() {
    for (acked, saw, expected) in [
        ("a1 a2 b1", "a1 b1 a2", ""),
        ("", "", ""),
        ("a1", "a1 a2 a3", ""),
        ("a1 a2", "a1-2!", ""),
        ("a1 a2 a3", "a1 a2-2! a3", ""),
        ("a1 a2", "a1", "lost a/2"),
        ("a1", "", "lost a/1"),
        ("a1 b1", "a1", "lost b/1"),
        ("a1 a2 a3", "a1 a3", "skipped in silence: a 2..=2; lost a/2"),
        ("", "a2", "skipped in silence: a 1..=1"),
        ("a1", "a1 a1", "seen twice: a/1"),
        ("a1 a2", "a1 a2 a1", "seen twice: a/1"),
        ("a1 a2", "a2 a1", "skipped in silence: a 1..=1; out of order: a/1"),
        ("a1 a2", "a1-2! a2", "out of order: a/2"),
        ("a1 a2", "a1 a1-2!", "a gap that is none: a 1..=2; lost a/2"),
        ("a1", "a1 a0-3!", "a gap that is none: a 0..=3"),
        ("a1", "a1 a3-2!", "a gap that is none: a 3..=2"),
        ("", "a1 a4-5!", "skipped in silence: a 2..=3"),
        ("a1", "a1=other", "not what was acknowledged: a/1"),
        ("a1", "a1 a2=a1", "published once, stored twice: a/1 and a/2"),
        ("a1", "a1-1! b1", ""),
        ("a1", "b1-1!", "lost a/1"),
    ] {
        assert_eq!(faults(&owed(acked), saw), expected, "acked {acked:?}, saw {saw:?}");
    }
}

#[test]
fn it_knows_where_a_reader_began() {
    let owed = Owed { start: BTreeMap::from([("a".to_owned(), 2)]), ..owed("a1 a2 a3 b1") };
    for (saw, expected) in [
        ("a3 b1", ""),
        ("b1 a3 a4", ""),
        ("a2 a3 b1", "out of order: a/2"),
        ("a4 b1", "skipped in silence: a 3..=3; lost a/3"),
        ("b1", "lost a/3"),
    ] {
        assert_eq!(faults(&owed, saw), expected, "saw {saw:?}");
    }
}

#[test]
fn it_expects_no_neighbours_of_a_narrow_reader() {
    let owed = Owed { narrow: true, ..owed("a1 a5") };
    for (saw, expected) in [
        ("a1 a5", ""),
        ("a1 a2-4! a5", ""),
        ("a1", "lost a/5"),
        ("a5 a1", "out of order: a/1"),
        ("a1 a5 a5", "seen twice: a/5"),
    ] {
        assert_eq!(faults(&owed, saw), expected, "saw {saw:?}");
    }
}

#[test]
fn it_fails_aloud() {
    assert!(ensure_sound("reader", &owed("a1"), &seen("a1")).is_ok());
    let error = ensure_sound("reader", &owed("a1"), &seen("")).unwrap_err().to_string();
    assert_eq!(error, "reader: 1 faults:\n  lost a/1");
}
