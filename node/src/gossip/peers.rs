//! The two names of a node: the key in its signatures, and the peer id on its connections.

use anode_shared::ids::Origin;
use libp2p::PeerId;
use libp2p::identity::{PublicKey, ed25519};
use libp2p::multiaddr::{Multiaddr, Protocol};

use super::crowd::Place;

/// What stands before an ed25519 key in a peer id's bytes.
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The key that a peer id names; none where it names one of another kind.
pub(super) fn origin(peer: &PeerId) -> Option<Origin> {
    let bytes = peer.to_bytes();
    Some(Origin(bytes.strip_prefix(&PREFIX)?.try_into().ok()?))
}

/// The peer id of a key; none where it is no key.
pub(super) fn peer_id(origin: Origin) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(&origin.0).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The peer that an address names at its end.
pub(super) fn named(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// The address without the peer's name.
pub(super) fn bare(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

/// The machine of an address, without the port, which is another one at each try of whoever dials.
pub(super) fn host(address: &Multiaddr) -> String {
    address.iter().take(1).collect::<Multiaddr>().to_string()
}

/// The place of an address, if it has one.
pub(super) fn place(address: &Multiaddr) -> Option<Place> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(Place::v4(ip.octets())),
        Protocol::Ip6(ip) => {
            Some(ip.to_ipv4_mapped().map_or(Place::v6(ip.octets()), |ip| Place::v4(ip.octets())))
        }
        _ => None,
    }
}

/// Whether an address can be reached from this machine alone.
pub(super) fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

/// Whether an address holds a name, which may mean another machine another time.
pub(super) fn is_name(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)))
}

/// Whether an address is of a kind that can be dialled at all.
pub(super) fn is_dialable(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        Some(Protocol::Ip6(ip)) => !ip.is_unspecified() && !ip.is_multicast(),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Memory(_)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_both_names_of_a_node() {
        let peer = libp2p::identity::Keypair::generate_ed25519().public().to_peer_id();
        let origin = origin(&peer).unwrap();
        assert_eq!((origin.to_string(), peer_id(origin)), (peer.to_string(), Some(peer)));
        assert_eq!(super::origin(&PeerId::random()), None, "a hash is no key");
    }

    #[test]
    fn it_knows_the_place_of_an_address() {
        let place = |text: &str| place(&text.parse().unwrap());
        assert_eq!(place("/ip4/10.0.0.1/tcp/4001"), Some(Place::v4([10, 0, 0, 1])));
        assert_eq!(place("/ip4/10.0.0.1/udp/9/quic-v1"), place("/ip6/::ffff:10.0.0.1/tcp/1"));
        assert_eq!(place("/ip6/2001:db8::1/tcp/1"), place("/ip6/2001:db8::2/tcp/1"));
        assert_ne!(place("/ip6/2001:db8::1/tcp/1"), place("/ip6/2001:db8:0:1::1/tcp/1"));
        assert_eq!(place("/dns4/node.example/tcp/4001"), None);
    }

    #[test]
    fn it_tells_addresses_apart() {
        for (text, loopback, dialable) in [
            ("/ip4/127.0.0.1/tcp/4001", true, true),
            ("/ip6/::1/udp/4001/quic-v1", true, true),
            ("/ip4/10.0.0.1/tcp/4001/ws", false, true),
            ("/ip4/0.0.0.0/tcp/4001", false, false),
            ("/ip4/224.0.0.251/udp/5353/quic-v1", false, false),
            ("/dns4/node.example/tcp/4001", false, true),
            ("/p2p-circuit", false, false),
        ] {
            let address: Multiaddr = text.parse().unwrap();
            assert_eq!((is_loopback(&address), is_dialable(&address)), (loopback, dialable), "{text}");
        }
    }
}
