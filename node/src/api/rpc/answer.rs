//! Messages answered: one call, or a batch of them at a time.

use futures_util::StreamExt as _;
use futures_util::stream;

use super::super::App;
use super::client::Client;
use super::message::{Call, Message, Refusal, read, write};
use super::methods::{Outcome, Then, call};

/// How many calls of a batch are done at a time.
const AT_A_TIME: usize = 16;
/// The most bytes of one answer; what a batch gives beyond is refused.
const MAX_ANSWER: usize = 32 << 20;

/// What a message is answered with.
pub(super) struct Answer {
    /// The answer; none where none is wanted.
    pub(super) text: Option<Vec<u8>>,
    /// What begins once it was sent.
    pub(super) then: Vec<Then>,
}

/// Answers a message.
pub(super) async fn answer(app: &App, client: &Client, text: &str) -> Answer {
    let (mut out, mut then) = (Vec::new(), Vec::new());
    match read(text) {
        Err(refusal) => write(&mut out, serde_json::value::RawValue::NULL, Err(&refusal)),
        Ok(Message::One(call)) => {
            let outcome = done(app, client, &call).await;
            add(&mut out, &call, outcome, &mut then);
        }
        Ok(Message::Batch(calls)) => {
            let all: Vec<_> = calls.iter().map(|call| done(app, client, call)).collect();
            let mut doing = stream::iter(all).buffered(AT_A_TIME).zip(stream::iter(&calls));
            while let Some((outcome, call)) = doing.next().await {
                let before = out.len();
                out.push(if before == 0 { b'[' } else { b',' });
                let start = out.len();
                add(&mut out, call, outcome, &mut then);
                if out.len() == start {
                    out.truncate(before);
                }
            }
            if !out.is_empty() {
                out.push(b']');
            }
        }
    }
    Answer { text: Some(out).filter(|out| !out.is_empty()), then }
}

async fn done(app: &App, client: &Client, asked: &Call<'_>) -> Result<Outcome, Refusal> {
    let (method, params) = asked.asked.as_ref().map_err(Clone::clone)?;
    call(app, client, method, *params).await
}

/// Adds what a call gave, if an answer is wanted and there is room.
fn add(out: &mut Vec<u8>, asked: &Call<'_>, outcome: Result<Outcome, Refusal>, then: &mut Vec<Then>) {
    let Some(id) = asked.id else { return };
    match outcome {
        Ok(outcome) if out.len() + outcome.result.len() > MAX_ANSWER => {
            let words = "the answers of this batch are too big together; send it in parts";
            write(out, id, Err(&Refusal::new(Refusal::LIMIT, words)));
        }
        Ok(outcome) => {
            write(out, id, Ok(&outcome.result));
            then.extend(outcome.then);
        }
        Err(refusal) => write(out, id, Err(&refusal)),
    }
}
