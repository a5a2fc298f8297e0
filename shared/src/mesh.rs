//! The mesh as any node sees it: who is there, and how they are linked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The sum of counts of which peers may have claimed any, however absurd.
pub fn total(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// How a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// It speaks.
    Alive,
    /// It should have spoken, or its connection closed.
    Suspect,
    /// It shut down.
    Left,
    /// It has been silent for too long.
    Dead,
}

impl PeerState {
    /// The state in one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Left => "left",
            Self::Dead => "dead",
        }
    }
}

/// A known node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PeerStatus {
    /// Its peer id.
    pub id: String,
    /// Its name in dashboards.
    pub name: String,
    /// The version of its software.
    pub version: String,
    /// Full multiaddrs at which it can be reached.
    pub addresses: Vec<String>,
    /// How it is.
    pub state: PeerState,
    /// Since when, RFC 3339.
    pub since: String,
    /// When its last beacon came, RFC 3339.
    pub last_seen: String,
    /// Whether this node is connected to it.
    pub connected: bool,
    /// The round trip to it, milliseconds; none without a connection.
    pub rtt_ms: Option<f64>,
    /// Its own logs of this run, and how far each reaches.
    pub heads: BTreeMap<String, u64>,
    /// How many of its records this node still lacks.
    pub lag: u64,
    /// Its own connections, as its last beacon names them.
    pub links: Vec<PeerLink>,
    /// How far its clock is ahead of this node's, milliseconds.
    pub clock_offset_ms: Option<f64>,
    /// Records a second that it accepts itself.
    pub records_per_s: u32,
    /// How many subscribers it has.
    pub subscribers: u32,
    /// How many sources it reads.
    pub sources: u32,
    /// Its components' states, by name.
    pub components: BTreeMap<String, crate::status::State>,
}

impl PeerStatus {
    /// The connections that it has as far as is known: who is gone has none, whatever it said last.
    pub fn open_links(&self) -> &[PeerLink] {
        match self.state {
            PeerState::Alive | PeerState::Suspect => &self.links,
            PeerState::Left | PeerState::Dead => &[],
        }
    }
}

/// A connection that a peer names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PeerLink {
    /// The peer id at its other end.
    pub id: String,
    /// The round trip, milliseconds; none where it was not measured yet.
    pub rtt_ms: Option<f64>,
}

/// `GET /api/v1/peers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PeerList {
    /// The peers, by id.
    pub peers: Vec<PeerStatus>,
    /// The page that follows; none behind the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A node in the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MeshNode {
    /// Its peer id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: PeerState,
}

/// A connection between two nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MeshEdge {
    /// One end, the lower peer id.
    pub from: String,
    /// The other end.
    pub to: String,
    /// What kind of connection: `link`.
    pub kind: String,
    /// The round trip as one of them measured it, milliseconds.
    pub rtt_ms: Option<f64>,
}

/// `GET /api/v1/mesh`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Mesh {
    /// The nodes, this one among them.
    pub nodes: Vec<MeshNode>,
    /// The connections between them.
    pub edges: Vec<MeshEdge>,
}

impl Mesh {
    /// The graph as a node sees it: by its own connections, and by those that its peers name.
    pub fn of(id: &str, name: &str, peers: &[PeerStatus]) -> Self {
        let own = MeshNode { id: id.to_owned(), name: name.to_owned(), state: PeerState::Alive };
        let others = peers.iter().map(|peer| MeshNode {
            id: peer.id.clone(),
            name: peer.name.clone(),
            state: peer.state,
        });
        let mut edges: BTreeMap<(&str, &str), Option<f64>> = BTreeMap::new();
        let mut link = |one, other, rtt: Option<f64>| {
            let known = edges.entry(if one < other { (one, other) } else { (other, one) }).or_insert(rtt);
            *known = known.or(rtt);
        };
        for peer in peers {
            if peer.connected {
                link(id, &peer.id, peer.rtt_ms);
            }
            peer.open_links().iter().for_each(|other| link(&peer.id, &other.id, other.rtt_ms));
        }
        let edges = edges.into_iter().map(|((from, to), rtt_ms)| MeshEdge {
            from: from.to_owned(),
            to: to.to_owned(),
            kind: "link".to_owned(),
            rtt_ms,
        });
        let edges = edges.collect();
        Self { nodes: [own].into_iter().chain(others).collect(), edges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: &str, state: PeerState, connected: bool, links: &[(&str, Option<f64>)]) -> PeerStatus {
        PeerStatus {
            id: id.to_owned(),
            name: id.to_uppercase(),
            version: String::new(),
            addresses: Vec::new(),
            state,
            since: String::new(),
            last_seen: String::new(),
            connected,
            rtt_ms: connected.then_some(1.0),
            heads: BTreeMap::new(),
            lag: 0,
            links: links.iter().map(|(id, rtt)| PeerLink { id: (*id).to_owned(), rtt_ms: *rtt }).collect(),
            clock_offset_ms: None,
            records_per_s: 0,
            subscribers: 0,
            sources: 0,
            components: BTreeMap::new(),
        }
    }

    #[test]
    fn it_draws_each_connection_once() {
        let peers = [
            peer("a", PeerState::Alive, true, &[("m", Some(9.0)), ("z", None)]),
            peer("b", PeerState::Dead, false, &[("a", Some(2.0))]),
            peer("z", PeerState::Suspect, false, &[("a", Some(3.0))]),
        ];
        let mesh = Mesh::of("m", "me", &peers);
        let nodes: Vec<_> = mesh.nodes.iter().map(|node| (node.id.as_str(), node.state)).collect();
        assert_eq!(
            nodes,
            [
                ("m", PeerState::Alive),
                ("a", PeerState::Alive),
                ("b", PeerState::Dead),
                ("z", PeerState::Suspect)
            ]
        );
        let edges: Vec<_> =
            mesh.edges.iter().map(|edge| (edge.from.as_str(), edge.to.as_str(), edge.rtt_ms)).collect();
        assert_eq!(edges, [("a", "m", Some(1.0)), ("a", "z", Some(3.0))], "the own measure goes first");
    }
}
