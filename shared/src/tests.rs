//! Makes `format-vectors.json` anew and compares: the format cannot change by accident.

use std::fmt::Write as _;

use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use crate::batch::{Header, Layout, Predecessor, Sealed, VERSION, seal, shard_of};
use crate::beacon::{self, Beacon, ComponentState, Link, Load, OwnHead};
use crate::cursor::{Cursor, WHOLE};
use crate::ids::{Hash, LogId, LogKey, Origin};
use crate::merkle;
use crate::record::{PublisherSignature, RecordRef, SourceRef};
use crate::repair::{
    Answer, Ask, Digest, ForkProof, PROTOCOL, Question, SignedHeader, SourcesAsk, Summaries, Summary,
    encode_batches,
};
use crate::status::State;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn records() -> Vec<Vec<u8>> {
    let plain = RecordRef {
        topic: "prices.btc-usd",
        time: 1_795_402_020_123_456,
        payload: br#"{"price": 97312.50}"#,
        content_type: None,
        source: None,
        publisher: None,
        publisher_signature: None,
        dedupe: None,
    };
    let full = RecordRef {
        payload: &[0, 1, 255],
        content_type: Some("application/octet-stream"),
        source: Some(SourceRef {
            name: "coinbase-btc",
            definition: Hash([7; 32]),
            status: 200,
            fetched: 1_795_402_020_000_000,
        }),
        publisher: Some("0x00000000000000000000000000000000000000aa"),
        publisher_signature: Some(PublisherSignature {
            scheme: "eip191".into(),
            address: "0x00000000000000000000000000000000000000aa".into(),
            time: "2026-11-23T02:47:00Z".into(),
            nonce: "n-1".into(),
            signature: "0x01".into(),
        }),
        dedupe: Some("key-1"),
        ..plain.clone()
    };
    let mut all = vec![plain.clone(), full];
    let later = ["a", "a.b", "a.b.c"].into_iter().zip(1_795_402_020_123_457_u64..);
    all.extend(later.map(|(topic, time)| RecordRef { topic, time, ..plain.clone() }));
    all.iter()
        .map(|record| {
            let mut bytes = Vec::new();
            record.encode_into(&mut bytes);
            bytes
        })
        .collect()
}

fn batch(key: &SigningKey, records: &[Vec<u8>], first: u64, previous: Hash) -> Sealed {
    let header = Header {
        version: VERSION,
        network: "local".into(),
        origin: Origin(key.verifying_key().to_bytes()),
        log: LogId(0x6922_73a4_5f3a_9c01),
        first,
        count: 0,
        previous,
        predecessor: (first == 1).then_some(Predecessor { log: LogId(0x6922_73a3_0000_0001), end: 9 }),
        shard_bits: 0,
        shard: 0,
        time_first: 1_795_402_020_123_456,
        time_last: 1_795_402_020_123_459,
        root: Hash::default(),
    };
    let leaves: Vec<Hash> = records.iter().map(|record| merkle::leaf(record)).collect();
    let framed: Vec<u8> = records
        .iter()
        .flat_map(|record| [&u32::try_from(record.len()).unwrap().to_le_bytes()[..], record].concat())
        .collect();
    seal(header, &framed, &leaves, key)
}

fn describe(sealed: &Sealed) -> Value {
    let layout = Layout::parse(&sealed.bytes).unwrap();
    layout.verify(&sealed.bytes).unwrap();
    let proofs: Vec<Value> = (0..layout.records.len())
        .map(|index| {
            let proof = layout.proof(&sealed.bytes, index).unwrap();
            proof.verify().unwrap();
            json!({ "index": index, "path": proof.path.iter().map(|hash| hex(&hash.0)).collect::<Vec<_>>() })
        })
        .collect();
    json!({
        "batch": hex(&sealed.bytes),
        "header": hex(&sealed.bytes[layout.header_bytes.clone()]),
        "header_hash": hex(&sealed.hash.0),
        "signature": hex(&sealed.bytes[layout.signature.clone()]),
        "root": hex(&layout.header.root.0),
        "proofs": proofs,
    })
}

fn beacon(key: &SigningKey, log: LogId, hash: Hash) -> Beacon {
    Beacon {
        version: beacon::VERSION,
        network: "local".into(),
        origin: Origin(key.verifying_key().to_bytes()),
        run: 0x6922_73a4_0000_0007,
        sequence: 12,
        time: 1_795_402_020_123_456,
        interval_ms: 2_000,
        name: "kitchen".into(),
        software: "0.1.0".into(),
        protocol: PROTOCOL,
        addresses: vec!["/ip4/192.0.2.7/tcp/4001".into()],
        shards: vec![(0, 0)],
        heads: vec![OwnHead { log, head: 6, hash, floor: 1 }],
        digest: 0x0102_0304_0506_0708,
        links: vec![Link { peer: Origin([1; 32]), rtt_us: 250 }],
        load: Load {
            records_per_s: 1_000,
            cpu_permille: 40,
            store_bytes: 1 << 30,
            subscribers: 3,
            sources: 2,
        },
        components: vec![
            ComponentState::new("store", State::Ok),
            ComponentState::new("archive", State::Degraded),
        ],
        archive: Some(Hash([2; 32])),
        leaving: false,
    }
}

