//! `anode verify`: checks who vouches for a record, with the proof alone.

use anode_shared::batch::{Header, Proof};
use anode_shared::frames::record_json;
use anode_shared::ids::{Hash, RecordId};
use anode_shared::record::RecordRef;
use anode_shared::time::to_rfc3339;
use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Reach;
use super::output::Out;
use crate::client::Query;

/// What stands behind the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  anode verify 12D3KooW…/692273a45f3a9c01/1042
  anode verify \"$(anode publish prices.btc 1)\"
  anode verify 12D3KooW…/692273a45f3a9c01/1042 --node http://10.0.0.7:8080 --json

The node that answers is not trusted: the signature is checked here, against the key in the record's id.";

/// The options of `anode verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The record's id: <origin>/<log>/<seq>
    #[arg(value_name = "RECORD_ID", value_parser = |text: &str| text.parse::<RecordId>())]
    id: RecordId,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Deserialize)]
struct ProofText {
    record_bytes: String,
    header: String,
    signature: String,
    index: u32,
    path: Vec<String>,
}

/// Fetches a record with its proof, and checks it.
pub(super) async fn verify(args: &VerifyArgs) -> anyhow::Result<()> {
    let client = args.reach.client()?;
    let mut served: Value = client.get(&format!("/api/v1/records/{}", args.id), &Query::new()).await?;
    let object = served.as_object_mut().context("the node answered with no object")?;
    let text = object.remove("proof").context("the node answered without a proof")?;
    let proof = decode(serde_json::from_value(text).context("the proof is malformed")?)?;
    let header = check(&proof, &args.id)?;
    let record = RecordRef::decode(&proof.record_bytes).context("the record's bytes are malformed")?;
    same(&served, &args.id, &record)?;
    let mut out = Out::new();
    if args.reach.json {
        out.json(&report(&args.id, &header, &record))?;
    } else {
        out.line(words(&args.id, &header, &record))?;
    }
    out.flush()
}

fn decode(text: ProofText) -> anyhow::Result<Proof> {
    let bytes = |name: &str, text: &str| {
        STANDARD.decode(text).with_context(|| format!("the proof's {name} is not base64"))
    };
    let hash = |text: &String| -> anyhow::Result<Hash> {
        let bytes = bytes("path", text)?;
        Ok(Hash(bytes.as_slice().try_into().context("a hash of the proof's path has not 32 bytes")?))
    };
    Ok(Proof {
        record_bytes: bytes("record_bytes", &text.record_bytes)?,
        header: bytes("header", &text.header)?,
        signature: bytes("signature", &text.signature)?,
        index: text.index,
        path: text.path.iter().map(hash).collect::<anyhow::Result<_>>()?,
    })
}

/// Checks that the proof holds, and that it speaks of this record.
fn check(proof: &Proof, id: &RecordId) -> anyhow::Result<Header> {
    let header = proof.verify().context("the proof does not hold")?;
    let seq = header.first + u64::from(proof.index);
    let proven = RecordId { key: header.key(), seq };
    ensure!(proven == *id, "the proof holds, but for another record: {proven}");
    Ok(header)
}

/// Checks that what the node shows is what the origin signed.
fn same(served: &Value, id: &RecordId, record: &RecordRef<'_>) -> anyhow::Result<()> {
    let mut frame = Vec::new();
    record_json(&mut frame, &id.key.to_string(), id.seq, record);
    let mut signed: Value = serde_json::from_slice(&frame).context("the record's payload is not JSON")?;
    if let Some(object) = signed.as_object_mut() {
        object.remove("type");
    }
    let mut shown = served.clone();
    if let Some(object) = shown.as_object_mut() {
        object.remove("type");
    }
    if shown != signed {
        bail!("the node shows another record than its origin signed: {shown} instead of {signed}");
    }
    Ok(())
}

