use super::*;

fn key(log: u64) -> LogKey {
    LogKey { log: LogId(log), origin: Origin([1; 32]) }
}

/// A batch of the log's only chain: its hash says where it ends.
fn piece(first: u64, last: u64) -> Piece {
    let hash = |seq: u64| Hash([u8::try_from(seq).unwrap(); 32]);
    Piece {
        first,
        last,
        hash: hash(last),
        previous: hash(first - 1),
        place: Place { segment: 1, offset: 0, length: 0 },
    }
}

fn take(order: &mut Order, first: u64, last: u64) -> Fit {
    let piece = piece(first, last);
    let fit = order.fit(key(1), WHOLE, &piece);
    match fit {
        Fit::Next => _ = order.take_next(key(1), piece, Lineage::default(), 0),
        Fit::Ahead => order.take_waiting(key(1), piece, Lineage::default(), 0),
        Fit::Late => _ = order.take_late(key(1), piece, Lineage::default(), 0),
        Fit::Held(_) | Fit::Old | Fit::Fork(_) | Fit::Ended => {}
    }
    fit
}

#[test]
fn it_fits_each_batch_to_what_is_there() {
    let mut order = Order::default();
    for (first, last, fit, head) in [
        (1, 3, Fit::Next, 3),
        (7, 9, Fit::Ahead, 3),
        (8, 12, Fit::Held(7), 3),
        (2, 3, Fit::Held(2), 3),
        (4, 6, Fit::Next, 9),
        (4, 6, Fit::Held(4), 9),
    ] {
        assert_eq!((take(&mut order, first, last), order.logs[&key(1)].head), (fit, head), "{first}..{last}");
    }
    assert_eq!(order.next, 3, "each visible batch has a number");
}

#[test]
fn it_jumps_and_takes_what_fills_the_jump() {
    let mut order = Order::default();
    take(&mut order, 1, 2);
    take(&mut order, 9, 10);
    assert_eq!(order.hole(key(1)), Some((3, 8)));
    let arrivals = order.take_jump(key(1), 8);
    assert_eq!(arrivals.iter().map(|a| (a.first, a.last)).collect::<Vec<_>>(), [(3, 8), (9, 10)]);
    assert_eq!(take(&mut order, 5, 6), Fit::Late);
    assert_eq!(order.logs[&key(1)].jumps[&3].missing(3), Some((3, 4)));
    assert_eq!(order.logs[&key(1)].jumps[&3].missing(5), Some((7, 8)));
    assert_eq!(take(&mut order, 6, 7), Fit::Held(5));
    assert_eq!((take(&mut order, 3, 4), take(&mut order, 7, 8)), (Fit::Late, Fit::Late));
    assert!(order.logs[&key(1)].jumps.is_empty(), "a jump that is whole is forgotten");
}

#[test]
fn it_finds_forks_by_the_chain() {
    let wrong = |first, last| Piece { previous: Hash([99; 32]), ..piece(first, last) };
    let mut order = Order::default();
    take(&mut order, 1, 2);
    assert_eq!(order.fit(key(1), WHOLE, &wrong(3, 4)), Fit::Fork(2));
    take(&mut order, 7, 8);
    order.take_jump(key(1), 6);
    assert_eq!(
        order.fit(key(1), WHOLE, &wrong(3, 4)),
        Fit::Fork(2),
        "does not follow what is before the jump"
    );
    let other_end = Piece { hash: Hash([99; 32]), ..piece(5, 6) };
    assert_eq!(
        order.fit(key(1), WHOLE, &other_end),
        Fit::Fork(7),
        "does not lead to what is behind the jump"
    );
    assert!(order.take_fork(key(1), 7) && !order.take_fork(key(1), 8));
    assert_eq!(order.fit(key(1), WHOLE, &piece(9, 10)), Fit::Ended);
}

/// What the header of a log's first batch says.
fn behind(shard: Shard, log: Option<u64>, end: u64) -> Lineage {
    Lineage { shard, predecessor: log.map(|log| Predecessor { log: LogId(log), end }) }
}

