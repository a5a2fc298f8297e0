//! A client of `/publish`: every frame is a payload. What has come together goes to the store together.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anode_shared::frames::Frame;
use anode_shared::ids::{LogKey, RecordId};
use anode_shared::publish::Ack;
use anode_shared::record::MAX_PAYLOAD;
use axum::extract::ws::Message;
use bytes::Bytes;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::Publisher;
use super::fault::{Code, Fault};
use super::hub::Hub;
use super::outlet::Outlet as _;
use super::registry::Ended;
use super::socket::Socket;
use super::start::PublishRequest;
use crate::store::{NewRecord, Publishing, Refused};

/// The most records of one group: what is read before the store is told.
const GROUP: usize = 1_024;
/// The most bytes of one group.
const GROUP_BYTES: usize = 1 << 20;
/// How many records of one client may wait for stable storage; then it is read no further.
const IN_FLIGHT: usize = 16_384;
/// How long the answers to what was taken are waited for when the node ends.
const ENDING: Duration = Duration::from_secs(10);

/// Frames that came together: consecutive, all good, of one kind.
#[derive(Debug)]
struct Group {
    /// The number of the first frame.
    first: u64,
    payloads: Vec<Bytes>,
    json: bool,
}

/// What came, in order, and has not been given to the store.
#[derive(Debug)]
enum Came {
    Group(Group),
    Fault { n: u64, fault: Fault },
}

/// What became of frames.
#[derive(Debug)]
struct Done {
    first: u64,
    count: usize,
    taken: Result<(Vec<RecordId>, Ack), Fault>,
    /// How long the store had them.
    took: Duration,
}

/// A publishing client.
#[derive(Debug)]
pub struct Intake {
    socket: Socket,
    request: PublishRequest,
    publisher: Publisher,
    hub: Arc<Hub>,
    cancel: CancellationToken,
    /// The number of the last frame.
    frames: u64,
    /// Answers that are owed, in the order of the frames; all are waited for at once.
    owed: FuturesOrdered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    in_flight: usize,
    /// What the store has no room for yet; nothing is read meanwhile.
    came: VecDeque<Came>,
    log: Option<(LogKey, String)>,
}

/// What happens next.
enum Turn {
    Over,
    Done(Done),
    Room,
    Said(Result<Message, Ended>),
}