fn words(id: &RecordId, header: &Header, record: &RecordRef<'_>) -> String {
    let payload = match record.content_type {
        None => String::from_utf8_lossy(record.payload).into_owned(),
        Some(kind) => format!("[{kind}, {} bytes]", record.payload.len()),
    };
    let mut text = format!(
        "good: {} signed this record\n\n\
         topic      {}\ntime       {}\npayload    {payload}\n\n\
         The origin vouches that it accepted exactly these bytes at that time by its clock, as record {} of its log {},\n\
         in a batch of {} records of the network {:?}.",
        header.origin,
        record.topic,
        to_rfc3339(record.time),
        id.seq,
        header.log,
        header.count,
        header.network,
    );
    if let Some(source) = &record.source {
        text += &format!("\nIt says that it read them from its source {:?}.", source.name);
    }
    if let Some(publisher) = record.publisher {
        text += &format!("\nIt says that {publisher:?} published them.");
    }
    if let Some(signature) = &record.publisher_signature {
        text += &format!(
            "\nThe publisher's own signature ({}, {}) travels with them; this command does not check it.",
            signature.scheme, signature.address
        );
    }
    text
}

fn report(id: &RecordId, header: &Header, record: &RecordRef<'_>) -> Value {
    json!({
        "ok": true,
        "id": id.to_string(),
        "origin": header.origin.to_string(),
        "log": header.log.to_string(),
        "seq": id.seq,
        "network": header.network,
        "topic": record.topic,
        "time": to_rfc3339(record.time),
        "batch_first": header.first,
        "batch_count": header.count,
        "source": record.source.as_ref().map(|source| source.name),
        "publisher": record.publisher,
        "publisher_signature_checked": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anode_shared::batch::{Layout, VERSION, seal};
    use anode_shared::ids::{LogId, Origin};
    use anode_shared::merkle;
    use ed25519_dalek::SigningKey;

    /// A signed batch of three records, and the id of its second one.
    fn batch() -> (Vec<u8>, RecordId) {
        let key = SigningKey::from_bytes(&[9; 32]);
        let origin = Origin(key.verifying_key().to_bytes());
        let (mut bytes, mut leaves) = (Vec::new(), Vec::new());
        for payload in [&b"1"[..], b"{\"x\": 2}", b"3"] {
            let mut one = Vec::new();
            let record = RecordRef {
                topic: "a.b",
                time: 5,
                payload,
                content_type: None,
                source: None,
                publisher: None,
                publisher_signature: None,
                dedupe: None,
            };
            record.encode_into(&mut one);
            leaves.push(merkle::leaf(&one));
            bytes.extend_from_slice(&u32::try_from(one.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(&one);
        }
        let header = Header {
            version: VERSION,
            network: "local".to_owned(),
            origin,
            log: LogId(7 << 32),
            first: 10,
            count: 0,
            previous: Hash::default(),
            predecessor: None,
            shard_bits: 0,
            shard: 0,
            time_first: 5,
            time_last: 5,
            root: Hash::default(),
        };
        let id = RecordId { key: header.key(), seq: 11 };
        (seal(header, &bytes, &leaves, &key).bytes, id)
    }

    #[test]
    fn it_takes_a_good_proof_and_no_other() {
        let (bytes, id) = batch();
        let proof = Layout::parse(&bytes).unwrap().proof(&bytes, 1).unwrap();
        let header = check(&proof, &id).unwrap();
        let record = RecordRef::decode(&proof.record_bytes).unwrap();
        assert!(words(&id, &header, &record).contains("as record 11 of its log 0000000700000000"));
        let other = RecordId { seq: 12, ..id };
        assert!(check(&proof, &other).unwrap_err().to_string().contains("another record"));
        let forged = Proof { record_bytes: b"x".to_vec(), ..proof };
        assert!(check(&forged, &id).unwrap_err().to_string().contains("does not hold"));
    }

    #[test]
    fn it_notices_a_node_that_shows_something_else() {
        let (bytes, id) = batch();
        let proof = Layout::parse(&bytes).unwrap().proof(&bytes, 1).unwrap();
        let record = RecordRef::decode(&proof.record_bytes).unwrap();
        let mut served = json!({
            "id": id.to_string(), "topic": "a.b", "time": to_rfc3339(5), "source": null, "publisher": null, "payload": {"x": 2}
        });
        same(&served, &id, &record).unwrap();
        served["payload"]["x"] = json!(3);
        assert!(same(&served, &id, &record).is_err());
    }
}
