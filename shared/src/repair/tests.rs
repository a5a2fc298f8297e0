//! Frames and proofs of repair, by tables and at random.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::batch::{Layout, VERSION, seal};
use crate::ids::{Hash, LogId, Origin};
use crate::merkle;

fn log(origin: u8) -> LogKey {
    LogKey { origin: Origin([origin; 32]), log: LogId(7) }
}

fn summary() -> Summary {
    Summary { log: log(1), head: 20, floor: 3, missing: vec![(5, 6), (9, 9)], forked: None, proof: None }
}

fn signed(first: u64, count: usize, previous: Hash, byte: u8) -> SignedHeader {
    let key = SigningKey::from_bytes(&[6; 32]);
    let header = Header {
        version: VERSION,
        network: "local".into(),
        origin: Origin(key.verifying_key().to_bytes()),
        log: LogId(7),
        first,
        count: 0,
        previous,
        predecessor: None,
        shard_bits: 0,
        shard: 0,
        time_first: 1,
        time_last: 1,
        root: Hash::default(),
    };
    // The records do not matter here: only headers are looked at.
    let leaves = vec![merkle::leaf(&[byte]); count];
    let records = [&1_u32.to_le_bytes()[..], &[byte]].concat().repeat(count);
    let bytes = seal(header, &records, &leaves, &key).bytes;
    let layout = Layout::parse(&bytes).unwrap();
    SignedHeader { header: bytes[layout.header_bytes].to_vec(), signature: bytes[layout.signature].to_vec() }
}

fn hash(signed: &SignedHeader) -> Hash {
    Header::hash(&signed.header)
}

#[test]
fn it_reads_back_what_it_asks() {
    let ask = Ask { log: log(1), from: 1, to: 9, most: 1_000 };
    let mut digest = Digest::default();
    digest.toggle(255, u64::MAX);
    let proof = ForkProof { one: signed(1, 2, Hash([0; 32]), 1), other: signed(2, 2, Hash([0; 32]), 2) };
    for question in [
        Question::Compare { digest, from: 255, proofs: true },
        Question::Range(ask),
        Question::Fork(log(2)),
        Question::Forked(proof),
        Question::Holds(ask),
        Question::Sources(SourcesAsk { after: Some("a".to_owned()), most: 9, name: None }),
        Question::Sources(SourcesAsk { after: None, most: 1, name: Some("b".repeat(64)) }),
    ] {
        let bytes = question.encode();
        assert!(bytes.len() <= MAX_QUESTION);
        assert_eq!(Question::decode(&bytes), Ok(question));
        (0..bytes.len()).for_each(|cut| assert!(Question::decode(&bytes[..cut]).is_err(), "cut at {cut}"));
    }
}

#[test]
fn it_reads_back_what_it_answers() {
    let proof = ForkProof { one: signed(1, 2, Hash([0; 32]), 1), other: signed(2, 2, Hash([0; 32]), 2) };
    let logs = vec![summary(), Summary { forked: Some(4), proof: Some(proof.one.clone()), ..summary() }];
    for answer in [
        Answer::Summaries(Summaries { parts: vec![(3, 9)], logs, next: Some(4) }),
        Answer::Batches { held: Some(summary()), more: true, batches: Vec::new() },
        Answer::Batches { held: None, more: false, batches: Vec::new() },
        Answer::Fork(Some(proof)),
        Answer::Fork(None),
        Answer::Noted,
        Answer::Holds(true),
        Answer::Sources(b"{}".to_vec()),
        Answer::Refused,
    ] {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
    let bytes = encode_batches(None, false, &[&b"one"[..], b"", b"three"]);
    let Ok(Answer::Batches { batches, .. }) = Answer::decode(&bytes) else { panic!("no batches") };
    let batches: Vec<&[u8]> = batches.into_iter().map(|range| &bytes[range]).collect();
    assert_eq!(batches, [&b"one"[..], b"", b"three"]);
}

#[test]
fn it_refuses_frames_that_do_not_fit() {
    let ask = |from, to| Question::Range(Ask { log: log(1), from, to, most: 1 }).encode();
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("an unknown kind", vec![99]),
        ("a seq 0", ask(0, 1)),
        ("an empty range", ask(2, 1)),
        ("a range without end", ask(1, u64::MAX)),
        (
            "a long name",
            Question::Sources(SourcesAsk { name: Some("b".repeat(65)), ..SourcesAsk::default() }).encode(),
        ),
        ("a long question", vec![1; MAX_QUESTION + 1]),
    ] {
        assert!(Question::decode(&bytes).is_err(), "{what}");
    }
    let told =
        |summary| Answer::Summaries(Summaries { logs: vec![summary], ..Summaries::default() }).encode();
    let part =
        |part| Answer::Summaries(Summaries { parts: vec![(part, 1)], ..Summaries::default() }).encode();
    let mut long = encode_batches(None, false, &[&[0; 8][..]]);
    let last = long.len() - 12;
    long[last] = 9;
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("an unknown kind", vec![99]),
        ("a part too many", part(256)),
        ("a floor 0", told(Summary { floor: 0, ..summary() })),
        ("an endless head", told(Summary { head: u64::MAX, ..summary() })),
        ("missing above the head", told(Summary { missing: vec![(20, 21)], ..summary() })),
        ("missing below the floor", told(Summary { missing: vec![(2, 3)], ..summary() })),
        ("missing in disorder", told(Summary { missing: vec![(9, 9), (5, 6)], ..summary() })),
        ("missing that touch", told(Summary { missing: vec![(5, 6), (7, 9)], ..summary() })),
        ("a batch longer than the frame", long),
        ("a long answer", vec![2; MAX_ANSWER + 1]),
    ] {
        assert!(Answer::decode(&bytes).is_err(), "{what}");
    }
}

