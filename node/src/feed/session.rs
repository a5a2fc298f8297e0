//! A client of `/feed` over a WebSocket: one subscription, which it may change, and records that it publishes.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::frames::Frame;
use anode_shared::ids::RecordId;
use anode_shared::publish::{Ack, PublishError, PublishObject, Publishable};
use axum::extract::ws::Message;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::fault::{Code, Fault};
use super::hub::{Hub, SOCKET_PACE};
use super::outlet::{ENDING, Outlet as _, burst, encode, error_frame};
use super::registry::{Ended, Seat};
use super::socket::Socket;
use super::start::{SubscribeMessage, check_ack};
use super::subscriber::Mark;
use super::tail::{Tail, Work};
use super::{Publisher, Rights};
use crate::store::{NewRecord, Publishing, Refused, Store};

/// How many records of one client may wait for stable storage; then it is read no further.
const IN_FLIGHT: usize = 256;
/// The longest `ref` that is echoed.
const MAX_REFERENCE: usize = 256;

/// What a client called a record.
type Reference = Option<Value>;
/// A record's id with the promise that was reached, or why it was refused.
pub(super) type Taken = Result<(RecordId, Ack), Fault>;
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What becomes of a record.
struct Answer {
    reference: Reference,
    taken: Taken,
    /// How long the store had it.
    took: Duration,
}

impl Answer {
    fn refused(reference: Reference, fault: Fault) -> Self {
        Self { reference, taken: Err(fault), took: Duration::ZERO }
    }
}

/// A client with its subscription.
pub struct Session {
    socket: Socket,
    tail: Tail,
    seat: Seat,
    hub: Arc<Hub>,
    rights: Rights,
    answers: FuturesUnordered<Answering>,
    /// A record that the store has no room for yet; nothing is read meanwhile.
    held: Option<(Reference, NewRecord, Ack)>,
    cancel: CancellationToken,
}

/// What happens next in a session.
enum Turn {
    Over,
    Answer(Answer),
    Room,
    Said(Result<Message, Ended>),
    Ready(Result<Work, Fault>),
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("tail", &self.tail).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that begins.
    pub fn new(
        socket: Socket,
        tail: Tail,
        seat: Seat,
        hub: Arc<Hub>,
        rights: Rights,
        cancel: CancellationToken,
    ) -> Self {
        Self { socket, tail, seat, hub, rights, answers: FuturesUnordered::new(), held: None, cancel }
    }

    /// Serves the client until it leaves or has to.
    pub async fn run(mut self: Box<Self>) -> Ended {
        let ended = loop {
            if let Err(ended) = self.turn().await {
                break ended;
            }
        };
        if !matches!(ended, Ended::Left | Ended::Stalled) {
            // What was taken is answered first; a client that does not read is not waited for.
            let _ = tokio::time::timeout(ENDING, Box::pin(self.settle())).await;
        }
        let last = match ended {
            Ended::Shutdown | Ended::Stalled => self.last_cursor().await,
            _ => None,
        };
        Box::pin(self.socket.close(ended, last)).await;
        ended
    }

    /// The frame that says where a client stands whom the node leaves.
    async fn last_cursor(&mut self) -> Option<bytes::Bytes> {
        let standing = tokio::time::timeout(ENDING, Box::pin(self.tail.stand())).await;
        let cursor = standing.ok()??.to_string();
        Some(encode(&Frame::Cursor { cursor }, self.socket.format()))
    }

    /// Answers all that is still in flight.
    async fn settle(&mut self) -> Result<(), Ended> {
        if let Some((reference, ..)) = self.held.take() {
            self.answer(Answer::refused(reference, Refused::Draining.into())).await?;
        }
        while let Some(answer) = self.answers.next().await {
            self.answer(answer).await?;
        }
        Ok(())
    }

