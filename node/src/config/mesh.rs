//! How the node joins others.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anode_shared::ids::Origin;
use anyhow::Context as _;
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::pnet::PreSharedKey;

/// The network of nodes that were not told of one: on trial, on this machine only.
pub const TRIAL: &str = "local";
/// The port for peers where none is named, and the first of those that are tried on the own machine.
pub const PORT: u16 = 4_001;
/// How many ports of the own machine are tried for peers on trial.
pub const PORTS: u16 = 16;

/// The mesh's part of the configuration.
#[derive(Debug, Clone, Default)]
pub struct MeshConfig {
    /// Where to listen for peers, where that was said.
    pub listen: Vec<Multiaddr>,
    /// Peers to join by.
    pub bootstrap: Vec<Multiaddr>,
    /// Whether a network was named: else the node keeps to its machine.
    pub named: bool,
    /// The file that holds the private network's key.
    pub network_key: Option<PathBuf>,
    /// Whose batches are kept; none: everybody's.
    pub origins: Option<BTreeSet<Origin>>,
    /// Bytes a second that are taken of each origin.
    pub origin_rate: u64,
    /// Addresses to tell others.
    pub announce: Vec<Multiaddr>,
    /// No discovery on the local network.
    pub no_mdns: bool,
}

/// One value of `--origins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// `any`.
    Any,
    /// This one's.
    Of(Origin),
}

/// Whose batches the values of `--origins` name together.
pub fn kept(values: &[Kept]) -> Option<BTreeSet<Origin>> {
    let one = |value: &Kept| if let Kept::Of(origin) = value { Some(*origin) } else { None };
    values.iter().map(one).collect()
}

/// Reads one value of `--origins`.
///
/// # Errors
/// With what is accepted.
pub fn origins(text: &str) -> Result<Kept, String> {
    if text == "any" {
        return Ok(Kept::Any);
    }
    text.parse().map(Kept::Of).map_err(|_| "accepted are peer ids (12D3KooW…), and any".to_owned())
}

/// Reads a multiaddr.
///
/// # Errors
/// With what is accepted.
pub fn multiaddr(text: &str) -> Result<Multiaddr, String> {
    let accepted = "accepted is a multiaddr: /ip4/192.0.2.1/tcp/4001, /dns4/node.example/udp/4001/quic-v1, /ip4/0.0.0.0/tcp/4002/ws";
    let address: Multiaddr = text.parse().map_err(|_| accepted.to_owned())?;
    let carries = address.iter().any(|part| matches!(part, Protocol::Tcp(_) | Protocol::QuicV1));
    if carries { Ok(address) } else { Err(accepted.to_owned()) }
}

impl MeshConfig {
    /// The private network's key, where there is one.
    ///
    /// # Errors
    /// When the file cannot be read or holds no key.
    pub fn key(&self) -> anyhow::Result<Option<PreSharedKey>> {
        self.network_key.as_deref().map(read_key).transpose()
    }

    /// Peers of this machine that are tried beside those named: only on trial.
    pub fn neighbours(&self) -> impl Iterator<Item = Multiaddr> {
        let ports = if self.named { 0 } else { PORTS };
        (PORT..PORT + ports).map(|port| {
            Multiaddr::empty().with(Protocol::Ip4([127, 0, 0, 1].into())).with(Protocol::Tcp(port))
        })
    }

    /// Where to listen where nobody said: TCP, and QUIC where the network has no key, on one port.
    pub fn default_listen(&self, port: u16) -> Vec<Multiaddr> {
        let ip = if self.named { [0, 0, 0, 0] } else { [127, 0, 0, 1] };
        let base = Multiaddr::empty().with(Protocol::Ip4(ip.into()));
        let mut listen = vec![base.clone().with(Protocol::Tcp(port))];
        if self.network_key.is_none() {
            listen.push(base.with(Protocol::Udp(port)).with(Protocol::QuicV1));
        }
        listen
    }
}

fn read_key(path: &Path) -> anyhow::Result<PreSharedKey> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).with_context(|| format!("--network-key {shown} cannot be read"))?;
    text.parse().ok().with_context(|| {
        format!("--network-key {shown} holds no key in the swarm.key format (/key/swarm/psk/1.0.0/); `anode network-key` makes one")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_addresses_that_can_carry_a_connection() {
        for (text, good) in [
            ("/ip4/127.0.0.1/tcp/4001", true),
            ("/dns4/a.example/udp/4001/quic-v1", true),
            ("/ip4/0.0.0.0/tcp/0/ws", true),
            ("/ip4/127.0.0.1", false),
            ("/ip4/127.0.0.1/udp/4001", false),
            ("127.0.0.1:4001", false),
            ("", false),
        ] {
            assert_eq!(multiaddr(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn it_keeps_to_its_machine_until_a_network_is_named() {
        let trial = MeshConfig::default();
        assert_eq!(trial.neighbours().count(), 16);
        assert!(
            trial
                .default_listen(4001)
                .iter()
                .all(|address| address.to_string().starts_with("/ip4/127.0.0.1/"))
        );
        let named = MeshConfig { named: true, network_key: Some("k".into()), ..MeshConfig::default() };
        assert_eq!(named.neighbours().count(), 0);
        assert_eq!(named.default_listen(4001), ["/ip4/0.0.0.0/tcp/4001".parse().unwrap()]);
    }

    #[test]
    fn it_keeps_anybodys_batches_unless_told_whose() {
        let one = Origin([1; 32]);
        assert_eq!(kept(&[Kept::Any, Kept::Of(one)]), None);
        assert_eq!(kept(&[Kept::Of(one)]), Some(BTreeSet::from([one])));
        assert_eq!(origins("any"), Ok(Kept::Any));
        assert!(origins("somebody").unwrap_err().contains("12D3KooW"));
    }

    #[test]
    fn it_reads_a_private_networks_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("swarm.key");
        let key = PreSharedKey::new([7; 32]);
        std::fs::write(&path, key.to_key_file()).unwrap();
        assert_eq!(read_key(&path).unwrap(), key);
        std::fs::write(&path, "nonsense").unwrap();
        assert!(read_key(&path).unwrap_err().to_string().contains("anode network-key"));
    }
}
