//! `anode peers` and `network-key`.

use std::path::PathBuf;

use anode_shared::mesh::{PeerList, PeerState, PeerStatus, total};
use anyhow::Context as _;
use clap::Args;
use libp2p::pnet::PreSharedKey;
use serde_json::json;

use super::Reach;
use super::output::Out;
use crate::client::{Client, Query};
use crate::identity::write_atomically;

/// What stands behind the options of `anode peers`.
pub(super) const EXAMPLES: &str = "\
Examples:
  anode peers
  anode peers --json | jq '.peers[] | select(.state != \"alive\")'";
/// What stands behind the options of `anode network-key`.
pub(super) const KEY_EXAMPLES: &str = "\
Examples:
  anode network-key swarm.key                 make a key, and keep it where only you read it
  anode run --network home --network-key swarm.key";

/// The options of `anode network-key`.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// Write the key to this file; without it, print it
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Lists the nodes that are known.
pub(super) async fn peers(reach: &Reach) -> anyhow::Result<()> {
    let (client, mut out, mut peers) = (reach.client()?, Out::new(), Vec::new());
    let mut next = None;
    loop {
        let page = page(&client, next.as_deref()).await?;
        peers.extend(page.peers);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    if reach.json {
        out.json(&json!({ "peers": peers }))?;
        return out.flush();
    }
    if peers.is_empty() {
        out.line("no peers: on one machine a second node needs only its own --data-dir, elsewhere --network and --bootstrap")?;
        return out.flush();
    }
    let rows: Vec<_> = peers.iter().map(row).collect();
    out.table(["name", "state", "version", "round trip", "head", "lag", "clock", "id"], &rows)?;
    out.flush()
}

async fn page(client: &Client, next: Option<&str>) -> anyhow::Result<PeerList> {
    let query: Query = next.map(|next| ("page", next.to_owned())).into_iter().collect();
    client.get::<PeerList>("/api/v1/peers", &query).await.map_err(Into::into)
}

/// How far its newest log reaches, and how many others it has of this run.
fn head(peer: &PeerStatus) -> String {
    let Some((_, head)) = peer.heads.last_key_value() else { return "-".to_owned() };
    match peer.heads.len() - 1 {
        0 => head.to_string(),
        1 => format!("{head} and 1 log"),
        more => format!("{head} and {more} logs"),
    }
}

/// What a node has of its peers, in one line.
pub(super) async fn summary(client: &Client) -> anyhow::Result<String> {
    let peers = page(client, None).await?.peers;
    let there = || peers.iter().filter(|peer| peer.state <= PeerState::Suspect);
    let silent = there().filter(|peer| peer.state == PeerState::Suspect).count();
    let heads = total(there().flat_map(|peer| peer.heads.values().copied()));
    let lag = total(there().map(|peer| peer.lag));
    Ok(words(there().count(), silent, heads, lag))
}

fn words(peers: usize, silent: usize, heads: u64, lag: u64) -> String {
    let plural = if peers == 1 { "" } else { "s" };
    let silent = if silent == 0 { String::new() } else { format!(", {silent} silent") };
    match (peers, lag) {
        (0, _) => "mesh: no peers".to_owned(),
        (_, 0) => format!("mesh: {peers} peer{plural}{silent}; all {heads} records of their logs are here"),
        (_, lag) => {
            format!(
                "mesh: {peers} peer{plural}{silent}; {lag} of {heads} records of their logs are not here yet"
            )
        }
    }
}

fn row(peer: &PeerStatus) -> [String; 8] {
    let state = match peer.state {
        PeerState::Alive if !peer.connected => "alive, by others",
        state => state.word(),
    };
    let millis = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} ms"));
    [
        peer.name.clone(),
        state.to_owned(),
        peer.version.clone(),
        millis(peer.rtt_ms),
        head(peer),
        peer.lag.to_string(),
        millis(peer.clock_offset_ms),
        peer.id.clone(),
    ]
}

/// Makes the key of a private network.
pub(super) fn network_key(args: &KeyArgs) -> anyhow::Result<()> {
    let text = new_key();
    let Some(path) = &args.file else {
        let mut out = Out::new();
        out.line(text.trim_end())?;
        return out.flush();
    };
    anyhow::ensure!(!path.exists(), "{} is there already; a key is not written over", path.display());
    write_atomically(path, text.as_bytes(), 0o600).with_context(|| format!("cannot write {}", path.display()))
}

/// A new key in the form of its file.
pub(super) fn new_key() -> String {
    PreSharedKey::new(rand::random()).to_key_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_the_mesh_is() {
        for (peers, silent, heads, lag, said) in [
            (0, 0, 0, 0, "mesh: no peers"),
            (1, 0, 9, 0, "mesh: 1 peer; all 9 records of their logs are here"),
            (3, 1, 9, 2, "mesh: 3 peers, 1 silent; 2 of 9 records of their logs are not here yet"),
        ] {
            assert_eq!(words(peers, silent, heads, lag), said);
        }
    }
}
