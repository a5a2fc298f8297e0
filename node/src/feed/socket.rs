//! A WebSocket as an outlet: bursts, stalls, pings, and how it is closed.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite;

use super::outlet::Outlet;
use super::registry::Ended;
use super::start::Format;

/// A silent client is asked for a sign of life this often; proxies give up after a minute.
const PING: Duration = Duration::from_secs(20);
/// One that gave none for so long, while it was sent nothing else, is gone.
const GONE: Duration = Duration::from_secs(60);
/// How long each half of a close may take: the frame out, the client's answer in.
const CLOSING: Duration = Duration::from_secs(1);
/// The same for a client that took nothing for too long: the cursor with which it can come back stands behind all that it
/// has not taken yet. With the stall itself, less than the time after which the connection is cut below.
const LAST_CHANCE: Duration = Duration::from_secs(15);
/// A subscriber sends little; its buffer is the largest part of what an idle one costs.
const READ_BUFFER: usize = 4 << 10;
/// A publisher sends much: fewer reads for more frames.
const PUBLISH_READ_BUFFER: usize = 64 << 10;
/// What is written at once.
const WRITE_BUFFER: usize = 16 << 10;
/// What may wait to be written: a frame of the greatest record on top of a full buffer.
const MAX_WRITE_BUFFER: usize = 512 << 10;
/// The longest message of a publisher: a payload of the greatest length as base64, with its surroundings.
const MAX_PUBLISH: usize = 512 << 10;
/// The longest message of calls.
const MAX_CALL: usize = 1 << 20;
/// What may wait to be written of answers to calls: the longest on top of a full buffer.
const MAX_ANSWER: usize = 40 << 20;
/// The longest message of who only subscribes: as much as a URL takes (64 KiB), and its surroundings.
const MAX_SUBSCRIBE: usize = 96 << 10;

/// Sets the limits of a subscriber's socket, on which it may also publish.
pub fn for_feed(ws: WebSocketUpgrade, publishes: bool) -> WebSocketUpgrade {
    limits(ws, if publishes { MAX_PUBLISH } else { MAX_SUBSCRIBE }).read_buffer_size(READ_BUFFER)
}

/// Sets the limits of a publisher's socket.
pub fn for_publish(ws: WebSocketUpgrade) -> WebSocketUpgrade {
    limits(ws, MAX_PUBLISH).read_buffer_size(PUBLISH_READ_BUFFER)
}

/// Sets the limits of a socket for calls, whose answers may be large.
pub fn for_rpc(ws: WebSocketUpgrade) -> WebSocketUpgrade {
    limits(ws, MAX_CALL).read_buffer_size(READ_BUFFER).max_write_buffer_size(MAX_ANSWER)
}

/// Sets the limits of a socket whose client has nothing to say.
pub fn for_watch(ws: WebSocketUpgrade) -> WebSocketUpgrade {
    limits(ws, READ_BUFFER).read_buffer_size(READ_BUFFER)
}

fn limits(ws: WebSocketUpgrade, longest: usize) -> WebSocketUpgrade {
    ws.write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(longest)
        .max_frame_size(longest)
}

/// An open WebSocket.
#[derive(Debug)]
pub struct Socket {
    ws: WebSocket,
    format: Format,
    ping: Interval,
    heard: Instant,
    /// When something other than a ping was last sent.
    sent: Instant,
    /// How long the client may accept nothing.
    stall: Duration,
}

impl Socket {
    /// A socket that was just opened.
    pub fn new(ws: WebSocket, format: Format, stall: Duration) -> Self {
        let now = Instant::now();
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        Self { ws, format, ping, heard: now, sent: now, stall }
    }

    /// Waits for what the client says next: a text or bytes. Answers to pings pass by.
    ///
    /// # Errors
    /// How the connection ends.
    pub async fn receive(&mut self) -> Result<Message, Ended> {
        loop {
            tokio::select! {
                biased;
                message = self.ws.next() => {
                    self.heard = Instant::now();
                    match understood(message)? {
                        Some(message) => return Ok(message),
                        None => continue,
                    }
                }
                _ = self.ping.tick() => {}
            }
            self.ask().await?;
        }
    }

    /// What the client has said already, beyond what was received.
    ///
    /// # Errors
    /// How the connection ends.
    pub async fn received(&mut self) -> Result<Option<Message>, Ended> {
        loop {
            let mut next = self.ws.next();
            match poll_fn(|context| Poll::Ready(std::pin::Pin::new(&mut next).poll(context))).await {
                Poll::Pending => return Ok(None),
                Poll::Ready(message) => {
                    if let Some(message) = understood(message)? {
                        return Ok(Some(message));
                    }
                }
            }
        }
    }