fn signed(sealed: &Sealed) -> SignedHeader {
    let layout = Layout::parse(&sealed.bytes).unwrap();
    SignedHeader {
        header: sealed.bytes[layout.header_bytes].to_vec(),
        signature: sealed.bytes[layout.signature].to_vec(),
    }
}

fn repair(log: LogKey, first: &Sealed, second: &Sealed, other: &Sealed) -> Value {
    let missing =
        Summary { log, head: 6, floor: 2, missing: vec![(3, 4)], forked: None, proof: Some(signed(second)) };
    let elsewhere = LogKey { origin: Origin([1; 32]), ..log };
    let ended =
        Summary { log: elsewhere, head: 9, floor: 1, missing: Vec::new(), forked: Some(7), proof: None };
    let logs = vec![missing.clone(), ended];
    let mut digest = Digest::default();
    logs.iter().for_each(|told| digest.toggle(Digest::bucket(told.log), told.fingerprint()));
    let fork = ForkProof { one: signed(second), other: signed(other) };
    assert_eq!(fork.check(), Ok((log, 6)));
    let ask = Ask { log, from: 3, to: 6, most: 1 << 20 };
    let parts: Vec<Value> = logs
        .iter()
        .map(
            |told| json!({ "part": Digest::bucket(told.log), "fingerprint": told.fingerprint().to_string() }),
        )
        .collect();
    let questions = [
        Question::Compare { digest: digest.clone(), from: 0, proofs: true },
        Question::Range(ask),
        Question::Fork(log),
        Question::Forked(fork.clone()),
        Question::Holds(ask),
        Question::Sources(SourcesAsk { after: Some("btc".to_owned()), most: 100, name: None }),
        Question::Sources(SourcesAsk { after: None, most: 1, name: Some("btc".to_owned()) }),
    ];
    let told = logs.iter().map(|told| Digest::bucket(told.log));
    let told = told.map(|part| (u16::try_from(part).unwrap(), digest.part(part))).collect();
    let answers = [
        Answer::Summaries(Summaries { parts: told, logs, next: None }).encode(),
        encode_batches(Some(&missing), false, &[&first.bytes, &second.bytes]),
        Answer::Fork(Some(fork)).encode(),
        Answer::Noted.encode(),
        Answer::Holds(true).encode(),
        Answer::Sources(br#"{"sources":[]}"#.to_vec()).encode(),
        Answer::Refused.encode(),
    ];
    json!({
        "questions": questions.iter().map(|question| hex(&question.encode())).collect::<Vec<_>>(),
        "answers": answers.iter().map(|answer| hex(answer)).collect::<Vec<_>>(),
        "digest": { "summaries": parts, "whole": digest.whole().to_string() },
    })
}

fn vectors() -> Value {
    let key = SigningKey::from_bytes(&[9; 32]);
    let origin = Origin(key.verifying_key().to_bytes());
    let log = LogKey { origin, log: LogId(0x6922_73a4_5f3a_9c01) };
    let records = records();
    let first = batch(&key, &records, 1, Hash([5; 32]));
    let second = batch(&key, &records[2..3], 6, first.hash);
    let other = batch(&key, &records[3..4], 6, first.hash);
    let beacons = [
        beacon(&key, log.log, second.hash),
        Beacon { sequence: 13, leaving: true, archive: None, ..beacon(&key, log.log, second.hash) },
    ];
    let mut cursor = Cursor::new(1_795_402_020_000_000);
    cursor.set_done(origin, WHOLE, LogId(0x6922_73a3_0000_0001));
    cursor.set(log, WHOLE, 6);
    json!({
        "origin": { "seed": hex(&[9; 32]), "key": hex(&origin.0), "text": origin.to_string() },
        "log": { "number": log.log.0.to_string(), "text": log.log.to_string() },
        "records": records.iter().map(|record| json!({ "bytes": hex(record), "leaf": hex(&merkle::leaf(record).0) })).collect::<Vec<_>>(),
        "batches": [describe(&first), describe(&second)],
        "shards": [{ "topic": "prices.btc-usd", "bits": 8, "shard": shard_of("prices.btc-usd", 8) }, { "topic": "a", "bits": 2, "shard": shard_of("a", 2) }],
        "beacons": beacons.iter().map(|beacon| json!({ "bytes": hex(&beacon.sign(&key)), "origin": origin.to_string() })).collect::<Vec<_>>(),
        "repair": repair(log, &first, &second, &other),
        "cursors": [
            { "text": Cursor::new(0).to_string(), "since": 0, "logs": {} },
            { "text": cursor.to_string(), "since": 1_795_402_020_000_000_u64, "done": "692273a300000001", "logs": { (log.to_string()): 6 } },
        ],
    })
}

#[test]
fn it_keeps_the_format() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/format-vectors.json");
    let fresh = format!("{}\n", serde_json::to_string_pretty(&vectors()).unwrap());
    if std::env::var_os("ANODE_WRITE_VECTORS").is_some() {
        std::fs::write(path, &fresh).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(
        kept == fresh,
        "the format changed; if that is meant, raise its version and run with ANODE_WRITE_VECTORS=1"
    );
}
