//! Answers to peers' questions, out of the store.

use std::time::{Duration, Instant};

use anode_shared::ids::Origin;
use anode_shared::repair::{Answer, Ask, MAX_ANSWER, Question, Summaries, Summary, encode_batches};
use bytes::Bytes;

use super::rates::Rates;
use super::repair::{Owed, Own};
use super::spans::Span;
use crate::store::{LogView, Store, Wish};

/// Bytes of an answer that are kept free for what stands before its batches.
const HEAD: usize = 16 << 10;

/// How a log is, as the planner of repair wants it.
pub(super) fn own(view: &LogView) -> Own {
    let missing = view.missing.iter().filter_map(|(from, to)| Span::new(*from, *to)).collect();
    Own { head: view.head, held: view.held, floor: view.floor, missing, forked: view.forked }
}

/// What a reader waits for, as the planner of repair wants it.
pub(super) fn owed(wish: Wish) -> Option<Owed> {
    let span = Span::new(wish.from, wish.to)?;
    Some(Owed { log: wish.log, span, newest_first: wish.newest_first })
}

/// Answers a question about what is stored. Blocks.
pub(super) fn answer(store: &Store, question: Question) -> Bytes {
    match question {
        Question::Range(ask) => return range(store, &ask),
        Question::Fork(key) => Answer::Fork(store.fork_proof(key)),
        Question::Forked(proof) => match store.accept_fork(proof) {
            Ok(()) => Answer::Noted,
            Err(_) => Answer::Refused,
        },
        // These are answered elsewhere.
        Question::Compare { .. } | Question::Holds(_) | Question::Sources(_) => Answer::Refused,
    }
    .encode()
    .into()
}

fn range(store: &Store, ask: &Ask) -> Bytes {
    let most = (ask.most as usize).min(MAX_ANSWER - HEAD);
    let held = store.log(ask.log).map(|view| own(&view).summary(ask.log));
    match store.batches(ask.log, ask.from, ask.to, most) {
        Ok((batches, more)) => encode_batches(held.as_ref(), more, &batches).into(),
        Err(error) => {
            tracing::error!(%error, "Failed to read batches for a peer");
            Answer::Refused.encode().into()
        }
    }
}

/// How many logs one peer is told of a second, and as many as in a quarter of a minute at once: all of them when it comes, and then
/// what changes. An answer with thousands costs milliseconds, and its question nothing.
const TOLD: (u64, Duration) = (4_096, Duration::from_secs(16));
/// The same for logs whose heads are proved: for each of them a batch may have to be read from storage. Who has used it up is told
/// the others without proof, and hears them proved by beacons.
const PROVED: (u64, Duration) = (128, Duration::from_secs(64));

/// What each peer was told lately where it compared.
#[derive(Debug)]
pub(super) struct Telling {
    told: Rates,
    proved: Rates,
}

impl Default for Telling {
    fn default() -> Self {
        Self { told: Rates::bursting(TOLD.0, TOLD.1), proved: Rates::bursting(PROVED.0, PROVED.1) }
    }
}

impl Telling {
    /// Whether a peer is told anything now.
    pub(super) fn may_tell(&self, peer: Origin, now: Instant) -> bool {
        self.told.open(peer, now)
    }

    /// A peer is told of some logs. Says whether with proofs, where it wants them.
    pub(super) fn tell(&mut self, peer: Origin, summaries: &Summaries, proofs: bool, now: Instant) -> bool {
        let logs = summaries.logs.len() as u64;
        self.told.take(peer, logs + 1, now);
        proofs && self.proved.take(peer, logs, now)
    }
}

/// Adds to summaries the headers that prove their heads. Blocks.
pub(super) fn prove(store: &Store, summaries: &mut Summaries) {
    for Summary { log, head, proof, .. } in &mut summaries.logs {
        *proof = store.signed_header(*log, *head);
    }
}

#[cfg(test)]
mod tests {
    use anode_shared::ids::{LogId, LogKey};

    use super::*;

    fn summaries(count: usize) -> Summaries {
        let log = LogKey { log: LogId(1), origin: Origin([1; 32]) };
        let one = Summary { log, head: 1, floor: 1, missing: Vec::new(), forked: None, proof: None };
        Summaries { parts: Vec::new(), logs: vec![one; count], next: None }
    }

    #[test]
    fn it_tells_a_newcomer_all_and_who_asks_on_and_on_little() {
        let (start, peer, page) = (Instant::now(), Origin([1; 32]), summaries(2_048));
        let mut telling = Telling::default();
        let mut ask = |peer, page: &Summaries, millis| {
            let now = start + Duration::from_millis(millis);
            telling.may_tell(peer, now).then(|| telling.tell(peer, page, true, now))
        };
        let answers: Vec<Option<bool>> = (0..40).map(|_| ask(peer, &page, 0)).collect();
        assert_eq!(answers[..4], [Some(true); 4], "8192 heads are proved");
        assert_eq!(answers[4..32], [Some(false); 28], "and 65536 told of");
        assert!(answers[32..].iter().all(Option::is_none));
        assert_eq!(ask(Origin([2; 32]), &page, 0), Some(true), "another peer has its own");
        assert_eq!(ask(peer, &page, 1_000), Some(true), "some are proved again");
        assert_eq!(ask(peer, &page, 2_000), Some(false), "and that was more than its share");
        assert_eq!(ask(peer, &page, 60_000), Some(true));
        // As honest nodes compare, once a second, of what changed: for ever, and each head proved where they ask for it.
        for second in 0..1_000 {
            assert_eq!(ask(Origin([3; 32]), &summaries(100), 1_000 * second), Some(true), "{second}");
        }
    }
}
