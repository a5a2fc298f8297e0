//! Peers that were there, kept over restarts: whoever named the bootstrap peers once need not find them alive again.
//!
//! Best effort: a file that cannot be read or written is told of and does no harm.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anode_shared::mesh::PeerStatus;
use libp2p::multiaddr::{Multiaddr, Protocol};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::gossip::Gossip;
use crate::identity::write_atomically;

/// The file in the data directory.
const FILE: &str = "peers.json";
/// The longest file that is read: far above what is written.
const MOST_BYTES: u64 = 64 << 10;
/// How many peers are kept: one that answers tells of all others.
const MOST_PEERS: usize = 16;
/// How many addresses of each: one an interface or transport, as a rule.
const MOST_ADDRESSES: usize = 2;
/// How often the file is written where anything changed.
const EVERY: Duration = Duration::from_secs(30);
/// When it is first written: a node that was just told of its peers may be killed soon.
const FIRST: Duration = Duration::from_secs(3);

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Of which network: peers of another would only turn this node away.
    network: String,
    /// The peers, those seen last first.
    peers: Vec<KeptPeer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptPeer {
    id: String,
    addresses: Vec<String>,
}

/// Peers that were there.
#[derive(Debug)]
pub struct Known {
    path: PathBuf,
    kept: Kept,
}

impl Known {
    /// Reads what an earlier start kept for this network.
    pub fn read(data_dir: &Path, network: &str) -> Self {
        let path = data_dir.join(FILE);
        let short = std::fs::metadata(&path).is_ok_and(|file| file.len() <= MOST_BYTES);
        let text = std::fs::read(&path).ok().filter(|_| short);
        let kept = text.and_then(|text| match serde_json::from_slice::<Kept>(&text) {
            Ok(kept) => Some(kept),
            Err(error) => {
                warn!(path = %path.display(), %error, "Passed over the file of known peers, which is damaged");
                None
            }
        });
        let mut kept = kept.filter(|kept| kept.network == network).unwrap_or_default();
        network.clone_into(&mut kept.network);
        kept.peers.truncate(MOST_PEERS);
        Self { path, kept }
    }

    /// Addresses to try, with the peers' ids.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let all = self.kept.peers.iter().flat_map(|peer| peer.addresses.iter().take(MOST_ADDRESSES));
        all.filter_map(|address| address.parse().ok()).collect()
    }

    /// Keeps up with the mesh until cancelled.
    pub async fn keep(mut self, gossip: Gossip, cancel: CancellationToken) {
        let mut wait = FIRST;
        loop {
            let over = cancel.run_until_cancelled(tokio::time::sleep(wait)).await.is_none();
            if self.kept.take(&gossip.view().peers) {
                self.write().await;
            }
            if over {
                return;
            }
            wait = EVERY;
        }
    }

    async fn write(&self) {
        let (path, json) = (self.path.clone(), serde_json::to_vec_pretty(&self.kept).unwrap_or_default());
        let written = tokio::task::spawn_blocking(move || write_atomically(&path, &json, 0o644)).await;
        if let Ok(Err(error)) = written {
            debug!(error = format!("{error:#}"), "Failed to keep the known peers");
        }
    }
}

impl Kept {
    /// Takes the peers that are known, those first that are connected, for of others somebody may have made up any number, then
    /// those that are there; says whether that changed anything. Those of earlier starts
    /// are kept behind them.
    fn take(&mut self, peers: &[PeerStatus]) -> bool {
        let mut known: Vec<&PeerStatus> = peers.iter().filter(|peer| !peer.addresses.is_empty()).collect();
        known.sort_by_key(|peer| (!peer.connected, peer.state));
        let mut next: Vec<KeptPeer> = known
            .into_iter()
            .map(|peer| KeptPeer { id: peer.id.clone(), addresses: best(&peer.addresses) })
            .take(MOST_PEERS)
            .collect();
        for old in &self.peers {
            if next.len() < MOST_PEERS && !next.iter().any(|peer| peer.id == old.id) {
                next.push(old.clone());
            }
        }
        let known = |peer: &KeptPeer| self.peers.contains(peer);
        let changed = next.len() != self.peers.len() || !next.iter().all(known);
        if changed {
            self.peers = next;
        }
        changed
    }
}

