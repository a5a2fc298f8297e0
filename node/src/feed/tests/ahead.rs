//! A subscriber far behind: what follows is read from storage while it is sent what came before.

use anode_shared::cursor::Cursor;

use super::start::{Format, Subscription};
use super::subscriber::{Mark, Next};
use super::tail::{Tail, Work};
use super::*;

/// How many records there are, of 1 KiB: several steps of storage.
const RECORDS: usize = 4_000;

/// A feed whose store keeps hardly anything in memory, and the ids of its records.
async fn full() -> (Feed, Vec<String>) {
    let key = SigningKey::from_bytes(&[9; 32]);
    let options = StoreOptions { tail_bytes: 4_000, ..StoreOptions::default() };
    let store = Store::open(Arc::new(Memory::default()), options, key, Arc::new(Nobody)).unwrap();
    let server = Server { feed: Feed::new(store.clone()), store, address: peer() };
    let payload = format!("\"{}\"", "x".repeat(1_000));
    let mut ids = Vec::new();
    for _ in 0..RECORDS / 100 {
        ids.extend(server.put("a", &vec![payload.as_str(); 100]).await);
    }
    (server.feed, ids)
}

fn tail(feed: &Feed, start: &str) -> Tail {
    let wanted = Subscription::new(&["a"], None, Some(start)).unwrap();
    // Each time that all is sent which was read, it is to say where it stands.
    feed.hub.tail(&wanted, Mark::Subscribed, Format::Json, Duration::ZERO)
}

/// The next record's id, or where the subscriber stands.
async fn next(tail: &mut Tail) -> Result<String, Cursor> {
    let work = tokio::time::timeout(Duration::from_secs(10), tail.ready()).await.unwrap().unwrap();
    match work {
        Work::Send(Next::Record(batch, index)) => Ok(batch.id(index).to_string()),
        Work::Send(other) => panic!("{other:?}"),
        Work::Stand(_, cursor) => Err(*cursor),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stands_behind_what_it_sent_whatever_it_read_ahead() {
    let (feed, ids) = full().await;
    let mut tail_of_all = tail(&feed, "earliest");
    let (mut sent, mut stood) = (0, 0);
    while sent < ids.len() {
        match next(&mut tail_of_all).await {
            Ok(id) => {
                assert_eq!(id, ids[sent], "record {sent}");
                sent += 1;
            }
            Err(cursor) => {
                stood += 1;
                let mut resumed = tail(&feed, &format!("after:{cursor}"));
                let first = loop {
                    if let Ok(id) = next(&mut resumed).await {
                        break id;
                    }
                };
                assert_eq!(first, ids[sent], "after a cursor behind {sent} records");
            }
        }
    }
    assert!(stood > 5, "it stood {stood} times");
}
