//! Reads a WebSocket: opening frames, pings, messages.

use std::time::Duration;

use anode_shared::source::Stage;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::connector::Io;
use super::handshake::open;
use super::prepare::Prepared;
use super::reading::{Answer, Ended, Reading};
use super::task::{Connected, Limits, PAUSE};
use super::{beginning, timeout};

/// How often a quiet socket is pinged, so that one whose other end is gone is noticed by the system.
const PING: Duration = Duration::from_secs(30);
/// How long a frame may take to be sent: an upstream that reads nothing is gone.
const SEND: Duration = Duration::from_secs(10);
/// The most characters of an upstream's reason that an error shows.
const WHY: usize = 120;

/// A socket that is open.
pub(super) type Socket = WebSocketStream<Io>;

/// Reads for ever. The first connection waits for `first`.
pub(super) async fn run(reading: &mut Reading, first: Duration) {
    sleep(first).await;
    loop {
        let began = Instant::now();
        let ended = connect(reading).await;
        let stored = reading.all_stored().await;
        if let Err(ended) = ended.and(stored) {
            reading.rest_after(ended).await;
        }
        sleep_until(began + PAUSE).await;
    }
}

/// One connection, from asking to its end; ok where it is to be replaced at once.
async fn connect(reading: &mut Reading) -> Result<(), Ended> {
    let prepared = reading.ready().await;
    let (host, patience) = (prepared.host(), timeout(&reading.live.definition));
    let context = reading.context.clone();
    // The time in which the upstream answers begins behind the gate.
    let opening = Box::pin(async {
        let began = Instant::now();
        let headers = prepared.headers.clone();
        (began, open(&context.connector, &prepared.url, headers, began + patience).await)
    });
    let (began, opened) = context.gate.pass(&host, opening).await;
    let mut socket = opened?.socket;
    let _open = Connected::new(&reading.live);
    greet(&mut socket, &prepared).await?;
    reading.live.opened();
    let result = follow(reading, &mut socket, &prepared, began).await;
    // A polite end, where the upstream still listens.
    let _ = timeout_at(Instant::now() + Duration::from_millis(200), socket.close(None)).await;
    result
}

/// Sends the opening frames.
pub(super) async fn greet(socket: &mut Socket, prepared: &Prepared) -> Result<(), Ended> {
    for frame in &prepared.open {
        send(socket, Message::Text(frame.as_str().into())).await?;
    }
    Ok(())
}

async fn follow(
    reading: &mut Reading,
    socket: &mut Socket,
    prepared: &Prepared,
    began: Instant,
) -> Result<(), Ended> {
    let mut limits = Limits::new(&reading.live);
    let mut pings = Pings::new(reading, prepared);
    let mut first = Some(began);
    loop {
        let (full, waits) = (reading.outbox.is_full(), !reading.outbox.is_empty());
        tokio::select! {
            stored = reading.outbox.next(), if waits => reading.stored(stored).await?,
            message = socket.next(), if !full => if let Some(bytes) = payload(message)? {
                let took = first.take().map(|began| began.elapsed());
                reading.take(Answer { bytes, took, status: 101, ..Answer::default() }, None).await?;
            },
            () = sleep_until(pings.due) => send(socket, pings.next()).await?,
            () = sleep_until(limits.next()) => if limits.reached(&reading.live) { return Ok(()) },
        }
    }
}

/// What a message brings; pings and pongs bring nothing.
pub(super) fn payload(message: Option<Result<Message, Error>>) -> Result<Option<Bytes>, Ended> {
    match message {
        Some(Ok(Message::Text(text))) => Ok(Some(text.into())),
        Some(Ok(Message::Binary(bytes))) => Ok(Some(bytes)),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Ok(Message::Close(frame))) => {
            let said = frame.map_or_else(String::new, |frame| {
                let why: String = frame.reason.chars().filter(|c| !c.is_control()).collect();
                let why = beginning(&why, WHY);
                format!(" with code {}{}{why}", u16::from(frame.code), if why.is_empty() { "" } else { ": " })
            });
            Err(Ended::new(Stage::Connect, format!("the upstream closed the socket{said}")))
        }
        Some(Err(error @ (Error::Capacity(_) | Error::Protocol(_) | Error::Utf8(_)))) => {
            Err(Ended::new(Stage::Body, format!("the upstream's message cannot be read: {error}")))
        }
        Some(Err(error)) => Err(Ended::new(Stage::Connect, format!("the connection broke: {error}"))),
        None => Err(Ended::new(Stage::Connect, "the upstream ended the connection")),
    }
}

async fn send(socket: &mut Socket, message: Message) -> Result<(), Ended> {
    match timeout_at(Instant::now() + SEND, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Ended::new(Stage::Connect, format!("the connection broke: {error}"))),
        Err(_) => Err(Ended::new(Stage::Connect, "the upstream takes no more frames")),
    }
}

/// The pings of a socket: the upstream's own where the definition has one, else the protocol's.
struct Pings {
    every: Duration,
    frame: Option<Utf8Bytes>,
    due: Instant,
}

impl Pings {
    fn new(reading: &Reading, prepared: &Prepared) -> Self {
        let own = reading.live.definition.ping.as_ref().map(|ping| Duration::from_millis(ping.every_ms));
        let every = own.unwrap_or(PING);
        Self { every, frame: prepared.ping.as_deref().map(Utf8Bytes::from), due: Instant::now() + every }
    }

    fn next(&mut self) -> Message {
        // Those that were missed while the store had no room are left out.
        self.due = Instant::now() + self.every;
        match &self.frame {
            Some(frame) => Message::Text(frame.clone()),
            None => Message::Ping(Bytes::new()),
        }
    }
}
