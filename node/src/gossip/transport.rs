//! How bytes travel between peers: TCP and WebSocket under noise and yamux, QUIC beside them where the network is open.

use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::futures::future::Either;
use libp2p::futures::{AsyncRead, AsyncWrite};
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PnetError, PreSharedKey};
use libp2p::{PeerId, Transport as _, noise, quic, tcp, websocket, yamux};

use names::Named;

mod names;

/// How long two peers may take to agree on a connection; with different network keys each waits for the other.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A transport whose peers have proved who they are.
pub(super) type Transport = Boxed<(PeerId, StreamMuxerBox)>;

/// Makes the transport. With a network key only nodes that hold the same are understood; QUIC has no place for one.
///
/// # Errors
/// When the identity cannot be used.
pub(super) fn transport(identity: &Keypair, network_key: Option<PreSharedKey>) -> anyhow::Result<Transport> {
    let plain = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let streams = secure(plain(), identity, network_key)?;
    let direct = if network_key.is_some() {
        streams
    } else {
        let quic = quic::tokio::Transport::new(quic::Config::new(identity));
        either(quic.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))), streams)
    };
    // A WebSocket has names looked up below it: it needs them for its handshake.
    let sockets = websocket::Config::new(Named::new(plain()));
    Ok(either(secure(sockets, identity, network_key)?, Named::new(direct).boxed()))
}

/// Proves on a stream who is at its ends, and shares it among protocols.
pub(super) fn secure<T>(
    streams: T,
    identity: &Keypair,
    network_key: Option<PreSharedKey>,
) -> anyhow::Result<Transport>
where
    T: libp2p::Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    let stream = streams
        .and_then(move |socket, _| async move {
            Ok::<_, PnetError>(match network_key {
                Some(key) => Either::Left(PnetConfig::new(key).handshake(socket).await?),
                None => Either::Right(socket),
            })
        })
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(identity)?)
        .multiplex(yamux::Config::default())
        .timeout(HANDSHAKE);
    Ok(stream.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed())
}

/// One transport or the other, whichever can dial an address.
fn either<A, B>(one: A, other: B) -> Transport
where
    A: libp2p::Transport<Output = (PeerId, StreamMuxerBox)> + Send + Unpin + 'static,
    B: libp2p::Transport<Output = (PeerId, StreamMuxerBox)> + Send + Unpin + 'static,
    A::Error: Send + Sync + 'static,
    B::Error: Send + Sync + 'static,
    A::Dial: Send + 'static,
    B::Dial: Send + 'static,
    A::ListenerUpgrade: Send + 'static,
    B::ListenerUpgrade: Send + 'static,
{
    let both = one.or_transport(other).map(|either, _| match either {
        Either::Left(connection) | Either::Right(connection) => connection,
    });
    both.boxed()
}
