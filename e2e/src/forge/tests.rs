use super::*;
use serde_json::Value as Json;

fn unhex(text: &Json) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn vectors() -> Json {
    serde_json::from_str(include_str!("../../../shared/format-vectors.json")).unwrap()
}

#[test]
fn it_makes_batches_to_the_byte() {
    let vectors = vectors();
    let seed = unhex(&vectors["origin"]["seed"]).try_into().unwrap();
    for vector in vectors["batches"].as_array().unwrap() {
        let bytes = unhex(&vector["batch"]);
        let (header, signed) = open(&bytes).unwrap();
        let mut rest = &bytes[4 + signed.header.len() + 64..];
        let mut records = Vec::new();
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let (record, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
            records.push(record.to_vec());
            rest = behind;
        }
        assert_eq!(root(&records).to_vec(), unhex(&vector["root"]));
        assert_eq!(hash(&[&signed.header]).to_vec(), unhex(&vector["header_hash"]));
        let draft = Draft { key: SigningKey::from_bytes(&seed), header, records };
        assert_eq!(draft.sign().bytes, bytes);
    }
}

#[test]
fn it_makes_what_nodes_make() {
    let vectors = vectors();
    let seed = unhex(&vectors["origin"]["seed"]).try_into().unwrap();
    let forger = Forger::new(seed, "local");
    assert_eq!(forger.id(), vectors["origin"]["text"].as_str().unwrap());
    let beacon = unhex(&vectors["beacons"][0]["bytes"]);
    let end = beacon.len() - 64;
    assert_eq!(forger.seal(beacon[..end].to_vec()), beacon);
    // The simplest of records, to the byte.
    let simple = unhex(&vectors["records"][0]["bytes"]);
    let read = fields(&serde_cbor::from_slice(&simple).unwrap()).unwrap();
    let (Value::Text(topic), Value::Integer(time), Value::Bytes(payload)) = (&read[&0], &read[&1], &read[&2])
    else {
        panic!("{read:?}")
    };
    let made = record(topic, u64::try_from(*time).unwrap(), std::str::from_utf8(payload).unwrap());
    assert!(read.len() > 3 || made == simple, "{made:?} is not {simple:?}");
}

#[test]
fn it_takes_answers_apart() {
    let one = Forger::random("n").say("t", &["1".to_owned()]);
    let frame = batches(None, false, &[one.bytes.clone(), vec![1, 2]]);
    assert_eq!(Bundle::open(&frame).unwrap().batches, [one.bytes, vec![1, 2]]);
    assert!(Bundle::open(&frame[..frame.len() - 1]).is_err() && Bundle::open(&[1]).is_err());
}