/// The addresses that are most likely to be reached: those of other machines first.
fn best(addresses: &[String]) -> Vec<String> {
    let mut addresses = addresses.to_vec();
    let is_loopback = |address: &String| match address.parse::<Multiaddr>().ok()?.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.is_loopback()),
        Protocol::Ip6(ip) => Some(ip.is_loopback()),
        _ => None,
    };
    addresses.sort_by_key(|address| is_loopback(address).unwrap_or(false));
    addresses.truncate(MOST_ADDRESSES);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use anode_shared::mesh::PeerState;
    use std::collections::BTreeMap;

    fn peer(id: &str, state: PeerState, addresses: &[&str]) -> PeerStatus {
        PeerStatus {
            id: id.to_owned(),
            name: id.to_owned(),
            version: "1".to_owned(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            state,
            since: String::new(),
            last_seen: String::new(),
            connected: true,
            rtt_ms: None,
            heads: BTreeMap::new(),
            lag: 0,
            links: Vec::new(),
            clock_offset_ms: None,
            records_per_s: 0,
            subscribers: 0,
            sources: 0,
            components: BTreeMap::new(),
        }
    }

    const ONE: &str = "/ip4/10.0.0.1/tcp/4001";
    const LOOP: &str = "/ip4/127.0.0.1/tcp/4001";

    #[test]
    fn it_keeps_who_was_there_and_who_may_be_back() {
        let mut kept = Kept::default();
        let names = |kept: &Kept| kept.peers.iter().map(|peer| peer.id.clone()).collect::<Vec<_>>().concat();
        assert!(kept.take(&[peer("b", PeerState::Left, &[ONE]), peer("a", PeerState::Alive, &[LOOP, ONE])]));
        assert_eq!(names(&kept), "ab", "who is there goes first");
        assert_eq!(kept.peers[0].addresses, [ONE, LOOP], "and what others can reach");
        kept.peers.pop();
        assert!(!kept.take(&[peer("a", PeerState::Alive, &[LOOP, ONE])]), "nothing is new");
        assert!(!kept.take(&[peer("a", PeerState::Dead, &[LOOP, ONE])]), "it may be back");
        assert!(!kept.take(&[]), "nobody is there");
        assert!(kept.take(&[peer("c", PeerState::Alive, &[ONE]), peer("d", PeerState::Alive, &[])]));
        assert_eq!(names(&kept), "ca");
        assert!(kept.take(&[peer("a", PeerState::Alive, &[ONE])]), "another address");
        let crowd: Vec<_> = (0..100).map(|n| peer(&format!("{n:02}"), PeerState::Alive, &[ONE])).collect();
        assert!(kept.take(&crowd) && kept.peers.len() == MOST_PEERS && !names(&kept).contains('a'));
        let unheard = crowd.into_iter().map(|peer| PeerStatus { connected: false, ..peer });
        let suspect = peer("z", PeerState::Suspect, &[ONE]);
        kept.take(&unheard.chain([suspect]).collect::<Vec<_>>());
        assert_eq!(kept.peers[0].id, "z", "who is connected goes before those of whom others tell");
    }

    #[test]
    fn it_reads_back_what_fits_this_network() {
        let dir = tempfile::tempdir().unwrap();
        let mut known = Known::read(dir.path(), "red");
        assert!(known.addresses().is_empty());
        known.kept.take(&[peer("a", PeerState::Alive, &[ONE])]);
        std::fs::write(&known.path, serde_json::to_vec(&known.kept).unwrap()).unwrap();
        let read = |network: &str| Known::read(dir.path(), network).addresses();
        assert_eq!((read("red"), read("blue")), (vec![ONE.parse().unwrap()], vec![]));
        for damaged in [b"{".to_vec(), vec![b' '; 100 << 10]] {
            std::fs::write(&known.path, damaged).unwrap();
            assert!(read("red").is_empty());
        }
    }
}