#[test]
fn it_names_few_missing_ranges() {
    let missing: Vec<(u64, u64)> = (1..=100).map(|n| (10 * n, 10 * n + 1)).collect();
    let mut short = Summary { head: 2_000, missing: missing.clone(), ..summary() };
    short.shorten();
    assert_eq!(short.missing.len(), MAX_MISSING);
    assert_eq!(short.missing[0], (10, 691), "the lowest are one, so that none is said to be held");
    assert_eq!(short.missing[1..], missing[69..]);
    assert!(short.check().is_ok());
}

#[test]
fn it_tells_forks_from_histories() {
    let before = signed(1, 4, Hash([0; 32]), 1);
    let behind = signed(5, 2, hash(&before), 1);
    let bent = signed(5, 2, Hash([9; 32]), 1);
    let twin = signed(3, 4, Hash([0; 32]), 2);
    let far = signed(50, 1, Hash([9; 32]), 1);
    for (what, one, other, end) in [
        ("the same", &before, &before, None),
        ("a chain", &before, &behind, None),
        ("strangers", &before, &far, None),
        ("an overlap", &before, &twin, Some(1)),
        ("a broken chain", &before, &bent, Some(1)),
        ("two heirs", &behind, &bent, Some(5)),
    ] {
        for (one, other) in [(one, other), (other, one)] {
            let proof = ForkProof { one: one.clone(), other: other.clone() };
            assert_eq!(proof.check().ok().map(|(_, end)| end), end, "{what}");
        }
    }
    let mut forged = bent;
    forged.signature[0] ^= 1;
    assert!(ForkProof { one: before, other: forged }.check().is_err(), "a forged signature");
}

#[test]
fn it_believes_a_head_with_its_proof_only() {
    let proof = signed(5, 2, Hash([0; 32]), 1);
    let key = proof.open().unwrap().key();
    let bare = Summary { log: key, head: 1_000, ..summary() };
    assert_eq!(bare.proven(), Ok(None));
    assert_eq!(Summary { proof: Some(proof.clone()), ..bare.clone() }.proven(), Ok(Some(6)), "not 1000");
    assert!(Summary { log: log(9), proof: Some(proof), ..bare }.proven().is_err());
}

proptest! {
    #[test]
    fn it_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..8_u8) {
        let framed = [&[kind][..], &bytes].concat();
        let _ = (Question::decode(&framed), Answer::decode(&framed));
    }

    #[test]
    fn it_digests_in_any_order(seqs in proptest::collection::vec((0..9_u8, 1..99_u64), 0..20)) {
        let add = |digest: &mut Digest, (origin, head): (u8, u64)| {
            let told = Summary { log: log(origin), head, floor: 1, missing: Vec::new(), forked: None, proof: None };
            digest.toggle(Digest::bucket(told.log), told.fingerprint());
        };
        let (mut one, mut other) = (Digest::default(), Digest::default());
        seqs.iter().for_each(|told| add(&mut one, *told));
        seqs.iter().rev().for_each(|told| add(&mut other, *told));
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(Digest::from_bytes(&one.to_bytes()), Some(one.clone()));
        seqs.iter().for_each(|told| add(&mut one, *told));
        prop_assert_eq!(one.whole(), Digest::default().whole());
    }
}
