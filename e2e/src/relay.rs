//! A way for TCP from one address to another, as a router's forwarded port: it counts who came, and ends when dropped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Bytes that are carried at once.
const CHUNK: usize = 16 << 10;

/// A running relay.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    came: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Relay {
    /// Takes connections at one address, each of which it makes anew to the other.
    ///
    /// # Errors
    /// Fails where the address is taken.
    pub async fn start(from: SocketAddr, to: SocketAddr) -> Result<Self> {
        Self::slow(from, to, Duration::ZERO).await
    }

    /// The same with a pause after each 16 KiB of either way.
    ///
    /// # Errors
    /// Fails where the address is taken.
    pub async fn slow(from: SocketAddr, to: SocketAddr, pause: Duration) -> Result<Self> {
        let listener = TcpListener::bind(from).await.with_context(|| from.to_string())?;
        let (address, came) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let mut task = JoinSet::new();
        task.spawn(run(listener, to, pause, came.clone()));
        Ok(Self { address, came, _task: task })
    }

    /// Where it takes connections.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many came.
    #[must_use]
    pub fn came(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }
}

async fn run(listener: TcpListener, to: SocketAddr, pause: Duration, came: Arc<AtomicUsize>) {
    let mut open = JoinSet::new();
    while let Ok((one, _)) = listener.accept().await {
        came.fetch_add(1, Ordering::Relaxed);
        open.spawn(async move {
            let Ok(other) = TcpStream::connect(to).await else { return };
            let (one, other) = (one.into_split(), other.into_split());
            // Where one way ends, so does the other.
            tokio::select! {
                _ = carry(one.0, other.1, pause) => {}
                _ = carry(other.0, one.1, pause) => {}
            }
        });
        while open.try_join_next().is_some() {}
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    pause: Duration,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = from.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&chunk[..length]).await?;
        if !pause.is_zero() {
            sleep(pause.mul_f64(length as f64 / CHUNK as f64)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_carries_both_ways_and_counts() {
        let end = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Relay::start("127.0.0.1:0".parse().unwrap(), end.local_addr().unwrap()).await.unwrap();
        let mut one = TcpStream::connect(relay.address()).await.unwrap();
        let (mut other, _) = end.accept().await.unwrap();
        one.write_all(b"to").await.unwrap();
        other.write_all(b"fro").await.unwrap();
        let (mut to, mut fro) = ([0; 2], [0; 3]);
        other.read_exact(&mut to).await.unwrap();
        one.read_exact(&mut fro).await.unwrap();
        assert_eq!((&to, &fro, relay.came()), (b"to", b"fro", 1));
        drop(relay);
        assert_eq!(one.read(&mut to).await.unwrap_or(0), 0, "it goes on after its end");
    }
}
