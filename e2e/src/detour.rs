//! A detour to a server: what comes back through it may be late, and the way may be closed.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How many pieces may be under way; a server that says more waits.
const UNDER_WAY: usize = 1_024;

/// What the way is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All goes through at once.
    Open,
    /// What the server says comes so much later, in order.
    Slow(Duration),
    /// Connections are cut, and new ones as soon as they are made.
    Closed,
}

/// A listening detour; it ends when dropped.
#[derive(Debug)]
pub struct Detour {
    address: SocketAddr,
    way: watch::Sender<Way>,
    _task: JoinSet<()>,
}

impl Detour {
    /// Opens a way to a server.
    ///
    /// # Errors
    /// Fails where no port is free.
    pub async fn to(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (way, seen) = watch::channel(Way::Open);
        let mut task = JoinSet::new();
        task.spawn(serve(listener, server.to_owned(), seen));
        Ok(Self { address, way, _task: task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes the way, for the connections that are there too.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn serve(listener: TcpListener, server: String, way: watch::Receiver<Way>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(lead(client, server.clone(), way.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn lead(client: TcpStream, server: String, mut way: watch::Receiver<Way>) {
    let seen = way.clone();
    let through = async {
        let Ok(server) = TcpStream::connect(&server).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        // The first that ends cuts both.
        tokio::select! {
            () = carry(from_client, to_server, None) => {}
            () = carry(from_server, to_client, Some(seen)) => {}
        }
    };
    tokio::select! {
        biased;
        _ = way.wait_for(|way| *way == Way::Closed) => {}
        () = through => {}
    }
}

/// Carries what comes from one end to the other, late where the way is slow.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Option<watch::Receiver<Way>>) {
    let (pieces, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let take = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let late = match way.as_ref().map(|way| *way.borrow()) {
                Some(Way::Slow(late)) => late,
                _ => Duration::ZERO,
            };
            if pieces.send((Instant::now() + late, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let give = async move {
        while let Some((due, piece)) = under_way.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    // What is under way when one end is closed still comes.
    tokio::join!(take, give);
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo(listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let (from, to) = stream.into_split();
            carry(from, to, None).await;
        }
    }

    async fn ask(stream: &mut TcpStream) -> Result<Duration> {
        let began = Instant::now();
        let mut answer = [0; 4];
        stream.write_all(b"ping").await?;
        stream.read_exact(&mut answer).await?;
        anyhow::ensure!(&answer == b"ping", "{answer:?}");
        Ok(began.elapsed())
    }

    #[tokio::test]
    async fn it_is_slow_or_closed_as_told() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let detour = Detour::to(&listener.local_addr()?.to_string()).await?;
        let mut server = JoinSet::new();
        server.spawn(echo(listener));
        let mut stream = TcpStream::connect(detour.address()).await?;
        ask(&mut stream).await?;
        let late = Duration::from_millis(200);
        detour.set(Way::Slow(late));
        assert!(ask(&mut stream).await? >= late);
        detour.set(Way::Open);
        assert!(ask(&mut stream).await? < late);
        detour.set(Way::Closed);
        assert!(ask(&mut stream).await.is_err());
        let mut refused = TcpStream::connect(detour.address()).await?;
        assert!(ask(&mut refused).await.is_err());
        detour.set(Way::Open);
        ask(&mut TcpStream::connect(detour.address()).await?).await?;
        Ok(())
    }
}
