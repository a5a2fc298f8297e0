//! A way to Cassandra that can be blocked: what is said on it then goes nowhere, and nobody is told.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The way; it ends when dropped. A driver keeps to it as long as that Cassandra is a single node.
#[derive(Debug)]
pub(super) struct Detour {
    address: SocketAddr,
    open: watch::Sender<bool>,
    _serving: JoinSet<()>,
}

impl Detour {
    /// Leads to a server.
    pub(super) async fn to(server: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (open, seen) = watch::channel(true);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut all = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                all.spawn(lead(client, server.clone(), seen.clone()));
                while all.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, open, _serving: serving })
    }

    /// Where it begins.
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Lets through, or holds, what comes from now on.
    pub(super) fn open(&self, open: bool) {
        self.open.send_replace(open);
    }
}

async fn lead(client: TcpStream, server: String, mut open: watch::Receiver<bool>) {
    if open.wait_for(|open| *open).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(&server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = carry(from_client, to_server, open.clone()) => {}
        () = carry(from_server, to_client, open) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut open: watch::Receiver<bool>) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
