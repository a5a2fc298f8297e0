//! Wires in memory between the nodes of one process, which tests cut and mend.

use std::future::ready;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use libp2p::Transport as _;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::MemoryTransport;
use libp2p::futures::{AsyncRead, AsyncWrite};
use libp2p::identity::Keypair;
use libp2p::multiaddr::{Multiaddr, Protocol};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::gossip::transport::{Transport, secure};

/// All wires.
#[derive(Debug)]
pub(super) struct Wires {
    /// The port of the first node; the others' follow.
    first: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// On which side of a partition each node is.
    sides: Vec<u8>,
    open: Vec<(usize, usize, CancellationToken)>,
}

impl Wires {
    pub(super) fn new(nodes: usize) -> Arc<Self> {
        let state = Mutex::new(State { sides: vec![0; nodes], open: Vec::new() });
        Arc::new(Self { first: u64::from(rand::random::<u32>()) << 16 | 1, state })
    }

    /// Where a node listens.
    pub(super) fn address(&self, node: usize) -> Multiaddr {
        Multiaddr::empty().with(Protocol::Memory(self.first + node as u64))
    }

    fn node(&self, address: &Multiaddr) -> Option<usize> {
        let Some(Protocol::Memory(port)) = address.iter().next() else { return None };
        usize::try_from(port.checked_sub(self.first)?).ok()
    }

    /// Puts nodes on sides: what runs between two sides is cut, and nothing new runs there.
    pub(super) fn part(&self, sides: Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        state.open.retain(|(one, other, wire)| {
            let cut = sides[*one] != sides[*other];
            if cut {
                wire.cancel();
            }
            !cut
        });
        state.sides = sides;
    }

    /// How a node is reached, and reaches others.
    pub(super) fn transport(self: &Arc<Self>, me: usize, identity: &Keypair) -> anyhow::Result<Transport> {
        let wires = self.clone();
        let memory = MemoryTransport::default()
            .and_then(move |channel, end: ConnectedPoint| ready(wires.connect(me, channel, &end)));
        secure(memory, identity, None)
    }

    /// Who dials holds the end that is cut; the other then sees the wire end.
    fn connect<C>(&self, me: usize, channel: C, end: &ConnectedPoint) -> io::Result<Wire<C>> {
        let ConnectedPoint::Dialer { address, .. } = end else { return Ok(Wire { channel, cut: None }) };
        let other = self.node(address).ok_or_else(|| io::Error::other("no node listens there"))?;
        let mut state = self.state.lock().unwrap();
        if state.sides[me] != state.sides[other] {
            return Err(io::ErrorKind::HostUnreachable.into());
        }
        let wire = CancellationToken::new();
        state.open.push((me, other, wire.clone()));
        Ok(Wire { channel, cut: Some(Box::pin(wire.cancelled_owned())) })
    }
}

/// One end of a wire.
pub(super) struct Wire<C> {
    channel: C,
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl<C: Unpin> Wire<C> {
    fn whole(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut C>> {
        let cut = self.cut.as_mut().is_some_and(|cut| cut.as_mut().poll(context).is_ready());
        if cut { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(Pin::new(&mut self.channel)) }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Wire<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.whole(context)?.poll_read(context, out)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Wire<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.whole(context)?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole(context)?.poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole(context)?.poll_close(context)
    }
}
