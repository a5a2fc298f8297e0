//! Batches, beacons and frames of repair made after FORMAT.md by hand, right or wrong on purpose.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use ed25519_dalek::{Signer as _, SigningKey};
use serde_cbor::Value;
use sha2::{Digest as _, Sha256};

mod frames;

pub use frames::{
    Bundle, Claim, batches, compare, fork, forks, held_answer, holds, range, summaries, told_forks,
};

/// The tag before a header's bytes where they are signed.
const HEADER_TAG: &[u8] = b"anode/1 batch header\n";
/// The tag before a beacon's bytes where they are signed.
const BEACON_TAG: &[u8] = b"anode/1 beacon\n";

/// A struct of the format: fields by their keys.
pub type Fields = BTreeMap<u64, Value>;

/// An unsigned integer.
#[must_use]
pub fn number(value: u64) -> Value {
    Value::Integer(i128::from(value))
}

/// Bytes.
#[must_use]
pub fn octets(value: &[u8]) -> Value {
    Value::Bytes(value.to_vec())
}

/// A map.
#[must_use]
pub fn map(fields: impl IntoIterator<Item = (u64, Value)>) -> Value {
    Value::Map(fields.into_iter().map(|(key, value)| (number(key), value)).collect())
}

/// A value's bytes.
#[must_use]
pub fn encode(value: &Value) -> Vec<u8> {
    serde_cbor::to_vec(value).unwrap_or_default()
}

/// SHA-256.
#[must_use]
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// Microseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// One record's bytes: topic, time, JSON payload.
#[must_use]
pub fn record(topic: &str, time: u64, payload: &str) -> Vec<u8> {
    let fields = [(0, Value::Text(topic.to_owned())), (1, number(time)), (2, octets(payload.as_bytes()))];
    encode(&map(fields))
}

/// The Merkle root over records, as RFC 6962 has it.
#[must_use]
pub fn root(records: &[Vec<u8>]) -> [u8; 32] {
    match records {
        [] => hash(&[]),
        [one] => hash(&[&[0], one]),
        more => {
            let half = more.len().next_power_of_two() / 2;
            hash(&[&[1], &root(&more[..half]), &root(&more[half..])])
        }
    }
}

/// A node that does not exist: its key, its network and its one log.
#[derive(Clone)]
pub struct Forger {
    key: SigningKey,
    /// The network that its headers and beacons name.
    pub network: String,
    /// Its log.
    pub log: u64,
    /// The seq of its next record.
    pub next: u64,
    /// The hash of its last header.
    pub previous: [u8; 32],
    run: u64,
    sequence: u64,
}

impl std::fmt::Debug for Forger {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Forger").field("log", &self.log).field("next", &self.next).finish_non_exhaustive()
    }
}

/// A batch before it is signed, so that it can be spoilt.
#[derive(Clone, Debug)]
pub struct Draft {
    key: SigningKey,
    /// The header's fields.
    pub header: Fields,
    /// The records' bytes.
    pub records: Vec<Vec<u8>>,
}

/// A batch.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The header's bytes.
    pub header: Vec<u8>,
    /// The signature over them.
    pub signature: Vec<u8>,
    /// The whole batch.
    pub bytes: Vec<u8>,
}

impl Forger {
    /// Makes a node's identity from a seed.
    #[must_use]
    pub fn new(seed: [u8; 32], network: &str) -> Self {
        let second = now() / 1_000_000;
        let low =
            |at: usize| u64::from(u32::from_le_bytes([seed[at], seed[at + 1], seed[at + 2], seed[at + 3]]));
        Self {
            key: SigningKey::from_bytes(&seed),
            network: network.to_owned(),
            log: second << 32 | low(0),
            next: 1,
            previous: [0; 32],
            run: second << 32 | low(4),
            sequence: 0,
        }
    }

    /// Makes an identity that nobody had before.
    #[must_use]
    pub fn random(network: &str) -> Self {
        Self::new(rand::random(), network)
    }

