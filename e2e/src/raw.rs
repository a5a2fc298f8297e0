//! Connections to nodes byte by byte: below gossipsub, below yamux, below noise.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerExt as _};
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::upgrade::OutboundConnectionUpgrade as _;
use libp2p::core::{Endpoint, Transport as _};
use libp2p::futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, noise, tcp, yamux};
use tokio::task::JoinSet;
use tokio::time::timeout;

type Tcp = tcp::tokio::TcpStream;
type Secret = noise::Output<Tcp>;
type Muxer = yamux::Muxer<Secret>;
/// One stream of a connection.
pub type Substream = <Muxer as StreamMuxer>::Substream;

/// How long a step of connecting may take.
const STEP: Duration = Duration::from_secs(10);

/// Connects by TCP, and no further.
///
/// # Errors
/// Fails where the node does not take it.
pub async fn plain(address: &str) -> Result<Tcp> {
    let address: Multiaddr = address.parse()?;
    let address: Multiaddr =
        address.iter().filter(|part| !matches!(part, libp2p::multiaddr::Protocol::P2p(_))).collect();
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let mut transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    Ok(timeout(STEP, transport.dial(address, options)?).await??)
}

/// Connects by TCP and noise, and agrees on yamux; what follows are its frames.
///
/// # Errors
/// Fails where the node does not agree.
pub async fn secret(address: &str, pair: &Keypair) -> Result<Secret> {
    let connect = async {
        let mut tcp = plain(address).await?;
        select(&mut tcp, "/noise").await?;
        let (_, mut secret) = noise::Config::new(pair)?.upgrade_outbound(tcp, "/noise").await?;
        select(&mut secret, "/yamux/1.0.0").await?;
        Ok::<_, anyhow::Error>(secret)
    };
    timeout(STEP, connect).await.context("no connection in time")?
}

/// A connection of which a test holds one stream. What the node opens is taken and never answered.
#[derive(Debug)]
pub struct Raw {
    /// The stream.
    pub stream: Substream,
    /// Ends with the connection.
    driver: JoinSet<()>,
}

/// A connection with many streams.
#[derive(Debug)]
pub struct Many {
    /// The streams.
    pub streams: Vec<Substream>,
    /// Ends with the connection.
    driver: JoinSet<()>,
}

/// Connects and opens a stream for a protocol.
///
/// # Errors
/// Fails where the node does not agree.
pub async fn stream(address: &str, pair: &Keypair, protocol: &str) -> Result<Raw> {
    let Many { mut streams, driver } = many(address, pair, protocol, 1).await?;
    Ok(Raw { stream: streams.pop().context("no stream")?, driver })
}

/// Connects and opens streams for a protocol.
///
/// # Errors
/// Fails where the node does not agree.
pub async fn many(address: &str, pair: &Keypair, protocol: &str, count: usize) -> Result<Many> {
    let secret = secret(address, pair).await?;
    let mut muxer = yamux::Config::default().upgrade_outbound(secret, "/yamux/1.0.0").await?;
    let mut streams = Vec::new();
    for _ in 0..count {
        let opened = std::future::poll_fn(|context| muxer.poll_outbound_unpin(context));
        streams.push(timeout(STEP, opened).await??);
    }
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        let mut taken = Vec::new();
        let _ = std::future::poll_fn(|context| {
            while let std::task::Poll::Ready(Ok(stream)) = muxer.poll_inbound_unpin(context) {
                taken.push(stream);
            }
            muxer.poll_unpin(context).map(|event| event.map(|_| ()))
        })
        .await;
    });
    for stream in &mut streams {
        timeout(STEP, select(stream, protocol)).await.context("no agreement in time")??;
    }
    Ok(Many { streams, driver })
}

impl Raw {
    /// Waits until the node has closed the connection.
    ///
    /// # Errors
    /// Fails where it goes on.
    pub async fn until_closed(&mut self, patience: Duration) -> Result<()> {
        timeout(patience, self.driver.join_next())
            .await
            .map(|_| ())
            .with_context(|| format!("the connection goes on after {patience:?}"))
    }

    /// Waits until the node has ended the stream.
    ///
    /// # Errors
    /// Fails where it goes on.
    pub async fn until_ended(&mut self, patience: Duration) -> Result<()> {
        until_end(&mut self.stream, patience).await
    }
}

/// Reads until the other side ends it.
///
/// # Errors
/// Fails where it goes on.
pub async fn until_end<T: AsyncRead + Unpin>(io: &mut T, patience: Duration) -> Result<()> {
    let mut rest = [0; 4096];
    let ended = async { while io.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
    timeout(patience, ended).await.with_context(|| format!("no end after {patience:?}"))
}

/// Agrees on a protocol as multistream-select has it.
///
/// # Errors
/// Fails where the other side has another opinion.
pub async fn select<T: AsyncRead + AsyncWrite + Unpin>(io: &mut T, protocol: &str) -> Result<()> {
    let mut hello = Vec::new();
    for line in ["/multistream/1.0.0", protocol] {
        hello.extend(varint(line.len() as u64 + 1));
        hello.extend_from_slice(line.as_bytes());
        hello.push(b'\n');
    }
    io.write_all(&hello).await?;
    io.flush().await?;
    for expected in ["/multistream/1.0.0", protocol] {
        let mut length = [0];
        io.read_exact(&mut length).await?;
        ensure!(length[0] < 128, "a line of multistream-select is too long");
        let mut line = vec![0; usize::from(length[0])];
        io.read_exact(&mut line).await?;
        let line = String::from_utf8_lossy(&line);
        if line.trim_end() != expected {
            bail!("the node says {line:?} to {expected:?}");
        }
    }
    Ok(())
}

/// An unsigned integer as protobuf and libp2p write it.
#[must_use]
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A protobuf field that holds bytes.
#[must_use]
pub fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// A protobuf field that holds an integer.
#[must_use]
pub fn integer(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

/// A yamux frame: its header, and what follows.
#[must_use]
pub fn yamux(kind: u8, flags: u16, stream: u32, length: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, kind];
    frame.extend_from_slice(&flags.to_be_bytes());
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_writes_what_others_read() {
        for (value, bytes) in [(0, vec![0]), (127, vec![127]), (128, vec![128, 1]), (300, vec![172, 2])] {
            assert_eq!(varint(value), bytes);
        }
        assert_eq!(varint(u64::MAX).len(), 10);
        assert_eq!(field(1, b"ab"), [10, 2, b'a', b'b']);
        assert_eq!(integer(3, 5), [24, 5]);
        assert_eq!(yamux(1, 1, 3, 256, b""), [0, 1, 0, 1, 0, 0, 0, 3, 0, 0, 1, 0]);
    }
}
