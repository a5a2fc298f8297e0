use super::*;
use proptest::prelude::*;

/// What is wrong, and how to make it so.
type Case = (&'static str, fn(&mut Header));

fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn header() -> Header {
    Header {
        version: VERSION,
        network: "local".into(),
        origin: Origin(key().verifying_key().to_bytes()),
        log: LogId(0x6922_73a4_5f3a_9c01),
        first: 1,
        count: 0,
        previous: Hash::default(),
        predecessor: None,
        shard_bits: 0,
        shard: 0,
        time_first: 10,
        time_last: 1_000,
        root: Hash::default(),
    }
}

fn sealed(payloads: &[Vec<u8>], header: Header) -> Sealed {
    let (mut records, mut leaves) = (Vec::new(), Vec::new());
    for (place, payload) in payloads.iter().enumerate() {
        let mut bytes = Vec::new();
        let time = 10 + place as u64;
        RecordRef {
            topic: "a.b",
            time,
            payload,
            content_type: Some("application/octet-stream"),
            source: None,
            publisher: None,
            publisher_signature: None,
            dedupe: None,
        }
        .encode_into(&mut bytes);
        records.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
        leaves.push(merkle::leaf(&bytes));
        records.extend_from_slice(&bytes);
    }
    seal(header, &records, &leaves, &key())
}

proptest! {
    #[test]
    fn it_proves_each_record_of_a_batch_that_it_sealed(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..40)) {
        let batch = sealed(&payloads, header());
        let layout = Layout::parse(&batch.bytes).unwrap();
        layout.verify(&batch.bytes).unwrap();
        prop_assert_eq!(Header::hash(&batch.bytes[layout.header_bytes.clone()]), batch.hash);
        for (place, payload) in payloads.iter().enumerate() {
            let proof = layout.proof(&batch.bytes, place).unwrap();
            prop_assert_eq!(proof.verify().unwrap(), layout.header.clone());
            prop_assert_eq!(RecordRef::decode(&proof.record_bytes).unwrap().payload, &payload[..]);
        }
        prop_assert!(layout.proof(&batch.bytes, payloads.len()).is_none());
    }

    #[test]
    fn it_refuses_a_batch_with_any_bit_flipped(bit in any::<prop::sample::Index>()) {
        let mut bytes = sealed(&[b"1".to_vec(), b"22".to_vec(), b"333".to_vec()], header()).bytes;
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let verdict = Layout::parse(&bytes).and_then(|layout| layout.verify(&bytes));
        prop_assert!(verdict.is_err());
    }

    #[test]
    fn it_never_panics_on_noise(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Layout::parse(&bytes).and_then(|layout| layout.verify(&bytes));
    }
}

#[test]
fn it_refuses_a_payload_that_would_break_out_of_its_frame() {
    for (payload, good) in
        [("{\"a\": [1]}", true), ("1,\"id\":\"x\"", false), ("", false), ("{}}", false), ("\u{feff}1", false)]
    {
        let record = RecordRef {
            topic: "a",
            time: 10,
            payload: payload.as_bytes(),
            content_type: None,
            source: None,
            publisher: None,
            publisher_signature: None,
            dedupe: None,
        };
        assert_eq!(check_payload(&record).is_ok(), good, "{payload}");
    }
}

#[test]
fn it_refuses_headers_that_cannot_be() {
    let cases: [Case; 10] = [
        ("a later version", |h| h.version = 2),
        ("no network", |h| h.network.clear()),
        ("seq 0", |h| h.first = 0),
        ("seqs beyond the last", |h| h.first = u64::MAX),
        ("seqs beyond 63 bits", |h| h.first = END),
        ("times in reverse", |h| h.time_first = 2_000),
        ("a time after 9999", |h| h.time_last = u64::MAX),
        ("a shard outside its bits", |h| h.shard = 1),
        ("a predecessor that is newer", |h| {
            h.predecessor = Some(Predecessor { log: LogId(u64::MAX), end: 1 });
        }),
        ("a predecessor in a later batch", |h| {
            (h.first, h.predecessor) = (2, Some(Predecessor { log: LogId(1), end: 1 }));
        }),
    ];
    for (what, change) in cases {
        let mut header = header();
        change(&mut header);
        assert!(Layout::parse(&sealed(&[b"1".to_vec()], header).bytes).is_err(), "{what}");
    }
}

#[test]
fn it_refuses_what_the_origin_signed_but_must_not() {
    let cases: [Case; 3] = [
        ("times before the range", |h| h.time_first = 11),
        ("times after the range", |h| h.time_last = 11),
        ("a topic of another shard", |h| (h.shard_bits, h.shard) = (8, 255)),
    ];
    for (what, change) in cases {
        let mut header = header();
        change(&mut header);
        let bytes = sealed(&[b"1".to_vec(), b"2".to_vec(), b"3".to_vec()], header).bytes;
        assert!(Layout::parse(&bytes).unwrap().verify(&bytes).is_err(), "{what}");
    }
}
