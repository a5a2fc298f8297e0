//! A response's body: decompressed, chunk by chunk, never longer, slower or larger than it may be.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anode_shared::source::Stage;
use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder};
use bytes::{Buf as _, Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use memmap2::MmapMut;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::time::{Instant, timeout_at};

use crate::source::failure::Failure;
use crate::source::limits;

/// How much is decompressed at a time: as much as hyper reads at a time.
const CHUNK: usize = 16 << 10;

/// From which length on a body lies in a mapping of its own.
const LARGE: usize = 1 << 20;

/// How a body may be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// The most bytes, before and after decompression each; none for streams, whose chunks are small.
    pub limit: Option<u64>,
    /// How long it may be silent; none where the caller watches that.
    pub idle: Option<Duration>,
    /// Until when it must have ended.
    pub deadline: Option<Instant>,
}

/// How a body is encoded for the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
}

impl Coding {
    /// Reads a `Content-Encoding`.
    pub(super) fn parse(value: &str) -> Result<Self, Failure> {
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "br" => Ok(Self::Brotli),
            other => {
                let shown: String = other.chars().filter(|c| c.is_ascii_graphic()).take(40).collect();
                Err(failure(format!("the body is encoded as `{shown}`; gzip, deflate and br are understood")))
            }
        }
    }
}

/// A body that is being read.
pub struct Body {
    source: Source,
    host: String,
    reading: Reading,
    received: u64,
}

/// Where the chunks come from.
enum Source {
    Plain(Frames),
    /// Which decoder it is, the first byte tells.
    Unopened(Coding, Frames),
    Coded(Pin<Box<dyn AsyncRead + Send + Sync>>),
    Ended,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("received", &self.received).finish_non_exhaustive()
    }
}

impl Body {
    pub(super) fn new(body: Incoming, coding: Coding, host: String, reading: Reading) -> Self {
        let frames = Frames { body, chunk: Bytes::new(), left: reading.limit };
        let source = match coding {
            Coding::Identity => Source::Plain(frames),
            other => Source::Unopened(other, frames),
        };
        Self { source, host, reading, received: 0 }
    }

    /// How many bytes came so far, after decompression.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next bytes, at most 64 KiB of them; `None` at the end. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When the body is too long, too slow, cut off, or not encoded as it says.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let idle = self.reading.idle.map(|idle| Instant::now() + idle);
        let until = idle.into_iter().chain(self.reading.deadline).min();
        let next = match until {
            Some(until) => timeout_at(until, self.source.next()).await.map_err(|_| self.late(until))?,
            None => self.source.next().await,
        };
        let chunk = next.map_err(|error| self.explain(&error))?;
        let Some(chunk) = chunk else {
            self.source = Source::Ended;
            return Ok(None);
        };
        self.received += chunk.len() as u64;
        match self.reading.limit {
            Some(limit) if self.received > limit => Err(self.too_long(limit)),
            _ => Ok(Some(chunk)),
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// As [`Body::chunk`].
    pub async fn whole(mut self) -> Result<Bytes, Failure> {
        if let (Some(limit), Source::Plain(frames) | Source::Unopened(_, frames)) =
            (self.reading.limit, &self.source)
            && frames.body.size_hint().lower() > limit
        {
            return Err(self.too_long(limit));
        }
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut whole = Vec::with_capacity(2 * (first.len() + second.len()));
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        drop((first, second));
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
            if whole.len() > LARGE {
                return self.large(whole).await;
            }
        }
        Ok(whole.into())
    }

    /// The rest of a large body, in a mapping of its own: what is never written to costs nothing, and the system has
    /// all of it back at once when it is dropped, where an allocator would keep it.
    async fn large(mut self, begun: Vec<u8>) -> Result<Bytes, Failure> {
        let most = usize::try_from(self.reading.limit.unwrap_or(limits::BODY)).unwrap_or(usize::MAX);
        let mut room = MmapMut::map_anon(most).map_err(|error| self.explain(&error))?;
        let mut length = begun.len();
        room[..length].copy_from_slice(&begun);
        drop(begun);
        while let Some(chunk) = self.chunk().await? {
            let end = length + chunk.len();
            room.get_mut(length..end).ok_or_else(|| self.too_long(most as u64))?.copy_from_slice(&chunk);
            length = end;
        }
        Ok(Bytes::from_owner(room).slice(..length))
    }

    fn late(&self, until: Instant) -> Failure {
        let host = &self.host;
        if self.reading.deadline == Some(until) {
            failure(format!("the body from {host} did not end in time; {} bytes came", self.received))
        } else {
            let idle = self.reading.idle.unwrap_or_default().as_secs_f64();
            failure(format!("{host} sent nothing of the body for {idle} s; {} bytes came", self.received))
        }
    }