    /// Asks for a sign of life.
    async fn ask(&mut self) -> Result<(), Ended> {
        if self.heard.elapsed() > GONE && self.sent.elapsed() > GONE {
            return Err(Ended::Stalled);
        }
        self.put(Message::Ping(Bytes::new())).await?;
        self.push().await
    }

    /// Takes a text frame.
    ///
    /// # Errors
    /// How the connection ends.
    pub async fn text(&mut self, text: String) -> Result<(), Ended> {
        self.put(Message::Text(text.into())).await
    }

    /// Sends a text at once.
    ///
    /// # Errors
    /// How the connection ends.
    pub async fn say(&mut self, text: Utf8Bytes) -> Result<(), Ended> {
        self.put(Message::Text(text)).await?;
        self.flush().await
    }

    async fn put(&mut self, message: Message) -> Result<(), Ended> {
        let mut taking = pin!(self.ws.feed(message));
        // A timer is only worth its cost where the socket is full.
        let taken = match poll_fn(|context| Poll::Ready(taking.as_mut().poll(context))).await {
            Poll::Ready(taken) => taken,
            Poll::Pending => timeout(self.stall, taking).await.map_err(|_| Ended::Stalled)?,
        };
        taken.map_err(|_| Ended::Left)
    }

    async fn push(&mut self) -> Result<(), Ended> {
        let mut flushing = pin!(self.ws.flush());
        let flushed = match poll_fn(|context| Poll::Ready(flushing.as_mut().poll(context))).await {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => timeout(self.stall, flushing).await.map_err(|_| Ended::Stalled)?,
        };
        flushed.map_err(|_| Ended::Left)
    }

    /// Says goodbye, after `last` where the client still takes it.
    pub async fn close(mut self, ended: Ended, last: Option<Bytes>) {
        let patience = if ended == Ended::Stalled { LAST_CHANCE } else { CLOSING };
        // Whoever does not take it is cut off.
        if let Ok(Ok(())) = timeout(patience, self.goodbye(ended, last)).await {
            // A client's own close is answered by reading on. What it still says is read, or the kernel would cut off
            // what it has not read yet.
            let _ = timeout(CLOSING, async { while let Some(Ok(_)) = self.ws.next().await {} }).await;
        }
    }

    async fn goodbye(&mut self, ended: Ended, last: Option<Bytes>) -> Result<(), axum::Error> {
        let Some((code, reason)) = closing(ended) else { return Ok(()) };
        if let Some(last) = last {
            let last = self.message(last);
            self.ws.feed(last).await?;
        }
        self.ws.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await
    }

    fn message(&self, frame: Bytes) -> Message {
        match self.format {
            // Our own frames are UTF-8; what were not would go out as bytes rather than not at all.
            Format::Json => Utf8Bytes::try_from(frame.clone()).map_or(Message::Binary(frame), Message::Text),
            Format::Cbor => Message::Binary(frame),
        }
    }
}

impl Outlet for Socket {
    fn format(&self) -> Format {
        self.format
    }

    async fn record(&mut self, frame: &Bytes) -> Result<(), Ended> {
        self.put(self.message(frame.clone())).await
    }

    async fn control(&mut self, frame: Bytes, _id: Option<&str>) -> Result<(), Ended> {
        self.put(self.message(frame)).await
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        self.push().await?;
        self.sent = Instant::now();
        Ok(())
    }
}

/// What a message means: something said, nothing, or the end.
fn understood(message: Option<Result<Message, axum::Error>>) -> Result<Option<Message>, Ended> {
    match message {
        Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => Ok(Some(message)),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
        Some(Ok(Message::Close(_))) | None => Err(Ended::Left),
        Some(Err(error)) => match error.into_inner().downcast_ref::<tungstenite::Error>() {
            Some(tungstenite::Error::Capacity(_)) => Err(Ended::TooBig),
            Some(tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)) => Err(Ended::Policy),
            _ => Err(Ended::Left),
        },
    }
}

/// The code that a client sees, and why.
fn closing(ended: Ended) -> Option<(u16, &'static str)> {
    match ended {
        Ended::Left => None,
        Ended::Shutdown => Some((1001, "the node is shutting down")),
        Ended::Policy => Some((1008, "a message was not understood or not allowed")),
        Ended::TooBig => Some((1009, "a message was too big")),
        Ended::Stalled => Some((1013, "nothing was accepted for 30 s; resume with your cursor")),
        Ended::Failed => Some((1013, "the node cannot go on with this subscription")),
    }
}