    async fn turn(&mut self) -> Result<(), Ended> {
        let listening = self.held.is_none() && self.answers.len() < IN_FLIGHT;
        // What is rare is boxed: an idle subscriber pays for the largest of these futures.
        // The end goes first, then answers, then what the client says: a feed that never rests holds back none of them.
        let turn = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Turn::Over,
            Some(answer) = self.answers.next() => Turn::Answer(answer),
            () = self.hub.store.room(), if self.held.is_some() => Turn::Room,
            said = self.socket.receive(), if listening => Turn::Said(said),
            work = self.tail.ready() => Turn::Ready(work),
        };
        match turn {
            Turn::Over => Err(Ended::Shutdown),
            Turn::Answer(answer) => Box::pin(self.answer(answer)).await,
            Turn::Room => Box::pin(self.retry()).await,
            Turn::Said(said) => Box::pin(self.said(said?)).await,
            Turn::Ready(Ok(work)) => {
                burst(&mut self.socket, &mut self.tail, work, &self.seat, &self.hub.totals).await
            }
            Turn::Ready(Err(fault)) => Box::pin(self.end(fault, Ended::Failed)).await,
        }
    }

    /// Says what was wrong, and ends.
    async fn end(&mut self, fault: Fault, ended: Ended) -> Result<(), Ended> {
        let frame = encode(&error_frame(&fault), self.socket.format());
        self.socket.control(frame, None).await?;
        self.socket.flush().await?;
        Err(ended)
    }

    async fn said(&mut self, message: Message) -> Result<(), Ended> {
        let Message::Text(text) = message else {
            return self
                .end(Fault::new(Code::BadRequest, "messages are JSON in text frames"), Ended::Policy)
                .await;
        };
        let kind = match serde_json::from_str::<Kind<'_>>(&text) {
            Ok(kind) => kind,
            Err(error) => {
                let fault = Fault::new(Code::BadRequest, format!("not a message: {error}"));
                return self.end(fault, Ended::Policy).await;
            }
        };
        match kind.kind.as_deref() {
            Some("publish") => self.publish(&text, kind.reference).await,
            Some("subscribe") => self.subscribe(&text).await,
            _ => {
                let fault = Fault::new(Code::BadRequest, "a message's type is subscribe or publish");
                self.end(fault, Ended::Policy).await
            }
        }
    }

    async fn subscribe(&mut self, text: &str) -> Result<(), Ended> {
        let wanted = serde_json::from_str::<SubscribeMessage>(text)
            .map_err(|error| Fault::new(Code::BadRequest, format!("not a subscribe message: {error}")))
            .and_then(SubscribeMessage::subscription);
        match wanted {
            Ok(wanted) => {
                self.seat.follows(&wanted);
                let format = self.socket.format();
                self.tail = self.hub.tail(&wanted, Mark::Subscribed, format, SOCKET_PACE);
                Ok(())
            }
            Err(fault) => self.end(fault, Ended::Policy).await,
        }
    }

    async fn publish(&mut self, text: &str, reference: Option<&RawValue>) -> Result<(), Ended> {
        // An answer always has a `ref`, so that it is told from an error that ends the connection.
        let reference = match reference.filter(|reference| reference.get().len() <= MAX_REFERENCE) {
            Some(reference) => serde_json::from_str(reference.get()).unwrap_or(Value::Null),
            None => Value::Null,
        };
        match self.rights.publish.clone().and_then(|publisher| new_record(text, publisher, &self.hub.store)) {
            Ok((record, ack)) => self.offer(Some(reference), record, ack).await,
            Err(fault) => self.answer(Answer::refused(Some(reference), fault)).await,
        }
    }

    async fn offer(&mut self, reference: Reference, record: NewRecord, ack: Ack) -> Result<(), Ended> {
        match self.hub.store.publish(vec![record.clone()]) {
            Ok(publishing) => {
                self.answers.push(Box::pin(wait(reference, publishing, self.hub.store.clone(), ack)));
                Ok(())
            }
            Err(Refused::Overloaded) => {
                self.held = Some((reference, record, ack));
                Ok(())
            }
            Err(refused) => self.answer(Answer::refused(reference, refused.into())).await,
        }
    }

    async fn retry(&mut self) -> Result<(), Ended> {
        match self.held.take() {
            Some((reference, record, ack)) => self.offer(reference, record, ack).await,
            None => Ok(()),
        }
    }

    async fn answer(&mut self, answer: Answer) -> Result<(), Ended> {
        self.hub.totals.count_one(&answer.taken, answer.took);
        let frame = match answer.taken {
            Ok((id, ack)) => {
                let id = id.to_string();
                Frame::Published { reference: answer.reference, n: None, id, ack }
            }
            Err(fault) => {
                let code = fault.code.as_str().to_owned();
                Frame::Error { reference: answer.reference, n: None, code, detail: fault.detail }
            }
        };
        self.socket.control(encode(&frame, self.socket.format()), None).await?;
        self.socket.flush().await
    }
}

async fn wait(reference: Reference, publishing: Publishing, store: Store, ack: Ack) -> Answer {
    let began = Instant::now();
    let taken = taken(publishing, &store, ack).await;
    Answer { reference, taken, took: began.elapsed() }
}

/// What becomes of one record: its id, and the promise that was reached.
pub(super) async fn taken(publishing: Publishing, store: &Store, ack: Ack) -> Taken {
    let ids = publishing.await?;
    let id = *ids.first().ok_or_else(|| Fault::new(Code::StorageFailed, "the store gave no id"))?;
    Ok((id, store.reach(&[id], ack).await))
}

/// What every message has.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(rename = "ref", borrow, default)]
    reference: Option<&'a RawValue>,
}

/// Reads a record to publish, and the promise that is asked for.
pub(super) fn new_record(text: &str, publisher: Publisher, store: &Store) -> Result<(NewRecord, Ack), Fault> {
    let object: PublishObject<'_> = serde_json::from_str(text)
        .map_err(|error| Fault::new(Code::BadRecord, format!("not a record to publish: {error}")))?;
    if object.reference.is_some_and(|reference| reference.get().len() > MAX_REFERENCE) {
        return Err(Fault::new(Code::BadRecord, format!("ref has at most {MAX_REFERENCE} bytes")));
    }
    let ack = object.ack.unwrap_or_default();
    check_ack(ack, store)?;
    let Publishable { topic, payload, content_type, dedupe, publisher_signature } =
        object.check().map_err(|error| match error {
            PublishError::TooBig(_) => Fault::new(Code::TooBig, error.to_string()),
            PublishError::Malformed(detail) => Fault::new(Code::BadRecord, detail),
        })?;
    let record = NewRecord {
        topic,
        payload: payload.into(),
        content_type,
        publisher: publisher.0,
        publisher_signature,
        dedupe,
        source: None,
    };
    Ok((record, ack))
}