    fn too_long(&self, limit: u64) -> Failure {
        failure(format!(
            "the body from {} is longer than {} MiB, the most that is taken",
            self.host,
            limit >> 20
        ))
    }

    fn explain(&self, error: &io::Error) -> Failure {
        let inner = error.get_ref();
        if inner.is_some_and(|inner| inner.is::<TooLong>()) {
            return self.too_long(self.reading.limit.unwrap_or_default());
        }
        let host = &self.host;
        if inner.is_some_and(|inner| inner.is::<TooWide>()) {
            return failure(format!(
                "{host} compresses by brotli with a window above 4 MiB, more than is taken; ask for another form by the header Accept-Encoding: gzip"
            ));
        }
        match inner.and_then(|inner| inner.downcast_ref::<hyper::Error>()) {
            Some(error) if is_cut(error) => failure(format!(
                "{host} closed the connection within the body, after {} bytes",
                self.received
            )),
            Some(error) => {
                let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                failure(format!("the body from {host} broke off: {why}"))
            }
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                failure(format!("the compressed body from {host} ends too early"))
            }
            None => failure(format!("the body from {host} is not compressed as it says: {error}")),
        }
    }
}

/// Whether the connection ended within the body.
fn is_cut(error: &hyper::Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let ends =
        [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionAborted];
    error.is_incomplete_message() || io.is_some_and(|error| ends.contains(&error.kind()))
}

fn failure(detail: String) -> Failure {
    Failure::new(Stage::Body, detail)
}

impl Source {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self {
                Self::Ended => return Ok(None),
                Self::Plain(frames) => return frames.next().await,
                Self::Coded(decoder) => {
                    let mut chunk = BytesMut::with_capacity(CHUNK);
                    let read = decoder.read_buf(&mut chunk).await?;
                    return Ok((read > 0).then(|| chunk.freeze()));
                }
                Self::Unopened(_, frames) => {
                    // An empty body is empty, whatever it says of itself.
                    let first = frames.fill_buf().await?.first().copied();
                    let Self::Unopened(coding, frames) = std::mem::replace(self, Self::Ended) else {
                        continue;
                    };
                    if let Some(first) = first {
                        if coding == Coding::Brotli && is_wide(first) {
                            return Err(io::Error::other(TooWide));
                        }
                        *self = Self::Coded(decoder(coding, first, frames));
                    }
                }
            }
        }
    }
}

/// Whether a brotli stream that begins with this byte wants a window above the 4 MiB that encoders use by themselves
/// (RFC 7932, section 9.1): its decoder holds the window beside the body.
fn is_wide(first: u8) -> bool {
    let large = first & 0x7f == 0x11;
    large || matches!(first & 0x0f, 0x0d | 0x0f)
}

fn decoder(coding: Coding, first: u8, frames: Frames) -> Pin<Box<dyn AsyncRead + Send + Sync>> {
    match coding {
        Coding::Identity => Box::pin(frames),
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(frames);
            decoder.multiple_members(true);
            Box::pin(decoder)
        }
        // Some servers send what RFC 1951 says, without the header of RFC 1950, which begins with 8 in the low bits.
        Coding::Deflate if first & 0x0f != 8 => Box::pin(DeflateDecoder::new(frames)),
        Coding::Deflate => Box::pin(ZlibDecoder::new(frames)),
        Coding::Brotli => Box::pin(BrotliDecoder::new(frames)),
    }
}

/// The body's bytes as they come, counted.
struct Frames {
    body: Incoming,
    chunk: Bytes,
    left: Option<u64>,
}

/// More came than is taken.
#[derive(Debug, thiserror::Error)]
#[error("the body is too long")]
struct TooLong;

/// The decoder would hold too much.
#[derive(Debug, thiserror::Error)]
#[error("the brotli window is too large")]
struct TooWide;

impl Frames {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.fill_buf().await?;
        let chunk = std::mem::take(&mut self.chunk);
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

impl AsyncBufRead for Frames {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.chunk.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)) else { break };
            let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
            if let Some(left) = &mut this.left {
                *left = left.checked_sub(data.len() as u64).ok_or_else(|| io::Error::other(TooLong))?;
            }
            this.chunk = data;
        }
        Poll::Ready(Ok(&this.chunk))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.chunk.advance(amount);
    }
}

impl AsyncRead for Frames {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = ready!(self.as_mut().poll_fill_buf(cx))?;
        let amount = bytes.len().min(buf.remaining());
        buf.put_slice(&bytes[..amount]);
        self.consume(amount);
        Poll::Ready(Ok(()))
    }
}