#[test]
fn it_forgets_finished_logs_and_takes_none_of_them_again() {
    let mut order = Order::default();
    order.take_next(key(1), piece(1, 3), behind(WHOLE, None, 0), 0);
    order.take_next(key(2), piece(1, 2), behind(WHOLE, Some(1), 3), 0);
    let of = (Origin([1; 32]), WHOLE);
    assert_eq!(order.finished(FINISHED_AFTER - 1), Marks::new());
    assert_eq!(order.finished(FINISHED_AFTER), Marks::from([(of, LogId(1))]));
    order.take_floor(key(1), 4);
    order.forget_expired(FINISHED_AFTER);
    assert_eq!(order.logs.keys().collect::<Vec<_>>(), [&key(2)]);
    assert_eq!(order.fit(key(1), WHOLE, &piece(1, 3)), Fit::Old);
    assert_eq!(order.finished(FINISHED_AFTER), Marks::from([(of, LogId(1))]), "its mark stays in cursors");
    assert_eq!(order.forgotten_origins(), BTreeMap::from([(of.0, LogId(1))]));
}

#[test]
fn it_remembers_few_of_those_who_are_gone_for_good() {
    let mut order = Order::default();
    let of = |n: u64, log: u64| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        LogKey { origin: Origin(bytes), log: LogId(log) }
    };
    // The later ones were there the longest ago.
    let first = |n: u64| 10_000 - n * 10;
    for n in 0..1_000 {
        order.take_next(of(n, first(n)), piece(1, 2), behind(WHOLE, None, 0), 0);
        order.take_next(of(n, first(n) + 1), piece(1, 2), behind(WHOLE, Some(first(n)), 2), 0);
        order.take_floor(of(n, first(n)), 3);
    }
    order.forget_expired(FINISHED_AFTER);
    assert_eq!(order.forgotten_origins().len(), 1_000, "whose last logs are known");
    // The last ten are still there.
    (0..990).for_each(|n| order.forget(of(n, first(n) + 1)));
    order.forget_expired(FINISHED_AFTER);
    let marks: Vec<Origin> = order.forgotten_origins().into_keys().collect();
    let expected: Vec<Origin> = (0..MOST_IDLE as u64).chain(990..1_000).map(|n| of(n, 0).origin).collect();
    assert_eq!(marks, expected, "the newest, and those who are there");
    assert_eq!(order.fit(of(20, first(20)), WHOLE, &piece(1, 2)), Fit::Old);
}

#[test]
fn it_finishes_and_forgets_the_logs_of_each_shard_apart() {
    let (one, other, origin) = ((2, 1), (2, 3), Origin([1; 32]));
    let mut order = Order::default();
    order.take_next(key(1), piece(1, 3), behind(one, None, 0), 0);
    order.take_next(key(2), piece(1, 2), behind(other, None, 0), 0);
    order.take_next(key(4), piece(1, 2), behind(one, Some(1), 3), 0);
    order.take_next(key(5), piece(1, 2), behind(one, Some(4), 2), 0);
    assert_eq!(order.finished(FINISHED_AFTER), Marks::from([((origin, one), LogId(4))]));
    order.take_floor(key(1), 4);
    order.take_floor(key(4), 3);
    order.forget_expired(FINISHED_AFTER);
    assert_eq!(order.logs.keys().collect::<Vec<_>>(), [&key(2), &key(5)]);
    assert_eq!(order.fit(key(3), one, &piece(1, 3)), Fit::Old);
    assert_eq!(
        order.fit(key(3), other, &piece(1, 3)),
        Fit::Next,
        "a log of the other shard that nobody heard of yet"
    );
    assert_eq!(order.fit(key(2), other, &piece(3, 4)), Fit::Next, "it goes on");
    assert_eq!(order.forgotten_origins(), BTreeMap::new(), "the other shard has all its logs");
    order.take_next(key(6), piece(1, 2), behind(other, Some(2), 2), 0);
    order.take_floor(key(2), 3);
    order.forget_expired(FINISHED_AFTER);
    assert_eq!(order.forgotten_origins(), BTreeMap::from([(origin, LogId(2))]));
}
