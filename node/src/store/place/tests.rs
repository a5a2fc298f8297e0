use anode_shared::cursor::WHOLE;
use anode_shared::ids::Origin;

use super::*;
use crate::store::order::Place as Spot;

/// All logs hold all topics.
fn whole(_: LogKey) -> Shard {
    WHOLE
}

fn key(log: u64) -> LogKey {
    LogKey { log: LogId(log << 32), origin: Origin([1; 32]) }
}

fn arrival(log: u64, first: u64, last: u64, what: What) -> Arrival {
    Arrival { key: key(log), first, last, what }
}

fn batch(log: u64, first: u64, last: u64) -> Arrival {
    arrival(log, first, last, What::Batch(Spot { segment: 1, offset: 0, length: 0 }))
}

fn came(log: u64, seq: u64) -> Cursor {
    let mut cursor = Cursor::new(0);
    cursor.set(key(log), WHOLE, seq);
    cursor
}

#[test]
fn it_owes_what_the_cursor_has_not_seen_and_skips_what_it_has() {
    let heads = Heads::from([(key(5), 10)]);
    let mut behind = Place::attach(came(5, 7), 3, &heads, &|_| true, &whole);
    assert_eq!(behind.owed(key(5)), Some((8, 10)));
    assert_eq!(behind.pass(&batch(5, 11, 12), &whole), Take::Nothing, "it is read by seq, in order");
    assert_eq!(behind.owed(key(5)), Some((8, 12)));
    behind.read(key(5), 13);
    assert_eq!((behind.owed(key(5)), behind.pass(&batch(5, 13, 14), &whole)), (None, Take::From(13)));
    let mut ahead = Place::attach(came(5, 12), 3, &heads, &|_| true, &whole);
    assert_eq!(ahead.owed(key(5)), None);
    assert_eq!(ahead.pass(&batch(5, 11, 11), &whole), Take::Nothing);
    assert_eq!(ahead.pass(&batch(5, 12, 14), &whole), Take::From(13));
}

#[test]
fn it_owes_a_jump_from_its_own_next_seq() {
    let mut place = Place::attach(came(5, 3), 1, &Heads::from([(key(5), 3)]), &|_| true, &whole);
    assert_eq!(place.pass(&arrival(5, 4, 9, What::Jump), &whole), Take::Nothing);
    assert_eq!(place.owed(key(5)), Some((4, 9)));
    let mut beyond = Place::attach(came(5, 20), 1, &Heads::from([(key(5), 3)]), &|_| true, &whole);
    assert_eq!(beyond.pass(&arrival(5, 4, 9, What::Jump), &whole), Take::Nothing);
    assert_eq!(beyond.owed(key(5)), None, "one whose next seq lies beyond passes");
}

#[test]
fn it_waits_for_repair_only_so_long() {
    let (now, patience) = (Instant::now(), Duration::from_secs(30));
    let mut place = Place::attach(came(5, 3), 1, &Heads::from([(key(5), 9)]), &|_| true, &whole);
    assert!(place.wait(key(5), now, patience, (patience / 100, false)));
    assert_eq!(place.behind(now), Behind::Wait { look: now + patience / 100, lent: false });
    assert!(place.wait(key(5), now + patience - Duration::from_millis(1), patience, (patience / 100, false)));
    assert!(!place.wait(key(5), now + patience, patience, (patience / 100, false)));
    place.pass(&arrival(5, 5, 6, What::Late), &whole);
    assert_eq!(place.behind(now), Behind::Read(key(5)), "what came late may be what it waits for");
}

#[test]
fn it_owes_what_lay_between_when_segments_are_gone() {
    let mut place = Place::attach(Cursor::new(0), 0, &Heads::new(), &|_| true, &whole);
    place.skip_to(50, &Heads::from([(key(5), 3)]), &Heads::from([(key(5), 8), (key(6), 2)]), &whole);
    assert_eq!((place.position, place.owed(key(5)), place.owed(key(6))), (50, Some((4, 8)), Some((1, 2))));
}

#[test]
fn it_survives_a_cursor_from_beyond_the_end() {
    let heads = Heads::from([(key(5), 3)]);
    let mut place = Place::attach(came(5, u64::MAX), 1, &heads, &|_| true, &whole);
    assert_eq!(place.pass(&batch(5, 4, 5), &whole), Take::Nothing);
    let _ = place.cursor(&heads, &Marks::new(), &whole);
}

#[test]
fn it_owes_all_of_a_log_of_which_nothing_was_left_once_it_grows() {
    let heads = Heads::from([(key(5), 10)]);
    let attach = || Place::attach(Cursor::new(0), 3, &heads, &|_| false, &whole);
    let mut place = attach();
    assert_eq!((place.owed(key(5)), place.cursor(&heads, &Marks::new(), &whole)), (None, Cursor::new(0)));
    assert_eq!((place.pass(&batch(5, 11, 12), &whole), place.owed(key(5))), (Take::Nothing, Some((1, 12))));
    let mut place = attach();
    place.skip_to(9, &heads, &Heads::from([(key(5), 12)]), &whole);
    assert_eq!(place.owed(key(5)), Some((1, 12)));
}

#[test]
fn it_takes_what_other_shards_finished_for_no_word_on_a_log() {
    let (one, other) = ((1, 0), (1, 1));
    let shard = |key: LogKey| if key.log.0 >> 32 == 4 { other } else { one };
    let mut cursor = Cursor::new(0);
    cursor.set_done(Origin([1; 32]), one, LogId(5 << 32));
    let mut place = Place::attach(cursor, 0, &Heads::new(), &|_| true, &shard);
    assert_eq!(place.pass(&batch(3, 1, 2), &shard), Take::Nothing, "finished");
    assert_eq!(place.pass(&batch(4, 1, 2), &shard), Take::From(1), "as old, and of the other shard");
    assert_eq!(place.pass(&arrival(4, 3, 5, What::Jump), &shard), Take::Nothing);
    let heads = Heads::from([(key(4), 5), (key(6), 9)]);
    let finished =
        Marks::from([((Origin([1; 32]), one), LogId(5 << 32)), ((Origin([1; 32]), other), LogId(4 << 32))]);
    let cursor = place.cursor(&heads, &finished, &shard);
    assert_eq!(cursor.seen(key(4), other), Seen::UpTo(2), "what it is owed is not done");
    assert_eq!(cursor.seen(key(6), one), Seen::UpTo(9));
    assert_eq!(cursor.seen(key(5), one), Seen::Done);
}
