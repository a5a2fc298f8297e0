//! Answers to peers that compare: what this node holds, where it is not what they think.

use anode_shared::ids::LogKey;
use anode_shared::repair::{BUCKETS, Digest, MAX_SUMMARIES, Summaries};

use super::Repair;

impl Repair {
    /// Answers a peer's comparison, without proofs: the parts that differ from what it thinks, beginning at one.
    pub fn summaries(&self, theirs: &Digest, from: u16) -> Summaries {
        let mut answer = Summaries::default();
        let differs = |part: &usize| theirs.part(*part) != self.digest.part(*part);
        for part in (usize::from(from)..BUCKETS).filter(differs) {
            let number = u16::try_from(part).unwrap_or(u16::MAX);
            let keys = &self.told[part];
            if answer.logs.len() + keys.len() > MAX_SUMMARIES && !answer.parts.is_empty() {
                answer.next = Some(number);
                return answer;
            }
            // Where more logs lie in one part than an answer holds: the newest.
            let newest = keys.iter().skip(keys.len().saturating_sub(MAX_SUMMARIES));
            let summary = |key: &LogKey| Some(self.logs.get(key)?.own.summary(*key));
            answer.parts.push((number, self.digest.part(part)));
            answer.logs.extend(newest.filter_map(summary));
        }
        answer
    }
}
