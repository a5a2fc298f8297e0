//! Answers to peers' questions, out of the store.

use anode_shared::repair::{Answer, Ask, MAX_ANSWER, Question, Summaries, Summary, encode_batches};
use bytes::Bytes;

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

/// Adds to summaries the headers that prove their heads. Blocks.
pub(super) fn prove(store: &Store, summaries: &mut Summaries) {
    for Summary { log, head, proof, .. } in &mut summaries.logs {
        *proof = store.signed_header(*log, *head);
    }
}
