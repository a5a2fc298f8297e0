//! Frames of the repair protocol, without their length.

use serde_cbor::Value;

use super::{Signed, encode, fields, lead, map, number, octets};

/// What somebody says it holds of a log, true or not.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Whose log.
    pub origin: [u8; 32],
    /// Which.
    pub log: u64,
    /// The highest seq.
    pub head: u64,
    /// The lowest seq.
    pub floor: u64,
    /// Where it forked.
    pub forked: Option<u64>,
    /// A signed header, which is to prove the head.
    pub proof: Option<Signed>,
}

/// An answer with batches, taken apart.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The batches.
    pub batches: Vec<Vec<u8>>,
}

fn key(origin: [u8; 32], log: u64) -> Value {
    map([(0, number(log)), (1, octets(&origin))])
}

fn signed(header: &Signed) -> Value {
    map([(0, octets(&header.header)), (1, octets(&header.signature))])
}

fn frame(kind: u8, body: &Value) -> Vec<u8> {
    [&[kind], &encode(body)[..]].concat()
}

fn summary(claim: &Claim) -> Value {
    let mut fields = vec![
        (0, key(claim.origin, claim.log)),
        (1, number(claim.head)),
        (2, number(claim.floor)),
        (3, Value::Array(Vec::new())),
    ];
    fields.extend(claim.forked.map(|at| (4, number(at))));
    fields.extend(claim.proof.as_ref().map(|proof| (5, signed(proof))));
    map(fields)
}

/// The question what is held, by somebody who holds nothing.
#[must_use]
pub fn compare(proofs: bool) -> Vec<u8> {
    frame(1, &map([(0, octets(&[0; 2048])), (1, number(0)), (2, Value::Bool(proofs))]))
}

/// The question for batches of a range.
#[must_use]
pub fn range(origin: [u8; 32], log: u64, from: u64, to: u64, most: u64) -> Vec<u8> {
    frame(2, &map([(0, key(origin, log)), (1, number(from)), (2, number(to)), (3, number(most))]))
}

/// The question for the proof of a fork.
#[must_use]
pub fn fork(origin: [u8; 32], log: u64) -> Vec<u8> {
    frame(3, &key(origin, log))
}

/// The question whether a range is held.
#[must_use]
pub fn holds(origin: [u8; 32], log: u64, from: u64, to: u64) -> Vec<u8> {
    frame(5, &map([(0, key(origin, log)), (1, number(from)), (2, number(to)), (3, number(0))]))
}

/// The answer what is held: these logs, and every part differs.
#[must_use]
pub fn summaries(claims: &[Claim]) -> Vec<u8> {
    let part = |part: u64| Value::Array(vec![number(part), number(rand::random())]);
    let parts = Value::Array((0..256).map(part).collect());
    frame(1, &map([(0, parts), (1, Value::Array(claims.iter().map(summary).collect()))]))
}

/// The answer with batches, and what is said to be held of the log.
#[must_use]
pub fn batches(held: Option<&Claim>, more: bool, batches: &[Vec<u8>]) -> Vec<u8> {
    let mut fields: Vec<(u64, Value)> = held.map(|claim| (0, summary(claim))).into_iter().collect();
    fields.push((1, Value::Bool(more)));
    let mut frame = [&[2_u8], &lead(&encode(&map(fields)))[..]].concat();
    batches.iter().for_each(|batch| frame.extend(lead(batch)));
    frame
}

/// The answer that a range is held.
#[must_use]
pub fn held_answer(held: bool) -> Vec<u8> {
    frame(5, &Value::Bool(held))
}

/// The question that proves a fork.
#[must_use]
pub fn told_forks(one: &Signed, other: &Signed) -> Vec<u8> {
    frame(4, &map([(0, signed(one)), (1, signed(other))]))
}

/// The two headers in the answer to the question for a fork's proof, where there is one.
///
/// # Errors
/// Fails where the frame is another.
pub fn forks(frame: &[u8]) -> anyhow::Result<Option<(Vec<u8>, Vec<u8>)>> {
    anyhow::ensure!(frame.first() == Some(&3), "no answer to a question for a fork: {frame:?}");
    let body = fields(&serde_cbor::from_slice(&frame[1..])?)?;
    let Some(proof) = body.get(&0) else { return Ok(None) };
    let header = |which: u64| {
        let one = fields(&fields(proof)?.remove(&which).unwrap_or(Value::Null))?;
        match one.get(&0) {
            Some(Value::Bytes(header)) => Ok(header.clone()),
            other => anyhow::bail!("a header is {other:?}"),
        }
    };
    Ok(Some((header(0)?, header(1)?)))
}

impl Bundle {
    /// Takes an answer with batches apart.
    ///
    /// # Errors
    /// Fails where the frame is another or cut short.
    pub fn open(frame: &[u8]) -> anyhow::Result<Self> {
        anyhow::ensure!(frame.first() == Some(&2), "no answer with batches: {:?}", frame.first());
        let mut rest = &frame[1..];
        let mut pieces = Vec::new();
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            anyhow::ensure!(behind.len() >= length, "an answer is cut short");
            pieces.push(behind[..length].to_vec());
            rest = &behind[length..];
        }
        anyhow::ensure!(!pieces.is_empty(), "an answer without a head");
        pieces.remove(0);
        Ok(Self { batches: pieces })
    }
}
