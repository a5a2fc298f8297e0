//! The mesh as any node sees it: who is there, and how they are linked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
