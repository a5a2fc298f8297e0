//! Connections as libp2p asks for them, held against the rules of [`Crowd`].

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::multiaddr::Multiaddr;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, ListenFailure};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};

use super::crowd::{Crowd, Full};
use super::peers;

/// Lets connections in, or not.
#[derive(Debug, Default)]
pub(super) struct Limits {
    crowd: Crowd<ConnectionId, PeerId>,
    closing: VecDeque<(PeerId, ConnectionId)>,
}

impl Limits {
    /// The driver itself is about to dial.
    pub(super) fn choose(&mut self, connection: ConnectionId) {
        self.crowd.choose(connection);
    }
}

fn denied(full: Full) -> ConnectionDenied {
    ConnectionDenied::new(full)
}

impl NetworkBehaviour for Limits {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.crowd.knock(connection, peers::place(from), Instant::now()).map_err(denied)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        let goes = self.crowd.admit(connection, &peer, peers::place(from)).map_err(denied)?;
        let goes = goes.and_then(|goes| Some((*self.crowd.peer(goes)?, goes)));
        self.closing.extend(goes);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.crowd.dial(connection, Instant::now()).map_err(denied)?;
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        self.crowd.reach(connection, &peer).map_err(denied)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => {
                let came = match endpoint {
                    ConnectedPoint::Dialer { .. } => None,
                    ConnectedPoint::Listener { send_back_addr, .. } => Some(peers::place(send_back_addr)),
                };
                self.crowd.entered(connection_id, peer_id, came);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::DialFailure(DialFailure { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => self.crowd.left(connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        match self.closing.pop_front() {
            Some((peer_id, connection)) => Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::One(connection),
            }),
            None => Poll::Pending,
        }
    }
}
