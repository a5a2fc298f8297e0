use anode_shared::batch::{Header, VERSION, seal};
use anode_shared::ids::Hash;
use anode_shared::merkle;
use anode_shared::record::RecordRef;
use ed25519_dalek::SigningKey;

use super::*;

const NOW: Micros = 1_795_000_000_000_000;

fn key() -> LogKey {
    let origin = Origin(SigningKey::from_bytes(&[3; 32]).verifying_key().to_bytes());
    LogKey { log: LogId(0x6922_73a4_5f3a_9c01), origin }
}

/// A batch of records with these topics and times.
fn batch(first: u64, records: &[(&str, Micros)], payload: usize) -> Arc<Loaded> {
    let (mut bytes, mut leaves) = (Vec::new(), Vec::new());
    let payload = vec![b'7'; payload];
    for (topic, time) in records {
        let record = RecordRef {
            topic,
            time: *time,
            payload: &payload,
            content_type: None,
            source: None,
            publisher: None,
            publisher_signature: None,
            dedupe: None,
        };
        let mut one = Vec::new();
        record.encode_into(&mut one);
        bytes.extend_from_slice(&u32::try_from(one.len()).unwrap().to_le_bytes());
        leaves.push(merkle::leaf(&one));
        bytes.extend_from_slice(&one);
    }
    let header = Header {
        version: VERSION,
        network: "local".into(),
        origin: key().origin,
        log: key().log,
        first,
        count: 0,
        previous: Hash::default(),
        predecessor: None,
        shard_bits: 0,
        shard: 0,
        time_first: records[0].1,
        time_last: records[records.len() - 1].1,
        root: Hash::default(),
    };
    let sealed = seal(header, &bytes, &leaves, &SigningKey::from_bytes(&[3; 32]));
    Arc::new(Loaded::new(sealed.bytes.into()).unwrap())
}

#[test]
fn it_lays_records_out_by_topic_and_slot() {
    let batches =
        [batch(4_094, &[("a", NOW), ("b", NOW), ("a", NOW + 1)], 2), batch(4_097, &[("a", NOW + SLOT)], 2)];
    let rows = Rows::of(key(), &batches, Range::new(4_094, 4_097));
    let groups: Vec<_> = rows
        .records
        .iter()
        .map(|group| {
            (&*group.topic, group.slot - slot(NOW), group.rows.iter().map(|row| row.seq).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(groups, [("a", 0, vec![4_094, 4_096]), ("a", 1, vec![4_097]), ("b", 0, vec![4_095])]);
    let parts: Vec<_> = rows.batches.iter().map(|group| (group.part, group.rows.len())).collect();
    assert_eq!(parts, [(0, 1), (1, 1)]);
    assert_eq!((rows.count, rows.times), (4, (NOW, NOW + SLOT)));
    let newest: Vec<_> = rows.newest.iter().map(|(topic, newest)| (&**topic, newest.seq)).collect();
    assert_eq!(newest, [("a", 4_097), ("b", 4_095)]);
    let row = &rows.records[0].rows[1];
    assert_eq!(RecordRef::decode(&row.bytes).unwrap().time, NOW + 1, "the bytes are the record's own");
    assert_eq!(rows.batches[0].rows[0].bytes, *batches[0].bytes(), "the batch is as it was signed");
}

#[test]
fn it_leaves_out_records_outside_of_the_range() {
    let batches = [batch(10, &[("a", NOW), ("a", NOW + 1), ("a", NOW + 2)], 2)];
    let rows = Rows::of(key(), &batches, Range::new(11, 11));
    assert_eq!((rows.count, rows.records[0].rows[0].seq, rows.batches.len()), (1, 11, 1));
    assert_eq!(rows.times, (NOW + 1, NOW + 1));
}

#[test]
fn it_keeps_statements_between_one_row_and_their_size() {
    let records: Vec<(&str, Micros)> = (0..200).map(|n| ("a", NOW + n)).collect();
    let rows = Rows::of(key(), &[batch(1, &records, 1_000)], Range::new(1, 200));
    let sizes: Vec<usize> =
        rows.records.iter().map(|group| group.rows.iter().map(|row| row.bytes.len() + ROW).sum()).collect();
    assert_eq!(rows.records.iter().map(|group| group.rows.len()).sum::<usize>(), 200);
    assert!(sizes.len() > 3 && sizes.iter().all(|size| *size <= GROUP_BYTES), "{sizes:?}");
    assert!(sizes[..sizes.len() - 1].iter().all(|size| *size > GROUP_BYTES / 2), "{sizes:?}");
    assert_eq!(split(vec![GROUP_BYTES * 2, 1], |size| *size).len(), 2, "what is too large goes alone");
}

#[test]
fn it_keeps_partitions_where_readers_look() {
    for (first, expected) in [(1, 0), (4_095, 0), (4_096, 1), (8_192, 2)] {
        assert_eq!(part(first), expected);
    }
    assert_eq!((slot(SLOT - 1), slot(SLOT), hour(slot(6 * SLOT)), hour(5)), (0, 1, 1, 0));
    // Fixed for ever: rows that are there already lie in these.
    assert_eq!((topic_slice("prices.btc-usd"), log_slice(Origin([7; 32]))), (TOPIC_OF_TEST, LOG_OF_TEST));
    assert_eq!(read_key(&key().origin.0, &log_bytes(key().log)), Some(key()));
    assert_eq!((read_key(&[1], &[2]), unsigned(-1), signed(u64::MAX)), (None, 0, i64::MAX));
}

/// First byte of `SHA-256("prices.btc-usd")` modulo 64, and of `SHA-256(32 × 0x07)` modulo 16.
const TOPIC_OF_TEST: i16 = 23;
const LOG_OF_TEST: i16 = 11;
