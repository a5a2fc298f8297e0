//! The feed as Server-Sent Events: the same frames as `data`, cursors as `id` too.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::Stream;
use tokio::sync::mpsc;

use super::outlet::Outlet;
use super::registry::Ended;
use super::start::Format;

/// Events are handed over in pieces of about this size.
const CHUNK: usize = 16 << 10;
/// Pieces between the subscriber's task and the connection's.
const CHUNKS: usize = 2;

/// The response, and what feeds it.
pub fn response(stall: Duration) -> (Response, Events) {
    let (to, from) = mpsc::channel(CHUNKS);
    let mut response = Response::new(Body::from_stream(Chunks(from)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx gathers what it forwards unless it is told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    (response, Events { to, chunk: BytesMut::new(), stall })
}

struct Chunks(mpsc::Receiver<Bytes>);

impl Stream for Chunks {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(Ok))
    }
}

/// Events on their way into a response.
#[derive(Debug)]
pub struct Events {
    to: mpsc::Sender<Bytes>,
    chunk: BytesMut,
    /// How long the client may accept nothing.
    stall: Duration,
}

impl Events {
    /// Writes one event; a line break in the data begins a new line of data.
    fn event(&mut self, data: &[u8], id: Option<&str>) {
        if let Some(id) = id {
            self.chunk.put_slice(b"id: ");
            self.chunk.put_slice(id.as_bytes());
            self.chunk.put_u8(b'\n');
        }
        let mut rest = data;
        loop {
            self.chunk.put_slice(b"data: ");
            match rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                None => {
                    self.chunk.put_slice(rest);
                    break;
                }
                Some(end) => {
                    self.chunk.put_slice(&rest[..end]);
                    self.chunk.put_u8(b'\n');
                    let both = rest[end..].starts_with(b"\r\n");
                    rest = &rest[end + if both { 2 } else { 1 }..];
                }
            }
        }
        self.chunk.put_slice(b"\n\n");
    }

    async fn hand_over(&mut self) -> Result<(), Ended> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = self.chunk.split().freeze();
        match tokio::time::timeout(self.stall, self.to.send(chunk)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Left),
            Err(_) => Err(Ended::Stalled),
        }
    }
}

impl Outlet for Events {
    fn format(&self) -> Format {
        Format::Json
    }

    async fn record(&mut self, frame: &Bytes) -> Result<(), Ended> {
        self.event(frame, None);
        if self.chunk.len() >= CHUNK { self.hand_over().await } else { Ok(()) }
    }

    async fn control(&mut self, frame: Bytes, id: Option<&str>) -> Result<(), Ended> {
        self.event(&frame, id);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        self.hand_over().await
    }

    async fn closed(&self) {
        self.to.closed().await;
    }

    async fn still_here(&mut self) -> Result<(), Ended> {
        self.chunk.put_slice(b": still here\n\n");
        self.hand_over().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(data: &str, id: Option<&str>) -> String {
        let (_, mut events) = response(Duration::ZERO);
        events.event(data.as_bytes(), id);
        String::from_utf8(events.chunk.to_vec()).unwrap()
    }

    #[test]
    fn it_writes_events_that_a_browser_puts_together_again() {
        for (data, id, expected) in [
            ("{}", None, "data: {}\n\n"),
            ("{}", Some("c1"), "id: c1\ndata: {}\n\n"),
            ("{\n 1\n}", None, "data: {\ndata:  1\ndata: }\n\n"),
            ("a\r\nb\rc", None, "data: a\ndata: b\ndata: c\n\n"),
            ("a\n", None, "data: a\ndata: \n\n"),
        ] {
            assert_eq!(written(data, id), expected, "{data:?}");
        }
    }
}