impl Intake {
    /// A client that was just let in.
    pub fn new(
        socket: Socket,
        request: PublishRequest,
        publisher: Publisher,
        hub: Arc<Hub>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            socket,
            request,
            publisher,
            hub,
            cancel,
            frames: 0,
            owed: FuturesOrdered::new(),
            in_flight: 0,
            came: VecDeque::new(),
            log: None,
        }
    }

    /// Serves the client until it leaves or has to.
    pub async fn run(mut self) -> Ended {
        let ended = loop {
            if let Err(ended) = self.turn().await {
                break ended;
            }
        };
        if !matches!(ended, Ended::Left | Ended::Stalled) {
            // What was taken is answered, whatever ends this. Who does not take the answers finds out by dedupe keys.
            let _ = tokio::time::timeout(ENDING, self.settle()).await;
        }
        self.socket.close(ended, None).await;
        ended
    }

    async fn turn(&mut self) -> Result<(), Ended> {
        let listening = self.came.is_empty() && self.in_flight < IN_FLIGHT;
        // The end goes first, then answers; reading comes last, so that acks are never behind it.
        let turn = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Turn::Over,
            Some(done) = self.owed.next() => Turn::Done(done),
            () = self.hub.store.room(), if !self.came.is_empty() => Turn::Room,
            said = self.socket.receive(), if listening => Turn::Said(said),
        };
        match turn {
            Turn::Over => Err(Ended::Shutdown),
            Turn::Done(done) => self.answer(done).await,
            Turn::Room => {
                self.pass_on();
                Ok(())
            }
            Turn::Said(said) => self.take(said?).await,
        }
    }

    /// Answers all that is owed.
    async fn settle(&mut self) -> Result<(), Ended> {
        while let Some(done) = self.owed.next().await {
            self.answer(done).await?;
        }
        Ok(())
    }

    /// Takes a frame, and those that have come with it.
    async fn take(&mut self, first: Message) -> Result<(), Ended> {
        let mut next = Some(first);
        let mut end = None;
        let (mut count, mut bytes) = (0, 0);
        while let Some(message) = next.take() {
            count += 1;
            bytes += self.came(message);
            if count < GROUP && bytes < GROUP_BYTES {
                match self.socket.received().await {
                    Ok(message) => next = message,
                    Err(ended) => end = Some(ended),
                }
            }
        }
        self.pass_on();
        end.map_or(Ok(()), Err)
    }

    /// Puts a frame behind those that came before; gives its bytes.
    fn came(&mut self, message: Message) -> usize {
        self.frames += 1;
        let n = self.frames;
        let json = matches!(message, Message::Text(_));
        match (payload(message), self.came.back_mut()) {
            (Ok(payload), Some(Came::Group(group))) if group.json == json => {
                let bytes = payload.len();
                group.payloads.push(payload);
                bytes
            }
            (Ok(payload), _) => {
                let bytes = payload.len();
                self.came.push_back(Came::Group(Group { first: n, payloads: vec![payload], json }));
                bytes
            }
            (Err(fault), _) => {
                self.came.push_back(Came::Fault { n, fault });
                0
            }
        }
    }

    /// Gives what came to the store, as far as that has room.
    fn pass_on(&mut self) {
        while let Some(came) = self.came.pop_front() {
            match came {
                Came::Fault { n, fault } => {
                    self.owe_fault(n, fault);
                    self.in_flight += 1;
                }
                Came::Group(group) => {
                    if let Some(group) = self.offer(group) {
                        self.came.push_front(Came::Group(group));
                        return;
                    }
                }
            }
        }
    }

    /// Gives a group to the store, or back where there is no room.
    fn offer(&mut self, group: Group) -> Option<Group> {
        let records = group.payloads.iter().map(|payload| self.record(payload, group.json)).collect();
        let (first, count) = (group.first, group.payloads.len());
        match self.hub.store.publish(records) {
            Ok(publishing) => {
                self.owe(first, count, publishing);
            }
            Err(Refused::Overloaded) => return Some(group),
            Err(refused) => {
                for n in first..first + count as u64 {
                    self.owe_fault(n, refused.into());
                }
            }
        }
        self.in_flight += count;
        None
    }

    /// Owes the answers to a group that the store took.
    fn owe(&mut self, first: u64, count: usize, publishing: Publishing) {
        let (store, ack, since) = (self.hub.store.clone(), self.request.ack, Instant::now());
        self.owed.push_back(Box::pin(async move {
            let taken = match publishing.await {
                Ok(ids) => {
                    let reached = store.reach(&ids, ack).await;
                    Ok((ids, reached))
                }
                Err(refused) => Err(refused.into()),
            };
            Done { first, count, taken, took: since.elapsed() }
        }));
    }

    fn owe_fault(&mut self, n: u64, fault: Fault) {
        let done = Done { first: n, count: 1, taken: Err(fault), took: Duration::ZERO };
        self.owed.push_back(Box::pin(std::future::ready(done)));
    }

    fn record(&self, payload: &Bytes, json: bool) -> NewRecord {
        NewRecord {
            topic: self.request.topic.clone(),
            payload: payload.clone(),
            content_type: (!json).then(|| self.request.content_type.clone()),
            publisher: self.publisher.0.clone(),
            publisher_signature: None,
            dedupe: None,
            source: None,
        }
    }

    /// Answers a group, and those behind it that are done too.
    async fn answer(&mut self, mut done: Done) -> Result<(), Ended> {
        loop {
            self.in_flight -= done.count;
            match done.taken {
                Ok((ids, ack)) => {
                    self.hub.totals.published.fetch_add(ids.len() as u64, Relaxed);
                    self.hub.totals.acks.observe(done.took.as_secs_f64());
                    for (n, id) in (done.first..).zip(ids) {
                        let answer = self.published(n, id, ack);
                        self.socket.text(answer).await?;
                    }
                }
                Err(fault) => {
                    self.hub.totals.refused.fetch_add(done.count as u64, Relaxed);
                    for n in done.first..done.first + done.count as u64 {
                        self.socket.text(refusal(n, &fault)).await?;
                    }
                }
            }
            match self.owed.next().now_or_never().flatten() {
                Some(next) => done = next,
                None => break,
            }
        }
        self.socket.flush().await
    }

    /// The answer to a frame that was taken; written by hand, for it is written for every record.
    fn published(&mut self, n: u64, id: RecordId, ack: Ack) -> String {
        let log = match &self.log {
            Some((key, log)) if *key == id.key => log,
            _ => &self.log.insert((id.key, id.key.to_string())).1,
        };
        let mut text = String::with_capacity(log.len() + 96);
        // Writing to memory cannot fail.
        let _ = write!(
            text,
            r#"{{"type":"published","n":{n},"id":"{log}/{}","ack":"{}"}}"#,
            id.seq,
            ack.as_str()
        );
        text
    }
}

fn refusal(n: u64, fault: &Fault) -> String {
    let frame = Frame::Error {
        reference: None,
        n: Some(n),
        code: fault.code.as_str().to_owned(),
        detail: fault.detail.clone(),
    };
    serde_json::to_string(&frame).unwrap_or_default()
}

/// The payload of a frame: JSON as it came, or bytes.
fn payload(message: Message) -> Result<Bytes, Fault> {
    let json = matches!(message, Message::Text(_));
    let data = message.into_data();
    if data.len() > MAX_PAYLOAD {
        return Err(Fault::new(
            Code::TooBig,
            format!("the payload has {} bytes; a record takes at most {MAX_PAYLOAD}", data.len()),
        ));
    }
    if !json {
        return Ok(data);
    }
    let value: &RawValue = serde_json::from_slice(&data).map_err(|error| {
        Fault::new(Code::BadRecord, format!("a text frame is a payload in JSON: {error}"))
    })?;
    Ok(data.slice_ref(value.get().as_bytes()))
}
