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
    let fit = order.fit(key(1), &piece);
    match fit {
        Fit::Next => _ = order.take_next(key(1), piece, None, 0),
        Fit::Ahead => order.take_waiting(key(1), piece, 0),
        Fit::Late => _ = order.take_late(key(1), piece, None, 0),
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
    assert_eq!(order.holes().collect::<Vec<_>>(), [(key(1), 3, 8)]);
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
    assert_eq!(order.fit(key(1), &wrong(3, 4)), Fit::Fork(2));
    take(&mut order, 7, 8);
    order.take_jump(key(1), 6);
    assert_eq!(order.fit(key(1), &wrong(3, 4)), Fit::Fork(2), "does not follow what is before the jump");
    let other_end = Piece { hash: Hash([99; 32]), ..piece(5, 6) };
    assert_eq!(order.fit(key(1), &other_end), Fit::Fork(7), "does not lead to what is behind the jump");
    assert!(order.take_fork(key(1), 7) && !order.take_fork(key(1), 8));
    assert_eq!(order.fit(key(1), &piece(9, 10)), Fit::Ended);
}

#[test]
fn it_forgets_finished_logs_and_takes_none_of_them_again() {
    let mut order = Order::default();
    order.take_next(key(1), piece(1, 3), None, 0);
    order.take_next(key(2), piece(1, 2), Some(Predecessor { log: LogId(1), end: 3 }), 0);
    let origin = Origin([1; 32]);
    assert_eq!(order.finished(origin, FINISHED_AFTER - 1), None);
    assert_eq!(order.finished(origin, FINISHED_AFTER), Some(LogId(1)));
    order.take_floor(key(1), 4);
    order.forget_expired(FINISHED_AFTER);
    assert_eq!(order.logs.keys().collect::<Vec<_>>(), [&key(2)]);
    assert_eq!(order.fit(key(1), &piece(1, 3)), Fit::Old);
    assert_eq!(order.finished(origin, FINISHED_AFTER), Some(LogId(1)), "its mark stays in cursors");
}
