//! WebSocket bytes without a library: a load generator must cost less than what it measures.

use std::io;
use std::ops::Range;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;

use crate::client::{Client, Query};

/// Bytes of a benchmark's payload.
pub(super) const PAYLOAD: usize = 300;
/// Where the payload holds the time at which it was sent: 16 digits of microseconds.
const TIME: Range<usize> = 5..21;
/// How much is read at once: a few hundred records.
const READ: usize = 128 << 10;
/// The longest answer to an upgrade that is read.
const MAX_HEAD: usize = 16 << 10;

/// Writes a payload of [`PAYLOAD`] bytes that says when it was sent.
pub(super) fn payload(now: u64, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(format!("{{\"t\":{now:016},\"pad\":\"").as_bytes());
    out.resize(start + PAYLOAD - 2, b'x');
    out.extend_from_slice(b"\"}");
}

/// When the payload at the end of a record's frame was sent.
pub(super) fn sent_at(frame: &[u8]) -> Option<u64> {
    // The payload is the frame's last member: behind it stands one brace.
    let start = frame.len().checked_sub(PAYLOAD + 1)?;
    let digits = frame.get(start + TIME.start..start + TIME.end)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Appends a client's text frame. Its mask is zero: legal, and the payload stays as it is.
pub(super) fn text_frame(payload: &[u8], out: &mut Vec<u8>) {
    frame(0x81, payload, out);
}

fn frame(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => out.push(0x80 | short),
        (_, Ok(length)) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Finds the next whole server frame: its opcode, where its payload lies, and where the next frame begins.
fn scan(bytes: &[u8]) -> Option<(u8, Range<usize>)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (start, length) = match second & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let end = usize::try_from(length).ok()?.checked_add(start)?;
    (end <= bytes.len()).then_some((first & 0x0f, start..end))
}

/// A WebSocket as a benchmark drives it: bytes to write, and frames to look at.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// Bytes that wait to be written.
    pub(super) out: Vec<u8>,
    written: usize,
    read: Vec<u8>,
    filled: usize,
}

impl Wire {
    /// Opens a WebSocket.
    pub(super) async fn open(client: &Client, path: &str, query: &Query) -> anyhow::Result<Self> {
        let url = client.url(path, query);
        if url.scheme() != "http" {
            bail!("the benchmark's own sockets speak no TLS; name the node as http://HOST:PORT");
        }
        let mut stream = client.connect().await?;
        let target = url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        let token = client.endpoint().token.as_ref();
        let authorization = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{authorization}\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        let end = loop {
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if head.len() > MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
                bail!("{url} did not answer as a WebSocket");
            }
        };
        if !head.starts_with(b"HTTP/1.1 101") {
            // Asked once more in the slow way, which reads the node's own words.
            client.socket(path, query).await?;
            bail!("{url} did not answer as a WebSocket");
        }
        let mut read = vec![0; READ];
        let filled = head.len() - end;
        read[..filled].copy_from_slice(&head[end..]);
        Ok(Self { stream, out: Vec::new(), written: 0, read, filled })
    }

    /// Waits for the first frame: a live subscription is then at the newest record.
    pub(super) async fn begun(&mut self) -> anyhow::Result<()> {
        let mut here = false;
        while !here {
            self.turn(|_| {
                here = true;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until something can be read, or written where something waits for it; does both as far as it goes,
    /// and hands every whole frame to `take`.
    pub(super) async fn turn(
        &mut self,
        mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.filled > 0 && self.hand_on(&mut take)? {
            return Ok(());
        }
        let wanted =
            if self.out.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        let ready = self.stream.ready(wanted).await?;
        if ready.is_writable() && !self.out.is_empty() {
            self.write()?;
        }
        if ready.is_readable() {
            match self.stream.try_read(&mut self.read[self.filled..]) {
                Ok(0) => bail!("the node closed the connection"),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("the connection broke"),
            }
            self.hand_on(&mut take)?;
        }
        Ok(())
    }

    /// Writes as much as the socket takes now.
    pub(super) fn write(&mut self) -> anyhow::Result<()> {
        match self.stream.try_write(&self.out[self.written..]) {
            Ok(count) => self.written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("the connection broke"),
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        Ok(())
    }

    /// Hands on the whole frames that were read; says whether there was one.
    fn hand_on(&mut self, take: &mut impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<bool> {
        let mut place = 0;
        while let Some((opcode, range)) = scan(&self.read[place..self.filled]) {
            let payload = &self.read[place + range.start..place + range.end];
            match opcode {
                1 | 2 => take(payload)?,
                8 => bail!(
                    "the node closed: {}",
                    String::from_utf8_lossy(payload.get(2..).unwrap_or_default())
                ),
                9 => frame(0x8a, payload, &mut self.out),
                _ => {}
            }
            place += range.end;
        }
        self.read.copy_within(place..self.filled, 0);
        self.filled -= place;
        if self.filled == self.read.len() {
            // A frame longer than the buffer: records have up to 128 KiB of payload.
            self.read.resize(self.read.len() * 2, 0);
        }
        Ok(place > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_again_when_a_payload_was_sent() {
        let mut frame = br#"{"type":"record","payload":"#.to_vec();
        payload(1_795_402_020_123_456, &mut frame);
        assert_eq!(frame.len(), 27 + PAYLOAD);
        frame.push(b'}');
        assert_eq!(sent_at(&frame), Some(1_795_402_020_123_456));
        assert!(serde_json::from_slice::<serde_json::Value>(&frame).is_ok());
        assert_eq!(sent_at(b"{}"), None);
    }

    #[test]
    fn it_scans_frames_of_every_length() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let mut bytes = Vec::new();
            text_frame(&vec![7; length], &mut bytes);
            // A server's frame is the same without mask bit and mask.
            let mask = bytes.len() - length - 4;
            bytes.drain(mask..mask + 4);
            bytes[1] &= 0x7f;
            assert_eq!(
                scan(&bytes).map(|(opcode, range)| (opcode, range.len(), range.end)),
                Some((1, length, bytes.len()))
            );
            assert_eq!(scan(&bytes[..bytes.len() - 1]).filter(|_| length > 0), None);
        }
    }
}