    /// The public key.
    #[must_use]
    pub fn origin(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// The key as libp2p has it.
    #[must_use]
    pub fn keypair(&self) -> Option<libp2p::identity::Keypair> {
        libp2p::identity::Keypair::ed25519_from_bytes(self.key.to_bytes()).ok()
    }

    /// The origin as text.
    #[must_use]
    pub fn id(&self) -> String {
        self.keypair().map(|pair| pair.public().to_peer_id().to_string()).unwrap_or_default()
    }

    /// `<origin>/<log>`.
    #[must_use]
    pub fn log_name(&self) -> String {
        format!("{}/{:016x}", self.id(), self.log)
    }

    /// The next batch of its log: one record for each payload, all at one time.
    #[must_use]
    pub fn draft(&self, topic: &str, time: u64, payloads: &[String]) -> Draft {
        let records: Vec<Vec<u8>> = payloads.iter().map(|payload| record(topic, time, payload)).collect();
        let header = [
            (0, number(1)),
            (1, Value::Text(self.network.clone())),
            (2, octets(&self.origin())),
            (3, number(self.log)),
            (4, number(self.next)),
            (5, number(records.len() as u64)),
            (6, octets(&self.previous)),
            (8, number(0)),
            (9, number(0)),
            (10, number(time)),
            (11, number(time)),
            (12, octets(&root(&records))),
        ];
        Draft { key: self.key.clone(), header: header.into_iter().collect(), records }
    }

    /// Goes on behind a batch.
    pub fn follow(&mut self, batch: &Signed, records: u64) {
        self.next += records;
        self.previous = hash(&[&batch.header]);
    }

    /// A batch of some records, which its log goes on from.
    pub fn say(&mut self, topic: &str, payloads: &[String]) -> Signed {
        let batch = self.draft(topic, now(), payloads).sign();
        self.follow(&batch, payloads.len() as u64);
        batch
    }

    /// Starts anew: its beacons count from one again. A second must have passed since its last start.
    pub fn restart(&mut self) {
        self.run = (now() / 1_000_000) << 32 | (self.run & 0xffff_ffff);
        self.sequence = 0;
    }

    /// The next beacon, which names these logs with their heads and floors as its own.
    pub fn beacon(&mut self, heads: &[(u64, u64, u64)], links: &[[u8; 32]]) -> Vec<u8> {
        self.beacon_with(heads, links, &[])
    }

    /// The same, with other fields.
    pub fn beacon_with(
        &mut self,
        heads: &[(u64, u64, u64)],
        links: &[[u8; 32]],
        changes: &[(u64, Value)],
    ) -> Vec<u8> {
        self.sequence += 1;
        let head = |(log, head, floor): &(u64, u64, u64)| {
            map([(0, number(*log)), (1, number(*head)), (2, octets(&[7; 32])), (3, number(*floor))])
        };
        let link = |peer: &[u8; 32]| map([(0, octets(peer)), (1, number(100))]);
        let fields = [
            (0, number(1)),
            (1, Value::Text(self.network.clone())),
            (2, octets(&self.origin())),
            (3, number(self.run)),
            (4, number(self.sequence)),
            (5, number(now())),
            (6, number(2_000)),
            (7, Value::Text("guest".to_owned())),
            (8, Value::Text("0".to_owned())),
            (9, number(1)),
            (10, Value::Array(Vec::new())),
            (11, Value::Array(vec![Value::Array(vec![number(0), number(0)])])),
            (12, Value::Array(heads.iter().map(head).collect())),
            (13, number(rand::random())),
            (14, Value::Array(links.iter().map(link).collect())),
            (15, map((0..5).map(|key| (key, number(0))))),
            (16, Value::Array(Vec::new())),
            (18, Value::Bool(false)),
        ];
        let same = |(key, _): &(u64, Value)| changes.iter().all(|(other, _)| other != key);
        let fields = fields.into_iter().filter(same).chain(changes.iter().cloned());
        self.seal(encode(&map(fields)))
    }

    /// Signs the bytes of a beacon, whatever they are.
    #[must_use]
    pub fn seal(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let signature = self.key.sign(&[BEACON_TAG, &bytes].concat());
        bytes.extend_from_slice(&signature.to_bytes());
        bytes
    }
}

impl Draft {
    /// Changes a field of the header.
    #[must_use]
    pub fn with(mut self, key: u64, value: Value) -> Self {
        self.header.insert(key, value);
        self
    }

    /// Signs the header and puts all together.
    #[must_use]
    pub fn sign(&self) -> Signed {
        let header = encode(&map(self.header.clone()));
        let signature = self.key.sign(&[HEADER_TAG, &header].concat()).to_bytes().to_vec();
        let mut bytes = lead(&header);
        bytes.extend_from_slice(&signature);
        self.records.iter().for_each(|record| bytes.extend(lead(record)));
        Signed { header, signature, bytes }
    }
}

/// Bytes behind their length.
#[must_use]
pub fn lead(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&length, bytes].concat()
}

/// The header and signature in front of a batch.
///
/// # Errors
/// Fails where it is cut short or its header is none.
pub fn open(batch: &[u8]) -> anyhow::Result<(Fields, Signed)> {
    use anyhow::Context as _;
    let length =
        batch.get(..4).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes).context("no length")?;
    let end = 4 + length as usize;
    let (header, signature) =
        batch.get(4..end).zip(batch.get(end..end + 64)).context("the batch is cut short")?;
    let fields = fields(&serde_cbor::from_slice(header)?)?;
    Ok((fields, Signed { header: header.to_vec(), signature: signature.to_vec(), bytes: batch.to_vec() }))
}

/// A map's fields by their keys.
///
/// # Errors
/// Fails where it is no map with integers as keys.
pub fn fields(value: &Value) -> anyhow::Result<Fields> {
    let Value::Map(all) = value else { anyhow::bail!("no map: {value:?}") };
    let field = |(key, value): (&Value, &Value)| match key {
        Value::Integer(key) => Ok((u64::try_from(*key)?, value.clone())),
        _ => anyhow::bail!("a key is {key:?}"),
    };
    all.iter().map(field).collect()
}

#[cfg(test)]
mod tests;
